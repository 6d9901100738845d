"""What the terms of a scenes model are worth: accuracy with terms mean-ablated. `python benchmarks/ablation.py`

One row an ablation, one column an attribute of the scenes. Accumulated attention, all MLPs and the class token's own
term (paper C); the second-order effects of every layer, their significant and insignificant part, and their rank-one
reconstruction (paper A); for scenes-rn k % of the neuron–head pairs or neurons (paper B). Means over other scenes.
`--figure FILE` draws the curves of the shape.
"""

from __future__ import annotations

import argparse
import json

import summand
from summand.data import open_source
from summand.data.labelled import open_labelled
from summand.studies import figures
from summand.studies.ablation import Family, ablate_tasks
from summand.studies.ablation_figure import figure
from summand.studies.direct_ablations import AttentionUpTo, ClassToken, Mlps
from summand.studies.neuron_ablations import Indirect, Pairs, SecondOrder
from summand.studies.zeroshot import classifier, scenes_classes

ATTRIBUTES = ("shape", "colour", "place", "letter")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--means", type=int, default=1000, help="other scenes that the means are taken over")
    parser.add_argument("--attributes", default=",".join(ATTRIBUTES))
    parser.add_argument("--figure", help="draw the ablations of the first attribute into this file")
    args = parser.parse_args()
    model = summand.load(args.model)
    attributes = args.attributes.split(",")
    table: dict[str, dict[str, float]] = {}
    tasks = [open_labelled(f"scenes:count={args.count},seed=424242", attribute) for attribute in attributes]
    means = open_source(f"scenes:count={args.means},seed=424243")
    classifiers = [classifier(model, scenes_classes(attribute)) for attribute in attributes]
    results = ablate_tasks(model, tasks, classifiers, families(model, args.means), means=means)
    for attribute, made in zip(attributes, results, strict=True):
        table.setdefault("nothing", {})[attribute] = made.baseline
        for row in made.rows:
            table.setdefault(row.version.name, {})[attribute] = row.accuracy
    if args.figure:
        figures.save(figure(results[0], f"{args.model}: {attributes[0]}"), args.figure)
    if args.json:
        rows = [{"ablation": name, **scores} for name, scores in table.items()]
        print(json.dumps({"command": "ablation", "model": args.model, "options": vars(args), "rows": rows}))
        return
    print("| mean-ablated | " + " | ".join(attributes) + " |")
    print("|---" * (len(attributes) + 1) + "|")
    for name, scores in table.items():
        print(f"| {name} | " + " | ".join(f"{100 * scores[attribute]:.1f}" for attribute in attributes) + " |")


def families(model: summand.Model, images: int) -> list[Family]:
    layers = model.tower.layers
    if layers == 1:
        return [Pairs([1, 2, 5, 10, 20, 50]), Pairs([1, 2, 5, 10, 20, 50], neurons=True)]
    orders = [SecondOrder(layer, images) for layer in range(layers - 1)]
    return [Mlps(), ClassToken(model), AttentionUpTo(), *orders, *(Indirect(layer) for layer in range(layers - 1))]


if __name__ == "__main__":
    main()
