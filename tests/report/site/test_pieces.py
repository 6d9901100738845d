"""What the pages say of units, against literal formulas and against the model itself."""

from __future__ import annotations

import errno
import os
import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from summand.data import open_source
from summand.errors import SummandError
from summand.report import palette
from summand.report.html import as_data, stylesheet
from summand.report.site.ablation import changes_of, problems_of
from summand.report.site.entries import entries_of
from summand.report.site.examples import Tab, centred_texts
from summand.report.site.folder import built_in
from summand.report.site.histogram import bars_of
from summand.report.site.maps import Maps
from summand.report.site.pictures import TINY, Thumbnails
from summand.report.site.relations import carried_by, nearest, paths_of
from summand.report.site.sentences import Sentences
from summand.report.site.terms import WhatMlpsWrite
from summand.report.site.waterfall import Images
from summand.scenes.as_data import SceneImages
from summand.survey import Group
from summand.text.pools import pool
from tests.report.conftest import SCENES

colours = st.integers(0, 0xFFFFFF).map(lambda number: f"#{number:06x}")


@given(colours)
def test_the_ink_can_be_read_on_every_background(background):
    assert palette.contrast(palette.ink_on(background), background) >= 4.5


def test_contrast_is_that_of_wcag():
    """Values of the W3C's own examples: black on white 21, #777 on white 4.48, #767676 4.54."""
    assert palette.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert palette.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert palette.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_of_the_stylesheet_can_be_read(scheme):
    named = palette.SCHEMES[scheme]
    for ground in ("paper", "wash"):
        for ink in ("ink", "soft", "accent", "for", "against", "proven"):
            assert palette.contrast(named[ink], named[ground]) >= 4.5, (ink, ground)
    assert palette.contrast(named["warn"], named["warn-wash"]) >= 4.5
    steps = palette.scale(scheme)
    lights = [palette.luminance(ground) for ground, _ in steps]
    assert lights == sorted(lights, reverse=scheme == "light")  # so that grey and the colour-blind see the order
    for ground, ink in steps:
        assert palette.contrast(ink, ground) >= 4.5
        assert f"{ground};" in stylesheet()


@given(st.recursive(st.text() | st.integers() | st.none(), lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_data_in_a_script_is_what_was_put_there_and_ends_no_script(value):
    import json

    text = str(as_data(value))
    assert json.loads(text) == value
    assert not re.search(r"[<>&\u2028\u2029]", text)


@pytest.fixture(scope="module")
def entries(in_words):
    return entries_of(in_words, range(6), 40)[0]


@pytest.mark.slow
def test_only_the_most_important_units_have_pages(in_words, entries):
    neurons = [entry for entry in entries if entry.kind == "neuron"]
    assert len(neurons) == 40
    table = in_words.labels
    rest = table[(table["kind"] == "neuron") & ~table["unit"].isin([entry.name for entry in neurons])]
    assert min(entry.importance for entry in neurons) >= rest["importance"].max()
    assert len({entry.page for entry in entries}) == len(entries)
    assert all(re.fullmatch(r"[a-z]+/[\dx.-]+\.html", entry.page) for entry in entries)  # names of files anywhere


@pytest.mark.slow
def test_what_ablation_does_is_what_the_model_does_without_the_unit(vit, survey, entries):
    """Against the real thing: a head held at its mean in the representation of every held-out image."""
    source, scenes = open_source(SCENES), pool("scenes")
    problems = problems_of(vit, survey, source, "shape,colour")
    assert [problem.name for problem in problems] == ["shape", "colour"]
    changes = changes_of(survey, problems, entries)
    held = survey.held_out_images
    pixels = torch.stack([vit.preprocess(source.image(int(i))) for i in held])
    outputs, heads = vit.encode_image(pixels).double(), vit.decompose(pixels).heads().double()
    means = survey.moments("heads").mean_vectors().double()
    truth = source.attributes()
    moved = 0
    for entry in entries[:48:5]:
        layer, head = entry.unit.index
        without = outputs - (heads[:, layer, head] - means[layer, head])
        for change in changes[entry.name]:
            problem = next(p for p in problems if p.name == change.problem)
            labels = [problem.classes.index(str(value)) for value in truth[change.problem].to_numpy()[held]]
            for shown, said in ((outputs, change.before), (without, change.after)):
                right = (shown @ problem.weights.double().T).argmax(dim=1) == torch.tensor(labels)
                assert abs(float(right.double().mean()) - said) <= 1.01 / len(held)  # fp16 may turn one
            moved += change.before != change.after
    assert moved  # or nothing was tested
    assert scenes.texts


@pytest.mark.slow
def test_later_heads_carry_all_of_a_neuron(vit, survey, entries):
    """Shares of all paths sum to 1, and are those of the variance of single effects on images."""
    scenes = pool("scenes")
    texts = centred_texts(scenes.texts, vit.encode_text(scenes.texts))
    neurons = [entry for entry in entries if entry.kind == "neuron"]
    paths = paths_of(survey, neurons, texts, 8)
    carried = carried_by(paths, neurons, 1000)
    for entry in neurons:
        assert sum(path.share for path in paths[entry.name]) == pytest.approx(1, abs=1e-6)
        for path in paths[entry.name]:
            assert path.head[0] == 5  # the one layer after the fourth
            assert entry in [other for other, _ in carried[f"5.{path.head[1]}"]]
    used = survey.images.index[~survey.images["held_out"].to_numpy()]
    source = open_source(SCENES)
    effects = vit.second_order(torch.stack([vit.preprocess(source.image(int(i))) for i in used]), 4)
    rank, neuron = survey.rank_one("neurons.4"), neurons[0].unit.index[0]
    each = effects.coefficients[:, neuron].double() * rank.reading()[neuron, :, 0]
    each = each - each.mean(dim=0)
    share = (each * each.sum(dim=1, keepdim=True)).mean(dim=0) / each.sum(dim=1).square().mean()
    for path in paths[neurons[0].name]:
        assert path.share == pytest.approx(float(share[path.head[1]]), abs=1e-4)


@pytest.mark.slow
def test_nearest_units_are_nearest_both_ways(survey, entries):
    found = nearest(survey, entries, len(entries))
    directions = {e.name: survey.rank_one(e.group).directions[e.unit.index] for e in entries}
    for name in ("5.4", entries[-1].name):
        for kind, some in found[name].items():
            assert name not in [near.entry.name for near in some]
            assert {near.entry.kind for near in some} <= {kind}
            sizes = [abs(near.cosine) for near in some]
            assert sizes == sorted(sizes, reverse=True)
            for near in some[:5]:
                truth = torch.cosine_similarity(directions[name], directions[near.entry.name], dim=0)
                assert near.cosine == pytest.approx(float(truth), abs=1e-5)
                back = found[near.entry.name][next(e.kind for e in entries if e.name == name)]
                assert name in [other.entry.name for other in back]


def test_the_histogram_counts_every_image_and_marks_the_significant_ones(vit, survey):
    group = Group("neurons", 4)
    bars, source = bars_of(survey, group), open_source(SCENES)
    used = survey.images.index[~survey.images["held_out"].to_numpy()]
    assert {each.images for each in bars.values()} == {len(used)}
    assert all(sum(each.counts) == len(used) for each in bars.values())
    effects = vit.second_order(torch.stack([vit.preprocess(source.image(int(i))) for i in used]), 4)
    moments = survey.moments(group)
    centred = effects.coefficients.double() - moments.mean
    norms = torch.einsum("inp,npq,inq->in", centred, moments.basis.double().gram, centred).clamp(min=0).sqrt()
    limits = survey.thresholds(group)
    for neuron in (0, 100, 398):
        each = bars[(neuron,)]
        above = int((norms[:, neuron] > limits[neuron]).sum())
        shown = [n for at, n in enumerate(each.counts) if (at + 0.5) / len(each.counts) > each.threshold]
        assert above - max(each.counts) <= sum(shown) <= above + max(each.counts)  # a bar may hold the border
        assert each.counts[-1] + each.counts[-2] > 0  # the strongest is at the right


def test_what_mlps_write_is_their_variance_along_the_texts(vit, survey):
    scenes, source = pool("scenes"), open_source(SCENES)
    embeddings = vit.encode_text(scenes.texts)
    seen = WhatMlpsWrite(survey, embeddings)
    pixels = torch.stack([vit.preprocess(source.image(i)) for i in seen.wanted])
    for half in (slice(0, 7), slice(7, None)):
        seen.see(seen.wanted[half], vit.decompose(pixels[half]))
    found, texts = seen.shares(), embeddings.double() - embeddings.double().mean(dim=0)
    mlps = vit.decompose(pixels).mlps().double() @ texts.T
    heads = survey.moments("heads").variance_along(texts).sum()
    np.testing.assert_allclose(found.mlps, mlps.var(dim=0, correction=0).sum(dim=-1) / heads, rtol=1e-4)
    assert found.images == len(seen.wanted) == 40


def test_scores_of_an_image_are_the_models_own_and_sum_up(vit, survey):
    source, scenes = SceneImages(SCENES, None), pool("scenes")
    problems = problems_of(vit, survey, source, "shape,texture")
    held = [int(i) for i in survey.held_out_images[:3]]
    texts = centred_texts(scenes.texts, vit.encode_text(scenes.texts))
    images = Images(vit, survey, held, problems, texts, Sentences(vit, source))
    pixels = torch.stack([vit.preprocess(source.image(i)) for i in [0, *held]])
    images.see([0, *held], pixels)
    outputs = torch.nn.functional.normalize(vit.encode_image(pixels).double(), dim=1)
    assert list(images.pages) == held
    for row, image in enumerate(held, start=1):
        said = [source.caption(image), *(score.phrase for score in images.pages[image].scores)]
        assert [one.text for one in images.pages[image].sentences] == list(dict.fromkeys(said))[:4]
        for score in images.pages[image].scores:
            problem = next(p for p in problems if p.name == score.of)
            weights = problem.weights.double() - problem.weights.double().mean(dim=0)
            cosines = weights @ outputs[row]
            assert score.text == problem.classes[int(cosines.argmax())]
            assert score.score == pytest.approx(float(cosines.max()), abs=1e-6)
            assert score.heads.sum() + score.mlps.sum() + score.rest == pytest.approx(score.score, abs=1e-6)
            label = str(source.attributes()[score.of][image])
            assert score.right == (label == score.text)


def test_the_sheet_holds_each_picture_once_where_it_is_said_to_be(vit, tmp_path):
    source = open_source("scenes:count=30")
    thumbs = Thumbnails(vit, source, tmp_path / "thumbs")
    thumbs.write(range(30), [np.array(source.image(i)) for i in range(30)])
    places = thumbs.sheet([3, 7, 3, 29, 99], tmp_path / "sheet.webp")
    assert set(places) == {3, 7, 29}
    from PIL import Image

    sheet = np.asarray(Image.open(tmp_path / "sheet.webp").convert("RGB")).astype(float)
    for image, (column, row) in places.items():
        tile = sheet[TINY * row : TINY * (row + 1), TINY * column : TINY * (column + 1)]
        truth = np.asarray(source.image(image).resize((TINY, TINY))).astype(float)
        wrong = np.asarray(source.image(image + 1 if image < 29 else 0).resize((TINY, TINY))).astype(float)
        assert np.abs(tile - truth).mean() < np.abs(tile - wrong).mean() / 3


def test_what_a_killed_build_left_is_removed_and_a_running_one_is_not(tmp_path):
    out = tmp_path / "site"
    with built_in(out) as folder:
        (folder / "index.html").write_text("first")
    killed, running = out / ".building-999999999", out / f".building-{os.getppid()}"
    for left in (killed, running):
        left.mkdir()
    with built_in(out) as folder:
        (folder / "index.html").write_text("second")
        assert (out / "index.html").read_text() == "first"
    assert (out / "index.html").read_text() == "second"
    assert not killed.exists()
    assert running.exists()


def test_a_build_that_fails_leaves_what_was_there(tmp_path):
    def full(out):
        with built_in(out) as folder:
            (folder / "index.html").write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(SummandError, match="make room"):
        full(tmp_path / "new")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SummandError, match="make room"):
        full(tmp_path / "empty")
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]
    with built_in(tmp_path / "old") as folder:
        (folder / "index.html").write_text("whole")
    with pytest.raises(SummandError, match="make room"):
        full(tmp_path / "old")
    assert (tmp_path / "old" / "index.html").read_text() == "whole"


def test_the_disk_has_room_for_maps_before_they_are_written(tmp_path):
    """Of a map of a file that the disk cannot hold, the process would be killed without a word."""
    tab = Tab("red", "end", 1, True, "", strongest=(1, 2), direction=torch.ones(3))
    maps = Maps({"5.3": [tab, tab], "5.4": [tab]}, (40, 50), tmp_path)
    file = os.stat(tmp_path / "maps.bin")
    assert file.st_size == 2000 * (2 * 2 + 2)
    assert 512 * file.st_blocks >= file.st_size
    maps.put("5.4", 2, -torch.ones(1, 2000))
    scales, values = maps.of("5.4")
    assert scales.tolist() == [[0], [1]]
    assert (values[0] == 0).all()
    assert (values[1] == -127).all()
