"""Do words look at what they name, and do heads agree on what two pictures share? `python benchmarks/match.py [--json]`

Words: scenes with two groups and captions of both ("a red star and a blue ring"): the row of an attribute's word, as a
map, against the mask of its group (pixel AP), and whether it is larger, on average, on its own group than on the other
(own). Beside it the same of the whole caption's map and of raw attention, which are one map for all words. Contrast:
the same caption with the two groups swapped, or the mean of other captions of the same form.

Heads: pairs of scenes that agree in one attribute alone: the share of the pairs of heads furthest up, of the images
less the mean image, of which both heads are labelled with it; chance is the share of all pairs of heads, and "others"
that of the pairs furthest up of pictures that share another attribute.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import average_precision_score

import summand
from summand.data import open_source
from summand.maps.baselines.attention import raw_attention
from summand.maps.match import Match, Side, image_side, text_side
from summand.maps.placing import placed
from summand.maps.token_terms import terms_of, usual_image
from summand.models import pixels_of

WORDS, PAIRS, USUAL = 5151, 5252, 5353  # seeds
_FEWEST = 20  # pixels of a group that can be seen


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--models", default="scenes-vit,scenes-rn")
    parser.add_argument("--count", type=int, default=200, help="two-group scenes")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of scenes for each shared attribute")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = {name: of_words(summand.load(name), args.count) for name in args.models.split(",")}
    heads = of_heads(summand.load("scenes-vit"), args.pairs)
    if args.json:
        print(json.dumps({"command": "match benchmark", "words": rows, "heads": heads}))
        return
    for name, found in rows.items():
        print(f"| {name}: map | colour AP | shape AP | colour own | shape own |\n|---|---|---|---|---|")
        for said, values in found.items():
            print(f"| {said} | {' | '.join(f'{values[key]:.2f}' for key in _KEYS)} |")
        print()
    print("| shared | strongest pair | strongest 5 | others, strongest | chance |\n|---|---|---|---|---|")
    for row in heads:
        numbers = " | ".join(f"{100 * row[key]:.0f} %" for key in ("first", "five", "others"))
        print(f"| {row['shared']} | {numbers} | {100 * row['chance']:.1f} % |")


_KEYS = ("colour AP", "shape AP", "colour own", "shape own")


def of_words(model: summand.Model, count: int) -> dict[str, dict[str, float]]:
    scenes = summand.scenes.sample(count, seed=WORDS, groups=2)
    tables = (scenes.attributes, scenes.second)
    phrases = [[f"a {table.colour[i]} {table['shape'][i]}" for table in tables] for i in range(count)]
    captions = [" and ".join(both) for both in phrases]
    swapped = [" and ".join(reversed(both)) for both in phrases]
    found: dict[str, dict[str, list[float]]] = {}
    for i, image in enumerate(scenes.images):
        masks = scenes.group_masks[i]
        if min(mask.sum() for mask in masks) < _FEWEST:
            continue
        picture = Image.fromarray(image)
        side = image_side(model, picture)
        others = [captions[(i + step) % count] for step in range(1, 41)]
        ways = {"row of the word": None, "less the swapped caption": [swapped[i]], "less other captions": others}
        sides = {said: text_side(model, captions[i], None, texts) for said, texts in ways.items()}
        pixels = pixels_of(model, [picture])
        fixed = {
            "map of the whole caption": whole(side, model.encode_text(captions[i])[0]),
            "raw attention": raw_attention(model, pixels, model.encode_text("a star"))[0, 0].flatten().cpu().numpy(),
        }
        for word, attribute, own in ((2, "colour", 0), (3, "shape", 0), (6, "colour", 1), (7, "shape", 1)):
            rows = {said: Match(side, text).row(word).flatten() for said, text in sides.items()} | fixed
            for said, row in {**rows, "chance": np.zeros(side.grid[0] * side.grid[1])}.items():
                scores = found.setdefault(said, {key: [] for key in _KEYS})
                score(scores, attribute, placed_row(side, row), masks[own], masks[1 - own])
    return {said: {key: float(np.mean(values)) for key, values in keys.items()} for said, keys in found.items()}


def whole(side: Side, text: torch.Tensor) -> np.ndarray:
    """What every patch adds to the cosine with the text as a whole, its MLPs too."""
    return (side.terms.tokens[side.prefix :] @ text.cpu().double()).numpy()


def placed_row(side: Side, row: np.ndarray) -> np.ndarray:
    return placed(torch.from_numpy(row).reshape(1, 1, *side.grid).float(), (64, 64))[0, 0].numpy()


def score(scores: dict[str, list[float]], attribute: str, row: np.ndarray, own: np.ndarray, other: np.ndarray) -> None:
    scores[f"{attribute} AP"].append(float(average_precision_score(own.ravel(), row.ravel())))
    more, less = row[own & ~other].mean(), row[other & ~own].mean()
    scores[f"{attribute} own"].append(0.5 if more == less else float(more > less))


def of_heads(model: summand.Model, count: int) -> list[dict[str, Any]]:
    survey = summand.survey(model, "scenes:count=1000,seed=4242", units="heads", progress=False)
    table = survey.label().set_index("unit")["attribute"]
    usual = usual_image(model, open_source(f"scenes:count=500,seed={USUAL}"))
    scenes = summand.scenes.sample(1000, seed=PAIRS)
    codes = np.stack([scenes.causes.codes(name) for name in scenes.attributes], axis=1)
    terms = [
        one.beyond(usual).heads.numpy()
        for start in range(0, len(scenes), 50)
        for one in terms_of(model.decompose(model.preprocess(scenes.images[start : start + 50])))
    ]
    heads = [f"{layer}.{head}" for layer in range(model.tower.layers) for head in range(model.tower.heads)]
    labels = table.loc[heads].to_numpy()
    names, rng = list(scenes.attributes), np.random.default_rng(PAIRS)
    strongest = {name: [] for name in names}
    while min(map(len, strongest.values())) < count:
        i, j = rng.integers(len(scenes), size=2)
        shared = np.flatnonzero(codes[i] == codes[j])
        if len(shared) == 1 and len(strongest[names[shared[0]]]) < count:
            values = terms[i] @ terms[j].T
            best = np.argsort(-values, axis=None, kind="stable")[:5]
            strongest[names[shared[0]]].append(np.stack(np.unravel_index(best, values.shape), axis=1))
    rows = []
    for name in names:
        both = {
            said: np.array([(labels[pair] == name).all(axis=1) for pair in some]) for said, some in strongest.items()
        }
        others = np.concatenate([found[:, 0] for said, found in both.items() if said != name])
        share = float((labels == name).mean())
        rows.append({"shared": name, "first": float(both[name][:, 0].mean()), "five": float(both[name].mean()),
                     "others": float(others.mean()), "chance": share**2})  # fmt: skip
    mean = {key: float(np.mean([row[key] for row in rows])) for key in ("first", "five", "others", "chance")}
    return [*rows, {"shared": "mean", **mean}]


if __name__ == "__main__":
    main()
