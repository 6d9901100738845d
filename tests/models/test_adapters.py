"""What people wrap a CLIP in: the same numbers where it is taken off, a refusal with the way out where it is not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import summand
from summand.models.adapters import device_of, image_dtype, unwrapped
from tests.models.tiny_clip import clip, off, pixels


def same(wrapped: object) -> None:
    """Explained through its wrapper, a model is what it is without."""
    x = pixels()
    found = summand.wrap(wrapped)
    truth = summand.wrap(clip())
    assert off(found.encode_image(x), truth.encode_image(x)) <= 1e-12
    assert off(found.decompose(x).heads(), truth.decompose(x).heads()) <= 1e-12


@pytest.fixture
def one_process(tmp_path):
    """A group of this process alone."""
    import torch.distributed as distributed

    if not distributed.is_available() or not distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def compiled(model: Any) -> Any:
    return torch.compile(model, backend="eager")


def ema(version: str):
    import timm.utils

    return getattr(timm.utils, version)


WRAPPERS = {
    "nothing": lambda model: model,
    "DataParallel": nn.DataParallel,
    "compile": compiled,
    "averaged": AveragedModel,
    "ema": lambda model: ema("ModelEmaV2")(model),
    "newer ema": lambda model: ema("ModelEmaV3")(model),
    "several": lambda model: compiled(AveragedModel(nn.DataParallel(model))),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_that_add_nothing_are_taken_off(name):
    model = clip()
    wrapped = WRAPPERS[name](model)
    assert type(unwrapped(wrapped)) is type(model)
    same(wrapped)


def test_data_parallel_over_processes_is_taken_off(one_process):
    model = clip()
    wrapped = nn.parallel.DistributedDataParallel(model)
    assert unwrapped(wrapped) is model
    assert unwrapped(compiled(wrapped)) is model
    same(wrapped)


@pytest.mark.parametrize("mixed", [False, True])
def test_pefts_models_are_taken_off(mixed):
    peft = pytest.importorskip("peft")
    model = clip()
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["c_fc"]), mixed=mixed).eval()
    assert unwrapped(wrapped) is model
    assert unwrapped(nn.DataParallel(wrapped)) is model
    assert unwrapped(wrapped.base_model) is model
    same(wrapped)


def test_sharded_weights_say_what_to_gather(one_process):
    fsdp = pytest.importorskip("torch.distributed.fsdp")
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    gather = r"sharded.*get_model_state_dict.*full_state_dict=True"
    model = clip()
    model.visual = fsdp.FullyShardedDataParallel(model.visual, device_id=torch.device("cpu"))
    with pytest.raises(summand.SummandError, match=gather):
        summand.wrap(model)
    if hasattr(fsdp, "fully_shard"):
        model = clip()
        fsdp.fully_shard(model.visual.transformer.resblocks[1], mesh=mesh)
        with pytest.raises(summand.SummandError, match=rf"resblocks\.1.*{gather}|{gather}"):
            summand.wrap(model)


class Learner(nn.Module):
    """A training module that holds a CLIP, as Lightning's do."""

    def __init__(self, **parts: nn.Module) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"clip": clip()}, r"holds one as `\.clip`.*summand\.wrap\(module\.clip\)"),
        ({"net": nn.DataParallel(clip()), "head": nn.Linear(2, 2)}, r"summand\.wrap\(module\.net\)"),
        ({"student": clip(), "teacher": clip()}, r"wrap\(module\.student\) or summand\.wrap\(module\.teacher\)"),
        ({"inner": Learner(model=clip())}, r"summand\.wrap\(module\.inner\.model\)"),
        ({"head": nn.Linear(2, 2)}, "no image tower called `visual`"),
    ],
)
def test_a_module_that_holds_a_clip_says_what_to_pass(parts, said):
    for model in (Learner(**parts), nn.DataParallel(Learner(**parts))):
        with pytest.raises(summand.SummandError, match=said):
            summand.wrap(model)


def test_lightning_modules_say_what_to_pass():
    lightning = pytest.importorskip("lightning")

    class Lit(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.clip = clip()

    with pytest.raises(summand.SummandError, match=r"Lit is no CLIP.*summand\.wrap\(module\.clip\)"):
        summand.wrap(Lit())
    same(lightning.fabric.Fabric(accelerator="cpu", devices=1).setup(clip()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "got NoneType"),
        ("ViT-B-32", "got str"),
        ((clip(), None, None), "got tuple; pass its element 0"),
        (clip().encode_image, "got method"),
    ],
)
def test_what_is_no_module_is_refused(given, said, unchecked):
    with pytest.raises(summand.SummandError, match=rf"expected a CLIP as a torch\.nn\.Module, {said}"):
        unwrapped(given)


def test_what_is_no_module_but_holds_one_says_where():
    with pytest.raises(summand.SummandError, match=r"got ModelEma; pass its `\.ema`"):
        unwrapped(ema("ModelEma")(clip()))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("place", ["", "visual", "visual.transformer.resblocks.1.mlp"])
def test_torchscript_is_refused(place):
    model = clip()
    traced = torch.jit.trace(nn.Linear(32, 32).double(), torch.zeros(1, 32, dtype=torch.float64))
    if place:
        owner, _, child = place.rpartition(".")
        setattr(model.get_submodule(owner), child, traced)
    with pytest.raises(summand.SummandError, match=r"compiled by TorchScript.*jit=False"):
        unwrapped(model if place else traced)


def test_traced_graphs_are_refused():
    with pytest.raises(summand.SummandError, match="traced graph"):
        unwrapped(torch.fx.symbolic_trace(nn.Sequential(nn.Linear(2, 2))))


def test_a_model_without_weights_says_so():
    with pytest.raises(summand.SummandError, match=r"no weights yet.*meta"):
        unwrapped(clip().to("meta"))


def test_a_compiler_that_cannot_be_left_out_is_refused(monkeypatch):
    monkeypatch.setattr("summand.models.adapters.can_run_eagerly", lambda: False)
    assert unwrapped(clip()) is not None
    model = clip()
    model.visual.compile(backend="eager")
    with pytest.raises(summand.SummandError, match=r"torch 2\.6 or later"):
        unwrapped(model)


# accelerate


def test_accelerates_wrappers_add_nothing_or_say_what_to_load():
    accelerate = pytest.importorskip("accelerate")
    model = clip()
    for module in model.modules():
        if isinstance(module, (nn.Linear, nn.LayerNorm)):
            hook = accelerate.hooks.AlignDevicesHook(execution_device="cpu", io_same_device=True)
            accelerate.hooks.add_hook_to_module(module, hook)
    same(model)
    with pytest.raises(summand.SummandError, match=r"offloaded by accelerate.*without device_map="):
        summand.wrap(accelerate.cpu_offload(clip(), execution_device=torch.device("cpu")))
    model = clip()
    model.hf_device_map = {"visual": 0, "transformer": "cpu"}
    with pytest.raises(summand.SummandError, match=r"several devices.*\(0, cpu\)"):
        summand.wrap(model)


# Quantised


@pytest.mark.filterwarnings("ignore")
def test_activations_of_eight_bits_are_refused():
    from torch.ao.quantization import quantize_dynamic

    model = quantize_dynamic(clip().float(), {nn.Linear}, dtype=torch.qint8)
    with pytest.raises(summand.SummandError, match=r"activations quantised to eight bits.*before quantisation"):
        summand.wrap(model)
    halves = quantize_dynamic(clip().float(), {nn.Linear}, dtype=torch.float16)  # weights alone
    found, x = summand.wrap(halves.eval()), pixels().float()
    assert off(found.decompose(x).total(), found.encode_image(x)) <= 1e-5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["open_clip", "transformers"])
def test_torchao_weights_are_read_and_quantised_activations_refused(kind):
    torchao = pytest.importorskip("torchao.quantization")
    from tests.towers.test_hf import model_of

    x = torch.randn(2, 3, *((16, 16) if kind == "open_clip" else (24, 24)))

    def quantised(config) -> Any:
        model = (clip() if kind == "open_clip" else model_of("CLIPModel")).float()
        torchao.quantize_(model, config)
        return model

    found = summand.wrap(quantised(torchao.Int8WeightOnlyConfig()))
    assert off(found.decompose(x).total(), found.encode_image(x)) <= 1e-5
    found.second_order(x, 0)
    assert image_dtype(found.clip) == torch.float32
    with pytest.raises(summand.SummandError, match=r"not one linear map.*before quantisation"):
        summand.wrap(quantised(torchao.Int8DynamicActivationInt8WeightConfig())).second_order(x, 0)


def test_bitsandbytes_like_layers_are_read_by_what_they_do():
    """Integers and scales in buffers, unpacked in forward; the class is bitsandbytes' by name alone."""

    class Linear8bitLt(nn.Module):
        def __init__(self, layer: nn.Linear) -> None:
            super().__init__()
            scale = layer.weight.detach().abs().amax(dim=1, keepdim=True) / 127
            self.register_buffer("scale", scale)
            self.register_buffer("packed", (layer.weight.detach() / scale).round().to(torch.int8))
            self.bias, self.in_features, self.out_features = layer.bias, layer.in_features, layer.out_features

        def forward(self, x):
            return x @ (self.packed.to(x.dtype) * self.scale.to(x.dtype)).T + self.bias.to(x.dtype)

    from tests.towers.test_hf import model_of

    model = model_of("CLIPModel")
    for name, module in list(model.vision_model.encoder.named_modules()):
        if isinstance(module, nn.Linear):
            owner, _, child = name.rpartition(".")
            setattr(model.vision_model.encoder.get_submodule(owner), child, Linear8bitLt(module))
    found = summand.wrap(model.eval())
    x = torch.randn(2, 3, 24, 24, dtype=torch.float64)
    assert off(found.decompose(x).total(), found.encode_image(x)) <= 1e-12
    found.second_order(x, 0)


# Where and in what it computes


def test_where_and_in_what_precision_a_model_computes():
    assert device_of(nn.Identity()) == torch.device("cpu")
    assert image_dtype(nn.Identity()) == torch.float32
    tower = clip().visual.to(torch.bfloat16)
    tower.ln_pre.float()
    assert image_dtype(tower) == torch.bfloat16
    assert device_of(clip().to("meta")) == torch.device("meta")
    assert image_dtype(nn.LayerNorm(3, dtype=torch.float64)) == torch.float64


def test_nothing_of_a_model_is_changed_by_unwrapping():
    model = clip()
    before = copy.deepcopy(model.state_dict())
    unwrapped(nn.DataParallel(model))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
