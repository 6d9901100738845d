"""A sum that does not add up is an error that says by how much and why."""

from __future__ import annotations

import pytest
import torch
from torch.overrides import TorchFunctionMode

import summand
from summand.models.doctor import examine
from tests.models.tiny_clip import clip, letters, off, pixels

X = pixels()


def halved(_, __, out):
    return (out[0] / 2, *out[1:]) if isinstance(out, tuple) else out / 2


CASES = {  # where the hook is, and whom it disturbs
    "visual.transformer.resblocks.1.attn": "decompose",
    "visual.ln_post": "decompose",
    "visual": "decompose",
    "visual.transformer.resblocks.2.ln_1": "second_order",
    "visual.transformer.resblocks.0.mlp.c_proj": "second_order",
    "visual.transformer.resblocks.0.mlp": "first_order",
    "transformer.resblocks.1.attn": "decompose_text",
}


def ask(model, verb):
    if verb == "decompose_text":
        return model.decompose_text(["abc"]).total()
    if verb == "decompose":
        return model.decompose(X).total()
    return getattr(model, verb)(X, 0).vectors()


@pytest.mark.parametrize(("where", "verb"), CASES.items())
def test_a_hook_that_changes_numbers_is_refused_by_name_and_all_is_well_when_it_is_gone(where, verb):
    made = clip()
    model = summand.wrap(made, tokenizer=letters)
    before = ask(model, verb)
    handle = made.get_submodule(where).register_forward_hook(halved)
    with pytest.raises(summand.SummandError, match=rf"cannot be explained exactly: .* off by .*hook.*{where}"):
        ask(model, verb)
    handle.remove()
    assert off(ask(model, verb), before) < 1e-12


def test_a_hook_that_only_looks_is_no_matter():
    made, seen = clip(), []
    for module in made.modules():
        module.register_forward_hook(lambda *_: seen.append(1) and None)
    with torch.no_grad():
        truth = made.encode_image(X)
    assert off(summand.wrap(made).decompose(X).total(), truth) < 1e-12
    assert summand.wrap(made).second_order(X, 0).vectors().shape == (2, 128, 16)
    assert seen


def test_a_hook_in_the_last_block_that_edits_one_token():
    """The last block is computed for the class token alone only where nobody looks into it."""
    made = clip()

    def edit(_, __, out):
        out = out.clone()
        out[:, 3] = 0
        return out

    made.visual.transformer.resblocks[2].mlp.register_forward_hook(edit)
    with torch.no_grad():
        truth = made.encode_image(X)
    assert off(summand.wrap(made).decompose(X).total(), truth) < 1e-12


class Adapted(type(clip())):
    """A model that does more behind its image tower than its class says."""

    def encode_image(self, image, normalize=False):
        return super().encode_image(image, normalize) * 2 + 1


class Normalising(type(clip())):
    def encode_image(self, image, normalize=False):
        return super().encode_image(image, normalize=True)


@pytest.mark.parametrize(("kind", "why"), [(Adapted, "Adapted"), (Normalising, "unit-norm")])
def test_an_encode_image_of_ones_own(kind, why):
    made = clip()
    made.__class__ = kind
    with pytest.raises(summand.SummandError, match=f"do not sum to its own embedding.*{why}"):
        summand.wrap(made).decompose(X)


class WithRegisters(type(clip().visual)):
    def _embeds(self, x):
        tokens = super()._embeds(x)
        return torch.cat([tokens[:, :1], tokens[:, :1] * 0.3, tokens[:, 1:]], dim=1)


def test_registers_are_counted_or_refused():
    made = clip()
    made.visual.__class__ = WithRegisters
    with torch.no_grad():
        truth = made.encode_image(X)
    with pytest.raises(summand.SummandError, match=r"reads 6 tokens.*prefix=2"):
        summand.wrap(made).decompose(X)
    model = summand.wrap(made, prefix=2)
    assert off(model.decompose(X).total(), truth) < 1e-12
    assert model.tower.prefix == 2


def test_nan_weights_are_refused():
    made = clip()
    with torch.no_grad():
        made.visual.transformer.resblocks[1].mlp.c_fc.weight[0, 0] = float("nan")
    with pytest.raises(summand.SummandError, match="NaN"):
        summand.wrap(made).decompose(X)


@pytest.mark.parametrize("part", ["visual.transformer.resblocks.1.attn", "visual.transformer.resblocks.1", "visual"])
def test_training_mode_of_a_part(part):
    made = clip()
    made.get_submodule(part).train()
    with pytest.raises(summand.SummandError, match=r"training mode.*eval\(\)"):
        summand.wrap(made).decompose(X)


class Passes(TorchFunctionMode):
    """Counts the passes of image towers by their convolutions, and the images in each; a hook would be of the user's,
    and change what is counted."""

    def __init__(self):
        super().__init__()
        self.images = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.conv2d:
            self.images.append(len(args[0]))
        return function(*args, **(kwargs or {}))


def passes_of(ask):
    with Passes() as passes:
        ask()
    return passes.images


def test_the_guard_looks_once_for_each_state():
    made = clip()
    model = summand.wrap(made)
    first = passes_of(lambda: model.decompose(X).heads())
    assert first == [1, 1, 2]
    assert passes_of(lambda: model.decompose(X).heads()) == [2]
    with torch.no_grad():
        made.visual.proj.mul_(2)
    assert passes_of(lambda: model.decompose(X).heads()) == first


def test_a_model_with_code_of_others_costs_one_more_encode():
    made = clip()
    made.visual.ln_post.register_forward_hook(lambda *_: None)
    model = summand.wrap(made)
    model.decompose(X).heads()
    assert passes_of(lambda: model.decompose(X).heads()) == [2, 2]
    parts = model.decompose(X)
    parts.heads()
    assert passes_of(parts.mlps) == [2]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_rounding_of_every_precision_is_no_fault(dtype):
    model = summand.wrap(clip().to(dtype))
    x = X.to(dtype)
    assert model.decompose(x).heads().isfinite().all()
    assert model.second_order(x, 0).vectors().isfinite().all()
    assert model.first_order(x, 2).vectors().isfinite().all()


def test_the_doctor_measures_every_identity_and_says_what_is_wrong():
    made = clip()
    good = examine(summand.wrap(made, tokenizer=letters), X)
    assert good.exact
    assert len(good.checks) == 5  # the sum, two layers of neurons, the norms, texts
    assert all(check.error < 1e-12 for check in good.checks)
    made.visual.transformer.resblocks[1].mlp.register_forward_hook(halved)
    ill = examine(summand.wrap(made, tokenizer=letters), X)
    assert [check.holds for check in ill.checks] == [True, True, False, True, True]
    assert any("hook" in finding for finding in ill.findings)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "bad",
    [None, [[0.0] * 16], torch.zeros(2, 15).double(), torch.zeros(16).double(), torch.zeros(2, 16).double().to("meta"),
     torch.zeros(2, 16).double().to_sparse(), torch.zeros(2, 16, dtype=torch.long), torch.full((2, 16), torch.nan)],
)  # fmt: skip
def test_directions_that_are_none(bad):
    parts = summand.wrap(clip()).decompose(X)
    for ask in (parts.toward, parts.tokens_toward):
        with pytest.raises(summand.SummandError, match="directions must be"):
            ask(bad)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", [[99], [], [-1], [True], ["1"]])
def test_layers_that_are_none(bad):
    parts = summand.wrap(clip()).decompose(X)
    with pytest.raises(summand.SummandError, match="this model has layers 0 to 2"):
        parts.tokens_toward(torch.zeros(1, 16).double(), bad)


@pytest.mark.usefixtures("unchecked")
def test_bad_input_of_every_verb_is_said():
    model = summand.wrap(clip(), tokenizer=letters)
    for pixels_ in (X.to_sparse(), torch.nested.nested_tensor([X[0], X[1]])):
        with pytest.raises(summand.SummandError, match="ordinary tensor"):
            model.decompose(pixels_)
    means = torch.zeros(5, 128).double()
    for neurons, given in ((None, means), (3, means), ([0], means.numpy())):
        with pytest.raises(summand.SummandError):
            model.indirect(X, 0, neurons, given)
    for texts in (None, 5):
        with pytest.raises(summand.SummandError, match="list of texts"):
            model.encode_text(texts)
