"""Units by what predicts them, and all units as a reviewer looks at them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import summand
from summand.studies.find.run import find
from summand.survey.audit import audit
from summand.text.poles import images_of_an_end
from summand.text.pools import pool
from tests.commands import command
from tests.studies.results import assert_page, assert_whole, same

pytestmark = pytest.mark.slow

SOURCE = "scenes:count=240,seed=12"


@pytest.fixture(scope="module")
def survey(vit, tmp_path_factory):
    out = tmp_path_factory.mktemp("find") / "run"
    return summand.survey(vit, SOURCE, units="heads,neurons:4", held_out=0.4, out=out, progress=False)


@pytest.fixture(scope="module")
def truth(survey) -> pd.DataFrame:
    return summand.scenes.sample(240, seed=12).attributes.iloc[survey.held_out_images]


def pearson(one, other) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def test_what_a_query_predicts(vit, survey):
    table = survey.find("a forest", top=40)
    texts = vit.encode_text(pool("scenes").texts).double()
    centred = texts - texts.mean(dim=0)
    query = vit.encode_text("a forest")[0].double() - texts.mean(dim=0)
    images = survey.embeddings.double()[torch.tensor(survey.images["held_out"])] - survey.centre
    for row in table.head(5).to_dict("records"):
        unit = survey[row["unit"]]
        x = survey.held_out(unit.group)[(slice(None), *unit.index)].numpy()

        direction = unit.direction

        def predicts(one, x=x, direction=direction):
            return float(np.sign(float(direction @ one))) * pearson(x, (images @ one).numpy())

        assert row["predicts"] == pytest.approx(predicts(query), abs=1e-6)
        limit = np.quantile([predicts(one) for one in centred], 0.95)
        assert row["limit"] == pytest.approx(limit, abs=1e-6)
        assert row["supported"] == (row["predicts"] > max(limit, 0))
    assert table["cosine"].abs().is_monotonic_decreasing


def test_by_evidence_units_tell_the_truth_better_than_by_cosine(survey, truth):
    from sklearn.metrics import roc_auc_score

    def told(by):
        found = []
        for text, attribute, value in (("a forest", "place", "forest"), ("striped", "texture", "striped"),
                                       ("a red object", "colour", "red"), ("the letter H", "letter", "H")):  # fmt: skip
            for row in survey.find(text, top=5, by=by).to_dict("records"):
                unit = survey[row["unit"]]
                x = survey.held_out(unit.group)[(slice(None), *unit.index)].numpy()
                found.append(roc_auc_score(truth[attribute] == value, np.sign(row["cosine"]) * x))
        return np.mean(found)

    assert told("evidence") > told("cosine") + 0.05
    assert told("evidence") > 0.75


def test_a_random_query_is_supported_by_one_unit_in_twenty(survey):
    draw = torch.Generator().manual_seed(2)
    images = F.normalize(survey.embeddings.double() - survey.centre, dim=1)
    shares = []
    for _ in range(6):  # mixtures of all images: nothing in particular
        mixture = torch.randn(len(images), generator=draw).double() @ images
        shares.append(survey.find(mixture, top=560)["supported"].mean())
    assert 0.01 < np.mean(shares) < 0.12


def test_an_audit_says_what_it_says(survey, truth):
    table, limits = audit(survey)
    assert sorted(table["unit"]) == sorted(survey.units)
    assert table["weight"].is_monotonic_decreasing
    assert table["weight"].sum() == pytest.approx(1)
    held = torch.tensor(survey.images["held_out"])
    images = F.normalize(survey.embeddings.double()[held] - survey.centre, dim=1)
    count = images_of_an_end(int(held.sum()))
    assert limits.images == count
    rows = table.set_index("unit")
    for name in ("5.3", "4:100"):
        unit = survey[name]
        x = survey.held_out(unit.group)[(slice(None), *unit.index)]
        best = images[x.topk(count).indices]
        cosines = (best @ best.T)[~torch.eye(count, dtype=torch.bool)]
        assert rows.loc[name, "clarity"] == pytest.approx(float(cosines.mean()), abs=1e-9)
    assert (table["redundant"] == (table["alike"] >= 0.9)).all()
    assert len(audit(survey, most=7)[0]) == 7
    # where the images of a unit are alike, more of them share a value
    shares = []
    x = torch.cat([survey.held_out(group).flatten(1) for group in survey.groups], dim=1)
    for name, column in zip(survey.units, x.T, strict=True):
        best = truth.iloc[column.topk(count).indices.numpy()]
        lift = max((best[a].value_counts() / count - truth[a].value_counts() / len(truth)).max() for a in truth)
        shares.append((bool(rows.loc[name, "clear"]), float(lift)))
    frame = pd.DataFrame(shares, columns=["clear", "lift"])
    assert frame[frame["clear"]]["lift"].mean() > frame[~frame["clear"]]["lift"].mean() + 0.05


def test_bad_input(survey, vit):
    for what, said in (
        (3, "a text, an image or a direction"),
        ("gone.png", "cannot read the image gone.png: No such file"),
        (Path(), "cannot read the image .: it is a folder"),
    ):
        with pytest.raises(summand.SummandError, match=said):
            survey.find(what)
    with pytest.raises(summand.SummandError, match="by cosine or by evidence"):
        survey.find("a ring", by="rank")
    with pytest.raises(summand.SummandError, match="looks at all units"):
        find(survey, "a ring", audit=True)
    with pytest.raises(summand.SummandError, match="what is looked for"):
        find(survey)
    few = summand.survey(vit, "scenes:count=30,seed=1", units="heads", progress=False)
    with pytest.raises(summand.SummandError, match="kept 6 images aside"):
        few.audit()
    assert "predicts" not in few.find("a ring", by="evidence")
    assert find(few, "a ring").notes


def test_the_command_line(survey, tmp_path, unchecked):
    found = command("find", survey.path, "striped", "--json", "--out", tmp_path / "found").json
    same(found, find(survey, "striped"))
    assert (tmp_path / "found" / "figure.png").stat().st_size > 10_000
    looked = command("find", survey.path, "--audit", "--json").json
    same(looked, find(survey, audit=True))
    Image.fromarray(summand.scenes.sample(1, seed=9).images[0]).save(tmp_path / "scene.png")
    by_image = command("find", survey.path, tmp_path / "scene.png", "--by", "cosine", "--top", "3", "--json").json
    expected = survey.find(tmp_path / "scene.png", top=3)
    assert [row["unit"] for row in by_image["rows"]] == expected["unit"].tolist()
    assert command("find", survey.path).code == 2
    assert json.loads((tmp_path / "found" / "result.json").read_text())["query"] == "striped"
    for shown in (find(survey, "striped"), find(survey, audit=True)):
        assert_whole(shown)
        assert_page(shown)
        assert shown.figure() is not None
