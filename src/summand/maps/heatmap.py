"""Where in the picture: maps of one image along texts, in the coordinates of the original picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from ..arguments import names_wrong_arguments
from ..atomic import replacing
from ..errors import SummandError
from ..notebook import png
from .covered import Covered
from .crop import Box
from .options import HeatmapOptions
from .placing import placed

if TYPE_CHECKING:
    import pandas as pd

PICTURES = (".png", ".pdf", ".svg", ".jpg")


@dataclass(frozen=True)
class Original:
    """The picture that a map is of, upright: its size (height, width), read when asked for, and the box seen of it."""

    size: tuple[int, int]
    read: Callable[[], Image.Image]
    find_box: Callable[[], Box | None]

    @cached_property
    def box(self) -> Box | None:
        return self.find_box()


@names_wrong_arguments
@dataclass(frozen=True, repr=False)
class Heatmap:
    """Maps of one image.

    texts: what each map is about. grid: contribution of every patch, [text, row, column], in units of the embedding;
    of every pixel where windows were read. picture: the image as the model saw it, uint8 [height, width, 3]. quantity:
    what the numbers are. signed: whether below zero means against; else they are an amount, as a neuron's activation.
    share: of the picture's height and width, from the upper left corner, that the grid covers. similarity: the model's
    own cosine of the image and each text (with versus less that of the other text); none of a neuron. name, model,
    options: what was asked. original: the picture as it was given. covered: of maps through all heads, how much of what
    the picture says of the texts they hold.
    """

    texts: tuple[str, ...]
    grid: Float[np.ndarray, "text row column"]
    picture: np.ndarray
    quantity: str = "contribution"
    signed: bool = True
    share: tuple[float, float] = (1.0, 1.0)
    similarity: tuple[float, ...] = ()
    name: str = ""
    model: str | None = None
    options: HeatmapOptions = field(default_factory=HeatmapOptions)
    original: Original | None = None
    covered: Covered | None = None

    def __post_init__(self) -> None:
        if not np.isfinite(self.grid).all():
            raise SummandError("a map that holds NaN or infinite numbers cannot be drawn; check the model's weights")

    def __repr__(self) -> str:
        of = f" of {self.name}" if self.name else ""
        return f"<Heatmap{of}: {', '.join(map(repr, self.texts))}; {' × '.join(map(str, self.grid.shape[1:]))}>"

    def upsampled(self) -> Float[np.ndarray, "text height width"]:
        """The maps at the size of the picture, bilinear."""
        height, width = self.picture.shape[:2]
        return placed(torch.from_numpy(self.grid)[:, None], (height, width), self.share)[:, 0].numpy()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the original picture."""
        return self._original.size

    @property
    def box(self) -> Box:
        """Left, top, right, bottom of what the model saw, in pixels of the original picture. Raises `SummandError`
        where preprocessing does more than to cut and to resize."""
        found = self._original.box
        if found is None:
            raise SummandError(
                f"{self.model}'s preprocessing does more than cut and resize, so there is no box; use upsampled()"
            )
        return found

    @property
    def _original(self) -> Original:
        if self.original is None:
            raise SummandError("this map was made without the original picture, so nothing lies in its coordinates")
        return self.original

    def on_original(self) -> Float[np.ndarray, "text height width"]:
        """The maps in the coordinates of the original picture, NaN where the model saw nothing of it."""
        (height, width), (left, top, right, bottom) = self.size, self.box
        maps = self.upsampled()
        across, down = maps.shape[2] / (right - left), maps.shape[1] / (bottom - top)
        to_map = (across, 0, -left * across, 0, down, -top * down)
        grown = [
            np.asarray(
                Image.fromarray(one).transform(
                    (width, height), Image.Transform.AFFINE, to_map, Image.Resampling.BILINEAR
                )
            )
            for one in maps
        ]
        x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
        seen = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
        return np.where(seen, np.stack(grown), np.float32(np.nan))

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be read beside the maps."""
        return (str(self.covered),) if self.covered is not None and self.covered.shares else ()

    @property
    def cosines(self) -> tuple[float | None, ...]:
        """`similarity`, or None for each map that is along no text."""
        return self.similarity if len(self.similarity) == len(self.texts) else (None,) * len(self.texts)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """text, similarity, sum, max and min of each map, and where its largest cell is (x, y) in the original."""
        import pandas as pd

        places = [self._largest(one) for one in self.grid]
        found = [
            {"text": text, "similarity": alike, "sum": float(one.sum())}
            | {"max": float(one.max()), "min": float(one.min()), "x": x, "y": y}
            for text, alike, one, (x, y) in zip(self.texts, self.cosines, self.grid, places, strict=True)
        ]
        return pd.DataFrame(found)

    def _largest(self, one: np.ndarray) -> tuple[float | None, float | None]:
        """The middle of the largest cell."""
        box = self._grid_box()
        if box is None:
            return None, None
        row, column = np.unravel_index(int(one.argmax()), one.shape)
        left, top, right, bottom = box
        at = (column + 0.5) / one.shape[1], (row + 0.5) / one.shape[0]
        return round(left + at[0] * (right - left), 1), round(top + at[1] * (bottom - top), 1)

    def _grid_box(self) -> Box | None:
        """What the grid covers of the original picture."""
        if self.original is None or self.original.box is None:
            return None
        left, top, right, bottom = self.original.box
        return left, top, left + (right - left) * self.share[1], top + (bottom - top) * self.share[0]

    def place(self) -> dict[str, Any]:
        """Where the map lies: the original's width and height, the box that the model saw of it, and the one that the
        grid covers, each left, top, right, bottom."""
        if self.original is None:
            return {}
        height, width = self.size
        return {"width": width, "height": height, "box": self.original.box, "grid_box": self._grid_box()}

    def record(self) -> dict[str, Any]:
        """As plain values; its options make it again."""
        rows = self.rows.astype(object).where(self.rows.notna(), None).to_dict("records")
        asked = {"command": "heatmap", "model": self.model, "data": self.name, "options": asdict(self.options)}
        notes = {"notes": list(self.notes)} if self.notes else {}
        return {**asked, **notes, "rows": rows, "quantity": self.quantity, **self.place(), "grid": self.grid.tolist()}

    def to_json(self) -> str:
        """The record as JSON."""
        return json.dumps(self.record(), ensure_ascii=False)

    def arrays(self) -> dict[str, Any]:
        """maps: in the coordinates of the original picture, where these are known; grid, box, texts, similarity."""
        known = self.original is not None and self.original.box is not None
        placed_maps = {"maps": self.on_original(), "box": np.array(self.box)} if known else {}
        texts, similarity = np.array(self.texts), np.array(self.similarity, dtype=np.float64)
        return {**placed_maps, "grid": self.grid, "texts": texts, "similarity": similarity}

    def figure(self) -> Any:
        """A matplotlib figure: the picture, then each map laid over it, on one colour scale, with its bar; with
        overlay, the maps over the original picture alone."""
        from .look import alone, panels

        return alone(self) if self.options.overlay else panels(self)

    def save(self, path: str | Path) -> dict[str, Path]:
        """Write the figure as a picture, the record (.json), the rows (.csv) or the maps (.npz); the format follows the
        file name. A name without ending is a folder for all of it. Says what stands where."""
        path = Path(path)
        suffix = path.suffix.lower()
        try:
            if not suffix:
                path.mkdir(parents=True, exist_ok=True)
                names = ("figure.png", "result.json", "rows.csv", "maps.npz")
                return {key: value for name in names for key, value in self.save(path / name).items()}
            if suffix in PICTURES:
                self._draw(path)
                return {"figure": path}
            if suffix not in (".json", ".csv", ".npz"):
                raise SummandError(
                    f"cannot write a picture to {path}: the name must end in .png, .jpg, .svg or .pdf (or in .json, "
                    f".csv or .npz)"
                )
            with replacing(path) as temporary:
                if suffix == ".npz":
                    with temporary.open("wb") as file:
                        np.savez_compressed(file, **self.arrays())
                elif suffix == ".json":
                    temporary.write_text(self.to_json() + "\n", encoding="utf-8")
                else:
                    self.rows.to_csv(temporary, index=False)
        except OSError as error:
            raise SummandError(f"cannot write {path}: {error.strerror or error}") from error
        return {{".json": "result", ".csv": "rows", ".npz": "maps"}[suffix]: path}

    def _draw(self, path: Path) -> None:
        if self.options.overlay and path.suffix.lower() in (".png", ".jpg"):
            from .look import laid_over

            laid_over(self).save(path)
        else:
            self.figure().savefig(path, dpi=130)

    def _repr_png_(self) -> bytes:
        return png(self.figure())

    def plot(self) -> Any:
        """The figure, which a notebook shows."""
        return self.figure()

    def _repr_html_(self) -> str:
        from .hover import as_page

        return as_page(self)
