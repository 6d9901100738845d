"""The nearest pictures by colour, whatever else they show."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

import summand


def main(out: Path = Path("docs/images/retrieve.png"), count: int = 600) -> None:
    model = summand.load("scenes-vit")
    scene = Image.fromarray(
        summand.scenes.describe("two red striped stars on the left in the snow", 1, seed=0).images[0]
    )
    summand.retrieve(model, scene, f"scenes:count={count}", property="colour", top=8).save(out)


if __name__ == "__main__":
    main()
