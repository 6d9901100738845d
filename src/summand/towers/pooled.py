"""The pooled token of a residual stream, as one pass comes to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from .base import working
from .eager import exporting

if TYPE_CHECKING:
    from .residual import ResidualTower

_SMALL = 1 << 24  # numbers of all tokens that a pass comes by, which may be kept until it is over


class PooledTokens:
    """The pooled token before every block (`before`), and between its attention and its MLP (`middle`).

    A class token is kept in the model's own precision, a mean in working precision. weights: of the tokens that are
    pooled, [image, query]. Class tokens of a small pass are only pointed at, and copied in one step behind it
    (`settle`), because at that size a step costs as much as what it computes.
    """

    def __init__(self, tower: ResidualTower, weights: Callable[[Tensor], Tensor]) -> None:
        self._tower, self._weights = tower, weights
        self.before: list[Tensor] = []
        self.middle: list[Tensor] = []
        self._pointed: bool | None = None  # not known before the first tokens are there
        self._seen: list[tuple[Tensor, int]] = []  # streams and how often they had been written to

    def of(self, tokens: Tensor) -> Float[Tensor, "image width"]:
        """The pooled token of these, which are as the block has them."""
        batch_first = self._tower.batch_first(tokens)
        if self._tower.averaged:
            batch_first = working(batch_first)
            return torch.einsum("iq,iqw->iw", self._weights(batch_first), batch_first[:, self._tower.pooled_from :])
        if self._pointed is None:
            self._pointed = self._may_point(tokens)
        if not self._pointed:
            return torch.select_copy(batch_first, 1, 0)
        self._seen.append((tokens, tokens._version))
        return batch_first.select(1, 0)

    def _may_point(self, tokens: Tensor) -> bool:
        tower = self._tower
        if tower.always_checked or tower.adds_in_place or tokens.is_inference() or exporting():
            return False
        return 2 * len(tower.blocks) * tokens.numel() <= _SMALL

    def settle(self) -> bool:
        """Copies what was only pointed at. False where a block has written to its stream meanwhile, so that what was
        seen of it is gone."""
        if not self._pointed:
            return True
        if any(tokens._version != version for tokens, version in self._seen):
            self._tower.adds_in_place = True
            return False
        count = len(self.before)
        copies = torch.stack([*self.before, *self.middle]).unbind()
        self.before, self.middle, self._seen = [*copies[:count]], [*copies[count:]], []
        return True

    def start(self) -> Float[Tensor, "image width"]:
        """What enters the first block."""
        return working(self.before[0])

    def written(self, end: Float[Tensor, "image width"]) -> Float[Tensor, "image layer width"]:
        """What every MLP adds: the stream behind it less the stream in front of it. end: what leaves the last block."""
        behind, ahead = ([working(each) for each in tokens] for tokens in ([*self.before[1:], end], self.middle))
        return torch.stack(behind, dim=1) - torch.stack(ahead, dim=1)
