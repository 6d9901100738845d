"""Does `compare` name what changed, and nothing where nothing did? `python benchmarks/compare.py [--json]`

scenes-vit against scenes-vit-tied, which was trained on a world where the place follows the shape; against a copy that
was fine-tuned for a short while on a world whose colours are others (red, green and blue changed places, the captions
did not); against one fine-tuned as long on the world as it is; against itself; and against a copy with noise of 1e-4 of
every weight's deviation. Each on several samples of scenes, in which all causes are independent: the first change that
is named, and how many are.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

import summand
from summand.scenes.pretrained import INPUT_SIZE
from summand.scenes.train import multi_positive
from summand.scenes.training.batches import Batches

TRAINING, NOISE = 7171, 1e-4
OTHERS = ("scenes-vit-tied", "recoloured world", "the world as it is", "itself", "noise of 1e-4")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=500, help="scenes of a sample")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--steps", type=int, default=120, help="of fine-tuning, 40 scenes each")
    parser.add_argument("--units", default="heads")
    parser.add_argument("--against", default=",".join(OTHERS), help="some of the models")
    args = parser.parse_args()
    torch.set_num_threads(1)
    base = summand.load("scenes-vit")
    make: dict[str, Callable[[], summand.Model]] = {
        "scenes-vit-tied": lambda: summand.load("scenes-vit-tied"),
        "recoloured world": lambda: tuned(base, args.steps, recoloured=True),
        "the world as it is": lambda: tuned(base, args.steps, recoloured=False),
        "itself": lambda: base,
        "noise of 1e-4": lambda: noisy(base),
    }
    others = {name: make[name]() for name in args.against.split(",")}
    rows = []
    for name, other in others.items():
        for seed in range(args.samples):
            source = f"scenes:count={args.count},seed={8000 + seed}"
            began = time.monotonic()
            found = summand.compare(base, other, source, units=args.units)
            named = found.named
            first = f"{named[0]['how']} {named[0]['what']}" if named else "nothing"
            rows.append({
                "other": name, "seed": seed, "first": first, "named": len(named), "verdict": found.verdict,
                "sure": sum(unit["sure"] for unit in found.units), "seconds": time.monotonic() - began,
            })  # fmt: skip
            print(f"{name}, seed {seed}: {first}, {len(named)} named", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps({"command": "compare benchmark", "rows": rows}))
        return
    print("| scenes-vit against | first named | of samples | changes named | units changed |\n|---|---|---|---|---|")
    for name in others:
        own = [row for row in rows if row["other"] == name]
        firsts = [row["first"] for row in own]
        most = max(set(firsts), key=firsts.count)
        numbers = f"{firsts.count(most)} of {len(own)} | {span(own, 'named')} | {span(own, 'sure')}"
        print(f"| {name} | {most} | {numbers} |")
    for name in others:
        print(f"\n{name}: {next(row['verdict'] for row in rows if row['other'] == name)}")


def span(rows: list[dict[str, Any]], key: str) -> str:
    low, high = min(row[key] for row in rows), max(row[key] for row in rows)
    return str(low) if low == high else f"{low}–{high}"


def wrapped(base: summand.Model, clip: Any, name: str) -> summand.Model:
    return summand.wrap(clip.eval(), preprocess=base._preprocess, tokenizer=base._tokenizer, name=name)


def tuned(base: summand.Model, steps: int, recoloured: bool) -> summand.Model:
    """The image tower, trained on with its captions at a low rate."""
    clip = copy.deepcopy(base.clip).train()
    for name, parameter in clip.named_parameters():
        parameter.requires_grad_(name.startswith("visual."))
    learning = [parameter for parameter in clip.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=3e-4, weight_decay=0.0)
    batches = iter(Batches(0, 40, 40, TRAINING, INPUT_SIZE["scenes-vit"]))
    for _ in range(steps):
        batch = next(batches)
        pixels = batch["images"].roll(1, dims=1) if recoloured else batch["images"]
        images = clip.encode_image(pixels, normalize=True)
        with torch.no_grad():
            said = clip.encode_text(batch["tokens"], normalize=True)
        logits, match = clip.logit_scale.exp() * images @ said.T, batch["match"]
        loss = (multi_positive(logits, match) + multi_positive(logits.T, match.T)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    clip.requires_grad_(False)
    return wrapped(base, clip, "recoloured" if recoloured else "trained on")


@torch.no_grad()
def noisy(base: summand.Model) -> summand.Model:
    clip, draw = copy.deepcopy(base.clip), torch.Generator().manual_seed(TRAINING)
    for parameter in clip.parameters():
        if parameter.numel() > 1:
            parameter.add_(NOISE * parameter.std() * torch.randn(parameter.shape, generator=draw))
    return wrapped(base, clip, "noisy")


if __name__ == "__main__":
    main()
