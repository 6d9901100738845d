"""One pass over a data set: the moments of every head, and the coefficients of those that will be looked at."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from ..data import ImageSource, Skipped
from ..data.sources import batches
from ..effects.effects import Effects
from ..errors import SummandError
from ..models import Model, pixels_of
from ..statistics.moments import Moments


@dataclass(frozen=True)
class Collected:
    """What a pass leaves.

    moments: of all heads. kept: head effects of the last layers, all images. layers: which layers those are.
    mlps, outputs: direct effect of all MLPs together, and the representation, [image, embed]. indices: the source's
    index of every image that could be read. residual: |Σ − encode_image| of the first batch, relative.
    """

    moments: Moments
    kept: Effects
    layers: tuple[int, ...]
    mlps: Float[Tensor, "image embed"]
    outputs: Float[Tensor, "image embed"]
    indices: np.ndarray
    skipped: tuple[Skipped, ...]
    residual: float


def collect(
    model: Model, source: ImageSource, keep_layers: int = 4, batch_size: int = 64, progress: bool = True
) -> Collected:
    """Decompose every image of a source once.

    Memory grows with the number of images only by the kept coefficients (last `keep_layers` layers × heads × value
    channels numbers an image). Unreadable images are skipped and reported. Raises `SummandError` where fewer than
    two images could be read.
    """
    moments, skipped = Moments(), []
    first_kept = max(0, model.tower.layers - keep_layers)
    kept, mlps, outputs, indices = [], [], [], []
    effects: Effects | None = None
    residual = 0.0
    bar = tqdm(total=len(source), desc="images", unit="img", file=sys.stderr, disable=not progress, leave=False)
    with bar:
        for batch in batches(source, batch_size, skipped):
            parts = model.decompose(pixels_of(model, batch.images))
            effects = parts.head_effects()
            moments.update(effects)
            if not indices:
                residual = parts.residual()
            kept.append(effects.coefficients[:, first_kept:].cpu())
            mlps.append(parts.mlps().sum(dim=1).cpu())
            outputs.append(parts.total().cpu())
            indices.extend(batch.indices)
            bar.update(batch.indices[-1] + 1 - bar.n)
    if effects is None or len(indices) < 2:
        reasons = "; ".join(f"{item.name}: {item.reason}" for item in skipped[:3])
        raise SummandError(
            f"{source.label}: only {len(indices)} image(s) could be read, at least 2 are needed ({reasons})"
        )
    layers = tuple(range(first_kept, model.tower.layers))
    directions = effects.basis.select(slice(first_kept, None)).to("cpu")
    return Collected(
        moments=moments,
        kept=Effects(torch.cat(kept), directions, effects.units, effects.paths),
        layers=layers,
        mlps=torch.cat(mlps),
        outputs=torch.cat(outputs),
        indices=np.array(indices),
        skipped=tuple(skipped),
        residual=residual,
    )
