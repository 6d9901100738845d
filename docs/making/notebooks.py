"""The notebooks of examples/ as pages, with the outputs that they were kept with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

FOLDER = Path(__file__).parents[2] / "examples"


def notebooks() -> list[Path]:
    """In the order of their numbers."""
    return sorted(FOLDER.glob("*.ipynb"))


def title_of(path: Path) -> str:
    """The first heading of a notebook."""
    cells = nbformat.read(path, as_version=4).cells
    lines = (line for cell in cells if cell.cell_type == "markdown" for line in cell.source.splitlines())
    return next(line.removeprefix("# ") for line in lines if line.startswith("# "))


def files() -> Iterator[tuple[str, str | bytes]]:
    """Every page and picture below notebooks/, with its contents."""
    rows = []
    for path in notebooks():
        text, resources = MarkdownExporter().from_filename(str(path))
        pictures = {f"{path.stem}-{name}": content for name, content in resources["outputs"].items()}
        for name in resources["outputs"]:
            text = text.replace(f"({name})", f"({path.stem}-{name})")
        yield f"{path.stem}.md", text + f"\n\nThe notebook: `examples/{path.name}`.\n"
        yield from pictures.items()
        rows.append(f"- [{title_of(path)}]({path.stem}.md)")
    yield (
        "index.md",
        "# Notebooks\n\nEach opens on scenes, runs offline on two cores, and says what to change for a model of your own. They are in "
        "`examples/` (as .ipynb with their outputs, and as .py); `make notebooks` runs them all, "
        "in 130 s of processor time.\n\n" + "\n".join(rows),
    )
