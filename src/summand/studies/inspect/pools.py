"""The description pools, and the texts of one."""

from __future__ import annotations

from typing import ClassVar

from ...text.pools import names, pool
from ..columns import Column, Table
from ..result import Result


class Pools(Result):
    """rows: of all pools name and about; of one pool its texts."""

    command: ClassVar[str] = "pools"

    def tables(self) -> list[Table]:
        if "text" in self.rows:
            return [Table(self.rows, (Column("text", kind="words"),), plain=True)]
        return [Table(self.rows, (Column("name", "pool", kind="id"), Column("about", "what is in it", kind="words")))]


def pools(name: str | None = None) -> Pools:
    """The pools by name; with a name (or a text file) the texts of that one. Raises `SummandError` as `pool` does."""
    if name is None:
        return Pools([{"name": key, "about": about} for key, about in names().items()], None)
    return Pools([{"text": text} for text in pool(name).texts], None, data=name)
