"""Description pools: the texts that heads and neurons are labelled with."""

from __future__ import annotations

import csv
import io
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError, nearest
from ..registry import Registry
from .phrases import CLASSES_WITHOUT_ARTICLE, descriptions, fill

_CLASS_TEMPLATES = ("a photo of {a}", "a close-up of {a}", "a drawing of {a}", "a blurry photo of {a}")


@dataclass(frozen=True)
class Pool:
    """Texts to choose labels from, no two alike but for upper and lower case (CLIP's tokenizers lower the case).

    dropped: how many repetitions were left out of what the user gave. lines: where each text stands in the user's file
    or list, from 1; empty for the pools that come with the package. properties: text → what it is a value of, of those
    texts of which the user's table says so.
    """

    name: str
    texts: tuple[str, ...]
    about: str
    dropped: int = 0
    lines: tuple[int, ...] = field(default=(), compare=False)
    properties: Mapping[str, str] = field(default_factory=dict, compare=False)


def pool(source: str | Path | Sequence[str]) -> Pool:
    """The pool of a name (see `names`), of a text file, of a table, or of a list of texts.

    A text file has one description a line; blank lines and lines that start with # are ignored. A table (.csv) has a
    column `text`, and may have a column `property`, which says what each text is a value of (colour, place, …). A
    string is taken for a name first and for a path second; a `Path` always is a path. Of repeated descriptions the
    first is kept.

    Raises `SummandError` for an unknown name, a file that is missing, empty, not UTF-8 or holds one description only
    repeated, an empty list, and "random", which is no list of texts (see `random_directions`).
    """
    if isinstance(source, Path):
        return _from_file(source)
    if isinstance(source, str):
        if source in _pools():
            return _named(source)
        if os.path.exists(source) or _looks_like_path(source):
            return _from_file(Path(source))
        raise SummandError(
            f"unknown description pool {source!r}{nearest(source, _pools())} (pools: {', '.join(_pools())}; or give "
            f"the path of a text file with one description a line)"
        )
    return _from_list(source)


def names() -> dict[str, str]:
    """Name → what the pool is, in one line, in the order to list them."""
    return {name: about for name, (about, _) in _pools().items()}


def random_directions(count: int, embed: int, seed: int = 0, unit: bool = True) -> Float[Tensor, "count embed"]:
    """g/‖g‖ with g ~ N(0, I): uniform on the sphere, the baseline that any pool of texts must beat. unit=False: g as it
    is, which is paper C's baseline (A.3: 3,498 vectors); TextSpan favours the longer ones among them."""
    if count < 1 or embed < 1:
        raise SummandError(f"random directions need a count and an embed of at least 1, got {count} and {embed}")
    directions = torch.randn(count, embed, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(directions, dim=-1) if unit else directions


def _general() -> Iterable[str]:
    return (text for texts in descriptions().values() for text in texts)


def _common_words(count: int) -> Iterable[str]:
    from wordfreq import top_n_list

    # A few per cent of the list are numbers, contractions and words from other scripts.
    listed = top_n_list("en", count + count // 2)
    return [word for word in listed if word.isascii() and word.isalpha() and len(word) >= 2][:count]


def _classes() -> Iterable[str]:
    from open_clip import IMAGENET_CLASSNAMES

    for listed in IMAGENET_CLASSNAMES:
        name = listed.replace(" / ", " or ")
        for template in _CLASS_TEMPLATES:
            yield fill(template.replace("{a}", "{}") if name in CLASSES_WITHOUT_ARTICLE else template, name)


def _random() -> Iterable[str]:
    raise SummandError(
        "'random' is the baseline of random directions, not a list of texts: use "
        "`summand.text.pools.random_directions(count, embed, seed)` in place of text embeddings"
    )


_POOLS: dict[str, tuple[str, Callable[[], Iterable[str]]]] = {
    "general": ("about 4,500 short descriptions of images, one concept each, from colours to professions", _general),
    "words-10k": ("the 10,000 most common English words", partial(_common_words, 10_000)),
    "words-30k": ("the 30,000 most common English words", partial(_common_words, 30_000)),
    "classes": (f"the 1,000 ImageNet classes, each in {len(_CLASS_TEMPLATES)} short descriptions", _classes),
}
_RANDOM = {"random": ("no texts: random unit directions, the baseline (use `random_directions`)", _random)}

BROUGHT: Registry[tuple[str, Callable[[], Iterable[str]]]] = Registry("text")
"""Pools of other rooms: name → what it is, in one line, and its texts."""


def _pools() -> dict[str, tuple[str, Callable[[], Iterable[str]]]]:
    return {**_POOLS, **BROUGHT, **_RANDOM}


@cache
def _named(name: str) -> Pool:
    about, read = _pools()[name]
    texts = list(read())
    return Pool(name, tuple(texts[i] for i in _distinct(texts)), about)


def _distinct(texts: Sequence[str]) -> list[int]:
    """The first of those that a tokenizer cannot tell apart: by case, by white space, by how an accent is written."""
    first: dict[str, int] = {}
    for i, text in enumerate(texts):
        first.setdefault(" ".join(unicodedata.normalize("NFC", text).casefold().split()), i)
    return list(first.values())


def _looks_like_path(source: str) -> bool:
    return "/" in source or "\\" in source or bool(Path(source).suffix)


def _from_file(path: Path) -> Pool:
    try:
        # utf-8-sig: editors on Windows begin a file with a byte-order mark.
        whole = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SummandError(
            f"{path}: there is no such file; give a text file with one description a line, or the name of a pool "
            f"({', '.join(_pools())})"
        ) from None
    except UnicodeDecodeError as error:
        raise SummandError(
            f"{path}: not a text file in UTF-8 (byte {error.start} cannot be read); save it again as UTF-8 plain text, "
            f"one description a line"
        ) from None
    except OSError as error:
        raise SummandError(
            f"{path}: cannot be read ({error.strerror}); give a text file with one description a line"
        ) from None
    if "\0" in whole:
        raise SummandError(
            f"{path}: not a text file in UTF-8 (it holds zero bytes, as UTF-16 does); save it again as UTF-8 plain text"
        )
    if path.suffix.lower() == ".csv":
        return _from_table(path, whole)
    lines = [_shown(line) for line in re.split(r"\r\n|\r|\n", whole)]
    return _given(path.name, str(path), ["" if line.startswith("#") else line for line in lines])


def _from_table(path: Path, whole: str) -> Pool:
    """A csv with a column text and, if the user likes, a column property."""
    rows = csv.DictReader(io.StringIO(whole, newline=""))
    columns = [name.strip().casefold() for name in rows.fieldnames or ()]
    if "text" not in columns:
        raise SummandError(
            f"{path}: a table of descriptions has a column 'text' (and may have a column 'property'), this one has: "
            f"{', '.join(columns) or 'nothing'}"
        )
    texts, named = [], {}
    for row in rows:
        own = {str(name).strip().casefold(): _shown(str(value or "")) for name, value in row.items() if name}
        texts.append(own["text"])
        if own["text"] and own.get("property"):
            named.setdefault(own["text"], own["property"].casefold())
    made = _given(path.name, str(path), texts)
    lines = tuple(line + 1 for line in made.lines)  # the first one holds the names
    return replace(made, lines=lines, properties={text: named[text] for text in made.texts if text in named})


def _from_list(source: Sequence[str]) -> Pool:
    wrong = next((item for item in source if not isinstance(item, str)), None)
    if wrong is not None:
        raise SummandError(f"a description pool is a list of strings, got {type(wrong).__name__} {wrong!r} in it")
    return _given("list", "the list", [_shown(text) for text in source])


def _shown(line: str) -> str:
    """Without white space and marks that nobody sees around it: a byte-order mark where files were joined, say."""
    seen = [i for i, sign in enumerate(line) if unicodedata.category(sign)[0] not in "ZC"]
    return line[seen[0] : seen[-1] + 1] if seen else ""


def _given(name: str, where: str, lines: Sequence[str]) -> Pool:
    """lines: empty where they hold no description."""
    places, texts = [i + 1 for i, line in enumerate(lines) if line], [line for line in lines if line]
    if not texts:
        raise SummandError(f"{where}: no descriptions in it; give at least one, one a line in a file")
    kept = _distinct(texts)
    dropped = len(texts) - len(kept)
    if dropped and len(kept) == 1:
        raise SummandError(f"{where}: nothing but {texts[0]!r}, {len(texts)} times; give descriptions that differ")
    about = f"{len(kept):,} descriptions from {where}"
    return Pool(name, tuple(texts[i] for i in kept), about, dropped, tuple(places[i] for i in kept))
