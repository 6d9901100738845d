"""A picture's own description, a sparse sum of texts, with a map of each of the first."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import summand


def main(out: Path = Path("docs/images/concepts.png"), count: int = 300) -> None:
    model = summand.load("scenes-vit")
    text = "two red stars on the left and a small blue ring on the right in the snow"
    scene = Image.fromarray(summand.scenes.describe(text, 1, seed=0).images[0])
    known = summand.survey(model, f"scenes:count={count}", units="neurons:3-4")
    summand.concepts(model, scene, known, maps=3).save(out)


if __name__ == "__main__":
    main()
