"""Captions: true sentences about scenes, each of which mentions a random subset of the causes."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from .attributes import ATTRIBUTES, GROUP_ATTRIBUTES, LARGEST_COUNT, Causes
from .phrases import (
    COUNT_WORDS,
    LEADS,
    LETTER_PHRASES,
    NO_LETTER_PHRASES,
    NOUNS,
    PLACE_PHRASES,
    POSITION_PHRASES,
    SUBJECT,
    SYNONYMS,
    plural,
)

LONGEST = 30
"""Words of a caption at most: what the context of the scenes models holds."""

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
        fits: np.ndarray = agrees.all(axis=-1) & (truth[:, None, None, :, 0] >= 0)  # [scene, caption, phrase, group]
        silent: np.ndarray = ~self.spoken[None]
        either: np.ndarray = fits.any(axis=-1) | silent
        both = (fits[:, :, 0, 0] & fits[:, :, 1, 1]) | (fits[:, :, 0, 1] & fits[:, :, 1, 0])
        objects = either.all(axis=-1) & (both | np.asarray(~self.spoken.all(axis=-1))[None])
        place = (self.place[None] < 0) | (self.place[None] == causes.place[:, None])
        letter = (self.letter[None] < 0) | (self.letter[None] == causes.letter[:, None])
        return objects & place & letter


@names_wrong_arguments
def captions(causes: Causes, seed: int, per_scene: int = 1) -> Captions:
    """`per_scene` true sentences about each scene, each naming a random subset of 1–5 of its causes.

    Of two groups a sentence names either one or both. A count that is not named is not given away by the
    grammatical number.
    """
    if seed < 0 or per_scene < 0:
        raise SummandError(f"seed and per_scene must not be negative, got seed={seed}, per_scene={per_scene}")
    if per_scene > LARGEST_COUNT:
        raise SummandError(f"per_scene must be at most {LARGEST_COUNT:,} sentences, got {per_scene:,}")
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


def _phrase(rng: random.Random, codes: np.ndarray) -> str:
    said = {name: ATTRIBUTES[name][int(code)] for name, code in zip(GROUP_ATTRIBUTES, codes, strict=True) if code >= 0}
    words = []
    many = said["count"] != 1 if "count" in said else rng.random() < 0.4
    if "count" in said:
        words.append(COUNT_WORDS[int(said["count"]) - 1])
    for name in ("size", "texture", "colour"):
        if name in said:
            words.append(rng.choice(SYNONYMS.get(name, {}).get(said[name], (str(said[name]),))))
    if "shape" in said:
        words.append(plural(str(said["shape"])) if many else str(said["shape"]))
    else:
        words.append(rng.choice([noun[int(many)] for noun in NOUNS]))
    if "count" not in said and not many:
        words.insert(0, "an" if words[0][0] in "aeiou" else "a")
    if "position" in said:
        words.append(rng.choice(POSITION_PHRASES[str(said["position"])]))
    return " ".join(words)


def _sentence(rng: random.Random, groups: np.ndarray, spoken: np.ndarray, place: int, letter: int) -> str:
    parts = [_phrase(rng, codes) for codes, here in zip(groups, spoken, strict=True) if here]
    rng.shuffle(parts)
    text = " and ".join(parts)
    where = rng.choice(PLACE_PHRASES[str(ATTRIBUTES["place"][place])]) if place >= 0 else ""
    sign = ""
    if letter == 0:
        sign = rng.choice(NO_LETTER_PHRASES)
    elif letter > 0:
        sign = rng.choice(LETTER_PHRASES).format(ATTRIBUTES["letter"][letter])
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
    lead = rng.choice(LEADS)
    words = " ".join(filter(None, (lead, text, *ends)))
    return words if len(words.split()) <= LONGEST else " ".join(filter(None, (text, *ends)))
