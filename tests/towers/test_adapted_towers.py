"""Sums of models under adapters, parametrizations and the compiler: against the model itself and against its merger."""

from __future__ import annotations

import copy
from itertools import islice
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import summand
from summand.border import foreign
from summand.towers.eager import eagerly
from tests.depth import deep
from tests.towers.test_effective import Lora, on_the_object, weight_normed
from tests.towers.test_hf import model_of
from tests.towers.test_towers import small_resnet, small_vit
from tests.towers.test_variants import TIMM, timm_clip

VisionTransformer, Eva = timm.models.vision_transformer.VisionTransformer, timm.models.eva.Eva


def trunk(kind, **options) -> Any:
    clip = timm_clip(kind(**{**TIMM, **options}))
    del clip.encode_image  # a closure over this very object, which no copy could follow

    class Clip(type(clip)):
        def encode_image(self, x, normalize=False):
            return self.visual(x)

    clip.__class__ = Clip
    return clip


def apart(clip: Any) -> Any:
    """Biases added to what the layer gives, not in place of its own."""
    for block in clip.visual.trunk.blocks:
        block.attn.qkv_bias_separate = True
    return clip


CLIPS = {
    "vit": small_vit,
    "short vit": lambda: small_vit(layers=2),
    "custom blocks": lambda: small_vit(qk_norm=True, scale_attn=True, layers=2),
    "coca": lambda: small_vit(attentional_pool=True, attn_pooler_heads=4, attn_pooler_queries=5, layers=1),
    "resnet": small_resnet,
    "CLIPModel": lambda: model_of("CLIPModel"),
    "SiglipModel": lambda: model_of("SiglipModel"),
    "timm token": lambda: trunk(VisionTransformer, global_pool="token"),
    "timm map": lambda: trunk(VisionTransformer, num_classes=0, global_pool="map", class_token=False),
    "eva": lambda: trunk(Eva, use_rot_pos_emb=True, dynamic_img_size=False, global_pool="token"),
    "eva apart": lambda: apart(trunk(Eva, use_rot_pos_emb=True, dynamic_img_size=False, global_pool="token")),
    "eva unfused": lambda: trunk(
        Eva, use_rot_pos_emb=True, dynamic_img_size=False, global_pool="avg", qkv_fused=False, swiglu_mlp=True
    ),
}


def images(model: summand.Model) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, *model.tower.image_size, generator=generator, dtype=torch.float64)


def off(got: torch.Tensor, want: torch.Tensor) -> float:
    return float((got - want).detach().abs().max() / want.detach().abs().max())


def check(clip: Any) -> None:
    """Terms sum to the model's own embedding; so do texts, where it has a tower that is read; neurons to their MLP."""
    model = summand.wrap(clip)
    x = images(model)
    parts, truth = model.decompose(x), model.encode_image(x)
    assert off(parts.total(), truth) <= 1e-12
    everything = parts.toward(torch.eye(model.tower.embed, dtype=torch.float64))
    assert off(everything.sum(dim=3), parts.heads()) <= 1e-12
    if getattr(model.tower, "plain", False):
        neurons, block = model.first_order(x, 1).vectors().sum(dim=1), foreign(model.tower).blocks[1]
        silent = (block.neuron_bias() @ foreign(model.tower).folded()) * parts.trace.scale[:, None]
        assert off(neurons + silent, parts.mlps()[:, 1]) <= 1e-12
        model.second_order(x, 0)  # its own identities are checked by the guard


def texts_sum(clip: Any) -> None:
    tower = summand.wrap(clip).text_tower
    tokens = torch.tensor([[1, 5, 7, 3, 8, 2, 4, 19], [1, 9, 3, 3, 6, 2, 2, 19]])
    with torch.no_grad():
        assert off(tower.run(tokens).total(tower.head_maps()), tower.encode(tokens)) <= 1e-12


# peft

ADAPTERS = [
    ("vit", ["attn"], {}),
    ("vit", ["out_proj"], {}),  # torch's attention never calls it: without effect, as in the model
    ("vit", ["attn", "c_fc", "c_proj"], {"use_rslora": True}),
    ("vit", ["c_fc", "c_proj"], {"use_dora": True}),
    ("custom blocks", ["out_proj", "c_fc", "c_proj"], {"use_dora": True}),
    ("coca", ["c_proj"], {}),
    ("resnet", ["v_proj", "c_proj"], {}),  # read by their parameters, as in torch's attention
    ("CLIPModel", ["q_proj"], {}),
    ("CLIPModel", ["k_proj", "v_proj"], {"use_dora": True}),
    ("CLIPModel", ["out_proj"], {"lora_bias": True}),
    ("CLIPModel", ["fc1", "fc2"], {"use_dora": True}),
    ("CLIPModel", ["visual_projection", "text_projection"], {}),
    ("CLIPModel", "all-linear", {}),
    ("CLIPModel", ["q_proj"], {"modules_to_save": ["visual_projection", "post_layernorm"]}),
    ("SiglipModel", ["head.attention", "q_proj"], {}),
    ("SiglipModel", "all-linear", {"use_dora": True}),
    ("timm token", ["qkv", "proj", "fc1", "fc2", "trunk.head"], {"use_dora": True}),
    ("timm map", ["q", "kv", "proj"], {}),
    ("eva", ["qkv", "proj", "fc1", "fc2"], {}),
    ("eva apart", ["qkv", "proj"], {}),
    ("eva unfused", ["q_proj", "k_proj", "v_proj", "proj"], {}),
]


def adapted(name: str, targets, **options):
    """A peft model with adapters far from zero."""
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(CLIPS[name](), peft.LoraConfig(r=4, target_modules=targets, **options))
    return moved(model.double().eval())


def moved(model):
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key or "modules_to_save" in key:
                parameter.add_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return model


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "targets", "options"), ADAPTERS)
def test_models_under_adapters(name, targets, options):
    model = adapted(name, targets, **options)
    check(model)
    if name in ("vit", "CLIPModel", "SiglipModel"):
        texts_sum(model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "targets"), [("vit", ["attn", "c_proj"]), ("CLIPModel", "all-linear")])
def test_every_term_is_that_of_the_merged_model(name, targets):
    model = adapted(name, targets)
    unmerged, merged = summand.wrap(model), summand.wrap(copy.deepcopy(model).merge_and_unload())
    x = images(unmerged)
    for here, there in zip(
        (unmerged.decompose(x).tokens(), unmerged.second_order(x, 0).vectors(), unmerged.first_order(x, 1).vectors()),
        (merged.decompose(x).tokens(), merged.second_order(x, 0).vectors(), merged.first_order(x, 1).vectors()),
        strict=True,
    ):
        assert off(here, there) <= 1e-12


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("targets", [["attn", "c_fc"], ["c_proj"]])
def test_what_is_done_to_adapters_is_seen_at_once(targets):
    """Disabled, enabled, merged, unmerged, another one, both, scaled, trained, and the weights under them edited."""
    peft = pytest.importorskip("peft")
    model = adapted("short vit", targets)
    at_hand = summand.wrap(model)
    x = images(at_hand)
    other = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False)
    layers = [module for module in model.modules() if hasattr(module, "lora_A")]

    def edit(name: str, factor: float) -> None:
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if name in key:
                    parameter.data.mul_(factor)

    steps = [
        lambda: None,
        lambda: model.base_model.disable_adapter_layers(),
        lambda: model.base_model.enable_adapter_layers(),
        lambda: model.merge_adapter(),
        lambda: model.unmerge_adapter(),
        lambda: (model.add_adapter("other", other), model.double()),
        lambda: model.set_adapter("other"),
        lambda: model.base_model.set_adapter(["default", "other"]),
        lambda: [layer.set_scale("default", 3.0) for layer in layers],
        lambda: edit("lora_B", 1.3),
        lambda: edit("in_proj_weight", 1.1),
        lambda: edit("visual.proj", 0.9),
    ]
    seen = []
    for step in steps:
        step()
        parts, truth = at_hand.decompose(x), at_hand.encode_image(x)
        assert off(parts.total(), truth) <= 1e-12
        assert off(parts.heads(), summand.wrap(model).decompose(x).heads()) <= 1e-12
        seen.append(truth)
    assert off(seen[1], seen[0]) > 1e-3
    assert off(seen[6], seen[0]) > 1e-3


@pytest.mark.filterwarnings("ignore")
def test_weights_that_peft_rewrites_in_every_pass_are_one_state():
    model = summand.wrap(adapted("vit", ["attn"]))
    x = images(model)
    towers = set()
    for _ in range(4):
        parts = model.decompose(x)
        parts.heads(), parts.total()
        towers.add(id(model.tower))
    assert len(towers) == 1


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("parameter", ["visual.proj", "attn.in_proj_weight"])
def test_adapters_of_parameters_say_to_merge(parameter):
    peft = pytest.importorskip("peft", minversion="0.17")
    config = peft.LoraConfig(r=2, target_parameters=[parameter], init_lora_weights=False)
    model = peft.get_peft_model(small_vit(), config).double().eval()
    with pytest.raises(summand.SummandError, match=r"ParamWrapper.*merge_and_unload\(\)"):
        summand.wrap(model)
    check(model.merge_and_unload())


def test_adapted_norms_are_read():
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(small_vit(), peft.LNTuningConfig(target_modules=["ln_1", "ln_post"])).double().eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "ln_tuning" in key:
                parameter.mul_(1.5)
    check(model)


# Homemade layers, parametrizations, masks

LAYERS = {
    "CLIPModel": ["self_attn.q_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"],
    "vit": ["attn.out_proj", "mlp.c_fc", "mlp.c_proj"],
}
CHANGES = {
    "lora": lambda layer: Lora(layer).eval(),
    "on the object": on_the_object,
    "weight norm": parametrizations.weight_norm,
    "hooked weight norm": weight_normed,
    "spectral norm": lambda layer: parametrizations.spectral_norm(layer).eval(),
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.3),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(("name", "place"), [(name, place) for name in LAYERS for place in LAYERS[name]])
def test_changed_layers(name, place, change):
    if (place, change) == ("attn.out_proj", "lora"):
        pytest.skip("torch's attention needs the layer's weight")
    clip = CLIPS[name]()
    for at in range(3):
        block = clip.vision_model.encoder.layers[at] if name == "CLIPModel" else clip.visual.transformer.resblocks[at]
        parent, _, child = place.rpartition(".")
        owner = block.get_submodule(parent)
        setattr(owner, child, CHANGES[change](getattr(owner, child)))
    check(clip.eval())


class Larger(nn.Module):
    def forward(self, weight):
        return 1.3 * weight


@pytest.mark.parametrize(
    "name",
    [
        *("visual.proj", "visual.class_embedding", "visual.ln_post.weight", "visual.transformer.resblocks.2.ln_1.bias"),
        *("visual.transformer.resblocks.1.attn.in_proj_weight", "visual.transformer.resblocks.2.attn.in_proj_bias"),
        "visual.transformer.resblocks.2.attn.out_proj.weight",
    ],
)
@pytest.mark.parametrize("how", ["parametrized", "pruned"])
def test_any_parameter_may_be_parametrized_or_masked(name, how):
    clip = small_vit()
    owner, _, own = name.rpartition(".")
    module = clip.get_submodule(owner)
    if how == "parametrized":
        parametrize.register_parametrization(module, own, Larger())
    else:
        prune.random_unstructured(module, own, 0.3)
        with torch.no_grad():
            getattr(module, f"{own}_orig").mul_(1.5)
            clip.encode_image(torch.zeros(1, 3, 32, 32, dtype=torch.float64))  # masks of norms are applied by passes
    check(clip.eval())


# The compiler


def compile_each(clip: Any, in_place: bool):
    """Copies of a model with one of its modules compiled, and that module's name."""
    for name, module in clip.named_modules():
        middle = ".1" in name and ("resblocks" in name or "layers" in name or "blocks" in name)
        if name and not middle and not isinstance(module, nn.ModuleList):
            copied = copy.deepcopy(clip)
            if in_place:
                copied.get_submodule(name).compile(backend="eager")
            else:
                parent, _, child = name.rpartition(".")
                owner = copied.get_submodule(parent)
                owner._modules[child] = torch.compile(owner._modules[child], backend="eager")
            yield name, copied


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "in_place"),
    [("short vit", True), *((name, False) for name in ("short vit", "coca", "CLIPModel", "timm map", "eva"))],
)
def test_any_module_may_be_compiled(name, in_place):
    clip = CLIPS[name]()
    plain = summand.wrap(clip)
    x = images(plain)
    truth, checked = plain.encode_image(x), 0
    every = deep(1, 1 if name == "short vit" else 2)
    for which, compiled in islice(compile_each(clip, in_place), 0, None, every):
        with eagerly():  # compiling each for the guard's own pass would take its time
            model = summand.wrap(compiled)
            assert off(model.decompose(x).total(), truth) <= 1e-12, which
            if "text" in which or which.startswith(("transformer", "ln_final")):
                texts_sum(compiled)
        checked += 1
    assert checked > 15 / every


@pytest.mark.slow
def test_a_model_that_runs_compiled_is_read_and_goes_on_compiled():
    runs = []

    def backend(graph, _):
        def run(*inputs):
            runs.append(1)
            return graph.forward(*inputs)

        return run

    clip = small_vit(layers=2)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        truth = clip.encode_image(x)
    clip.visual = torch.compile(clip.visual, backend=backend)
    model = summand.wrap(torch.compile(clip, backend="eager"))
    assert off(model.encode_image(x), truth) <= 1e-12
    before = len(runs)
    assert before
    parts = model.decompose(x)
    assert off(parts.total(), truth) <= 1e-12
    assert (
        off(parts.toward(torch.eye(24, dtype=torch.float64)).sum(dim=(1, 2, 3)), parts.heads().sum(dim=(1, 2))) < 1e-12
    )
    middle = len(runs)
    model.encode_image(x)
    assert len(runs) > middle


@pytest.mark.parametrize("what", ["visual", "visual.transformer.resblocks.1", "visual.ln_post"])
def test_compiled_through_autograds_tracer(what):
    clip = small_vit(layers=2)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        truth = clip.encode_image(x)
    parent, _, child = what.rpartition(".")
    owner = clip.get_submodule(parent)
    owner._modules[child] = torch.compile(owner._modules[child], backend="aot_eager")
    assert off(summand.wrap(clip).decompose(x).total(), truth) <= 1e-12
