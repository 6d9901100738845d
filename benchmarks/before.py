"""Is what was right still right? `python benchmarks/before.py [CHECKOUT ...]` prints numbers of several checkouts.

Each (a folder with src/ and benchmarks/, such as `git worktree add OLD COMMIT` makes; this one by default) runs its own
benchmarks and its own `summand segment` on the same scenes: truth of the heads' labels, repair, drift, retrieval, and
maps of two-group scenes. What is found is kept in --out as it is found, so that a run that was stopped
goes on; a number that a checkout does not measure is left empty.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

Rows = Iterator[tuple[str, float]]
HERE = Path(__file__).resolve().parent.parent


def truth(found: dict) -> Rows:
    summary = found["summary"]
    yield "labels: heads with a dominant attribute", summary["dominant"]
    yield "… whose label names it, %", 100 * summary["agreement"]
    yield "… of all heads, label names the largest, %", 100 * summary["agreement_all_heads"]
    yield "… label is what moves the head most, %", 100 * summary["agreement_causal"]
    yield "… random texts, %", 100 * summary["agreement_random_texts"]
    for row in summary.get("values", []):
        yield "… value shown by the top images, proven words, %", 100 * row["shown"]


def repair(found: dict) -> Rows:
    for name in ("before", "automatic", "patched classifier", "best of 5 random"):
        each = [row.get("methods", row)[name]["worst group"] for row in found["rows"]]
        yield f"repair: worst group, {name}, %", 100 * sum(each) / len(each)


def drift(found: dict) -> Rows:
    for row in found["rows"]:
        if row["method"] in ("units", "embedding along texts", "together"):
            yield f"drift of {row['share']:.0%} of the scenes seen by {row['method']}, %", 100 * row["detected"]
        if row["method"] == "units":
            yield f"… attribute named, by {row['method']}, {row['share']:.0%}, %", 100 * row["names_attribute"]


def retrieval(found: dict) -> Rows:
    for key, name in [
        ("by_heads", "by the property's heads"),
        ("by_everything", "by the whole"),
        ("by_texts", "along its texts"),
    ]:
        each = [row[key] for row in found["rows"] if row.get(key) is not None]
        if each:
            yield f"retrieval {name}, mean over attributes, %", 100 * sum(each) / len(each)


def maps(found: dict) -> Rows:
    for row in found["rows"]:
        for score in ("mAP", "mIoU"):
            yield f"maps, {row['title']}: {score}, %", 100 * row[score]


_MAPS = "decomposition,neurons,second-order,neurons-both,chefer,rollout,legrad,grad-eclip,clip-surgery,maskclip"
_DRIFT = "--pool 3000 --reference 1000 --current 300 --trials 40 --null 100 --shares 0.1 0.15 0.2 0.3"
STUDIES: dict[str, tuple[str, Callable[[dict], Rows]]] = {
    "truth": ("benchmarks/truth.py --json --count 2000", truth),
    "debias": ("benchmarks/debias.py --json", repair),
    "shift": (f"benchmarks/shift.py --json {_DRIFT}", drift),
    "retrieval": ("benchmarks/retrieval.py --json --count 1000 --queries 200", retrieval),
    "segment": (f"-m summand segment scenes:count=192,seed=722,groups=2 --methods {_MAPS} --json", maps),
}


def measured(checkout: Path, study: str, kept: Path) -> dict:
    """The JSON that a checkout's own command prints; read again where it was printed before."""
    if not kept.exists():
        environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
        print(f"{study} of {checkout.name}", file=sys.stderr, flush=True)
        command = [sys.executable, *STUDIES[study][0].split()]
        made = subprocess.run(command, cwd=checkout, env=environment, stdout=subprocess.PIPE, check=True)  # noqa: S603 (of a checkout)
        json.loads(made.stdout)
        kept.write_bytes(made.stdout)
    return json.loads(kept.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("checkouts", nargs="*", type=Path, default=[HERE])
    parser.add_argument("--studies", nargs="+", choices=list(STUDIES), default=list(STUDIES))
    parser.add_argument("--out", type=Path, default=Path("before"), help="folder for what is found")
    args = parser.parse_args()
    table: dict[str, dict[str, float]] = {}
    names = [str(checkout) for checkout in args.checkouts]
    for study in args.studies:
        for number, (name, checkout) in enumerate(zip(names, args.checkouts, strict=True)):
            folder = args.out / f"{number}-{checkout.resolve().name}"
            folder.mkdir(parents=True, exist_ok=True)
            for what, value in STUDIES[study][1](measured(checkout.resolve(), study, folder / f"{study}.json")):
                table.setdefault(what, {})[name] = value
    if args.json:
        print(
            json.dumps(
                {"command": "before", "checkouts": names, "rows": [{"what": key, **row} for key, row in table.items()]}
            )
        )
        return
    print("| what | " + " | ".join(names) + " |")
    print("|---" * (len(names) + 1) + "|")
    for what, row in table.items():
        print(f"| {what} | " + " | ".join(f"{row[name]:.1f}" if name in row else "" for name in names) + " |")


if __name__ == "__main__":
    main()
