"""The modality gap: pictures and texts lie in two cones; less each side's own mean they meet."""

from __future__ import annotations

from pathlib import Path

import torch
from torch.nn import functional as F

import summand
from summand.report import figures
from summand.text.pools import pool


def main(out: Path = Path("docs/images/modality-gap.png"), count: int = 300) -> None:
    model = summand.load("scenes-vit")
    images = F.normalize(model.encode_image(model.preprocess(summand.scenes.sample(count, seed=1).images)), dim=-1)
    texts = F.normalize(model.encode_text(pool("scenes").texts), dim=-1)
    sides = {"as they are": (images, texts), "less each side's mean": (images - images.mean(0), texts - texts.mean(0))}
    with figures.style():
        figure, panels = figures.panels(2, width=4.2, height=3.2)
        for axes, (title, (seen, said)) in zip(panels, sides.items(), strict=True):
            for name, a, b, color in (
                ("picture and picture", seen, seen, "#1b4f8a"),
                ("text and text", said, said, "#2f7d4f"),
                ("picture and text", seen, said, "#c0501f"),
            ):
                cosines = F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
                if a is b:
                    cosines = cosines[~torch.eye(len(a), dtype=torch.bool)]
                axes.hist(cosines.flatten().numpy(), bins=80, density=True, histtype="step", label=name, color=color)
            axes.set(title=title, xlabel="cosine")
            axes.set_yticks([])
        panels[0].legend()
        figure.savefig(out, dpi=110)


if __name__ == "__main__":
    main()
