"""What can be asked of `shift`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import SummandError
from ...unit import Wanted, parse_layers, parse_units
from ..verb import OptionError, at_least

_MOST_PERMUTATIONS = 1_000_000
_WATCHED = ("heads", "neurons", "pairs", "latents")
_FIXED = ("units", "layers", "concept", "protocol", "pool")


@dataclass(frozen=True)
class ShiftOptions:
    """Say which units changed between two sets of images, in words, and raise an alarm where it is more than chance.

    Exit codes: 0 no alarm, 1 alarm, 2 bad usage or input.

    Examples:

    - summand shift scenes:count=500,seed=1 scenes:count=500,seed=2,shift=place/sea/0.3
    - summand shift last-year/ this-week/ --model ViT-B-16 --pretrained laion2b_s34b_b88k --out report
    - summand shift last-year/ --save-reference reference.npz
    - summand shift reference.npz pictures.csv --by month --json
    - summand shift last-year/ this-week/ --concept "a yellow car"

    Parameters
    ----------
    reference
        Images, the folder of a survey, or a saved reference (.npz).
    current
        Images, or the folder of a survey, to compare with it.
    """

    units: str | None = None
    """What to watch: heads, neurons, neurons:9, pairs, or latents of --sae [default: heads; neurons are of the third
    last layer]."""
    layers: str | Sequence[int] | None = None
    """Of heads: which layers, 8-10,12 [default: the last four]."""
    concept: str | Sequence[str] | None = None
    """Also score this text (can be repeated)."""
    protocol: Literal["paper"] | None = None
    """paper: score concepts as paper B's code does (templates, no pool's mean)."""
    pool: str | None = None
    """Description pool: a name or a text file [default: fits the model]."""
    by: str | None = None
    """Also compare batch by batch: a column of CURRENT's csv, or an attribute."""
    alpha: float = 0.01
    """Probability of a false alarm, of all tests together."""
    permutations: int = 999
    """Of the test of the whole, at least."""
    seed: int = 0
    """Of the permutations."""
    save_reference: Path | None = None
    """Keep the reference as numbers (.npz), without its images."""
    count: int | None = None
    """Use at most so many images of each."""
    batch_size: int = 64
    """Images a forward pass."""

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        for name, least in (("permutations", 1), ("seed", 0), ("count", 1), ("batch_size", 1)):
            at_least(name, getattr(self, name), least)
        if watched(self.units).kind != "heads" and self.layers is not None:
            raise OptionError(
                "layers", "must be left out: it is of heads; name a layer of neurons or latents as neurons:9"
            )
        parse_layers(self.layers or ())
        if self.protocol not in (None, "paper"):
            raise OptionError("protocol", f"must be 'paper' or be left out, got {self.protocol!r}")
        if self.save_reference is not None and Path(self.save_reference).suffix != ".npz":
            raise OptionError("save_reference", f"must be a file that ends in .npz, got {self.save_reference}")

    @property
    def texts(self) -> tuple[str, ...]:
        """The concepts that were named."""
        return (self.concept,) if isinstance(self.concept, str) else tuple(self.concept or ())


def watched(units: str | None) -> Wanted:
    """The one kind of units that is watched, of neurons and latents with at most one layer."""
    first, *others = parse_units(units or "heads")
    if others or first.kind not in _WATCHED or len(first.layers or ()) > 1:
        raise OptionError(
            "units", f"must be heads, neurons, pairs or latents, of one layer (neurons:9, latents:9); got {units!r}"
        )
    return first


def is_reference(given: Any) -> bool:
    """Whether a string names a saved reference rather than images."""
    return isinstance(given, (str, Path)) and Path(given).suffix.lower() == ".npz"


def check(options: ShiftOptions, reference: Any, current: Any, saved: bool) -> None:
    """Refuse, before anything is read, what does not go together. saved: whether the reference is numbers already."""
    if saved and (fixed := [name for name in _FIXED if getattr(options, name)]):
        raise OptionError(
            fixed[0],
            f"must be left out: the saved reference {reference} fixes what is watched; or make the reference again "
            f"with it and save_reference=FILE",
        )
    if options.protocol and not options.concept:
        raise OptionError("protocol", "says how a named concept is scored; name it as concept=TEXT")
    if current is None and (options.save_reference is None or saved):
        raise SummandError("give two sets of images, or one and save_reference=FILE to keep it for later")
    if options.by is not None and current is None:
        raise OptionError("by", "groups the current images; give them as second argument")


def check_alpha(alpha: float) -> None:
    """Raises `SummandError` unless alpha is a probability that a million permutations can tell from 0."""
    if not 0 < alpha < 1:
        raise SummandError(f"alpha is a probability between 0 and 1, got {alpha}")
    if 2 / alpha > _MOST_PERMUTATIONS:
        raise SummandError(
            f"alpha = {alpha:.2g} needs {2 / alpha:,.0f} permutations, more than {_MOST_PERMUTATIONS:,}; give a larger "
            f"one, or group the images by a coarser column"
        )
