from __future__ import annotations

import pytest
import torch

import summand
from summand.data import open_source
from summand.survey import collect
from summand.text.labels import importance, label_heads, named_attribute
from summand.text.pools import pool


def test_importance_is_the_share_of_variance_along_the_texts(vit):
    found = collect(vit, open_source("scenes:count=40,seed=2"), keep_layers=6, progress=False)
    texts = vit.encode_text(pool("scenes").texts[:20])
    centred = (texts - texts.mean(dim=0)).double()
    along = found.kept.vectors().double() @ centred.T
    by_hand = along.var(dim=0, correction=0).sum(dim=-1)
    torch.testing.assert_close(importance(found.moments, texts), by_hand / by_hand.sum(), atol=1e-5, rtol=1e-3)


def test_labels_follow_textspan_of_each_head(vit):
    found = collect(vit, open_source("scenes:count=40,seed=2"), keep_layers=2, progress=False)
    chosen = pool("scenes")
    embeddings = vit.encode_text(chosen.texts)
    shares = importance(found.moments, embeddings)
    labels = label_heads(found.moments, found.layers, chosen.texts, embeddings, shares, size=5)
    assert [label.name for label in labels[:9]] == [*(f"4.{h}" for h in range(8)), "5.0"]
    alone = summand.textspan(found.kept.vectors()[:, 1, 3], embeddings, 5)
    assert labels[11].indices == tuple(alone.indices.tolist())
    assert labels[11].texts == tuple(chosen.texts[i] for i in alone.indices)
    assert labels[11].importance == pytest.approx(float(shares[5, 3]))


def test_a_head_that_writes_nothing_has_no_label():
    generator = torch.Generator().manual_seed(0)
    coefficients = torch.randn(20, 1, 3, 4, generator=generator)
    coefficients[:, 0, 1] = 0
    directions = torch.randn(1, 3, 4, 8, generator=generator)
    moments = summand.Moments().update(summand.Effects(coefficients, directions, ("layer", "head")))
    embeddings = torch.randn(5, 8, generator=generator)
    labels = label_heads(moments, [0], list("abcde"), embeddings, torch.ones(1, 3), size=2)
    assert [(label.name, len(label.texts)) for label in labels] == [("0.0", 2), ("0.2", 2)]


@pytest.mark.parametrize(
    ("texts", "explained", "attribute"),
    [
        (["a red object", "two objects", "three objects"], [0.5, 0.6, 0.7], "colour"),
        (["a red object", "two objects", "three objects"], [0.3, 0.55, 0.8], "count"),
        (["a dog", "freedom", "rust"], [0.3, 0.5, 0.6], None),
    ],
)
def test_the_attribute_is_what_the_first_texts_add(texts, explained, attribute):
    assert named_attribute(texts, explained) == attribute
