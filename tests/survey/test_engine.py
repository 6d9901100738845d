"""The one loop, and what it hands batches to."""

from __future__ import annotations

import os
import signal
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import summand
from summand import progress
from summand.border import foreign
from summand.data import open_images, open_source
from summand.survey import Group
from summand.survey.consumers import MeanTerms, MomentsOf, Projections, TopImagesOf
from summand.survey.engine import Consumer, Stage, passes, read
from summand.survey.per_image import Embeddings, Kept, Logits
from summand.survey.store import arrays_of, of_arrays

GROUP = Group("neurons", 3)
COUNT = 16


@pytest.fixture(scope="module")
def source():
    return open_images(summand.scenes.sample(COUNT, seed=5).images)


def made(vit) -> dict[str, Consumer]:
    moments = MomentsOf(GROUP)
    top = TopImagesOf(moments, 4)
    return {
        "moments": moments,
        "top": top,
        "aside": Projections(moments, top),
        "images": Embeddings(),
        "kept": Kept((4, 5)),
        "means": MeanTerms(),
        "logits": Logits(vit.encode_text(["a star", "a ring"])),
    }


def stages(first: np.ndarray, aside: np.ndarray) -> list[Stage]:
    return [Stage("moments", first), Stage("top images", first, again=True), Stage("held-out", aside)]


def numbers(consumers: dict[str, Consumer]) -> dict[str, np.ndarray]:
    found = {}
    for name, each in consumers.items():
        state = foreign(each).ordered() if hasattr(each, "ordered") else each.state()
        if name == "aside":
            state = {"values": foreign(each).values}
        found |= {f"{name}/{key}": value for key, value in state.items() if value.dtype.kind != "U"}
    return found


@pytest.fixture(scope="module")
def whole(vit, source):
    consumers = made(vit)
    passes(vit, source, consumers, stages(np.arange(12), np.arange(12, COUNT)), batch_size=5, progress=False)
    return consumers


@pytest.mark.slow
@given(st.sets(st.integers(0, 11), min_size=1, max_size=11), st.integers(13, 15))
@settings(max_examples=3)
def test_parts_that_are_merged_equal_one_pass(vit, source, whole, some, cut):
    """Any split of the images over two machines; top images of both parts are by the mean over all."""
    first, last = np.array(sorted(some)), np.arange(12, COUNT)
    used = (first, np.setdiff1d(np.arange(12), first))
    aside = (last[last < cut], last[last >= cut])
    moments = MomentsOf(GROUP)
    top = TopImagesOf(moments, 4)
    both = {**made(vit), "moments": moments, "top": top, "aside": Projections(moments, top)}

    def part(names, turn, plan, **more) -> None:
        consumers = {name: each for name, each in {**made(vit), **more}.items() if name in names}
        before = [Stage("", plan[:0])] * turn
        passes(vit, source, consumers, [*before, Stage("", plan, turn == 1)], batch_size=5, progress=False, least=0)
        for name, each in consumers.items():
            both[name].merge(each)

    for plan in used:
        part(("moments", "images", "kept", "means", "logits"), 0, plan)
    for plan in used:
        part(("top",), 1, plan, top=TopImagesOf(moments, 4))
    for plan in aside:
        part(("aside", "images", "kept", "logits"), 2, plan, aside=Projections(moments, top))
    expected, found = numbers(whole), numbers(both)
    assert set(expected) == set(found)
    for name, value in expected.items():
        close = 2e-3 if value.dtype == np.float16 else 1e-4 * float(np.abs(value).max() or 1)
        np.testing.assert_allclose(found[name], value, atol=close, rtol=1e-3, err_msg=name)


def test_a_state_comes_back_as_it_was(vit, source, whole):
    again = made(vit)
    for name, each in whole.items():
        again[name].restore(arrays_of(of_arrays(each.state())))
    one, other = numbers(whole), numbers(again)
    assert set(one) == set(other)
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)
    assert foreign(again["moments"]).value.units == ("neuron",)
    assert foreign(again["moments"]).value.path_index == foreign(whole["moments"]).value.path_index
    assert made(vit)["moments"].state() == {}


def test_consumers_say_what_the_formulas_say(vit, source, whole):
    x = vit.preprocess(np.stack([np.asarray(source.image(i)) for i in range(COUNT)]))
    parts, outputs = vit.decompose(x), vit.encode_image(x)
    means = whole["means"].value
    heads = parts.heads().sum(dim=(1, 2))
    terms = {"heads": heads, "mlps": parts.mlps(), "embedding": parts.embedding(), "bias": parts.bias()}
    for name, term in terms.items():
        np.testing.assert_allclose(means[name], term[:12].double().mean(dim=0), atol=1e-6, rtol=1e-5)
    logits = whole["logits"].ordered()
    assert logits["images"].tolist() == list(range(COUNT))
    np.testing.assert_allclose(logits["logit"], outputs @ vit.encode_text(["a star", "a ring"]).T, atol=1e-4)
    vectors = vit.second_order(x, 3).vectors().double()
    rank, scale = whole["aside"].rank, whole["aside"].scale
    r = rank.directions
    along = torch.einsum("ine,ne->in", vectors - vectors[:12].mean(dim=0), r)
    torch.testing.assert_close(scale, along[:12].std(dim=0, correction=0), rtol=1e-3, atol=1e-7)
    expected = along[12:] / torch.where(scale > 0, scale, 1)
    np.testing.assert_allclose(whole["aside"].values, expected, atol=0.02, rtol=0.02)


def test_images_that_cannot_be_read_are_left_out_of_every_stage(vit, tmp_path):
    from PIL import Image

    for i, image in enumerate(summand.scenes.sample(8, seed=3).images):
        Image.fromarray(image).save(tmp_path / f"{i}.png")
    (tmp_path / "2.png").write_text("no")
    rows, source = Embeddings(), open_source(str(tmp_path))
    rows.stages = (0, 1)
    plan = [Stage("one", np.arange(8)), Stage("two", np.arange(8), again=True)]
    found = passes(vit, source, {"images": rows}, plan, batch_size=3, progress=False)
    assert found.unreadable == [2]
    assert [item.name for item in found.skipped] == ["2.png"]
    assert rows.state()["images"].tolist() == 2 * [0, 1, 3, 4, 5, 6, 7]
    skipped = []
    batches = list(read(vit, source, 3, progress=False, skipped=skipped))
    assert [batch.indices for batch in batches] == [[0, 1], [3, 4, 5], [6, 7]]
    assert len(skipped) == 1
    with pytest.raises(summand.SummandError, match=r"only 7 could be read, at least 8 are needed \(2\.png: not an"):
        list(read(vit, source, 3, progress=False, least=8))


def test_a_batch_makes_its_terms_once(vit, source):
    batch = next(iter(read(vit, source, 4, [GROUP, Group("heads")], progress=False)))
    x = vit.preprocess(np.stack([np.asarray(source.image(i)) for i in range(4)]))
    assert batch.parts is batch.parts
    torch.testing.assert_close(batch.effects(GROUP).coefficients, vit.second_order(x, 3).coefficients)
    torch.testing.assert_close(batch.outputs, vit.encode_image(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(batch.norms, vit.encode_image(x).double().norm(dim=1), atol=1e-3, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_saves_and_says_so(vit, tmp_path, capsys, name):
    number = getattr(signal, name)
    before = signal.signal(number, signal.default_int_handler)
    pictures = summand.scenes.sample(12, seed=5).images

    kind: Any = type(open_images(pictures))

    class Stopping(kind):
        def batch(self, indices, skipped):
            if 8 in indices:
                os.kill(os.getpid(), number)
            return super().batch(indices, skipped)

    options = {"units": "heads", "held_out": 0, "top": 2, "batch_size": 4, "out": tmp_path / "run", "progress": False}
    try:
        with pytest.raises(KeyboardInterrupt):
            summand.survey(vit, Stopping(pictures), **options)
    finally:
        signal.signal(number, before)
    assert "saved; the same command goes on" in capsys.readouterr().err
    with pytest.raises(summand.SummandError, match="not finished"):
        summand.open(tmp_path / "run")
    found = summand.survey(vit, pictures, **options)
    expected = summand.survey(vit, pictures, **{**options, "out": None})
    np.testing.assert_array_equal(found.dataset("heads")["top_image"], expected.dataset("heads")["top_image"])
    np.testing.assert_allclose(
        found.dataset("heads")["covariance"], expected.dataset("heads")["covariance"], atol=1e-12
    )


def test_an_ignored_signal_stays_ignored():
    from summand.survey.stopping import asked_to_stop

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with asked_to_stop() as event:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not event.is_set()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_without_a_terminal_a_survey_says_lines(vit, source, monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.0)
    summand.survey(vit, source, units="heads", held_out=0.25, top=2, batch_size=6)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("survey, moments: 6 of 28 images, ")
    assert lines[0].endswith(" left")
    assert any(line.startswith("survey, held-out: 28 of 28 images") for line in lines)


def test_a_survey_for_a_study_is_made_once(vit, monkeypatch, tmp_path):
    from summand.survey import cache, survey_of

    monkeypatch.setenv("SUMMAND_CACHE", str(tmp_path))
    pictures = summand.scenes.sample(24, seed=9).images
    first = survey_of(vit, open_images(pictures), [Group("heads")], progress=False)
    assert first.path is not None
    assert first.path.is_relative_to(tmp_path)

    def fail(*_, **__):
        raise AssertionError("a second pass")

    monkeypatch.setattr("summand.survey.making.passes", fail)
    again = survey_of(vit, open_images(pictures), [Group("heads")], progress=False)
    assert torch.equal(again.rank_one("heads").directions, first.rank_one("heads").directions)
    assert len(again.source()) == 24
    changed = pictures.copy()
    changed[3, 0, 0] ^= 1
    other = summand.load("scenes-vit", random_init=True)
    for model, images, options in (
        (vit, changed, {}),
        (other, pictures, {}),
        (vit, pictures, {"top": 3}),
        (summand.wrap(vit.clip, preprocess=lambda image: vit.preprocess(image) * 0.5, name="scenes-vit"), pictures, {}),
    ):
        with pytest.raises(AssertionError, match="a second pass"):
            cache.survey_of(model, open_images(images), [Group("heads")], progress=False, **options)
