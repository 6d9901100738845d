"""Which units carry a spurious attribute rather than the classes, judged by texts and unlabelled images alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError, listed
from ...statistics.moments import Moments
from ...survey.unit_words import Words
from ...text.labels import HeadLabel
from ...text.lexicons import attribute_of
from ...text.phrases import descriptions
from ...text.textspan import textspan
from ...towers.precision import doubled

COVER = 0.9


class NoUnits(SummandError):
    """No unit carries the attribute rather than the classes."""


_TEXTS_READ = 3
_LEAST = 0.005  # a unit that carries less of the attribute than this is not worth a removal


@dataclass(frozen=True)
class Suspect:
    """A unit and why it was chosen.

    unit: (layer, head) or (layer, neuron), kind: which of the two. attribute, classes: share of its variance that lies
    along the attribute's texts and along the class texts. carries: its share of the variance along the attribute of all
    units that were looked at. texts: what TextSpan calls it, where that was asked. wanted: the property that its label
    fits, where it was chosen by that; matched: those of its texts that do.
    """

    unit: tuple[int, int]
    attribute: float
    classes: float
    carries: float
    texts: tuple[str, ...] = ()
    wanted: str = ""
    matched: tuple[str, ...] = ()
    kind: Literal["head", "neuron"] = "head"

    @property
    def name(self) -> str:
        """10.3, or 9:41."""
        return f"{self.unit[0]}{'.' if self.kind == 'head' else ':'}{self.unit[1]}"


def choose(
    moments: Moments,
    attribute: Float[Tensor, "value embed"],
    classes: Float[Tensor, "class embed"],
    layers: Sequence[int],
    cover: float = COVER,
    kind: Literal["head", "neuron"] = "head",
) -> list[Suspect]:
    r"""Units with Var_A > Var_C and Var_A / Var > k / D, largest Var_A first, until they carry `cover` of Σ_u Var_A.

    Var_A = Σ_k Var⟨φ_u, a_k⟩ over an orthonormal basis a of the attribute's centred texts, Var_C the same for the
    classes: only second moments of unlabelled images enter. k / D, the attribute's dimensions over those of the
    embedding, is the share of a unit that varies alike in all directions. moments: units (layer, head) of the given
    `layers`, or (neuron,) of one layer.

    Raises `SummandError` for fewer than two texts and texts that are all alike, and `NoUnits` where no unit qualifies.
    """
    check_cover(cover)
    axes = span(attribute, "attribute")
    along = moments.variance_along(axes).sum(dim=-1)
    against = moments.variance_along(span(classes, "classes")).sum(dim=-1)
    whole = moments.variance().clamp(min=torch.finfo(torch.float64).tiny)
    total = along.sum()
    flat, width = along.flatten(), along.shape[-1]
    chosen: list[Suspect] = []
    carried = 0.0
    for place in flat.argsort(descending=True, stable=True).tolist():
        if carried >= cover:
            break
        row, column = divmod(place, width)
        mine, other, size = float(flat[place]), float(against.flatten()[place]), float(whole.flatten()[place])
        if mine <= other or mine / size <= len(axes) / axes.shape[1] or mine / float(total) < _LEAST:
            continue
        carried += mine / float(total)
        chosen.append(Suspect((layers[row], column), mine / size, other / size, mine / float(total), kind=kind))
    if not chosen:
        raise NoUnits(
            "no unit varies more along the attribute than along the classes, so there is none to remove; look at the "
            "labels (summand atlas) and name units with units=10.3,11.2"
        )
    return chosen


def check_cover(cover: float) -> None:
    if not 0 < cover <= 1:
        raise SummandError(f"cover is a share above 0 and up to 1, got {cover}")


def by_property(
    labels: Sequence[HeadLabel], wanted: str, called: Mapping[tuple[int, int], Words] | None = None
) -> list[Suspect]:
    """Heads whose label is of a property: an attribute of the scenes, a list of the general pool (`places`, `colours`,
    …), or a word that most of its texts hold.

    called: what a survey calls the heads; the label is then its proven words, and what it is of
    (`survey.words.attribute`). Of others it is the first texts that
    span the head, which no images are needed for and none have proven.
    """
    known = {} if called is None else called
    lists = {text: name for name, texts in descriptions().items() for text in texts}
    found: list[Suspect] = []
    attributes: set[str | None] = set()
    for label in labels:
        unit, words = (label.layer, label.head), known.get((label.layer, label.head))
        attribute = label.attribute if words is None else words.kind
        attributes.add(attribute)
        read = label.texts[:_TEXTS_READ] if words is None else tuple(words.spoken)
        fits = [wanted == lists.get(text) or wanted.lower() in text.lower().split() for text in read]
        if attribute == wanted or sum(fits) * 2 > len(read):
            share = label.explained[len(read) - 1] if words is None else dict(words.shares).get(wanted, float("nan"))
            own = (
                {word for end in words.ends if end.kind == wanted for word in end.words} if words is not None else set()
            )
            matched = tuple(
                text for text, fit in zip(read, fits, strict=True) if fit or text in own or attribute_of(text) == wanted
            )
            found.append(Suspect(unit, share, float("nan"), label.importance, tuple(read), wanted, matched))
    if not found:
        named = sorted({attribute for attribute in attributes if attribute} or set(lists.values()))
        raise SummandError(
            f"no head is labelled {wanted!r}; properties here: {listed(named)}. A property is one of these, or a word "
            f"of the labels"
        )
    return found


def in_words(suspect: Suspect, attribute: str, classes: str, done: str = "was removed") -> str:
    """One sentence for a reader: what was done to a unit and why."""
    unit = suspect.kind
    called = f" Its texts: {', '.join(suspect.texts)}." if suspect.texts else ""
    if suspect.wanted:
        matched = f" ({', '.join(suspect.matched)})" if suspect.matched else ""
        if not matched and suspect.attribute == suspect.attribute:
            why = f"{suspect.wanted!r} explains {_percent(suspect.attribute)} of it, more than what its words are of"
            return f"{unit} {suspect.name} {done} because {why}.{called}"
        return f"{unit} {suspect.name} {done} because its label fits {suspect.wanted!r}{matched}.{called}"
    if suspect.classes != suspect.classes:
        return f"{unit} {suspect.name} {done} because it was named.{called}"
    return (
        f"{unit} {suspect.name} {done}: {_percent(suspect.attribute)} of its variance lies along {attribute} and "
        f"{_percent(suspect.classes)} along {classes}; of all variance of {unit}s along {attribute} it holds "
        f"{_percent(suspect.carries)}.{called}"
    )


def described(
    suspects: Sequence[Suspect],
    moments: Moments,
    layers: Sequence[int],
    texts: Sequence[str],
    embeddings: Float[Tensor, "text embed"],
) -> list[Suspect]:
    """The same heads with the first texts of their TextSpan. moments: units (layer, head) of the given `layers`."""
    rows = sorted({layers.index(suspect.unit[0]) for suspect in suspects})
    spans = textspan(moments.select(rows), embeddings, _TEXTS_READ)
    found = []
    for suspect in suspects:
        picks = spans.indices[rows.index(layers.index(suspect.unit[0])), suspect.unit[1]]
        found.append(replace(suspect, texts=tuple(texts[int(i)] for i in picks if i >= 0)))
    return found


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.095 else f"{100 * share:.1f} %"


def span(texts: Float[Tensor, "text embed"], what: str) -> Float[Tensor, "dimension embed"]:
    """Orthonormal basis of the differences between texts."""
    if len(texts) < 2:
        raise SummandError(f"expected at least two texts of the {what}, got {len(texts)}: one says no direction")
    centred = doubled(texts) - doubled(texts).mean(dim=0)
    _, sizes, right = torch.linalg.svd(centred, full_matrices=False)
    kept = right[sizes > 1e-4 * max(float(sizes[0]), 1e-12)]
    if not len(kept) or float(sizes[0]) < 1e-6:
        raise SummandError(f"the texts of the {what} are all alike to the model; give texts that differ")
    return kept
