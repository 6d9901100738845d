"""What can be asked of `reproduce`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..load_options import LoadOptions
from ..verb import OptionError, at_least, one_of
from .row import Weights


@dataclass(frozen=True)
class PapersModel(LoadOptions):
    """How models are loaded; a row has its own."""

    model: str | None = None  # type: ignore[assignment]
    """In the place of the paper's own [default: the paper's, or that of the scenes]."""

    def of(self, weights: Weights) -> PapersModel:
        """The same for one of the paper's models."""
        return replace(self, model=weights.name, pretrained=weights.tag)


@dataclass(frozen=True)
class ReproduceOptions:
    """Reproduce a table or figure of the three papers: published, measured, difference.

    By the published protocol with the paper's own model; or on scenes, where the claim is tried and not its numbers.
    With a folder as --out what is done is not done again.

    Examples:

    - summand reproduce list
    - summand reproduce C:table3 --data imagenet-seg=gtsegs_ijcv.mat --out c3
    - summand reproduce A:table1 --data imagenet-train=ILSVRC/train --data imagenet-val=ILSVRC/val --device cuda
    - summand reproduce C:table3 --on scenes
    - summand reproduce all --on scenes --out claims

    Parameters
    ----------
    row
        list, all, a paper (A, B, C), or tables and figures such as C:table3, with commas between.
    """

    on: Literal["paper", "scenes"] = "paper"
    """The paper's data, or scenes."""
    data: Sequence[str] = ()
    """NAME=PATH of a data set that the row needs; may be given more than once."""
    pool: str | None = None
    """A text file in the place of the paper's descriptions, a line each [default: the pool that comes nearest]."""
    heads: str | None = None
    """Of Waterbirds: the heads to ablate, such as 21.11,22.2 [default: those whose texts name a place]."""
    classes: str | None = None
    """A file with the class names of the folders, where they are a part of ImageNet's [default: all 1,000]."""
    templates: str | None = None
    """openai, simple, a text file, or one template [default: the papers' 80]."""
    neurons: int = 100
    """Of a layer, whose indirect effects are measured: a pass for each image and neuron (A:table1)."""
    llm: str | None = None
    """Of A:table3: writes the descriptions, as summand attack has it."""
    generator: str | None = None
    """Of A:table3: draws them, as summand attack has it."""
    count: int | None = None
    """Use at most so many images of each set: a quick look, no reproduction."""
    batch_size: int = 64
    """Images a forward pass."""
    again: bool = False
    """Do what is done already once more."""

    def __post_init__(self) -> None:
        one_of("on", self.on, ("paper", "scenes"))
        at_least("neurons", self.neurons, 1)
        at_least("count", self.count, 20)
        at_least("batch_size", self.batch_size, 1)
        self.places()

    def places(self) -> dict[str, Path]:
        """Name → path of the data sets that were given."""
        from .needs import NEEDS

        pairs = self.data.items() if isinstance(self.data, Mapping) else map(_pair, self.data)
        found = {}
        for name, path in pairs:
            one_of("data", name, NEEDS)
            found[name] = Path(path).expanduser()
        return found


def _pair(given: str) -> tuple[str, str]:
    name, equals, path = str(given).partition("=")
    if not equals or not path:
        raise OptionError("data", f"takes NAME=PATH, such as imagenet-seg=gtsegs_ijcv.mat; got {given!r}")
    return name.strip(), path
