"""What fixed attention leaves out: every neuron's second-order effect beside what really happens without the neuron."""

from __future__ import annotations

from pathlib import Path

import torch

import summand
from summand.report import figures


def main(out: Path = Path("docs/images/fixed-attention.png"), count: int = 60, neurons: int = 60) -> None:
    model = summand.load("scenes-vit")
    x = model.preprocess(summand.scenes.sample(count, seed=1).images)
    chosen = torch.arange(0, model.activations(x[:1], 0).shape[-1], 8)[:neurons]
    with figures.style():
        figure, panels = figures.panels(3, width=3.4, height=3.2)
        for axes, layer in zip(panels, (0, 2, 4), strict=True):
            means = model.mean_activations([x], layer)
            second = model.second_order(x, layer).vectors()[:, chosen]
            real = model.indirect(x, layer, chosen.tolist(), means).vectors()
            kept = second - second.mean(dim=0)
            moved = real - real.mean(dim=0)
            cosine = torch.nn.functional.cosine_similarity(kept.flatten(), moved.flatten(), dim=0)
            axes.scatter(moved.norm(dim=-1).mean(dim=0), kept.norm(dim=-1).mean(dim=0), s=9, color="#1b4f8a")
            most = float(max(moved.norm(dim=-1).mean(dim=0).max(), kept.norm(dim=-1).mean(dim=0).max()))
            axes.plot([0, most], [0, most], color="black", linestyle=(0, (1, 1)), linewidth=1)
            axes.set(title=f"layer {layer}: cosine {float(cosine):.2f}", xlabel="what the output really loses")
        panels[0].set_ylabel("second-order effect")
        figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
