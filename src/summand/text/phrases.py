"""Concepts in sentences: articles, templates, and the word lists behind the pool `general`."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

# Spelt with a vowel but spoken with a consonant ("a unicorn", "a European", "a one-way street", "a USB stick") ...
_SPOKEN_CONSONANT = re.compile(
    r"(?i:eu|ewe|once|one(?![ir])|uni(?=[cfoqstv])|ura|uru|us[eu]|ut[ei]|uku|uga|ukr)|U[A-Z]"
)
# ... and the other way round ("an hourglass", "an X-ray", "an SUV", "an 18th-century house").
_SPOKEN_VOWEL = re.compile(r"(?i:hour|heir|honest|honou?r)|8|1[18](?!\d)|[FHLMNRSX]([A-Z]+\d*)?\b")

CLASSES_WITHOUT_ARTICLE = frozenset(
    name.strip()
    for name in [
        "\n    binoculars",
        " broccoli",
        " carbonara",
        " chain mail",
        " chocolate syrup",
        " clogs",
        " consomme",
        " corn",
        " dough",
        " eggnog",
        " face powder",
        "\n    guacamole",
        " hair spray",
        " hay",
        " ice cream",
        " jeans",
        " lotion",
        " mashed potatoes",
        " pajamas",
        " parallel bars",
        " perfume",
        " rapeseed",
        "\n    red wine",
        " sunglasses",
        " sunscreen",
        " swim trunks or shorts",
        " tights",
        " toilet paper",
        " velvet fabric",
        " wool\n    ",
    ]
)
"""ImageNet's class names that are plurals or substances."""


def with_article(phrase: str) -> str:
    """`phrase` after "a" or "an", as it is spoken.

    >>> [with_article(phrase) for phrase in ("owl", "unicorn", "hourglass", "SUV", "DJ")]
    ['an owl', 'a unicorn', 'an hourglass', 'an SUV', 'a DJ']
    """
    vowel = phrase[0].lower() in "aeiouéàáø" and not _SPOKEN_CONSONANT.match(phrase)
    return f"{'an' if vowel or _SPOKEN_VOWEL.match(phrase) else 'a'} {phrase}"


def fill(template: str, concept: str) -> str:
    """The template with the concept in place of "{}", or the concept after its article in place of "{a}".

    >>> fill("a photo of {a}", "owl"), fill("a photo of {}", "sunglasses")
    ('a photo of an owl', 'a photo of sunglasses')
    """
    return template.replace("{a}", with_article(concept)).replace("{}", concept)


@lru_cache(maxsize=1)
def descriptions() -> dict[str, tuple[str, ...]]:
    """Category → its descriptions, read from lists/*.txt.

    A list is sections of concepts, one a line, each under a line of templates, "# template | template | ...". The
    concepts of a section take its templates in turn, so that a pool varies in concepts more than in wording.
    """
    folder = resources.files("summand.text") / "lists"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".txt")), key=lambda file: file.name)
    return {file.name.removesuffix(".txt"): _filled(file.read_text(encoding="utf-8")) for file in files}


def _filled(lines: str) -> tuple[str, ...]:
    templates: list[str] = []
    texts: list[str] = []
    turn = 0
    for line in lines.splitlines():
        if line.startswith("#"):
            templates, turn = [template.strip() for template in line[1:].split("|")], 0
        elif line:
            texts.append(fill(templates[turn % len(templates)], line))
            turn += 1
    return tuple(texts)
