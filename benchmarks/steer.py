"""Does strengthening the class's heads help where the shortcut's were removed? `python benchmarks/steer.py [--json]`

scenes-vit-tied takes the place for the shape (see benchmarks/debias.py for the world and the groups: the class at its
usual place, and elsewhere). For every seed the repair is found on unlabelled scenes of the tied world, and so are the
heads of the shape; the model as it is, ablated, and ablated with the heads of the class strengthened are held against
each other on other scenes. The gain of each is the one of the best worst group on average over seeds that are not
scored (`--choose`: the first of them, and how many). Averages over seeds, in %.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

import summand
from summand.data.labelled import open_labelled
from summand.models.ablations import Ablation
from summand.studies.debias.groups import group_accuracy
from summand.studies.zeroshot import classifier_of, predict
from summand.unit import units_of

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.debias import spread, usual

MEASURES = ("worst", "balanced", "weighted")


INJECTED = ("injection alone", "ablated, injection", "repaired, injection")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="scenes-vit-tied")
    parser.add_argument("--count", type=int, default=400, help="test scenes a seed")
    parser.add_argument("--unlabelled", type=int, default=300, help="unlabelled scenes of the tied world a seed")
    parser.add_argument("--gains", default="1.25,1.5,2,3")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--choose", type=int, nargs=2, default=(50, 3), help="seeds that the gains are chosen on")
    args = parser.parse_args()
    model, gains = summand.load(args.model), [float(gain) for gain in args.gains.split(",")]
    first, count = args.choose
    tried = [scored(model, args, seed, dict.fromkeys(INJECTED, gains)) for seed in range(first, first + count)]
    best = {way: max(gains, key=lambda gain: sum(row["ways"][f"{way} {gain:g}"]["worst"] for row in tried))
            for way in INJECTED}  # fmt: skip
    rows = [scored(model, args, seed, {way: [gain] for way, gain in best.items()}) for seed in range(args.seeds)]
    if args.json:
        print(json.dumps({"command": "steer", "options": vars(args), "gains": best, "tried": tried, "rows": rows}))
        return
    for said, some in ((f"seeds {first}–{first + count - 1}, to choose", tried), (f"{args.seeds} seeds", rows)):
        print(f"| {args.model}, {said} × {args.count} scenes | worst group | all groups alike | train-weighted |")
        print("|---|---|---|---|")
        for way in some[0]["ways"]:
            cells = [spread([row["ways"][way][measure] for row in some]) for measure in MEASURES]
            print(f"| {way} | " + " | ".join(cells) + " |")
        print("\nheads of the class: " + "; ".join(row["steer"] for row in some) + "\n")


def scored(model: summand.Model, args: argparse.Namespace, seed: int, gains: dict[str, list[float]]) -> dict:
    """One seed. gains: those at which each way is tried."""
    tied = open_labelled(
        f"scenes:count={args.unlabelled},seed={200 + seed},tie=shape/place/0.95", "shape", groups="place"
    )
    data = usual(open_labelled(f"scenes:count={args.count},seed={100 + seed}", "shape", groups="place"))
    data = replace(data, shares=usual(tied).frequencies())
    repaired = summand.debias(model, data, None, tied.source, seed=seed, allow_empty=True, draws=1, progress=False)
    heads = [(unit.index[0], unit.index[1]) for unit in units_of([row["unit"] for row in repaired.removed])]
    moments = summand.survey(model, tied.source, units="heads", progress=False).moments("heads")
    whole = Ablation.of(model, heads, moments.mean).apply(model) if heads else model
    asked = {"classes": "shape", "attribute": "place", "progress": False}
    steers = summand.inject(whole, tied.source, gain=2, **asked).steer if heads else ""
    models = {"as it is": model, "ablated (heads at their mean)": whole, "repaired (the automatic way)": repaired.model}
    units = [part.partition("=")[0] for part in steers.split(",") if part]
    for way, base in zip(INJECTED, (model, whole, repaired.model), strict=True):
        for gain in gains[way]:
            models[f"{way} {gain:g}"] = base.steer(dict.fromkeys(units, gain)) if units else base
    weights = classifier_of(model, data)
    found = {name: [] for name in models}
    with torch.no_grad():
        for start in range(0, len(data.source), 100):
            some = [data.source.image(i) for i in range(start, min(start + 100, len(data.source)))]
            pixels = torch.stack([model.preprocess(image) for image in some])
            for name, one in models.items():
                found[name].append(predict(one.encode_image(pixels), weights))
    tables = {name: group_accuracy(data, torch.cat(guesses).numpy()) for name, guesses in found.items()}
    ways = {name: {measure: getattr(table, measure) for measure in MEASURES} for name, table in tables.items()}
    print(f"seed {seed}", file=sys.stderr, flush=True)
    return {"seed": seed, "way": repaired.way, "steer": steers, "ways": ways}


if __name__ == "__main__":
    main()
