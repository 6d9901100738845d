"""llms.txt: the pages of the site with the first sentence of each, for readers that are programs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

HEAD = """# Summand

> A Python toolkit and command line that takes CLIP image encoders apart exactly (the embedding is a sum over layers, heads, MLPs
> and patches), puts each part into words with evidence, shows where in a picture it looks, and repairs, segments, searches and watches with it.

Install: `pip install summand-clip` (import and command are `summand`). The package ships small CLIPs that are trained on a rendered
world with known causes, so that everything runs offline: `summand atlas`, `summand.load("scenes-vit")`.
"""


def lines(nav: list[Any], texts: dict[str, str]) -> Iterator[str]:
    """The file, line by line. nav: as in mkdocs.yml; texts: the Markdown of every page by its path."""
    yield HEAD
    for section in nav:
        for title, inside in section.items() if isinstance(section, dict) else ():
            yield f"## {title}\n"
            yield from _pages(title, inside, texts)
            yield ""


def _pages(title: str, inside: Any, texts: dict[str, str]) -> Iterator[str]:
    if isinstance(inside, str):
        yield f"- [{title}]({inside.removesuffix('.md')}.html): {first_sentence(texts.get(inside, ''))}"
        return
    for one in inside:
        for name, below in one.items() if isinstance(one, dict) else [(title, one)]:
            yield from _pages(name, below, texts)


def first_sentence(text: str) -> str:
    """The first sentence of the first paragraph below the title.

    >>> first_sentence("# Title\\n\\nOne *thing* of [many](many.md). Another.")
    'One thing of many.'
    """
    paragraphs = [one.strip() for one in re.split(r"\n\s*\n", text) if one.strip()]
    prose = next((one for one in paragraphs if not one.startswith(("#", "---", "```", "|", "!", "<", ":::"))), "")
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(prose.split())).replace("*", "").replace("`", "")
    return re.split(r"(?<=[.:])\s", plain, maxsplit=1)[0]
