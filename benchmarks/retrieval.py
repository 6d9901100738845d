"""Do the heads of a property find its like? `python benchmarks/retrieval.py [--json] [--quick]` prints a table.

For every attribute of the scenes: how many of a query's 10 nearest scenes share its value, by all heads that are
labelled with the attribute and by the full representation (both centred, cosine); beside them, chance. Heads are
labelled on other scenes than those that are searched.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

import summand
from summand.data import open_source
from summand.scenes import ATTRIBUTES
from summand.studies.retrieve.index import Index, Space, agreement, property_units
from summand.text.pools import pool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer scenes")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--count", type=int, default=5000, help="scenes that are searched")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--nearest", type=int, default=10)
    args = parser.parse_args()
    if args.quick:
        args.count, args.queries = 600, 100

    model = summand.load(args.model)
    labelled = summand.survey(
        model, f"scenes:count={args.count // 2},seed=61", units="heads", held_out=0, top=0
    ).moments("heads")
    source = open_source(f"scenes:count={args.count},seed=62")
    spaces = {"everything": Space()}
    for attribute in ATTRIBUTES:
        try:
            spaces[attribute] = Space(property_units(model, labelled, pool("scenes"), attribute))
        except summand.SummandError:
            continue  # no head is labelled with it
    indices = build(model, source, spaces)
    table, queries = source.attributes(), range(0, args.count, max(1, args.count // args.queries))
    rows = []
    for attribute in ATTRIBUTES:
        truth = table[attribute].to_numpy()
        shares = table[attribute].value_counts(normalize=True).to_numpy()
        rows.append({
            "attribute": attribute,
            "heads": [unit.name for unit in spaces[attribute].units] if attribute in spaces else [],
            "by_heads": agreement(indices[attribute], queries, truth, args.nearest) if attribute in spaces else None,
            "by_everything": agreement(indices["everything"], queries, truth, args.nearest),
            "chance": float((shares**2).sum()),
        })  # fmt: skip
    if args.json:
        print(json.dumps({"command": "retrieval benchmark", "model": args.model, "data": source.label,
                          "options": {"nearest": args.nearest, "queries": len(queries)}, "rows": rows}))  # fmt: skip
        return
    print(f"Share of the {args.nearest} nearest of {args.count} scenes with the query's value, {args.model}:\n")
    print("| attribute | by the heads labelled with it | by the full representation | chance | heads |")
    print("|---|---|---|---|---|")
    for row in rows:
        own = "no head" if row["by_heads"] is None else f"{row['by_heads']:.0%}"
        heads = ", ".join(row["heads"])
        print(f"| {row['attribute']} | {own} | {row['by_everything']:.0%} | {row['chance']:.0%} | {heads} |")


def build(model: summand.Model, source, spaces: dict[str, Space]) -> dict[str, Index]:
    """The indices of all spaces in one pass over the scenes."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in spaces}
    for start in range(0, len(source), 100):
        pixels = model.preprocess(source.array(start, min(start + 100, len(source))))
        for name, space in spaces.items():
            found[name].append(space.features(model, pixels).numpy())
    return {name: Index(np.concatenate(rows), np.arange(len(source)), ()) for name, rows in found.items()}


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
