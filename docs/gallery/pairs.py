"""Neuron–head pairs of an attention pool: one neuron's map through each of its heads (paper B)."""

from __future__ import annotations

from pathlib import Path

import torch

import summand
from summand.report import figures


def main(out: Path = Path("docs/images/pairs.png")) -> None:
    model = summand.load("scenes-rn")
    text = "two red stars on the left and a small blue ring on the right in the snow"
    scene = summand.scenes.describe(text, 1, seed=0)
    effects = model.pairs(model.preprocess(scene.images))
    toward = effects.toward(model.encode_text(["a red star", "a ring", "the snow"]))[0]  # [neuron, head, text]
    largest = toward.abs().amax(dim=(1, 2)).topk(24).indices
    with figures.style():
        figure, axes = figures.panels(3, width=3.0, height=4.0)
        drawn = []
        limit = float(toward[largest].abs().max())
        for place, title in zip(range(3), ("a red star", "a ring", "the snow"), strict=True):
            drawn.append(
                axes[place].imshow(
                    toward[largest, :, place].numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto"
                )
            )
            axes[place].set(title=title, xlabel="head", ylabel="neuron" if place == 0 else "")
            axes[place].set_yticks(range(24), torch.as_tensor(largest).tolist(), fontsize=6)
            axes[place].grid(visible=False)
        figure.colorbar(drawn[0], ax=axes, label="what the pair adds", shrink=0.7)
        figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
