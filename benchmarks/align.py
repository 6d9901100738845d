"""Do words that come through an alignment fit? `python benchmarks/align.py [--json] [--seconds 110]`

A small timm ViT learns to classify scenes, all attributes at once, and never sees a text; then `summand.align` maps its
output into scenes-vit's space by images alone. Its heads are labelled with scenes-vit's words, and judged as
`summand truth` judges: how often a head's label names the attribute that explains most of the variance of its effect,
on fresh scenes. Beside it scenes-vit's own heads, and the same ViT with random weights, aligned alike. Training stops
after so many CPU seconds of one core and is kept in the cache folder, from where another run takes it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional as F

import summand
from summand.scenes import ATTRIBUTES
from summand.scenes.training.batches import Batches

SHAPE: dict[str, Any] = {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 6, "num_classes": 0}
CACHE = Path(os.environ.get("SUMMAND_CACHE", Path.home() / ".cache" / "summand")) / "benchmarks"
BATCH = 128


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return timm.create_model("vit_tiny_patch16_224", **SHAPE).eval()


def trained(seconds: float, file: Path) -> Any:
    """The ViT, trained for so many CPU seconds; goes on from what the file holds."""
    model, heads = network(), nn.ModuleDict({name: nn.Linear(96, len(ATTRIBUTES[name])) for name in ATTRIBUTES})
    optimizer = torch.optim.AdamW([*model.parameters(), *heads.parameters()], lr=1.5e-3, weight_decay=0.05)
    spent, step = 0.0, 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        model.load_state_dict(state["model"])
        heads.load_state_dict(state["heads"])
        optimizer.load_state_dict(state["optimizer"])
        spent, step = state["spent"], state["step"]
    batches, begin = Batches(0, 0, BATCH, 77, 64), time.process_time()
    model.train()
    while spent + time.process_time() - begin < seconds:
        done = (spent + time.process_time() - begin) / seconds
        for group in optimizer.param_groups:
            group["lr"] = 1.5e-3 * min(1.0, (step + 1) / 20, 3 * (1 - done) + 0.02)
        batch = batches.batch(step * BATCH)
        seen = model(batch["images"])
        losses = [F.cross_entropy(heads[name](seen), batch[f"target/{name}"]) for name in ATTRIBUTES]
        optimizer.zero_grad()
        torch.stack(losses).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 25 == 0:
            shares = {name: accuracy(heads[name](seen), batch[f"target/{name}"]) for name in ATTRIBUTES}
            said = ", ".join(f"{name} {100 * share:.0f}" for name, share in shares.items())
            print(f"{step * BATCH:,} scenes, {spent + time.process_time() - begin:.0f} s: {said}", flush=True)
            _keep(file, model, heads, optimizer, spent + time.process_time() - begin, step)
    _keep(file, model, heads, optimizer, max(spent, seconds), step)
    return model.eval()


def accuracy(scores: torch.Tensor, targets: torch.Tensor) -> float:
    return float((scores.argmax(dim=1) == targets.argmax(dim=1)).float().mean())


def _keep(file: Path, model: nn.Module, heads: nn.Module, optimizer: Any, spent: float, step: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "heads": heads.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({**state, "spent": spent, "step": step}, file.with_suffix(".part"))
    file.with_suffix(".part").replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=110)
    parser.add_argument("--count", type=int, default=1500, help="scenes that the map is fitted on")
    parser.add_argument("--described", type=int, default=1000, help="scenes that labels are made on")
    parser.add_argument("--judged", type=int, default=500, help="fresh scenes that judge")
    args = parser.parse_args()
    torch.set_num_threads(1)
    vit, clip = trained(args.seconds, CACHE / f"align-{args.seconds:.0f}.pt"), summand.load("scenes-vit")
    models = {"scenes-vit itself": clip}
    scenes = f"scenes:count={args.count},seed=9"
    for name, one in {"supervised ViT, aligned": vit, "random ViT, aligned": network()}.items():
        models[name] = summand.align(one, clip, scenes, pixels="clip", progress=False)
    rows = []
    for name, model in models.items():
        rows.append(scored(name, model, args))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps({"command": "align", "options": vars(args), "rows": rows}))
        return
    print("| heads of | labels that name the dominant attribute | by chance | held-out cosine | zero-shot agreement |")
    print("|---" * 5 + "|")
    for row in rows:
        fit = [f"{row[key]:.2f}" if row[key] is not None else "" for key in ("cosine", "agreement")]
        print(f"| {row['model']} | {100 * row['right']:.0f} % of {row['heads']} | {100 * row['chance']:.0f} % | "
              + " | ".join(fit) + " |")  # fmt: skip


def scored(name: str, model: summand.Model, args: argparse.Namespace) -> dict:
    found = summand.truth(model, count=args.judged, described=args.described, pairs=20, progress=False).summary
    report = model.alignment
    return {
        "model": name,
        "right": found["agreement"],
        "chance": found["agreement_random_texts"],
        "heads": found["dominant"],
        "cosine": None if report is None else report.cosine,
        "agreement": None if report is None else report.agreement,
    }


if __name__ == "__main__":
    main()
