"""Are latents easier to put into words than neurons? `python benchmarks/latents.py [--json]`

Sparse autoencoders of three widths and sparsities are trained on the stream of a layer of scenes-vit; their latents,
and the layer's neurons beside them, are surveyed and labelled alike. Right is a unit whose label is proven and names
the attribute that explains most of the variance of the unit's effect on fresh scenes. Latents that no surveyed scene
wakes have no words and count as not proven. Widths, sparsities and how they are trained were chosen on other scenes.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch

import summand
from summand.effects.effects import Effects
from summand.studies.truth.scores import anova_shares

SIZES = ((128, 4), (256, 6), (512, 3))
EPOCHS = 8
TRAINED, LABELLED, JUDGED = 9, 101, 202  # seeds of the three samples of scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--layer", type=int, default=3)
    parser.add_argument("--train", type=int, default=3000, help="scenes that the autoencoders are trained on")
    parser.add_argument("--count", type=int, default=1600, help="scenes that labels are made on")
    parser.add_argument("--judged", type=int, default=400, help="fresh scenes that judge")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, rows = summand.load("scenes-vit"), []
    train, labelled, judged = (
        summand.scenes.sample(count, seed=seed)
        for count, seed in ((args.train, TRAINED), (args.count, LABELLED), (args.judged, JUDGED))
    )
    if not args.json:
        print("| units | how many | stream explained | alive | proven | right of the proven | right of all |")
        print("|---" * 7 + "|")
    for size in (None, *SIZES):
        named, kind, made, about = (
            f"neurons of layer {args.layer}",
            "neurons",
            model,
            {"explained": None, "alive": None},
        )
        if size is not None:
            found = summand.train_autoencoder(
                model,
                list(train.images),
                layer=args.layer,
                latents=size[0],
                top_k=size[1],
                epochs=EPOCHS,
                progress=False,
            )
            named, kind, made = f"{size[0]} latents, {size[1]} a token", "latents", model.with_autoencoder(found.sae)
            about = {key: float(found.rows[key].tolist()[0]) for key in about}
        rows.append({"units": named, **about, **scored(made, kind, args.layer, labelled, judged)})
        if not args.json:
            row = {key: "" if value is None else value for key, value in rows[-1].items()}
            row |= {key: f"{value:.0%}" for key, value in row.items() if isinstance(value, float)}
            print(
                "| {units} | {count} | {explained} | {alive} | {proven} | {right_of_proven} | {right} |".format(**row),
                flush=True,
            )
    if args.json:
        print(json.dumps({"command": "latents", "options": vars(args), "rows": rows}))


def scored(model: summand.Model, kind: str, layer: int, labelled: Any, judged: Any) -> dict[str, Any]:
    """How many units have a proven label, and how many one that names the true attribute."""
    table = summand.survey(model, list(labelled.images), units=f"{kind}:{layer}", progress=False).label(progress=False)
    shares = anova_shares(effects_of(model, judged.images, kind, layer), judged.attributes).fillna(0.0)
    proven = [str(verdict) == "proven" for verdict in table["verdict"]]
    pairs = zip(table["attribute"], shares.idxmax(axis=1), strict=True)
    right = sum(known and named == true for known, (named, true) in zip(proven, pairs, strict=True))
    count = len(table)
    return {
        "count": count,
        "proven": sum(proven) / count,
        "right_of_proven": right / max(1, sum(proven)),
        "right": right / count,
    }


def effects_of(model: summand.Model, images: Any, kind: str, layer: int) -> Effects:
    """Of fresh scenes, a batch at a time."""
    found = []
    for start in range(0, len(images), 50):
        x = model.preprocess(images[start : start + 50])
        found.append(model.second_order(x, layer) if kind == "neurons" else model.latents(x, layer))
    first = found[0]
    return first.with_coefficients(torch.cat([each.coefficients for each in found]))


if __name__ == "__main__":
    main()
