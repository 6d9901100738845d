"""What an image shows, as the model reads it: among the values of a kind, near-duplicates folded."""

from __future__ import annotations

import pytest
import torch

import summand
from summand.scenes.attributes import ATTRIBUTES
from summand.scenes.phrases import prompts
from summand.text.kinds import folded, values_of_pool
from summand.text.pools import pool


def on_a_line(count: int = 6) -> torch.Tensor:
    """Values along a curve, as numbers are: the middle ones never have the largest projection."""
    place = torch.linspace(-1, 1, count, dtype=torch.float64)
    return torch.nn.functional.normalize(torch.stack([place, 2 + 0 * place, 0.3 * place**2], dim=1), dim=1)


def test_values_on_a_line_are_read_among_their_kind():
    line = on_a_line()
    values = values_of_pool([f"{n} things" for n in range(6)], line, ["number"] * 6)
    images = line.repeat_interleave(5, dim=0)
    shown = values.shown(images)
    assert torch.equal(shown.nonzero()[:, 1], torch.arange(6).repeat_interleave(5))
    second = line[1] - line.mean(dim=0)
    assert int((images @ second).argmax()) < 5  # by projection the strongest image of the second value is of the first


def test_prompts_of_scenes_fold_into_their_values_and_nothing_else(vit):
    texts = pool("scenes").texts
    values = values_of_pool(texts, vit.encode_text(texts))
    for name, members in zip(values.texts, values.members, strict=True):
        assert texts[members[0]] == name
    found = {frozenset(texts[place] for place in members) for members in values.members}
    assert found == {frozenset(said) for name in ATTRIBUTES for said in prompts(name).values()}
    assert [values.kinds.count(name) for name in ATTRIBUTES] == [len(known) for known in ATTRIBUTES.values()]


def test_what_is_read_is_the_truth_of_scenes(vit):
    texts = pool("scenes").texts
    values = values_of_pool(texts, vit.encode_text(texts))
    scenes = summand.scenes.sample(60, seed=8)
    embeddings = torch.nn.functional.normalize(vit.encode_image(vit.preprocess(scenes.images)).double(), dim=1)
    read = values.read(embeddings)
    for name in ("colour", "place", "position"):
        said = [next(iter(summand.text.lexicons.values_of(values.texts[int(v)]).values())) for v in read[name]]
        assert sum(a == b for a, b in zip(said, scenes.attributes[name], strict=True)) >= 58
    assert (values.shown(embeddings).sum(dim=1) <= 8).all()  # at most one value of each attribute


def test_a_text_without_a_kind_competes_with_its_nearest():
    generator = torch.Generator().manual_seed(3)
    embeddings = torch.randn(40, 12, generator=generator, dtype=torch.float64)
    values = values_of_pool([f"text {n}" for n in range(40)], embeddings, [None] * 40)
    groups, nearest = values.rivals
    assert not groups
    centred = torch.nn.functional.normalize(values.embeddings - values.embeddings.mean(dim=0), dim=1)
    assert set(nearest[7].tolist()) == set((centred @ centred[7]).argsort(descending=True)[:17].tolist())
    shown = values.shown(values.embeddings)
    assert shown.diagonal().all()


def test_near_duplicates_fold_to_the_first_of_their_kind():
    base = torch.eye(4, dtype=torch.float64)
    texts = torch.cat([base, base[:2] + 0.01, base[2:3] + 0.01])
    assert folded(texts, ["a"] * 7) == [0, 1, 2, 3, 0, 1, 2]
    assert folded(texts, ["a"] * 6 + ["b"]) == [0, 1, 2, 3, 0, 1, 6]  # of another kind
    with pytest.raises(summand.SummandError, match="one and the same"):
        values_of_pool(["x", "y"], torch.ones(2, 3), ["a", "a"])


def test_a_word_alone_is_shown_with_the_sentence_that_the_pool_has_for_it():
    base = torch.eye(4, dtype=torch.float64)
    embeddings = torch.cat([base, base[:1], base[:1] + 0.01, base[2:3]])
    said = ["bank", "a photo of a harp", "seal", "crane", "a river bank", "a bank by a river", "seals"]
    values = values_of_pool(said, embeddings, [None] * 7)
    assert values.texts == ("a river bank", "a photo of a harp", "seal", "crane")
    assert values.members == ((4, 5, 0), (1,), (2, 6), (3,))
    first = values_of_pool(["a river bank", *said[1:4], "bank"], torch.cat([base, base[:1]]), [None] * 5)
    torch.testing.assert_close(values.embeddings[1:], first.embeddings[1:])
    assert values.kinds == (None,) * 4


def test_what_the_general_pool_shows_are_its_sentences():
    general = [text for text in pool("general").texts if " bank" in f" {text}"]
    assert general
    assert all(" " in text for text in general)
