"""Claims on scenes: kept and not tried twice, shown, and written as a page; what they say is what was measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import summand
from summand.studies.reproduce.claims import as_markdown
from summand.studies.reproduce.options import ReproduceOptions
from summand.studies.reproduce.registry import ROWS
from tests.commands import command

pytestmark = pytest.mark.slow

_FEW = {"on": "scenes", "count": 40}


def test_claims_of_a_pair_follow_from_its_algebra(resnet):
    found = summand.reproduce("B:reconstruction", resnet, **_FEW)
    measured = {number["what"]: number["measured"] for number in found.numbers}
    assert measured["pairs by 1 component"] == measured["as it is"]  # rank one: an identity
    first = found.rows.iloc[0]
    assert first["holds"]
    assert first["why"] == ""
    assert all(number["published"] is None for number in found.numbers)  # other pictures: nothing to compare
    assert found.figure() is not None


def test_what_is_done_is_not_done_again(tmp_path, vit, monkeypatch):
    rows = "C:fig2,C:table4"
    first = summand.reproduce(rows, vit, out=tmp_path, **_FEW)
    assert sorted(path.name for path in (tmp_path / "rows").iterdir()) == ["C-fig2.json", "C-table4.json"]

    def never(*_, **__):
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr("summand.studies.reproduce.job.measure_tasks", never)
        again = summand.reproduce(rows, vit, out=tmp_path, **_FEW)
        assert again.rows.equals(first.rows)
        assert again.numbers == first.numbers
        assert any("not done again: C:fig2, C:table4" in note for note in again.notes)
        for other in ({"count": 41}, {"again": True}):
            with pytest.raises(AssertionError, match="measured again"):
                summand.reproduce("C:fig2", vit, out=tmp_path, **{**_FEW, **other})
        (tmp_path / "rows" / "C-fig2.json").write_text('{"key": ')  # cut short
        with pytest.raises(AssertionError, match="measured again"):
            summand.reproduce("C:fig2", vit, out=tmp_path, **_FEW)
    summand.reproduce("C:fig2", vit, out=tmp_path, **_FEW)
    assert json.loads((tmp_path / "rows" / "C-fig2.json").read_text())["row"] == "C:fig2"


def test_another_model_asks_another_question(tmp_path, vit, minis):
    summand.reproduce("C:fig2", vit, out=tmp_path, **_FEW)
    before = (tmp_path / "rows" / "C-fig2.json").read_text()
    tied = summand.load("scenes-vit-tied")
    tied.name = vit.name
    summand.reproduce("C:fig2", tied, out=tmp_path, **_FEW)
    assert json.loads((tmp_path / "rows" / "C-fig2.json").read_text())["key"] != json.loads(before)["key"]


def test_in_the_shell(tmp_path):
    out = tmp_path / "claims"
    found = command("reproduce", "C:fig3", "--on", "scenes", "--count", 40, "--out", out)
    assert found.code == 0, found.error
    assert "the last 4 layers carry the answer" in " ".join(found.out.split())
    assert {path.name for path in out.iterdir()} >= {"claims.md", "numbers.csv", "figure.png", "result.json", "rows"}
    page = (out / "claims.md").read_text()
    assert page.count("\n| ") == 2 + 1  # the head and two claims
    record = command("reproduce", "C:fig3", "--on", "scenes", "--count", 40, "--json").json
    assert record["command"] == "reproduce"
    assert record["curves"][0]["x"] == [0, 1, 2, 3, 4, 5]
    assert record["rows"][1]["holds"] is True


def test_the_page_says_what_fails_and_why(vit):
    found = summand.reproduce("C:table6", vit, **_FEW)
    page = as_markdown(found.rows, found.seconds, ReproduceOptions(**_FEW))
    claims = found.record()["rows"]
    failed = [row for row in claims if not row["holds"]]
    held = [row for row in claims if row["holds"]]
    assert page.count("| **no** |") == len(failed)
    assert page.count("| yes |") == len(held)
    for row in failed:
        assert f"{row['numbers']} — {row['why']}" in page
    assert f"Of {len(found.rows)} claims {len(held)} hold" in page


def test_docs_claims_are_of_all_rows():
    page = (Path(__file__).parents[3] / "docs" / "claims.md").read_text()
    assert [row for row in ROWS if f"**{row}** {ROWS[row].title} (" not in page] == []
