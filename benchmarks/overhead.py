"""What does the explanation cost over the prediction? `python benchmarks/overhead.py [--json] [--quick]`

Every row is a ratio to the wrapped model's own `encode_image` on the same batch: the two are run in turn, in one
process, and each round gives one ratio; the table has their median, and beside it the ratio of the two fastest runs,
which other work on the machine disturbs least. `--cpu` counts the process's own CPU seconds in place of the clock, for
a machine that is not quiet. The last column is the published per-head method, transcribed in tests/. Memory
is the peak of a process of its own over that of one that only encodes. Weights are random: times do not depend on
them.
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
from dataclasses import dataclass
from pathlib import Path

import torch

import summand

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.published import published_head_token_terms


@dataclass(frozen=True)
class Cost:
    """Time of one thing over that of another. median: of the rounds; fastest: best run over best run; base: seconds."""

    median: float
    fastest: float
    base: float


def ratio(plain: Callable[[], object], other: Callable[[], object], rounds: int, clock: Callable[[], float]) -> Cost:
    """`other` over `plain`; the two alternate, and so does which of them goes first. After a warm-up."""
    works = {"plain": plain, "other": other}
    times: dict[str, list[float]] = {"plain": [], "other": []}
    for turn in range(-1, rounds):
        for name in ("plain", "other") if turn % 2 else ("other", "plain"):
            started = clock()
            works[name]()
            if turn >= 0:
                times[name].append(clock() - started)
    each = [other / plain for plain, other in zip(times["plain"], times["other"], strict=True)]
    fastest = min(times["other"]) / min(times["plain"])
    return Cost(statistics.median(each), fastest, statistics.median(times["plain"]))


def batch(model: summand.Model, count: int) -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(count, 3, *model.tower.image_size)


@torch.no_grad()
def own(model: summand.Model, x: torch.Tensor) -> torch.Tensor:
    """The wrapped model's own pass, as its user calls it without Summand."""
    return model.clip.encode_image(x)


def peak_memory(name: str, what: str, count: int) -> float:
    """Peak resident memory in MB of a fresh process that does one thing."""
    run = subprocess.run(  # noqa: S603 (this file itself)
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, small models only")
    parser.add_argument("--rounds", type=int, help="runs of each row (7; with --quick 3)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cpu", action="store_true", help="count CPU seconds of this process, not the clock")
    parser.add_argument("--rows", default="", help="only rows whose `what` or model holds this text")
    parser.add_argument("--only", nargs=3, metavar=("WHAT", "MODEL", "BATCH"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.cpu else time.perf_counter
    if args.only:
        only(args.only[0], args.only[1], int(args.only[2]))
        return
    rounds = args.rounds or (3 if args.quick else 7)
    rows = []

    def wanted(what: str, name: str) -> bool:
        return args.rows in what or args.rows in name

    def measure(
        what: str, name: str, work: Callable[[summand.Model, torch.Tensor], object], count: int = 8, slow: int = 0
    ):
        if not wanted(what, name):
            return
        model = summand.load(name, random_init=True)
        x = batch(model, count)
        cost = ratio(lambda: own(model, x), lambda: work(model, x), rounds, clock)
        row = {"what": what, "model": name, "batch": count, "ratio": cost.median, "ratio_of_fastest": cost.fastest}
        row |= {"encode_seconds": cost.base, "published": None}
        if slow:
            visual, few = model.clip.visual, x[:slow]
            row["published"] = ratio(
                lambda: own(model, few), lambda: published_head_token_terms(visual, few), 1, clock
            ).median
        rows.append(row)
        print(f"{what:34s} {name:10s} {cost.median:6.2f} ×, fastest {cost.fastest:.2f} ×", file=sys.stderr)

    for name, slow in (("ViT-B-32", 1), ("ViT-B-16", 1), ("ViT-L-14", 0)):
        if not (args.quick and name == "ViT-L-14"):
            measure("decompose(x).heads()", name, lambda m, x: m.decompose(x).heads(), slow=slow)
    texts = torch.nn.functional.normalize(torch.randn(100, 512), dim=1)
    measure("decompose(x).toward(100 texts)", "ViT-B-16", lambda m, x: m.decompose(x).toward(texts))
    measure("maps of 100 texts", "ViT-B-16", lambda m, x: m.decompose(x).tokens_toward(texts), count=1)
    measure("decompose(x).heads()", "RN50", lambda m, x: m.decompose(x).heads())
    measure("pairs(x)", "RN50", lambda m, x: m.pairs(x))
    if wanted("peak memory of heads()", "ViT-B-16"):
        memory = {what: peak_memory("ViT-B-16", what, 32) for what in ("encode", "heads")}
        row = {"what": "peak memory of heads()", "model": "ViT-B-16", "batch": 32}
        rows.append({**row, "ratio": memory["heads"] / memory["encode"], "ratio_of_fastest": None, "published": None})
    options = {"rounds": rounds, "threads": args.threads, "clock": "cpu" if args.cpu else "wall"}
    if args.json:
        print(json.dumps({"command": "overhead", "options": options, "rows": rows}))
        return
    print("| what | model, batch | × `encode_image`, median | fastest runs | published per-head method |")
    print("|---|---|---|---|---|")
    for row in rows:
        published = f"{row['published']:.0f} ×" if row["published"] else ""
        fastest = f"{row['ratio_of_fastest']:.2f} ×" if row["ratio_of_fastest"] else ""
        print(f"| `{row['what']}` | {row['model']}, {row['batch']} | {row['ratio']:.2f} × | {fastest} | {published} |")


if __name__ == "__main__":
    main()
