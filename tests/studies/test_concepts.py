from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import summand
from summand.border import foreign
from summand.data import open_source
from summand.studies.concepts.image import image_concepts
from summand.survey import Group, open_survey
from summand.survey.profile import neuron_groups, profile, profile_of
from summand.text.pools import pool
from summand.text.sparse import sparse_code
from tests.commands import command
from tests.depth import deep
from tests.studies.results import again, assert_page, assert_whole, close, same

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(vit):
    return profile(vit, open_source("scenes:count=100,seed=41"), [Group("neurons", 3)])


@pytest.fixture(scope="module")
def texts(vit):
    return vit.encode_text(pool("scenes").texts)


def test_a_profile_is_what_the_effects_say(vit, made):
    pixels = vit.preprocess(summand.scenes.sample(100, seed=41).images)
    vectors = vit.second_order(pixels, 3).vectors().double()
    centred = vectors - vectors.mean(dim=0)
    norms = centred.norm(dim=2)
    assert torch.allclose(made.norms(vit, pixels[:5]), norms[:5], rtol=1e-3, atol=1e-6)
    assert torch.allclose(made.thresholds[0], norms.sort(dim=0).values[97], rtol=1e-3, atol=1e-6)
    unit = made.directions
    along = torch.einsum("ine,ne->in", centred[:5], unit)
    assert torch.allclose(made.projections(vit, pixels[:5]), along, rtol=1e-3, atol=1e-5)
    assert made.units[3].name == "3:3"
    assert neuron_groups(vit) == (Group("neurons", 2), Group("neurons", 3), Group("neurons", 4))
    assert neuron_groups(vit, "1-2") == (Group("neurons", 1), Group("neurons", 2))


@pytest.mark.parametrize("parity", [None, "paper"])
def test_words_are_the_sum_over_significant_neurons(vit, made, texts, parity):
    image = Image.fromarray(summand.scenes.sample(1, seed=43).images[0])
    found = image_concepts(vit, image, made, pool("scenes"), texts, words=200, size=4, maps=0, parity=parity)
    vectors = vit.second_order(vit.preprocess(image)[None], 3).vectors()[0].double()
    rank, expected, active, spoken = made.ranks[0], {}, set(), {}
    for n in range(512):
        effect = vectors[n] - rank.offsets[n]
        if effect.norm() > made.thresholds[0][n]:
            active.add(f"3:{n}")
            code = sparse_code(rank.directions[n : n + 1].float(), texts, 4)
            amount = effect.norm() if parity == "paper" else effect @ rank.directions[n] / made.thresholds[0][n]
            for i, gamma in zip(code.indices[0].tolist(), code.coefficients[0].tolist(), strict=True):
                word = pool("scenes").texts[i]
                expected[word] = expected.get(word, 0) + gamma * float(amount)
                spoken.setdefault(f"3:{n}", {})[word] = gamma * float(effect @ rank.directions[n])
    assert {unit.unit for unit in found.units} == active
    for unit in found.units:
        ranked = sorted(spoken[unit.unit].items(), key=lambda item: -item[1])
        assert unit.words == tuple(word for word, amount in ranked[:3] if amount > 0)
    assert dict(found.words) == pytest.approx({w: s for w, s in expected.items() if s > 0}, rel=1e-3, abs=1e-4)


def test_the_images_own_code_names_its_causes(vit, made, texts):
    scenes = summand.scenes.sample(12, seed=44)
    right = []
    for image, (_, truth) in zip(scenes.images, scenes.attributes.iterrows(), strict=True):
        found = image_concepts(vit, Image.fromarray(image), made, pool("scenes"), texts, code_size=8, maps=0)
        named = {}
        for text, _ in found.code:
            for attribute, value in summand.scenes.parse(text)[0].items():
                named.setdefault(attribute, value)
        right.append(np.mean([named.get(name) == truth[name] for name in ("shape", "colour", "place", "letter")]))
    assert np.mean(right) > 0.75


def test_words_of_significant_neurons_are_true_far_above_chance(vit, texts):
    """Half of the first words are true of the scene where one in six of the pool is, and more than by the notebook."""
    known = profile(vit, open_source(f"scenes:count={deep(400, 100)}"), neuron_groups(vit, "1-4"), 100)
    scenes, chosen = summand.scenes.sample(deep(40, 10), seed=46), pool("scenes")
    said = [summand.scenes.parse(text)[0] for text in chosen.texts]
    right: dict[str | None, list[bool]] = {None: [], "paper": []}
    chance = []
    for image, (_, truth) in zip(scenes.images, scenes.attributes.iterrows(), strict=True):
        true = [bool(named) and all(truth[a] == v for a, v in named.items()) for named in said]
        chance.append(np.mean(true))
        for parity, rows in right.items():
            options = {"words": 3, "maps": 0, "parity": parity}
            found = image_concepts(vit, Image.fromarray(image), known, chosen, texts, **options)
            rows += [true[chosen.texts.index(word)] for word, _ in found.words]
    assert np.mean(right[None]) > 2.5 * np.mean(chance)
    assert np.mean(right[None]) > np.mean(right["paper"])


@pytest.fixture
def scene(tmp_path, monkeypatch, unchecked) -> str:
    Image.fromarray(summand.scenes.sample(1, seed=45).images[0]).save(tmp_path / "scene.png")
    monkeypatch.chdir(tmp_path)
    return "scene.png"


def test_the_command_line(scene, tmp_path):
    def run(*arguments: str):
        return command("concepts", *arguments)

    some = (scene, "--reference", "scenes:count=30", "--layers", "4", "--maps", "2")
    result = run(*some, "--json", "--out", "concepts.png").json
    assert result["rows"][0]["coefficient"] > 0
    assert [row["coefficient"] for row in result["rows"]] == sorted(
        (r["coefficient"] for r in result["rows"]), reverse=True
    )
    assert result["groups"] == ["neurons.4"]
    assert all(unit["norm"] > unit["threshold"] for unit in result["units"])
    assert (tmp_path / "concepts.png").is_file()
    found = run(scene, "--reference", "scenes:count=10", "--layers", "4")
    assert found.code == 2
    assert "at least 20" in found.error
    (tmp_path / "own.txt").write_text("a star\na ring")
    for wrong, said in (
        ("--own-size=3", "--own-size must be from 1 to the 2 texts of own"),
        ("--count=0", "--count must be at least 1, got 0"),
        ("--top=0", "--top must be at least 1"),
    ):
        found = run(scene, "--reference", "scenes:count=10", "--pool", "own.txt", wrong)
        assert found.code == 2
        assert said in " ".join(found.error.split())
    assert run(scene, "--layers", "5").code == 2
    found = run(scene, "--model", "ViT-B-32", "--random-init")
    assert (found.code, "--reference IMAGES is missing" in found.error) == (2, True)
    found = run(scene, "--model", "scenes-rn", "--layers", "1")
    assert (found.code, "--layers must be left out" in found.error) == (2, True)
    assert run("none.png").code == 2


def test_python_says_what_the_command_says(vit, scene, tmp_path):
    some = ("--reference", "scenes:count=30", "--layers", "3-4", "--top", "4", "--size", "2", "--maps", "1")
    record = command("concepts", scene, *some, "--json").json
    result = summand.concepts(vit, scene, "scenes:count=30", layers=[3, 4], top=4, size=2, maps=1)
    same(record | {"options": {**record["options"], "layers": [3, 4]}}, result)
    assert len(result.words) == 4
    assert len(result.rows) == 8
    titles = [table.title for table in result.tables()]
    assert titles[0].startswith("the picture's own description")  # what is true first, neurons' words behind it
    assert "significant units say" in titles[1]
    assert close(again("concepts", record, tmp_path), record)
    opened = summand.concepts(vit, Image.open(scene), open_source("scenes:count=30"), options=result.options)
    assert opened.rows.equals(result.rows)
    assert_whole(result)
    assert_whole(result, 60)
    assert_page(result)
    result.save(tmp_path / "all")
    assert {path.name for path in (tmp_path / "all").iterdir()} == {"result.json", "rows.csv", "figure.png"}


def test_without_maps_nothing_is_drawn_and_lines_that_cannot_be_read_are_named(scene, tmp_path):
    (tmp_path / "own.txt").write_text("a star\na zeppelin\na ring\na red shape\n")
    found = command("concepts", scene, "--reference", "scenes:count=30", "--layers", "4", "--pool", "own.txt",
                    "--own-size", "2", "--maps", "0")  # fmt: skip
    assert found.code == 0
    assert [path.name for path in tmp_path.glob("*.png")] == [scene]
    said = " ".join((found.out + found.error).split())
    assert "skipped own.txt, line 2" in said
    assert "1 of 4 descriptions of own.txt were skipped" in said


def test_a_survey_says_what_is_usual(vit, scene, tmp_path):
    made = command("decompose", "--images", "scenes:count=60,seed=2", "--units", "neurons:4", "--out", "run")
    assert made.code == 0, made.error
    known = summand.concepts(vit, scene, tmp_path / "run", layers=4, maps=0)
    profiled = profile_of(open_survey(tmp_path / "run"), [Group("neurons", 4)])
    texts = vit.encode_text(pool("scenes").texts)
    direct = image_concepts(vit, Image.open(scene), profiled, pool("scenes"), texts, maps=0)
    assert [(row.word, row.score) for row in foreign(pd.DataFrame(known.words)).itertuples()] == list(direct.words)
    assert list(known.rows.itertuples(index=False, name=None)) == list(direct.code)
    found = command("concepts", scene, "--reference", "run", "--layers", "4", "--maps", "0", "--json").json
    assert close(found["rows"], json.loads(known.to_json())["rows"])
    assert found["usual"] == "run"
    found = command("concepts", scene, "--reference", "run", "--count", "3")
    assert (found.code, "leave out --count 3" in found.error) == (2, True)
