"""What is no reason to refuse a model, and what is said where there is one."""

from __future__ import annotations

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock

import summand
from summand.border import foreign
from summand.models.ablations import Ablation, NeuronAblation
from tests.models.tiny_clip import clip, letters, off, pixels

X = pixels()
pytestmark = pytest.mark.usefixtures("unchecked")


def recorder(made, block=1):
    return made.visual.transformer.resblocks[block].register_forward_hook(lambda *_: None)


def half_of_the_probe(made):
    with torch.no_grad():
        made.probe.weight.mul_(0.5)


NO_MATTER = {  # before it is decomposed, and between that and a question
    "a recorder added": (lambda made: None, lambda made, _: recorder(made)),
    "a recorder removed": (recorder, lambda made, handle: handle.remove()),
    "a recorder added to the last block": (lambda made: None, lambda made, _: recorder(made, 2)),
    "a recorder removed from the last block": (lambda made: recorder(made, 2), lambda made, handle: handle.remove()),
    "a scale of the logits": (lambda made: None, lambda made, _: made.logit_scale.data.add_(1)),
    "a probe": (lambda made: None, lambda made, _: setattr(made, "probe", torch.nn.Linear(3, 3))),
    "a trained probe": (
        lambda made: setattr(made, "probe", torch.nn.Linear(3, 3)),
        lambda made, _: half_of_the_probe(made),
    ),
    "a counter": (lambda made: None, lambda made, _: setattr(made, "steps", 3)),
    "a list": (lambda made: None, lambda made, _: setattr(made, "kept", [torch.zeros(3)])),
    "an optimizer": (lambda made: None, lambda made, _: setattr(made, "opt", torch.optim.Adam(made.parameters()))),
    "an average": (lambda made: None, lambda made, _: setattr(made, "ema", copy.deepcopy(made))),
}


@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False], ids=["asked", "not asked"])
@pytest.mark.parametrize("name", NO_MATTER)
def test_what_no_embedding_depends_on_is_no_change(name, asked):
    before, between = NO_MATTER[name]
    made = clip()
    handle = before(made)
    model = summand.wrap(made, tokenizer=letters)
    parts, of_text = model.decompose(X), model.decompose_text(["abc"])
    truth, text = made.encode_image(X), of_text.total()
    if asked:
        parts.heads(), of_text.heads()
    between(made, handle)
    assert off(parts.total(), truth) < 1e-12
    assert off(parts.tokens().sum(dim=1), parts.heads().sum(dim=(1, 2))) < 1e-9
    assert off(of_text.total(), text) < 1e-12
    assert off(model.decompose(X).total(), truth) < 1e-12


def test_a_scale_of_the_logits_makes_nothing_anew():
    made = clip()
    model = summand.wrap(made, tokenizer=letters)
    towers = model.tower, model.text_tower
    made.logit_scale.data.add_(1)
    assert (model.tower, model.text_tower) == towers


class Scaling(type(clip())):
    """An embedding that does depend on it."""

    def encode_image(self, image, normalize=False):
        return super().encode_image(image, normalize) * self.logit_scale


def test_a_scale_that_an_embedding_of_ones_own_reads_is_seen():
    made = clip()
    made.__class__ = Scaling
    with torch.no_grad():
        made.logit_scale.fill_(1.0)
    model = summand.wrap(made)
    model.decompose(X).total()
    with torch.no_grad():
        made.logit_scale.fill_(2.0)
    with pytest.raises(summand.SummandError, match=r"do not sum to its own embedding.*Scaling"):
        model.decompose(X)


CHANGES = {  # hooks that change what is answered
    "an attention": ("visual.transformer.resblocks.1.attn", lambda _, __, out: (out[0] / 2, *out[1:])),
    "the last MLP, same size": ("visual.transformer.resblocks.2.mlp", lambda _, __, out: out.flip(-1)),
    "the stream of one token": (
        "visual.transformer.resblocks.0",
        lambda _, __, out: out + (torch.arange(5) == 3)[:, None] * torch.linspace(0, 1, 32),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_hooks_that_change_an_answer_are_a_change(name):
    where, hook = CHANGES[name]
    made = clip()
    parts = summand.wrap(made).decompose(X)
    parts.heads()
    made.get_submodule(where).register_forward_hook(hook)
    with pytest.raises(summand.SummandError, match="was changed after it was decomposed"):
        parts.mlps()


@pytest.mark.parametrize(("dtype", "share"), [(torch.float32, 3e-4), (torch.bfloat16, 3e-2)])
def test_a_small_edit_of_weights_is_a_change(dtype, share):
    """The guard's tolerance for the model's own rounding would let it pass."""
    made = clip().to(dtype)
    parts = summand.wrap(made).decompose(X.to(dtype))
    parts.heads()
    made.visual.transformer.resblocks[1].mlp.c_proj.weight.data.mul_(1 + share)
    with pytest.raises(summand.SummandError, match="was changed after it was decomposed"):
        parts.heads()


def test_parity_goes_on_behind_a_recorder():
    made = clip()
    parts = summand.wrap(made).decompose(X, parity="paper")
    before = parts.heads()
    recorder(made)
    assert off(parts.heads(), before) < 1e-12
    assert not parts.bias().any()


INTEGERS = [np.int64, np.uint8, torch.tensor, np.array, lambda n: torch.tensor(n, dtype=torch.uint8)]


@pytest.mark.parametrize("kind", INTEGERS)
def test_whole_numbers_of_every_library_name_layers_and_units(kind):
    model = summand.wrap(clip())
    one, parts = kind(1), model.decompose(X)
    means = model.mean_activations([X], one)
    assert torch.equal(means, model.mean_activations([X], 1))
    along = torch.eye(16, dtype=torch.float64)[:2]
    pairs_ = [
        (model.second_order(X, one).vectors(), model.second_order(X, 1).vectors()),
        (model.first_order(X, one).vectors(), model.first_order(X, 1).vectors()),
        (model.activations(X, one), model.activations(X, 1)),
        (
            model.indirect(X, one, [kind(3), kind(0)], means).vectors(),
            model.indirect(X, 1, [3, 0], means).vectors(),
        ),
        (parts.token_effects([one]).vectors(), parts.token_effects([1]).vectors()),
        (parts.tokens_toward(along, [one]), parts.tokens_toward(along, [1])),
        (parts.head_effects().select(one).vectors(), parts.head_effects().select(1).vectors()),
        (parts.head_effects().select([one]).vectors(), parts.head_effects().select([1]).vectors()),
    ]
    heads, neurons = parts.head_effects().coefficients.mean(dim=0), model.second_order(X, 1).coefficients.mean(dim=0)
    pairs_ += [
        (
            Ablation.of(model, [(one, kind(0))], heads).apply(model).encode_image(X),
            Ablation.of(model, [(1, 0)], heads).apply(model).encode_image(X),
        ),
        (
            NeuronAblation.of(model, one, [kind(5)], neurons).apply(model).encode_image(X),
            NeuronAblation.of(model, 1, [5], neurons).apply(model).encode_image(X),
        ),
    ]
    for got, want in pairs_:
        assert torch.equal(got, want)


@pytest.mark.parametrize("bad", [True, np.bool_(True), torch.tensor(True), 1.0, np.float64(1), torch.tensor([1]), "1"])
def test_what_is_no_whole_number_is_refused(bad):
    model = summand.wrap(clip())
    means, parts = model.mean_activations([X], 1), model.decompose(X)
    asks = [
        lambda: model.second_order(X, bad),
        lambda: model.first_order(X, bad),
        lambda: model.activations(X, bad),
        lambda: model.indirect(X, 1, [bad], means),
        lambda: parts.tokens_toward(torch.eye(16, dtype=torch.float64), [bad]),
        lambda: parts.token_effects([bad]),
        lambda: Ablation.of(model, [(bad, 0)], parts.head_effects().coefficients[0]),
        lambda: NeuronAblation.of(model, 1, [bad], model.second_order(X, 1).coefficients[0]),
    ]
    for ask in asks:
        with pytest.raises(summand.SummandError, match=r"layer|neurons|heads"):
            ask()


class WithMore(ResidualAttentionBlock):
    note = 3

    def half(self):
        return self.note / 2


class Equal(ResidualAttentionBlock):
    def forward(self, q_x, k_x=None, v_x=None, attn_mask=None):
        x = q_x + self.ls_1(self.attention(q_x=self.ln_1(q_x), k_x=k_x, v_x=v_x, attn_mask=attn_mask))
        return x + self.ls_2(self.mlp(self.ln_2(x)))


class InPlace(ResidualAttentionBlock):
    def forward(self, q_x, k_x=None, v_x=None, attn_mask=None):
        q_x += self.ls_1(self.attention(q_x=self.ln_1(q_x), k_x=k_x, v_x=v_x, attn_mask=attn_mask))
        return q_x.add_(self.ls_2(self.mlp(self.ln_2(q_x))))


class Adding(ResidualAttentionBlock):
    """What it adds behind its MLP would count as the MLP's."""

    def forward(self, q_x, **more):
        return super().forward(q_x, **more) + torch.linspace(0, 1, q_x.shape[-1]).to(q_x)


class Stretching(ResidualAttentionBlock):
    """In the last block the final norm hides it."""

    def forward(self, q_x, **more):
        return super().forward(q_x, **more) * 1.1


def as_blocks(kind, which=slice(None)):
    made = clip()
    for blocks in (made.visual.transformer.resblocks, made.transformer.resblocks):
        for block in list(blocks)[which]:
            block.__class__ = kind
    return made


@pytest.mark.parametrize("kind", [WithMore, Equal, InPlace])
def test_a_block_that_does_what_its_parent_does_is_read(kind):
    model, plain = (summand.wrap(made, tokenizer=letters) for made in (as_blocks(kind), clip()))
    means = plain.mean_activations([X], 0)
    asks = [
        lambda m: m.decompose(X).heads(),
        lambda m: m.decompose(X).mlps(),
        lambda m: m.decompose(X).tokens(),
        lambda m: m.second_order(X, 0).vectors(),
        lambda m: m.first_order(X, 1).vectors(),
        lambda m: m.activations(X, 2),
        lambda m: m.indirect(X, 0, [1, 5], means).vectors(),
        lambda m: m.decompose_text(["ab"]).mlps(),
    ]
    for ask in asks:
        assert off(ask(model), ask(plain)) < 1e-12


@pytest.mark.parametrize("which", [slice(0, 1), slice(1, 2), slice(-1, None), slice(None)])
@pytest.mark.parametrize("kind", [Adding, Stretching])
def test_a_block_that_does_more_is_refused_by_its_class(kind, which):
    model = summand.wrap(as_blocks(kind, which).float(), tokenizer=letters)
    with pytest.raises(summand.SummandError, match=f"cannot be explained exactly.*{kind.__name__}"):
        model.decompose(X.float())
    with pytest.raises(summand.SummandError, match=f"cannot be explained exactly.*{kind.__name__}"):
        model.decompose_text(["ab"])


def test_effects_are_copied_and_what_reads_a_model_says_that_it_is_not():
    model = summand.wrap(clip(), tokenizer=letters)
    parts = model.decompose(X)
    for kept in (parts.head_effects(), model.second_order(X, 0)):
        for other in (copy.deepcopy(kept), copy.copy(kept), pickle.loads(pickle.dumps(kept))):
            assert torch.equal(other.vectors(), kept.vectors())
    maps = model.tower.head_maps()
    for other in (copy.deepcopy(maps), pickle.loads(pickle.dumps(maps))):
        assert torch.equal(other.directions, maps.directions)
    for bound in (parts, model.decompose_text(["a"]), model.tower, model.text_tower, parts.trace):
        for away in (copy.deepcopy, pickle.dumps):
            with pytest.raises(summand.SummandError, match="cannot be copied deeply or pickled"):
                away(bound)
    assert torch.equal(copy.copy(parts).heads(), parts.heads())


BUFFERS = {
    "complex half": lambda: torch.zeros(3, 4, dtype=torch.complex32),
    "complex": lambda: torch.zeros(3, 4, dtype=torch.complex64),
    "conjugate": lambda: torch.ones(3, 4, dtype=torch.complex64).conj(),
    "bool": lambda: torch.ones(3, 4, dtype=torch.bool),
    "int8": lambda: torch.ones(3, 4, dtype=torch.int8),
    "uint16": lambda: torch.ones(3, 4).to(torch.uint16),
    "float8": lambda: torch.ones(3, 4).to(torch.float8_e4m3fn),
    "sparse": lambda: torch.eye(3).to_sparse(),
    "csr": lambda: torch.eye(3).to_sparse_csr(),
    "nested": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "jagged": lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "uninitialised": lambda: torch.nn.parameter.UninitializedParameter(),
    "quantised": lambda: torch.quantize_per_tensor(torch.ones(3, 4), 0.1, 0, torch.qint8),
    "of no axis": lambda: torch.tensor(3),
    "expanded": lambda: torch.ones(1, 1).expand(5, 6),
}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["", "visual"])
@pytest.mark.parametrize("name", BUFFERS)
def test_buffers_of_every_kind_beside_the_weights(name, place):
    made = clip()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = BUFFERS[name]()
    holder = made.get_submodule(place)
    if isinstance(found, torch.nn.Parameter):
        holder.register_parameter("extra", found)
    else:
        holder.register_buffer("extra", found)
    model = summand.wrap(made, tokenizer=letters)
    parts = model.decompose(X)
    assert off(parts.total(), made.encode_image(X)) < 1e-12
    assert model.text_batch(["ab"]).shape == (1, 16)
    with torch.no_grad():
        made.visual.proj.mul_(2)
    assert off(model.decompose(X).total(), made.encode_image(X)) < 1e-12


@pytest.mark.parametrize("kind", ["complex half", "complex", "float8", "uint16"])
def test_an_edit_of_such_a_buffer_is_seen(kind):
    from summand.models.state import State

    module = foreign(torch.nn.Module())
    module.register_buffer("extra", BUFFERS[kind]())
    seen = State(lambda: [module])
    assert seen.still()
    bits = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[module.extra.element_size()]
    module.extra.view(bits).detach().numpy()[1] += 1  # past torch's count of edits
    assert not seen.still()


@pytest.mark.parametrize("place", ["", "visual"])
def test_a_buffer_on_meta_is_named(place):
    made = clip()
    made.get_submodule(place).register_buffer("extra", torch.ones(3, device="meta"))
    with pytest.raises(summand.SummandError, match=r"extra is on the meta device"):
        summand.wrap(made)
