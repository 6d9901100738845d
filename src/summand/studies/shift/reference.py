"""A reference set as numbers, to compare with later without its images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch.nn import functional as F

from ...data import ImageSource, Skipped
from ...data.sources import batches
from ...effects.published import Parity, check_parity
from ...errors import SummandError
from ...models import Model
from ...statistics import saving
from ...survey import Group, Survey, survey_of
from ...survey.fingerprints import same_weights, weights_hash
from ...survey.profile import profile, profile_of
from ...survey.units import Wanted, groups_of
from ...text.pools import Pool
from ...towers.directions import Directions
from ..given import spread_over
from .concepts import Concepts, concepts
from .pixels import PIXELS, of_pixels
from .readings import Measured, Readings, head_readings, measure, unit_readings
from .scores import ConceptUnits, NamedConcepts, check_published, named_concepts, usual_layer
from .statistics import FEWEST

Watch = Literal["heads", "neurons", "pairs", "latents"]
_KIND = "shift reference"
_PIXELS_OF = 2000
_NUMBERS = ("readings", "embeddings", "concepts")
_NUMBERS_OF_NAMED = ("asked_scores", "asked_weights", "asked_offsets")


@dataclass(frozen=True)
class Reference:
    """What is watched, how the reference images read, and which weights read them.

    named: concepts that were asked for by name, with their scores. label: what the images are called. weights: SHA-256
    of the model's parameters and of what is ablated in it.
    """

    model: str
    weights: str
    label: str
    concepts: Concepts
    readings: Readings
    measured: Measured
    named: NamedConcepts | None = None

    def check(self, model: Model) -> None:
        """Raise `SummandError` where the model is not the one that made this reference."""
        if not same_weights(weights_hash(model), self.weights):
            same = model.name == self.model
            now = "its weights, or what is ablated in it, are others now" if same else f"this is {model.name}"
            raise SummandError(
                f"the reference of {self.label} was made with the model {self.model}, and {now}: units of different "
                f"models cannot be compared. Give that model as model=NAME, or make the reference again with this one"
            )

    def save(self, path: str | os.PathLike[str]) -> None:
        """One .npz file, without pickle."""
        readings, measured, known = self.readings, self.measured, self.concepts
        named = {
            "model": self.model, "weights": self.weights, "label": self.label, "group": readings.group.name,
            "units": np.array(readings.units), "columns": np.array(readings.concepts),
            "readings": measured.readings.astype(np.float32), "embeddings": measured.embeddings.astype(np.float32),
            "indices": measured.indices, "names": np.array(known.names), "concepts": known.directions,
            "properties": np.array([name or "" for name in known.properties]),
            "values": np.array([value or "" for value in known.values]), "pixels": measured.pixels,
        }  # fmt: skip
        if self.named is not None:
            asked = self.named.units
            named |= {"asked": np.array(asked.texts), "asked_units": asked.chosen, "asked_scores": self.named.scores}
            named |= {"asked_weights": asked.weights, "asked_offsets": asked.offsets, "asked_as": asked.parity or ""}
        try:
            saving.write(path, _KIND, Directions.of(readings.weights), named)
        except OSError as error:
            raise SummandError(f"cannot write the reference {path}: {error.strerror or error}") from error

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Reference:
        """What `save` wrote. Raises `SummandError` for any other file, and for one that holds NaN."""
        return saving.understood(path, _KIND, lambda: cls._load(path))

    @classmethod
    def _load(cls, path: str | os.PathLike[str]) -> Reference:
        basis, found = saving.read(path, _KIND)
        numbers = [found[name] for name in (*_NUMBERS, *_NUMBERS_OF_NAMED) if name in _NUMBERS or name in found]
        if not all(np.isfinite(array).all() for array in numbers):
            raise SummandError(f"the reference {path} holds NaN or infinite numbers; make it again from its images")
        known = Concepts(
            saving.names(found["names"]),
            tuple(name or None for name in saving.names(found["properties"])),
            tuple(value or None for value in saving.names(found["values"])),
            torch.from_numpy(found["concepts"]),
        )
        units = tuple(tuple(int(n) for n in row) for row in found["units"])
        columns = tuple(int(n) for n in found["columns"])
        readings = Readings(Group.named(str(found["group"])), units, columns, basis.dense())
        measured = Measured(
            found["readings"].astype(np.float64), found["embeddings"], found["indices"], (), found.get("pixels")
        )
        named = None
        if "asked" in found:
            chosen = torch.from_numpy(found["asked_units"])
            read: list[Any] = [torch.from_numpy(found[name]) for name in _NUMBERS_OF_NAMED[1:] if name in found]
            units = ConceptUnits(saving.names(found["asked"]), chosen, *read)
            parity = "paper" if str(found.get("asked_as", "")) == "paper" else None
            named = NamedConcepts(replace(units, parity=parity), found["asked_scores"])
        return cls(str(found["model"]), str(found["weights"]), str(found["label"]), known, readings, measured, named)


def make_reference(
    model: Model,
    source: ImageSource,
    pool: Pool,
    watch: Watch = "heads",
    *,
    layers: Sequence[int] | None = None,
    layer: int | None = None,
    named: Sequence[str] = (),
    parity: Parity = None,
    survey: Survey | None = None,
    batch_size: int = 64,
    progress: bool | None = False,
) -> Reference:
    """Choose what to watch from the reference images, and read them: one pass (three for all but heads).

    watch: heads of these `layers` (by default the last four) along the concepts of their labels; the neurons of one
    `layer` (by default the third last); the pairs of an attention pool; or the latents of an autoencoder. named: texts
    to score as well (`named_concepts`: one to three passes more), with parity="paper" as paper B's code does it.
    survey: of the units, where what is usual is known already.

    Raises `SummandError` for units that the tower does not have and too few images.
    """
    if watch not in get_args(Watch):
        raise SummandError(f"units to watch are {', '.join(get_args(Watch))}, got {watch!r}")
    check_parity(parity)
    if parity == "paper":
        if not named:
            raise SummandError("parity='paper' says how named concepts are scored (paper B); name one")
        check_published(model)
    if len(source) < FEWEST:
        raise SummandError(f"{source.label} holds {len(source)} image(s); a test of shift needs at least {FEWEST}")
    at = usual_layer(model) if layer is None and watch == "neurons" else layer
    groups = groups_of(model, [Wanted(watch, None if at is None else (at,))])
    if len(groups) > 1:
        raise SummandError(
            f"latents of one layer are watched at a time: {' or '.join(f'latents:{each.layer}' for each in groups)}"
        )
    known, usual = concepts(model, pool), None
    read = range(max(0, model.tower.layers - 4), model.tower.layers) if layers is None else sorted(layers)
    if survey is not None and watch == "heads":
        readings = head_readings(model, survey.moments("heads"), pool, known, read)
        measured = measure(model, source, readings, batch_size, progress)
    elif watch == "heads":
        passed = survey_of(model, source, groups, top=0, keep=read, batch_size=batch_size, progress=progress)
        readings = head_readings(model, passed.moments("heads"), pool, known, read)
        measured = _measured(passed, readings, pixels_of_some(model, source, batch_size))
    else:
        usual = profile_of(survey, groups) if survey else profile(model, source, groups, batch_size, progress)
        readings = unit_readings(usual, known)
        measured = measure(model, source, readings, batch_size, progress)
    asked = named_concepts(model, source, named, pool, batch_size, progress, usual, parity) if named else None
    return Reference(model.name, weights_hash(model), source.label, known, readings, measured, asked)


def pixels_of_some(model: Model, source: ImageSource, batch_size: int = 64) -> Float[np.ndarray, "some measure"]:
    """`PIXELS` of at most 2,000 of the images, spread over them; those that cannot be read are left out."""
    some = source if len(source) <= _PIXELS_OF else spread_over(source, _PIXELS_OF)
    found = [of_pixels(model, batch.images) for batch in batches(some, batch_size, [])]
    return np.concatenate(found) if found else np.zeros((0, len(PIXELS)))


def _measured(passed: Survey, readings: Readings, pixels: Float[np.ndarray, "some measure"]) -> Measured:
    """Readings of heads from a pass that kept the last layers' coefficients."""
    first = passed.manifest.kept[0]
    local = replace(readings, units=tuple((layer - first, head) for layer, head in readings.units))
    embeddings = F.normalize(passed.outputs.float(), dim=1).numpy()
    skipped = tuple(Skipped(item["name"], item["reason"]) for item in passed.manifest.skipped)
    read = local.read(passed.kept.coefficients).numpy()
    return Measured(read, embeddings, passed.images.index.to_numpy(dtype=np.int64), skipped, pixels)
