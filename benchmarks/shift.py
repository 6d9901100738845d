"""Does the monitor see a shift, and name it? `python benchmarks/shift.py [--json] [--quick]` prints tables.

A pool of scenes is encoded once. From it are drawn: a reference, and current sets in which a share of the scenes was
forced to one value of one attribute (as `scenes:shift=…` does). Each method's threshold is the 95th percentile of its
own statistic over pairs without a shift, so every method raises 5 % false alarms; the row of 0 % is of other such
pairs. "together" is the test of `summand shift` itself (units and embedding along texts, permutations) at p ≤ 0.05.
Detection, and whether the strongest row names the attribute (and the value), are counted over random attributes and
values. The second table is paper B's correlation: of each value's score with the truth, over unshifted scenes. The
third: scenes whose pixels were changed, and the measure that comes first.
"""

from __future__ import annotations

import argparse
import io
import json
import time

import numpy as np
import torch
from PIL import Image, ImageEnhance, ImageFilter

import summand
from summand.border import foreign
from summand.data import open_source
from summand.scenes import ATTRIBUTES
from summand.studies.shift.concepts import Concepts
from summand.studies.shift.pixels import compare_pixels, of_pictures
from summand.studies.shift.readings import Measured, measure
from summand.studies.shift.reference import Reference, make_reference
from summand.studies.shift.scores import concept_units
from summand.studies.shift.statistics import kolmogorov_smirnov, mmd, permuted, point_biserial
from summand.survey import Group
from summand.survey.profile import profile
from summand.text.pools import pool


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a small pool and few trials")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--pool", type=int, default=8000, help="scenes to draw from")
    parser.add_argument("--reference", type=int, default=2000)
    parser.add_argument("--current", type=int, default=500)
    parser.add_argument("--trials", type=int, default=60, help="shifted pairs a share")
    parser.add_argument("--null", type=int, default=200, help="pairs without a shift")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5])
    args = parser.parse_args()
    if args.quick:
        args.pool, args.reference, args.current, args.trials, args.null = 1500, 600, 200, 12, 40

    start = time.time()
    model = summand.load(args.model)
    source = open_source(f"scenes:count={args.pool},seed=11")
    # What is watched (the heads' labels) is chosen on other scenes than those that are compared.
    watched = make_reference(
        model,
        open_source("scenes:count=1000,seed=12" if not args.quick else "scenes:count=300,seed=12"),
        pool("scenes"),
    )
    everything = measure(model, source, watched.readings)
    table = source.attributes()
    rng = np.random.default_rng(0)

    # The test together has its level from permutations, not from these pairs.
    null = [statistics(watched, everything, *draw(table, rng, args)) for _ in range(args.null)]
    thresholds = {name: float(np.quantile([found[name][0] for found in null], 0.95)) for name in null[0]}
    thresholds["together"] = -0.05
    rows = []
    for share in args.shares:
        hits: dict[str, list[tuple[bool, bool, bool]]] = {name: [] for name in thresholds}
        for _ in range(args.trials):
            attribute = str(rng.choice(list(ATTRIBUTES)))
            value = ATTRIBUTES[attribute][rng.integers(len(ATTRIBUTES[attribute]))]
            pair = draw(table, rng, args, attribute, value, share)
            found = statistics(watched, everything, *pair)
            found["together"] = together(watched, everything, *pair)
            for name, (strength, said, said_value) in found.items():
                hits[name].append(
                    (strength >= thresholds[name], said == attribute, said == attribute and said_value == str(value))
                )
        for name, seen in hits.items():
            detected, named, valued = np.mean(seen, axis=0)
            names = name in ("units", "embedding along texts", "together")
            rows.append({"share": share, "method": name, "detected": float(detected),
                         "names_attribute": float(named) if names else None,
                         "names_value": float(valued) if names else None})  # fmt: skip
    correlations = correlate(model, args.quick)
    along = everything.embeddings @ watched.concepts.directions.numpy().T
    correlations[f"{model.name}, embedding along the text"] = by_attribute(along, watched.concepts, table)
    pixels = low_level(200 if args.quick else 500)
    if args.json:
        options = {name: value for name, value in vars(args).items() if name != "json"}
        print(json.dumps({"command": "shift benchmark", "model": args.model, "data": source.label, "options": options,
                          "rows": rows, "thresholds": thresholds, "correlations": correlations, "pixels": pixels,
                          "seconds": time.time() - start}))  # fmt: skip
        return
    methods = list(thresholds)
    print(f"Detection at 5 % false alarms, {args.reference} reference, {args.current} current scenes, {args.model}:\n")
    print(
        "| share of scenes changed | "
        + " | ".join(methods)
        + " | units name the attribute | … and the value | along texts: attribute | value | together: attribute | value"
        + " |"
    )
    print("|---" * (len(methods) + 7) + "|")
    for share in args.shares:
        here = {row["method"]: row for row in rows if row["share"] == share}
        naming = [here[name] for name in ("units", "embedding along texts", "together")]
        cells = [f"{here[name]['detected']:.0%}" for name in methods]
        cells += [f"{row[key]:.0%}" for row in naming for key in ("names_attribute", "names_value")]
        print(f"| {share:.0%} | " + " | ".join(cells) + " |")
    print("\nPoint-biserial correlation of a value's score with the truth, mean over the values of the attribute:\n")
    print("| score | " + " | ".join(ATTRIBUTES) + " |")
    print("|---" * (len(ATTRIBUTES) + 1) + "|")
    for name, found in correlations.items():
        print(f"| {name} | " + " | ".join(f"{found[attribute]:.2f}" for attribute in ATTRIBUTES) + " |")
    print("\nScenes whose pixels were changed: the measure that moved most, and its distance:\n")
    print("| change | named first | distance | next |")
    print("|---|---|---|---|")
    for row in pixels:
        print(f"| {row['change']} | {row['first']} | {row['distance']:.2f} | {row['next']} |")
    right = sum(row["change"].split(",")[0] == row["measure"] for row in pixels)
    print(f"\n{right} of {len(pixels)} changes are named first.")


def low_level(count: int) -> list[dict]:
    """Pixels of scenes, changed in eight ways, against those of other scenes."""
    before = of_pictures(summand.scenes.sample(count, seed=21).images)
    after = [Image.fromarray(image) for image in summand.scenes.sample(count // 2, seed=22).images]
    rng, rows = np.random.default_rng(0), []

    def jpeg(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=60)
        return Image.open(file).convert("RGB")

    def noisy(image: Image.Image) -> Image.Image:
        array = np.asarray(image) + rng.normal(0, 5, (*image.size[::-1], 3))
        return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8))

    changes = {
        "brightness, × 0.8": lambda image: ImageEnhance.Brightness(image).enhance(0.8),
        "contrast, × 0.75": lambda image: ImageEnhance.Contrast(image).enhance(0.75),
        "colour, × 0.7": lambda image: ImageEnhance.Color(image).enhance(0.7),
        "sharpness, blur of 0.5 pixels": lambda image: image.filter(ImageFilter.GaussianBlur(0.5)),
        "compression, JPEG 60": jpeg,
        "noise, 5 of 255": noisy,
        "size, × 0.75": lambda image: image.resize((image.width * 3 // 4, image.height * 3 // 4)),
        "aspect, height × 0.9": lambda image: image.resize((image.width, image.height * 9 // 10)),
    }
    for name, change in changes.items():
        first, second, *_ = compare_pixels(before, of_pictures([change(image) for image in after]), 0.0025)
        said = first.said if first.changed else "nothing"
        rows.append({"change": name, "measure": first.measure if first.changed else None, "first": said,
                     "distance": first.distance, "next": f"{second.measure} {second.distance:.2f}"})  # fmt: skip
    return rows


def together(watched: Reference, everything: Measured, reference: np.ndarray, current: np.ndarray) -> tuple:
    """−p of units and embedding along texts in one test, and the attribute and value of the smallest p of a word."""
    known, columns = watched.concepts, np.array(watched.readings.concepts)
    sides = []
    for part in (everything.rows(reference), everything.rows(current)):
        sides.append((part.readings, part.embeddings @ known.directions.numpy().T))
    p, (of_units, of_words) = foreign(permuted)(*sides, 399, 0, counts=(1, 2))
    least = of_words.copy()
    np.minimum.at(least, columns, of_units)
    moved = np.abs(sides[1][1].mean(axis=0) - sides[0][1].mean(axis=0)) / sides[0][1].std(axis=0)
    best = int(np.lexsort((-moved, least))[0])
    return -p, known.properties[best], known.values[best]


def draw(table, rng, args, attribute=None, value=None, share=0.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a reference and of a current set: disjoint, in the current one a share drawn from the scenes that have
    the value."""
    order = rng.permutation(len(table))
    reference, rest = order[: args.reference], order[args.reference :]
    current = rest[: args.current].copy()
    if attribute is not None:
        spare = rest[args.current :]
        with_value = spare[table[attribute].to_numpy()[spare] == value]
        forced = rng.random(args.current) < share
        current[forced] = rng.choice(with_value, int(forced.sum()))
    return reference, current


def statistics(watched: Reference, everything: Measured, reference: np.ndarray, current: np.ndarray) -> dict:
    """For each method how strongly it speaks, and the attribute and value that it names."""
    before, after = everything.rows(reference), everything.rows(current)
    known, columns = watched.concepts, np.array(watched.readings.concepts)
    distance, _ = kolmogorov_smirnov(before.readings, after.readings)
    directions = known.directions.numpy()
    along, _ = kolmogorov_smirnov(before.embeddings @ directions.T, after.embeddings @ directions.T)
    plain, _ = kolmogorov_smirnov(before.embeddings, after.embeddings)
    strongest = int(columns[np.minimum(distance, along[columns]).argmax()])
    best = int(along.argmax())
    some = np.linspace(0, len(before) - 1, min(len(before), len(after))).astype(int)
    return {
        "units": (float(distance.max()), known.properties[strongest], known.values[strongest]),
        "embedding along texts": (float(along.max()), known.properties[best], known.values[best]),
        "embedding KS": (float(plain.max()), None, None),
        "embedding MMD": (mmd(before.embeddings[some], after.embeddings, permutations=0)[0], None, None),
    }


def correlate(model: summand.Model, quick: bool) -> dict[str, dict[str, float]]:
    """Mean over values of the correlation between the value's score and whether a scene has it."""
    from summand.studies.shift.concepts import concepts

    judge = open_source(f"scenes:count={200 if quick else 2000},seed=13")
    table, found = judge.attributes(), {}
    for name, other in (
        ("scenes-rn, 5 pairs (paper B)", summand.load("scenes-rn")),
        (f"{model.name}, 5 neurons", model),
    ):
        known = concepts(other, pool("scenes"))
        made = None
        if not hasattr(other.tower, "pair_directions"):
            learn = open_source(f"scenes:count={200 if quick else 2000},seed=14")
            made = profile(
                other,
                learn,
                [Group("neurons", layer) for layer in range(other.tower.layers - 3, other.tower.layers - 1)],
            )
        scores = concept_units(other, known.directions, known.names, made).measure(other, judge).numpy()
        found[name] = by_attribute(scores, known, table)
    return found


def by_attribute(scores: np.ndarray, known: Concepts, table) -> dict[str, float]:
    """scores: [image, concept]."""
    found = {}
    for attribute in ATTRIBUTES:
        truth = table[attribute].astype(str)
        each = [point_biserial(scores[:, i], (truth == known.values[i]).to_numpy()) for i in known.of(attribute)]
        found[attribute] = float(np.mean(each))
    return found


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
