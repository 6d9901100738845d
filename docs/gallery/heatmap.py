"""Four texts on one scene: where the picture speaks for each."""

from __future__ import annotations

from pathlib import Path

import summand

SCENE = (
    "two large striped red stars on the left and one large solid blue ring on the right in a meadow with the letter K"
)
TEXTS = ["a red star", "a blue ring", "the letter K", "a meadow"]


def main(out: Path = Path("docs/images/heatmap.png")) -> None:
    model = summand.load("scenes-vit")
    scene = summand.scenes.describe(SCENE, 18, seed=5)
    summand.heatmap(model, scene.images[17], TEXTS).save(out)


if __name__ == "__main__":
    main()
