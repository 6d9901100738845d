"""Do second-order words mislead more than others? `python benchmarks/attack.py [--json] [--quick]` prints a table.

Pairs of classes: the shapes that the model confuses most often on 2,000 plain scenes (nothing of the attack takes part
in the choice). For each pair pictures of the one are drawn from words for the other: by second-order effects of neurons
(paper A, Eq. 6), by random neurons, by the principal directions of indirect effects, and by the words most similar to
the difference of the classes. Mean and standard deviation over three repeats of 100 pictures; the base rate is that of
pictures without any words.

scenes-vit was trained where all attributes are independent, so no attribute but the shape says anything of the shape.
scenes-vit-tied (`--model scenes-vit-tied`) saw the place follow the shape, as it may in photographs: there is something
to find.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

import summand
from summand.border import foreign
from summand.data import open_source
from summand.models import pixels_of
from summand.scenes import ATTRIBUTES
from summand.studies.attack.generators import SceneGenerator
from summand.studies.attack.indirect_effects import indirect_directions
from summand.studies.attack.loop import mislead
from summand.studies.attack.mining import (
    class_embedding,
    indirect_words,
    random_words,
    second_order_words,
    similar_words,
)
from summand.studies.attack.synonyms import scene_words
from summand.studies.attack.writers import SceneWriter
from summand.survey.profile import neuron_groups, profile
from summand.text.pools import pool


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="two pairs, few pictures")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--words", type=int, default=10)
    parser.add_argument("--neurons", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--count", type=int, default=1000, help="scenes that the neurons are profiled on")
    args = parser.parse_args()
    prompts, per_prompt, judged = 10, 10, 2000
    if args.quick:
        args.pairs, args.repeats, args.count, prompts, per_prompt, judged = 2, 2, 150, 4, 4, 300

    model = summand.load(args.model)
    chosen = pool("scenes")
    texts = model.encode_text(chosen.texts)
    shapes = [str(value) for value in ATTRIBUTES["shape"]]
    classes = torch.stack([class_embedding(model, shape) for shape in shapes])
    pairs = confused(model, classes, shapes, judged)[: args.pairs]
    source = open_source(f"scenes:count={args.count},seed=71")
    groups = neuron_groups(model)
    known = profile(model, source, groups)
    every = sum(model.tower.neuron_directions(group.layer).shape[0] for group in groups)  # type: ignore[attr-defined]
    tried = indirect_directions(model, source, groups, 60 if args.quick else every)
    some = {"words": args.words}
    rows = []
    for image_of, target in pairs:
        v, drop = classes[shapes.index(target)] - classes[shapes.index(image_of)], scene_words(target)
        lists = [
            second_order_words(known, v, chosen, texts, drop, neurons=args.neurons, **some),
            random_words(known, v, chosen, texts, drop, neurons=args.neurons, **some),
            similar_words(v, chosen, texts, drop, **some),
        ]
        lists.insert(2, indirect_words(*tried, v, chosen, texts, drop, neurons=args.neurons, **some))
        found = {
            words.method: mislead(model, words, v, image_of, target, SceneWriter(), SceneGenerator(),
                                 prompts=prompts, per_prompt=per_prompt, repeats=args.repeats)
            for words in lists
        }  # fmt: skip
        rows.append({
            "image_of": image_of, "classified_as": target, "base": base_rate(model, v, image_of, prompts * per_prompt),
            **{name: {"mean": each.mean, "std": each.std, "words": each.words.words} for name, each in found.items()},
        })  # fmt: skip
    methods = [name for name in rows[0] if name not in ("image_of", "classified_as", "base")]
    if args.json:
        print(json.dumps({"command": "attack benchmark", "model": args.model, "data": source.label,
                          "options": {k: v for k, v in vars(args).items() if k != "json"}, "rows": rows}))  # fmt: skip
        return
    print(f"Share of {prompts * per_prompt} pictures (± over {args.repeats} repeats) that {args.model} misreads:\n")
    print("| image of → classified as | no words | " + " | ".join(methods) + " |")
    print("|---" * (len(methods) + 2) + "|")
    for row in rows:
        cells = [f"{row[name]['mean']:.1%} ± {row[name]['std']:.1%}" for name in methods]
        print(f"| {row['image_of']} → {row['classified_as']} | {row['base']:.1%} | " + " | ".join(cells) + " |")
    means = [f"{np.mean([row[name]['mean'] for row in rows]):.1%}" for name in methods]
    print(f"| mean | {np.mean([row['base'] for row in rows]):.1%} | " + " | ".join(means) + " |")


def confused(model: summand.Model, classes: torch.Tensor, shapes: list[str], count: int) -> list[tuple[str, str]]:
    """Ordered pairs (true shape, said shape), the most frequent mistake first; a true shape once."""
    source = open_source(f"scenes:count={count},seed=72")
    truth, said = foreign(source.attributes())["shape"].to_numpy(), []
    for start in range(0, count, 100):
        images = foreign(source).array(start, min(start + 100, count))
        said += (model.encode_image(model.preprocess(images)) @ classes.T).argmax(dim=1).tolist()
    wrong = np.zeros((len(shapes), len(shapes)), dtype=int)
    for shape, index in zip(truth, said, strict=True):
        wrong[shapes.index(shape), index] += shape != shapes[index]
    order = sorted((-wrong[i, j], i, j) for i in range(len(shapes)) for j in range(len(shapes)) if i != j)
    seen: dict[str, str] = {}
    for _, i, j in order:
        seen.setdefault(shapes[i], shapes[j])
    return list(seen.items())


def base_rate(model: summand.Model, v: torch.Tensor, image_of: str, count: int) -> float:
    drawn = SceneGenerator().draw(f"a {image_of}", count, seed=73)
    return float((model.encode_image(pixels_of(model, drawn)) @ v > 0).float().mean())


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
