"""Measure the shipped scenes models anew and write docs/scenes-models.md. `python benchmarks/model_card.py [--json]`

Zero-shot accuracy per attribute on fresh scenes, as it is and with terms of the sum replaced by their mean
(mean-ablation, paper C): all MLPs; the attention of the first layers; everything but the heads.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

import summand
from summand.scenes import ATTRIBUTES, prompts, sample
from summand.scenes.pretrained import NAMES, card

DOCS = Path(__file__).parent.parent / "docs"
SEED = 424_242


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--count", type=int, default=5000)
    args = parser.parse_args()
    measured = {name: measure(name, args.count) for name in NAMES}
    if args.json:
        rows = [
            {"model": name, "terms": terms, **scores}
            for name, table in measured.items()
            for terms, scores in table.items()
        ]
        print(json.dumps({"command": "model_card", "options": {"count": args.count}, "rows": rows}))
        return
    page = write_page(measured, args.count)
    (DOCS / "scenes-models.md").write_text(page)
    print(page)


@torch.no_grad()
def measure(name: str, count: int) -> dict[str, dict[str, float]]:
    """Accuracy per attribute with different terms mean-ablated: {terms: {attribute: accuracy}}."""
    model = summand.load(name)
    heads, mlps, rest = [], [], []
    scenes = sample(count, SEED)
    for start in range(0, count, 250):
        parts = model.decompose(model.preprocess(scenes.images[start : start + 250]))
        heads.append(parts.heads().sum(dim=2))  # [image, layer, embed]
        mlps.append(parts.mlps().sum(dim=1))
        rest.append(parts.embedding() + parts.bias())
    attention, mlp, other = torch.cat(heads), torch.cat(mlps), torch.cat(rest)

    def mean(term: Tensor) -> Tensor:
        return term.mean(dim=0, keepdim=True).expand_as(term)

    versions = {"everything": attention.sum(dim=1) + mlp + other}
    if mlp.abs().sum() > 0:
        versions["MLPs mean-ablated"] = attention.sum(dim=1) + mean(mlp) + other
        for layer in range(1, attention.shape[1]):
            kept = mean(attention[:, :layer]).sum(dim=1) + attention[:, layer:].sum(dim=1)
            versions[f"attention before layer {layer} mean-ablated"] = kept + mlp + other
        versions["attention mean-ablated, MLPs kept"] = mean(attention).sum(dim=1) + mlp + other
    return {terms: accuracy(model, vectors, scenes.causes) for terms, vectors in versions.items()}


def accuracy(model: summand.Model, vectors: Tensor, causes: summand.scenes.Causes) -> dict[str, float]:
    found = {}
    for attribute in ATTRIBUTES:
        rows = [model.encode_text(texts).mean(dim=0) for texts in prompts(attribute).values()]
        classes = torch.nn.functional.normalize(torch.stack(rows), dim=1)
        guess = (vectors @ classes.T).argmax(dim=1)
        found[attribute] = float((guess.numpy() == causes.codes(attribute)).mean())
    return found


def write_page(measured: dict[str, dict[str, dict[str, float]]], count: int) -> str:
    lines = [
        "# The scenes models",
        "",
        f"Written by `python benchmarks/model_card.py`: zero-shot accuracy on {count:,} fresh one-group scenes with",
        "the prompts of each attribute (`summand.scenes.prompts`), from the shipped fp16 weights.",
        "",
    ]
    for name, table in measured.items():
        about = card(name)
        lines += [
            f"## {name}",
            "",
            f"{about['parameters']:,} parameters, {about['images_seen']:,} images seen, seed {about['seed']}.",
            f"Command: `{about['command']}`",
            "",
            *([about["note"], ""] if "note" in about else []),
            "| terms | " + " | ".join(ATTRIBUTES) + " |",
            "|---" * (len(ATTRIBUTES) + 1) + "|",
            *(
                f"| {terms} | " + " | ".join(f"{scores[attribute]:.3f}" for attribute in ATTRIBUTES) + " |"
                for terms, scores in table.items()
            ),
            "",
            f"![Learning curve of {name}](images/{name}-curve.png)",
            "",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
