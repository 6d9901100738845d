"""What ablating a unit does to zero-shot accuracy, class by class, on the images kept aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data import ImageSource
from ...errors import SummandError
from ...models import Model
from ...studies.zeroshot import attribute_classes, classifier, classifier_of, named_classes, read_labelled
from ...survey import Group, Survey
from ...towers.precision import doubled
from .entries import Entry


@dataclass(frozen=True)
class Problem:
    """A question that the images kept aside answer. labels: of each, −1 where it is not known. phrases: a text of each
    class, as a whole sentence."""

    name: str
    classes: tuple[str, ...]
    labels: Int[Tensor, " image"]
    weights: Float[Tensor, "class embed"]
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """Accuracy with all units, and with one at its mean; of the classes that change (name, before, after, images), the
    largest fall first."""

    problem: str
    images: int
    before: float
    after: float
    classes: tuple[tuple[str, float, float, int], ...]

    @property
    def fall(self) -> float:
        return self.before - self.after


def problems_of(model: Model, survey: Survey, source: ImageSource | None, classes: str | None) -> list[Problem]:
    """Of a world whose attributes are known, a problem for each that the images say the truth of; else the classes
    that were asked for. Raises `SummandError` for classes that the images do not have."""
    held = survey.held_out_images
    if source is None or not len(held):
        return []
    truth = source.attributes() if model.world.attributes else None
    if truth is None:
        return [] if classes is None else [_asked(model, survey, held, classes)]
    asked = model.world.attributes if classes is None else tuple(classes.split(","))
    found = []
    for attribute in asked:
        known = attribute_classes(model.world, attribute)
        if attribute not in truth:
            continue
        codes = {name: code for code, name in enumerate(known.names)}
        values = truth[attribute].astype(str).to_numpy()[held]
        labels = torch.tensor([codes.get(value, -1) for value in values])
        phrases = tuple(texts[0] for texts in known.texts)
        found.append(Problem(attribute, known.names, labels, classifier(model, known), phrases))
    return found


def _asked(model: Model, survey: Survey, held: np.ndarray, classes: str) -> Problem:
    location = survey.manifest.location
    if location is None:
        raise SummandError(f"classes={classes} needs images that are read from disk; this survey's were in memory")
    known = read_labelled(location, None if classes == "folders" else classes)
    codes = {known.source.name(at): int(label) for at, label in enumerate(known.labels)}
    names = survey.images["name"]
    labels = torch.tensor([codes.get(str(names[int(image)]), -1) for image in held])
    if not bool((labels >= 0).any()):
        raise SummandError(f"none of the images kept aside has a class in {location}; leave out classes={classes}")
    texts = named_classes(known.classes, model.world.class_templates()[:1]).texts
    return Problem("class", known.classes, labels, classifier_of(model, known), tuple(row[0] for row in texts))


def changes_of(
    survey: Survey, problems: Iterable[Problem], entries: Iterable[Entry]
) -> Mapping[str, tuple[Change, ...]]:
    r"""Of every unit, by name: argmax_c ⟨M − (φ_n − b_n), t_c⟩ against argmax_c ⟨M, t_c⟩. Of heads φ_n is the whole
    direct effect, of other units x_n r_n. No image is passed: the survey has kept these numbers."""
    problems, groups = list(problems), {}
    for entry in entries:
        groups.setdefault(entry.group, []).append(entry)
    if not problems:
        return {}
    images = survey.images
    held = torch.tensor(images["held_out"].to_numpy())
    outputs = doubled(survey.embeddings)[held] * torch.tensor(images["norm"].to_numpy())[held].double()[:, None]
    found: dict[str, list[Change]] = {}
    for problem in problems:
        known = problem.labels >= 0
        if not bool(known.any()):
            continue
        weights = doubled(problem.weights.cpu())
        logits, labels = outputs[known] @ weights.T, problem.labels[known]
        for group, some in groups.items():
            for entry, away in _written(survey, group, some, weights, known):
                found.setdefault(entry.name, []).append(_change(problem, labels, logits, away))
    return {name: tuple(sorted(some, key=lambda one: -one.fall)) for name, some in found.items()}


def _written(
    survey: Survey, group: Group, entries: list[Entry], weights: Tensor, known: Tensor
) -> Iterator[tuple[Entry, Float[Tensor, "image class"]]]:
    """⟨φ_n − b_n, t_c⟩ of every unit."""
    rank = survey.rank_one(group)
    if group.kind == "heads":
        coefficients = survey.held_out_coefficients(group)
        if coefficients is None:
            return
        along = rank.basis.double().toward(weights)  # [layer, head, path, class]
        for entry in entries:
            index = entry.unit.index
            yield entry, coefficients[(known, *index)].double() @ along[index]
        return
    x, directions = survey.held_out(group), rank.directions
    for entry in entries:
        index = entry.unit.index
        yield entry, x[(known, *index)].double()[:, None] * (weights @ directions[index])[None]


def _change(problem: Problem, labels: Tensor, logits: Tensor, away: Tensor) -> Change:
    right = [(some.argmax(dim=1) == labels).double() for some in (logits, logits - away)]
    count = len(problem.classes)
    each = torch.bincount(labels, minlength=count)
    before, after = (torch.bincount(labels, weights=some, minlength=count) / each.clamp(min=1) for some in right)
    moved = (before != after).nonzero()[:, 0].tolist()
    rows = [(problem.classes[code], float(before[code]), float(after[code]), int(each[code])) for code in moved]
    rows.sort(key=lambda row: row[2] - row[1])
    return Change(problem.name, len(labels), float(right[0].mean()), float(right[1].mean()), tuple(rows))
