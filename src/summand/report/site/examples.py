"""The images on a head's page: which, their thumbnails, and the maps laid over them."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...data import ImageSource
from ...maps.look import overlay
from ...maps.placing import placed, share_of
from ...models import Model
from ...progress import Progress
from ...survey import Survey
from ...text.labels import HeadLabel

_THUMBNAIL = 192
_MAP_BATCH = 32


@dataclass(frozen=True)
class Picked:
    """Of one head: the centred scores of all images along its direction, and the strongest and weakest rows."""

    scores: Tensor
    strongest: list[int]
    weakest: list[int]


@dataclass(frozen=True)
class Example:
    """An image on a head's page: its thumbnail, the head's score along its direction, and the token map."""

    picture: str
    name: str
    score: float
    overlay: str


def pick_examples(
    found: Survey, labels: Sequence[HeadLabel], along: Mapping[str, Tensor], count: int
) -> dict[str, Picked]:
    """For each head: its images of largest and smallest score along its direction [embed]."""
    kept = found.kept
    picked, directions = {}, kept.directions
    for label in labels:
        row = label.layer - found.manifest.kept[0]
        scores = kept.coefficients[:, row, label.head].double() @ (
            directions[row, label.head].double() @ along[label.name]
        )
        scores = scores - scores.mean()
        order = scores.argsort(descending=True).tolist()
        some = min(count, len(order) // 2)
        picked[label.name] = Picked(scores, order[:some], order[::-1][:some])
    return picked


class Pictures:
    """The images of a site, whose thumbnails are written to `out`/images. indices: each row's number in the source.
    along: each head's direction."""

    def __init__(
        self, model: Model, source: ImageSource, out: Path, indices: np.ndarray, along: Mapping[str, Tensor]
    ) -> None:
        self.model, self.source, self.out = model, source, out
        self.indices, self.along = indices, along

    def maps(
        self, labels: Sequence[HeadLabel], picked: Mapping[str, Picked], progress: bool | None
    ) -> dict[tuple[str, int], Tensor]:
        """Token maps along each head's direction, through that head alone, for the images on its page."""
        wanted: dict[int, list[HeadLabel]] = {}
        for label in labels:
            for row in (*picked[label.name].strongest, *picked[label.name].weakest):
                wanted.setdefault(row, []).append(label)
        column = {label.name: i for i, label in enumerate(labels)}
        maps: dict[tuple[str, int], Tensor] = {}
        rows = sorted(wanted)
        if not rows:
            return maps
        targets = torch.stack([self.along[label.name] for label in labels])
        targets = targets.to(self.model.device, torch.promote_types(self.model.dtype, torch.float32))
        with Progress("maps", len(rows), "images", progress) as bar:
            for start in range(0, len(rows), _MAP_BATCH):
                some = rows[start : start + _MAP_BATCH]
                pixels = torch.stack([self.model.preprocess(self._image(row)) for row in some])
                pixels = pixels.to(self.model.device, self.model.dtype)
                with self.model.as_it_is():
                    toward = self.model.decompose(pixels).toward(targets)
                    tower = self.model.tower
                    for i, row in enumerate(some):
                        for label in wanted[row]:
                            tokens = toward[i, label.layer, label.head, tower.prefix :, column[label.name]]
                            maps[label.name, row] = tokens.unflatten(0, tower.grid).float().cpu()
                    for row, picture in zip(some, self.model.picture(pixels), strict=True):
                        self._thumbnail(row, picture)
                bar.update(len(some))
        return maps

    def _image(self, row: int) -> Image.Image:
        return self.source.image(int(self.indices[row]))

    def _thumbnail(self, row: int, picture: np.ndarray) -> None:
        small = Image.fromarray(picture)
        if max(small.size) > _THUMBNAIL:
            small.thumbnail((_THUMBNAIL, _THUMBNAIL))
            small.save(self.out / "images" / self._file(row), quality=88)
        elif self.model.world.picture_size is not None:
            self._image(row).save(self.out / "images" / self._file(row))
        else:
            small.save(self.out / "images" / self._file(row))

    def _file(self, row: int) -> str:
        kind = "png" if max(self.model.tower.image_size) <= _THUMBNAIL else "jpg"
        return f"{int(self.indices[row]):06d}.{kind}"

    def _over(self, cells: Tensor) -> Tensor:
        """The map as it is laid over the whole picture: as it is where it covers it, else at the picture's size."""
        share = share_of(self.model)
        return cells if share == (1.0, 1.0) else placed(cells[None, None], self.model.tower.image_size, share)[0, 0]

    def example(self, row: int, score: float, cells: Tensor, limit: float) -> Example:
        buffer = io.BytesIO()
        overlay(self._over(cells), limit).save(buffer, format="PNG")
        return Example(
            picture=f"../images/{self._file(row)}",
            name=self.source.name(int(self.indices[row])),
            score=score,
            overlay="data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode(),
        )
