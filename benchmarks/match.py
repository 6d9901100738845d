"""Do words look at what they name, and do heads agree on what two pictures share? `python benchmarks/match.py [--json]`

Words: scenes with two groups and captions of both ("a red star and a blue ring"): the row of an attribute's word, as a
map, against the mask of its group (pixel AP), and whether it is larger, on average, on its own group than on the other
(own). Beside it the same of the whole caption's map and of raw attention, which are one map for all words. Contrast:
the same caption with the two groups swapped, or the mean of other captions of the same form.

Heads: pairs of scenes that agree in one attribute alone, less the mean scene. Of the pair of heads furthest up: how
often both are labelled with it, and how often both carry it (the attribute that explains most of the variance of what a
head writes, by the scenes' true causes); of the five furthest up on average over the pairs of scenes, the same. Chance
is the share of all pairs of heads, "others" that of the pairs furthest up of pictures that share something else.
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
    parser.add_argument("--parts", default="words,heads")
    parser.add_argument("--count", type=int, default=200, help="two-group scenes")
    parser.add_argument("--pairs", type=int, default=100, help="pairs of scenes for each shared attribute")
    args = parser.parse_args()
    torch.set_num_threads(1)
    names = args.models.split(",") if "words" in args.parts else []
    rows = {name: of_words(summand.load(name), args.count) for name in names}
    heads = of_heads(summand.load("scenes-vit"), args.pairs) if "heads" in args.parts else []
    if args.json:
        print(json.dumps({"command": "match benchmark", "words": rows, "heads": heads}))
        return
    for name, found in rows.items():
        print(f"| {name}: map | colour AP | shape AP | colour own | shape own |\n|---|---|---|---|---|")
        for said, values in found.items():
            print(f"| {said} | {' | '.join(f'{values[key]:.2f}' for key in _KEYS)} |")
        print()
    print("| shared | values | most of a head | strongest: labelled | carry it | on average, five: labelled | carry it "
          "| others | chance |\n" + "|---" * 9 + "|")  # fmt: skip
    for row in heads:
        own = (f"{100 * row[key]:.0f} %" for key in ("labelled", "carried", "five labelled", "five carried",
                                                     "others labelled"))  # fmt: skip
        first = f"{row['values']} | {100 * row['share']:.0f} %" if "values" in row else " | "
        print(f"| {row['shared']} | {first} | {' | '.join(own)} | {100 * row['chance labelled']:.1f} % |")


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
    survey = summand.survey(model, "scenes:count=2500,seed=4242", units="heads", progress=False)
    table = survey.label().set_index("unit")["attribute"]
    usual = usual_image(model, open_source(f"scenes:count=500,seed={USUAL}"))
    scenes = summand.scenes.sample(1000, seed=PAIRS)
    codes = np.stack([scenes.causes.codes(name) for name in scenes.attributes], axis=1)
    written = np.stack([
        one.beyond(usual).heads.numpy()
        for start in range(0, len(scenes), 50)
        for one in terms_of(model.decompose(model.preprocess(scenes.images[start : start + 50])))
    ])  # fmt: skip
    heads = [f"{layer}.{head}" for layer in range(model.tower.layers) for head in range(model.tower.heads)]
    names, rng = [str(name) for name in scenes.attributes], np.random.default_rng(PAIRS)
    shares = explained(written, codes)
    said = {"labelled": table.loc[heads].to_numpy(), "carried": np.array(names)[shares.argmax(axis=0)]}
    pairs: dict[str, list[tuple[int, int]]] = {name: [] for name in names}
    while min(map(len, pairs.values())) < count:
        i, j = rng.integers(len(scenes), size=2)
        shared = np.flatnonzero(codes[i] == codes[j])
        if len(shared) == 1 and len(pairs[names[shared[0]]]) < count:
            pairs[names[shared[0]]].append((i, j))
    matrices = {name: np.stack([written[i] @ written[j].T for i, j in some]) for name, some in pairs.items()}
    first = {name: np.stack([strongest(one, 1)[0] for one in some]) for name, some in matrices.items()}
    rows = []
    for place, name in enumerate(names):
        row: dict[str, Any] = {"shared": name, "values": len(np.unique(codes[:, place]))}
        row["share"] = float(shares[place].max())
        for how, labels in said.items():
            own = labels == name
            others = np.concatenate([found for other, found in first.items() if other != name])
            row[how] = float(own[first[name]].all(axis=1).mean())
            row[f"five {how}"] = float(own[strongest(matrices[name].mean(axis=0), 5)].all(axis=1).mean())
            row[f"others {how}"] = float(own[others].all(axis=1).mean())
            row[f"chance {how}"] = float(own.mean()) ** 2
        rows.append(row)
    keys = [key for key in rows[0] if key not in ("shared", "values", "share")]
    return [*rows, {"shared": "mean", **{key: float(np.mean([row[key] for row in rows])) for key in keys}}]


def strongest(values: np.ndarray, most: int) -> np.ndarray:
    """The pairs of heads furthest up, [pair, 2]."""
    best = np.argsort(-values, axis=None, kind="stable")[:most]
    return np.stack(np.unravel_index(best, values.shape), axis=1)


def explained(written: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """share[attribute, head] = Σ_v n_v ‖μ_v − μ‖² / Σ_i ‖x_i − μ‖²."""
    near = written - written.mean(axis=0)
    total = np.square(near).sum(axis=(0, 2))
    found = []
    for code in codes.T:
        members = [code == value for value in np.unique(code)]
        found.append(sum(own.sum() * np.square(near[own].mean(axis=0)).sum(axis=1) for own in members) / total)
    return np.stack(found)


if __name__ == "__main__":
    main()
