"""The way back from words to causes: what a sentence names, and which words there are."""

from __future__ import annotations

from functools import lru_cache

from ..arguments import names_wrong_arguments
from ..errors import SummandError, nearest
from .attributes import ATTRIBUTES, GROUP_ATTRIBUTES, Value
from .phrases import (
    COUNT_WORDS,
    LEADS,
    LETTER_PHRASES,
    NO_LETTER_PHRASES,
    NOUNS,
    PLACE_PHRASES,
    POSITION_PHRASES,
    SYNONYMS,
    plural,
    prompts,
)


@lru_cache(maxsize=1)
def meanings() -> dict[str, tuple[str, Value]]:
    """Which (attribute, value) a word stands for: "stars" → (shape, star), "tiny" → (size, small)."""
    result: dict[str, tuple[str, Value]] = {}
    for attribute, values in ATTRIBUTES.items():
        for value in values:
            words = {str(value), *SYNONYMS.get(attribute, {}).get(value, ())}
            if attribute == "shape":
                words.add(plural(str(value)))
            if attribute == "count":
                words.add(COUNT_WORDS[int(value) - 1])
            if attribute == "letter" and value == "none":
                words = set()
            for word in words:
                result[word] = (attribute, value)
    for word, meaning in {
        "ocean": ("place", "sea"),
        "woods": ("place", "forest"),
        "trees": ("place", "forest"),
        "sand": ("place", "desert"),
        "snowy": ("place", "snow"),
        "grass": ("place", "meadow"),
        "grey": ("place", "plain"),
        "night": ("place", "city"),
        "middle": ("position", "centre"),
        "upper": ("position", "top"),
        "lower": ("position", "bottom"),
    }.items():
        result[word] = meaning
    return result


@names_wrong_arguments
def attribute_of(text: str) -> str | None:
    """The attribute that a sentence names if it names exactly one, else None."""
    named = {attribute for attribute, _ in _named(text)}
    return named.pop() if len(named) == 1 else None


def _named(text: str) -> list[tuple[str, Value]]:
    words, known = words_of(text), meanings()
    sentence = f" {' '.join(words)} "
    silent = any(f" {phrase} " in sentence for phrase in ("no letter", "no sign", "without a letter"))
    return [known[word] for word in words if word in known] + ([("letter", "none")] if silent else [])


@names_wrong_arguments
def parse(text: str) -> list[dict[str, Value]]:
    """The causes that a sentence names, for one group or two: "two red stars and a ring in the snow" →
    [{count: 2, colour: red, shape: star, place: snow}, {shape: ring}].

    Place and letter are put with the first group. Errors: `SummandError` for a word outside the scenes vocabulary, for
    a third group and for two values of one attribute.
    """
    nouns = {noun for pair in NOUNS for noun in pair}
    found: list[dict[str, Value]] = [{}]
    spoken = False  # whether a group has been named, be it only as "an object"
    for piece in " ".join(check_words(text)).split(" and "):
        named = _named(piece)
        speaks = any(attribute in GROUP_ATTRIBUTES for attribute, _ in named) or not nouns.isdisjoint(piece.split())
        if speaks and spoken:
            found.append({})
        spoken |= speaks
        for attribute, value in named:
            group = found[-1] if attribute in GROUP_ATTRIBUTES else found[0]
            if group.setdefault(attribute, value) != value:
                both = f"{group[attribute]} and {value}"
                raise SummandError(f"{text!r} names two values of {attribute}: {both}; keep one")
    if len(found) > 2:
        raise SummandError(f"a scene has at most two groups of objects, {text!r} names {len(found)}")
    return found


@lru_cache(maxsize=1)
def vocabulary() -> tuple[str, ...]:
    """Every word of captions and prompts, sorted; letters stay upper case."""
    sentences = [*LEADS, *LETTER_PHRASES, *NO_LETTER_PHRASES, "a scene the letter and", *COUNT_WORDS]
    sentences += [
        phrase for group in (PLACE_PHRASES, POSITION_PHRASES) for phrases in group.values() for phrase in phrases
    ]
    sentences += [text for name in ATTRIBUTES for texts in prompts(name).values() for text in texts]
    sentences += [word for pair in NOUNS for word in pair]
    sentences += [f"{shape} {plural(str(shape))}" for shape in ATTRIBUTES["shape"]]
    words = {word for sentence in sentences for word in sentence.split() if word != "{}"}
    return tuple(sorted(words))


def words_of(text: str) -> list[str]:
    """A sentence cut into the words the vocabulary knows: lower case, except a single capital letter (an "A" that opens
    a sentence is the article)."""
    cut = text.replace(",", " ").replace(".", " ").split()
    if len(cut) > 1 and cut[0] == "A":
        cut[0] = "a"
    known = set(vocabulary())
    return [word if word in known and len(word) == 1 else word.lower() for word in cut]


def check_words(text: str) -> list[str]:
    words, known = words_of(text), vocabulary()
    for word in words:
        if word not in known:
            raise SummandError(
                f"the scenes vocabulary has no word {word!r}{nearest(word, known)} (in {text!r}; "
                f"`summand.scenes.vocabulary()` lists its {len(known)} words)"
            )
    return words
