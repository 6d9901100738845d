"""Code in a model that no look can see through: hooks with switches, for some images, for some batches; patches of
classes and functions; hooks for all modules. Every answer is that of the model as it is now, or an error."""

from __future__ import annotations

import copy
import functools
import pickle
import threading

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import summand
from summand.maps.baselines.capture import Capture
from summand.models.ablations import Ablation
from summand.models.findings import findings
from summand.models.foreign import holds_foreign_code, known_function
from summand.models.state import State
from tests.border import open_clip
from tests.depth import deep
from tests.models.tiny_clip import clip, letters, off, pixels

X = pixels(3)
TEXTS = ["ab", "c", "def"]
pytestmark = pytest.mark.usefixtures("unchecked")

ASK = {
    "total": lambda model: model.decompose(X).total(),
    "tokens": lambda model: model.decompose(X).tokens(),
    "toward": lambda model: model.decompose(X).toward(torch.ones(1, 16).double()),
    "second_order": lambda model: model.second_order(X, 0).vectors(),
    "first_order": lambda model: model.first_order(X, 1).vectors(),
    "activations": lambda model: model.activations(X, 1),
    "indirect": lambda model: model.indirect(X, 1, [3], torch.zeros(5, 128).double()).vectors(),
    "texts": lambda model: model.decompose_text(TEXTS).total(),
    "baselines": lambda model: captured(model),
}


def captured(model):
    return Capture(model, X).output


def answer(model, name):
    try:
        return ASK[name](model).detach()
    except summand.SummandError:
        return None


def same(model, made, name):
    """The model answers as a fresh wrap does, and where it is a sum, as the network itself."""
    got, fresh = answer(model, name), answer(summand.wrap(made, tokenizer=letters), name)
    assert (got is None) == (fresh is None)
    if got is not None:
        assert off(got, fresh) < 1e-12
        if name in ("total", "baselines"):
            with torch.no_grad():
                assert off(got, made.encode_image(X)) < 1e-9
        if name == "texts":
            with torch.no_grad():
                assert off(got, made.encode_text(letters(TEXTS))) < 1e-9


def scaled(out, by=0.5):
    return (out[0] * by, *out[1:]) if isinstance(out, tuple) else out * by


def when_on(switch):
    return lambda out: scaled(out) if switch["on"] else out


def others(switch):
    """Leaves the first image of the batch alone."""

    def change(out):
        if not switch["on"]:
            return out
        first, rest = (out[0], out[1:]) if isinstance(out, tuple) else (out, ())
        first = torch.cat([first[:1], first[1:] * 0.5])
        return (first, *rest) if rest else first

    return change


def of_some_sizes(switch):
    return lambda out: scaled(out) if switch["on"] and len(out[0] if isinstance(out, tuple) else out) == 3 else out


def clamped(switch):
    def change(out):
        first = out[0] if isinstance(out, tuple) else out
        first = first.clamp(max=float(first[0].max())) if switch["on"] else first
        return (first, *out[1:]) if isinstance(out, tuple) else first

    return change


class Switched:
    """`when_on`, that can be pickled."""

    def __init__(self, switch):
        self.switch = switch

    def __call__(self, out):
        return scaled(out) if self.switch["on"] else out


def changing(change, _, __, out):
    return change(out)


def as_a_hook(module, change):
    module.register_forward_hook(functools.partial(changing, change))


def as_a_forward(module, change):
    plain = type(module).forward
    module.forward = lambda *args, **more: change(plain(module, *args, **more))


def as_a_partial(module, change):
    plain = type(module).forward
    module.forward = functools.partial(lambda own, *args, **more: change(plain(own, *args, **more)), module)


def as_a_class(module, change):
    kind = type(module)

    class Own(kind):
        def forward(self, *args, **more):
            return change(kind.forward(self, *args, **more))

    module.__class__ = Own


PLACES = (
    *("visual", "visual.ln_post", "visual.transformer.resblocks.0.mlp", "visual.transformer.resblocks.1"),
    *("visual.transformer.resblocks.1.attn", "visual.transformer.resblocks.2.ln_1", "visual.transformer.resblocks.2"),
    *("visual.transformer.resblocks.0.mlp.c_proj", "transformer.resblocks.1.attn", "transformer", "ln_final"),
)


@pytest.mark.slow
@settings(max_examples=deep(30, 10), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    where=st.sampled_from(PLACES),
    how=st.sampled_from([as_a_hook, as_a_forward, as_a_partial, as_a_class]),
    what=st.sampled_from([when_on, others, of_some_sizes, clamped]),
    asked=st.lists(st.sampled_from(sorted(ASK)), min_size=1, max_size=3),
    on_first=st.booleans(),
)
def test_a_switch_that_no_look_sees(where, how, what, asked, on_first):
    made, switch = clip(), {"on": on_first}
    how(made.get_submodule(where), what(switch))
    try:
        model = summand.wrap(made, tokenizer=letters)
    except summand.SummandError:
        return  # a class that no tower is read from
    for on in (on_first, not on_first):
        switch["on"] = on
        for name in asked:
            same(model, made, name)


@pytest.mark.parametrize("of", ["hook", "pre-hook", "forward"])
@pytest.mark.parametrize("side", ["image", "text"])
def test_what_a_block_adds_beside_its_attention_and_its_mlp(of, side):
    """The sum does not see it: less of the stream, or more of it, would count as the MLP's."""
    made, switch = clip(), {"on": False}
    at = -1 if of == "pre-hook" else -2  # what is done in front of the first block is the embedding's
    block = (made.visual.transformer if side == "image" else made.transformer).resblocks[at]
    if of == "pre-hook":
        block.register_forward_pre_hook(lambda _, given: (given[0] * 0.5, *given[1:]) if switch["on"] else None)
    else:
        (as_a_hook if of == "hook" else as_a_forward)(block, when_on(switch))
    model = summand.wrap(made, tokenizer=letters)

    def parts(model):
        return model.decompose(X) if side == "image" else model.decompose_text(TEXTS)

    kept = parts(model)
    assert kept.residual() < 1e-12
    switch["on"] = True
    for asked in (model, summand.wrap(made, tokenizer=letters)):
        with pytest.raises(summand.SummandError, match=r"not what its attention and its MLP write.*resblocks\.[012]"):
            parts(asked).mlps()
    with pytest.raises(summand.SummandError, match="cannot be explained exactly"):
        kept.mlps()
    if side == "image":
        for name in ("second_order", "first_order"):  # what is measured by passes of the model itself stays right
            assert answer(model, name) is None


@pytest.mark.parametrize("question", ["second_order", "first_order", "indirect", "total"])
def test_what_a_layer_amounts_to_is_read_anew_where_a_switch_moves_it(question):
    """As of a model whose weights are what the switch makes of them."""
    ask = {
        "second_order": lambda model: model.second_order(X, 0).vectors(),
        "first_order": lambda model: model.first_order(X, 0).vectors(),
        "indirect": lambda model: model.indirect(X, 0, [3], torch.zeros(5, 128).double()).vectors(),
        "total": lambda model: model.decompose(X).total(),
    }[question]
    made, switch, halved = clip(), {"on": False}, clip()
    as_a_forward(made.visual.transformer.resblocks[0].mlp.c_proj, when_on(switch))
    with torch.no_grad():
        for parameter in halved.visual.transformer.resblocks[0].mlp.c_proj.parameters():
            parameter.mul_(0.5)
    truth = {on: ask(summand.wrap(halved if on else clip())) for on in (False, True)}
    model = summand.wrap(made)
    for on in (False, True, False):
        switch["on"] = on
        assert off(ask(model), truth[on]) < 1e-9


def test_the_terms_of_an_earlier_pass_are_confirmed():
    made, switch = clip(), {"on": False}
    as_a_hook(made.visual.transformer.resblocks[1].attn, when_on(switch))
    parts = summand.wrap(made).decompose(X)
    parts.heads()
    switch["on"] = True
    for ask in (parts.heads, parts.mlps, parts.bias, parts.head_effects, lambda: parts.trace):
        with pytest.raises(summand.SummandError, match=r"do not sum to its own embedding.*hook"):
            ask()


def test_a_hook_that_acts_at_every_third_pass():
    made, count = clip(), [0]

    def hook(_, __, out):
        count[0] += 1
        return out * 0.5 if count[0] % 3 == 0 else out

    made.visual.ln_post.register_forward_hook(hook)
    model = summand.wrap(made)
    plain = clip().encode_image(X).detach()
    for _ in range(6):
        try:
            assert off(model.decompose(X).total(), plain) < 1e-9
        except summand.SummandError:
            continue


def test_pairs_of_a_resnet_under_a_switch():
    made, switch, x = clip(resnet=True), {"on": False}, pixels(3, 32)
    as_a_hook(made.visual.attnpool, others(switch))
    model = summand.wrap(made)
    assert off(model.pairs(x).vectors().sum(dim=(1, 2)) + model.pairs(x).rest, made.encode_image(x)) < 1e-9
    switch["on"] = True
    with pytest.raises(summand.SummandError, match="hook"):
        model.pairs(x)


ENCODE, TEXT, POOL = open_clip.model.CLIP.encode_image, open_clip.model.CLIP.encode_text, VisionTransformer._global_pool
ATTEND, GELU, NORM, LINEAR = ResidualAttentionBlock.attention, F.gelu, F.layer_norm, nn.Linear.forward
PATCHES = {
    "CLIP.encode_image": (open_clip.model.CLIP, "encode_image", lambda self, x, normalize=False: ENCODE(self, x) * 2),
    "CLIP.encode_text": (open_clip.model.CLIP, "encode_text", lambda self, x, normalize=False: TEXT(self, x) * 2),
    "VisionTransformer._global_pool": (VisionTransformer, "_global_pool", lambda self, x: (x[:, 1], x[:, 2:])),
    "ResidualAttentionBlock.attention": (
        ResidualAttentionBlock,
        "attention",
        lambda self, *args, **more: ATTEND(self, *args, **more) * 2,
    ),
    "Module.__call__": (nn.Module, "__call__", lambda self, *args, **more: self._call_impl(*args, **more)),
    "LayerNorm.__call__": (nn.LayerNorm, "__call__", lambda self, *args: nn.Module._call_impl(self, *args) * 1.1),
    "Linear.forward": (nn.Linear, "forward", lambda self, x: LINEAR(self, x) * 1.1),
    "torch.nn.functional.gelu": (F, "gelu", lambda *args, **more: GELU(*args, **more) * 1.1),
    "torch.nn.functional.layer_norm": (F, "layer_norm", lambda *args, **more: NORM(*args, **more) * 1.1),
    "open_clip.model.text_global_pool": (open_clip.model, "text_global_pool", lambda x, *args, **more: x[:, 1]),
}
OF_NO_IMAGE_NUMBER = ("CLIP.encode_text", "Module.__call__", "open_clip.model.text_global_pool")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PATCHES))
@pytest.mark.parametrize("question", ["total", "second_order", "texts", "baselines"])
def test_patches_of_classes_and_functions(monkeypatch, name, question):
    made = clip()
    early, late = (summand.wrap(made, tokenizer=letters) for _ in range(2))
    parts = early.decompose(X)
    answer(early, question)
    parts.heads()
    plain = made.encode_image(X)
    assert findings(made) == []
    with monkeypatch.context() as patch:
        patch.setattr(*PATCHES[name])
        assert any(name in found for found in findings(made))
        same(early, made, question)
        same(late, made, question)
        if name in OF_NO_IMAGE_NUMBER:
            assert torch.equal(made.encode_image(X), plain)
            assert off(parts.heads(), summand.wrap(made).decompose(X).heads()) < 1e-12
        else:
            assert off(made.encode_image(X), plain) > 1e-3
            with pytest.raises(summand.SummandError, match="was changed after it was decomposed"):
                parts.heads()
    same(early, made, question)
    assert answer(early, question) is not None


def test_a_class_attribute_and_code_within_a_function_are_seen():
    kinds = {"kind": VisionTransformer, "function": ResidualAttentionBlock.attention}
    made = clip()
    seen = State(lambda: [made])
    assert seen.still()
    kinds["kind"].scale = 2.0
    try:
        assert not seen.still()
    finally:
        del kinds["kind"].scale
    assert seen.still()
    kept = kinds["function"].__code__
    kinds["function"].__code__ = (lambda self, q_x, k_x=None, v_x=None, attn_mask=None: q_x).__code__
    try:
        assert not seen.still()
    finally:
        kinds["function"].__code__ = kept
    assert seen.still()


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("question", ["total", "second_order", "texts", "baselines"])
def test_hooks_for_all_modules(before, question):
    made = clip()
    model = summand.wrap(made, tokenizer=letters)
    answer(model, question)

    def more(module, given, out=None):
        if isinstance(module, nn.LayerNorm):
            return tuple(part * 1.1 for part in given) if before else out * 1.1
        return None

    module = torch.nn.modules.module
    register = module.register_module_forward_pre_hook if before else module.register_module_forward_hook
    handle = register(more)
    try:
        assert any("for all modules" in found and "more" in found for found in findings(made))
        same(model, made, question)
        assert model._texts.fingerprint() is None
    finally:
        handle.remove()
    same(model, made, question)


def test_a_patch_of_the_text_side_is_never_kept_on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("SUMMAND_CACHE", str(tmp_path))
    model = summand.wrap(clip(), tokenizer=letters, name="tiny")
    before = model.text_batch(TEXTS)
    key = model._texts.fingerprint()
    for name in ("ResidualAttentionBlock.attention", "torch.nn.functional.layer_norm"):
        with monkeypatch.context() as patch:
            patch.setattr(*PATCHES[name])
            after = model.text_batch(TEXTS)
            assert torch.allclose(after, model.text_batch(TEXTS, cache=False))
            if "attention" in name:
                assert off(after, before) > 1e-3
    with monkeypatch.context() as patch:  # a library's own function in the place of another one's
        patch.setattr(open_clip.transformer.LayerNorm, "forward", nn.Identity.forward)
        assert model._texts.fingerprint() != key
        assert off(model.text_batch(TEXTS), before) > 1e-3
    assert torch.equal(model.text_batch(TEXTS), before)
    assert model._texts.fingerprint() == key
    assert len(list((tmp_path / "texts").iterdir())) == 2


def test_which_code_is_of_others():
    def own(x):
        return x

    assert known_function(F.gelu)
    assert known_function(functools.partial(F.gelu, approximate="tanh"))
    assert known_function(torch.no_grad()(nn.Linear.forward))
    assert not known_function(own)
    assert not known_function(functools.partial(own))
    assert not known_function(torch.no_grad()(own))  # torch's function, which runs ours
    assert not known_function(functools.wraps(F.gelu)(own))  # another one's name
    assert not known_function(functools.partial(torch.mul, other=torch.ones(3)))  # weights that no look finds
    assert not known_function(nn.Linear(2, 2).forward)
    assert not holds_foreign_code(clip().modules())
    made = clip()
    made.visual.settings = {"act": [own]}
    assert holds_foreign_code(made.modules())


@pytest.mark.parametrize("question", sorted(ASK))
def test_an_edit_during_a_pass_by_a_hook(question):
    made, switch = clip(), {"on": False}

    def edit(*_):
        if switch["on"]:
            with torch.no_grad():
                for side in (made.visual, made.transformer):
                    side.resblocks[2 if side is made.visual else 1].mlp.c_proj.weight.data.mul_(1.01) if hasattr(
                        side, "resblocks"
                    ) else side.transformer.resblocks[2].mlp.c_proj.weight.data.mul_(1.01)

    made.visual.conv1.register_forward_hook(edit)
    made.token_embedding.register_forward_hook(edit)
    model = summand.wrap(made, tokenizer=letters)
    ASK[question](model)
    switch["on"] = True
    with pytest.raises(summand.SummandError):
        ASK[question](model)


@pytest.mark.parametrize("question", ["total", "tokens", "second_order", "first_order", "activations", "texts"])
def test_an_edit_during_a_pass_by_another_thread(question):
    """The model is ordinary: nothing but the look behind the pass can tell."""
    made = clip()
    model = summand.wrap(made, tokenizer=letters)
    ASK[question](model)
    start, done = threading.Event(), threading.Event()

    def train():
        start.wait()
        made.visual.transformer.resblocks[0].mlp.c_proj.weight.data.mul_(1.01)
        made.transformer.resblocks[0].mlp.c_proj.weight.data.mul_(1.01)
        done.set()

    class InTheMiddle(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is F.gelu and not done.is_set():
                start.set()
                done.wait()
            return function(*args, **(kwargs or {}))

    thread = threading.Thread(target=train)
    thread.start()
    if question in ("total", "tokens", "texts"):  # of the model that was decomposed
        with pytest.raises(summand.SummandError, match=r"was changed (while|after)"), InTheMiddle():
            ASK[question](model)
    else:  # of the model as it is when it is answered
        with InTheMiddle():
            found = ASK[question](model).detach()
        assert off(found, ASK[question](summand.wrap(made, tokenizer=letters)).detach()) < 1e-12
    assert done.is_set()
    thread.join()
    same(model, made, question)


@pytest.mark.parametrize("question", ["second_order", "first_order", "activations"])
def test_a_model_that_is_edited_in_every_pass_is_refused(question):
    made = clip()
    model = summand.wrap(made, tokenizer=letters)
    ASK[question](model)

    class Training(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            if function is F.gelu:
                made.visual.transformer.resblocks[0].mlp.c_proj.weight.data.mul_(1.01)
            return function(*args, **(kwargs or {}))

    with pytest.raises(summand.SummandError, match=r"was changed while|cannot be explained exactly"), Training():
        ASK[question](model)
    same(model, made, question)


def test_a_block_that_takes_the_model_as_it_is_looks_when_it_is_left():
    made = clip()
    model = summand.wrap(made)
    model.decompose(X).heads()

    def edited():
        with model.as_it_is():
            model.decompose(X).heads()
            made.visual.proj.data.mul_(2)

    with pytest.raises(summand.SummandError, match="changed while"):
        edited()

    def failed():
        with model.as_it_is():
            made.visual.proj.data.mul_(2)
            raise KeyError

    with pytest.raises(KeyError):  # an error of the block itself is the one that comes
        failed()
    assert off(model.decompose(X).total(), made.encode_image(X)) < 1e-9


@pytest.mark.parametrize("when", ["before", "within", "at every turn", "back"])
def test_what_is_asked_at_once_is_of_the_model_as_it_is_in_the_end(when):
    made, calls = clip(), []
    model = summand.wrap(made)
    assert off(model.at_once(lambda: model.decompose(X).total()), made.encode_image(X)) < 1e-9

    def work():
        calls.append(1)
        found = model.decompose(X).total()
        if when == "at every turn" or (when == "within" and len(calls) == 1):
            made.visual.proj.data.mul_(2)
        return found

    if when == "back":
        handle = made.visual.register_forward_hook(lambda *_: None)
        handle.remove()
    if when == "before":
        made.visual.proj.data.mul_(2)
    if when == "at every turn":
        with pytest.raises(summand.SummandError, match="changed while"):
            model.at_once(work)
        return
    assert off(model.at_once(work), made.encode_image(X)) < 1e-9
    assert len(calls) == (1 if when == "back" else 2)
    with pytest.raises(KeyError):
        model.at_once(lambda: {}["an error of the work itself"])


def test_another_model_is_wrapped_anew():
    model = summand.wrap(clip(), tokenizer=letters)
    with pytest.raises(summand.SummandError, match="wrap the other model"):
        model.clip = clip(1)
    assert off(model.decompose(X).total(), clip().encode_image(X)) < 1e-9
    assert pickle.loads(pickle.dumps(model)).clip is not model.clip


def test_what_a_tower_and_a_trace_hand_out_is_the_callers_own():
    made, along = clip(), torch.randn(2, 16).double()
    model = summand.wrap(made)
    parts = model.decompose(X)
    before = [parts.total(), parts.tokens_toward(along), model.second_order(X, 0).vectors()]
    trace, maps = parts.trace, model.tower.head_maps()
    for tensor in (trace.values, trace.scale, trace.mlps, trace.embedding, trace.bias, trace.pooling):
        tensor.zero_()
    maps.directions.zero_()
    maps.toward(along).zero_()
    after = [parts.total(), parts.tokens_toward(along), model.second_order(X, 0).vectors()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    later = parts.trace
    with torch.no_grad():
        made.visual.proj.mul_(2)
    assert off(later.total(maps), before[0]) < 1e-12  # a trace is of the model as it was


HELD = {
    "list": [float(i) for i in range(1000)],
    "list of lists": [[i, i + 1] for i in range(400)],
    "dict": {i: i for i in range(500)},
    "bytes": bytearray(range(200)),
    **{f"array {kind}": torch.arange(5000.0).numpy().astype(kind) for kind in ("f8", "f4", "i8", "u2", "c16", "O")},
    "matrix": torch.arange(6000.0).reshape(60, 100).numpy(),
    "view": torch.arange(6000.0).reshape(60, 100).numpy()[::-1, ::2],
}


def edit_held(held):
    if isinstance(held, (list, dict, bytearray)):
        at = held[137] if isinstance(held[137], list) else held
        at[1 if at is not held else 137] = 77
    elif held.ndim == 1:
        held[3123] = 77
    else:
        held[:, 7] = -5


@pytest.mark.parametrize("name", sorted(HELD))
def test_what_is_in_long_lists_and_large_arrays_is_seen(name):
    module = nn.Module()
    module.held = copy.deepcopy(HELD[name])
    seen = State(lambda: [module])
    assert seen.still()
    edit_held(module.held)
    assert not seen.still()


def test_a_read_only_view_of_what_is_edited():
    base = torch.arange(5000.0).numpy()
    module = nn.Module()
    module.held = base.view()
    module.held.flags.writeable = False
    seen = State(lambda: [module])
    assert seen.still()
    base[17] = -1
    assert not seen.still()


@pytest.mark.parametrize("way", ["autocast", "inference_mode", "deepcopy", "pickle", "threads", "ablated", "resnet"])
def test_a_switch_in_every_surrounding(way):
    made, switch = clip(resnet=way == "resnet"), {"on": False}
    x = pixels(3, 32 if way == "resnet" else 16)
    switched = made.visual.attnpool if way == "resnet" else made.visual.transformer.resblocks[1].attn
    as_a_hook(switched, Switched(switch))
    if way == "autocast":
        made, x = made.float(), x.float()
    model = summand.wrap(made)
    if way == "ablated":
        effects = model.decompose(x).head_effects()
        model = Ablation.of(model, [(1, 0)], effects.coefficients.mean(dim=0)).apply(model)
    model.decompose(x).heads()
    if way in ("deepcopy", "pickle"):
        model = copy.deepcopy(model) if way == "deepcopy" else pickle.loads(pickle.dumps(model))
        switch = next(iter(model.clip.visual.transformer.resblocks[1].attn._forward_hooks.values())).args[0].switch
    parts = model.decompose(x)
    parts.heads()
    switch["on"] = True
    refused = []

    def ask():
        for question in (parts.total, lambda: model.decompose(x).mlps()):
            try:
                question()
            except summand.SummandError as error:
                refused.append(str(error))

    with (
        torch.autocast("cpu", dtype=torch.bfloat16, enabled=way == "autocast"),
        torch.inference_mode(way == "inference_mode"),
    ):
        threads = [threading.Thread(target=ask) for _ in range(4)] if way == "threads" else []
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if not threads:
            ask()
    assert len(refused) == 2 * max(1, len(threads))
    assert all("cannot be explained exactly" in said for said in refused)
    switch["on"] = False
    if way not in ("autocast", "resnet"):
        assert off(parts.total(), model.encode_image(x)) < 1e-9  # what was refused has left nothing behind


class Meanwhile(TorchFunctionMode):
    """Does something in another thread in front of this thread's first sum over terms."""

    def __init__(self, something):
        super().__init__()
        self.something = something

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.einsum and self.something is not None:
            other = threading.Thread(target=self.something)
            self.something = None
            other.start()
            other.join()
        return function(*args, **(kwargs or {}))


def test_another_thread_is_refused_in_the_middle_of_a_question():
    made, switch = clip(), {"on": False}
    as_a_hook(made.visual.transformer.resblocks[1].attn, Switched(switch))
    parts = summand.wrap(made).decompose(X)
    parts.heads()
    switch["on"] = True
    refused = []

    def ask():
        with pytest.raises(summand.SummandError, match="cannot be explained exactly") as error:
            parts.total()
        refused.append(error)

    with Meanwhile(ask):
        ask()
    assert len(refused) == 2


def test_weights_that_were_changed_and_changed_back():
    made = clip()
    model = summand.wrap(made)
    parts = model.decompose(X)
    weight = made.visual.transformer.resblocks[0].mlp.c_proj.weight
    kept = weight.detach().clone()
    weight.data.mul_(2)
    with pytest.raises(summand.SummandError, match="was changed after"):
        parts.heads()
    weight.data.copy_(kept)
    assert off(parts.total(), made.encode_image(X)) < 1e-9
    assert off(model.decompose(X).total(), made.encode_image(X)) < 1e-9


def test_what_torch_compile_leaves_in_a_library_is_no_code_of_others(monkeypatch):
    """It stands among the functions of the library and holds weights, and nothing but what was compiled calls it."""
    weights = torch.ones(3)
    monkeypatch.setattr(open_clip.transformer, "__compiled_fn_1_0d3e", lambda: weights, raising=False)
    made = clip()
    seen = State(lambda: [made])
    assert not holds_foreign_code(made.modules())
    assert findings(made) == []
    monkeypatch.delattr(open_clip.transformer, "__compiled_fn_1_0d3e")
    assert seen.still()
    monkeypatch.setattr(open_clip.transformer, "text_global_pool", lambda: weights)
    assert holds_foreign_code(made.modules())
