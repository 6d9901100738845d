"""Scenes as a result: a contact sheet, or a folder with masks and attributes.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from .. import scenes
from ..studies.result import Result, check_place
from ..studies.scene_options import ScenesOptions
from ..studies.verb import at_least, between, verb


class Drawn(Result):
    """rows: the attributes of every scene. scenes: the scenes themselves."""

    command: ClassVar[str] = "scenes"
    drawn_by: str | None = f"{__name__}:figure"

    def __init__(self, found: Any, options: ScenesOptions) -> None:
        super().__init__(found.attributes, options, data=options.text)
        self.scenes = found

    def tables(self) -> list[Any]:
        return []

    def save(self, place: str | Path) -> dict[str, Path]:
        """A name in .png gets a contact sheet, of one scene its own picture; a folder the images, masks and
        attributes.csv."""
        place = check_place(place)
        if place.suffix.lower() == ".png":
            place.parent.mkdir(parents=True, exist_ok=True)
            if len(self.rows) == 1:
                Image.fromarray(self.scenes.images[0]).save(place)
                return {"picture": place}
            scenes.contact_sheet(self.scenes.images).save(place)
            return {"sheet": place}
        scenes.write_folder(self.scenes, place)
        return {"folder": place}


def figure(result: Drawn) -> Any:
    """The contact sheet."""
    import numpy as np

    from ..plots import Plot

    sheet = np.asarray(scenes.contact_sheet(result.scenes.images))
    found = Plot(figsize=(sheet.shape[1] / 100, sheet.shape[0] / 100))
    axes = found.add_axes((0, 0, 1, 1))
    axes.imshow(sheet)
    axes.set_axis_off()
    return found


@verb(ScenesOptions)
def draw(count: int = 64, *, options: ScenesOptions) -> Drawn:
    """Scenes with known causes, as `summand.scenes.sample` and `describe` draw them."""
    at_least("count", count, 1)
    between("groups", options.groups, 1, 2)
    if options.text is not None:
        return Drawn(scenes.describe(options.text, count, options.seed), options)
    given = [f"count={count}", f"seed={options.seed}", f"groups={options.groups}"]
    given += [f"shift={item}" for item in options.shift] + [f"tie={item}" for item in options.tie]
    return Drawn(scenes.parse_source("scenes:" + ",".join(given)).sample(), options)
