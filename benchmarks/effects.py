"""What do neurons and neuron–head pairs cost? `python benchmarks/effects.py [--json] [--quick]`

Times are ratios to the wrapped model's own `encode_image` of as many images: the two are run in turn, in one process,
and the medians are compared. The published way is transcribed in tests/published_neurons.py; it takes one image. Memory
is the peak of a process of its own. Files hold the statistics of random coefficients spread like those of the model,
so that all top images are taken. Weights are random: neither times nor sizes depend on them.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import summand

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks.overhead import batch, ratio
from tests.published_neurons import published_second_order

LAYER = 9  # of ViT-B/32, the layer of paper A's Table 1


def effects_of(model: summand.Model, x: torch.Tensor) -> summand.Effects:
    return model.pairs(x) if model.tower.kind == "ModifiedResNet" else model.second_order(x, LAYER)


def pass_and_moments(model: summand.Model, x: torch.Tensor, rounds: int) -> tuple[float, float]:
    """Time of the effects of a batch and of taking them in, over `encode_image`'s, and the latter in seconds."""
    moments = summand.Moments()
    cost = ratio(lambda: model.encode_image(x), lambda: moments.update(effects_of(model, x)), rounds, time.perf_counter)
    return cost.median, cost.base


def published(model: summand.Model, heads: int | None) -> float:
    """The same for the published way and one image. heads: measured through so many of the later heads."""
    x = batch(model, 1)
    later = (model.tower.layers - 1 - LAYER) * model.tower.heads
    visual, some = model.clip.visual, heads or later
    cost = ratio(
        lambda: model.encode_image(x),
        lambda: published_second_order(visual, x[0], LAYER, some),
        1,
        time.perf_counter,
    )
    one = cost.median
    return one * later / some


def statistics_file(model: summand.Model, k: int) -> float:
    """Size in MB of the moments and the k top images of every unit, in one file, with the directions."""
    seen = effects_of(model, batch(model, 4))
    centre, spread = seen.coefficients.mean(dim=0), seen.coefficients.std(dim=0)
    moments, each = summand.Moments(), 8
    generator = torch.Generator().manual_seed(0)

    def some() -> summand.Effects:
        noise = torch.randn(each, *centre.shape, generator=generator)
        return summand.Effects(centre + spread * noise, seen.basis, seen.units, seen.paths, path_index=seen.path_index)

    for _ in range(4):
        moments.update(some())
    top = summand.TopImages(k, moments.mean)
    for start in range(0, 2 * k, each):
        top.update(some(), 97 * torch.arange(start, start + each))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "statistics.npz"
        moments.save(path, top=top)
        return path.stat().st_size / 1e6


def peak_memory(name: str, count: int) -> float:
    """Peak resident memory in GB of a fresh process that takes in a few batches."""
    command = [sys.executable, __file__, "--only", name, str(count)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (this file itself)
    return float(run.stdout.strip().splitlines()[-1])


def only(name: str, count: int) -> None:
    model = summand.load(name, random_init=True)
    moments = summand.Moments()
    for _ in range(2):
        moments.update(effects_of(model, batch(model, count)))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer rounds; the published way through 2 of 24 heads")
    parser.add_argument("--only", nargs=2, metavar=("MODEL", "BATCH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(2)
    if args.only:
        only(args.only[0], int(args.only[1]))
        return
    rounds = 3 if args.quick else 7
    rows: list[dict[str, Any]] = []

    def add(what: str, model: str, value: float, unit: str, bound: float | None, **more: Any) -> None:
        rows.append({"what": what, "model": model, "value": value, "unit": unit, "bound": bound, **more})
        print(f"{what:64s} {model:10s} {value:8.2f} {unit}", file=sys.stderr)

    vit = summand.load("ViT-B-32", random_init=True)
    cost, base = pass_and_moments(vit, batch(vit, 16), rounds)
    what = f"`second_order(x, {LAYER})` + `Moments.update`, 3,072 neurons"
    add(what, "ViT-B-32", cost, "×", 1.25, batch=16, encode_seconds=base)
    add("the same, published formula", "ViT-B-32", published(vit, 2 if args.quick else None), "×", None, batch=1)
    add(f"file: moments + top 100 images, layer {LAYER}", "ViT-B-32", statistics_file(vit, 100), "MB", 60)
    del vit
    resnet = summand.load("RN50x16", random_init=True)
    cost, base = pass_and_moments(resnet, batch(resnet, 4), max(3, rounds // 2))
    add("`pairs(x)` + `Moments.update`, 147,456 pairs", "RN50x16", cost, "×", 1.25, batch=4, encode_seconds=base)
    add("file: moments + top 50 images, pairs", "RN50x16", statistics_file(resnet, 50), "MB", 120)
    del resnet
    add("peak memory of `pairs(x)` + `Moments.update`, whole process", "RN50x16", peak_memory("RN50x16", 8), "GB", 6)
    if args.json:
        print(json.dumps({"command": "effects", "options": {"rounds": rounds, "threads": 2}, "rows": rows}))
        return
    print("| what | model | measured | bound |")
    print("|---|---|---|---|")
    for row in rows:
        bound = "" if row["bound"] is None else f"≤ {row['bound']:g} {row['unit']}"
        value = f"{row['value']:.0f}" if row["value"] >= 20 else f"{row['value']:.2f}"
        print(f"| {row['what']} | {row['model']} | {value} {row['unit']} | {bound} |")


if __name__ == "__main__":
    main()
