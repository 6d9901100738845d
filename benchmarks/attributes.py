"""What is a head of? `python benchmarks/attributes.py [--json] [--seeds 0 1 2 3]` prints docs/benchmarks.md's.

Of every head of the last three layers the attribute that explains most of the variance of its effect on fresh scenes
(ANOVA), and what its label, made on other scenes, says that it is of: by its proven words alone, by what the label says
(`survey.words.attribute`: these, or what explains much more), and by what explains most, whatever the words. Beside it,
of how many heads without proven words the label still says something where the images were shuffled, and how much of a
head lists explain that mean nothing: values that are random directions, as long as the values' own differences.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import summand
from summand.scenes import ATTRIBUTES
from summand.studies.truth.scores import anova_shares
from summand.survey.words import Readings, words_of_units
from summand.text.components import shares_of_kinds
from summand.text.kinds import values_of_pool
from summand.text.pools import pool

LABELLED, JUDGED = 8100, 8200  # seeds of the scenes
RANDOM = (6, 12, 50, 100)  # values of a list that means nothing


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--models", nargs="+", default=["scenes-vit", "scenes-vit-tied"])
    parser.add_argument("--described", type=int, default=2000, help="scenes that labels are made on")
    parser.add_argument("--judged", type=int, default=2000, help="fresh scenes that judge")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3], help="of the scenes of labels and judges")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in args.models:
        heads = [head for seed in args.seeds for head in judged(summand.load(name), args, seed)]
        rows.append({"model": name, **scored(heads)})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps({"command": "attributes", "options": vars(args), "rows": rows}))
        return
    print("| heads of | which | right: by words | by the label | by the first property | the label says nothing | "
          "words right, label wrong | said though shuffled | random lists explain, median, most | a quarter or more |\n"
          + "|---" * 10 + "|")  # fmt: skip
    for row in rows:
        for which, found in row["found"].items():
            print(f"| {row['model']} | {which}, {found['heads']} | {found['words']} | {found['label']} | "
                  f"{found['first']} | {found['nothing']} | {found['lost']} | {found['shuffled']} | "
                  f"{found['random'][0]:.2f}, {found['random'][1]:.2f} | {100 * found['quarter']:.1f} % |")  # fmt: skip


def judged(model: summand.Model, args: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """One row a head: true, its share, and what the words, the label and the first property say."""
    layers = range(max(0, model.tower.layers - 3), model.tower.layers)
    run = summand.survey(model, f"scenes:count={args.described},seed={LABELLED + seed}", units="heads", progress=False)
    fresh = summand.survey(model, f"scenes:count={args.judged},seed={JUDGED + seed}", units="heads", keep=layers,
                           held_out=0, top=0, progress=False)  # fmt: skip
    truth = fresh.source().attributes()
    assert truth is not None
    shares = anova_shares(fresh.kept, truth.loc[:, list(ATTRIBUTES)])
    texts = pool("scenes").texts
    readings = Readings.of(run, values_of_pool(texts, model.encode_text(texts).cpu().double()))
    group, units = run.group("heads"), list(np.ndindex(len(layers), model.tower.heads))
    units = [(layers[row], head) for row, head in units]
    words, _ = words_of_units(run, group, readings, units, 3)
    mixed, _ = words_of_units(run, group, without_order(readings, seed), units, 3)
    random = explained_by_random(run, readings, units, seed)
    return [
        {
            "true": shares.iloc[row].idxmax(), "share": float(shares.iloc[row].max()), "words": words[row].worded,
            "label": words[row].kind, "first": words[row].shares[0][0],
            "shuffled": mixed[row].kind is not None and not mixed[row].proven, "random": random[row],
        }
        for row in range(len(units))
    ]  # fmt: skip


def without_order(readings: Readings, seed: int) -> Readings:
    """The images in another order than the units', for words and for properties."""
    draw, mixed = torch.Generator().manual_seed(seed), readings.shuffled(seed)
    read = {kind: codes[torch.randperm(len(codes), generator=draw)] for kind, codes in readings.read.items()}
    return Readings(mixed.values, mixed.choice, mixed.final, read)


def explained_by_random(run: summand.Survey, readings: Readings, units: list[Any], seed: int) -> list[list[float]]:
    """Of every unit, what each list of random values explains."""
    draw, texts = torch.Generator().manual_seed(seed), readings.values.embeddings
    middle = texts.mean(dim=0)
    length = float((texts - middle).norm(dim=1).mean())
    images = run.embeddings.double()[torch.tensor(run.images["held_out"].to_numpy())]
    read: dict[str, Tensor] = {}
    for count in RANDOM:
        directions = torch.randn(count, texts.shape[1], generator=draw, dtype=torch.float64)
        read[str(count)] = (images @ (middle + length * F.normalize(directions, dim=1)).T).argmax(dim=1)
    coefficients = run.held_out_coefficients("heads")
    assert coefficients is not None
    found = shares_of_kinds(coefficients, run.rank_one("heads").basis.double().gram, read)
    return [[float(shares[unit]) for shares in found.values()] for unit in units]


def scored(heads: list[dict[str, Any]]) -> dict[str, Any]:
    found = {}
    for which, least in (("of one thing", 0.5), ("all", 0.0)):
        some = [head for head in heads if head["share"] >= least]
        right = {name: [head[name] == head["true"] for head in some] for name in ("words", "label", "first")}
        random = np.array([head["random"] for head in some])
        found[which] = {
            "heads": len(some), **{name: int(np.sum(each)) for name, each in right.items()},
            "nothing": sum(head["label"] is None for head in some),
            "lost": int(np.sum(np.array(right["words"]) & ~np.array(right["label"]))),
            "shuffled": sum(head["shuffled"] for head in some),
            "random": [float(np.median(random)), float(random.max())],
            "quarter": float((random >= 0.25).mean()),
        }  # fmt: skip
    return {"found": found}


if __name__ == "__main__":
    main()
