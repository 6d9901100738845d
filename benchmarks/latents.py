"""Are latents easier to put into words than neurons? `python benchmarks/latents.py [--json]`

Sparse autoencoders of three widths and sparsities are trained on the stream of a layer of scenes-vit; their latents,
and the layer's neurons beside them, are surveyed and labelled alike. Right is a unit whose label is proven and names
the attribute that explains most of the variance of the unit's effect on fresh scenes. Latents that no surveyed scene
wakes have no words and count as not proven.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch

import summand
from summand.effects.effects import Effects
from summand.scenes import attribute_of
from summand.studies.truth.scores import anova_shares

SIZES = ((128, 4), (256, 8), (512, 16))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--layer", type=int, default=3)
    parser.add_argument("--train", type=int, default=1000, help="scenes that the autoencoders are trained on")
    parser.add_argument("--count", type=int, default=400, help="scenes that labels are made on")
    parser.add_argument("--judged", type=int, default=400, help="fresh scenes that judge")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model, rows = summand.load("scenes-vit"), []
    if not args.json:
        print(
            "| units | how many | stream explained | proven | right of the proven | right of all |\n" + "|---" * 6 + "|"
        )
    for size in (None, *SIZES):
        rows.append(scored(model, size, args))
        if not args.json:
            row = dict(rows[-1])
            row["explained"] = "" if row["explained"] is None else f"{row['explained']:.0%}"
            print(
                "| {units} | {count} | {explained} | {proven:.0%} | {right_of_proven:.0%} | {right:.0%} |".format(**row)
            )
    if args.json:
        print(json.dumps({"command": "latents", "options": vars(args), "rows": rows}))


def scored(model: summand.Model, size: tuple[int, int] | None, args: argparse.Namespace) -> dict[str, Any]:
    kind, layer, explained = ("neurons" if size is None else "latents"), args.layer, None
    if size is not None:
        found = summand.train_autoencoder(model, f"scenes:count={args.train},seed=9", layer=layer, latents=size[0],
                                          top_k=size[1], epochs=8, progress=False)  # fmt: skip
        model, explained = model.with_autoencoder(found.sae), float(found.rows["explained"].tolist()[0])
    run = summand.survey(model, f"scenes:count={args.count},seed=101", units=f"{kind}:{layer}", progress=False)
    table = run.label(progress=False)
    fresh = summand.scenes.sample(args.judged, seed=202)
    effects = effects_of(model, fresh.images, kind, layer)
    shares = anova_shares(effects, fresh.attributes).fillna(0.0)
    true = shares.idxmax(axis=1).tolist()
    proven = [str(verdict) == "proven" for verdict in table["verdict"]]
    named = [attribute_of(texts[0]) if len(texts) else None for texts in table["texts"]]
    right = [known and name == truth for known, name, truth in zip(proven, named, true, strict=True)]
    label = f"neurons of layer {layer}" if size is None else f"{size[0]} latents, {size[1]} a token"
    return {
        "units": label,
        "count": len(table),
        "explained": explained,
        "proven": sum(proven) / len(table),
        "right_of_proven": sum(right) / max(1, sum(proven)),
        "right": sum(right) / len(table),
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
