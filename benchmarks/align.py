"""Do words that come through an alignment fit? `python benchmarks/align.py [--json] [--scenes 150000] [--seeds 0 1 2]`

A small timm ViT learns to classify scenes, all attributes at once, and never sees a text; then `summand.align` maps its
output into scenes-vit's space by images alone. Beside it the same ViT with random weights, aligned alike, and
scenes-vit itself. Training is kept in the cache folder, from where another run takes it, or goes on with it.

The map: what it explains of scenes-vit's embeddings of held-out images, its cosine beside that of their mean, and how
often zero-shot answers agree, over all attributes. Labels of heads are judged as `summand truth` judges: how often they
name the attribute that explains most of the variance of the head's effect, on fresh scenes, among heads that one
attribute dominates, on several samples of scenes. Judged are the attribute that a label says the head is of, the one
that its proven words are of, and the first of its properties. Heads that all are of one attribute can be named right by
one word, so beside it: Cohen's kappa of each with the same shuffled among these heads, which attributes are named right
by the words of a head, and how many of the proven labels are right. And where words are wrong: how much of the variance
along any one direction of the head its attribute explains at most, beside the same of heads whose words are right.
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
from summand.scenes.pretrained import ScenePreprocess
from summand.scenes.training.batches import PATCH_TASK, Batches

SHAPE: dict[str, Any] = {"img_size": 64, "patch_size": 8, "embed_dim": 96, "depth": 6, "num_heads": 8, "num_classes": 0}
CACHE = Path(os.environ.get("SUMMAND_CACHE", Path.home() / ".cache" / "summand")) / "benchmarks"
BATCH, RATE, MIDDLE = 48, 2e-3, 3
STEADY = 0.4  # of the scenes, before the learning rate falls
SLOW = {"count": 3.0, "shape": 2.0, "texture": 2.5}  # weights of what is learnt last
DROPPED, DROPPED_FROM = 0.25, 2
WARM_UP = 30  # steps
OTHERS = 6300  # seeds
DOMINANT = 0.5  # of a head's variance


def network(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return timm.create_model("vit_tiny_patch16_224", **SHAPE).eval()


class DropOfClassToken(nn.Module):
    """Stochastic depth of the class token alone: what a block's MLP writes to it is left out at random, so that heads
    write what it knows."""

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return tokens
        kept = (torch.rand(len(tokens), 1, 1) >= DROPPED).to(tokens)
        return torch.cat([tokens[:, :1] * kept, tokens[:, 1:]], dim=1)


class Learner(nn.Module):
    """The ViT with a linear classifier of every attribute; those of the patches of a middle layer are a help alone."""

    def __init__(self, vit: Any) -> None:
        super().__init__()
        self.vit, width = vit, vit.num_features
        for block in vit.blocks[DROPPED_FROM:]:
            block.drop_path2 = DropOfClassToken()
        self.heads = nn.ModuleDict({name: nn.Linear(width, len(ATTRIBUTES[name])) for name in ATTRIBUTES})
        self.of_patches = nn.ModuleDict({name: nn.Linear(width, 1 + len(ATTRIBUTES[name])) for name in PATCH_TASK})

    def forward(self, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, float]]:
        """The loss, and the accuracy of every attribute."""
        seen, (middle,) = self.vit.forward_intermediates(batch["images"], indices=[MIDDLE], output_fmt="NLC")
        scores = {name: head(self.vit.forward_head(seen)) for name, head in self.heads.items()}
        losses = [SLOW.get(name, 1.0) * F.cross_entropy(scores[name], batch[f"target/{name}"]) for name in ATTRIBUTES]
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


def trained(scenes: int, file: Path) -> tuple[Learner, float]:
    """A learner that has seen so many scenes, and the CPU seconds it took; goes on from what the file holds."""
    learner = Learner(network())
    optimizers = learner.optimizers()
    spent, step, steps = 0.0, 0, scenes // BATCH
    if file.exists():
        state = torch.load(file, weights_only=True)
        learner.load_state_dict(state["learner"])
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(state[name])
        spent, step = state["spent"], state["step"]
    batches, begin = Batches(0, 0, BATCH, 77, 64), time.process_time()
    learner.train()
    lately: list[dict[str, float]] = []
    while step < steps:
        torch.manual_seed(step)  # of what is dropped: a run that goes on is the run that was not stopped
        rate = RATE * min(1.0, (step + 1) / WARM_UP, (1 - step / steps) / (1 - STEADY) + 0.01)
        loss, right = learner(batches.batch(step * BATCH))
        learner.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        for optimizer in optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        step += 1
        lately.append(right)
        if step % 100 == 0 or step == steps:
            said = ", ".join(f"{name} {100 * np.mean([each[name] for each in lately]):.0f}" for name in ATTRIBUTES)
            now, lately = spent + time.process_time() - begin, []
            print(f"{step * BATCH:,} scenes, {now:.0f} s: {said}", file=sys.stderr, flush=True)
            _keep(file, learner, optimizers, now, step)
    for block in learner.vit.blocks:
        block.drop_path2 = nn.Identity()
    return learner.eval(), spent + time.process_time() - begin


@torch.no_grad()
def accuracies(learner: Learner) -> dict[str, float]:
    """Of every attribute, over 1,000 scenes of one group that it has not seen."""
    scenes = summand.scenes.sample(1000, seed=123_456)
    seen = [learner.vit(pixels) for pixels in ScenePreprocess(64)(scenes.images).split(100)]
    codes = {name: torch.from_numpy(scenes.causes.codes(name)) for name in ATTRIBUTES}
    return {name: float((head(torch.cat(seen)).argmax(dim=1) == codes[name]).float().mean())
            for name, head in learner.heads.items()}  # fmt: skip


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
    parser.add_argument("--scenes", type=int, default=150_000, help="that the ViT learns from")
    parser.add_argument("--count", type=int, default=1500, help="scenes that the map is fitted on")
    parser.add_argument("--described", type=int, default=2500, help="scenes that labels are made on")
    parser.add_argument("--judged", type=int, default=1000, help="fresh scenes that judge")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the scenes of labels and judges")
    args = parser.parse_args()
    torch.set_num_threads(1)
    learner, seconds = trained(args.scenes, CACHE / f"align-{args.scenes}.pt")
    clip, learnt = summand.load("scenes-vit"), accuracies(learner)
    models, scenes = {"scenes-vit itself": clip}, f"scenes:count={args.count},seed=9"
    for name, one in {"supervised ViT, aligned": learner.vit, "random ViT, aligned": network()}.items():
        models[name] = summand.align(one, clip, scenes, pixels="clip", progress=False)
    rows = []
    for name, model in models.items():
        heads = [head | {"seed": seed} for seed in args.seeds for head in judged(model, args, seed)]
        rows.append({"model": name, **scored(heads), **(mapped(model.alignment) if model.alignment else {})})
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    if args.json:
        print(
            json.dumps({"command": "align", "options": vars(args), "seconds": seconds, "learnt": learnt, "rows": rows})
        )
        return
    said = ", ".join(f"{name} {100 * share:.0f}" for name, share in learnt.items())
    print(f"the ViT, after {args.scenes:,} scenes in {seconds:,.0f} CPU seconds, right in %: {said}\n")
    print("| the map | explained | cosine | mean's cosine | same answers | by chance |\n" + "|---" * 6 + "|")
    for row in rows[1:]:
        print(f"| {row['model']} | {100 * row['explained']:.0f} % | {row['cosine']:.2f} | {row['of_mean']:.2f} | "
              f"{100 * row['agreement']:.0f} % | {100 * row['chance']:.0f} % |")  # fmt: skip
    print("\n| labels of heads of | attribute right | κ | words right | by sample | shuffled | κ | proven ones right | "
          "first property right | κ | attributes named right |\n"
          + "|---" * 11 + "|")  # fmt: skip
    for row in rows:
        shares = f"{100 * row['said']:.0f} % of {row['heads']} | {row['kappa_said']:.2f} | "
        shares += f"{100 * row['right']:.0f} % | {', '.join(row['samples'])} | "
        shares += f"{100 * row['shuffled']:.0f} % | {row['kappa']:.2f} | {row['proven']} | "
        shares += f"{100 * row['firsts']:.0f} % | {row['kappa_firsts']:.2f}"
        print(f"| {row['model']} | {shares} | {', '.join(row['named']) or 'none'} |")
    for row in rows[1:]:
        said = (f"{name} {100 * same:.0f} ({100 * chance:.0f})" for name, same, chance in row["answers"])
        print(f"\n{row['model']}, same answers (by chance), %: {', '.join(said)}")
    for row in rows:
        print(f"\n{row['model']}, words wrong: {', '.join(row['wrong']) or 'none'}")
        print(f"{row['model']}, attribute wrong: {', '.join(row['wrong_said']) or 'none'}")
        print(f"{row['model']}, the attribute explains of the variance along its best direction: {row['best']}")


def judged(model: summand.Model, args: argparse.Namespace, seed: int) -> list[dict[str, Any]]:
    """The heads that one attribute dominates, as `summand truth` judges them on scenes of this seed; first: the
    property that explains most of what the head says along the texts, by labels of other scenes."""
    table = summand.truth(model, count=args.judged, described=args.described, pairs=20, seed=seed, progress=False).rows
    run = summand.survey(model, f"scenes:count={args.described},seed={OTHERS + seed}", units="heads", progress=False)
    firsts = {row["unit"]: row["properties"][0]["property"] if row["properties"] else "nothing"
              for row in run.label(pool="scenes").to_dict("records")}  # fmt: skip
    coefficients, causes = run.held_out_coefficients("heads"), run.source().attributes()
    assert coefficients is not None
    assert causes is not None
    held, found = causes.iloc[np.flatnonzero(run.images["held_out"])], []
    for row in table.to_dict("records"):
        if row["share"] >= DOMINANT:
            layer, head = (int(part) for part in row["unit"].split("."))
            codes = torch.tensor(held[row["true"]].astype("category").cat.codes.to_numpy(), dtype=torch.long)
            best = along_best(coefficients[:, layer, head].double(), codes)
            found.append({**row, "first": firsts[row["unit"]], "best": best})
    return found


def along_best(coefficients: torch.Tensor, codes: torch.Tensor) -> float:
    """max_d Σ_v n_v x̄_v² / Σ_i x_i² of x = c d, centred: the first canonical correlation of a head with the values of
    an attribute, squared. Found and scored on the same images, so rather too large."""
    centred = coefficients - coefficients.mean(dim=0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    left = left[:, sizes > 1e-6 * sizes[0]]
    member = F.one_hot(codes).double()
    means = member.T @ left / member.sum(dim=0).clamp(min=1)[:, None].sqrt()
    return float(torch.linalg.matrix_norm(means, ord=2) ** 2)


def scored(heads: list[dict[str, Any]]) -> dict[str, Any]:
    """Over the heads of all samples."""
    named, said = (
        np.array([head[name] if isinstance(head[name], str) else "nothing" for head in heads])
        for name in ("named", "attribute")
    )
    true = np.array([head["true"] for head in heads])
    same, seeds = named == true, np.array([head["seed"] for head in heads])
    proven = np.array([head["verdict"] == "proven" for head in heads])
    right, shuffled = float(np.mean(same)), by_shuffling(named, true)
    firsts = np.array([head["first"] for head in heads])
    wrong, wrong_said = (
        Counter(
            f"{head['unit']} {head['true']} as {name}"
            for head, name in zip(heads, some, strict=True)
            if head["true"] != name
        )
        for some in (named, said)
    )
    best = np.array([head["best"] for head in heads])
    spans = {"right": best[same], "wrong": best[~same]}
    return {
        "best": ", ".join(f"words {key} {some.min():.2f}–{some.max():.2f}" for key, some in spans.items() if len(some)),
        "best_of_wrong": [f"{head['unit']} {head['best']:.2f}" for head in heads if head["true"] != str(head["named"])],
        "heads": len(heads), "right": right, "shuffled": shuffled,
        "samples": [f"{same[seeds == seed].sum()} of {(seeds == seed).sum()}" for seed in dict.fromkeys(seeds)],
        "kappa": kappa(named, true),
        "said": float(np.mean(said == true)), "kappa_said": kappa(said, true),
        "firsts": float(np.mean(firsts == true)), "kappa_firsts": kappa(firsts, true),
        "proven": f"{same[proven].sum()} of {proven.sum()}", "true": dict(Counter(true.tolist())),
        "named": sorted(set(named[same])), "wrong": [f"{each} ({times})" for each, times in wrong.items()],
        "wrong_said": [f"{each} ({times})" for each, times in wrong_said.items()],
    }  # fmt: skip


def mapped(found: Any) -> dict[str, Any]:
    """What the map is worth."""
    answers = [(row["classes"], row["agreement"], row["chance"]) for row in found.answers]
    same, chance = (sum(row[place] for row in answers) / len(answers) for place in (1, 2))
    report = found.rows.to_dict("records")[0]
    kept = {key: report[key] for key in ("explained", "cosine", "of_mean")}
    return {**kept, "answers": answers, "agreement": same, "chance": chance}


def kappa(named: Any, true: Any) -> float:
    """Cohen's: 0 for what shuffling gives, and where one word names all; 1 where every label is right."""
    shuffled = by_shuffling(named, true)
    return float((np.mean(named == true) - shuffled) / (1 - shuffled)) if shuffled < 1 else 0.0


def by_shuffling(named: Any, true: Any) -> float:
    """Σ_a P(named a) P(true a): how often labels name the truth on average over all orders of them."""
    return float(sum(np.mean(named == each) * np.mean(true == each) for each in set(true)))


if __name__ == "__main__":
    main()
