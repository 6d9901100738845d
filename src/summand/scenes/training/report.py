"""How well a model knows its world, and what a run leaves: log, weights, card and learning curve."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...border import foreign
from ..attributes import ATTRIBUTES
from ..phrases import prompts
from ..pretrained import INPUT_SIZE, ScenePreprocess
from ..render import sample
from ..tokenizer import SceneTokenizer


@torch.no_grad()
def prompt_classifiers(model: nn.Module, device: torch.device) -> dict[str, Tensor]:
    """For each attribute the unit mean of its prompts' embeddings, [value, embed]."""
    tokenizer = SceneTokenizer()
    result = {}
    for attribute in ATTRIBUTES:
        rows = [
            foreign(model).encode_text(tokenizer(texts).to(device), normalize=True).mean(dim=0)
            for texts in prompts(attribute).values()
        ]
        result[attribute] = F.normalize(torch.stack(rows), dim=1)
    return result


@torch.no_grad()
def accuracy(model: nn.Module, name: str, count: int, seed: int, device: torch.device) -> dict[str, float]:
    """Zero-shot accuracy per attribute on fresh one-group scenes."""
    was_training = model.training
    model.eval()
    preprocess, classifiers = ScenePreprocess(INPUT_SIZE[name]), prompt_classifiers(model, device)
    right = dict.fromkeys(ATTRIBUTES, 0)
    for start in range(0, count, 250):
        scenes = sample(min(250, count - start), seed + start)
        images = foreign(model).encode_image(preprocess(scenes.images).to(device), normalize=True)
        for attribute in ATTRIBUTES:
            guess = (images @ classifiers[attribute].T).argmax(dim=1).cpu().numpy()
            right[attribute] += int((guess == scenes.causes.codes(attribute)).sum())
    model.train(was_training)
    return {attribute: hits / count for attribute, hits in right.items()}


def write_log(out: Path, rows: list[dict[str, float]]) -> None:
    with (out / "log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def export_weights(model: nn.Module, path: Path) -> None:
    """fp16 weights as safetensors; the model goes on with what was written, so that its accuracy is theirs."""
    from safetensors.torch import save_file

    model.cpu()
    state = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    save_file(state, path)
    path.chmod(0o644)  # safetensors writes for the owner alone
    model.load_state_dict(state)


def write_card(
    path: Path, name: str, scores: dict[str, float], *, seen: int, seed: int, command: str, minutes: float, size: int
) -> None:
    """The model card: accuracy per attribute, images seen, seed, command, minutes, number of parameters."""
    card = {
        "model": name,
        "accuracy": {attribute: round(score, 4) for attribute, score in scores.items()},
        "accuracy_on": "5,000 fresh one-group scenes, zero-shot with the prompts of each attribute, fp16 weights",
        "images_seen": seen,
        "seed": seed,
        "command": command,
        "minutes": round(minutes, 1),
        "parameters": size,
    }
    path.write_text(json.dumps(card, indent=2) + "\n")


def draw_curve(rows: list[dict[str, float]], path: Path, name: str) -> None:
    """Accuracy per attribute over images seen."""
    from ...plots import Plot

    figure = Plot(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    styles = ("-", "--", "-.", ":")
    for i, attribute in enumerate(ATTRIBUTES):
        x = [row["images"] / 1000 for row in rows]
        axes.plot(x, [row[attribute] for row in rows], styles[i % 4], label=attribute, linewidth=1.5)
    axes.set(
        xlabel="thousand images seen", ylabel="zero-shot accuracy", ylim=(0, 1.01), title=f"{name}: learning curve"
    )
    axes.grid(alpha=0.3)
    axes.legend(ncols=2, fontsize=8)
    figure.savefig(path, dpi=110)
