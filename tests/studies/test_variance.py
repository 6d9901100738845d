"""What the first principal component explains, against whole passes and singular values of dense effects."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from summand import SummandError
from summand.studies.ablation.variance import explained
from tests.commands import command
from tests.studies.pictures import Noise, pixels
from tests.studies.test_ablation import residual, wrapped

COUNT = 21


@pytest.fixture(scope="module")
def tiny():
    return wrapped(vision={"layers": 3})


def literal(effects: np.ndarray, top: int) -> tuple[float, float]:
    """effects of one unit, [image, embed]."""
    centred = effects - effects.mean(axis=0)
    largest = centred[np.argsort(-np.linalg.norm(centred, axis=1))[:top]]
    _, sizes, right = np.linalg.svd(largest, full_matrices=False)
    return sizes[0] ** 2 / (sizes**2).sum(), ((centred @ right[0]) ** 2).sum() / (centred**2).sum()


def check(found, effects, top):
    """effects: [image, unit, embed]."""
    expected = np.array([literal(effects[:, unit], top) for unit in range(effects.shape[1])]).T
    np.testing.assert_allclose(found.largest, expected[0], rtol=1e-3)
    np.testing.assert_allclose(found.everywhere, expected[1], rtol=1e-3)
    assert (found.images, found.top) == (len(effects), top)
    row = found.row()
    assert row["largest"] == pytest.approx(expected[0].mean(), rel=1e-3)
    assert row["everywhere"] == pytest.approx(expected[1].mean(), rel=1e-3)
    assert 0.2 < row["everywhere"] <= row["largest"] <= 1 + 1e-9


def test_of_indirect_effects_by_passes_from_the_pixels(tiny, monkeypatch):
    monkeypatch.setattr("summand.studies.ablation.variance._HELD", 2 * COUNT * 16)  # two neurons at a time
    source, chosen = Noise(COUNT), [3, 90, 17]
    x = torch.stack([pixels(source.image(i)) for i in range(COUNT)])
    mlp = tiny.clip.visual.transformer.resblocks[1].mlp.c_proj
    seen, effects = [], []
    handle = mlp.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    output = tiny.encode_image(x)
    handle.remove()
    for neuron in chosen:
        replaced = seen[0].clone()
        replaced[..., neuron] = seen[0][..., neuron].mean(dim=0)
        handle = mlp.register_forward_pre_hook(lambda _, __, replaced=replaced: (replaced,))
        effects.append(output - tiny.encode_image(x))
        handle.remove()
    found = explained(tiny, source, "indirect", 1, chosen, batch_size=8)
    check(found, torch.stack(effects, dim=1).double().numpy(), COUNT // 4)
    assert found.units == (3, 90, 17)
    few = explained(tiny, source, "indirect", 1, chosen[:1], top=3)
    check(few, torch.stack(effects[:1], dim=1).double().numpy(), 3)


def test_of_second_order_effects(tiny):
    source = Noise(COUNT)
    vectors = tiny.second_order(torch.stack([pixels(source.image(i)) for i in range(COUNT)]), 0).vectors().double()
    check(explained(tiny, source, "second-order", 0, batch_size=8), vectors.numpy(), 5)
    some = explained(tiny, source, "second-order", 0, 4)
    assert some.units == (0, 42, 85, 127)
    check(some, vectors[:, list(some.units)].numpy(), 5)


def test_of_pairs_and_neurons_of_an_attention_pool():
    model = residual(width=2, head_width=16, image_size=64)
    source = Noise(COUNT, size=64)
    x = torch.stack([pixels(source.image(i)) for i in range(COUNT)])
    vectors = model.pairs(x).vectors().double().numpy()
    check(explained(model, source, "neurons", batch_size=8), vectors.sum(axis=2), 5)
    pairs = explained(model, source, "pairs", neurons=[5, 2])
    check(pairs, vectors[:, [5, 2]].reshape(COUNT, -1, 16), 5)
    torch.testing.assert_close(pairs.largest, torch.ones(8, dtype=torch.float64))  # of rank one


def test_what_has_no_components_is_refused(tiny, unchecked):
    for given, said in (
        (("heads", 0), "not of 'heads'"),
        (("indirect",), "say which with layer="),
        (("second-order", 2), "no attention comes after layer 2"),
        (("indirect", 7), "no layer 7"),
        (("indirect", 0, [128]), "neurons are 0 to 127"),
        (("indirect", 0, []), "got none"),
        (("indirect", 0, 0), "at least one neuron, got 0"),
        (("pairs",), "attention pool"),
    ):
        with pytest.raises(SummandError, match=said):
            explained(tiny, Noise(COUNT), *given)
    with pytest.raises(SummandError, match="at least 8 images, got 5"):
        explained(tiny, Noise(5), "second-order", 0)
    with pytest.raises(SummandError, match="at least 8 images, got 5"):
        explained(tiny, Noise(5), "indirect", 0, [1])


@pytest.mark.slow
def test_the_command(tmp_path, unchecked):
    given = ["ablate", "scenes:count=16,seed=3", "--classes", "place", "--out", tmp_path / "a.png"]
    asked = ["--what", "second-order,indirect", "--layers", "3", "--variance", "5"]
    rows = command(*given, *asked, "--json").json["variance"]
    assert [(row["effects"], row["layer"], row["units"]) for row in rows] == [
        ("second-order", 3, 5),
        ("indirect", 3, 5),
    ]
    assert rows[1]["everywhere"] < rows[0]["everywhere"]  # as in the paper
    shown = command(*given, "--model", "scenes-rn", "--what", "pairs", "--variance", "5")
    assert "first principal component explains" in " ".join(shown.out.split())
    assert "100.0 %" in shown.out
    refused = command(*given, "--what", "mlps", "--variance", "5")
    assert (refused.code, "ask for second-order or indirect" in refused.error) == (2, True)
