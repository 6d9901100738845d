from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

import summand
from summand.scenes.attributes import ATTRIBUTES
from summand.scenes.phrases import prompts
from summand.survey.describe import describe
from summand.survey.labels import label_run, write_labels
from summand.survey.strip import picture_strip, strongest
from summand.text.evidence import evidence
from summand.text.pools import pool
from summand.text.sparse import prepare_atoms
from tests.border import stats

TEXTS = pool("scenes").texts


@pytest.fixture(scope="module")
def embeddings(vit):
    return vit.encode_text(TEXTS)


@pytest.fixture(scope="module")
def table(run, embeddings):
    return label_run(run, TEXTS, embeddings, 6, draws=10)


@pytest.mark.slow
def test_every_unit_has_a_description_and_a_score(run, table, embeddings):
    assert table["kind"].value_counts().to_dict() == {"neuron": 512, "head": 48}
    assert all(len(texts) == 6 for texts in table["texts"])
    assert table.loc[table["kind"] == "head", "unit"].tolist()[9] == "1.1"
    np.testing.assert_allclose(table.groupby("kind")["importance"].sum(), 1, rtol=1e-6)
    outputs = run.embeddings.double().numpy()
    held = run.images["held_out"].to_numpy()
    # codes of neurons are of one wording a value: every prompt of a value is a near-duplicate of its first
    first = [texts[0] for name in ATTRIBUTES for texts in prompts(name).values()]
    wordings = {"head": list(TEXTS), "neuron": [text for text in TEXTS if text in first]}
    for kind, group, row in (("head", "heads", 40), ("neuron", "neurons.4", 100)):
        label = table[table["kind"] == kind].iloc[row]
        known = wordings[kind]
        atoms = prepare_atoms(embeddings[[TEXTS.index(text) for text in known]].double())
        direction = sum(
            weight * atoms[known.index(text)].numpy()
            for text, weight in zip(label["texts"], label["weights"], strict=True)
        )
        r = run.rank_one(group).directions.flatten(0, -2)[row].numpy()
        assert label["cosine"] == pytest.approx(r @ direction / np.linalg.norm(direction), abs=1e-5)
        # what is left of r_n is orthogonal to every text of the description: the weights are the best ones
        for text in label["texts"]:
            assert abs((r - direction) @ atoms[known.index(text)].numpy()) < 1e-4
        signal = run.held_out(group).flatten(1)[:, row].double().numpy()
        predicted = (outputs[held] - outputs[~held].mean(axis=0)) @ direction
        assert label["correlation"] == pytest.approx(stats.pearsonr(signal, predicted).statistic, abs=1e-6)
        assert label["auc"] == pytest.approx(roc_auc_score(signal == signal.max(), predicted), abs=1e-6)
    good = table.dropna(subset=["correlation"])
    assert (good["fits"] == ((good["correlation"] > good["random_limit"]) & (good["correlation"] > 0))).all()
    assert good["correlation"].mean() > good["random_correlation"].mean() + 0.05


def test_descriptions_by_random_texts_are_without_evidence(run, embeddings):
    found = describe(run, run.groups[1], embeddings, 6)
    generator = np.random.default_rng(5)
    atoms = prepare_atoms(embeddings.double())
    indices = torch.stack([torch.from_numpy(generator.choice(len(TEXTS), 6, replace=False)) for _ in found.units])
    weights = torch.linalg.lstsq(atoms[indices].transpose(1, 2), found.targets[..., None], driver="gelsd").solution
    random = replace(found, indices=indices, weights=weights[..., 0])
    outputs = run.embeddings.double()
    held = torch.tensor(run.images["held_out"].to_numpy())
    said = (random.targets, random.indices, random.weights)
    centred = outputs[held] - outputs[~held].mean(dim=0)
    scored = evidence(run.held_out("neurons.4"), centred, *said, atoms, draws=40)
    assert scored.supported.double().mean() < 0.12  # 5 % by chance
    assert abs(float((scored.score.correlation - scored.random.correlation).nanmean())) < 0.05


def test_labels_are_written_and_read(run, table):
    parquet, csv = write_labels(run, table)
    assert run.labels["unit"].tolist() == table["unit"].tolist()
    assert list(run.labels["texts"][0]) == table["texts"][0]
    flat = pd.read_csv(csv, dtype={"unit": str})
    assert json.loads(flat["texts"][50]) == table["texts"][50]
    assert flat["unit"][9] == "1.1"
    assert parquet.parent == run.path


def test_only_the_most_important_and_only_texts_that_fit(run, embeddings):
    found = describe(run, run.groups[1], embeddings, 3, most=7)
    every = describe(run, run.groups[1], embeddings, 3)
    assert len(found.units) == 7
    assert set(found.units) == {every.units[i] for i in every.importance.argsort(descending=True)[:7].tolist()}
    with pytest.raises(summand.SummandError, match="7 dimensions, this run 128"):
        label_run(run, TEXTS, embeddings[:, :7], 3)


def test_the_strip_shows_the_strongest_images(run):
    group = run.groups[1]
    most, least = strongest(run, group, (3,), count=4)
    ids = run.top_images(group).ids[3].tolist()
    assert {shown.image for shown in (*most, *least)} <= set(ids)
    assert len(most) + len(least) >= 4
    values = [shown.x for shown in most]
    assert values == sorted(values, reverse=True)
    # the projections of the top images, from their full vectors
    top, rank = run.top_images(group), run.rank_one(group)
    x = top.basis.double().select([3]).combine(top.coefficients[3].double()[:, None])[:, 0] @ rank.directions[3]
    x = x / float(run.dataset(group)["scale"][3])
    assert most[0].x == pytest.approx(float(x.max()), rel=1e-4)
    figure = picture_strip(run.source(), [most, least], "neuron", "words")
    assert len([axis for axis in figure.axes if axis.images]) == len(most) + len(least)
