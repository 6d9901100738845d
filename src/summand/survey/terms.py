"""How much of the representation heads, MLPs and the input write along the texts at hand: what labels of heads and
maps through heads can speak of at all."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ..statistics.variance_over import variance_over
from . import store
from .shelf import TERMS
from .survey import Survey

_MINORITY = 0.5
_REDUNDANT = 0.75  # heads' single variances over the variance of their sum, under which they say the same things


@dataclass(frozen=True)
class TermShares:
    r"""Σ_t Cov⟨term, t⟩⟨M, t⟩ / Σ_t Var⟨M, t⟩ over the centred texts t: shares that add up to 1, negative where a
    term works against the others.

    together: Σ_t Var⟨Σ heads, t⟩ / Σ_t Var⟨M, t⟩. single: the same, summed over heads one by one; None where the
    survey has no heads. Where single is smaller than together, heads say the same things together.
    """

    heads: float
    mlps: float
    embedding: float
    together: float
    single: float | None

    @property
    def redundant(self) -> bool:
        return self.single is not None and self.single < _REDUNDANT * self.together

    def __str__(self) -> str:
        said = (
            f"along these texts heads write {100 * self.heads:.0f} % of the representation's variance, MLPs "
            f"{100 * self.mlps:.0f} %, the input {100 * self.embedding:.0f} %"
        )
        if self.redundant:
            said += (
                f"; heads say the same things together: one by one their variances sum to "
                f"{100 * (self.single or 0):.0f} %, their sum has {100 * self.together:.0f} %"
            )
        if self.heads < _MINORITY:
            said += (
                "; labels of heads and maps through heads cover a minority of it: neurons (`summand survey --units "
                "neurons`) and `decompose(x).mlps()` beside `.tokens()` have the rest"
            )
        return said


def term_shares(survey: Survey, texts: Float[Tensor, "text embed"]) -> TermShares | None:
    """Over the held-out images; None in a survey that kept none aside."""
    if not survey.shelf.has(TERMS):
        return None
    data = survey.shelf.dataset(TERMS)
    centred = (texts - texts.mean(dim=0)).cpu().double()
    terms = {name: store.tensor(data[name]).double() for name in ("heads", "mlps", "embedding")}
    along = {name: (term - term.mean(dim=0)) @ centred.T for name, term in terms.items()}
    whole = along["heads"] + along["mlps"] + along["embedding"]
    total = float(whole.square().sum())
    if len(whole) < 2 or not total:
        return None
    share = {name: float((part * whole).sum()) / total for name, part in along.items()}
    single = None
    if any(group.kind == "heads" for group in survey.groups):
        single = float(variance_over(survey.moments("heads"), centred).sum()) * len(whole) / total
    return TermShares(**share, together=float(along["heads"].square().sum()) / total, single=single)


def shares_said(survey: Survey, texts: Float[Tensor, "text embed"]) -> str:
    """What a user must be told first, or nothing where it is not known."""
    found = term_shares(survey, texts)
    return "" if found is None else str(found)
