from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import summand
from summand.data import open_source
from summand.studies.concepts import image_concepts
from summand.studies.subconcepts import inertia, subconcepts
from summand.survey import Group
from summand.survey.profile import neuron_groups, profile
from summand.text.pools import pool
from summand.text.sparse import sparse_code


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
    known = profile(vit, open_source("scenes:count=400"), neuron_groups(vit, "1-4"), 100)
    scenes, chosen = summand.scenes.sample(40, seed=46), pool("scenes")
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


def test_the_command_line(tmp_path, monkeypatch, capsys, unchecked):
    from summand.cli import main

    Image.fromarray(summand.scenes.sample(1, seed=45).images[0]).save(tmp_path / "scene.png")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["summand", "concepts", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code, *capsys.readouterr())

    code, out, _ = run("scene.png", "--images", "scenes:count=30", "--layers", "4", "--maps", "2", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["code"][0]["coefficient"] > 0
    assert result["options"]["layers"] == ["neurons.4"]
    assert all(unit["norm"] > unit["threshold"] for unit in result["units"])
    assert (tmp_path / "concepts.png").is_file()
    code, _, error = run("scene.png", "--images", "scenes:count=10", "--layers", "4")
    assert code == 2
    assert "at least 20" in error
    (tmp_path / "own.txt").write_text("a star\na ring")
    for wrong, said in (("--code-size=3", "at most the 2 texts of own"), ("--count=0", "Invalid value for '--count'")):
        code, _, error = run("scene.png", "--images", "scenes:count=10", "--pool", "own.txt", wrong)
        assert code == 2
        assert said in " ".join(error.split())
    assert run("scene.png", "--layers", "5")[0] == 2
    assert run("scene.png", "--model", "ViT-B-32", "--random-init")[0] == 2


def test_inertia_by_hand(rng):
    rows = rng.normal(size=(2, 5, 3))
    unit = rows / np.linalg.norm(rows, axis=2, keepdims=True)
    expected = [sum(np.sum((e - some.mean(axis=0)) ** 2) for e in some) for some in unit]
    assert inertia(torch.from_numpy(rows)).numpy() == pytest.approx(expected)
    assert float(inertia(torch.ones(4, 3))) == pytest.approx(0, abs=1e-12)


def test_top_images_of_pairs_are_sub_concepts_of_their_neuron(resnet, unchecked):
    source = open_source("scenes:count=60,seed=46")
    found = subconcepts(resnet, source, neurons=[5, 100], top=6)
    effects = resnet.pairs(resnet.preprocess(summand.scenes.sample(60, seed=46).images))
    vectors = effects.vectors().double()[:, [5, 100]]
    for sums, images in ((vectors, found.pair_images), (vectors.sum(dim=2), found.neuron_images)):
        norms = (sums - sums.mean(dim=0)).norm(dim=-1)
        assert torch.equal(norms.topk(6, dim=0).indices.movedim(0, -1).sort(dim=-1).values, images.sort(dim=-1).values)
    assert 0 <= found.narrower() <= 1
    assert found.pair_inertia.shape == (2, 16)
    assert 0 < found.chance < 6
    # A pair writes along one direction only; a neuron's is the first principal one of its top images.
    neurons, pairs = found.directions()
    for head in range(16):
        assert abs(float(torch.nn.functional.cosine_similarity(pairs[0, head], vectors[0, 0, head], dim=0))) > 0.999
    centred = vectors.sum(dim=2)[:, 0]
    centred = centred - centred.mean(dim=0)
    strongest = centred[centred.norm(dim=-1).topk(6).indices]
    assert abs(float(torch.linalg.svd(strongest).Vh[0] @ neurons[0])) > 0.999
    with pytest.raises(summand.SummandError, match="counted from 0"):
        subconcepts(resnet, source, neurons=[9999])
    with pytest.raises(summand.SummandError, match="fewer than the 10"):
        subconcepts(resnet, open_source("scenes:count=5"))


def test_the_command_of_sub_concepts(tmp_path, monkeypatch, capsys, unchecked):
    from summand.cli import main

    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["summand", "subconcepts", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return (end.value.code, *capsys.readouterr())

    some = ("scenes:count=30,seed=46", "--model", "scenes-rn", "--top", "5")
    code, out, _ = run(*some, "--neuron", "5", "--json")
    assert code == 0
    rows = json.loads(out)["rows"]
    assert rows[0]["unit"] == "5"
    assert sorted(row["unit"] for row in rows[1:]) == sorted(f"5.{head}" for head in range(16))
    inertias = [row["inertia"] for row in rows[1:]]
    assert inertias == sorted(inertias)
    assert all(len(row["images"]) == 5 and row["words"] for row in rows)
    assert Image.open(tmp_path / "subconcepts.png").size[0] > 300
    code, out, _ = run(*some, "--out", "survey.png")
    assert code == 0
    assert "See one with --neuron" in out
    assert Image.open(tmp_path / "survey.png").size[0] > 300
    for wrong, said in (
        (("scenes:count=4", "--model", "scenes-rn"), "fewer than --top 10; give more images"),
        (("scenes:count=20",), "this one is a VisionTransformer"),
        ((*some, "--neuron", "512"), "counted from 0 to 511"),
        ((*some, "--out", "a.txt"), "must end in"),
    ):
        code, out, error = run(*wrong)
        assert (code, out) == (2, "")
        assert said in error
