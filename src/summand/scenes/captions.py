"""Sentences about scenes: captions that mention random subsets of the causes, prompts for single values, and the way
back from words to causes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import SummandError, nearest
from .attributes import ATTRIBUTES, GROUP_ATTRIBUTES, Causes, Value, check_attribute

LONGEST = 30
"""Words of a caption at most: what the context of the scenes models holds."""

COUNT_WORDS = ("one", "two", "three", "four", "five", "six")
_NOUNS = (("object", "objects"), ("shape", "shapes"), ("thing", "things"), ("item", "items"))
_PLURALS = {"cross": "crosses"}
_SYNONYMS: dict[str, dict[Value, tuple[str, ...]]] = {
    "texture": {"dotted": ("dotted", "spotted"), "checkered": ("checkered", "chequered")},
    "size": {"small": ("small", "little", "tiny"), "large": ("large", "big")},
}
_PLACE_PHRASES = {
    "sea": ("by the sea", "on the ocean", "in front of the sea"),
    "forest": ("in the forest", "in the woods", "among the trees of a forest"),
    "desert": ("in the desert", "on the sand of a desert"),
    "snow": ("in the snow", "on a snowy hill"),
    "city": ("in the city at night", "in front of the lights of a city"),
    "meadow": ("in a meadow", "on the grass of a meadow"),
    "sunset": ("at sunset", "in front of a sunset"),
    "plain": ("on a plain background", "in front of a grey wall"),
}
_POSITION_PHRASES = {
    "left": ("on the left", "on the left side"),
    "right": ("on the right", "on the right side"),
    "top": ("at the top", "in the upper part"),
    "bottom": ("at the bottom", "in the lower part"),
    "centre": ("in the centre", "in the middle"),
}
_LETTER_PHRASES = ("with the letter {}", "and the letter {}", "with a sign that says {}")
_NO_LETTER_PHRASES = ("without a letter", "and no letter", "with no sign")
_LEADS = ("", "", "a photo of", "a picture of", "an image of", "there is", "we see")
_WEIGHTS = {
    "shape": 1.6,
    "colour": 1.0,
    "texture": 1.0,
    "count": 1.6,
    "size": 1.0,
    "place": 1.0,
    "position": 1.4,
    "letter": 1.8,
}

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


@dataclass(frozen=True)
class Captions:
    """Sentences and what each one mentions.

    groups: int [caption, group phrase, group attribute], −1 where not mentioned; place, letter: int [caption], −1
    where not mentioned; spoken: bool [caption, group phrase], whether the sentence has that phrase at all.
    scene: int [caption], the scene a caption was written for.
    """

    texts: list[str]
    groups: np.ndarray
    place: np.ndarray
    letter: np.ndarray
    spoken: np.ndarray
    scene: np.ndarray

    def matches(self, causes: Causes) -> np.ndarray:
        """bool [scene, caption]: whether each sentence is true of each scene, computed from the causes themselves.

        A phrase is true of a group when every attribute it names agrees; two phrases must be true of two groups.
        """
        said, truth = self.groups, causes.groups  # [caption, phrase, attribute], [scene, group, attribute]
        agrees = (said[None, :, :, None] < 0) | (said[None, :, :, None] == truth[:, None, None])
        fits = agrees.all(axis=-1) & (truth[:, None, None, :, 0] >= 0)  # [scene, caption, phrase, group]
        silent = ~self.spoken[None]
        either = fits.any(axis=-1) | silent
        both = (fits[:, :, 0, 0] & fits[:, :, 1, 1]) | (fits[:, :, 0, 1] & fits[:, :, 1, 0])
        objects = either.all(axis=-1) & (both | ~self.spoken.all(axis=-1)[None])
        place = (self.place[None] < 0) | (self.place[None] == causes.place[:, None])
        letter = (self.letter[None] < 0) | (self.letter[None] == causes.letter[:, None])
        return objects & place & letter


def captions(causes: Causes, seed: int, per_scene: int = 1) -> Captions:
    """`per_scene` true sentences about each scene, each naming a random subset of 1–5 of its causes.

    Of two groups a sentence names either one or both. A count that is not named is not given away by the
    grammatical number.
    """
    rng = random.Random(f"captions {seed}")
    total = len(causes) * per_scene
    scene = np.arange(total) // per_scene
    keys = np.random.default_rng([seed, 20]).random((total, 2, len(ATTRIBUTES)))
    # Weighted sampling without replacement: the attributes with the largest key^(1/weight).
    order = np.argsort(-np.log(keys) / np.array([_WEIGHTS[name] for name in ATTRIBUTES]), axis=-1)
    names = list(ATTRIBUTES)
    groups = np.full((total, 2, len(GROUP_ATTRIBUTES)), -1, dtype=np.int64)
    place, letter = np.full(total, -1), np.full(total, -1)
    spoken = np.zeros((total, 2), dtype=bool)
    two = (causes.groups[:, 1, 0] >= 0)[scene]
    texts = []
    for k in range(total):
        truth = causes.groups[scene[k]]
        both = bool(two[k]) and rng.random() < 0.3
        first = rng.randrange(2) if two[k] else 0
        for phrase, group in enumerate((first, 1 - first) if both else (first,)):
            for a in order[k, phrase, : rng.randint(1, 3 if both else 5)]:
                if names[a] == "place":
                    place[k] = causes.place[scene[k]]
                elif names[a] == "letter":
                    letter[k] = causes.letter[scene[k]]
                else:
                    column = GROUP_ATTRIBUTES.index(names[a])
                    groups[k, phrase, column] = truth[group, column]
            spoken[k, phrase] = both or (groups[k, phrase] >= 0).any() or rng.random() < 0.5
        texts.append(_sentence(rng, groups[k], spoken[k], int(place[k]), int(letter[k])))
    return Captions(texts, groups, place, letter, spoken, scene)


def plural(shape: str) -> str:
    return _PLURALS.get(shape, shape + "s")


def _phrase(rng: random.Random, codes: np.ndarray) -> str:
    said = {name: ATTRIBUTES[name][int(code)] for name, code in zip(GROUP_ATTRIBUTES, codes, strict=True) if code >= 0}
    words = []
    many = said["count"] != 1 if "count" in said else rng.random() < 0.4
    if "count" in said:
        words.append(COUNT_WORDS[int(said["count"]) - 1])
    for name in ("size", "texture", "colour"):
        if name in said:
            words.append(rng.choice(_SYNONYMS.get(name, {}).get(said[name], (str(said[name]),))))
    if "shape" in said:
        words.append(plural(str(said["shape"])) if many else str(said["shape"]))
    else:
        words.append(rng.choice([noun[int(many)] for noun in _NOUNS]))
    if "count" not in said and not many:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    if "position" in said:
        words.append(rng.choice(_POSITION_PHRASES[str(said["position"])]))
    return " ".join(words)


def _sentence(rng: random.Random, groups: np.ndarray, spoken: np.ndarray, place: int, letter: int) -> str:
    parts = [_phrase(rng, codes) for codes, here in zip(groups, spoken, strict=True) if here]
    rng.shuffle(parts)
    text = " and ".join(parts)
    where = rng.choice(_PLACE_PHRASES[str(ATTRIBUTES["place"][place])]) if place >= 0 else ""
    sign = ""
    if letter == 0:
        sign = rng.choice(_NO_LETTER_PHRASES)
    elif letter > 0:
        sign = rng.choice(_LETTER_PHRASES).format(ATTRIBUTES["letter"][letter])
    if not text:
        if place >= 0 and rng.random() < 0.5:
            text, where = SUBJECT[str(ATTRIBUTES["place"][place])], ""
        elif letter > 0 and place < 0:
            text, sign = f"the letter {ATTRIBUTES['letter'][letter]}", ""
        else:
            text = "a scene"
    if where and rng.random() < 0.2:
        return " ".join(filter(None, (where, text, sign)))
    ends = [where, sign] if rng.random() < 0.7 else [sign, where]
    lead = rng.choice(_LEADS)
    words = " ".join(filter(None, (lead, text, *ends)))
    return words if len(words.split()) <= LONGEST else " ".join(filter(None, (text, *ends)))


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
                *tuple(f"{COUNT_WORDS[i]} {n[noun]}" for n in _NOUNS),
                f"a photo of {COUNT_WORDS[i]} {_NOUNS[0][noun]}",
            )
        elif attribute == "place":
            subject = SUBJECT[word]
            found = (subject, f"a photo of {subject}", *(f"a scene {phrase}" for phrase in _PLACE_PHRASES[word]))
        elif attribute == "position":
            found = tuple(
                f"{thing} {p}" for p in _POSITION_PHRASES[word] for thing in ("an object", "a photo of objects")
            )
        elif attribute == "letter" and value == "none":
            found = tuple(f"a scene {phrase}" for phrase in _NO_LETTER_PHRASES)
        elif attribute == "letter":
            found = (
                f"the letter {word}",
                f"a photo of the letter {word}",
                f"a scene with the letter {word}",
                f"a scene with a sign that says {word}",
            )
        else:
            words = _SYNONYMS.get(attribute, {}).get(value, (word,))
            found = tuple(
                text
                for w in words
                for a in ["an" if w[0] in "aeiou" else "a"]
                for text in (f"{a} {w} object", f"a photo of {a} {w} shape", f"{w} objects", f"a picture of {w} things")
            )
        result[value] = found
    return result


def prompts(attribute: str) -> dict[Value, list[str]]:
    """For each value of an attribute, sentences that name it and nothing else: the zero-shot classes of the scenes."""
    return {value: list(texts) for value, texts in _prompts(attribute).items()}


@lru_cache(maxsize=1)
def meanings() -> dict[str, tuple[str, Value]]:
    """Which (attribute, value) a word stands for: "stars" → (shape, star), "tiny" → (size, small)."""
    result: dict[str, tuple[str, Value]] = {}
    for attribute, values in ATTRIBUTES.items():
        for value in values:
            words = {str(value), *_SYNONYMS.get(attribute, {}).get(value, ())}
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


def attribute_of(text: str) -> str | None:
    """The attribute that a sentence names if it names exactly one, else None."""
    named = {attribute for attribute, _ in _named(text)}
    return named.pop() if len(named) == 1 else None


def _named(text: str) -> list[tuple[str, Value]]:
    words, known = words_of(text), meanings()
    sentence = f" {' '.join(words)} "
    silent = any(f" {phrase} " in sentence for phrase in ("no letter", "no sign", "without a letter"))
    return [known[word] for word in words if word in known] + ([("letter", "none")] if silent else [])


def parse(text: str) -> list[dict[str, Value]]:
    """The causes that a sentence names, for one group or two: "two red stars and a ring in the snow" →
    [{count: 2, colour: red, shape: star, place: snow}, {shape: ring}].

    Place and letter are put with the first group. Errors: `SummandError` for a word outside the scenes vocabulary, for
    a third group and for two values of one attribute.
    """
    nouns = {noun for pair in _NOUNS for noun in pair}
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
    sentences = [*_LEADS, *_LETTER_PHRASES, *_NO_LETTER_PHRASES, "a scene the letter and", *COUNT_WORDS]
    sentences += [
        phrase for group in (_PLACE_PHRASES, _POSITION_PHRASES) for phrases in group.values() for phrase in phrases
    ]
    sentences += [text for name in ATTRIBUTES for texts in _prompts(name).values() for text in texts]
    sentences += [word for pair in _NOUNS for word in pair]
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
