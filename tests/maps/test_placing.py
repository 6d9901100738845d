"""Maps of towers whose patches do not fill the image: each cell lies over the pixels that its patch reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import summand
from summand import SummandError, heatmap
from summand.maps.heatmap import Heatmap
from summand.maps.placing import placed, share_of
from summand.maps.windows import stitched
from summand.studies.perturbation.curves import perturbation_curves
from summand.studies.perturbation.options import PerturbationOptions
from tests.towers.test_towers import small_vit


def read_by(conv: Any, size: tuple[int, int]) -> torch.Tensor:
    """Which cell of the strided convolution's grid reads each pixel: −1 where none does. From gradients."""
    pixels = torch.randn(1, 3, *size, dtype=torch.float64, requires_grad=True)
    grid = conv(pixels).sum(dim=1)[0]
    cell = torch.full(size, -1)
    for row in range(grid.shape[0]):
        for column in range(grid.shape[1]):
            (gradient,) = torch.autograd.grad(grid[row, column], pixels, retain_graph=True)
            cell[gradient.abs().sum(dim=(0, 1)) > 0] = row * grid.shape[1] + column
    return cell


@given(height=st.integers(8, 29), width=st.integers(8, 29), patch=st.integers(2, 8))
@settings(max_examples=15)
def test_a_cell_lies_over_the_pixels_that_its_patch_reads(height, width, patch):
    clip = small_vit(image_size=(height, width), patch_size=patch, layers=1)
    model = summand.wrap(clip)
    rows, columns = model.tower.grid
    assert (rows, columns) == (height // patch, width // patch)
    truth = read_by(clip.visual.conv1, (height, width))
    cells = torch.arange(rows * columns, dtype=torch.float64).reshape(1, 1, rows, columns)
    found = placed(cells, (height, width), share_of(model), "nearest")[0, 0]
    assert (found[truth >= 0] == truth[truth >= 0]).all()
    assert found[-1, -1] == rows * columns - 1  # what no patch reads repeats its neighbour


@given(rows=st.integers(1, 5), columns=st.integers(1, 5), patch=st.integers(2, 6), over=st.integers(0, 5))
def test_bilinear_maps_are_right_at_the_middle_of_every_patch(rows, columns, patch, over):
    patch, over = 2 * patch + 1, min(over, 2 * patch)
    size = (rows * patch + over, columns * patch + over)
    share = (rows * patch / size[0], columns * patch / size[1])
    cells = torch.randn(1, 2, rows, columns, dtype=torch.float64)
    grown = placed(cells, size, share)
    assert grown.shape[-2:] == size
    middle = patch // 2
    at = grown[..., middle : rows * patch : patch, middle : columns * patch : patch]
    torch.testing.assert_close(at, cells, rtol=0, atol=1e-12)


def test_whole_grids_are_placed_as_ever():
    cells = torch.randn(2, 3, 4, 5)
    plain = torch.nn.functional.interpolate(cells, size=(40, 50), mode="bilinear", align_corners=False)
    assert torch.equal(placed(cells, (40, 50)), plain)
    assert share_of(summand.load("scenes-vit", random_init=True)) == (1.0, 1.0)
    wide = placed(cells, (38, 47), (40 / 38, 50 / 47))  # a stem that pads: the last patches reach over the edge
    assert torch.equal(wide, plain[..., :38, :47])


def bright(model: summand.Model) -> np.ndarray:
    size = model.tower.image_size
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def uneven() -> summand.Model:
    """Images of 31 × 31 pixels, 3 × 3 patches of 8."""
    clip = small_vit(image_size=31, patch_size=8).float()

    def preprocess(image):
        return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255

    def tokenizer(texts):
        return torch.tensor([[1, 2 + len(text), 19, 0, 0, 0, 0, 0] for text in texts])

    return summand.wrap(clip, preprocess=preprocess, tokenizer=tokenizer)


def test_heatmaps(uneven):
    assert uneven.tower.grid == (3, 3)
    assert uneven.tower.covered == (24, 24)
    drawn = heatmap(uneven, bright(uneven), ["a", "bbb"], contrast=["cc"])
    assert drawn.share == (24 / 31, 24 / 31)
    grown = drawn.upsampled()
    assert grown.shape == (2, 31, 31)
    plain = Heatmap(drawn.texts, drawn.grid, drawn.picture[:24, :24])
    np.testing.assert_array_equal(grown[:, :24, :24], plain.upsampled())
    np.testing.assert_array_equal(grown[:, 24:, :], np.repeat(grown[:, 23:24, :], 7, axis=1))


def test_windows(uneven):
    maps = torch.randn(2, 1, 3, 3)
    whole = stitched(maps, [(0, 0), (0, 40)], (31, 31), (31, 71), share_of(uneven))
    alone = placed(maps, (31, 31), share_of(uneven))
    torch.testing.assert_close(whole[:, :, :31], alone[0])
    torch.testing.assert_close(whole[:, :, 40:], alone[1])
    drawn = heatmap(uneven, np.concatenate([bright(uneven)] * 2, axis=1), ["a"], contrast=["cc"], windows=1)
    assert drawn.grid.shape == (1, 31, 62)
    assert drawn.share == (1.0, 1.0)


def test_perturbation_takes_away_what_a_patch_reads(uneven):
    pixels = torch.rand(1, 3, 31, 31)
    maps = torch.arange(9.0).reshape(1, 3, 3)
    classes = torch.nn.functional.normalize(torch.randn(2, 24), dim=-1)
    options = PerturbationOptions(steps=9, fill="mean", answer="logit")
    curves = perturbation_curves(uneven, pixels, maps, classes, torch.tensor([0]), options)
    without = pixels.clone()
    without[..., 16:24, 16:24] = pixels.mean(dim=(2, 3))[0, :, None, None]  # the last cell
    row = uneven.encode_image(without)
    truth = torch.nn.functional.cosine_similarity(row, classes[:1])
    assert curves.deletion_positive[0, 1] == pytest.approx(float(truth), abs=1e-5)
    with pytest.raises(summand.SummandError, match="does not divide"):
        perturbation_curves(uneven, pixels, torch.zeros(1, 2, 2), classes, torch.tensor([0]))


def test_a_picture_of_one_pixels_width_has_maps_but_no_box(vit):
    """Along a single pixel nothing rises, so where the model looks cannot be measured."""
    from PIL import Image

    for size in ((1, 1), (1, 700), (700, 1)):
        found = summand.heatmap(vit, Image.new("RGB", size, "red"), "a star")
        assert np.isfinite(found.grid).all()
        assert found.figure() is not None
        with pytest.raises(SummandError, match="there is no box"):
            found.on_original()
