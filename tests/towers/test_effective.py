"""Linear maps as they act: against explicit products, torch's own functions and what peft merges."""

from __future__ import annotations

import copy
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import summand
from summand.border import foreign
from summand.towers.effective import LinearMap, linear_map, seen_through
from summand.towers.linear import Projection


def drawn(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype)


def linear(out: int = 6, width: int = 10, dtype: torch.dtype = torch.float64) -> nn.Linear:
    return nn.Linear(width, out, dtype=dtype)


class Lora(nn.Module):
    """As people write it: no weight of its own, an adapter in another layout."""

    def __init__(self, base: Any, rank: int = 3, drop: float = 0.3) -> None:
        super().__init__()
        self.linear = base
        self.down = nn.Parameter(drawn(base.in_features, rank))
        self.up = nn.Linear(rank, base.out_features, dtype=torch.float64)
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        return self.linear(x) + 0.5 * self.up(self.drop(x @ self.down))


class Subclass(nn.Linear):
    """A linear layer that computes something else than its weight says."""

    def forward(self, x):
        return 2 * super().forward(x.flip(-1))


def on_the_object(layer: nn.Linear) -> nn.Linear:
    before, more = layer.forward, drawn(layer.out_features, layer.in_features)
    foreign(layer).forward = lambda x: before(x) + x @ more.T
    return layer


def pruned(layer: nn.Linear) -> nn.Linear:
    prune.l1_unstructured(layer, "weight", amount=0.3)
    prune.random_unstructured(layer, "bias", amount=0.3)
    prune.ln_structured(layer, "weight", amount=0.2, n=2, dim=0)
    with torch.no_grad():
        foreign(layer).weight_orig.add_(0.1)  # after the mask was last applied
    return layer


def weight_normed(layer: nn.Linear) -> nn.Linear:
    layer = torch.nn.utils.weight_norm(layer)
    with torch.no_grad():
        foreign(layer).weight_g.mul_(1.3)
    return layer


class Wider(nn.Linear):
    """Its parametrization, not its class, makes its weight."""


MODULES = {
    "plain": linear,
    "without bias": lambda: nn.Linear(10, 6, bias=False, dtype=torch.float64),
    "lora": lambda: Lora(linear()).eval(),
    "square lora": lambda: Lora(linear(10, 10)).eval(),
    "subclass": lambda: Subclass(10, 6, dtype=torch.float64),
    "sequence": lambda: nn.Sequential(linear(7), linear(5, 7)),
    "forward on the object": lambda: on_the_object(linear()),
    "parametrized weight norm": lambda: parametrizations.weight_norm(linear()),
    "parametrized spectral norm": lambda: parametrizations.spectral_norm(linear()).eval(),
    "orthogonal": lambda: parametrizations.orthogonal(linear()),
    "hooked weight norm": lambda: weight_normed(linear()),
    "hooked spectral norm": lambda: torch.nn.utils.spectral_norm(linear()).eval(),
    "pruned": lambda: pruned(linear()),
    "lora of pruned": lambda: Lora(pruned(linear())).eval(),
    "lora of weight norm": lambda: Lora(weight_normed(linear())).eval(),
    "compiled": lambda: torch.compile(linear(), backend="eager"),
    "lora of compiled": lambda: Lora(torch.compile(linear(), backend="eager")).eval(),
    "compiled lora": lambda: torch.compile(Lora(linear()).eval(), backend="eager"),
    "compiled in place": lambda: compiled(Lora(linear()).eval()),
    "fp64 of a large bias": lambda: biased(Lora(linear()).eval(), 1e4),
}


def compiled(module: Any) -> Any:
    module.compile(backend="eager")
    return module


def biased(module: Lora, size: float) -> Lora:
    with torch.no_grad():
        module.linear.bias.fill_(size)
    return module


@pytest.mark.parametrize("name", MODULES)
def test_a_map_does_what_its_module_does(name):
    torch.manual_seed(0)
    module = MODULES[name]()
    weight, bias = linear_map(module)
    x = drawn(4, weight.shape[1])
    with torch.no_grad():
        want = module(x)
    got = x @ weight.T + (0 if bias is None else bias)
    assert (got - want).abs().max() <= 1e-12 * want.abs().max()
    shape = LinearMap(module, "it").shape
    assert shape == tuple(weight.shape)


@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    rank=st.integers(1, 4),
    dtype=st.sampled_from([torch.float64, torch.float32]),
    seed=st.integers(0, 99),
)
def test_any_chain_of_adapted_layers_is_its_product(sizes, rank, dtype, seed):
    torch.manual_seed(seed)
    chain = nn.Sequential(*(Lora(linear(out, width), rank) for width, out in pairwise(sizes)))
    chain = chain.to(dtype).eval()
    weight, bias = torch.eye(sizes[0], dtype=torch.float64), torch.zeros(sizes[0], dtype=torch.float64)
    for layer in foreign(chain):
        own = (layer.linear.weight + 0.5 * layer.up.weight @ layer.down.T).double()
        weight = own @ weight
        bias = own @ bias + (layer.linear.bias + 0.5 * layer.up.bias).double()
    got, got_bias = linear_map(chain)
    assert got.dtype == dtype
    within = 1e-12 if dtype == torch.float64 else 2e-6
    assert (got.double() - weight).abs().max() <= within * weight.abs().max()
    assert (got_bias.double() - bias).abs().max() <= within * bias.abs().max().clamp(min=1)


class Nonlinear(nn.Module):
    def __init__(self, function, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.linear, self.function = linear(32, 48, dtype), function

    def forward(self, x):
        return self.function(self.linear, x)


def eight_bits(layer, x, dim=None):
    largest = x.abs().amax(dim=dim, keepdim=True) if dim is not None else x.abs().max()
    step = largest.clamp(min=1e-8) / 127
    return layer((x / step).round() * step)


def float_eight(layer, x):
    scale = 448 / x.abs().amax(dim=-1, keepdim=True).clamp(min=1e-8)
    return layer((x * scale).to(torch.float8_e4m3fn).to(x.dtype) / scale)


NOT_LINEAR = {
    "gate": lambda layer, x: layer(x) * x.mean(dim=-1, keepdim=True).sigmoid(),
    "relu": lambda layer, x: layer(x).relu(),
    "clip": lambda layer, x: layer(x.clamp(-9, 9)),
    "square": lambda layer, x: layer(x) + 2e-2 * layer(x).square(),
    "eight bits for the batch": eight_bits,
    "eight bits for each vector": partial(eight_bits, dim=-1),
    "eight bits of a fixed range": lambda layer, x: layer((x.clamp(-3, 3) * 42).round() / 42),
    "eight-bit floats": float_eight,
    "mixes vectors": lambda layer, x: layer(x) - 0.1 * layer(x).mean(dim=0, keepdim=True),
    "noise": lambda layer, x: layer(x) + 0.01 * torch.randn_like(layer(x)),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", NOT_LINEAR)
def test_what_is_not_linear_is_refused(name, dtype):
    torch.manual_seed(0)
    module = Nonlinear(NOT_LINEAR[name], dtype)
    module.forward = partial(Nonlinear.forward, module)  # so that it is computed as it is, in its own precision
    for each in (module, Nonlinear(NOT_LINEAR[name], dtype)):
        with pytest.raises(summand.SummandError, match=r"its projection \(Nonlinear.*is not one linear map"):
            linear_map(each, "its projection")


def test_dropout_in_training_mode_is_named():
    with pytest.raises(summand.SummandError, match=r"dropout in training mode.*call \.eval\(\)"):
        linear_map(Lora(linear()))


def test_what_takes_no_vectors_is_refused():
    with pytest.raises(summand.SummandError, match="takes no vectors"):
        linear_map(nn.Bilinear(3, 4, 5))


def test_reading_leaves_no_trace():
    """The user's hooks are not run, random numbers are not used up, no weight, buffer or gradient changes."""
    seen = []
    module = Lora(parametrizations.spectral_norm(linear())).eval()
    module.linear.register_forward_hook(lambda *_: seen.append(1))
    module.register_forward_pre_hook(lambda *_: seen.append(2))
    module.up.register_forward_hook(lambda m, i, o: 2 * o)
    state, dice = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    hooks = len(module.linear._forward_hooks)
    weight, _ = linear_map(module)
    assert not seen
    assert not weight.requires_grad
    assert torch.equal(torch.get_rng_state(), dice)
    assert all(torch.equal(state[name], now) for name, now in module.state_dict().items())
    assert len(module.linear._forward_hooks) == hooks
    base = module.linear.weight + 0.5 * module.up.weight @ module.down.T  # without the hook, which is not its weight
    torch.testing.assert_close(weight, base.detach(), rtol=0, atol=1e-12)


def test_plain_layers_are_read_live_and_others_once():
    layer = linear()
    found = LinearMap(layer, "it")
    assert found.weight is layer.weight
    with torch.no_grad():
        layer.weight.mul_(2)
    assert torch.equal(found.weight, layer.weight)
    calls = []

    class Counted(Lora):
        def forward(self, x):
            calls.append(1)
            return super().forward(x)

    found = LinearMap(Counted(linear()).eval(), "it")
    assert not calls  # until it is asked for
    assert found.shape == (6, 10)
    assert found.bias is not None
    once = len(calls)
    assert found.weight is found.weight
    assert len(calls) == once


def test_maps_made_in_inference_mode_pass_gradients_outside():
    with torch.inference_mode():
        weight, bias = linear_map(Lora(linear()).eval())
    x = drawn(3, 10).requires_grad_()
    (x @ weight.T + bias).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(dim=0).expand(3, -1))


def test_low_precision_adapters_are_read_in_full_and_rounded_once():
    torch.manual_seed(0)
    module = Lora(linear(64, 64)).to(torch.bfloat16).eval()
    exact = module.linear.weight.double() + 0.5 * module.up.weight.double() @ module.down.double().T
    weight, _ = linear_map(module)
    assert weight.dtype == torch.bfloat16
    assert torch.equal(weight, exact.to(torch.bfloat16))


def test_autocast_around_it_changes_nothing():
    module = Lora(linear()).float().eval()
    weight, _ = linear_map(module)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        again, _ = linear_map(module)
    assert torch.equal(weight, again)


def test_a_projection_of_an_unknown_class_is_no_identity():
    vectors = drawn(5, 10)
    module = Lora(linear()).eval()
    found = Projection.of(lambda: None, nn.Identity, lambda: module)
    with torch.no_grad():
        want = module(vectors)
    torch.testing.assert_close(found(vectors) + found.shift(vectors), want, rtol=0, atol=1e-12)
    assert found.size(10) == 6
    gelu = Projection.of(lambda: nn.Sequential(linear(), nn.GELU()))
    with pytest.raises(summand.SummandError, match="not one linear map"):
        gelu(vectors)


def test_a_weight_that_is_never_called_for_is_read_as_it_lies():
    """torch's attention reads its output projection's weight, whatever its class would do with it."""
    layer = Subclass(4, 4)
    assert LinearMap(layer, "it", called=False).weight is layer.weight
    with pytest.raises(summand.SummandError, match="has no weight"):
        LinearMap(nn.GELU(), "it", called=False)


def test_wrappers_that_pass_on_are_seen_through():
    layer = linear()
    assert seen_through(torch.compile(layer, backend="eager")) is layer
    assert seen_through(layer) is layer
    assert seen_through(None) is None


# peft

CONFIGS = {
    "lora": ("LoraConfig", {"r": 4}),
    "rank-stabilised": ("LoraConfig", {"r": 4, "use_rslora": True}),
    "dora": ("LoraConfig", {"r": 4, "use_dora": True, "lora_dropout": 0.1}),
    "lora with bias": ("LoraConfig", {"r": 4, "lora_bias": True}),
    "trained biases": ("LoraConfig", {"r": 4, "bias": "all"}),
    "vera": ("VeraConfig", {"r": 4}),
    "loha": ("LoHaConfig", {"r": 4}),
    "lokr": ("LoKrConfig", {"r": 4}),
    "oft": ("OFTConfig", {"r": 0, "oft_block_size": 4}),
    "hra": ("HRAConfig", {"r": 4}),
    "ia3": ("IA3Config", {"feedforward_modules": []}),
    "ia3 of inputs": ("IA3Config", {"feedforward_modules": ["layer"]}),
    "adalora": ("AdaLoraConfig", {"r": 4, "total_step": 10}),
    "fourier": ("FourierFTConfig", {"n_frequency": 20}),
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", CONFIGS)
def test_adapters_of_peft_are_read_as_merged(name, dtype):
    peft = pytest.importorskip("peft")
    kind, options = CONFIGS[name]
    torch.manual_seed(0)
    config = getattr(peft, kind)(target_modules=["layer"], **options)
    model = peft.get_peft_model(nn.ModuleDict({"layer": linear(16, 24)}), config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                parameter.add_(0.1 * torch.randn_like(parameter))
    model = model.to(dtype)
    merged = copy.deepcopy(model).merge_and_unload()["layer"]
    weight, bias = linear_map(model.base_model.model["layer"])
    within = 1e-12 if dtype == torch.float64 else 1e-6
    assert (weight - merged.weight).abs().max() <= within * merged.weight.abs().max()
    assert (bias - merged.bias).abs().max() <= within * merged.bias.abs().max()


def test_what_peft_gates_by_its_input_says_to_merge():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(nn.ModuleDict({"layer": linear()}), peft.LoraConfig(r=2, target_modules=["layer"]))
    layer = model.eval().base_model.model["layer"]
    layer.lora_A["default"] = nn.Sequential(layer.lora_A["default"], nn.ReLU())
    with torch.no_grad():
        layer.lora_B["default"].weight.normal_()
    with pytest.raises(summand.SummandError, match=r"merge_and_unload\(\)"):
        linear_map(layer)


def test_a_parametrization_keeps_its_modules_class():
    from summand.towers.effective import class_of

    layer = Wider(3, 3)
    parametrize.register_parametrization(layer, "weight", nn.Identity())
    assert type(layer) is not Wider
    assert class_of(layer) is Wider
