"""How well do maps cover what a text names, and at what cost? `python benchmarks/segmentation.py [--json] [--count N]`

On scenes with two groups of objects (a text names one of them by shape, colour or texture; its mask is the truth) and
with one, every method that applies draws the map of the same texts over the same pictures. How a map is treated is
chosen for each method by its mAP + mIoU on two-group scenes of one seed, and reported on scenes of another. All
methods, Summand's and the baselines, choose from the same list: the text as it is or less the mean of all texts; the
map signed, clipped at zero, or the root of that; the threshold one half or the map's mean (the two published ones). A
few baselines choose among variants of their own as well (which layers, whose score, which features).
Cost: seconds in the method over seconds in `encode_image` on the same batches, in one run.

With --out FOLDER what is found is written as it is found, and the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import summand
from summand.data.masks import open_masks
from summand.maps.methods import MapMethod, choose, prepare
from summand.maps.references import reference_batches
from summand.studies.segmentation.protocol import Protocol
from summand.studies.segmentation.scoring import score

CHOOSING, REPORTING, LEARNING = 611, 722, 833
_CENTRED = ("pairs", "pairs-neuron", "pairs-similarity")  # their texts are always centred (paper B)
_SHAPES, _THRESHOLDS = ("signed", "clipped", "root"), (0.5, "mean")
_TOGETHER = 4  # methods of one pass: so much is lost at most when a run with --out is stopped
_TREATMENT = ("contrast", "shape", "threshold")
_AS_CHOSEN = Protocol(threshold=None)


_OPTIONS: dict[str, list[dict]] = {  # variants that a baseline's authors or others use, its default first
    "legrad": [{"first_layer": first, "pool": pool} for pool in ("mean", "tower") for first in (0, -2)],
    "gradcam": [{"features": "tokens"}, {"features": "attention"}],
    "chefer": [{"first_layer": 0}, {"first_layer": -2}],
    "partial-lrp": [{"rule": "positive"}, {"rule": "epsilon"}],
    "clip-surgery": [
        {"feature_surgery": False},
        {"feature_surgery": True},
        {"feature_surgery": False, "first_layer": 1},
    ],
    "maskclip": [{"mlp": True}, {"mlp": False}, {"residual": False, "mlp": False}],
    "sclip": [{"mlp": True}, {"mlp": False}, {"residual": False, "mlp": False}],
}


class Once:
    """Maps that several treatments share, drawn once a batch."""

    def __init__(self, method: MapMethod) -> None:
        self.draw, self.given, self.found = method.maps, (torch.empty(0), torch.empty(0)), torch.empty(0)

    def __call__(self, pixels: Tensor, directions: Tensor, **shared: Any) -> Tensor:
        if pixels is not self.given[0] or not torch.equal(directions, self.given[1]):
            self.given, self.found = (pixels, directions), self.draw(pixels, directions, **shared)
        return self.found


def variants(method: MapMethod) -> list[MapMethod]:
    """The treatments that are chosen from, each under a name of its own."""
    found = []
    for number, options in enumerate(_OPTIONS.get(method.name, [{}])):
        varied = method.with_options(**options)
        for contrast in (method.contrast,) if method.name in _CENTRED else (False, True):
            maps = Once(varied)
            found += [
                replace(
                    varied,
                    **{"name": f"{method.name}|{number}|{contrast:d}|{shape}|{threshold}", "maps": maps},
                    **{"contrast": contrast, "shape": shape, "threshold": threshold},
                )
                for shape in _SHAPES
                for threshold in _THRESHOLDS
            ]
    return found


class Found:
    """What was found so far, by key; in a file of lines where there is a folder."""

    def __init__(self, folder: Path | None, options: dict) -> None:
        self.rows: dict[tuple, dict] = {}
        self.path = None if folder is None else folder / "rows.jsonl"
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self.path.write_text(json.dumps(options) + "\n")
        first, *lines = self.path.read_text().splitlines()
        if json.loads(first) != options:
            raise SystemExit(f"{self.path} is of a run with {first}, not {json.dumps(options)}; take another folder")
        for line in lines:
            row = json.loads(line)
            self.rows[tuple(row["key"])] = row

    def add(self, key: tuple, row: dict) -> None:
        self.rows[key] = {**row, "key": key}
        if self.path is not None:
            with self.path.open("a") as file:
                file.write(json.dumps(self.rows[key]) + "\n")


def run(name: str, count: int, trial: int, found: Found) -> list[dict]:
    model = summand.load(name)
    names, refused = choose(model, ["all"])
    for method, reason in refused.items():
        print(f"{name}: {method} does not apply ({reason.splitlines()[0]})", file=sys.stderr)
    reference = reference_batches(model, summand.scenes.sample(500, seed=LEARNING).images)
    keys = [(name, groups, method) for groups in (2, 1) for method in names]
    left = [method for method in names if any((name, groups, method) not in found.rows for groups in (2, 1))]
    groups_of_methods = [left[i : i + _TOGETHER] for i in range(0, len(left), _TOGETHER)]
    for some in groups_of_methods:
        made = [prepare(model, method, reference) for method in some]
        if any((name, "chosen", method) not in found.rows for method in some):
            tried = [variant for method in made for variant in variants(method)]
            source = open_masks(f"scenes:count={trial},seed={CHOOSING},groups=2")
            scores = score(model, source, tried, _AS_CHOSEN).scores
            for method in made:
                own = [variant for variant in tried if variant.name.split("|")[0] == method.name]
                best = max(own, key=lambda variant: scores[variant.name]["mAP"] + scores[variant.name]["mIoU"])
                options = _OPTIONS.get(method.name, [{}])[int(best.name.split("|")[1])]
                row = {key: getattr(best, key) for key in _TREATMENT} | {"options": options}
                found.add((name, "chosen", method.name), row)
        chosen = [found.rows[name, "chosen", method.name] for method in made]
        treatments = [{key: row[key] for key in _TREATMENT} for row in chosen]
        best = [
            replace(method.with_options(**row.get("options", {})), **treatment)
            for method, row, treatment in zip(made, chosen, treatments, strict=True)
        ]
        for groups in (2, 1):
            if all((name, groups, method) in found.rows for method in some):
                continue
            result = score(
                model, open_masks(f"scenes:count={count},seed={REPORTING},groups={groups}"), best, _AS_CHOSEN
            )
            for method, own, treatment in zip(best, chosen, treatments, strict=True):
                row = {
                    "options": own.get("options", {}),
                    "model": name,
                    "groups": groups,
                    "images": result.images,
                    "method": method.name,
                }
                row |= {"title": method.title, **treatment, **result.scores[method.name]}
                found.add((name, groups, method.name), row)
            print(f"{name}, {groups} group(s): {', '.join(some)}", file=sys.stderr, flush=True)
    return [found.rows[key] for key in keys]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=2000, help="scenes that are reported on, of each kind")
    parser.add_argument("--trial", type=int, default=300, help="scenes that treatments are chosen on")
    parser.add_argument("--models", default="scenes-vit,scenes-rn")
    parser.add_argument("--out", type=Path, help="folder for what is found; a stopped run goes on from it")
    args = parser.parse_args()
    torch.set_num_threads(2)
    options = {"count": args.count, "trial": args.trial}
    found = Found(args.out, options)
    rows = [row for name in args.models.split(",") for row in run(name, args.count, args.trial, found)]
    if args.json:
        print(json.dumps({"command": "segmentation", "options": options, "rows": rows}))
        return
    for name in args.models.split(","):
        own = [row for row in rows if row["model"] == name]
        two = sorted((row for row in own if row["groups"] == 2), key=lambda row: -row["mAP"])
        one = {row["method"]: row for row in own if row["groups"] == 1}
        print(f"\n{name}: {two[0]['images']} scenes with two groups, {own[-1]['images']} with one\n")
        print("| method | text, map, threshold | mAP | mIoU | AP | one group: mAP | mIoU | AP | × `encode_image` |")
        print("|---|---|---|---|---|---|---|---|---|")
        for row in two:
            other = one[row["method"]]
            treated = f"{'contrast' if row['contrast'] else 'plain'}, {row['shape']}, {row['threshold']}"
            treated += "".join(f", {key}={value}" for key, value in row.get("options", {}).items())
            scores = [f"{100 * r[key]:.1f}" for r in (row, other) for key in ("mAP", "mIoU", "AP")]
            print(f"| {row['title']} | {treated} | {' | '.join(scores)} | {row['cost']:.2f} |")


if __name__ == "__main__":
    main()
