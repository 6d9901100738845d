"""What a survey keeps, said so that another device, process or machine can make the consumers of it anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .aside import Coefficients, Terms
from .batch import Arrays, Consumer
from .consumers import MeanTerms, MomentsOf, Projections, TopImagesOf
from .per_image import Embeddings, Kept, Whole
from .units import Group


@dataclass(frozen=True)
class Keeping:
    """groups and top: of which units, and how many images a unit. terms: of images kept aside. layers: whose heads'
    coefficients are kept of every image; whole: groups of which all are, in `dtype`. means: of every term."""

    groups: tuple[Group, ...]
    top: tuple[int, ...]
    terms: bool = True
    layers: tuple[int, ...] = ()
    whole: tuple[Group, ...] = ()
    dtype: str = "float16"
    means: bool = True

    def consumers(self, device: str = "cpu") -> dict[str, Consumer]:
        """By name; those of a group that need a mean have it of the moments beside them."""
        named: dict[str, Consumer] = {"images": Embeddings()}
        if self.terms:
            named["terms"] = Terms()
        if self.means:
            named["means"] = MeanTerms()
        if self.layers:
            named["kept"] = Kept(self.layers)
        for group in self.whole:
            named[f"kept/{group.name}"] = Whole(group, self.dtype)
        for group, k in zip(self.groups, self.top, strict=True):
            moments = MomentsOf(group, device)
            top = TopImagesOf(moments, k) if k else None
            named[f"moments/{group.name}"], named[f"signal/{group.name}"] = moments, Projections(moments, top)
            if top is not None:
                named[f"top/{group.name}"] = top
            if group.kind == "heads":
                named[f"whole/{group.name}"] = Coefficients(moments)
        return named

    def again(self, device: str, known: Mapping[str, Arrays]) -> dict[str, Consumer]:
        """The same on another device. known: the states of those that others ask (`asked`)."""
        made = self.consumers(device)
        for name, state in known.items():
            made[name].restore(state)
        return made


def asked(stage: int, consumers: Mapping[str, Consumer]) -> dict[str, Arrays]:
    """The states of the consumers that others of a stage ask for their mean, or for r_n."""
    kinds = ((), (MomentsOf,), (MomentsOf, TopImagesOf))[stage]
    return {name: each.state() for name, each in consumers.items() if isinstance(each, kinds)}
