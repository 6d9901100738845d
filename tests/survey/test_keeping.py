"""What is kept of every image, part by part; and several devices, which find what one finds."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import summand
from summand.survey import engine
from summand.survey.devices import devices_of
from summand.survey.per_image import in_order
from tests.commands import command

pytestmark = pytest.mark.slow

SCENES = "scenes:count=40,seed=6"
OPTIONS = {"units": "heads,neurons:3", "top": 3, "held_out": 0.25, "batch_size": 4, "progress": False}


@given(st.data())
def test_rows_come_in_the_order_of_their_images(data):
    """Of blocks and of a few others, whatever their sizes, against a sort of all."""
    count = data.draw(st.integers(0, 40))
    aside = sorted(data.draw(st.sets(st.integers(0, max(0, count - 1)), max_size=count)))
    used = [number for number in range(count) if number not in aside]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(used)), max_size=5)))
    rng = np.random.default_rng(count)

    def rows(numbers: list[int]) -> dict[str, np.ndarray]:
        mixed = rng.permutation(np.array(numbers, dtype=int))
        return {"images": mixed, "value": mixed * 10} if numbers else {}

    blocks = [rows(used[a:b]) for a, b in zip([0, *cuts], [*cuts, len(used)], strict=True)]
    size = data.draw(st.integers(1, 9))
    found = list(in_order(blocks, rows(aside), size))
    numbers = [number for block in found for number in block["images"].tolist()]
    assert numbers == list(range(count))
    assert [value for block in found for value in block["value"].tolist()] == [10 * number for number in numbers]
    assert all(len(block["images"]) == size for block in found[:-1])


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_coefficients_of_every_image(vit, tmp_path, dtype):
    """On the disk and in memory, as the model says them."""
    images = summand.scenes.sample(20, seed=6).images
    expected = vit.second_order(vit.preprocess(images), 3)
    more = {**OPTIONS, "keep": "neurons:3", "dtype": dtype}
    for out in (None, tmp_path / "run"):
        found = summand.survey(vit, images, out=out, **more)
        kept = found.coefficients("neurons.3")
        torch.testing.assert_close(
            kept.vectors(), expected.vectors(), atol=2e-3 if dtype == "float16" else 1e-5, rtol=1e-2
        )
        assert kept.path_index == expected.path_index
        with pytest.raises(summand.SummandError, match="keeps no coefficients"):
            found.coefficients("heads")
    data = found.shelf.dataset("kept.neurons.3")
    assert str(data["coefficient"].dtype) == dtype
    assert data["coefficient"].dims == ("image", "neuron", "path")
    with pytest.raises(summand.SummandError, match="dtype"):
        summand.survey(vit, images, **{**more, "dtype": "int8"})


def test_parts_on_the_disk_are_the_whole(vit, tmp_path, monkeypatch):
    """With a commit after every few images, and chunks of a few rows."""
    monkeypatch.setattr(engine, "_LARGE", 1)
    monkeypatch.setattr("summand.survey.making._BLOCK", 4096)
    images, options = "scenes:count=16,seed=6", {**OPTIONS, "units": "neurons:3", "keep": "neurons:3"}
    whole = summand.survey(vit, images, **options)
    parts = summand.survey(vit, images, out=tmp_path / "run", **options)
    assert torch.equal(whole.embeddings, parts.embeddings)
    assert whole.images.equals(parts.images)
    one, other = (each.coefficients("neurons.3").coefficients for each in (whole, parts))
    assert torch.equal(one, other)
    assert parts.shelf.dataset("kept.neurons.3")["coefficient"].encoding["chunks"][0] < 16


def test_the_command_keeps_and_goes_on(tmp_path):
    given = ("survey", SCENES, "--units", "heads", "--keep", "neurons:3", "--dtype", "float32", "--top", "2",
             "--out", tmp_path / "run")  # fmt: skip
    assert command(*given).code == 0
    assert "nothing to do" in command(*given).error
    assert summand.open(tmp_path / "run").manifest.coefficients == ("neurons.3",)
    assert "--keep" in command(*given[:4], *given[8:]).error
    assert "--keep" in summand.open(tmp_path / "run").manifest.command(tmp_path)


@pytest.mark.parametrize("keep", [False, True])
def test_two_devices_find_what_one_finds(vit, tmp_path, keep):
    """Both are the CPU here; each has batches and consumers of its own."""
    one = summand.survey(vit, SCENES, **OPTIONS)
    two = summand.survey(vit, SCENES, devices="cpu,cpu", out=tmp_path / "run" if keep else None, **OPTIONS)
    for group in ("heads", "neurons.3"):
        a, b = one.dataset(group), two.dataset(group)
        np.testing.assert_array_equal(a["top_image"], b["top_image"])
        np.testing.assert_array_equal(a["held_out_image"], b["held_out_image"])
        for name in ("mean", "covariance"):
            scale = np.abs(a[name].values).max()
            np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-9 * scale, err_msg=name)
        np.testing.assert_allclose(a["held_out"], b["held_out"], atol=2e-3)
    assert one.images.equals(two.images)
    assert two.manifest.residual < 1e-5


def test_what_is_wrong_on_one_of_several_devices_is_said(vit, tmp_path):
    broken = summand.load("scenes-vit")
    with torch.no_grad():
        broken.clip.visual.conv1.weight[0, 0, 0, 0] = float("nan")
    with pytest.raises(summand.SummandError):
        summand.survey(broken, SCENES, devices="cpu,cpu", **OPTIONS)
    with pytest.raises(summand.SummandError, match="commas"):
        devices_of("cuda:0,,cuda:1")
    with pytest.raises(summand.SummandError, match="engine"):
        summand.survey(vit, SCENES, engine="spark", **OPTIONS)
