"""What finds the like of a property? `python benchmarks/retrieval.py [--json] [--quick]` prints a table.

For every attribute of the scenes: how many of a query's 10 nearest scenes share its value, by the full
representation along the attribute's texts (what `summand retrieve --property` does), by all heads that are labelled
with it (`--along heads`), by as many random heads, and by the full representation (all centred, cosine); beside them,
chance, and how often the nearest share the shape (another attribute's neighbours should not). Heads are labelled on
other scenes than those that are searched.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

import summand
from summand.data import open_source
from summand.scenes import ATTRIBUTES
from summand.studies.retrieve.index import Index, Space, agreement, property_axes, property_units
from summand.survey import Group
from summand.text.pools import pool
from summand.unit import Unit


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
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
        spaces[f"{attribute} texts"] = Space(axes=property_axes(model, pool("scenes"), attribute))
        try:
            spaces[attribute] = Space(property_units(model, labelled, pool("scenes"), attribute))
        except summand.SummandError:
            continue  # no head is labelled with it
        every = [(layer, head) for layer in range(model.tower.layers - 4, model.tower.layers)
                 for head in range(model.tower.heads)]  # fmt: skip
        drawn = np.random.default_rng(0).choice(len(every), len(spaces[attribute].units), replace=False)
        spaces[f"{attribute} random"] = Space(tuple(Unit(Group("heads"), every[i]) for i in drawn))
    indices = build(model, source, spaces)
    table, queries = source.attributes(), range(0, args.count, max(1, args.count // args.queries))
    assert table is not None
    rows, shape = [], table["shape"].to_numpy()
    for attribute in ATTRIBUTES:
        truth = table[attribute].to_numpy()
        shares = table[attribute].value_counts(normalize=True).to_numpy()
        rows.append({
            "attribute": attribute,
            "heads": [unit.name for unit in spaces[attribute].units] if attribute in spaces else [],
            "by_texts": agreement(indices[f"{attribute} texts"], queries, truth, args.nearest),
            "shape_by_texts": agreement(indices[f"{attribute} texts"], queries, shape, args.nearest),
            "by_random_heads": agreement(indices[f"{attribute} random"], queries, truth, args.nearest)
            if attribute in spaces else None,
            "by_heads": agreement(indices[attribute], queries, truth, args.nearest) if attribute in spaces else None,
            "by_everything": agreement(indices["everything"], queries, truth, args.nearest),
            "chance": float((shares**2).sum()),
        })  # fmt: skip
    if args.json:
        print(json.dumps({"command": "retrieval benchmark", "model": args.model, "data": source.label,
                          "options": {"nearest": args.nearest, "queries": len(queries)}, "rows": rows}))  # fmt: skip
        return
    print(f"Share of the {args.nearest} nearest of {args.count} scenes with the query's value, {args.model}:\n")
    columns = ("attribute", "along its texts", "by the heads labelled with it", "by random heads",
               "by the full representation", "chance", "the shape, along its texts", "heads")  # fmt: skip
    print("| " + " | ".join(columns) + " |")
    print("|---" * len(columns) + "|")
    for row in rows:
        keys = ("by_texts", "by_heads", "by_random_heads", "by_everything", "chance", "shape_by_texts")
        cells = ["no head" if row[key] is None else f"{row[key]:.0%}" for key in keys]
        print(f"| {row['attribute']} | " + " | ".join([*cells, ", ".join(row["heads"])]) + " |")


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
