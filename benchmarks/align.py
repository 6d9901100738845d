"""Do words that come through an alignment fit? `python benchmarks/align.py [--json] [--seconds 360]`

A small timm ViT learns to classify scenes, all attributes at once, and never sees a text; then `summand.align` maps its
output into scenes-vit's space by images alone. Beside it the same ViT with random weights, aligned alike, and
scenes-vit itself. Training stops after so many CPU seconds of one core and is kept in the cache folder, from where
another run takes it.

The map: what it explains of scenes-vit's embeddings of held-out images, its cosine beside that of their mean, and how
often zero-shot answers agree, over all attributes. Labels of heads are judged as `summand truth` judges: how often they
name the attribute that explains most of the variance of the head's effect, on fresh scenes, among heads that one
attribute dominates. Heads that all are of one attribute can be named right by one word, so beside it: the same of these
labels shuffled among these heads, Cohen's kappa of the two, how many attributes are named right by a head, and the same
number of heads of each model, those with proven words that are dominated most.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn
from torch.nn import functional as F

import summand
from summand.scenes import ATTRIBUTES
from summand.scenes.training.batches import PATCH_TASK, Batches

SHAPE: dict[str, Any] = {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 6, "num_classes": 0}
CACHE = Path(os.environ.get("SUMMAND_CACHE", Path.home() / ".cache" / "summand")) / "benchmarks"
BATCH, RATE, MIDDLE = 48, 2e-3, 3
DOMINANT = 0.5  # of a head's variance


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return timm.create_model("vit_tiny_patch16_224", **SHAPE).eval()


class Learner(nn.Module):
    """The ViT with a linear classifier of every attribute; those of the patches of a middle layer are a help alone."""

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.vit, width = vit, vit.num_features
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(ATTRIBUTES[name])) for name in ATTRIBUTES})
        self.of_patches = nn.ModuleDict({name: nn.Linear(width, 1 + len(ATTRIBUTES[name])) for name in PATCH_TASK})

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss, and the accuracy of every attribute."""
        seen, (middle,) = self.vit.forward_intermediates(batch["images"], indices=[MIDDLE], output_fmt="NLC")
        scores = {name: head(self.vit.forward_head(seen)) for name, head in self.heads.items()}
        losses = [F.cross_entropy(scores[name], batch[f"target/{name}"]) for name in ATTRIBUTES]
        for name, head in self.of_patches.items():
            label = batch[f"patch/{name}"].flatten()
            each = F.cross_entropy(head(middle).flatten(0, 1), label, reduction="none")
            losses.append((each[label > 0].mean() + each[label == 0].mean()) / 2)  # most patches show no object
        return torch.stack(losses).sum(), {name: accuracy(scores[name], batch[f"target/{name}"]) for name in ATTRIBUTES}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Muon for the matrices of the blocks, AdamW for all else."""
        blocks = [p for name, p in self.vit.named_parameters() if p.ndim == 2 and name.startswith("blocks.")]
        taken = {id(p) for p in blocks}
        rest = [p for p in self.parameters() if id(p) not in taken]
        muon = torch.optim.Muon(blocks, lr=RATE, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
        return {"muon": muon, "adamw": torch.optim.AdamW(rest, lr=RATE, weight_decay=0.05)}


def trained(seconds: float, file: Path) -> Any:
    """The ViT, trained for so many CPU seconds; goes on from what the file holds."""
    learner = Learner(network())
    optimizers = learner.optimizers()
    spent, step = 0.0, 0
    if file.exists():
        state = torch.load(file, weights_only=True)
        learner.load_state_dict(state["learner"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(state[name])
        spent, step = state["spent"], state["step"]
    batches, begin = Batches(0, 0, BATCH, 77, 64), time.process_time()
    learner.train()
    while (now := spent + time.process_time() - begin) < seconds:
        rate = RATE * min(1.0, (step + 1) / 20, 2 * (1 - now / seconds) + 0.02)
        loss, right = learner(batches.batch(step * BATCH))
        learner.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        step += 1
        if step % 50 == 0:
            said = ", ".join(f"{name} {100 * share:.0f}" for name, share in right.items())
            print(f"{step * BATCH:,} scenes, {now:.0f} s: {said}", file=sys.stderr, flush=True)
            _keep(file, learner, optimizers, spent + time.process_time() - begin, step)
    _keep(file, learner, optimizers, max(spent, seconds), step)
    return learner.vit.eval()


def accuracy(scores: torch.Tensor, targets: torch.Tensor) -> float:
    return float((scores.argmax(dim=1) == targets.argmax(dim=1)).float().mean())


def _keep(file: Path, learner: nn.Module, optimizers: dict[str, Any], spent: float, step: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    state = {"learner": learner.state_dict(), **{name: one.state_dict() for name, one in optimizers.items()}}
    torch.save({**state, "spent": spent, "step": step}, file.with_suffix(".part"))
    file.with_suffix(".part").replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=360)
    parser.add_argument("--count", type=int, default=1500, help="scenes that the map is fitted on")
    parser.add_argument("--described", type=int, default=2000, help="scenes that labels are made on")
    parser.add_argument("--judged", type=int, default=500, help="fresh scenes that judge")
    args = parser.parse_args()
    torch.set_num_threads(1)
    vit, clip = trained(args.seconds, CACHE / f"align-patches-{args.seconds:.0f}.pt"), summand.load("scenes-vit")
    models = {"scenes-vit itself": clip}
    scenes = f"scenes:count={args.count},seed=9"
    for name, one in {"supervised ViT, aligned": vit, "random ViT, aligned": network()}.items():
        models[name] = summand.align(one, clip, scenes, pixels="clip", progress=False)
    rows = []
    for name, model in models.items():
        rows.append(scored(name, model, args))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    most = min(len(row["proven"]) for row in rows)
    for row in rows:
        row["first"], row["of"] = sum(row["proven"][:most]), most
    if args.json:
        print(json.dumps({"command": "align", "options": vars(args), "rows": rows}))
        return
    print("| the map | explained | cosine | mean's cosine | same answers | by chance |\n" + "|---" * 6 + "|")
    for row in rows[1:]:
        print(f"| {row['model']} | {100 * row['explained']:.0f} % | {row['cosine']:.2f} | {row['of_mean']:.2f} | "
              f"{100 * row['agreement']:.0f} % | {100 * row['chance']:.0f} % |")  # fmt: skip
    print("\n| labels of heads of | name the dominant attribute | shuffled | κ | named right | equal numbers |\n"
          + "|---" * 6 + "|")  # fmt: skip
    for row in rows:
        shares = f"{100 * row['right']:.0f} % of {row['heads']} | {100 * row['shuffled']:.0f} % | {row['kappa']:.2f}"
        print(f"| {row['model']} | {shares} | {', '.join(row['named']) or 'none'} | {row['first']} of {row['of']} |")
    for row in rows[1:]:
        said = (f"{name} {100 * same:.0f} ({100 * chance:.0f})" for name, same, chance in row["answers"])
        print(f"\n{row['model']}, same answers (by chance), %: {', '.join(said)}")


def scored(name: str, model: summand.Model, args: argparse.Namespace) -> dict[str, Any]:
    table = summand.truth(model, count=args.judged, described=args.described, pairs=20, progress=False).rows
    heads = [row for row in table.to_dict("records") if row["share"] >= DOMINANT]
    heads.sort(key=lambda row: -row["share"])
    named, true = (np.array([str(row[which]) for row in heads]) for which in ("named", "true"))
    proven = np.array([row["verdict"] == "proven" for row in heads])
    right, shuffled = float(np.mean(named == true)), by_shuffling(named, true)
    found: dict[str, Any] = {
        "model": name, "heads": len(heads), "right": right, "shuffled": shuffled,
        "kappa": (right - shuffled) / (1 - shuffled) if shuffled < 1 else 0.0,
        "named": sorted(set(named[named == true])), "true": dict(Counter(true.tolist())),
        "proven": (named == true)[proven].tolist(),
    }  # fmt: skip
    if model.alignment is not None:
        answers = [(row["classes"], row["agreement"], row["chance"]) for row in model.alignment.answers]
        same, chance = (sum(row[place] for row in answers) / len(answers) for place in (1, 2))
        report = model.alignment.rows.to_dict("records")[0]
        found |= {key: report[key] for key in ("explained", "cosine", "of_mean")}
        found |= {"answers": answers, "agreement": same, "chance": chance}
    return found


def by_shuffling(named: Any, true: Any) -> float:
    """Σ_a P(named a) P(true a): how often labels name the truth on average over all orders of them."""
    return float(sum(np.mean(named == each) * np.mean(true == each) for each in set(true)))


if __name__ == "__main__":
    main()
