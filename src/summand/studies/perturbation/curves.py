"""Deletion and insertion: what the answer does while the patches that a map ranks are taken away or put back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ...errors import SummandError
from ...maps.placing import placed, share_of
from ...models import Model
from .options import Answer, Fill, PerturbationOptions

AREAS = ("deletion_positive", "deletion_negative", "insertion_positive", "insertion_negative")


@dataclass(frozen=True)
class PerturbationCurves:
    """The class's answer at each share of the patches, [image, point]; `shares`: that share, from 0 to 1.

    deletion_positive, deletion_negative: patches are taken away, the most (least) relevant first: a faithful map falls
    at once (stays up). insertion_positive, insertion_negative: the same order, put into an empty image.
    """

    shares: Float[np.ndarray, " point"]
    deletion_positive: Float[np.ndarray, "image point"]
    deletion_negative: Float[np.ndarray, "image point"]
    insertion_positive: Float[np.ndarray, "image point"]
    insertion_negative: Float[np.ndarray, "image point"]

    def areas(self) -> dict[str, Float[np.ndarray, " image"]]:
        """∫ answer d(share) of every curve by the trapezoidal rule. Small is good for deletion_positive and
        insertion_negative, large for the others."""
        widths = np.diff(self.shares)

        def area(curve: np.ndarray) -> np.ndarray:
            return ((curve[:, 1:] + curve[:, :-1]) / 2) @ widths

        return {name: area(getattr(self, name)) for name in AREAS}


def perturbation_curves(
    model: Model,
    pixels: Float[Tensor, "image 3 height width"],
    maps: Float[Tensor, "image row column"],
    classes: Float[Tensor, "text embed"],
    targets: Int[Tensor, " image"],
    options: PerturbationOptions | None = None,
) -> PerturbationCurves:
    r"""curve(k/K) = answer(x with the first k/K of the patches missing), and the same with them alone present.

    Deletion and insertion: Petsiuk et al. 2018, arXiv:1806.07421; positive and negative order: Chefer et al. 2021,
    arXiv:2012.09838, section 4. maps: one for each image, of the class that is asked about, on the model's grid or any
    that divides the image; a cell is a patch. Equal values are ranked in reading order. classes: class-text directions;
    targets: which of them each image is asked about.

    Every distinct picture goes through the model once, in batches: about 2 · steps of them for an image.
    Raises `SummandError` for maps, classes or targets that do not fit the images, and for maps with NaN.
    """
    options = options or PerturbationOptions()
    _check(model, pixels, maps, classes, targets)
    scale = logit_scale(model) if options.scale is None else options.scale
    counts, present = _presence(maps, options.steps)
    share = share_of(model) if tuple(maps.shape[1:]) == tuple(model.tower.grid) else (1.0, 1.0)
    filler, answers = _filled(pixels, options.fill), []
    for image in range(len(pixels)):
        distinct, where = torch.unique(present[image].to(pixels.device), dim=0, return_inverse=True)
        found = []
        for some in distinct.split(options.batch_size):
            cells = some.to(pixels).reshape(-1, 1, *maps.shape[1:])
            shown = placed(cells, (pixels.shape[-2], pixels.shape[-1]), share, "nearest")
            mixed = shown * pixels[image] + (1 - shown) * filler[image]
            found.append(_answers(model, mixed, classes, scale, options.answer)[:, targets[image]])
        answers.append(torch.cat(found)[where])
    curves = torch.stack(answers).unflatten(1, (4, options.steps + 1)).cpu().double().numpy()
    return PerturbationCurves(np.array(counts) / maps[0].numel(), *(curves[:, which] for which in range(4)))


def _presence(maps: Tensor, steps: int) -> tuple[list[int], Bool[Tensor, "image curve_point cell"]]:
    """How many cells have been moved at each point, and which are there: deletion of the most and of the least
    relevant, then insertion of the same."""
    cells = maps[0].numel()
    counts = [round(step * cells / steps) for step in range(steps + 1)]
    falling = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = falling.argsort(dim=1)  # of each cell, 0 for the most relevant
    left = torch.stack([order >= count for order in (rank, cells - 1 - rank) for count in counts], dim=1)
    return counts, torch.cat([left, ~left], dim=1)


def _answers(
    model: Model, pixels: Tensor, classes: Tensor, scale: float, answer: Answer
) -> Float[Tensor, "image text"]:
    embedding = model.encode_image(pixels)
    classes = F.normalize(classes.to(embedding.device), dim=-1)
    cosines = F.normalize(embedding.to(classes.dtype), dim=-1) @ classes.T
    return cosines if answer == "logit" else (scale * cosines).softmax(dim=-1)


def _filled(pixels: Tensor, fill: Fill) -> Float[Tensor, "image 3 height width"]:
    if fill == "mean":
        return pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)
    height, width = pixels.shape[-2:]
    small = F.adaptive_avg_pool2d(pixels.float(), (max(1, height // 16), max(1, width // 16)))
    return F.interpolate(small, size=(height, width), mode="bicubic", align_corners=False).to(pixels)


def logit_scale(model: Model) -> float:
    """What cosines are multiplied by before the softmax: the model's own scale, 100 where it has none."""
    found = getattr(model.clip, "logit_scale", None)
    return 100.0 if found is None else float(found.detach().exp())


def _check(model: Model, pixels: Tensor, maps: Tensor, classes: Tensor, targets: Tensor) -> None:
    model.check_pixels(pixels)
    images, height, width = len(pixels), *pixels.shape[-2:]
    if not isinstance(maps, Tensor) or maps.ndim != 3 or len(maps) != images:
        got = list(maps.shape) if isinstance(maps, Tensor) else type(maps).__name__
        raise SummandError(f"expected one map for each image, [{images}, row, column], got {got}")
    own = tuple(maps.shape[1:]) == tuple(model.tower.grid)
    if not own and (height % maps.shape[1] or width % maps.shape[2]):
        cells = f"{maps.shape[1]} × {maps.shape[2]}"
        raise SummandError(f"a map of {cells} cells does not divide an image of {height} × {width} pixels")
    if torch.isnan(maps).any():
        raise SummandError("a map holds NaN, so its patches have no order")
    if classes.ndim != 2 or classes.shape[1] != model.tower.embed:
        raise SummandError(f"expected class directions [text, {model.tower.embed}], got {list(classes.shape)}")
    if targets.shape != (images,) or targets.is_floating_point():
        raise SummandError(f"expected one class index for each image, [{images}], got {list(targets.shape)}")
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < len(classes):
        raise SummandError(f"targets must be between 0 and {len(classes) - 1}, the last of the classes given")
