"""How much of what pictures say of texts maps through heads cover: what a reader of a map is told first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

_MINORITY = 0.5
_TERMS = ("heads", "MLPs", "the input", "constants")


@dataclass(frozen=True)
class Covered:
    r"""Σ_t ⟨term, t⟩⟨M, t⟩ of the heads, the MLPs, the embedding and the constants, over the texts t less what they are
    compared with. Over their sum, Σ_t ⟨M, t⟩², they are shares that add up to 1, negative where a term works against
    the others. Of several pictures they add.

    ways: methods that draw what maps through heads leave out, of those that apply to the model.
    """

    products: tuple[float, float, float, float]
    ways: tuple[str, ...] = ()

    @property
    def shares(self) -> dict[str, float]:
        """Nothing where no picture says anything of the texts."""
        total = sum(self.products)
        return {name: one / total for name, one in zip(_TERMS, self.products, strict=True)} if total > 0 else {}

    def __str__(self) -> str:
        shares = self.shares
        if not shares:
            return ""
        rest = "".join(f", {name} {_percent(shares[name])}" for name in _TERMS[1:] if shares[name])
        said = f"of what is said of these texts here heads write {_percent(shares['heads'])}{rest}"
        if min(shares.values()) < -0.005:
            said += " (below zero: against the others)"
        if shares["heads"] >= _MINORITY:
            return said
        drawn = "".join(f", and --method {way} (method={way!r}) draws where their neurons do" for way in self.ways[:1])
        return f"{said}; maps through heads cover a minority of it: decompose(x).mlps() has what MLPs write{drawn}"


def covered(
    terms: Float[Tensor, "image term embed"], directions: Float[Tensor, "text embed"], ways: tuple[str, ...] = ()
) -> list[Covered]:
    """Of each picture. terms: `Parts.sums`."""
    along = terms @ directions.to(terms).T
    products = torch.einsum("ikt,it->ik", along, along.sum(dim=1))
    return [Covered((row[0], row[1], row[2], row[3]), ways) for row in products.tolist()]


def together(each: Iterable[Covered | None]) -> Covered | None:
    """Of all pictures; None where nothing is known of any."""
    known = [one for one in each if one is not None]
    if not known:
        return None
    heads, mlps, embedding, constants = (sum(column) for column in zip(*(one.products for one in known), strict=True))
    return Covered((heads, mlps, embedding, constants), known[0].ways)


def _percent(share: float) -> str:
    return f"{round(100 * share)} %".replace("-", "−")
