"""What does a map cost over the prediction? `python benchmarks/heatmap.py [--model ViT-B-32] [--rounds 15] [--cpu]`

`summand.heatmap` with three texts, the second call on, for one picture and for a folder of pictures read in batches,
over the wrapped model's own `encode_image`, on pixels that are ready and from the pictures (preprocessing included,
which a map needs as well). Each round times all in turn and gives one ratio; the table has the medians, and the ratio
of the fastest runs, which other work on the machine disturbs least. `--cpu` counts the process's own CPU seconds in
place of the clock. Weights are random: times do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image

import summand
from summand.models import pixels_of

TEXTS = ["a dog", "a cat", "a tree"]
BOUND = 1.15


def timed(works: dict[str, Callable[[], object]], rounds: int, clock: Callable[[], float]) -> dict[str, list[float]]:
    """Seconds of each, round by round; who goes first moves on, and the first round is not counted."""
    names = list(works)
    found: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-1, rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = clock()
            works[name]()
            if turn >= 0:
                found[name].append(clock() - started)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", default="ViT-B-32")
    parser.add_argument("--pictures", type=int, default=64, help="of the folder")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=2, default=(224, 224), help="width and height of the pictures")
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds of this process, not the clock")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.cpu else time.perf_counter
    model = summand.load(args.model, random_init=True)
    rng = np.random.default_rng(0)
    width, height = args.size
    pictures = [Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)) for _ in range(args.pictures)]
    started = time.perf_counter()
    summand.heatmap(model, pictures[0], TEXTS)
    first = time.perf_counter() - started

    def encode(pixels: torch.Tensor) -> None:
        with torch.no_grad():
            for start in range(0, len(pixels), 32):
                model.clip.encode_image(pixels[start : start + 32])

    rows = []
    for name, given in (("one picture", pictures[0]), (f"a folder of {len(pictures)}", pictures)):
        some = given if isinstance(given, list) else [given]
        pixels = pixels_of(model, some)
        works = {
            "encode_image": lambda pixels=pixels: encode(pixels),
            "with preprocessing": lambda some=some: encode(pixels_of(model, some)),
            "heatmap": lambda given=given: summand.heatmap(model, given, TEXTS),
        }
        rounds = max(3, args.rounds if len(some) == 1 else args.rounds // 5)
        seconds = timed(works, rounds, clock)
        row: dict[str, object] = {"what": name, "encode_image": statistics.median(seconds["encode_image"])}
        for base in ("encode_image", "with preprocessing"):
            each = [a / b for a, b in zip(seconds["heatmap"], seconds[base], strict=True)]
            row[f"× {base}"] = statistics.median(each)
            row[f"fastest × {base}"] = min(seconds["heatmap"]) / min(seconds[base])
        rows.append(row)
    if args.json:
        print(json.dumps({"model": args.model, "first_call_seconds": first, "bound": BOUND, "rows": rows}))
        return
    print(f"{args.model}, {len(TEXTS)} texts, {args.threads} threads; the first call took {first:.1f} s")
    for row in rows:
        numbers = "  ".join(f"{key} {value:.3f}" for key, value in row.items() if key != "what")
        print(f"{row['what']:16s} {numbers}  (bound {BOUND})")


if __name__ == "__main__":
    main()
