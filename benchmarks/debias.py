"""A shortcut and its repair: scenes-vit-tied takes the place for the shape. `python benchmarks/debias.py [--json]`

Trained where the place follows the shape in 95 % of the scenes; measured where the two are independent. Heads and the
way to repair are chosen on unlabelled scenes of the tied world from texts alone (`summand debias`), by the least leak;
every way is measured beside it. The control removes as many random heads and gets the best of 5 draws by its worst
group, which the automatic choice never sees. Groups: the class at its usual place, and elsewhere. Averages over seeds,
each with its own scenes and draws; then the cost at inference.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

import summand
from summand import Moments
from summand.data.labelled import Labelled, open_labelled
from summand.models.ablations import NeuronAblation
from summand.studies.debias.groups import GroupAccuracy
from summand.studies.debias.repair import Edit
from summand.studies.debias.result import Debiased

MEASURES: dict[str, Callable[[GroupAccuracy], float]] = {
    "worst group": lambda found: found.worst,
    "all groups alike": lambda found: found.balanced,
    "train-weighted": lambda found: found.weighted,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="scenes-vit-tied")
    parser.add_argument("--count", type=int, default=1600, help="test scenes a seed")
    parser.add_argument("--unlabelled", type=int, default=600, help="unlabelled scenes of the tied world a seed")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    model = summand.load(args.model)
    made = [repaired(model, args, seed) for seed in range(args.seeds)]
    rows = [scored(one, seed) for seed, one in enumerate(made)]
    edit = made[0].ablation
    cost = inference_cost(model, edit) if edit is not None else None
    cost_of_neurons = inference_cost(model, some_neurons(model))
    if args.json:
        costs = {"cost": cost, "cost_of_neurons": cost_of_neurons}
        print(json.dumps({"command": "debias", "options": vars(args), "rows": rows, **costs}))
        return
    head = f"| {args.model}, {args.seeds} seeds × {args.count} scenes | "
    print(head + " | ".join([*MEASURES, "leak"]) + " | taken |")
    print("|---" * (len(MEASURES) + 3) + "|")
    for method in rows[0]["methods"]:
        cells = [spread([row["methods"][method][measure] for row in rows]) for measure in MEASURES]
        cells.append(spread([row["leaks"][method] for row in rows]) if method in rows[0]["leaks"] else "")
        taken = sum(row["way"] == method for row in rows)
        print(f"| {method} | " + " | ".join(cells) + f" | {taken or ''} |")
    heads = statistics.mean(len(row["heads"]) for row in rows)
    print(f"\n{heads:.1f} heads found on average; always: {', '.join(always(rows))}. Numbers in %, ± over seeds.")
    print(f"Time of `load(…, ablation=file).encode_image` over the plain model's: {cost or 1:.2f} for this repair, "
          f"{cost_of_neurons:.2f} for 20 neurons of the fourth last layer.")  # fmt: skip


def spread(values: list[float]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{deviation}"


def always(rows: list[dict]) -> list[str]:
    return sorted(set.intersection(*(set(row["heads"]) for row in rows)))


def repaired(model: summand.Model, args: argparse.Namespace, seed: int) -> Debiased:
    """Everything is found and chosen on unlabelled scenes of the tied world; the groups only score it."""
    tied = open_labelled(
        f"scenes:count={args.unlabelled},seed={200 + seed},tie=shape/place/0.95", "shape", groups="place"
    )
    data = usual(open_labelled(f"scenes:count={args.count},seed={100 + seed}", "shape", groups="place"))
    data = replace(data, shares=usual(tied).frequencies())
    return summand.debias(model, data, None, tied.source, seed=seed, allow_empty=True)


def scored(made: Debiased, seed: int) -> dict:
    tables: dict[str, GroupAccuracy | None] = {"before": made.before, "automatic": made.after}
    tables |= {**made.ways, "patched classifier": made.patched}
    tables["best of 5 random"] = made.best_random
    methods = {name: {key: get(table) for key, get in MEASURES.items()} for name, table in tables.items() if table}
    return {"seed": seed, "way": made.way, "heads": [row["unit"] for row in made.removed], "leaks": made.leaks,
            "strength": made.strength, "methods": methods}  # fmt: skip


def usual(data: Labelled) -> Labelled:
    """Ten classes × (the place that the tied world gives them, elsewhere): groups large enough to have a worst one."""
    assert data.groups is not None
    elsewhere = (data.labels % len(data.values) != data.groups).astype(np.int64)
    return replace(data, values=("usual place", "elsewhere"), groups=elsewhere)


def some_neurons(model: summand.Model) -> NeuronAblation:
    layer, x = model.tower.layers - 4, model.preprocess(summand.scenes.sample(32, seed=2).images)
    return NeuronAblation.of(model, layer, range(20), Moments().update(model.second_order(x, layer)).mean)


def inference_cost(model: summand.Model, ablation: Edit, rounds: int = 15) -> float:
    """Median ratio of the two passes, timed in turn."""
    x = model.preprocess(summand.scenes.sample(64, seed=1).images)
    ablated = ablation.apply(model)
    ratios = []
    for _ in range(rounds + 1):
        begin = time.perf_counter()
        model.encode_image(x)
        middle = time.perf_counter()
        ablated.encode_image(x)
        ratios.append((time.perf_counter() - middle) / (middle - begin))
    return statistics.median(ratios[1:])


if __name__ == "__main__":
    main()
