"""Does the data keep up with the model? `python benchmarks/pipeline.py [--model ViT-B-32] [--images 2000] [--json]`

A survey of heads over JPEGs of 500 × 375 pixels, with `--workers` as they are chosen and with none, over the same
survey of pixels that lie ready in memory (bound: 0.85 of its images a second). In slices of the images, so that all are
timed in turn; the ratio is that of the medians. Beside it, what decoding alone does with 0, 1, 2, … processes. Weights
are random: times do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter

import summand
from summand.data import open_source
from summand.data.loader import loaded
from summand.processes import workers

BOUND = 0.85


def write_pictures(folder: Path, count: int) -> None:
    """JPEGs with the detail of photographs: noise at several scales."""
    rng = np.random.default_rng(0)
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize((500, 375))
        fine = Image.fromarray(rng.integers(0, 256, (375, 500, 3), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(2))
        Image.blend(small, fine, 0.4).save(folder / f"{number:05}.jpg", quality=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--slices", type=int, default=4, help="parts that are timed in turn")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--processes", type=int, nargs="*", default=(0, 1, 2), help="of decoding alone")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    model = summand.load(args.model, random_init=True, device=args.device)
    chosen = 1 if args.device == "cpu" else None  # what is chosen for many files
    options = {"units": "heads", "top": 0, "held_out": 0, "batch_size": args.batch, "progress": False}
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), args.images)
        source = open_source(folder)
        parts = [part.tolist() for part in np.array_split(np.arange(args.images), args.slices)]
        seconds: dict[str, list[float]] = {"ready": [], "chosen": [], "none": []}
        for part in [parts[0][: args.batch], *parts]:
            files = [str(source.files[i]) for i in part]  # type: ignore[attr-defined]
            ready = list(torch.stack([model.preprocess(source.image(i)) for i in part]))
            works: dict[str, Callable[[], object]] = {
                "ready": lambda ready=ready: summand.survey(model, ready, **options),
                "chosen": lambda files=files: summand.survey(model, files, workers=chosen, **options),
                "none": lambda files=files: summand.survey(model, files, workers=0, **options),
            }
            for name, work in works.items():
                began = time.perf_counter()
                work()
                if len(part) > args.batch:
                    seconds[name].append((time.perf_counter() - began) / len(part))
        decoding = {}
        plan = [parts[0][start : start + args.batch] for start in range(0, len(parts[0]), args.batch)]
        for count in args.processes:
            began = time.perf_counter()
            with workers(count):
                for _ in loaded(source, plan, model.prepared, count=count):
                    pass
            decoding[count] = len(parts[0]) / (time.perf_counter() - began)
    each = {name: statistics.median(found) for name, found in seconds.items()}
    found = {
        "model": args.model,
        "images": args.images,
        "images_a_second": {name: round(1 / value, 1) for name, value in each.items()},
        "share_of_the_model_alone": round(each["ready"] / each["chosen"], 3),
        "without_processes": round(each["ready"] / each["none"], 3),
        "decoded_a_second": {count: round(speed, 1) for count, speed in decoding.items()},
    }
    if args.json:
        print(json.dumps(found))
        return
    print(f"| {args.model}, {args.images} JPEGs | images a second | of the model alone (bound {BOUND}) |")
    print("|---|---|---|")
    print(f"| pixels that are ready | {1 / each['ready']:.1f} | 1 |")
    print(f"| JPEGs, processes as chosen | {1 / each['chosen']:.1f} | {each['ready'] / each['chosen']:.2f} |")
    print(f"| JPEGs, none | {1 / each['none']:.1f} | {each['ready'] / each['none']:.2f} |")
    for count, speed in decoding.items():
        print(f"| decoding alone, {count} processes | {speed:.1f} | |")


if __name__ == "__main__":
    main()
