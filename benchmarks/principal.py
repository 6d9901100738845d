"""From how many top images should r_n be made? `python benchmarks/principal.py [--images 2000]` prints a table.

For every neuron with later attention: r_n from its k largest centred effects, its sparse code over the pool, and what
that description is worth on images that were held out (correlation with x_n = ⟨φ_n − b_n, r_n⟩, beside random texts
fitted to r_n as well as they can be). "all" takes every image, through the covariance.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

import summand
from summand import Moments, TopImages, rank_one
from summand.data import open_source
from summand.data.sources import read_batch
from summand.effects.second_order import second_orders
from summand.models import pixels_of
from summand.survey.making import held_out_images
from summand.text.evidence import evidence
from summand.text.pools import pool
from summand.text.sparse import prepare_atoms, sparse_code

KS = (5, 10, 20, 32, 41, 50, 100, "1 %", "2 %", "5 %", "10 %", "25 %", "all")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--images", type=int, default=2000, help="that r_n is made from")
    parser.add_argument("--held-out", type=int, default=1000, help="that judge")
    parser.add_argument("--size", type=int, default=10, help="texts a neuron")
    parser.add_argument("--draws", type=int, default=20, help="random descriptions")
    parser.add_argument("--seed", type=int, default=606)
    args = parser.parse_args()

    model = summand.load("scenes-vit")
    layers = list(range(model.tower.layers - 1))
    texts = model.encode_text(pool("scenes").texts)
    source = open_source(f"scenes:count={args.images + args.held_out},seed={args.seed}")
    aside = held_out_images(len(source), args.held_out / len(source))
    used = np.setdiff1d(np.arange(len(source)), aside)
    most = max(_count(k, len(used)) for k in KS if k != "all")

    moments = {layer: Moments() for layer in layers}
    outputs = []
    for effects, pixels in passed(model, source, used, layers):
        outputs.append(torch.nn.functional.normalize(model.encode_image(pixels).double(), dim=1))
        for layer in layers:
            moments[layer].update(effects[layer])
    tops = {layer: TopImages(most, moments[layer].mean) for layer in layers}
    seen = 0
    for effects, pixels in passed(model, source, used, layers):
        for layer in layers:
            tops[layer].update(effects[layer], range(seen, seen + len(pixels)))
        seen += len(pixels)
    held = [(effects, model.encode_image(pixels)) for effects, pixels in passed(model, source, aside, layers)]
    judged = torch.nn.functional.normalize(torch.cat([out for _, out in held]).double(), dim=1)
    judged = judged - torch.cat(outputs).mean(dim=0)

    rows = []
    for k in KS:
        found = []
        for layer in layers:
            rank = rank_one(moments[layer] if k == "all" else first(tops[layer], _count(k, len(used))))
            signal = torch.cat([rank.project(effects[layer]) for effects, _ in held])
            code = sparse_code(rank.directions.float(), texts, args.size)
            said = (rank.directions, code.indices, code.coefficients)
            found.append(evidence(signal, judged, *said, prepare_atoms(texts.double()), draws=args.draws))
        columns = {
            "evidence": [one.supported.double() for one in found],
            "correlation": [one.score.correlation for one in found],
            "random": [one.random.correlation for one in found],
            "auc": [one.score.auc for one in found],
        }
        rows.append(
            {"k": str(k), "images": len(used) if k == "all" else _count(k, len(used))}
            | {name: float(torch.cat(column).nanmean()) for name, column in columns.items()}
        )
        if not args.json:
            print({key: round(v, 4) if isinstance(v, float) else v for key, v in rows[-1].items()}, flush=True)
    if args.json:
        print(json.dumps({"command": "principal", "model": model.name, "images": len(used), "rows": rows}))


def passed(model, source, indices, layers):
    for start in range(0, len(indices), 100):
        pixels = pixels_of(model, read_batch(source, indices[start : start + 100].tolist(), []).images)
        yield second_orders(model.tower, pixels, layers)[0], pixels


def first(top: TopImages, k: int) -> TopImages:
    """The first k of the images that were kept."""
    kept = (top.ids[..., :k], top.norms[..., :k], top.coefficients[..., :k, :])
    return TopImages.restore(k, top.count, top.mean, kept, top.sketch, top.basis, top.units, top.paths, top.path_index)


def _count(k: int | str, images: int) -> int:
    return max(2, round(float(k[:-2]) / 100 * images)) if isinstance(k, str) else min(k, images)


if __name__ == "__main__":
    main()
