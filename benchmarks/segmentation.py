"""How well do maps cover what a text names, and at what cost? `python benchmarks/segmentation.py [--json] [--count N]`

On scenes with two groups of objects (a text names one of them by shape, colour or texture; its mask is the truth) and
with one, every method that applies draws the map of the same texts over the same pictures. A method's treatment of the
text (as it is, or less the mean of all texts) and of the map (signed, or clipped at zero) is chosen for each method by
its mAP + mIoU on scenes of one seed, and reported on scenes of another: Summand's methods and the baselines alike.
Cost: seconds in the method over seconds in `encode_image` on the same batches, in one run.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace

import torch

import summand
from summand.data.masks import open_masks
from summand.studies.segmentation import MapMethod, choose, prepare, reference_batches, segment

CHOOSING, REPORTING, LEARNING = 611, 722, 833
_UNTOUCHED = ("pairs", "pairs-neuron", "pairs-similarity")  # their texts are always centred (paper B)


def variants(method: MapMethod) -> list[MapMethod]:
    """The four treatments that are chosen from, each under a name of its own."""
    contrasts = (method.contrast,) if method.name in _UNTOUCHED else (False, True)
    return [
        replace(method, name=f"{method.name}|{contrast:d}{clip:d}", contrast=contrast, clip=clip)
        for contrast in contrasts
        for clip in (False, True)
    ]


def chosen(model: summand.Model, methods: list[MapMethod], source: str) -> list[MapMethod]:
    """Each method in the treatment that is best on the scenes of `source`."""
    tried = [variant for method in methods for variant in variants(method)]
    scores = segment(model, open_masks(source), tried).scores
    best = []
    for method in methods:
        own = [variant for variant in tried if variant.name.split("|")[0] == method.name]
        first = max(own, key=lambda variant: scores[variant.name]["mAP"] + scores[variant.name]["mIoU"])
        best.append(replace(first, name=method.name))
    return best


def run(name: str, count: int, trial: int) -> list[dict]:
    model = summand.load(name)
    names, refused = choose(model, ["all"])
    for method, reason in refused.items():
        print(f"{name}: {method} does not apply ({reason.splitlines()[0]})", file=sys.stderr)
    reference = reference_batches(model, summand.scenes.sample(min(500, count), seed=LEARNING).images)
    methods = [prepare(model, method, reference) for method in names]
    best = chosen(model, methods, f"scenes:count={trial},seed={CHOOSING},groups=2")
    rows = []
    for groups in (2, 1):
        found = segment(model, open_masks(f"scenes:count={count},seed={REPORTING},groups={groups}"), best)
        for method in best:
            row = {"model": name, "groups": groups, "images": found.images, "method": method.name}
            row |= {"title": method.title, "contrast": method.contrast, "clip": method.clip}
            rows.append(row | found.scores[method.name])
        print(f"{name}, {groups} group(s): done", file=sys.stderr)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=2000, help="scenes that are reported on, of each kind")
    parser.add_argument("--trial", type=int, default=150, help="scenes that treatments are chosen on")
    parser.add_argument("--models", default="scenes-vit,scenes-rn")
    args = parser.parse_args()
    torch.set_num_threads(2)
    rows = [row for name in args.models.split(",") for row in run(name, args.count, args.trial)]
    if args.json:
        options = {"count": args.count, "trial": args.trial}
        print(json.dumps({"command": "segmentation", "options": options, "rows": rows}))
        return
    for name in args.models.split(","):
        own = [row for row in rows if row["model"] == name]
        two = sorted((row for row in own if row["groups"] == 2), key=lambda row: -row["mAP"])
        one = {row["method"]: row for row in own if row["groups"] == 1}
        print(f"\n{name}: {two[0]['images']} scenes with two groups, {own[-1]['images']} with one\n")
        print("| method | text, map | mAP | mIoU | AP | one group: mAP | mIoU | AP | × `encode_image` |")
        print("|---|---|---|---|---|---|---|---|---|")
        for row in two:
            other = one[row["method"]]
            treated = f"{'contrast' if row['contrast'] else 'plain'}, {'clipped' if row['clip'] else 'signed'}"
            scores = [f"{100 * r[key]:.1f}" for r in (row, other) for key in ("mAP", "mIoU", "AP")]
            print(f"| {row['title']} | {treated} | {' | '.join(scores)} | {row['cost']:.2f} |")


if __name__ == "__main__":
    main()
