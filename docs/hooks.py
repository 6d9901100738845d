"""What the site has beyond the files of docs/: pages made of the code, notebooks, changes, llms.txt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from making import api, errors, llms, notebooks  # noqa: E402
from mkdocs.structure.files import File, Files  # noqa: E402


def made_pages() -> dict[str, str | bytes]:
    """Every page that is no file, by its path."""
    changes = (HERE.parent / "CHANGELOG.md").read_text(encoding="utf-8").replace("](docs/", "](")
    return {
        "errors.md": "\n".join(errors.lines()),
        "changes.md": changes,
        **{f"api/{name}.md": text for name, text in api.pages().items()},
        **{f"notebooks/{name}": content for name, content in notebooks.files()},
    }


def on_config(config: Any) -> Any:
    """The pages that are made are listed; those of the nav that nobody has written yet are left out."""
    config["made"] = made_pages()
    listed = sorted(f"notebooks/{path.stem}.md" for path in notebooks.notebooks())
    there = {path.relative_to(HERE).as_posix() for path in HERE.rglob("*.md")} | set(config["made"])
    whole = [_with(one, "api/index.md", [f"api/{name}.md" for name in api.PAGES]) for one in config["nav"]]
    whole = [_with(one, "notebooks/index.md", listed) for one in whole]
    config["nav"] = [kept for one in whole if (kept := _only(one, there))]
    return config


def on_files(files: Files, config: Any) -> Files:
    for path, content in config["made"].items():
        files.append(File.generated(config, path, content=content))
    return files


def on_post_build(config: Any) -> None:
    texts = {path.relative_to(HERE).as_posix(): path.read_text(encoding="utf-8") for path in HERE.rglob("*.md")}
    texts |= {path: text for path, text in config["made"].items() if isinstance(text, str)}
    place = Path(config["site_dir"]) / "llms.txt"
    place.write_text("\n".join(llms.lines(config["nav"], texts)) + "\n", encoding="utf-8")


def _with(entry: Any, index: str, below: list[str]) -> Any:
    """A section in the place of an index page, with the pages that belong to it."""
    if isinstance(entry, dict):
        return {
            title: [index, *below]
            if inside == index
            else [_with(one, index, below) for one in inside]
            if isinstance(inside, list)
            else inside
            for title, inside in entry.items()
        }
    return entry


def _only(entry: Any, there: set[str]) -> Any:
    """The entry without pages that are not there; None where nothing is left."""
    if isinstance(entry, str):
        return entry if entry in there else None
    if isinstance(entry, list):
        return [kept for one in entry if (kept := _only(one, there))] or None
    kept = {title: found for title, inside in entry.items() if (found := _only(inside, there))}
    return kept or None
