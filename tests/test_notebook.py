"""What a notebook shows of parts, surveys, units and results: the numbers themselves, escaped, as pictures."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import summand
from summand import SummandError
from summand.notebook import as_img
from summand.studies.result import Result

pytestmark = pytest.mark.slow

PNG = b"\x89PNG"
NASTY = '<script>alert(1)</script>" onerror=1'


@pytest.fixture(scope="module")
def survey(vit):
    found = summand.survey(vit, "scenes:count=120,seed=8", units="heads,neurons:4", progress=False)
    found.label(most=24, progress=False)
    return found


@pytest.fixture(scope="module")
def unlabelled(vit):
    return summand.survey(vit, "scenes:count=30,seed=2", units="heads,neurons:4", held_out=0, progress=False)


def bars(figure):
    """Width of every bar, from the top, and where it begins."""
    patches = [patch for patch in figure.axes[0].patches if patch.get_height()]
    return [patch.get_width() for patch in patches], [patch.get_x() for patch in patches]


def written(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("which", ["vit", "resnet"])
def test_a_waterfall_adds_up_along_every_direction(which, request, pixels):
    model = request.getfixturevalue(which)
    if which == "resnet":
        pixels = model.preprocess(summand.scenes.sample(6, seed=11).images)
    parts = model.decompose(pixels)
    text = model.encode_text(["a red star", "a blue ring"])
    outputs = model.encode_image(pixels)
    for image in (0, 3, -1):
        along = text[0] - text[1]
        steps = parts.waterfall(along, image)
        assert sum(step.value for step in steps) == pytest.approx(float(outputs[image] @ along), abs=1e-4)
        for step in steps:
            if step.kind == "heads":
                expected = float(parts.heads()[image, step.layer].sum(dim=0) @ along)
                assert step.value == pytest.approx(expected, abs=1e-5)
            if step.kind == "mlp":
                assert step.value == pytest.approx(float(parts.mlps()[image, step.layer] @ along), abs=1e-5)
        assert sum(step.value for step in parts.waterfall(image=image)) == pytest.approx(1, abs=1e-4)
    names = [step.name for step in parts.waterfall()]
    assert names[:2] == ["input", "layer 0 heads"]
    assert names[-1] == "constants"


def test_the_bars_stand_where_the_sum_stands(vit, pixels):
    parts = vit.decompose(pixels)
    text = vit.encode_text(["a star"])[0]
    steps = parts.waterfall(text, 1)
    widths, starts = bars(parts.plot(text, 1))
    assert widths == pytest.approx([*(step.value for step in steps), sum(step.value for step in steps)])
    assert starts == pytest.approx([0, *np.cumsum([step.value for step in steps])[:-1], 0], abs=1e-6)
    assert parts.plot(text, title="$x_1$ <b>").axes[0].get_title(loc="left") == "$x_1$ <b>"


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("image", [6, -7, 1.5, "0", True])
def test_an_image_that_the_batch_does_not_have_is_refused(vit, pixels, image):
    with pytest.raises(SummandError, match="images 0 to 5"):
        vit.decompose(pixels).waterfall(image=image)


@pytest.mark.usefixtures("unchecked")
def test_a_direction_of_another_model_is_refused(vit, pixels):
    with pytest.raises(SummandError, match="128"):
        vit.decompose(pixels).waterfall(torch.ones(7))


def test_parts_say_what_they_are_without_a_pass_and_show_themselves_with_one(vit, pixels):
    parts = vit.decompose(pixels)
    passes = []
    hook = vit.clip.visual.register_forward_hook(lambda *_: passes.append(1))
    try:
        parts = vit.decompose(pixels)
        made = len(passes)
        assert repr(parts) == "<Parts of 6 inputs: 6 × 8 heads, 128-d>"
        assert len(passes) == made
    finally:
        hook.remove()
    html = parts._repr_html_()
    assert "data:image/png;base64," in html
    assert "6 × 8 heads" in html
    assert re.findall(r'<img alt="([^"]+)"', html) == ["waterfall: what the embedding is made of, input 0"]
    texts = vit.decompose_text(["a red star"])
    assert repr(texts).startswith("<TextParts of 1 input:")
    assert "data:image/png" in texts._repr_html_()


def test_a_survey_is_a_map_of_its_heads_with_their_words(survey):
    figure = survey.plot()
    shown = figure.axes[0].images[0].get_array()
    heads = survey.labels[survey.labels["kind"] == "head"]
    assert shown.shape == (6, 8)
    for row in heads.to_dict("records"):
        assert shown[row["layer"], row["head"]] == pytest.approx(row["importance"])
    texts = [re.sub(r"\s+", " ", text) for text in written(figure)]
    assert len(texts) == 48
    for text, row in zip(texts, heads.to_dict("records"), strict=True):
        first = [end for end in row["poles"] if end["words"]]
        proven = [end for end in first if end["verdict"] == "proven"]
        if proven and row["attribute"] in {end["kind"] for end in proven}:
            assert text == proven[0]["words"][0]
        elif proven:  # words of a smaller part: what the head is of
            assert text == f"({row['attribute']})"
        else:
            assert text.startswith("(")


def test_without_labels_a_survey_shows_variances(unlabelled):
    figure = unlabelled.plot("heads")
    np.testing.assert_allclose(figure.axes[0].images[0].get_array(), unlabelled.moments("heads").variance(), rtol=1e-6)
    widths, _ = bars(unlabelled.plot("neurons.4"))
    expected = unlabelled.moments("neurons.4").variance().sort(descending=True).values[:20]
    assert widths == pytest.approx(expected.tolist(), rel=1e-6)


def test_other_units_are_bars_the_most_important_first(survey):
    figure = survey.plot("neurons.4")
    rows = survey.labels[survey.labels["kind"] == "neuron"].sort_values("importance", ascending=False)
    widths, _ = bars(figure)
    assert widths == pytest.approx(rows["importance"].head(20).tolist())
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert [name.split("  ")[0] for name in names] == rows["unit"].head(20).tolist()
    with pytest.raises(SummandError, match="holds heads, neurons"):
        survey.plot("pairs")


def test_a_survey_says_what_it_is_of(survey, unlabelled):
    html = survey._repr_html_()
    heads = survey.labels[survey.labels["kind"] == "head"]
    proven = int((heads["verdict"] == "proven").sum())
    assert f"6 × 8, {proven} of 48 labelled ones proven" in html
    assert "scenes-vit" in html
    assert "120 read" in html
    assert "no words yet: survey.label()" in unlabelled._repr_html_()


def test_a_unit_shows_itself(survey):
    view = survey["4:3"]
    assert view.plot(4)._repr_png_().startswith(PNG)
    assert 'alt="the images in which neuron 4:3 does most"' in view._repr_html_()


def test_results_plot_where_there_is_something_to_draw(vit, survey):
    from PIL import Image

    found = summand.retrieve(vit, Image.new("RGB", (64, 64), "red"), survey, top=3)
    assert found.plot()._repr_png_().startswith(PNG)
    assert 'alt="figure of retrieve"' in found._repr_html_()
    with pytest.raises(SummandError, match="has no figure"):
        Result(pd.DataFrame({"a": [1]}), None).plot()


@pytest.mark.slow
def test_every_figure_shows_itself_in_a_notebook(vit, pixels, survey):
    """One that was not made by pyplot would be text there."""
    heatmap: Any = summand.heatmap(vit, "scenes:count=2", ["a star", "a ring"])
    drawn = [vit.decompose(pixels).plot(), survey.plot(), survey["5.3"].plot(), survey["5.3"].show()]
    drawn += [heatmap.plot(), heatmap[0].plot(), heatmap[0].figure()]
    assert all(one._repr_png_().startswith(PNG) for one in drawn)


def test_names_of_others_are_escaped():
    from matplotlib.figure import Figure

    assert "<script" not in as_img(Figure(figsize=(1, 1)), NASTY)
    assert as_img(Figure(figsize=(1, 1)), NASTY).count('"') == 6


def test_no_figure_is_made_that_a_notebook_would_not_show():
    """All are made as `Plot`, whatever room draws them."""
    home = Path(summand.__file__).parent
    others = [path.name for path in home.rglob("*.py") if re.search(r"import Figure\b|import pyplot", path.read_text())]
    assert others == ["plots.py"]
