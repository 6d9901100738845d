"""Words of units: true of images that nobody has seen, the same everywhere, and gone when the images are shuffled."""

from __future__ import annotations

import html

import numpy as np
import pandas as pd
import pytest
import torch

import summand
from summand.data import open_source
from summand.report.site.build import build
from summand.studies.retrieve.index import property_units
from summand.studies.truth.scores import anova_shares
from summand.studies.truth.values import both_proven, first_proven, shows, summary_of, values_shown
from summand.survey.labels import kinds_of
from summand.survey.terms import term_shares
from summand.survey.unit_words import Words, directions_of, heads_in_words, words_of_row
from summand.survey.words import Readings, false_proofs
from summand.text.kinds import values_of_pool
from summand.text.pools import pool

pytestmark = pytest.mark.slow

TEXTS = pool("scenes").texts


@pytest.fixture(scope="module")
def survey(vit):
    found = summand.survey(vit, "scenes:count=1000,seed=77", units="heads,neurons:4", progress=False)
    found.label(draws=2, progress=False)
    return found


@pytest.fixture(scope="module")
def ends(vit, survey):
    labels = survey.labels
    labels = labels[(labels["kind"] == "neuron") | (labels["layer"] >= 3)]
    return values_shown(vit, survey, labels, open_source("scenes:count=800,seed=78"))


def test_proven_words_are_true_of_fresh_images(ends):
    for kind in ("head", "neuron"):
        first = first_proven(ends[ends["kind"] == kind])
        assert first["shown"].mean() > 0.85  # of 1,000 scenes; the benchmark has more
        assert first["shown"].mean() > first["chance"].mean() + 0.4
    assert len(first_proven(ends[ends["kind"] == "head"])) >= 18
    unproven = ends[ends["verdict"] == "not proven"]
    assert unproven["shown"].mean() < first_proven(ends)["shown"].mean() - 0.1
    assert both_proven(ends)["shown"].mean() > 0.85


def test_what_fresh_images_show_is_counted_literally(vit, survey, ends):
    scenes = summand.scenes.sample(800, seed=78)
    row = first_proven(ends[ends["kind"] == "head"]).iloc[0]
    layer, head = (int(part) for part in row["unit"].split("."))
    effect = torch.cat([vit.decompose(vit.preprocess(x)).heads()[:, layer, head] for x in np.split(scenes.images, 8)])
    x = row["sign"] * (effect.double() @ survey[row["unit"]].directions[row["thing"]])
    top = x.argsort(descending=True)[:20].numpy()
    true = np.any([shows(scenes.attributes, text) for text in row["words"]], axis=0)
    assert row["shown"] == pytest.approx(true[top].mean())
    assert row["chance"] == pytest.approx(true.mean())


def test_a_text_is_true_of_a_scene_that_has_its_value():
    attributes = pd.DataFrame(
        {"count": [1, 2, 2], "position": ["left", "top", "left"], "letter": ["none", "A", "none"]}
    )
    assert shows(attributes, "two objects").tolist() == [False, True, True]
    assert shows(attributes, "an object on the left").tolist() == [True, False, True]
    assert shows(attributes, "a scene without a letter").tolist() == [True, False, True]
    with pytest.raises(summand.SummandError, match="names no value"):
        shows(attributes, "the quick brown fox")


def test_shuffled_images_prove_next_to_nothing(vit, survey):
    readings = Readings.of(survey, values_of_pool(TEXTS, vit.encode_text(TEXTS).double()))
    found = false_proofs(survey, readings, 3, range(4))
    assert set(found) == {"head", "neuron"}
    assert all(share <= 0.05 for share in found.values())


def test_directions_that_are_called_the_same_are_shown_once():
    def end(thing: int, share: float, sign: int, word: str, verdict: str) -> dict[str, object]:
        numbers = dict.fromkeys(("shown", "chance", "limit", "p", "agreement"), 0.5)
        own = {"thing": thing, "share": share, "sign": sign, "words": [word], "each": [0.5], "silent": False}
        return {**own, **numbers, "verdict": verdict}

    ends = [
        *(end(0, 0.42, 1, "small", "proven"), end(0, 0.42, -1, "large", "not proven")),
        *(end(1, 0.27, 1, "small", "proven"), end(1, 0.27, -1, "pink", "not proven")),
        *(end(2, 0.1, 1, "small", "proven"), end(2, 0.1, -1, "red", "proven")),
    ]
    words = Words.of(ends)
    assert words.text == "small 69 % · small ↔ red 10 %"
    assert words.named == pytest.approx(0.79)
    assert Words.of([{**row, "share": None} for row in ends[:4]]).text == "small"


def test_the_statistics_the_choice_and_the_score_are_of_different_images(vit, survey):
    """Other embeddings of the scoring half change no word, only what it is worth."""
    values = values_of_pool(TEXTS, vit.encode_text(TEXTS).double())
    readings = Readings.of(survey, values)
    assert len(readings.choice) + len(readings.final) == int(survey.images["held_out"].sum())
    embeddings = survey.embeddings.double()[torch.tensor(survey.images["held_out"].to_numpy())]
    usual = survey.embeddings.double()[torch.tensor(~survey.images["held_out"].to_numpy())]
    assert torch.equal(readings.choice, values.shown(embeddings, usual)[0::2])
    assert torch.equal(readings.final, values.shown(embeddings, usual)[1::2])


def test_the_words_of_a_unit_are_the_same_everywhere(vit, survey, tmp_path):
    labels = survey.labels.set_index("unit")
    found = survey.find("a red object", top=5)
    assert found["label"].tolist() == [labels.loc[unit, "label"] for unit in found["unit"]]
    for unit in ("5.4", "5.0", "4:17"):
        view = survey[unit]
        assert labels.loc[unit, "label"] in repr(view)
        assert view.called == words_of_row(view.label)
        assert view.called.text == labels.loc[unit, "label"]
        assert view.words == list(labels.loc[unit, "words"])
    source = open_source("scenes:count=1000,seed=77")
    kept = summand.survey(vit, source, units="heads", keep=2, progress=False)
    made = build(vit, source, tmp_path / "a", pool=pool("scenes"), layers=2, examples=2, survey=kept, progress=False)
    for name, words in made.words.items():
        assert words.text == labels.loc[name, "label"]
        for page in (tmp_path / "a" / "heads" / f"{name}.html", made.page):
            assert words.text in html.unescape(page.read_text()).replace("\u00a0", " ")  # before a % no line ends


def test_directions_read_the_held_out_coefficients(survey):
    coefficients = survey.held_out_coefficients("heads").double()
    direction = directions_of(survey, survey.group("heads"))[5, 4, 0]
    basis = survey.moments("heads").directions[5, 4].double()
    x = coefficients[:, 5, 4] @ (basis @ direction)
    along = survey["5.4"].direction @ basis.T  # r_n, whose x is kept by itself
    kept = survey.held_out("heads")[:, 5, 4].double()
    torch.testing.assert_close(coefficients[:, 5, 4] @ along, kept, atol=0.01 * float(kept.std()), rtol=0.02)
    assert 0.5 < float(x.std()) < 2  # of unit variance over the other images


def test_only_proven_words_are_shown_as_meaning(survey):
    for row in survey.labels.to_dict("records"):
        called = words_of_row(row)
        if row["verdict"] == "proven":
            assert "proven)" not in row["label"]
            assert list(row["words"]) == [end.words[0] for end in called.ends if end.proven]
        else:
            assert row["label"].endswith(f"({row['verdict']})")
            assert not len(row["words"])


def test_heads_are_of_what_explains_most_of_them_and_words_of_a_small_part_do_not_say_otherwise(vit, survey):
    scenes = summand.scenes.sample(800, seed=78)
    given = {"units": "heads", "held_out": 0, "top": 0, "progress": False}
    fresh = summand.survey(vit, "scenes:count=800,seed=78", keep=range(6), **given)
    shares = anova_shares(fresh.kept, scenes.attributes[list(summand.scenes.ATTRIBUTES)])
    heads = survey.labels[survey.labels["kind"] == "head"]
    words = [words_of_row(row) for row in heads.to_dict("records")]
    said, by_words = (pd.Series(each) for each in ([w.kind for w in words], [w.worded for w in words]))
    true, strong = shares.idxmax(axis=1), shares.max(axis=1) >= 0.5
    assert (said == true)[strong].all()
    assert not (by_words == true)[strong].all()
    assert not ((by_words == true) & (said != true)).any()  # nothing that words say right is lost
    assert (said == true).sum() > (by_words == true).sum() + 3
    shown = {text.get_text() for text in survey.plot("heads").axes[0].texts}
    part = [called for called in words if called.in_part and called.verdict == "proven"]
    assert part
    for called in part:
        assert f"({called.kind})" in shown
        assert called.text.startswith(f"{called.kind} ")


def test_without_held_out_images_nothing_is_proven(vit):
    found = summand.survey(vit, "scenes:count=30,seed=1", units="heads", held_out=0, progress=False)
    table = found.label(draws=2, progress=False)
    assert set(table["verdict"]) == {"cannot be tested"}
    assert table["label"].str.endswith("(cannot be tested)").all()
    assert term_shares(found, vit.encode_text(TEXTS)) is None


def test_terms_are_the_shares_of_the_sum_along_the_texts(vit, survey):
    texts = vit.encode_text(TEXTS)
    found = term_shares(survey, texts)
    scenes = summand.scenes.sample(1000, seed=77)
    parts = vit.decompose(vit.preprocess(scenes.images[survey.held_out_images]))
    centred = (texts - texts.mean(dim=0)).double()
    heads, mlps = parts.heads().sum(dim=(1, 2)).double(), parts.mlps().sum(dim=1).double()
    along = {name: (x - x.mean(dim=0)) @ centred.T for name, x in (("heads", heads), ("mlps", mlps))}
    total = parts.total().double() @ centred.T
    total = total - total.mean(dim=0)
    for name, part in along.items():
        assert getattr(found, name) == pytest.approx(float((part * total).sum() / total.square().sum()), abs=1e-4)
    assert found.heads + found.mlps + found.embedding == pytest.approx(1, abs=1e-6)
    assert found.together == pytest.approx(float(along["heads"].square().sum() / total.square().sum()), rel=1e-3)
    single = float(survey.moments("heads").variance_along(centred).sum()) * len(total)
    assert found.single == pytest.approx(single / float(total.square().sum()), rel=1e-3)
    assert found.redundant
    assert "say the same things together" in str(found)


def test_a_summary_counts_units_and_ends():
    ends = pd.DataFrame(
        {
            "kind": ["head"] * 4,
            "unit": ["0.0", "0.0", "0.1", "0.1"],
            "thing": [0, 0, 0, 1],
            "sign": [1, -1, 1, 1],
            "attribute": ["size"] * 4,
            "verdict": ["proven", "proven", "not proven", "proven"],
            "shown": [1.0, 0.5, 0.2, 0.9],
            "first": [1.0, 0.5, 0.2, 0.8],
            "chance": [0.1] * 4,
        }
    )
    (row,) = summary_of(ends, [("head", f"0.{n}") for n in range(4)], {"head": 0.0}).to_dict("records")
    assert row["proven"] == 0.5
    assert (row["shown"], row["first_word"], row["all_ends"]) == (
        pytest.approx(0.95),
        pytest.approx(0.9),
        pytest.approx(0.8),
    )
    assert (row["both_ends"], row["not_proven"]) == (pytest.approx(0.75), pytest.approx(0.2))
    assert Words(()).text == "(cannot be tested)"


def test_a_pool_says_what_its_texts_compete_with(vit, tmp_path):
    """With one kind for all, a scene shows one value of it; with the scenes' own kinds, one of each."""
    table = tmp_path / "own.csv"
    said = ("a red object", "a blue object", "two objects", "six objects")
    table.write_text("text,property\n" + "".join(f"{text},thing\n" for text in said))
    chosen = pool(table)
    assert kinds_of(chosen) == ["thing"] * 4
    assert kinds_of(pool(said)) == ["colour", "colour", "count", "count"]
    embeddings = vit.encode_text(said)
    images = vit.encode_image(vit.preprocess(summand.scenes.sample(30, seed=1).images)).double()
    one = values_of_pool(said, embeddings, kinds_of(chosen)).shown(images)
    each = values_of_pool(said, embeddings, kinds_of(pool(said))).shown(images)
    assert int(one.sum(dim=1).max()) == 1
    assert int(each.sum(dim=1).max()) == 2


def test_units_are_called_by_sentences_where_the_pool_has_them_for_its_words(vit):
    """Plural words stand first in this pool, and the model takes them for the sentences that come later."""
    sentences = [text for text in TEXTS if " " in text]
    words = [text for text in TEXTS if " " not in text]
    assert len(words) > 5
    found = summand.survey(vit, "scenes:count=300,seed=31", units="heads", held_out=0.34, progress=False)
    table = found.label([*words, *sentences], draws=2, progress=False)
    said = [word for ends in table["poles"] for end in ends for word in end["words"]]
    assert any("star" in word or "ring" in word or "circle" in word for word in said)
    assert not set(said) & set(words)
    assert all(" " in label for label in table["label"])


def labelled_with(survey, name, layers):
    heads = survey.labels[survey.labels["kind"] == "head"]
    return list(heads[(heads["attribute"] == name) & heads["layer"].isin(layers)]["unit"])


def voted_for(vit, survey, name, layers):
    return [unit.name for unit in property_units(vit, survey.moments("heads"), pool("scenes"), name, layers)]


@pytest.fixture(scope="module")
def differing(vit, survey):
    """A property whose heads by the label are some, and others than by what spans them."""
    layers = range(2, 6)
    named = [name for name in summand.scenes.ATTRIBUTES if labelled_with(survey, name, layers)]
    return next(n for n in named if labelled_with(survey, n, layers) != voted_for(vit, survey, n, layers))


def test_retrieval_takes_the_heads_that_the_survey_labels_so(vit, survey, differing):
    query, layers = summand.scenes.sample(1, seed=9).images[0], range(2, 6)
    found = summand.retrieve(vit, query, survey, property=differing, along="heads", top=1)
    assert found.units == labelled_with(survey, differing, layers)
    own = summand.retrieve(vit, query, survey, property=differing, along="heads", pool="scenes", top=1)
    assert own.units == voted_for(vit, survey, differing, layers)  # of a pool that is named its own spans


def test_debias_removes_the_heads_that_the_survey_labels_so(vit, survey, differing):
    given = {
        "classes": "shape",
        "groups": "place",
        "attribute": differing,
        "reference": survey,
        "allow_empty": True,
        "draws": 1,
    }
    found = summand.debias(vit, "scenes:count=60,seed=3", control=1, **given)
    assert [each["unit"] for each in found.removed] == labelled_with(survey, differing, range(6))
    words = heads_in_words(survey)
    for each in found.removed:
        layer, head = (int(part) for part in each["unit"].split("."))
        assert list(each["texts"]) == words[layer, head].spoken
    assert heads_in_words(None) == {}
