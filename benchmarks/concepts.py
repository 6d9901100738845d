"""Are the words for a picture true of it? `python benchmarks/concepts.py [--json] [--count N]` prints a table.

Share of the first words that are true of a scene: of its significant neurons (paper A, App. A.5) with effects in units
of what is usual for a neuron, or weighed by their norm as the published notebook has it; and of the picture's own
sparse code. Beside them the share of all texts of the pool that are true. What is usual is learnt from other scenes.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch
from PIL import Image

import summand
from summand.data import open_source
from summand.effects.published import Parity
from summand.studies.concepts.image import image_concepts
from summand.survey.profile import neuron_groups, profile
from summand.text.pools import pool

FIRSTS = (1, 3, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--model", default="scenes-vit")
    parser.add_argument("--count", type=int, default=150, help="scenes whose words are judged")
    parser.add_argument("--usual", type=int, default=1000, help="scenes that say what is usual")
    args = parser.parse_args()
    torch.set_num_threads(2)
    model, chosen = summand.load(args.model), pool("scenes")
    texts = model.encode_text(chosen.texts)
    scenes = summand.scenes.sample(args.count, seed=4711)
    said = [summand.scenes.parse(text)[0] for text in chosen.texts]
    true = np.array([
        [bool(named) and all(truth[a] == v for a, v in named.items()) for named in said]
        for _, truth in scenes.attributes.iterrows()
    ])  # fmt: skip
    place = {text: i for i, text in enumerate(chosen.texts)}
    rows = [{"words": "any text of the pool", **dict.fromkeys(map(str, FIRSTS), float(true.mean()))}]
    for layers in (None, f"0-{model.tower.layers - 2}"):
        groups = neuron_groups(model, layers)
        known = profile(model, open_source(f"scenes:count={args.usual},seed=4712"), groups, 100)
        of = f"neurons of layers {groups[0].layer} to {groups[-1].layer}"
        found: dict[str, list[list[bool]]] = {}
        ways: tuple[tuple[Parity, str], ...] = ((None, of), ("paper", f"{of}, weighed by norms"))
        for parity, name in ways:
            for i, image in enumerate(scenes.images):
                picture = Image.fromarray(image)
                made = image_concepts(model, picture, known, chosen, texts, words=5, maps=0, parity=parity)
                found.setdefault(name, []).append([bool(true[i, place[word]]) for word, _ in made.words])
                if layers is None and parity is None:
                    own = [bool(true[i, place[text]]) for text, _ in made.code]
                    found.setdefault("the picture's own code", []).append(own)
        rows += [{"words": name, **shares(right)} for name, right in found.items()]
    if args.json:
        options = {"count": args.count, "usual": args.usual}
        print(json.dumps({"command": "concepts benchmark", "model": args.model, "options": options, "rows": rows}))
        return
    print(f"| {args.model}, {args.count} scenes | first word true | first {FIRSTS[1]} | first {FIRSTS[2]} |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row['words']} | {' | '.join(f'{row[str(k)]:.0%}' for k in FIRSTS)} |")


def shares(right: list[list[bool]]) -> dict[str, float]:
    """Mean over pictures of the share of true words among the first k."""
    return {str(k): float(np.mean([np.mean(row[:k]) for row in right if row])) for k in FIRSTS}


if __name__ == "__main__":
    main()
