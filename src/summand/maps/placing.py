"""A map of patches where its patches lie: not always over the whole picture."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ..models import Model
from ..towers.layout import covered


def share_of(model: Model) -> tuple[float, float]:
    """The share of a picture's height and width that the model's grid of patches covers, from the upper left corner:
    378 of 384 pixels in SigLIP-SO400M, whose 27 patches of 14 pixels leave out what is over."""
    (height, width), (rows, columns) = model.tower.image_size, covered(model.tower)
    return rows / height, columns / width


def placed(
    maps: Float[Tensor, "image text row column"],
    size: tuple[int, int],
    share: tuple[float, float] = (1.0, 1.0),
    mode: str = "bilinear",
) -> Float[Tensor, "image text height width"]:
    """Maps at the size of a picture, each cell over the pixels that its patch reads. share: of `share_of`.

    What lies behind the last patches repeats them, as bilinear interpolation does behind the centres of the last cells.
    """
    height, width = (round(side * part) for side, part in zip(size, share, strict=True))
    align = {} if mode == "nearest" else {"align_corners": False}
    grown = F.interpolate(maps, size=(height, width), mode=mode, **align)[..., : size[0], : size[1]]
    over = (size[0] - grown.shape[-2], size[1] - grown.shape[-1])
    return F.pad(grown, (0, over[1], 0, over[0]), mode="replicate") if any(over) else grown
