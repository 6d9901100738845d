"""What does the explanation cost over the prediction? `python benchmarks/overhead.py [--json] [--quick]`

Every row is a ratio to the wrapped model's own `encode_image` on the same batch: the two are run in turn, in one
process, and the medians are compared. The third column is the published per-head method, transcribed in tests/.
Memory is the peak of a process of its own over that of one that only encodes. Weights are random: times do not
depend on them.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

import summand

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.published import published_head_token_terms


def ratio(plain: Callable[[], object], other: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median time of `other` over that of `plain`, and the latter in seconds; runs alternate, after a warm-up."""
    plain(), other()
    times: dict[str, list[float]] = {"plain": [], "other": []}
    for _ in range(rounds):
        for name, work in (("plain", plain), ("other", other)):
            started = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - started)
    base = statistics.median(times["plain"])
    return statistics.median(times["other"]) / base, base


def batch(model: summand.Model, count: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(count, 3, *model.tower.image_size)


def peak_memory(name: str, what: str, count: int) -> float:
    """Peak resident memory in MB of a fresh process that does one thing."""
    run = subprocess.run(
        [sys.executable, __file__, "--only", what, name, str(count)], capture_output=True, text=True, check=True
    )
    return float(run.stdout.strip().splitlines()[-1])


def only(what: str, name: str, count: int) -> None:
    model = summand.load(name, random_init=True)
    x = batch(model, count)
    with torch.no_grad():
        _ = model.decompose(x).heads() if what == "heads" else model.encode_image(x)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, small models only")
    parser.add_argument("--only", nargs=3, metavar=("WHAT", "MODEL", "BATCH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(2)
    if args.only:
        only(args.only[0], args.only[1], int(args.only[2]))
        return
    rounds = 3 if args.quick else 7
    rows = []

    def measure(
        what: str, name: str, work: Callable[[summand.Model, torch.Tensor], object], count: int = 8, slow: int = 0
    ):
        model = summand.load(name, random_init=True)
        x = batch(model, count)
        cost, base = ratio(lambda: model.encode_image(x), lambda: work(model, x), rounds)
        row = {"what": what, "model": name, "batch": count, "ratio": cost, "encode_seconds": base, "published": None}
        if slow:
            visual, few = model.clip.visual, x[:slow]
            row["published"] = ratio(
                lambda: model.encode_image(few), lambda: published_head_token_terms(visual, few), 1
            )[0]
        rows.append(row)
        print(f"{what:34s} {name:10s} {cost:6.2f} ×", file=sys.stderr)

    for name, slow in (("ViT-B-32", 1), ("ViT-B-16", 1), ("ViT-L-14", 0)):
        if not (args.quick and name == "ViT-L-14"):
            measure("decompose(x).heads()", name, lambda m, x: m.decompose(x).heads(), slow=slow)
    texts = torch.nn.functional.normalize(torch.randn(100, 512), dim=1)
    measure("decompose(x).toward(100 texts)", "ViT-B-16", lambda m, x: m.decompose(x).toward(texts))
    measure("decompose(x).heads()", "RN50", lambda m, x: m.decompose(x).heads())
    memory = {what: peak_memory("ViT-B-16", what, 32) for what in ("encode", "heads")}
    rows.append(
        {
            "what": "peak memory of heads()",
            "model": "ViT-B-16",
            "batch": 32,
            "ratio": memory["heads"] / memory["encode"],
            "published": None,
        }
    )
    if args.json:
        print(json.dumps({"command": "overhead", "options": {"rounds": rounds, "threads": 2}, "rows": rows}))
        return
    print("| what | model, batch | × `encode_image` | published per-head method |")
    print("|---|---|---|---|")
    for row in rows:
        published = f"{row['published']:.0f} ×" if row["published"] else ""
        print(f"| `{row['what']}` | {row['model']}, {row['batch']} | {row['ratio']:.2f} × | {published} |")


if __name__ == "__main__":
    main()
