"""Every question and every verb with a model on another device: nothing that lies there meets what lies here, and a
device without fp64 is asked for none."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch.nn.utils import parametrizations

import summand
from summand.studies.surveys.options import UnitOptions
from summand.studies.surveys.unit import unit
from tests.elsewhere import Elsewhere
from tests.towers.test_towers import small_resnet, small_vit
from tests.towers.test_variants import TIMM

pytestmark = pytest.mark.slow

SCENES = "scenes:count=24,seed=2"
TEXTS = ["a star", "a cross"]
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
QUESTIONS = {
    "heads": lambda m, x, t: m.decompose(x).heads(),
    "total": lambda m, x, t: m.decompose(x).total(),
    "mlps": lambda m, x, t: m.decompose(x).mlps(),
    "tokens": lambda m, x, t: m.decompose(x).tokens(),
    "toward": lambda m, x, t: m.decompose(x).toward(t),
    "tokens_toward": lambda m, x, t: m.decompose(x).tokens_toward(t),
    "token_effects": lambda m, x, t: m.decompose(x).token_effects().toward(t),
    "published split": lambda m, x, t: m.decompose(x, parity="paper").tokens(),
    "second order": lambda m, x, t: m.second_order(x, 0).toward(t),
    "published second order": lambda m, x, t: m.second_order(x, 0, parity="paper").norms(),
    "first order": lambda m, x, t: m.first_order(x, 1).norms(),
    "indirect": lambda m, x, t: m.indirect(x, 1, [0, 2], m.mean_activations([x], 1)).norms(),
}
VERBS = {
    "label": lambda m, r, s, out: s.label(),
    "heatmap": lambda m, r, s, out: summand.heatmap(m, "scenes:count=2", TEXTS),
    "heatmap of pairs": lambda m, r, s, out: summand.heatmap(r, "scenes:count=2", TEXTS),
    "segment": lambda m, r, s, out: summand.segment(
        m, "scenes:count=2,seed=5", methods="decomposition,neurons,random", reference="scenes:count=8"
    ),
    "ablate": lambda m, r, s, out: summand.ablate(m, SCENES, units="5.0", classes="shape"),
    "retrieve": lambda m, r, s, out: summand.retrieve(m, PICTURE, SCENES, property="colour", top=2),
    "concepts": lambda m, r, s, out: summand.concepts(m, PICTURE, s, layers=[3, 4], top=4, size=2, maps=1),
    "shift": lambda m, r, s, out: summand.shift(SCENES, "scenes:count=24,seed=9", m, permutations=99),
    "subconcepts": lambda m, r, s, out: summand.subconcepts(r, SCENES, [5, 7], top=4, drawn=2),
    "attack": lambda m, r, s, out: summand.attack(m, "star", "cross", SCENES, layers=4, repeats=0),
    "registers": lambda m, r, s, out: summand.registers(m, SCENES),
    "words": lambda m, r, s, out: summand.words(m, "a red star"),
    "debias": lambda m, r, s, out: summand.debias(
        m, "scenes:count=40,seed=3", classes="shape", groups="place", allow_empty=True, draws=1
    ),
    "debias along axes": lambda m, r, s, out: summand.debias(
        m, "scenes:count=40,seed=3", classes="shape", groups="place", allow_empty=True, draws=1, way="units-axis"
    ),
    "perturb": lambda m, r, s, out: summand.perturb(
        m, "scenes:count=4,seed=5", TEXTS, methods="decomposition,random", steps=3
    ),
    "truth": lambda m, r, s, out: summand.truth(m, layers="4-5", count=48, described=24, pairs=4),
    "unit": lambda m, r, s, out: [unit(s, name, UnitOptions()).save(out / name) for name in ("5.0", "4:7")],
    "atlas": lambda m, r, s, out: summand.atlas(s, out / "atlas"),
    "match a text": lambda m, r, s, out: summand.match(m, PICTURE, "a red star", SCENES),
    "match a picture": lambda m, r, s, out: summand.match(m, PICTURE, PICTURE.rotate(90), layers=[3, 4]),
    "match two texts": lambda m, r, s, out: summand.match(m, *TEXTS),
    "compare": lambda m, r, s, out: summand.compare(m, m.steer({"5.0": 0}), "scenes:count=60", draws=20),
    "align": lambda m, r, s, out: summand.align(small_trunk(m), m, "scenes:count=120", classes="shape"),
    "export": lambda m, r, s, out: summand.export(r.steer({"0.5": 0}), out / "steered.safetensors"),
    "inject": lambda m, r, s, out: summand.inject(m, SCENES, classes="shape", attribute="place", gain=1.5),
    "steer": lambda m, r, s, out: m.steer({"5.0": 0, "3:7": 2.0}).encode_image(pixels(m)),
    "steer pairs": lambda m, r, s, out: r.steer({"0.5": 0}).encode_image(pixels(r)),
    "find": lambda m, r, s, out: s.find("a star"),
    "find by evidence": lambda m, r, s, out: s.find(PICTURE, by="evidence"),
    "audit": lambda m, r, s, out: summand.survey(m, "scenes:count=60", units="heads", held_out=0.5).audit(),
    "autoencoder": lambda m, r, s, out: latents(m, out),
    "monitor": lambda m, r, s, out: watched(m),
}


def pixels(model):
    return model.preprocess(PICTURE)[None].to(model.device)


def small_trunk(model):
    """A network of timm without texts, on the model's device."""
    torch.manual_seed(0)
    trunk = VisionTransformer(**{**TIMM, "num_classes": 0}).eval()
    if model.device.type != "cpu":
        trunk = trunk.to(model.device)
    return trunk


def latents(model, folder):
    found = summand.train_autoencoder(model, SCENES, layer=3, latents=64, top_k=4, epochs=1)
    with_latents = model.with_autoencoder(found.sae)
    return summand.survey(with_latents, SCENES, units="latents:3", out=folder / "run").label()


def watched(model):
    monitor = summand.Monitor(SCENES, model, permutations=19)
    monitor.update([PICTURE] * 20)
    return monitor.report()


@pytest.fixture(autouse=True, scope="module")
def no_driver():
    """What waits for a GPU has nothing to wait for, and it is one for data centres."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "synchronize", lambda *_: None)
        patch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
        yield


@pytest.fixture(scope="module", params=["cuda", "mps"])
def there(request):
    return Elsewhere(request.param)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", QUESTIONS)
@torch.no_grad()
def test_questions(there, name, dtype):
    clip = small_vit().to(dtype)
    x, texts = torch.randn(2, 3, 32, 32).to(dtype), torch.randn(3, 24)
    here = QUESTIONS[name](summand.wrap(clip), x, texts)
    there.put(clip)
    with there:
        model = summand.wrap(clip)
        assert model.device == there.there
        found = QUESTIONS[name](model, x.to(there.there), texts)
        assert found.device == there.there
    if name == "indirect" and dtype != torch.float32:
        return  # a small difference of two embeddings that are rounded
    size = float(here.float().abs().max())
    torch.testing.assert_close(
        found.float(), here.float(), rtol=0, atol=(1e-4 if dtype == torch.float32 else 3e-2) * size
    )


@torch.no_grad()
def test_pairs(there):
    clip = small_resnet().float()
    there.put(clip)
    with there:
        model = summand.wrap(clip)
        assert model.pairs(torch.randn(2, 3, 64, 64).to(there.there)).norms().device == there.there


class Adapted(torch.nn.Module):
    """A linear layer and what an adapter of rank two adds to it."""

    def __init__(self, base):
        super().__init__()
        self.base, self.down = base, torch.nn.Linear(base.in_features, 2, bias=False)
        self.up = torch.nn.Linear(2, base.out_features, bias=False)

    def forward(self, vectors):
        return self.base(vectors) + self.up(self.down(vectors))


def adapted(block):
    block.mlp.c_proj = Adapted(block.mlp.c_proj)


def normalised(block):
    parametrizations.weight_norm(block.mlp.c_proj)


@pytest.mark.parametrize("change", [adapted, normalised])
@torch.no_grad()
def test_layers_that_are_read_by_what_they_do(there, change):
    """They are read in fp64, which not every device has."""
    torch.manual_seed(0)
    clip = small_vit().float()
    for block in clip.visual.transformer.resblocks:
        change(block)
    clip.eval()
    x = torch.randn(2, 3, 32, 32)
    want = summand.wrap(copy.deepcopy(clip)).second_order(x, 0).norms()
    there.put(clip)
    with there:
        found = summand.wrap(clip).second_order(x.to(there.there), 0).norms()
        assert found.device == there.there
    torch.testing.assert_close(found, want, rtol=0, atol=1e-5 * float(want.max()))


@pytest.fixture(scope="module")
def studied(there, tmp_path_factory):
    """A transformer and a ResNet that lie there, and a survey of the first."""
    models = [summand.load(name) for name in ("scenes-vit", "scenes-rn")]
    for model in models:
        there.put(model.clip)
    with there:
        survey = summand.survey(models[0], SCENES, units="heads,neurons:4", out=tmp_path_factory.mktemp("runs") / "run")
    return *models, survey


@pytest.mark.parametrize("name", VERBS)
def test_verbs(there, studied, name, tmp_path):
    with there:
        assert VERBS[name](*studied, tmp_path) is not None


def test_what_meets_is_found():
    there = Elsewhere("cuda")
    with there:
        moved = torch.ones(3).to("cuda")
        assert moved.is_cuda
        assert (moved + 1).device.type == "cuda"
        assert (moved * torch.tensor(2.0)).is_cuda
        assert not moved.cpu().is_cuda
        with pytest.raises(RuntimeError, match="same device"):
            moved + torch.ones(3)
        with pytest.raises(RuntimeError, match="same device"):
            torch.cat([moved, torch.ones(3)])
        with pytest.raises(RuntimeError, match="same device"):
            torch.ones(3)[moved.long()]
        with pytest.raises(TypeError, match="numpy"):
            moved.numpy()
    with Elsewhere("mps"), pytest.raises(TypeError, match="float64"):
        torch.ones(3).to("mps").double()
