"""How much of what pictures say of texts maps through heads cover."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

import summand
from summand.border import foreign
from summand.maps.covered import Covered, together
from summand.scenes.pretrained import ScenePreprocess
from tests.commands import command
from tests.counting import Passes
from tests.tiny import clip

TEXTS = ["a star", "a red ring"]
AGAINST = ["the sea", "two objects"]


@pytest.fixture
def images() -> np.ndarray:
    return summand.scenes.sample(5, seed=5).images


def attentive(scale: float) -> summand.Model:
    """A tiny ViT whose heads write so many times what they wrote."""
    made = clip(vision={"image_size": 32, "patch_size": 16, "layers": 3})
    with torch.no_grad():
        for block in foreign(made).visual.transformer.resblocks:
            block.attn.out_proj.weight *= scale
    return summand.wrap(made, preprocess=ScenePreprocess(32), tokenizer=SimpleTokenizer(context_length=16))


@pytest.mark.parametrize("name", ["scenes-vit", "scenes-rn"])
@pytest.mark.parametrize("versus", [None, "a blue square"])
def test_shares_are_of_the_products_of_each_term_with_the_whole(request, images, name, versus):
    model = request.getfixturevalue({"scenes-vit": "vit", "scenes-rn": "resnet"}[name])
    texts = TEXTS if versus is None else TEXTS[:1]
    options = {"contrast": AGAINST} if versus is None else {"versus": versus}
    found = summand.heatmap(model, images, texts, **options)
    parts = model.decompose(model.preprocess(images))
    t = (model.encode_text(texts) - model.encode_text(AGAINST if versus is None else [versus]).mean(dim=0)).double()
    terms = [parts.heads().sum(dim=(1, 2)), parts.mlps().sum(dim=1), parts.embedding(), parts.bias()]
    whole = model.encode_image(model.preprocess(images)).double() @ t.T
    products = [(term.double() @ t.T) * whole for term in terms]
    shares = [float(product.sum() / whole.square().sum()) for product in products]
    made = foreign(together(one.covered for one in found))
    assert list(made.shares.values()) == pytest.approx(shares, abs=1e-4)
    assert sum(made.shares.values()) == pytest.approx(1)
    assert f"heads write {100 * shares[0]:.0f} %" in found.notes[-1]
    alone = summand.heatmap(model, images[2], texts, **options)
    own = [float(product[2].sum() / whole[2].square().sum()) for product in products]
    assert list(foreign(alone.covered).shares.values()) == pytest.approx(own, abs=1e-4)


def test_a_model_whose_heads_write_little_says_so_and_names_the_way():
    images = summand.scenes.sample(4, seed=3).images
    little, much = attentive(0.02), attentive(20.0)
    (said,), (other,) = (summand.heatmap(model, images, TEXTS).notes for model in (little, much))
    assert "minority" in said
    assert "--method second-order" in said
    assert "mlps()" in said
    assert "minority" not in other
    shares = foreign(together(one.covered for one in summand.heatmap(little, images, TEXTS))).shares
    assert abs(shares["heads"]) < 0.2
    assert summand.heatmap(little, images[0], TEXTS, method="second-order").grid.any()  # what it names can be done
    for options in ({"method": "second-order"}, {"head": "1.0"}):
        assert summand.heatmap(little, images, TEXTS, **options).notes == ()


def test_the_command_says_it_beside_the_maps(tmp_path, images):
    Image.fromarray(images[0]).save(tmp_path / "scene.png")
    done = command("heatmap", tmp_path / "scene.png", *TEXTS, "--out", tmp_path / "found.png")
    assert "note: of what is said of these texts here heads write" in done.error


def test_it_costs_no_pass(vit, images):
    summand.heatmap(vit, images[0], TEXTS)
    with Passes() as passes:
        found = summand.heatmap(vit, images[0], TEXTS)
    assert found.record()["notes"] == list(found.notes) == [str(found.covered)]
    assert passes.batches == [1]


def test_windows_add(vit):
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8))
    found = foreign(summand.heatmap(vit, wide, TEXTS, windows=1).covered)
    crops = [wide.crop((left, 0, left + 64, 64)) for left in (0, 32, 64)]
    each = foreign(together(summand.heatmap(vit, crop, TEXTS).covered for crop in crops))
    assert found.products == pytest.approx(each.products, rel=1e-4)


def test_nothing_is_said_where_nothing_is():
    assert together([None, None]) is None
    assert str(Covered((0.0, 0.0, 0.0, 0.0))) == ""
    against = Covered((3.0, -1.0, 0.0, 0.0))
    assert str(against).endswith("heads write 150 %, MLPs −50 % (below zero: against the others)")
