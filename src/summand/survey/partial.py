"""What a part of a pass found, as a row of flat columns that travels between machines; neighbours merge pairwise."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import reduce
from typing import Any, TypeVar

import numpy as np

from ..data import Skipped
from ..errors import SummandError
from .batch import Arrays, Consumer
from .position import Shard

Row = dict[str, Any]
Part = tuple[Shard, dict[str, Arrays]]
T = TypeVar("T")


def row_of(shard: Shard, states: Mapping[str, Arrays]) -> Row:
    """states: of the consumers that took part."""
    named = {f"state/{name}": packed(state) for name, state in states.items()}
    return {"error": "", "shard": json.dumps(asdict(shard)), "states": json.dumps(list(states)), **named}


def failed(error: SummandError) -> Row:
    """In the place of a part that cannot be had."""
    return {"error": str(error), "shard": "", "states": "[]"}


def part_of(row: Row) -> Part:
    """Raises `SummandError` where it stands for one that cannot be had."""
    if row["error"]:
        raise SummandError(row["error"])
    said = json.loads(row["shard"])
    shard = Shard(**{**said, "skipped": [Skipped(**item) for item in said["skipped"]]})
    return shard, {name: unpacked(row[f"state/{name}"]) for name in json.loads(row["states"])}


def joined(parts: Iterable[Part], consumers: Mapping[str, Consumer]) -> list[Part]:
    """Those whose images stand side by side as one, merged pairwise as a tree; the others as they are. consumers: of
    the kinds whose states they hold."""
    runs: list[list[Part]] = []
    for part in sorted(parts, key=lambda each: each[0].start):
        if runs and runs[-1][-1][0].stop == part[0].start:
            runs[-1].append(part)
        else:
            runs.append([part])
    return [pairwise(run, lambda one, other: _merged(one, other, consumers)) for run in runs]


def _merged(one: Part, other: Part, consumers: Mapping[str, Consumer]) -> Part:
    states = {}
    for name in one[1]:
        whole, more = consumers[name].fresh(), consumers[name].fresh()
        whole.restore(one[1][name])
        more.restore(other[1][name])
        whole.merge(more)
        states[name] = whole.state()
    return one[0].with_next(other[0]), states


def pairwise(items: Sequence[T], merge: Callable[[T, T], T]) -> T:
    """Neighbours are merged, then what they became, until one is left: log₂ n rounds, so that rounding errors grow with
    log₂ n and not with n.

    >>> pairwise("abcde", lambda one, other: f"({one}{other})")
    '(((ab)(cd))e)'
    """
    while len(items) > 1:
        items = [reduce(merge, items[at : at + 2]) for at in range(0, len(items), 2)]
    return items[0]


def packed(arrays: Arrays) -> bytes:
    """Plain arrays as the bytes of an .npz, without pickle."""
    made = io.BytesIO()
    np.savez(made, **arrays)  # type: ignore[arg-type]
    return made.getvalue()


def unpacked(content: bytes) -> Arrays:
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        return {name: found[name] for name in found.files}
