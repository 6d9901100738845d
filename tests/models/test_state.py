"""What users do to a model between two questions: every answer is that of a fresh wrap, or an error."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.nn.utils import parametrizations, parametrize

import summand
from summand.models.side_states import image_state
from summand.models.state import State
from tests.depth import deep
from tests.models.tiny_clip import clip, letters, off, pixels

X = pixels()
pytestmark = pytest.mark.usefixtures("unchecked")  # as users run it, and faster


def weights(made):
    return [p for p in made.parameters() if p.ndim and p.numel()]


def some(made, rng):
    found = weights(made)
    return found[rng.integers(len(found))]


def in_place(made, rng):
    with torch.no_grad():
        some(made, rng).mul_(1.3)


def through_data(made, rng):
    parameter = some(made, rng)
    parameter.data.copy_(0.9 * parameter.data + 0.1 * torch.randn_like(parameter))


def a_row_through_numpy(made, rng):
    view = some(made, rng).detach().numpy()
    view[rng.integers(len(view))] += 0.5


def a_column_through_numpy(made, rng):
    matrices = [p for p in weights(made) if p.ndim == 2]
    view = matrices[rng.integers(len(matrices))].detach().numpy()
    view[:, rng.integers(view.shape[1])] += 0.5


def new_data(made, rng):
    parameter = some(made, rng)
    parameter.data = parameter.data + 0.1


def swapped(made, rng):
    parameter = some(made, rng)
    torch.utils.swap_tensors(parameter, torch.nn.Parameter(parameter.detach() * 0.8))


def new_parameter(made, rng):
    attention = made.visual.transformer.resblocks[rng.integers(3)].attn
    attention.in_proj_weight = torch.nn.Parameter(attention.in_proj_weight.detach() * 1.2)


def optimizer_step(fused):
    def step(made, rng):
        optimizer = torch.optim.AdamW(made.parameters(), lr=0.02, fused=fused, foreach=False)
        (made.encode_image(X).square().sum() + made.encode_text(letters(["ab"])).square().sum()).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def loaded(assign):
    def load(made, rng):
        state = {key: value + 0.03 if value.is_floating_point() else value for key, value in made.state_dict().items()}
        made.load_state_dict(state, assign=assign)

    return load


def new_norm(made, rng):
    made.visual.ln_post = torch.nn.LayerNorm(32).double()


def new_attention_output(made, rng):
    made.visual.transformer.resblocks[1].attn.out_proj = torch.nn.modules.linear.NonDynamicallyQuantizableLinear(
        32, 32
    ).double()


def new_block(made, rng):
    made.visual.transformer.resblocks[1] = clip(seed=int(rng.integers(99)) + 1).visual.transformer.resblocks[1]


def new_tower(made, rng):
    made.visual = clip(seed=int(rng.integers(99)) + 1).visual


def fewer_blocks(made, rng):
    made.visual.transformer.resblocks = torch.nn.ModuleList(list(made.visual.transformer.resblocks)[:2])


def weight_norm(made, rng):
    layer = made.visual.transformer.resblocks[0].mlp.c_proj
    if parametrize.is_parametrized(layer):
        with torch.no_grad():
            layer.parametrizations.weight.original0.mul_(1.5)
    else:
        parametrizations.weight_norm(layer)


def eps(made, rng):
    made.visual.ln_post.eps = float(rng.choice([1e-5, 1e-2, 1e-1]))
    made.visual.transformer.resblocks[2].ln_1.eps = float(rng.choice([1e-5, 1e-2]))


def activation(made, rng):
    made.visual.transformer.resblocks[int(rng.integers(3))].mlp.gelu = rng.choice(
        [torch.nn.ReLU(), torch.nn.GELU("tanh")]
    )


def a_hook(made, rng):
    block = made.visual.transformer.resblocks[int(rng.integers(3))]
    module = (block.mlp.c_proj, block.ln_1, block.attn)[int(rng.integers(3))]
    module.register_forward_hook(lambda _, __, out: (out[0] * 0.5, *out[1:]) if isinstance(out, tuple) else out * 0.5)


def a_forward(made, rng):
    block = made.visual.transformer.resblocks[int(rng.integers(3))]
    plain = type(block).forward
    block.forward = lambda *args, **more: plain(block, *args, **more) * 1.1


EDITS = {
    **{edit.__name__: edit for edit in (in_place, through_data, a_row_through_numpy, a_column_through_numpy, new_data)},
    **{edit.__name__: edit for edit in (swapped, new_parameter, new_norm, new_attention_output, new_block, new_tower)},
    **{edit.__name__: edit for edit in (fewer_blocks, weight_norm, eps, activation, a_hook, a_forward)},
    "fused AdamW": optimizer_step(True),
    "AdamW": optimizer_step(False),
    "load_state_dict": loaded(False),
    "load_state_dict(assign)": loaded(True),
}


def total(model):
    return model.decompose(X).total()


def of_neurons(model):
    return model.second_order(X, 0).vectors()


def own_writes(model):
    return model.first_order(X, 1).vectors()


def of_texts(model):
    return model.decompose_text(["abc", "d"]).total()


def embeddings(model):
    return model.text_batch(["abc", "de", "f"]).double()


QUESTIONS = [total, of_neurons, own_writes, of_texts, embeddings]


@pytest.mark.slow
@settings(max_examples=deep(30, 8), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.sampled_from(sorted(EDITS)), st.integers(0, 10**6)), min_size=1, max_size=4),
    asked=st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=5),
)
def test_any_edits_between_any_questions(edits, asked):
    made = clip()
    model = summand.wrap(made, tokenizer=letters)
    for ask in asked:
        ask(model)
    for name, seed in edits:
        EDITS[name](made, np.random.default_rng(seed))
        with torch.no_grad():
            truth = made.encode_image(X)
        for ask in asked:
            try:
                fresh = ask(summand.wrap(made, tokenizer=letters))
            except summand.SummandError:
                with pytest.raises(summand.SummandError):
                    ask(model)
                continue
            assert off(ask(model), fresh) < 1e-12
            if ask is total:
                assert off(fresh, truth) < 1e-9


@pytest.mark.parametrize("name", sorted(EDITS))
def test_parts_say_that_the_model_was_changed(name):
    made = clip()
    with torch.no_grad():
        truth = made.encode_image(X)
    parts = summand.wrap(made).decompose(X)
    parts.heads()
    EDITS[name](made, np.random.default_rng(3))
    with torch.no_grad():
        now = made.encode_image(X)
    if not torch.equal(now, truth):  # else of the text side, or another form of the same weights
        with pytest.raises(summand.SummandError, match="was changed after it was decomposed"):
            parts.total()


def test_every_edit_of_a_whole_row_or_column_is_seen():
    module = torch.nn.Module()
    shapes = [(5, 7), (7, 5), (12, 4), (4, 4), (1, 6, 3), (3, 2, 2, 2), (9,), (2, 9, 1), (6, 2, 3)]
    for number, shape in enumerate(shapes):
        module.register_buffer(f"b{number}", torch.randn(shape))
    for number, shape in enumerate(shapes):
        for axis in range(len(shape)):
            for at in range(shape[axis]):
                seen = State(lambda: [module])
                assert seen.still()
                view = getattr(module, f"b{number}").numpy()  # past torch's count of edits
                np.moveaxis(view, axis, 0)[at] += 1
                assert not seen.still(), (shape, axis, at)


def test_nan_weights_are_no_change():
    module = torch.nn.Linear(3, 3)
    with torch.no_grad():
        module.weight[0, 0] = float("nan")
    assert State(lambda: [module]).still()


class Bookkeeping(torch.nn.Module):
    """An MLP that counts, keeps what it saw, and has a cache."""

    def __init__(self, mlp):
        super().__init__()
        self.mlp, self.calls, self.seen, self.cache = mlp, 0, [], {}
        self.register_buffer("last", torch.zeros(1))

    def forward(self, tokens):
        self.calls += 1
        self.seen.append(tokens.shape)
        self.cache[self.calls] = tokens
        self.last = tokens.mean()
        return self.mlp(tokens)


def test_a_module_that_keeps_a_record_of_its_passes_is_the_same_model():
    made = clip()
    made.visual.transformer.resblocks[1].mlp = Bookkeeping(made.visual.transformer.resblocks[1].mlp).eval()
    model = summand.wrap(made)
    parts = model.decompose(X)
    assert off(parts.total(), made.encode_image(X)) < 1e-12
    assert off(parts.tokens().sum(dim=1), parts.heads().sum(dim=(1, 2))) < 1e-9
    tower = model.tower
    model.decompose(X).heads()
    assert model.tower is tower
    with torch.no_grad():
        made.visual.transformer.resblocks[1].mlp.mlp.c_proj.weight.mul_(2)
    assert off(model.decompose(X).total(), made.encode_image(X)) < 1e-12


def test_a_block_that_takes_the_model_as_it_is_looks_once(monkeypatch):
    made, looks = clip(), []
    model = summand.wrap(made)
    model.decompose(X).heads()
    still = State.still
    monkeypatch.setattr(State, "still", lambda self: looks.append(1) or still(self))
    with model.as_it_is():
        for _ in range(3):
            model.second_order(X, 0)
    assert len(looks) == 1 + 2 + 1  # on entering, by the guard after its checks of neurons and norms, and on leaving
    with torch.no_grad():
        made.visual.proj.mul_(2)
    assert off(model.decompose(X).total(), made.encode_image(X)) < 1e-12


def test_what_nothing_sees_is_seen_after_refresh():
    made = clip()
    model = summand.wrap(made)
    model.second_order(X, 0)
    made.visual.transformer.resblocks[0].mlp.c_proj.weight.detach().numpy()[0, 5] += 3.0
    model.refresh()
    assert off(of_neurons(model), of_neurons(summand.wrap(made))) < 1e-12
    assert off(total(model), made.encode_image(X)) < 1e-12


def test_a_pixel_buffer_that_is_used_again():
    model, buffer = summand.wrap(clip()), X.clone()
    parts, truth = model.decompose(buffer), model.encode_image(buffer)
    buffer.mul_(-1)
    assert off(parts.total(), truth) < 1e-12
    assert off(parts.tokens().sum(dim=1), parts.heads().sum(dim=(1, 2))) < 1e-9


@pytest.mark.parametrize("resnet", [False, True])
def test_copies_and_pickles(resnet):
    made = clip(resnet=resnet)
    x = pixels(side=32 if resnet else 16)
    model = summand.wrap(made, tokenizer=letters, name="mine")
    truth = model.decompose(x).total()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    saved = torch.load(file, weights_only=False)
    for other in (copy.deepcopy(model), copy.copy(model), pickle.loads(pickle.dumps(model)), saved):
        assert other.name == "mine"
        assert off(other.decompose(x).total(), truth) < 1e-12
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.clip.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
        changed = other.clip.encode_image(x)
    assert off(other.decompose(x).total(), changed) < 1e-12
    assert off(changed, truth) > 0.01
    assert off(model.decompose(x).total(), truth) < 1e-12


def total_of(model):
    torch.set_num_threads(1)
    return model.decompose(X).total().numpy()


def test_another_process_takes_a_model():
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    model = summand.wrap(clip())
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as pool:
        found = pool.submit(total_of, model).result()
    np.testing.assert_allclose(found, model.encode_image(X).numpy(), atol=1e-12)


@pytest.mark.parametrize("resnet", [False, True])
def test_inference_mode(resnet):
    x = pixels(side=32 if resnet else 16)
    with torch.inference_mode():
        model = summand.wrap(clip(resnet=resnet))
        inside = model.decompose(x).total()
        maps = model.tower.head_maps()
    assert off(model.decompose(x).total(), inside) < 1e-12
    along = maps.directions.clone().requires_grad_(True)  # can be used where gradients are made
    along.square().sum().backward()
    with torch.inference_mode():
        assert off(model.decompose(x.clone()).heads(), model.decompose(x).heads()) < 1e-12


def test_an_ablated_model_follows_its_network_or_says_that_it_does_not_fit():
    from summand.models.ablations import Ablation

    made = clip()
    model = summand.wrap(made)
    effects = model.decompose(X).head_effects()
    ablation = Ablation.of(model, [(1, 0), (2, 1)], effects.coefficients.mean(dim=0))
    ablated = ablation.apply(model)
    with torch.no_grad():
        made.visual.conv1.weight.mul_(1.4)  # leaves the heads' directions alone
    fresh = ablation.apply(summand.wrap(made))
    assert off(ablated.encode_image(X), fresh.encode_image(X)) < 1e-12
    assert off(ablated.decompose(X).total(), ablated.encode_image(X)) < 1e-12
    assert off(pickle.loads(pickle.dumps(ablated)).encode_image(X), ablated.encode_image(X)) < 1e-12
    with torch.no_grad():
        made.visual.transformer.resblocks[1].attn.out_proj.weight.mul_(-1)
    with pytest.raises(summand.SummandError, match="its heads are not those"):
        ablated.encode_image(X)


def test_autocast_leaves_nothing_behind():
    made = clip().float()
    model, x = summand.wrap(made), X.float()
    fresh = summand.wrap(made)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model.first_order(x, 1)
        model.second_order(x, 0).norms()
        model.tower.head_maps()
        model.decompose(x).heads()
    assert torch.equal(model.first_order(x, 1).basis.dense(), fresh.first_order(x, 1).basis.dense())
    assert torch.equal(model.second_order(x, 0).basis.dense(), fresh.second_order(x, 0).basis.dense())
    assert off(model.decompose(x).total(), model.encode_image(x)) < 1e-5


def test_gradients_lead_back_to_directions():
    model = summand.wrap(clip())
    along = torch.randn(3, 16, dtype=torch.float64)
    parts = model.decompose(X)
    heads, neurons = parts.head_effects(), model.second_order(X, 0)
    for ask in (parts.toward, parts.tokens_toward, model.tower.head_maps().toward, heads.toward, neurons.toward):
        wanted = along.clone().requires_grad_(True)
        found = ask(wanted)
        assert torch.equal(found.detach(), ask(along)) or off(found.detach(), ask(along)) < 1e-12
        (gradient,) = torch.autograd.grad(found.sum(), wanted)
        step = torch.randn_like(along)  # linear in the directions, so the difference is the derivative
        change = (ask(along + step) - ask(along)).sum()
        assert abs(float((gradient * step).sum() - change)) < 1e-9
        with torch.inference_mode():
            assert off(ask(along), found.detach()) < 1e-12


def test_what_is_handed_out_is_the_callers_own():
    model = summand.wrap(clip())
    parts = model.decompose(X)
    truth = model.encode_image(X)
    for ask in (parts.heads, parts.mlps, parts.embedding, parts.bias, parts.tokens):
        first = ask().clone()
        ask().zero_()
        assert torch.equal(ask(), first)
    for effects in (parts.head_effects(), parts.token_effects(), model.second_order(X, 0), model.first_order(X, 1)):
        before = effects.vectors()
        effects.directions.zero_()
        assert torch.equal(effects.vectors(), before)
    assert off(parts.total(), truth) < 1e-12
    assert off(model.decompose(X).total(), truth) < 1e-12


def test_a_module_that_both_sides_share_is_seen_by_both():
    made = clip(seed=2)
    made.visual.ln_post = torch.nn.LayerNorm(32).double()
    made.shared = torch.nn.ModuleList([made.visual.ln_post])
    made.transformer.shared = made.visual.ln_post
    model = summand.wrap(made, tokenizer=letters)
    model.decompose(X).total()
    with torch.no_grad():
        made.visual.ln_post.weight.data.mul_(torch.linspace(0.5, 2, 32).double())
    assert off(model.decompose(X).total(), made.encode_image(X)) < 1e-9


class Subclassed(torch.nn.Parameter):
    pass


def test_a_subclass_of_parameter_is_sampled():
    made = clip()
    made.visual.proj = Subclassed(made.visual.proj.data)
    model = summand.wrap(made)
    model.decompose(X).total()
    made.visual.proj.data.mul_(torch.linspace(0.5, 2, 16).double())
    assert off(model.decompose(X).total(), made.encode_image(X)) < 1e-9


def test_an_attribute_that_holds_itself():
    made = clip()
    made.visual.info = {}
    made.visual.info["me"] = made.visual.info
    assert off(summand.wrap(made).decompose(X).total(), made.encode_image(X)) < 1e-9


class Remembering(torch.nn.LayerNorm):
    def forward(self, x):
        self.last_shape = x.shape
        return super().forward(x)


def test_a_module_that_remembers_its_last_batch_is_the_same_model():
    made = clip()
    made.visual.ln_post.__class__ = Remembering
    parts = summand.wrap(made).decompose(pixels(3))
    parts.heads()
    assert off(parts.total(), made.encode_image(pixels(3))) < 1e-9


@torch.no_grad()
def test_weights_that_are_edited_while_passes_are_tried_are_nothing_that_passes_leave_behind():
    made = clip()
    state, weight = image_state(made), made.visual.conv1.weight
    state.settle(lambda: weight.mul_(2))  # by another thread
    assert not state.still()
    state = image_state(made)
    state.settle(lambda: made.encode_image(X))
    assert state.still()
    weight.mul_(2)
    assert not state.still()
