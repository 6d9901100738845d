"""Top images by distance from another mean than the one they were found with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..effects.effects import path_norms
from ..towers.precision import doubled
from .top_images import TopImages


def recentred(
    parts: Sequence[TopImages], starts: Sequence[int], mean: Float[Tensor, "*unit path"], k: int
) -> tuple[TopImages, Bool[Tensor, "*unit"]]:
    r"""The k images of largest ‖φ(x) − m‖ among those that the parts kept, and of which units no other can be among
    them.

    Part i kept the images of largest ‖φ(x) − mᵢ‖ ≥ tᵢ of its own. One that it did not keep has ‖φ(x) − m‖ ≤ tᵢ + ‖mᵢ −
    m‖, so where the k-th largest norm found is at least that for every part, nothing is missing. starts: what is added
    to the numbers of each part's images. The sketch of norms is that of the parts, each about its own mean.
    """
    gram = parts[0].basis.double()._gram()
    whole, bound = TopImages(k, mean), None
    for part, start in zip(parts, starts, strict=True):
        moved = part.mean - doubled(mean).to(part.mean)
        coefficients = doubled(part.coefficients) + moved[..., None, :]
        norms = path_norms(coefficients.movedim(-2, 0), gram).movedim(0, -1)
        kept = (part.ids + start, norms, coefficients.to(part.coefficients.dtype))
        axes = (part.units, part.paths, part.path_index)
        whole.merge(TopImages.restore(k, part.count, doubled(mean), kept, part.sketch, part.basis, *axes))
        if part.count > part.ids.shape[-1]:  # some were not kept
            most = part.norms[..., -1] + path_norms(moved[None], gram)[0]
            bound = most if bound is None else torch.maximum(bound, most)
    least = whole.norms[..., -1]
    return whole, torch.ones_like(least, dtype=torch.bool) if bound is None else least >= bound
