"""docs/models.md, made of `summand models`: `python docs/making/models.py > docs/models.md`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

from summand.models.load import catalogue

HEAD = """# Models

Made by `python docs/making/models.py` from what `summand models` finds in open_clip {open_clip}: {exact} of its and our {all} names
can be taken apart exactly. `summand models` lists those of the version that you have.

A name alone says nothing about weights: `--pretrained TAG` does (`summand models` counts the tags of each). Beyond names, `--model` takes
`hf-hub:org/name`, `local-dir:PATH`, and `hf:org/name` or `hf:FOLDER` for a CLIP, MetaCLIP 2, Chinese CLIP, AltCLIP or SigLIP of
transformers (`pip install 'summand-clip[hf]'`); `summand.wrap` takes a model object, also the `clip` package's own.

What was tried: every kind of tower on this page, shrunk to a few layers and with random weights, against its own `encode_image`
([benchmarks](benchmarks.md#what-was-verified-and-on-what)). No trained weights of OpenAI's or LAION's were at hand.
"""
TERMS = """
## What the terms are

| term | what it is |
|---|---|
| heads | every attention head, and in it every patch; neurons of earlier layers write through them |
| mlps | every MLP's direct effect |
| embedding | what the input itself carries to the output |
| bias | constants that belong to no part |
"""


def lines(rows: list[dict[str, Any]] | None = None) -> Iterator[str]:
    """The page, line by line."""
    rows = catalogue() if rows is None else rows
    exact = [row for row in rows if row["exact"]]
    yield HEAD.format(open_clip=version("open_clip_torch"), exact=len(exact), all=len(rows))
    yield from TERMS.strip().splitlines()
    yield "\n## What can be taken apart\n"
    by_tower: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in exact:
        by_tower[row["tower"], " + ".join(row["terms"])].append(row["model"])
    for (tower, terms), names in sorted(by_tower.items(), key=lambda one: -len(one[1])):
        yield f"### {tower}: {terms}\n"
        yield ", ".join(f"`{name}`" for name in names) + "\n"
    yield "## What cannot, and why\n\n| model | image tower | why not |\n|---|---|---|"
    for row in rows:
        if not row["exact"]:
            yield f"| `{row['model']}` | {row['tower']} | {str(row['reason']).replace('|', chr(92) + '|')} |"


if __name__ == "__main__":
    print("\n".join(lines()))
