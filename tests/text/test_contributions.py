"""Contributions of words against the paper's sums, written as loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from summand import SummandError
from summand.text.contributions import texts_of_images, words_of_directions, words_of_images
from summand.text.sparse import prepare_atoms, sparse_code

WORDS = 15


def codes(units: int, size: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Random codes; some are shorter than the others."""
    indices = np.stack([rng.permutation(WORDS)[:size] for _ in range(units)])
    coefficients = rng.standard_normal((units, size))
    short = rng.random((units, size)) < 0.2
    return torch.from_numpy(np.where(short, -1, indices)), torch.from_numpy(np.where(short, 0, coefficients))


def gamma(indices, coefficients, unit: int, word: int) -> float:
    for k in range(indices.shape[1]):
        if indices[unit, k] == word:
            return float(coefficients[unit, k])
    return 0.0


@given(st.integers(1, 8), st.integers(1, 6), st.integers(1, 10), st.integers(0, 500))
def test_words_of_directions_are_equation_6(units, size, top, seed):
    rng = np.random.default_rng(seed)
    indices, coefficients = codes(units, size, rng)
    towards, r = torch.from_numpy(rng.standard_normal((2, 5))), torch.from_numpy(rng.standard_normal((units, 5)))
    found = words_of_directions(towards, r, indices, coefficients, WORDS, top)
    for d, v in enumerate(towards):
        along = [float(v @ r[n]) for n in range(units)]
        strongest = sorted(range(units), key=lambda n: -abs(along[n]))[:top]
        for word in range(WORDS):
            expected = sum(gamma(indices, coefficients, n, word) * along[n] for n in strongest)
            assert found[d, word].item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("power", [1, 2])
def test_words_of_images_are_appendix_a5(power, rng):
    indices, coefficients = codes(7, 4, rng)
    norms = torch.from_numpy(rng.random((3, 7)) * 2)
    thresholds = torch.from_numpy(rng.random(7))
    found = words_of_images(norms, norms > thresholds, indices, coefficients, WORDS, power)
    for image in range(3):
        for word in range(WORDS):
            expected = 0.0
            for n in range(7):
                if norms[image, n] > thresholds[n]:
                    expected += gamma(indices, coefficients, n, word) * float(norms[image, n]) ** power
            assert found[image, word].item() == pytest.approx(expected, abs=1e-12)
    nothing = words_of_images(norms, norms > 9, indices, coefficients, WORDS, power)
    assert not nothing.any()


def test_texts_of_images_add_up_to_the_reconstruction(rng):
    atoms = prepare_atoms(torch.from_numpy(rng.standard_normal((WORDS, 6))))
    r = torch.from_numpy(rng.standard_normal((9, 6)))
    code = sparse_code(r, atoms, 3, centre=False)
    amounts = torch.from_numpy(rng.standard_normal((4, 9)))
    found = texts_of_images(amounts, code.indices, code.coefficients, WORDS)
    torch.testing.assert_close(found @ atoms, amounts @ code.reconstruction)


def test_equal_units_take_part_in_order():
    r = torch.eye(3, dtype=torch.float64)
    indices, coefficients = torch.arange(3)[:, None], torch.ones(3, 1, dtype=torch.float64)
    found = words_of_directions(torch.ones(1, 3, dtype=torch.float64), r, indices, coefficients, 4, top=2)
    assert found.tolist() == [[1, 1, 0, 0]]


def test_single_precision_is_summed_in_double(rng):
    indices, coefficients = codes(50, 4, rng)
    amounts = torch.from_numpy(rng.standard_normal((2, 50)) * 1e4)
    exact = texts_of_images(amounts, indices, coefficients, WORDS)
    rough = texts_of_images(amounts.float(), indices, coefficients.float(), WORDS)
    assert rough.dtype == torch.float32
    torch.testing.assert_close(rough.double(), exact, rtol=1e-5, atol=1e-2)


def test_mistakes_are_named(unchecked, rng):
    indices, coefficients = codes(3, 2, rng)
    r = torch.from_numpy(rng.standard_normal((3, 5)))
    with pytest.raises(SummandError, match="share embed"):
        words_of_directions(r[:, :4], r, indices, coefficients, WORDS)
    with pytest.raises(SummandError, match="at least 1 unit"):
        words_of_directions(r, r, indices, coefficients, WORDS, top=0)
    with pytest.raises(SummandError, match="pool of 2"):
        words_of_directions(r, r, indices.clamp(min=3), coefficients, 2)
    with pytest.raises(SummandError, match="for 3 units"):
        texts_of_images(r.T[:, :3], indices[:2], coefficients[:2], WORDS)
    with pytest.raises(SummandError, match="power"):
        words_of_images(r, r > 0, indices, coefficients, WORDS, power=3)
    with pytest.raises(SummandError, match="active"):
        words_of_images(r, r[:1] > 0, indices, coefficients, WORDS)
