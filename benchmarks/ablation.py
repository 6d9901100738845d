"""What the terms of a scenes model are worth: accuracy with terms mean-ablated. `python benchmarks/ablation.py`

One row an ablation, one column an attribute of the scenes. Accumulated attention, all MLPs, the class token's own term
and both (paper C); the second-order effects of every layer, their significant and insignificant part, and their
rank-one reconstruction (paper A); for scenes-rn k % of the neuron–head pairs or neurons, and both reconstructed from
principal components (paper B). Means over other scenes. `--what` takes other ablations, named as for `summand ablate`,
with `--pool` and `--sizes`; `--figure FILE` draws the curves of the shape.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import summand
from summand.data import open_source
from summand.data.labelled import open_labelled
from summand.studies.ablation.accuracy import measure_tasks
from summand.studies.ablation.kinds import families
from summand.studies.ablation.options import AblateOptions, read_kinds
from summand.studies.ablation.result import Ablations
from summand.studies.zeroshot import attribute_classes, classifier

ATTRIBUTES = ("shape", "colour", "place", "letter")
STREAM = "mlps,class-token,class-token+mlps,attention,second-order,indirect"
POOL = "pairs,reconstruction"
KEEP = (1, 2, 5, 10, 20, 50)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--means", type=int, default=1000, help="other scenes that the means are taken over")
    parser.add_argument("--attributes", default=",".join(ATTRIBUTES))
    parser.add_argument("--what", help="ablations by name")
    parser.add_argument("--layers", help="of neurons, such as 2,3; all that have later attention by default")
    parser.add_argument("--pool", help="pools of texts for sparse and textspan")
    parser.add_argument("--sizes", help="texts a unit for these")
    parser.add_argument("--figure", help="draw the ablations of the first attribute into this file")
    args = parser.parse_args()
    model = summand.load(args.model)
    attributes = args.attributes.split(",")
    table: dict[str, dict[str, float]] = {}
    tasks = [open_labelled(f"scenes:count={args.count},seed=424242", attribute) for attribute in attributes]
    means = open_source(f"scenes:count={args.means},seed=424243")
    classifiers = [classifier(model, attribute_classes(model.world, attribute)) for attribute in attributes]
    layers, sizes = (None if text is None else [int(n) for n in text.split(",")] for text in (args.layers, args.sizes))
    stream = model.tower.layers > 1
    kinds = read_kinds(args.what or (STREAM if stream else POOL))
    options: dict[str, Any] = {"layers": layers, "sizes": sizes}
    if not layers and stream:
        options["layers"] = list(range(model.tower.layers - 1))
    chosen = families(model, kinds, images=args.means, pools=args.pool, keep=KEEP, **options)
    results = measure_tasks(model, tasks, classifiers, chosen, means=means)
    for attribute, made in zip(attributes, results, strict=True):
        table.setdefault("nothing", {})[attribute] = made.baseline
        for row in made.rows:
            table.setdefault(row.version.name, {})[attribute] = row.accuracy
    if args.figure:
        asked = AblateOptions(classes=attributes[0], what=args.what, layers=args.layers, pool=args.pool)
        first = Ablations.of(results[0], asked, tasks[0].source, tasks[0].classes, model=args.model)
        first.save(args.figure)
    if args.json:
        rows = [{"ablation": name, **scores} for name, scores in table.items()]
        print(json.dumps({"command": "ablation", "model": args.model, "options": vars(args), "rows": rows}))
        return
    print("| mean-ablated | " + " | ".join(attributes) + " |")
    print("|---" * (len(attributes) + 1) + "|")
    for name, scores in table.items():
        print(f"| {name} | " + " | ".join(f"{100 * scores[attribute]:.1f}" for attribute in attributes) + " |")


if __name__ == "__main__":
    main()
