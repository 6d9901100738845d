"""Run the notebooks here from their .py, and keep their outputs: `python examples/run_notebooks.py [NAME …]`."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient

HERE = Path(__file__).parent


def sources() -> list[Path]:
    """The notebooks as text, in their order."""
    return sorted(HERE.glob("[0-9][0-9]_*.py"))


def run(path: Path, folder: Path) -> Any:
    """The notebook, executed in a folder, with its outputs. Raises what a cell raises."""
    notebook = jupytext.read(path)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran: nothing that a reader wants to see changed
        if cell.cell_type == "code":  # what goes to stderr is progress, and other libraries' advice
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]
    return notebook


def main(names: list[str]) -> None:
    for path in sources():
        if names and not any(name in path.stem for name in names):
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            jupytext.write(run(path, Path(folder)), path.with_suffix(".ipynb"))
        print(f"{path.stem}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
