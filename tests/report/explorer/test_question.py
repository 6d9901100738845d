"""The numbers of the explorer: exact sums, and the same as the library gives elsewhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import summand
from summand import SummandError
from summand.report.explorer.known import Known
from summand.report.explorer.moved import moved
from summand.report.explorer.nearest import WHOLE, nearest, ways
from summand.report.explorer.off import map_without, switched_off, terms_without, without
from summand.report.explorer.places import box_of_patch, patch, patch_at
from summand.report.explorer.question import (
    Along,
    cosines,
    head_map,
    head_scores,
    parse_texts,
    probabilities,
    score,
    token_map,
    waterfall,
)
from tests.report.explorer.conftest import TEXTS

pytestmark = pytest.mark.slow

VERSUS = Along(0, 1)


def test_probabilities_are_the_models_own_zero_shot_answer(known, reading):
    clip = known.model.clip
    images = torch.nn.functional.normalize(clip.encode_image(reading.pixels), dim=1)
    texts = torch.nn.functional.normalize(known.model.encode_text(list(TEXTS)), dim=1)
    expected = (clip.logit_scale.exp() * images @ texts.T).softmax(dim=1)[0]
    torch.testing.assert_close(torch.tensor(probabilities(reading.terms, reading)), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("along", [VERSUS, Along(1, 0), Along(2, None)])
def test_the_waterfall_adds_up_to_the_score(reading, along):
    steps = waterfall(reading.terms, reading, along)
    assert sum(step.value for step in steps) == pytest.approx(score(reading.terms, reading, along), abs=1e-4)
    assert [step.kind for step in steps] == ["input", *["heads", "mlp"] * 6, "constants"]


def test_of_two_texts_the_score_is_the_log_odds_of_their_probabilities(reading):
    first, second, _ = probabilities(reading.terms, reading)
    assert score(reading.terms, reading, VERSUS) == pytest.approx(math.log(first / second), abs=1e-4)


def test_heads_of_a_layer_add_up_to_its_bar(reading):
    bars = [step.value for step in waterfall(reading.terms, reading, VERSUS) if step.kind == "heads"]
    found = head_scores(reading.terms, reading, VERSUS).sum(dim=1)
    torch.testing.assert_close(found, torch.tensor(bars), atol=1e-4, rtol=1e-4)


def test_maps_are_those_of_heatmap(known, reading):
    """In units of the score: scale / ‖M‖ times `summand.heatmap`'s."""
    unit = reading.scale / float(known.model.encode_image(reading.pixels).norm())
    picture = Image.fromarray(reading.seen)
    for along, more in ((VERSUS, {"versus": TEXTS[1]}), (Along(0, None), {})):
        expected = summand.heatmap(known.model, picture, TEXTS[0], **more).grid[0]
        np.testing.assert_allclose(token_map(reading, along).numpy(), unit * expected, atol=1e-4)
    expected = summand.heatmap(known.model, picture, TEXTS[0], versus=TEXTS[1], head="4.6").grid[0]
    np.testing.assert_allclose(head_map(reading, VERSUS, 4, 6).numpy(), unit * expected, atol=1e-4)


def test_maps_of_heads_add_up_to_the_map(reading):
    layers, heads = reading.tokens.shape[:2]
    total = sum(head_map(reading, VERSUS, layer, head) for layer in range(layers) for head in range(heads))
    torch.testing.assert_close(total, token_map(reading, VERSUS), atol=1e-4, rtol=1e-4)


def test_a_text_versus_itself_and_a_text_that_there_is_not_are_refused(reading):
    with pytest.raises(SummandError, match="compared with itself"):
        score(reading.terms, reading, Along(1, 1))
    with pytest.raises(SummandError, match="no text 3"):
        score(reading.terms, reading, Along(3))
    with pytest.raises(SummandError, match=r"no head 6\.0"):
        head_map(reading, VERSUS, 6, 0)


@given(st.lists(st.text(max_size=12), max_size=6))
def test_texts_are_lines_without_repetition(lines):
    written = "\n".join(lines)
    kept = list(dict.fromkeys(line.strip() for line in written.splitlines() if line.strip()))
    if kept:
        assert list(parse_texts(written)) == kept
    else:
        with pytest.raises(SummandError, match="at least one text"):
            parse_texts(written)


def test_too_many_and_too_long_texts_are_refused():
    assert len(parse_texts("\n".join(map(str, range(20))))) == 20
    with pytest.raises(SummandError, match="at most 20 texts at once, got 21"):
        parse_texts("\n".join(map(str, range(21))))
    with pytest.raises(SummandError, match="at most 300 letters"):
        parse_texts("a" * 301)


@pytest.mark.parametrize("units", [["4.6"], ["4:3", "4:9"], ["5.1", "4:3", "0.0"]])
def test_what_is_off_is_the_formula_of_mean_ablation(known, reading, units):
    """M′ = M − Σ (φ − φ̄), with φ and φ̄ as decompose, second_order and the survey's moments give them; what a neuron
    writes through a head that is off is gone with the head."""
    off = switched_off(known, units)
    moments = known.survey.moments("heads")
    heads = known.model.decompose(reading.pixels).heads()[0]
    mean_heads = moments.basis.combine(moments.mean[None])[0].to(heads)
    expected = known.model.encode_image(reading.pixels)[0].double()
    for layer, head in off.heads:
        expected = expected - (heads[layer, head] - mean_heads[layer, head]).double()
    effects = known.model.second_order(reading.pixels, 4)
    mean = known.survey.moments("neurons.4").mean
    through = torch.tensor([tuple(path) not in off.heads for path in effects.path_index])
    for _, neuron in off.neurons:
        moved_by = (effects.coefficients[0, neuron] - mean[neuron]) * through
        expected = expected - torch.einsum("p,pe->e", moved_by.double(), effects.directions[neuron].double())
    found = terms_without(known, reading, off).output
    torch.testing.assert_close(found.double(), expected, atol=1e-4, rtol=1e-4)


def test_the_map_without_units_loses_what_they_wrote_from_each_patch(known, reading):
    """Heads by their own maps, neurons by the change of all patches' sum in a tower of the library."""
    heads = switched_off(known, ["4.6", "5.3"])
    terms = terms_without(known, reading, heads)
    shrunk = float(reading.terms.output.norm() / terms.output.norm())
    expected = token_map(reading, VERSUS) - head_map(reading, VERSUS, 4, 6) - head_map(reading, VERSUS, 5, 3)
    torch.testing.assert_close(map_without(reading, terms, VERSUS, heads), shrunk * expected, atol=1e-4, rtol=1e-4)

    neurons = switched_off(known, ["5.1", "4:3", "4:9"])
    terms = terms_without(known, reading, neurons)
    direction = reading.direction(VERSUS)
    effects = known.model.second_order(reading.pixels, 4)
    left = torch.tensor([path != (5, 1) for path in effects.path_index])
    gone = (effects.coefficients[0, [3, 9]] * left * (effects.directions[[3, 9]] @ direction)).sum()
    change = (token_map(reading, VERSUS) - head_map(reading, VERSUS, 5, 1)).sum()
    change -= map_without(reading, terms, VERSUS, neurons).sum() * terms.output.norm() / reading.terms.output.norm()
    unit = reading.scale / float(reading.terms.output.norm())
    # neurons also write from the class token, which is no patch
    class_token = _from_the_class_token(known, reading, direction, [3, 9], left)
    assert float(change) == pytest.approx(unit * float(gone - class_token), abs=1e-4)
    assert abs(float(change)) > 1e-3


@torch.no_grad()
def _from_the_class_token(known, reading, direction, neurons, left):
    """Of the second-order effects along a direction, what the first token adds, by hand."""
    tower, pixels = known.model.tower, reading.pixels
    streams, rows = {}, {}
    blocks = known.model.clip.visual.transformer.resblocks
    handles = [
        block.register_forward_pre_hook(lambda _, given, at=at: streams.__setitem__(at, given[0]))
        for at, block in enumerate(blocks)
    ]
    hidden = []
    handles.append(blocks[4].mlp.c_proj.register_forward_pre_hook(lambda _, given: hidden.append(given[0])))
    known.model.clip.encode_image(pixels)
    for handle in handles:
        handle.remove()
    trace = tower.run(pixels, lambda at, view: rows.__setitem__(at, view.row))
    effects = known.model.second_order(pixels, 4)
    found = 0.0
    for path, (at, head) in enumerate(effects.path_index):
        if left[path]:
            deviation = (streams[at][0, 0].var(correction=0) + 1e-5).sqrt()
            along = effects.directions[neurons, path] @ direction
            found += rows[at][0, head, 0] * (hidden[0][0, 0, neurons] @ along) / deviation * trace.scale[0]
    return found


def test_a_property_switches_off_the_heads_that_are_labelled_with_it(known):
    table = known.survey.labels
    for name in known.properties:
        labelled = table[(table["kind"] == "head") & (table["attribute"] == name)]["unit"]
        assert set(switched_off(known, properties=[name]).names) == set(labelled)
    assert known.properties
    with pytest.raises(SummandError, match="no head is labelled 'weather'"):
        switched_off(known, properties=["weather"])


@pytest.mark.parametrize(
    ("unit", "says"),
    [
        ("6.0", "heads are 0.0 to 5.7"),
        ("0.8", "heads are 0.0 to 5.7"),
        ("4:99999999", "4:0 to 4:511"),
        ("5:0", "no attention comes after layer 5"),
        ("9:0", "layer"),
        ("62x3", "attention pool"),
        ("../../etc/passwd", "a unit is called"),
    ],
)
def test_units_that_there_are_not_are_refused(known, unit, says):
    with pytest.raises(SummandError, match=says):
        switched_off(known, [unit])


def test_without_a_survey_units_are_set_to_nothing(vit, reading):
    bare = Known(vit)
    off = switched_off(bare, ["4.6", "4:3"])
    found = without(bare, off).encode_image(reading.pixels)[0]
    heads = vit.decompose(reading.pixels).heads()[0]
    effects = vit.second_order(reading.pixels, 4)
    left = torch.tensor([path != (4, 6) for path in effects.path_index])
    neuron = ((effects.coefficients[0, 3] * left)[:, None] * effects.directions[3]).sum(dim=0)
    expected = vit.encode_image(reading.pixels)[0] - heads[4, 6] - neuron
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_patch_is_found_under_every_point_of_its_box(reading):
    rows, columns = reading.model.tower.grid
    for row, column in ((0, 0), (3, 5), (rows - 1, columns - 1)):
        left, top, right, bottom = box_of_patch(reading, row, column)
        for x in (left + 0.1, right - 0.1):
            for y in (top + 0.1, bottom - 0.1):
                assert patch_at(reading, x, y) == (row, column)
    with pytest.raises(SummandError, match="does not see"):
        patch_at(reading, -1, 5)


def test_in_a_wide_picture_patches_lie_where_the_model_looks(known):
    wide = Image.new("RGB", (300, 64), "white")
    found = known.read(wide, ("a star",))
    box = box_of_patch(found, 0, 0)
    shown = summand.heatmap(known.model, wide, "a star").box
    zoom = found.picture.width / 300
    assert box[:2] == pytest.approx((zoom * shown[0], zoom * shown[1]), abs=1)
    assert box[2] - box[0] == pytest.approx(zoom * (shown[2] - shown[0]) / 8, abs=1)


def test_a_patch_tells_what_each_head_writes_from_it(known, reading):
    found = patch(known, reading, VERSUS, 2, 5, count=48)
    assert found.value == pytest.approx(float(token_map(reading, VERSUS)[2, 5]), abs=1e-4)
    assert sum(one.value for one in found.writers) == pytest.approx(found.value, abs=1e-4)
    for one in found.writers[:5]:
        layer, head = map(int, one.unit.split("."))
        assert one.value == pytest.approx(float(head_map(reading, VERSUS, layer, head)[2, 5]), abs=1e-4)
    usual = dict(found.asked)
    for place, text in enumerate(TEXTS):
        assert usual[text] == pytest.approx(float(token_map(reading, Along(place))[2, 5]), abs=1e-4)


def test_the_patch_of_the_ring_goes_with_rings(known, reading):
    """Ground truth of the scene: of all patches, those of the ring speak most for it."""
    rows, columns = divmod(int(token_map(reading, Along(1, 0)).argmax()), 8)
    found = patch(known, reading, Along(1, 0), rows, columns)
    asked = dict(found.asked)
    assert asked["a blue ring"] > asked["a red star"]
    assert found.texts[0][1] == max(value for _, value in found.texts)


def test_neurons_that_are_moved_are_those_of_the_librarys_profile(known, reading):
    found = moved(known, reading, VERSUS, count=1000)
    norms = known.profile.norms(known.model, reading.pixels)[0]
    far = {known.profile.units[i].name for i in (norms > known.profile.limits).nonzero()[:, 0].tolist()}
    assert far == {one.unit for one in found}
    assert [one.times for one in found] == sorted((one.times for one in found), reverse=True)
    signs = known.profile.projections(known.model, reading.pixels)[0]
    for one in found:
        place = int(one.unit.partition(":")[2])
        assert one.along == pytest.approx(float(signs[place]), abs=1e-4)
        if one.words:
            ends = [end for end in known.words[one.unit].ends if (end.sign > 0) == (one.along > 0)]
            assert one.words in [end.text for end in ends]
    with pytest.raises(SummandError, match="survey --units heads,neurons"):
        moved(Known(known.model), reading, VERSUS)


def test_a_pictures_nearest_is_itself(known):
    source = known.survey.source()
    found = known.read(source.image(17), TEXTS)
    for way in (WHOLE, "colour", *[name for name in ways(known) if name.endswith("(its heads)")][:1]):
        best = nearest(known, found, way, count=3)
        assert best[0].image == 17, way
        assert best[0].cosine == pytest.approx(1, abs=2e-3)


def test_nearest_by_a_property_is_what_retrieve_finds(known, reading):
    expected = summand.retrieve(
        known.model, Image.fromarray(reading.seen), known.survey, property="place", top=5
    ).rows  # from passes of its own
    found = nearest(known, reading, "place", count=5)
    assert [one.image for one in found] == expected["index"].tolist()
    assert [one.cosine for one in found] == pytest.approx(expected["score"].tolist(), abs=2e-3)
    with pytest.raises(SummandError, match="cannot be compared by 'weather'"):
        nearest(known, reading, "weather")
    with pytest.raises(SummandError, match="open a survey"):
        nearest(Known(known.model), reading)


def test_a_model_with_an_attention_pool_is_explored_too(resnet):
    bare = Known(resnet)
    found = bare.read(Image.new("RGB", (64, 64), "red"), TEXTS)
    steps = waterfall(found.terms, found, VERSUS)
    assert sum(step.value for step in steps) == pytest.approx(score(found.terms, found, VERSUS), abs=1e-4)
    off = switched_off(bare, ["0.3"])
    changed = terms_without(bare, found, off)
    assert not torch.allclose(cosines(changed, found), cosines(found.terms, found), atol=1e-4)
    with pytest.raises(SummandError, match="give pairs"):
        switched_off(bare, ["0:3"])
