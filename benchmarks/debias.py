"""A shortcut and its repair: scenes-vit-tied takes the place for the shape. `python benchmarks/debias.py [--json]`

Trained where the place follows the shape in 95 % of the scenes; measured where the two are independent. Heads are
chosen on unlabelled scenes of the tied world from texts alone (`summand debias`). The control removes as many random
heads and gets the best of 5 draws by its worst group, which the automatic choice never sees. Groups: the class at its
usual place, and elsewhere. Averages over seeds, each with its own scenes and draws; then the cost at inference.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

import summand
from summand import Moments
from summand.data.labelled import Labelled, open_labelled
from summand.models.ablations import Ablation, NeuronAblation
from summand.studies.debias.groups import GroupAccuracy
from summand.studies.debias.repair import head_moments, repair
from summand.studies.debias.spurious import choose
from summand.studies.zeroshot import attribute_classes, classifier

MEASURES: dict[str, Callable[[GroupAccuracy], float]] = {
    "worst group": lambda found: found.worst,
    "all groups alike": lambda found: found.balanced,
    "train-weighted": lambda found: found.weighted,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="scenes-vit-tied")
    parser.add_argument("--count", type=int, default=1600, help="test scenes a seed")
    parser.add_argument("--unlabelled", type=int, default=600, help="unlabelled scenes of the tied world a seed")
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    model = summand.load(args.model)
    weights, places = (classifier(model, attribute_classes(model.world, name)) for name in ("shape", "place"))
    rows = [measured(model, weights, places, args, seed) for seed in range(args.seeds)]
    cost = inference_cost(model, rows[0]["ablation"])
    cost_of_neurons = inference_cost(model, some_neurons(model))
    for row in rows:
        del row["ablation"]
    if args.json:
        costs = {"cost": cost, "cost_of_neurons": cost_of_neurons}
        print(json.dumps({"command": "debias", "options": vars(args), "rows": rows, **costs}))
        return
    methods = ("before", "automatic", "patched classifier", "best of 5 random")
    print(f"| {args.model}, {args.seeds} seeds × {args.count} scenes | " + " | ".join(methods) + " |")
    print("|---" * (len(methods) + 1) + "|")
    for measure in MEASURES:
        cells = []
        for method in methods:
            values = [row[method][measure] for row in rows]
            spread = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
            cells.append(f"{100 * statistics.mean(values):.1f}{spread}")
        print(f"| {measure}, % | " + " | ".join(cells) + " |")
    heads = statistics.mean(len(row["heads"]) for row in rows)
    print(f"\n{heads:.1f} heads removed on average; always: {', '.join(always(rows))}.")
    print(f"Time of `load(…, ablation=file).encode_image` over the plain model's: {cost:.2f} for these heads, "
          f"{cost_of_neurons:.2f} for 20 neurons of the fourth last layer.")  # fmt: skip


def always(rows: list[dict]) -> list[str]:
    return sorted(set.intersection(*(set(row["heads"]) for row in rows)))


def measured(
    model: summand.Model, weights: torch.Tensor, places: torch.Tensor, args: argparse.Namespace, seed: int
) -> dict:
    tied = open_labelled(
        f"scenes:count={args.unlabelled},seed={200 + seed},tie=shape/place/0.95", "shape", groups="place"
    )
    data = usual(open_labelled(f"scenes:count={args.count},seed={100 + seed}", "shape", groups="place"))
    data = replace(data, shares=usual(tied).frequencies())
    moments, layers = head_moments(model, tied.source)
    heads = [suspect.unit for suspect in choose(moments, places, weights, layers)]
    made = repair(model, data, weights, heads, seed=seed, means=tied.source)
    found = {
        "before": made.before,
        "automatic": made.after,
        "patched classifier": made.patched,
        "best of 5 random": made.best_random,
    }
    scored = {method: {name: get(table) for name, get in MEASURES.items()} for method, table in found.items()}
    return {"seed": seed, "heads": [f"{layer}.{head}" for layer, head in heads], **scored, "ablation": made.ablation}


def usual(data: Labelled) -> Labelled:
    """Ten classes × (the place that the tied world gives them, elsewhere): groups large enough to have a worst one."""
    assert data.groups is not None
    elsewhere = (data.labels % len(data.values) != data.groups).astype(np.int64)
    return replace(data, values=("usual place", "elsewhere"), groups=elsewhere)


def some_neurons(model: summand.Model) -> NeuronAblation:
    layer, x = model.tower.layers - 4, model.preprocess(summand.scenes.sample(32, seed=2).images)
    return NeuronAblation.of(model, layer, range(20), Moments().update(model.second_order(x, layer)).mean)


def inference_cost(model: summand.Model, ablation: Ablation | NeuronAblation, rounds: int = 15) -> float:
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
