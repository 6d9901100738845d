"""What is known of a model before anybody asks: its survey, the words of its units, and their means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError
from ...maps.contrast import default_contrast
from ...maps.token_terms import Contrast
from ...models import Model
from ...survey import Group, Survey
from ...survey.opening import open_survey
from ...survey.profile import Profile, profile_of
from ...survey.unit_words import Words, words_of_row
from ...text.pools import Pool
from ...text.properties import kinds
from .question import Reading, read, usual_text

_VOCABULARY = 400
"""Texts that a patch is put into words with."""


@dataclass(frozen=True)
class Known:
    """A model, what may be known of its units, and nothing of any user: all sessions share it.

    words: of every labelled unit, by name. properties: each with the heads that are labelled with it.
    """

    model: Model
    survey: Survey | None = None
    words: Mapping[str, Words] = field(default_factory=dict)

    @cached_property
    def usual(self) -> Float[Tensor, " embed"]:
        return usual_text(self.model)

    @cached_property
    def properties(self) -> dict[str, tuple[tuple[int, int], ...]]:
        found: dict[str, list[tuple[int, int]]] = {}
        for name, words in self.words.items():
            layer, mark, head = name.partition(".")
            if mark and words.kind is not None:
                found.setdefault(words.kind, []).append((int(layer), int(head)))
        return {kind: tuple(sorted(heads)) for kind, heads in sorted(found.items())}

    @property
    def heads(self) -> list[str]:
        """The names of all heads."""
        tower = self.model.tower
        return [f"{layer}.{head}" for layer in range(tower.layers) for head in range(tower.heads)]

    def said(self, unit: str) -> str:
        """What a unit is called, in a line; "" where nothing is known."""
        found = self.words.get(unit)
        return "" if found is None or not found.ends else found.short

    def means(self, group: Group) -> Float[Tensor, "*unit path"] | None:
        """The mean coefficients of a group over the survey's images; None where they are not known."""
        if self.survey is None or not self.survey.holds(group):
            return None
        return self.survey.moments(group).mean

    @cached_property
    def profile(self) -> Profile | None:
        """What neurons, latents or pairs usually do; None without a survey of some."""
        every = () if self.survey is None else self.survey.groups
        groups = [group for group in every if group.kind != "heads"]
        able = [group for group in groups if self.survey is not None and "top_image" in self.survey.dataset(group)]
        return profile_of(self.survey, able) if self.survey is not None and able else None

    @property
    def smaller(self) -> str:
        """What units inside heads the survey has: "neurons", "neurons and latents" or "pairs"."""
        return " and ".join(dict.fromkeys(group.kind for group in self.profile.groups)) if self.profile else ""

    @cached_property
    def contrast(self) -> Contrast:
        """Descriptions that the words of a text are held against. Raises `SummandError` of a text tower that cannot be
        taken apart."""
        return Contrast.of(self.model, default_contrast(self.model))

    @cached_property
    def pool(self) -> Pool:
        """Descriptions that fit the model, as far as it can read them."""
        from ...studies.given import readable_pool

        return readable_pool(self.model, self.model.world.pool)[0]

    @cached_property
    def kinds(self) -> list[str]:
        """Properties by which pictures can be compared."""
        return sorted(name for name, places in kinds(self.pool).items() if len(places) > 1)

    @cached_property
    def vocabulary(self) -> tuple[tuple[str, ...], Float[Tensor, "text embed"]]:
        """Texts that patches are put into words with, less what is usual: those of the survey's labels, else those
        whose mean is the usual one."""
        spoken = dict.fromkeys(text for words in self.words.values() for text in words.spoken)
        texts = list(spoken) or default_contrast(self.model)
        texts = texts[:: max(1, -(-len(texts) // _VOCABULARY))]
        return tuple(texts), self.model.encode_text(texts).float().cpu() - self.usual

    def read(self, picture: object, texts: tuple[str, ...]) -> Reading:
        """A picture taken apart by this model."""
        return read(self.model, picture, texts, self.usual)  # type: ignore[arg-type]


def known_of(given: Model | Survey | str | None = None, model: Model | None = None) -> Known:
    """A model alone; a survey, or its folder, with the words that its units were given. model: of a survey of a
    wrapped one, or with weights on another device."""
    if isinstance(given, Model):
        return Known(given)
    if given is None:
        if model is None:
            raise SummandError("give a model, a survey, or the folder of a survey")
        return Known(model)
    survey = given if isinstance(given, Survey) else open_survey(given, model)
    model = survey.model if model is None else model
    survey.check_model(model)
    return Known(model, survey, words_of(survey))


def words_of(survey: Survey) -> dict[str, Words]:
    """Unit → its words; nothing where the survey was not labelled, or by a version that gave units no ends."""
    table = survey.labels if survey.labelled else None
    if table is None or "poles" not in table:
        return {}
    return {str(row["unit"]): words_of_row(row) for row in table.to_dict("records")}  # type: ignore[arg-type]
