"""A trained autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ...effects.autoencoder import Autoencoder
from ...models.autoencoders import write_autoencoder
from ..columns import Column, Table
from ..result import Result


class TrainedAutoencoder(Result):
    """A sparse autoencoder of a stream.

    rows: layer, latents, active (latents a token, on tokens kept aside), explained (share of the stream's variance),
    alive (share of the latents that were active). sae: itself, for `model.with_autoencoder`; a folder as place holds it
    in SAELens' layout, for `load(sae=FOLDER)` and --sae.
    """

    command: ClassVar[str] = "sae"
    sae: Autoencoder

    def tables(self) -> list[Table]:
        columns = (
            Column("layer", kind="id"),
            Column("latents"),
            Column("active", "active a token", form=".1f"),
            Column("explained", "of the variance", form=".0%"),
            Column("alive", "alive latents", form=".0%"),
        )
        return [Table(self.rows, columns, caption="on tokens kept aside")]

    def save_more(self, folder: Path) -> dict[str, Path]:
        return {"autoencoder": write_autoencoder(self.sae, folder)}
