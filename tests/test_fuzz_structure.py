"""Files that are whole, with other things in them than they should hold: where damaged bytes seldom come to."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.test_fuzz import fuzz  # noqa: F401 (a fixture)

pytestmark = pytest.mark.slow

SOME = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
ARRAYS = arrays.arrays(
    st.sampled_from([np.float32, np.float64, np.int64, np.int8, np.bool_, "U7", "S3", np.complex64, "M8[s]"]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
CELLS = st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats() | st.text(max_size=9)
COLUMN = st.one_of(*(st.lists(kind, min_size=2, max_size=2) for kind in (
    st.text(max_size=9), st.integers(-(2**63), 2**63 - 1), st.floats(), st.binary(max_size=9),
    st.lists(st.floats(), max_size=3))))  # fmt: skip


@pytest.fixture(scope="module")
def known(fuzz, tmp_path_factory):  # noqa: F811
    return fuzz.targets(tmp_path_factory.mktemp("structure"))


def refused_or_read(target, path: Path) -> None:
    """Any other exception fails the test."""
    try:
        target.read(path)
    except target.allowed:
        return


def changed(data, held: dict, values: st.SearchStrategy) -> dict:
    """Some entries replaced, removed, or put in anew."""
    found = dict(held)
    for name in data.draw(st.lists(st.sampled_from(sorted(held)), min_size=1, max_size=3)):
        if data.draw(st.booleans()):
            found[name] = data.draw(values)
        else:
            found.pop(name, None)
    if data.draw(st.booleans()):
        found[data.draw(st.text("abc./0", min_size=1, max_size=5))] = data.draw(values)
    return found


@pytest.mark.parametrize("name", ["references", "edits"])
@SOME
@given(st.data())
def test_arrays(known, tmp_path_factory, unchecked, name, data):
    (seed,) = known[name].seeds.values()
    with np.load(io.BytesIO(seed), allow_pickle=False) as found:
        held = changed(data, {key: found[key] for key in found.files}, ARRAYS)
    path = tmp_path_factory.mktemp(name) / "a.npz"
    np.savez(path, **held)
    refused_or_read(known[name], path)


@SOME
@given(st.data())
def test_a_manifest(known, tmp_path_factory, unchecked, data):
    held = changed(data, json.loads(known["manifest"].seeds["n.json"]), JSON)
    path = tmp_path_factory.mktemp("manifest") / "m.json"
    path.write_text(json.dumps(held))
    refused_or_read(known["manifest"], path)


@SOME
@given(st.data())
def test_a_checkpoint(known, tmp_path_factory, unchecked, data):
    held = torch.load(io.BytesIO(known["checkpoint"].seeds["b.pth"]), weights_only=True)
    tensors = ARRAYS.filter(lambda one: one.dtype.kind in "fib").map(lambda one: torch.from_numpy(np.array(one)))
    held = changed(data, held, tensors | st.integers() | st.text(max_size=5) | st.none())
    path = tmp_path_factory.mktemp("checkpoint") / "a.pt"
    torch.save({"state_dict": held} if data.draw(st.booleans()) else held, path)
    refused_or_read(known["checkpoint"], path)


@SOME
@given(st.data())
def test_labels(known, tmp_path_factory, unchecked, data):
    table = pd.read_parquet(io.BytesIO(known["labels"].seeds["l.parquet"]))
    for name in data.draw(st.lists(st.sampled_from(list(table.columns)), min_size=1, max_size=3, unique=True)):
        if data.draw(st.booleans()):
            table[name] = pd.Series(data.draw(COLUMN) * (len(table) // 2 + 1)).iloc[: len(table)].to_numpy()
        else:
            table = table.drop(columns=name)
    path = tmp_path_factory.mktemp("labels") / "l.parquet"
    table.to_parquet(path)
    refused_or_read(known["labels"], path)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
@SOME
@given(st.data())
def test_tables(known, tmp_path_factory, unchecked, ending, data):
    names = st.sampled_from(["path", "image", "label", "split", " path ", "Path", "bytes", ""]) | st.text(max_size=5)
    kinds = COLUMN if ending == "parquet" else st.lists(CELLS, min_size=2, max_size=2)
    held = data.draw(st.dictionaries(names, kinds, min_size=1, max_size=4))
    path = tmp_path_factory.mktemp("tables") / f"a.{ending}"
    if ending == "parquet":
        pd.DataFrame(held).to_parquet(path)
    elif ending == "jsonl":
        path.write_text("\n".join(json.dumps({name: cells[row] for name, cells in held.items()}) for row in range(2)))
    else:
        text = pd.DataFrame(held).to_csv(index=False, sep="\t" if ending == "tsv" else ",")
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    refused_or_read(known["tables"], path)
