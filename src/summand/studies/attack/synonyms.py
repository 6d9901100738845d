"""Which words name the target class itself, and would make the attack a plain picture of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from ...errors import SummandError
from ...scenes.meaning import meanings, words_of

THRESHOLD = 0.6
_STEM = 6  # names of so many letters are compared by how words begin
ENCODER = "sentence-transformers/all-distilroberta-v1"
Drop = Callable[[Sequence[str]], list[bool]]


def scene_words(target: str) -> Drop:
    """Texts that name the target's shape."""

    def drop(texts: Sequence[str]) -> list[bool]:
        known = meanings()
        return [any(known.get(word) == ("shape", target) for word in words_of(text)) for text in texts]

    return drop


def by_stem(target: str, also: Sequence[str] = ()) -> Drop:
    """Texts with a word that begins as the target (or a word of `also`) does; the fallback, which knows no meanings."""
    stems = [word.casefold()[: max(4, len(word) - 2)] for name in (target, *also) for word in re.findall(r"\w+", name)]

    def drop(texts: Sequence[str]) -> list[bool]:
        return [
            any(w.startswith(stem) for w in re.findall(r"\w+", text.casefold()) for stem in stems) for text in texts
        ]

    return drop


def by_sentences(target: str, encoder: Any, threshold: float = THRESHOLD) -> Drop:
    """Texts whose sentence embedding has a cosine of at least `threshold` with the target's (paper A: 0.6).

    encoder: a `SentenceTransformer`, or anything whose `encode(texts, normalize_embeddings=True)` gives unit rows.
    """
    own = encoder.encode([target], normalize_embeddings=True)[0]

    def drop(texts: Sequence[str]) -> list[bool]:
        if not texts:
            return []
        return [bool(cosine >= threshold) for cosine in encoder.encode(list(texts), normalize_embeddings=True) @ own]

    return drop


def by_wordnet(target: str) -> Drop:
    """Texts with a word that shares a synset with the target. Needs nltk and its WordNet corpus."""
    from nltk.corpus import wordnet  # pyright: ignore[reportMissingImports]

    named = target.replace(" ", "_")
    lemmas = {lemma.casefold() for synset in wordnet.synsets(named) for lemma in synset.lemma_names()}
    names = {name.replace("_", " ") for name in lemmas}
    long, short = {name for name in names if len(name) >= _STEM}, {name for name in names if len(name) < _STEM}
    stems = by_stem(target, sorted(long))

    def drop(texts: Sequence[str]) -> list[bool]:
        """Short names, such as car, are whole words: as stems they would drop "carpet" too."""
        words = [{form for word in re.findall(r"\w+", text.casefold()) for form in singular(word)} for text in texts]
        return [stem or bool(said & short) for stem, said in zip(stems(texts), words, strict=True)]

    return drop


def singular(word: str) -> set[str]:
    """What a word may be the plural of, and the word itself: "cars" → car, "butterflies" → butterfly.

    >>> sorted(singular("boxes"))
    ['box', 'boxe', 'boxes']
    """
    forms = {word}
    for ending, instead in (("ies", "y"), ("es", ""), ("s", "")):
        if len(word) > len(ending) + 1 and word.endswith(ending):
            forms.add(word[: -len(ending)] + instead)
    return forms


def usual(target: str, scenes: bool, also: Sequence[str] = ()) -> tuple[Drop, str]:
    """The best filter at hand, and its name: the scenes' own words; sentence-transformers; WordNet; stems of words.

    also: words that the caller wants left out whatever the filter says.
    """
    own = by_stem(target, also)
    if scenes:
        first, name = scene_words(target), "words of the scenes"
        own = by_stem(also[0], also[1:]) if also else (lambda texts: [False] * len(texts))
    else:
        first, name = _with_meaning(target)
    return (lambda texts: [a or b for a, b in zip(first(texts), own(texts), strict=True)]), name


def _with_meaning(target: str) -> tuple[Drop, str]:
    if find_spec("sentence_transformers") is not None:
        try:
            from sentence_transformers import SentenceTransformer  # pyright: ignore[reportMissingImports]

            return by_sentences(target, SentenceTransformer(ENCODER)), f"{ENCODER}, cosine ≥ {THRESHOLD}"
        except Exception:  # noqa: S110 (not downloaded, no network: any of a dozen exceptions; the next is tried)
            pass
    if find_spec("nltk") is not None:
        try:
            return by_wordnet(target), "WordNet"
        except LookupError:
            pass
    return by_stem(target), "stems of words (no sentence-transformers model and no WordNet at hand)"


def check_classes(image_of: str, classified_as: str) -> None:
    """Raise `SummandError` for classes that cannot be told apart by name."""
    if not image_of.strip() or not classified_as.strip():
        raise SummandError("give two classes: image_of= what is shown, classified_as= what the model should say")
    if image_of.strip().casefold() == classified_as.strip().casefold():
        raise SummandError(f"both classes are {image_of!r}; give another one as classified_as=")
