"""match, find and compare on photographs, with no model of them at hand. `photos.py PHOTOS MASKS VECTORS`

scenes-vit has seen rendered scenes alone, and ViT-B-32 has random weights here: what they can be asked is what is known
of any photograph, its colours, what lies where, and its own mirror image.

- colours: the row of "red" of "a red object", less the same of other colours, against the pixels that are red by their
  hue (average precision, of photographs with 2 to 40 % of them); and "snow" against the masks of COCO.
- mirror image: a photograph matched with itself turned left to right, less the mean photograph: of the ten strongest
  pairs of patches, how many are one place (to a patch). two photographs: how many of the ten show one kind of thing, by
  the masks of COCO.
- find: the five heads that a colour predicts best: how they go with its share of the pixels (Spearman's ρ); and of a
  random ViT, in how many heads a text's vector is supported, of a trained ViT that it does not know.
- compare: what is named between models of which one saw nothing else than the other.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compare import noisy
from match import placed_row
from PIL import Image, ImageOps
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score

import summand
from summand.data import open_source
from summand.maps.baselines.attention import raw_attention
from summand.maps.match import Match, Side, image_side, text_side
from summand.maps.token_terms import usual_image
from summand.models import pixels_of
from summand.report.match import lines_between

HUES = {"red": (345, 15), "orange": (15, 40), "yellow": (40, 70), "green": (70, 160), "cyan": (160, 200),
        "blue": (200, 260), "purple": (260, 300), "pink": (300, 345)}  # degrees  # fmt: skip
STUFF = {"snow": 159, "sea": 155, "sand": 154, "grass": 193, "trees": 184}  # of COCO, and words of scenes
_STRONG, _BRIGHT = 0.35, 0.25  # saturation and value from which a pixel has a hue
_FEW, _MANY, _LINES, _UNITS = 0.02, 0.4, 10, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("masks", type=Path, help="of some of them: PNGs of COCO's categories, by the same names")
    parser.add_argument("vectors", type=Path, help=".npy [text, 512]: texts as a trained ViT-B-32 has them")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--parts", default="words,patches,find,compare")
    args = parser.parse_args()
    torch.set_num_threads(1)
    files = sorted(file for file in args.photos.iterdir() if file.suffix.lower() in (".jpg", ".jpeg"))
    masks = {file: args.masks / f"{file.stem}.png" for file in files}
    masks = {file: mask for file, mask in masks.items() if mask.exists()}
    models = {"scenes-vit": summand.load("scenes-vit"), "random ViT-B-32": summand.load("ViT-B-32", random_init=True)}
    run = {
        "words": lambda: of_words(models["scenes-vit"], files, masks),
        "patches": lambda: [of_patches(name, model, args.photos, masks) for name, model in models.items()],
        "find": lambda: of_find(models, args.photos, files, args.vectors),
        "compare": lambda: of_compare(models["scenes-vit"], args.photos),
    }
    found = {part: run[part]() for part in args.parts.split(",")}
    if args.json:
        print(json.dumps({"command": "photos benchmark", **found}))
        return
    for part, rows in found.items():
        print(f"\n{part}\n\n| {' | '.join(rows[0])} |\n{'|---' * len(rows[0])}|")
        for row in rows:
            said = (f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values())
            print(f"| {' | '.join(said)} |")


def hue_of(picture: np.ndarray, colour: str) -> np.ndarray:
    """Which pixels are of a colour."""
    hue, strong, bright = np.moveaxis(np.asarray(Image.fromarray(picture).convert("HSV"), dtype=float) / 255, 2, 0)
    low, high = HUES[colour]
    within = (360 * hue - low) % 360 < (high - low) % 360
    return within & (strong > _STRONG) & (bright > _BRIGHT)


def seen_mask(model: summand.Model, file: Path) -> np.ndarray:
    """A mask as the model sees the picture: its shorter side made to fit, the middle cut out."""
    height, width = model.tower.image_size
    return np.asarray(ImageOps.fit(Image.open(file), (width, height), Image.Resampling.NEAREST))


def of_words(model: summand.Model, files: list[Path], masks: dict[Path, Path]) -> list[dict[str, Any]]:
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    texts = {colour: [f"a {other} object" for other in HUES if other != colour] for colour in HUES}
    sides = {colour: text_side(model, f"a {colour} object", None, others) for colour, others in texts.items()}
    scenes = [f"a star in the {name}" for name in STUFF]
    sides |= {name: text_side(model, f"a star in the {name}", None, [s for s in scenes if name not in s])
              for name in STUFF}  # fmt: skip
    place = {name: next(i for i, (word, _) in enumerate(side.words) if word == name) for name, side in sides.items()}
    for file in files:
        picture = summand.data.open_images(file).image(0)
        side = image_side(model, picture)
        assert side.picture is not None
        truths = {colour: hue_of(side.picture, colour) for colour in HUES}
        if file in masks:
            truths |= {name: seen_mask(model, masks[file]) == number for name, number in STUFF.items()}
        attention = raw_attention(model, pixels_of(model, [picture]), sides["red"].unit[None].float())[0, 0]
        for name, truth in truths.items():
            if _FEW <= truth.mean() <= (_MANY if name in HUES else 0.9):
                kind = "colours" if name in HUES else "places"
                row = Match(side, sides[name]).row(place[name]).flatten()
                maps = {"row of the word": row, "raw attention": attention.flatten().cpu().numpy()}
                for said, values in maps.items():
                    size = side.picture.shape[:2]
                    there = placed_row(side, values) if size == (64, 64) else values
                    scores[kind][said].append(float(average_precision_score(truth.ravel(), there.ravel())))
                scores[kind]["chance"].append(float(truth.mean()))
    return [
        {
            "words of": kind,
            "photographs × words": len(each["chance"]),
            **{k: float(np.mean(v)) for k, v in each.items()},
        }
        for kind, each in scores.items()
    ]


def of_patches(name: str, model: summand.Model, photos: Path, masks: dict[Path, Path]) -> dict[str, Any]:
    usual = usual_image(model, open_source(str(photos)))
    sides, turned, things = {}, {}, {}
    for file, mask in masks.items():
        picture = summand.data.open_images(file).image(0)
        sides[file] = image_side(model, picture, "", None, usual)
        turned[file] = image_side(model, ImageOps.mirror(picture), "", None, usual)
        things[file] = patch_kinds(seen_mask(model, mask), sides[file].grid)
    (rows, columns), right = next(iter(sides.values())).grid, []
    for file, side in sides.items():
        for i, j in strongest(side, turned[file]):
            (row, column), (there, across) = divmod(i, columns), divmod(j, columns)
            right.append(abs(row - there) <= 1 and abs(columns - 1 - column - across) <= 1)
    near = np.mean([
        abs(row - there) <= 1 and abs(column - across) <= 1
        for row in range(rows) for there in range(rows) for column in range(columns) for across in range(columns)
    ])  # fmt: skip
    same, chance = [], []
    for a in masks:
        for b in masks:
            if a < b and len(np.intersect1d(things[a], things[b][things[b] > 0])):
                alike = (things[a][:, None] == things[b]) & (things[a][:, None] > 0)
                same += [float(alike[i, j]) for i, j in strongest(sides[a], sides[b])]
                chance.append(alike.mean())
    return {
        "model": name, "mirror image: same place": float(np.mean(right)), "by chance": float(near),
        "two photographs: same thing": float(np.mean(same)), "chance": float(np.mean(chance)), "pairs": len(chance),
    }  # fmt: skip


def strongest(a: Side, b: Side) -> list[tuple[int, int]]:
    return [(i, j) for i, j, _ in lines_between(Match(a, b), _LINES)]


def patch_kinds(mask: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """The commonest category of every patch; 0 where it has none."""
    cells = mask.reshape(grid[0], mask.shape[0] // grid[0], grid[1], mask.shape[1] // grid[1])
    return np.array(
        [np.bincount(cell.ravel()).argmax() for cell in cells.swapaxes(1, 2).reshape(-1, *cells.shape[1::2])]
    )


def of_find(models: dict[str, summand.Model], photos: Path, files: list[Path], vectors: Path) -> list[dict[str, Any]]:
    rows = []
    for name, model in models.items():
        survey = summand.survey(model, str(photos), units="heads", held_out=0.5, progress=False)
        asked: list[Any] = list(HUES) if name == "scenes-vit" else list(np.load(vectors).astype(float))
        told, supported = [], []
        for query in asked:
            text = f"a {query} object" if isinstance(query, str) else query
            table = survey.find(text, top=len(survey.units), by="evidence")
            supported.append(table["supported"].mean())
            if isinstance(query, str):
                told += told_by(survey, table, model, files, query)
        rows.append({
            "model": name, "asked for": f"{len(asked)} " + ("colours" if name == "scenes-vit" else "vectors"),
            "heads": len(survey.units), "photographs": len(survey.held_out_images),
            "heads supported": float(np.mean(supported)), "ρ with its pixels": float(np.mean(told)) if told else "",
        })  # fmt: skip
    return rows


def told_by(survey: Any, table: Any, model: summand.Model, files: list[Path], colour: str) -> list[float]:
    """Spearman's ρ of the first units with the colour's share of the pixels, over the photographs kept aside."""
    seen = (model.preprocess(summand.data.open_images(files[i]).image(0))[None] for i in survey.held_out_images)
    share = np.array([hue_of(model.picture(pixels)[0], colour).mean() for pixels in seen])
    signals = dict(zip(survey.units, survey.held_out("heads").flatten(1).numpy().T, strict=True))
    found = []
    for row in table.head(_UNITS).to_dict("records") if share.any() else []:
        ranks = rankdata(np.sign(row["cosine"]) * signals[row["unit"]]), rankdata(share)
        found.append(float(np.corrcoef(*ranks)[0, 1]))
    return found


def of_compare(base: summand.Model, photos: Path) -> list[dict[str, Any]]:
    others = {"itself": base, "noise of 1e-4": noisy(base), "scenes-vit-tied": summand.load("scenes-vit-tied")}
    rows = []
    for name, other in others.items():
        found = summand.compare(base, other, str(photos), units="heads")
        rows.append({"scenes-vit against": name, "changes named": len(found.named),
                     "units changed": sum(unit["sure"] for unit in found.units), "verdict": found.verdict})  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
