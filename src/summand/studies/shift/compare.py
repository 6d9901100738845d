"""Which units read differently in two sets of images, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy import stats

from ...text.lexicons import attributes
from .options import check_alpha
from .pixels import PixelShift, compare_pixels
from .readings import Measured
from .reference import Reference
from .statistics import check_samples, kolmogorov_smirnov, mmd, permuted, standardised_difference

_MOST_FOR_MMD = 2000
_COUNTS = (1, 2)  # of units and of the whole along texts, which sees more of small shifts
_TESTS = 4  # of units, of words, of the pixels, of the whole: each has as much of alpha


@dataclass(frozen=True)
class UnitShift:
    """How one unit's readings differ.

    concept: the words of the reading that moved most. p: Kolmogorov–Smirnov, times the number of the unit's readings
    (Bonferroni). q: p after Benjamini–Hochberg over all units. distance: the largest difference of the two
    distribution functions. effect: by how many of its usual deviations the mean moved; positive where there is more of
    the concept. strength: the distance, or that of the same concept in the whole representation where this is smaller;
    rows are sorted by it. attribute, value: of a lexicon, where the concept names them.
    """

    unit: str
    concept: str
    p: float
    q: float
    effect: float
    distance: float
    strength: float
    changed: bool
    attribute: str | None
    value: str | None
    column: int = field(repr=False)

    def row(self) -> dict[str, Any]:
        """For JSON and tables."""
        return {key: value for key, value in asdict(self).items() if key != "column"}


@dataclass(frozen=True)
class WordShift:
    """How the representation differs along a concept: ⟨M(x)/‖M(x)‖, its direction⟩.

    effect: by how many usual deviations the mean moved. p: corrected for all concepts and all readings of units
    together (`permuted`); the least of the concept along the embedding and in the units that read it; units: the names
    of those that moved.
    """

    concept: str
    effect: float
    p: float
    changed: bool
    units: tuple[str, ...]
    attribute: str | None
    value: str | None

    def row(self) -> dict[str, Any]:
        """For JSON and tables."""
        return {**asdict(self), "units": list(self.units)}


@dataclass(frozen=True)
class ShiftResult:
    """Rows by strength, words by p, pixels by distance, and the test of the whole.

    words_p: of units and embedding along texts together. alarm: whether any q of a unit, words_p, the p of the whole
    (maximum mean discrepancy) or any p of the pixels is at most alpha / 4, so that all tests together raise a false
    alarm with a probability of at most about alpha.
    """

    rows: tuple[UnitShift, ...]
    mmd: float
    mmd_p: float
    alarm: bool
    alpha: float
    reference_images: int
    current_images: int
    words: tuple[WordShift, ...] = ()
    words_p: float = 1.0
    pixels: tuple[PixelShift, ...] = ()

    @property
    def first(self) -> str | None:
        """What changed, in words: a measure of the pixels where one did, else the strongest concept."""
        if self.pixels and self.pixels[0].changed:
            return self.pixels[0].said
        if self.words and self.words[0].changed:
            return f"{'more' if self.words[0].effect > 0 else 'less'} of {self.words[0].concept!r}"
        return next((f"{'more' if row.effect > 0 else 'less'} of {row.concept!r}" for row in self.changed), None)

    @property
    def changed(self) -> list[UnitShift]:
        """The units that changed."""
        return [row for row in self.rows if row.changed]


def compare(
    reference: Reference, current: Measured, *, alpha: float = 0.01, permutations: int = 999, seed: int = 0
) -> ShiftResult:
    """Two-sample tests of every unit, of units and embedding along texts together, of the pixels, and of the whole.

    seed: of the permutations, and of which images enter the test of the whole where there are more than 2,000.
    permutations: more are drawn where alpha / 4 needs them.

    Raises `SummandError` for NaN, too few images, and an alpha outside of (0, 1) or so small that it needs more than a
    million permutations.
    """
    check_alpha(alpha)
    before, after = reference.measured, current
    check_samples(before.embeddings, after.embeddings)
    distance, p = kolmogorov_smirnov(before.readings, after.readings)
    effect = standardised_difference(before.readings, after.readings)
    directions = reference.concepts.directions.numpy()
    along = before.embeddings @ directions.T, after.embeddings @ directions.T
    whole, _ = kolmogorov_smirnov(*along)
    level = alpha / _TESTS
    columns = np.array(reference.readings.concepts)
    strength = np.minimum(distance, whole[columns])
    places: dict[tuple[int, ...], list[int]] = {}
    for column, unit in enumerate(reference.readings.units):
        places.setdefault(unit, []).append(column)
    best = [some[int(strength[some].argmax())] for some in places.values()]
    of_unit = np.array([min(1.0, len(some) * float(p[some].min())) for some in places.values()])
    adjusted = stats.false_discovery_control(of_unit)
    known, names = reference.concepts, reference.readings.names
    rows, of_lexicons = [], set(attributes())
    for column, raw, q in zip(best, of_unit, adjusted, strict=True):
        concept = int(columns[column])
        named = known.properties[concept] in of_lexicons and known.values[concept] is not None
        rows.append(
            UnitShift(
                unit=names[column],
                concept=known.names[concept],
                p=float(raw),
                q=float(q),
                effect=float(effect[column]),
                distance=float(distance[column]),
                strength=float(strength[column]),
                changed=bool(q <= level),
                attribute=known.properties[concept] if named else None,
                value=known.values[concept] if named else None,
                column=column,
            )
        )
    rows.sort(key=lambda row: -row.strength)
    value, mmd_p = mmd(_some(before, seed), _some(after, seed + 1), permutations, seed, level)
    sides = (before.readings, along[0]), (after.readings, along[1])
    words_p, of_columns = permuted(*sides, permutations, seed, level, _COUNTS)
    words = _words(reference, of_columns, standardised_difference(*along), level if words_p <= level else -1)
    pixels = compare_pixels(before.pixels, after.pixels, level)
    alarm = any(row.changed for row in (*rows, *pixels)) or min(mmd_p, words_p) <= level
    return ShiftResult(
        tuple(rows), value, mmd_p, alarm, alpha, len(before), len(after), tuple(words), words_p, tuple(pixels)
    )


def _words(reference: Reference, p: Sequence[np.ndarray], effect: np.ndarray, level: float) -> list[WordShift]:
    """A row a concept, the smallest p first; of equal ones the largest change."""
    known, columns, of_lexicons = reference.concepts, np.array(reference.readings.concepts), set(attributes())
    rows = []
    for concept, name in enumerate(known.names):
        mine = np.flatnonzero(columns == concept)
        moved = [reference.readings.names[column] for column in mine if p[0][column] <= level]
        least = min([float(p[1][concept]), *p[0][mine].tolist()])
        named = known.properties[concept] in of_lexicons and known.values[concept] is not None
        about = (known.properties[concept], known.values[concept]) if named else (None, None)
        row = WordShift(name, float(effect[concept]), least, least <= level, tuple(dict.fromkeys(moved)), *about)
        rows.append(row)
    return sorted(rows, key=lambda row: (row.p, -abs(row.effect)))


def _some(measured: Measured, seed: int) -> np.ndarray:
    if len(measured) <= _MOST_FOR_MMD:
        return measured.embeddings
    return measured.embeddings[np.sort(np.random.default_rng(seed).permutation(len(measured))[:_MOST_FOR_MMD])]


def moved(row: UnitShift, current: Measured, most: int = 7) -> np.ndarray:
    """The current images that read furthest to the side a unit moved to, as numbers in their source."""
    after = current.readings[:, row.column]
    order = np.argsort(-after if row.effect > 0 else after, kind="stable")[:most]
    return current.indices[order]
