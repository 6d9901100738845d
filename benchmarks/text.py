"""What do words cost? `python benchmarks/text.py [--json] [--quick] [--threads N]`

TextSpan of 64 heads of 64 channels in 768 dimensions, 3,500 texts, m = 60, from the moments of few and of many images;
and sparse codes of 3,072 directions in 512 dimensions over 30,000 atoms, m = 64, next to scikit-learn on a few of the
same targets: `orthogonal_mp`, and the way of the released code, `SparseCoder`'s Gram matrix of all atoms, copied for
every target (its cost with the Gram matrix at hand; the matrix itself is not counted). Times are by the clock, on two
threads; on one thread they are of the processor, so that others on the machine count little. The memory is the peak of
a process of its own. Vectors are random: times hardly depend on them. And texts of the pool `general` through the text
tower of ViT-B-32 with random weights: by the model's own encode_text, and as Summand encodes them, without the padding
that the token which is read out cannot see.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from sklearn.linear_model import orthogonal_mp, orthogonal_mp_gram

import summand
from summand import Effects, Moments, sparse_code, textspan
from summand.text.pools import pool
from summand.text.sparse import prepare_atoms

THREADS = 2
ENCODED = 300
HEADS, CHANNELS, WIDTH, TEXTS, CHOSEN = 64, 64, 768, 3_500, 60
TARGETS, EMBED, ATOMS, SIZE = 3_072, 512, 30_000, 64


def seconds(work: Callable[[], object]) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    started = clock()
    work()
    return clock() - started


def head_moments(images: int) -> Moments:
    """Of heads whose channels have strengths of their own, as they do."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(HEADS, CHANNELS, WIDTH, generator=generator)
    strengths = torch.logspace(0, -2, CHANNELS)
    moments = Moments()
    for start in range(0, images, 500):
        count = min(500, images - start)
        moments.update(Effects(torch.randn(count, HEADS, CHANNELS, generator=generator) * strengths, directions))
    return moments


def span_seconds(images: int) -> float:
    texts = torch.nn.functional.normalize(torch.randn(TEXTS, WIDTH, generator=torch.Generator().manual_seed(1)), dim=1)
    moments = head_moments(images)
    return seconds(lambda: textspan(moments, texts, CHOSEN))


def vectors(atoms: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(TARGETS, EMBED, generator=generator), torch.randn(atoms, EMBED, generator=generator)


def code_seconds(targets: int, atoms: int, nonnegative: bool = False) -> float:
    directions, dictionary = vectors(atoms)
    return seconds(lambda: sparse_code(directions[:targets], dictionary, SIZE, nonnegative=nonnegative))


def scikit_learn_seconds(targets: int, atoms: int) -> float:
    """Per target: the atoms as columns, copied by scikit-learn for each call of one target."""
    directions, dictionary = vectors(atoms)
    columns = np.asfortranarray(prepare_atoms(dictionary).numpy().T)
    rows = directions[:targets].numpy()
    return seconds(lambda: [orthogonal_mp(columns, row, n_nonzero_coefs=SIZE) for row in rows]) / targets


def released_seconds(targets: int, atoms: int) -> float:
    """Per target: from the Gram matrix [atom, atom], which is copied for every target, as `SparseCoder` does."""
    directions, dictionary = vectors(atoms)
    prepared = prepare_atoms(dictionary).numpy()
    gram, along = prepared @ prepared.T, prepared @ directions[:targets].numpy().T
    return seconds(lambda: orthogonal_mp_gram(gram, along, n_nonzero_coefs=SIZE)) / targets


def some_texts(count: int) -> list[str]:
    return [str(text) for text in np.random.default_rng(3).permutation(pool("general").texts)[:count]]


def encode_seconds(count: int) -> float:
    model, texts = summand.load("ViT-B-32", random_init=True), some_texts(count)
    return seconds(lambda: model.text_batch(texts, cache=False))


def padded_seconds(count: int) -> float:
    model = summand.load("ViT-B-32", random_init=True)
    batches = [model.text_tokens(some_texts(count)[start : start + 256]) for start in range(0, count, 256)]
    return seconds(lambda: [model.text_tower.encode(tokens) for tokens in batches])


def alone(what: str, *numbers: int) -> dict[str, float]:
    """Seconds and peak memory in MB of a fresh process that does one thing, on as many threads as this one."""
    threads = str(torch.get_num_threads())
    command = [sys.executable, __file__, "--threads", threads, "--only", what, *map(str, numbers)]
    environment = os.environ | {f"{library}_NUM_THREADS": threads for library in ("OMP", "OPENBLAS", "MKL")}
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)  # noqa: S603 (this file itself)
    return json.loads(run.stdout)


ALONE = {
    "span": span_seconds,
    "code": code_seconds,
    "nonnegative": lambda targets, atoms: code_seconds(targets, atoms, nonnegative=True),
    "sklearn": scikit_learn_seconds,
    "released": released_seconds,
    "texts": encode_seconds,
    "padded": padded_seconds,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="an eighth of the targets, a tenth of the atoms")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--only", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.only:
        taken = ALONE[args.only[0]](*map(int, args.only[1:]))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": taken, "peak_mb": peak}))
        return
    targets, atoms = (TARGETS // 8, ATOMS // 10) if args.quick else (TARGETS, ATOMS)
    rows = []

    def note(what: str, bound: str, **found: float) -> dict[str, float]:
        rows.append({"what": what, "bound": bound, **found})
        print(f"{what}: {found}", file=sys.stderr)
        return found

    span = f"`textspan`, {HEADS} heads of {CHANNELS} × {WIDTH}, {TEXTS:,} texts, m = {CHOSEN}"
    for images in (500, 5_000):
        note(f"{span}, moments of {images:,} images", "≤ 20 s", **alone("span", images))
    code = f"`sparse_code`, {targets:,} targets × {EMBED}, {atoms:,} atoms, m = {SIZE}"
    signed = note(code, "≤ 180 s, ≤ 4,096 MB", **alone("code", targets, atoms))
    some = targets // 8
    note(f"the same, non-negative, {some:,} of the targets", "", **alone("nonnegative", some, atoms))
    for way, name, few in (("sklearn", "`orthogonal_mp`", 4), ("released", "the released code's way", 2)):
        found = alone(way, few, atoms)
        ratio = found["seconds"] / (signed["seconds"] / targets)
        note(f"scikit-learn, {name}, per target", "≥ 20 ×" if way == "sklearn" else "", **found, ratio=ratio)
    texts = f"{ENCODED} texts of the pool `general` through ViT-B-32"
    ours = note(texts, "", **alone("texts", ENCODED))
    found = alone("padded", ENCODED)
    note("the same by the model's own encode_text", "", **found, ratio=found["seconds"] / ours["seconds"])
    if args.json:
        print(json.dumps({"command": "text", "options": {"threads": args.threads, "quick": args.quick}, "rows": rows}))
        return
    print("| what | seconds | peak memory | Summand is faster by | bound |")
    print("|---|---|---|---|---|")
    for row in rows:
        ratio = f"{row['ratio']:.0f} ×" if "ratio" in row else ""
        print(f"| {row['what']} | {row['seconds']:.2f} | {row['peak_mb']:.0f} MB | {ratio} | {row['bound']} |")


if __name__ == "__main__":
    main()
