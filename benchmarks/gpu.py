"""What does the explanation cost over the prediction on an accelerator? `python benchmarks/gpu.py [--quick] [--json]`

The table has a row for each model, batch and precision: milliseconds of the wrapped model's own `encode_image`, and
the ratios to it of heads, maps of 100 texts, `toward` 100 texts, and neurons with their moments; for one image also of
heads from a pass that is played back (`Model.compile`). Medians of rounds in which all are run in turn. Rows do not
depend on each other and are printed as they come, so that the script can be stopped at any time; a row that fails says
why, and the next one is run. With all rows under six minutes on one H100. `--quick --device cpu` shows that it works.

Bounds of half precision at batch 64 to 128: heads 1.10, maps 1.20, neurons + moments 1.20; for one image: 1.6, played
back 0.7. Weights are random: times do not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import torch
from open_clip.model import CLIP
from torch import Tensor

import summand
from summand.border import foreign
from summand.models.open_clip import Precision

ROWS = (
    ("ViT-B-16", 128, "bf16"),
    ("ViT-L-14", 64, "bf16"),
    ("ViT-B-16", 1, "fp32"),
    ("ViT-L-14", 1, "bf16"),
    ("ViT-B-16", 128, "fp32"),
    ("ViT-H-14", 64, "bf16"),
    ("ViT-L-14", 64, "fp16"),
    ("RN50x16", 32, "fp32"),
    ("ViT-SO400M-14-SigLIP", 32, "bf16"),
    ("ViT-L-14", 64, "fp32"),
)
QUICK = (("tiny", 8, "bf16"), ("tiny", 8, "fp32"), ("tiny", 1, "fp32"), ("tiny", 1, "bf16"))
BOUNDS = {"heads": 1.10, "maps": 1.20, "neurons": 1.20}
ALONE = {"heads": 1.6, "played": 0.7}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def tiny(precision: str) -> summand.Model:
    """A transformer of six small layers, for a machine without a GPU."""
    torch.manual_seed(0)
    vision = {"image_size": 56, "patch_size": 14, "width": 128, "layers": 6, "head_width": 32}
    text = {"context_length": 16, "vocab_size": 100, "width": 64, "heads": 2, "layers": 1}
    return summand.wrap(foreign(CLIP)(64, vision, text).eval().to(DTYPES[precision]))


def made(name: str, precision: Precision, device: str) -> summand.Model:
    if name == "tiny":
        model = tiny(precision)
        return summand.wrap(model.clip.to(device))
    return summand.load(name, random_init=True, device=device, precision=precision)


def wait(device: str) -> None:
    """Until all that was asked for is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def questions(model: summand.Model, x: Tensor, texts: Tensor) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is timed. Neurons: of the layer in the middle; of a tower with an attention pool, its pairs."""
    layer, moments = model.tower.layers // 2, summand.Moments()
    yield "encode", lambda: model.clip.encode_image(x)
    yield "heads", lambda: model.decompose(x).heads()
    yield "maps", lambda: model.decompose(x).tokens_toward(texts)
    yield "toward", lambda: model.decompose(x).toward(texts)
    if model.tower.layers > 1:
        yield "neurons", lambda: moments.update(model.second_order(x, layer))
    else:
        yield "neurons", lambda: model.pairs(x)
    if len(x) == 1:
        played = summand.wrap(model.clip).compile(batch_size=1)
        yield "played", lambda: played.decompose(x).heads()


@torch.no_grad()
def row(name: str, count: int, precision: str, device: str, rounds: int) -> dict[str, object]:
    """Milliseconds of `encode_image`, and the median of every ratio to it; what failed is said by its error."""
    model = made(name, foreign(precision), device)
    x = torch.randn(count, 3, *model.tower.image_size, device=device).to(model.dtype)
    texts = torch.nn.functional.normalize(torch.randn(100, model.tower.embed, device=device), dim=1)
    found: dict[str, object] = {"model": name, "batch": count, "precision": precision}
    works: dict[str, Callable[[], object]] = {}
    for what, work in questions(model, x, texts):
        try:
            work(), work()  # what is made of weights, once
            works[what] = work
        except Exception as error:
            found[what] = f"{type(error).__name__}: {str(error)[:120]}"
    seconds: dict[str, list[float]] = {what: [] for what in works}
    for _ in range(rounds):
        for what, work in works.items():
            wait(device)
            started = time.perf_counter()
            work()
            wait(device)
            seconds[what].append(time.perf_counter() - started)
    if "encode" in works:
        found["ms"] = 1000 * statistics.median(seconds["encode"])
        for what in works.keys() - {"encode"}:
            each = [other / plain for plain, other in zip(seconds["encode"], seconds[what], strict=True)]
            found[what] = statistics.median(each)
    with suppress(summand.SummandError):
        found["residual"] = model.decompose(x).residual()
    return found


def shown(found: dict[str, object]) -> str:
    """A row of the table; a ratio over its bound has a star."""
    bounds = ALONE if found["batch"] == 1 else BOUNDS if found["precision"] != "fp32" else {}
    cells = []
    for what in ("heads", "maps", "toward", "neurons", "played"):
        value = found.get(what, "–")
        if isinstance(value, float):
            value = f"{value:.2f}" + (" *" if value > bounds.get(what, float("inf")) else "")
        cells.append(str(value))
    plain = found.get("ms", found.get("encode", "–"))
    plain = f"{plain:.1f} ms" if isinstance(plain, float) else plain
    residual = found.get("residual", "–")
    residual = f"{residual:.1e}" if isinstance(residual, float) else residual
    return f"| {found['model']}, {found['batch']} | {found['precision']} | {plain} | {' | '.join(cells)} | {residual} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny models and two rounds")
    parser.add_argument("--rounds", type=int, help="runs of each (7; with --quick 2)")
    parser.add_argument("--rows", default="", help="only rows whose model or precision holds this text")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        parser.error("no CUDA device here; `--quick --device cpu` shows that the script works")
    if not args.json:
        print(
            "| model, batch | precision | plain | heads | 100-text maps | toward | neurons + moments | played | "
            "sum off |"
        )
        print("|---|---|---|---|---|---|---|---|---|", flush=True)
    rows = []
    for name, count, precision in QUICK if args.quick else ROWS:
        if args.rows not in name and args.rows not in precision:
            continue
        try:
            rows.append(row(name, count, precision, args.device, args.rounds or (2 if args.quick else 7)))
        except Exception as error:
            print(f"{name}, {count}, {precision}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
            continue
        if not args.json:
            print(shown(rows[-1]), flush=True)
        if args.device.startswith("cuda"):
            torch.cuda.empty_cache()
    if args.json:
        print(json.dumps({"command": "gpu", "device": args.device, "rows": rows}))


if __name__ == "__main__":
    main()
