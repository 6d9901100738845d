"""What an alignment is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from ...errors import SummandError
from ...models import Model
from ...models.aligned import AlignedTower, Fit, Vision, save_aligned
from ..columns import Column, Table
from ..result import Result
from .options import AlignOptions

_LITTLE = 0.1
"""The share of what the mean embedding misses under which a map is said to be worth little."""


class Alignment(Result):
    """How well a vision model's output, mapped by images alone, stands for a CLIP's.

    rows: images, ridge, cosine (mean over images that neither the map nor the ridge was chosen on), of_mean (the same
    of the mean embedding, which knows no image), agreement (share of these images with the same zero-shot answer),
    and chance (the share of the CLIP's most frequent answer). A folder as place holds the model for
    `summand.load("aligned:FOLDER")`.
    """

    command: ClassVar[str] = "align"
    _parts: tuple[Vision | None, AlignedTower, Model]

    @classmethod
    def of(
        cls,
        fitted: Fit,
        agreement: tuple[float, float],
        options: AlignOptions,
        vision: Vision | None,
        tower: AlignedTower,
        clip: Model,
        data: str,
        name: str,
    ) -> Alignment:
        """agreement: with the CLIP's answers, and by chance."""
        row: dict[str, Any] = {
            "images": fitted.fitted,
            "ridge": fitted.ridge,
            "cosine": fitted.cosine,
            "of_mean": fitted.of_mean,
            "agreement": agreement[0],
            "chance": agreement[1],
        }
        said = (
            "the map says hardly more of an image than the mean embedding does: words of this model mean little; give "
            "more images, or a network that was trained"
        )
        notes = [said] if fitted.cosine - fitted.of_mean < _LITTLE * (1 - fitted.of_mean) else []
        made = cls([row], options, model=name, data=data, notes=notes, clip=clip.name)
        made._parts = vision, tower, clip
        return made

    @property
    def cosine(self) -> float:
        return float(self.rows["cosine"].tolist()[0])

    @property
    def agreement(self) -> float:
        return float(self.rows["agreement"].tolist()[0])

    def tables(self) -> list[Table]:
        columns = (
            Column("images", "fitted on"),
            Column("ridge", form=".0e"),
            Column("cosine", form=".3f"),
            Column("of_mean", "mean's cosine", form=".3f"),
            Column("agreement", "zero-shot", form=".0%"),
            Column("chance", form=".0%"),
        )
        caption = (
            "on images held out. cosine: with the CLIP's embeddings, beside that of their mean, which knows no image\n"
            "zero-shot: the same answer as the CLIP's, beside its commonest one"
        )
        return [Table(self.rows, columns, str(self.model), caption)]

    def save_more(self, folder: Path) -> dict[str, Path]:
        vision, tower, clip = self._parts
        if vision is None:
            raise SummandError(
                "a folder names the vision model as timm does, and this one was handed over as a module; give its name "
                "(and weights=FILE, vision_settings=…) to keep it"
            )
        save_aligned(folder, vision, tower, clip.origin, self.options.pixels, self.rows.to_dict("records")[0])
        return {"model": folder}
