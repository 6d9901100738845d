"""From words to descriptions of pictures: by the scenes' grammar, by a template, or by a language model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ...errors import SummandError, first_line
from ...scenes.meaning import parse
from ...scenes.phrases import COUNT_WORDS, SUBJECT, plural
from .mining import Words
from .synonyms import Drop, singular

ASKED = 50
_WORDS_A_PROMPT = 5


@runtime_checkable
class Writer(Protocol):
    """Writes descriptions that show `image_of`, with as many of the words as fit and without naming `classified_as`."""

    def write(self, words: Words, image_of: str, classified_as: str, seed: int) -> list[str]: ...


def instruction(words: Words, image_of: str, classified_as: str, count: int = ASKED) -> str:
    """What a language model is asked."""
    return (
        f"Write {count} short descriptions of photographs, one a line, without numbers. Every description must show "
        f"{image_of!r} and use that very word. Never mention {classified_as!r} nor another name for it. Use as many of "
        f"these as fit together, and replace names of people or brands with something that can be seen: "
        f"{', '.join(words.words)}."
    )


def names(text: str, what: str) -> bool:
    """Whether a text has the words of `what` next to each other, the last one in the singular or plural."""
    wanted, said = re.findall(r"\w+", what.casefold()), re.findall(r"\w+", text.casefold())
    return any(
        said[i : i + len(wanted) - 1] == wanted[:-1] and wanted[-1] in singular(said[i + len(wanted) - 1])
        for i in range(len(said) - len(wanted) + 1)
    )


def keep(
    descriptions: Sequence[str], image_of: str, classified_as: str, count: int, seed: int, drop: Drop | None = None
) -> list[str]:
    """`count` random ones of the descriptions that name what is shown and not the target (paper A), in random order.

    drop: says which texts hold another name of the target.
    Raises `SummandError` where none does.
    """
    fitting = [text for text in dict.fromkeys(descriptions) if names(text, image_of) and not names(text, classified_as)]
    if drop is not None:
        fitting = [text for text, synonym in zip(fitting, drop(fitting), strict=True) if not synonym]
    if not fitting:
        raise SummandError(
            f"none of {len(descriptions)} descriptions names {image_of!r} without {classified_as!r}; use another "
            f"language model, or write them yourself from the words file"
        )
    order = np.random.default_rng([seed, 7]).permutation(len(fitting))[:count]
    return [fitting[i] for i in order]


@dataclass(frozen=True)
class SceneWriter:
    """Sentences that `summand.scenes.describe` draws: words drawn by score until five attributes are named."""

    def write(self, words: Words, image_of: str, classified_as: str, seed: int) -> list[str]:
        rng = np.random.default_rng([seed, 5])
        shares = np.array(words.scores) / np.sum(words.scores)
        return [self._one(words, shares, image_of, rng) for _ in range(ASKED)]

    def _one(self, words: Words, shares: np.ndarray, image_of: str, rng: np.random.Generator) -> str:
        said: dict[str, Any] = {}
        other: str | None = None
        for place in rng.choice(len(shares), len(shares), replace=False, p=shares):
            if len(said) + (other is not None) >= _WORDS_A_PROMPT:
                break
            for attribute, value in parse(words.words[place])[0].items():
                if attribute == "shape":
                    other = other or (str(value) if value != image_of else None)
                else:
                    said.setdefault(attribute, value)
        if other is not None:  # two groups have room for three objects each, on opposite sides
            if int(said.get("count", 1)) > 3:
                del said["count"]
            if said.get("position") == "centre":
                del said["position"]
        return scene_sentence(image_of, said, other)


def scene_sentence(shape: str, said: dict[str, Any], other: str | None = None) -> str:
    """One sentence in the scenes' words.

    >>> scene_sentence("star", {"count": 2, "colour": "red", "place": "sea", "letter": "A"}, "ring")
    'two red stars in front of the sea with the letter A and a ring'
    """
    count = int(said.get("count", 1))
    adjectives = [str(said[name]) for name in ("size", "colour", "texture") if name in said]
    first = COUNT_WORDS[count - 1] if "count" in said else ("an" if (adjectives or [shape])[0][0] in "aeiou" else "a")
    parts = [first, *adjectives, plural(shape) if count > 1 else shape]
    if "position" in said:
        side = str(said["position"])
        parts.append(f"{'on' if side in ('left', 'right') else 'in' if side == 'centre' else 'at'} the {side}")
    if "place" in said:
        parts.append(f"in front of {SUBJECT[str(said['place'])]}")
    if "letter" in said:
        parts.append("without a letter" if said["letter"] == "none" else f"with the letter {said['letter']}")
    if other is not None:
        parts.append(f"and {'an' if other[0] in 'aeiou' else 'a'} {other}")
    return " ".join(parts)


@dataclass(frozen=True)
class TemplateWriter:
    """Descriptions without a language model: the class beside a few of the words, drawn by score."""

    def write(self, words: Words, image_of: str, classified_as: str, seed: int) -> list[str]:
        rng = np.random.default_rng([seed, 5])
        shares = np.array(words.scores) / np.sum(words.scores)
        some = min(3, len(words.words))
        drawn = [rng.choice(len(shares), some, replace=False, p=shares) for _ in range(ASKED)]
        return [f"a photo of a {image_of}, with {', '.join(words.words[i] for i in row)}" for row in drawn]


@dataclass(frozen=True)
class TransformersWriter:
    """Any text-generation model of transformers. pipeline: `transformers.pipeline("text-generation", …)`."""

    pipeline: Any
    max_new_tokens: int = 2048

    @staticmethod
    def load(name: str, device: str = "cpu") -> TransformersWriter:
        """The model of a name or folder. Raises `SummandError` where transformers or the model is missing."""
        try:
            from transformers import pipeline
        except ImportError:
            raise SummandError("a language model needs transformers: pip install 'summand-clip[generate]'") from None
        try:
            return TransformersWriter(pipeline("text-generation", model=name, device=device))
        except Exception as error:  # whatever the hub, the files or the model raise
            raise SummandError(f"the language model {name} cannot be loaded: {first_line(error)}") from error

    def write(self, words: Words, image_of: str, classified_as: str, seed: int) -> list[str]:
        import torch

        asked: Any = instruction(words, image_of, classified_as)
        if getattr(self.pipeline.tokenizer, "chat_template", None):
            asked = [{"role": "user", "content": asked}]
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            made = self.pipeline(
                asked, max_new_tokens=self.max_new_tokens, do_sample=True, temperature=0.6, top_p=0.9,
                return_full_text=False,
            )  # fmt: skip
        text = made[0]["generated_text"]
        return lines_of(text if isinstance(text, str) else text[-1]["content"])


def lines_of(text: str) -> list[str]:
    """One description a line, without the numbers and quotes that language models put around them."""
    cleaned = (re.sub(r"^\s*(\d+[.):]|[-*•])\s*", "", line).strip().strip('"“”').strip() for line in text.splitlines())
    return [line for line in cleaned if line]
