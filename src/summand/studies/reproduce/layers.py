"""What is known of the neurons of each layer, and how many layers' statistics are held at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...models import Model
from ...survey import Survey
from ...towers.precision import doubled
from ...towers.residual import ResidualTower
from ..ablation.accuracy import read
from .job import Job, some

_MOST_BYTES = 4e9
_IMAGES = 256  # that say what a layer's neurons carry of the output
_TOP = 100


@dataclass(frozen=True)
class Spread:
    """Of the neurons of a layer, in per cent: what their significant images hold of their effects' variance; what the
    first component explains of their largest effects (median); and what all of them together carry of the output,
    Σ ⟨φ(x) − φ̄, M(x) − M̄⟩ / Σ ‖M(x) − M̄‖²."""

    significant: float
    first: float
    carried: float


def spread_of(job: Job, survey: Survey, layers: Sequence[int]) -> dict[int, Spread]:
    """From a survey of these layers, and a pass over some of its images."""
    found, carried = {}, _carried(job, layers)
    for layer in layers:
        group = f"neurons.{layer}"
        moments, top = survey.moments(group), survey.top_images(group)
        held = float(doubled(top.norms).square().sum()) / moments.count / float(moments.variance().sum())
        first = float(survey.rank_one(group).explained[..., 0].nanmedian())
        found[layer] = Spread(100 * held, 100 * first, 100 * carried[layer])
    return found


def _carried(job: Job, layers: Sequence[int]) -> dict[int, float]:
    rows: dict[int, list[torch.Tensor]] = {layer: [] for layer in layers}
    outputs: list[torch.Tensor] = []
    for batch in read(job.model(), some(job.usual(), _IMAGES), job.options.batch_size, "shares of the output", None):
        outputs.append(doubled(batch.total).cpu())
        for layer in layers:
            effects = batch.second_order(layer)
            rows[layer].append(doubled(effects.basis.total(effects.coefficients)).cpu())
    whole = torch.cat(outputs)
    whole = whole - whole.mean(dim=0)
    return {layer: float((torch.cat(each) * whole).sum() / whole.square().sum()) for layer, each in rows.items()}


def stored_bytes(model: Model, layer: int) -> float:
    """Of second moments and largest effects: [neuron, path, path] and [neuron, image, path]."""
    tower = model.tower
    assert isinstance(tower, ResidualTower)
    paths = (tower.layers - 1 - layer) * tower.heads
    return 8.0 * tower.blocks[layer].neuron_output().shape[1] * paths * (paths + _TOP)


def in_batches(model: Model, layers: Sequence[int]) -> list[list[int]]:
    """Layers together whose statistics fit into some gigabytes."""
    found: list[list[int]] = []
    room = 0.0
    for layer in layers:
        size = stored_bytes(model, layer)
        if not found or size > room:
            found.append([])
            room = _MOST_BYTES
        found[-1].append(layer)
        room -= size
    return found
