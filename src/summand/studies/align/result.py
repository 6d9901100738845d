"""What an alignment is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ...errors import SummandError
from ...models import Model
from ...models.aligned import AlignedTower, Fit, Vision, save_aligned
from ..columns import Column, Table
from ..result import Result
from .options import AlignOptions

_LITTLE = 0.1
"""The share of what the mean embedding misses under which a map is said to be worth little."""
_SURE = 2.0
"""Standard errors above the commonest answer from which answers agree by more than chance."""


class Alignment(Result):
    """How well a vision model's output, mapped by images alone, stands for a CLIP's.

    rows: images, ridge, explained (of what tells images apart for the CLIP, the share that the map says, on images that
    neither the map nor the ridge was chosen on), cosine and of_mean (mean over these images, beside that of the mean
    embedding, which knows no image), agreement (share of these images with the same zero-shot answer), and chance (the
    share of the CLIP's most frequent answer). answers: the two for every set of classes; beyond: whether it is more
    than chance, by two standard errors. A folder as place holds the model for `summand.load("aligned:FOLDER")`.
    """

    command: ClassVar[str] = "align"
    _parts: tuple[Vision | None, AlignedTower, Model]

    @classmethod
    def of(
        cls,
        fitted: Fit,
        answers: list[dict[str, Any]],
        options: AlignOptions,
        vision: Vision | None,
        tower: AlignedTower,
        clip: Model,
        data: str,
        name: str,
    ) -> Alignment:
        """answers: how often they are the CLIP's, a row a set of classes, the main one first."""
        row: dict[str, Any] = {
            "images": fitted.fitted,
            "ridge": fitted.ridge,
            "cosine": fitted.cosine,
            "of_mean": fitted.of_mean,
            "explained": fitted.explained,
            "agreement": answers[0]["agreement"],
            "chance": answers[0]["chance"],
        }
        answers = [
            {**each, "beyond": beyond(each["agreement"], each["chance"], len(fitted.reported))} for each in answers
        ]
        said = (
            "the map says hardly more of an image than the mean embedding does: words of this model mean little; give "
            "more images, or a network that was trained"
        )
        notes = [said] if fitted.explained < _LITTLE else []
        if lost := [each["classes"] for each in answers if not each["beyond"]]:
            notes.append(
                f"of {', '.join(lost)} it tells no more than chance: words of "
                f"{'these' if len(lost) > 1 else 'this'} mean nothing here"
            )
        made = cls([row], options, model=name, data=data, notes=notes, clip=clip.name, answers=answers)
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
            Column("explained", form=".0%"),
            Column("cosine", form=".3f"),
            Column("of_mean", "mean's cosine", form=".3f"),
        )
        caption = (
            "on images held out. explained: of what tells images apart in the CLIP's space, what the map says\n"
            "cosine: with the CLIP's embeddings, beside that of their mean, which knows no image"
        )
        answers = (
            Column("classes", "zero-shot answers", kind="id"),
            Column("agreement", "as the CLIP's", form=".0%"),
            Column("chance", form=".0%"),
        )
        return [
            Table(self.rows, columns, str(self.model), caption),
            Table(pd.DataFrame(self.more["answers"]), answers, "what the map tells", "chance: its commonest answer"),
        ]

    def save_more(self, folder: Path) -> dict[str, Path]:
        vision, tower, clip = self._parts
        if vision is None:
            raise SummandError(
                "a folder names the vision model as timm does, and this one was handed over as a module; give its name "
                "(and weights=FILE, vision_settings=…) to keep it"
            )
        save_aligned(folder, vision, tower, clip.origin, self.options.pixels, self.rows.to_dict("records")[0])
        return {"model": folder}


def beyond(agreement: float, chance: float, images: int) -> bool:
    """agreement > chance + 2 √(chance (1 − chance) / images)."""
    return agreement > chance + _SURE * (chance * (1 - chance) / images) ** 0.5
