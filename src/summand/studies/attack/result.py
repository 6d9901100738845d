"""What an attack did, as a result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd

from ..columns import Column, Table
from ..result import Result
from .loop import Attack, Picture
from .mining import Words

STRONGEST = 16
"""Pictures of each method that are shown and saved."""


class Attacked(Result):
    """Pictures that mislead a classifier, by where their words come from.

    rows: method, success (the share of pictures that are called the target), std over the repeats, rates (one a
    repeat), pictures, words, scores; where nothing was drawn: word, score. prompts: the descriptions of every repeat.
    words: of the model's own neurons; instruction: what a language model is asked; attacks: all pictures with their
    scores, a method each.
    """

    command: ClassVar[str] = "attack"
    drawn_by: str | None = "summand.report.attack:figure"
    image_of: str
    classified_as: str
    synonyms: str
    prompts: list[Any]

    def __init__(
        self, rows: Any, options: Any, *, words: Words, instruction: str, attacks: Sequence[Attack] = (), **more: Any
    ) -> None:
        super().__init__(rows, options, **more)
        self.words, self.instruction, self.attacks = words, instruction, tuple(attacks)
        if not attacks:
            self.drawn_by = None

    def tables(self) -> list[Table]:
        words = pd.DataFrame({"words": [" · ".join(self.words.words)]})
        found = [
            Table(words, [Column("words", kind="words")], caption=f"names of the target left out by: {self.synonyms}")
        ]
        if self.attacks:
            columns = (
                Column("method", "words from", kind="words"),
                Column("success", "fooled", form=".1%"),
                Column("std", "std over repeats", form=".1%"),
                Column("pictures"),
            )
            title = f"pictures of {self.image_of} that the model calls {self.classified_as}"
            found.append(Table(self.rows, columns, title))
        elif self.prompts:
            prompts = pd.DataFrame({"description": self.prompts})
            found.append(Table(prompts, [Column("description", f"descriptions of {self.image_of}", kind="words")]))
        return found

    def strongest(self) -> list[tuple[Attack, list[Picture]]]:
        """Of each method the pictures that mislead most."""
        return [(each, sorted(each.pictures, key=lambda picture: -picture.score)[:STRONGEST]) for each in self.attacks]

    def save_more(self, folder: Path) -> dict[str, Path]:
        """words.json, instruction.txt (to ask a language model of one's own), prompts.txt, and the strongest pictures
        with pictures.csv, which says what each is."""
        written = {name: folder / f"{name}.{end}" for name, end in
                   (("words", "json"), ("instruction", "txt"), ("prompts", "txt"))}  # fmt: skip
        words = {**asdict(self.words), "names_of_the_target_left_out_by": self.synonyms}
        written["words"].write_text(json.dumps(words, indent=1) + "\n", encoding="utf-8")
        written["instruction"].write_text(self.instruction + "\n", encoding="utf-8")
        flat = [text for some in self.prompts for text in ([some] if isinstance(some, str) else some)]
        written["prompts"].write_text("\n".join(dict.fromkeys(flat)) + "\n" * bool(flat), encoding="utf-8")
        return written | (self._save_pictures(folder) if self.attacks else {})

    def _save_pictures(self, folder: Path) -> dict[str, Path]:
        rows = []
        (folder / "pictures").mkdir(exist_ok=True)
        for each, pictures in self.strongest():
            for rank, picture in enumerate(pictures, start=1):
                name = f"pictures/{each.words.method.replace(' ', '-')}-{rank:02d}.png"
                picture.image.save(folder / name)
                rows.append(
                    {"path": name, "method": each.words.method, "repeat": picture.repeat, "prompt": picture.prompt,
                     "score": picture.score, "fooled": picture.fooled}
                )  # fmt: skip
        pd.DataFrame(rows).to_csv(folder / "pictures.csv", index=False)
        return {"pictures": folder / "pictures.csv"}
