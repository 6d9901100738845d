"""The first picture of the site: a scene, and what speaks for each of two texts."""

from __future__ import annotations

from pathlib import Path

import summand


def main(out: Path = Path("docs/images/start-heatmap.png")) -> None:
    model = summand.load("scenes-vit")
    text = "two red stars on the left and a small blue ring on the right in the snow"
    scene = summand.scenes.describe(text, 1, seed=0)
    summand.heatmap(model, scene.images[0], ["a red star", "a ring"]).save(out)


if __name__ == "__main__":
    main()
