"""The words that scenes are spoken of in, and prompts: sentences that name one value of one attribute."""

from __future__ import annotations

from functools import lru_cache

from ..arguments import names_wrong_arguments
from .attributes import ATTRIBUTES, Value, check_attribute

COUNT_WORDS = ("one", "two", "three", "four", "five", "six")
NOUNS = (("object", "objects"), ("shape", "shapes"), ("thing", "things"), ("item", "items"))
_PLURALS = {"cross": "crosses"}
SYNONYMS: dict[str, dict[Value, tuple[str, ...]]] = {
    "texture": {"dotted": ("dotted", "spotted"), "checkered": ("checkered", "chequered")},
    "size": {"small": ("small", "little", "tiny"), "large": ("large", "big")},
}
PLACE_PHRASES = {
    "sea": ("by the sea", "on the ocean", "in front of the sea"),
    "forest": ("in the forest", "in the woods", "among the trees of a forest"),
    "desert": ("in the desert", "on the sand of a desert"),
    "snow": ("in the snow", "on a snowy hill"),
    "city": ("in the city at night", "in front of the lights of a city"),
    "meadow": ("in a meadow", "on the grass of a meadow"),
    "sunset": ("at sunset", "in front of a sunset"),
    "plain": ("on a plain background", "in front of a grey wall"),
}
POSITION_PHRASES = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top", "in the upper part"),
    "bottom": ("at the bottom", "in the lower part"),
    "centre": ("in the centre", "in the middle"),
}
LETTER_PHRASES = ("with the letter {}", "and the letter {}", "with a sign that says {}")
NO_LETTER_PHRASES = ("without a letter", "and no letter", "with no sign")
LEADS = ("", "", "a photo of", "a picture of", "an image of", "there is", "we see")
SUBJECT = {
    "sea": "the sea",
    "forest": "a forest",
    "desert": "the desert",
    "snow": "the snow",
    "city": "a city at night",
    "meadow": "a meadow",
    "sunset": "a sunset",
    "plain": "a plain background",
}


def plural(shape: str) -> str:
    return _PLURALS.get(shape, shape + "s")


@lru_cache(maxsize=len(ATTRIBUTES))
def _prompts(attribute: str) -> dict[Value, tuple[str, ...]]:
    result: dict[Value, tuple[str, ...]] = {}
    for i, value in enumerate(ATTRIBUTES[check_attribute(attribute)]):
        word = str(value)
        if attribute == "shape":
            article = "an" if word[0] in "aeiou" else "a"
            found = (f"{article} {word}", f"a photo of {article} {word}", plural(word), f"a picture of {plural(word)}")
        elif attribute == "count":
            noun = int(i > 0)
            found = (
                *tuple(f"{COUNT_WORDS[i]} {n[noun]}" for n in NOUNS),
                f"a photo of {COUNT_WORDS[i]} {NOUNS[0][noun]}",
            )
        elif attribute == "place":
            subject = SUBJECT[word]
            found = (subject, f"a photo of {subject}", *(f"a scene {phrase}" for phrase in PLACE_PHRASES[word]))
        elif attribute == "position":
            found = tuple(
                f"{thing} {p}" for p in POSITION_PHRASES[word] for thing in ("an object", "a photo of objects")
            )
        elif attribute == "letter" and value == "none":
            found = tuple(f"a scene {phrase}" for phrase in NO_LETTER_PHRASES)
        elif attribute == "letter":
            found = (
                f"the letter {word}",
                f"a photo of the letter {word}",
                f"a scene with the letter {word}",
                f"a scene with a sign that says {word}",
            )
        else:
            words = SYNONYMS.get(attribute, {}).get(value, (word,))
            found = tuple(
                text
                for w in words
                for a in ["an" if w[0] in "aeiou" else "a"]
                for text in (f"{a} {w} object", f"a photo of {a} {w} shape", f"{w} objects", f"a picture of {w} things")
            )
        result[value] = found
    return result


@names_wrong_arguments
def prompts(attribute: str) -> dict[Value, list[str]]:
    """For each value of an attribute, sentences that name it and nothing else: the zero-shot classes of the scenes."""
    return {value: list(texts) for value, texts in _prompts(attribute).items()}
