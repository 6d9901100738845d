"""What can be asked of `debias`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import SummandError
from ...unit import Unit, parse_units, split, units_of
from ..ablation.options import read_layers
from ..verb import OptionError, at_least, between, one_of

Way = Literal["units", "measured", "units-axis", "terms-axis", "text-axis"]
WAYS: tuple[Way, ...] = get_args(Way)


@dataclass(frozen=True)
class DebiasOptions:
    """Remove a spurious attribute in the best of five ways, and show every group's accuracy before and after.

    Heads are found on unlabelled images: those whose variance lies along the attribute's texts rather than along the
    classes'. They are held at their means, or moved by as much as the answer follows them; or they, all terms, or the
    embedding lose only what they write along the attribute's texts. All ways stand in one table beside random heads;
    the one is taken under which the attribute moves the classes least on held-out unlabelled images, and none where
    there is no shortcut. With --units neurons:LAYER the same is done with neurons; --units 10.3,11.2 removes what is
    named. A folder as --out holds the ablation, which summand.load(…, ablation=FILE) and --ablation FILE apply, and a
    text classifier for the model as it is.

    Examples:

    - summand debias scenes:count=2000,seed=5 --classes shape --groups place --model scenes-vit-tied --train
      scenes:count=400,seed=6,tie=shape/place/0.95 --out repaired
    - summand debias birds/ --groups birds/metadata.csv --classes landbird,waterbird --attribute "on land,on water"
      --model ViT-L-14 --pretrained laion2b_s32b_b82k --out repaired
    - summand debias birds.csv --groups habitat --units 10.3,11.2 --json

    Parameters
    ----------
    data
        A folder of images (with --groups TABLE), a csv, or scenes[:…].
    train
        The training images, labelled like DATA: the mix that weights the groups, and without their labels what heads
        are chosen on and means taken over; of a table with a column split, its rows of split train [default: the split
        train of the table, and DATA].
    reference
        Images that heads are chosen on and means taken over, or the folder of a survey of them; of a table all splits
        [default: those of --train, or DATA].
    """

    groups: str | None = None
    """Who belongs to which group: a table such as Waterbirds' metadata.csv, a column of DATA, or an attribute of the
    scenes."""
    classes: str | Sequence[str] | None = None
    """imagenet, a text file with a name a line, or names with commas between them, in the order of the sorted folders;
    on scenes the attribute that is the class [default: the folders' or the table's names]."""
    label_column: str | None = None
    """The column of a table that holds the labels [default: label, y or class]."""
    split: str | None = None
    """train, val or test, where the table has them [default: test]; if given, of --reference too."""
    allow_empty: bool = False
    """Leave groups without images out."""
    attribute: str | Sequence[str] | None = None
    """The spurious attribute: its values as texts with commas between ('a photo on land,a photo on water'), or one word
    that heads' labels are matched with: a list of the pool, an attribute, a word of a text; labels are those of a
    --reference survey that has some, else the texts that span the head [default on scenes: the values of --groups]."""
    units: str | Sequence[str] | None = None
    """What is removed: these heads (10.3,11.2) or neurons (9:41,9:7); or where units are sought: heads, or neurons:9
    for the neurons of layer 9 [default: heads]."""
    way: Way | None = None
    """What is done: units (held at their mean), measured (moved by as much as the answer follows them), units-axis
    (only what they write along the attribute's texts is removed), terms-axis (that of all heads and MLPs), or text-axis
    (the embedding projected) [default: the one under which the attribute moves the classes least on held-out unlabelled
    images, or nothing; units where units are named or sought by a word]."""
    layers: str | Sequence[int] | None = None
    """Heads of which layers are sought, and drawn for the control: 8-11 [default: all]."""
    cover: float = 0.9
    """Units are chosen until they carry this share of the attribute."""
    draws: int = 5
    """Random controls."""
    control: int | None = None
    """Units that each control removes [default: as many as were found], or as many as there are others."""
    seed: int = 0
    """Of the random controls."""
    protocol: Literal["paper"] | None = None
    """paper: as in paper C and its code: controls of 10 heads; MLPs and heads before the last 4 layers are ablated
    too."""
    templates: str | Sequence[str] | None = None
    """openai (80), simple (7), a text file, or one such as 'a photo of {}' [default: openai; short ones on scenes]."""
    pool: str | None = None
    """Texts that heads are described by [default: the model's own pool]."""

    def __post_init__(self) -> None:
        wanted = read_units(self.units)
        if not 0 < self.cover <= 1:
            raise OptionError("cover", f"must be a share above 0 and up to 1, got {self.cover}")
        at_least("draws", self.draws, 1)
        between("draws", self.draws, 1, 1_000_000)
        at_least("control", self.control, 1)
        at_least("seed", self.seed, 0)
        if self.protocol not in (None, "paper"):
            raise OptionError("protocol", f"must be 'paper' or be left out, got {self.protocol!r}")
        if wanted.kind == "neuron" and self.protocol:
            raise OptionError("protocol", "'paper' removes heads, as paper C does; leave it out for neurons")
        if read_layers(self.layers) is not None and wanted.kind == "neuron":
            raise OptionError("layers", "are those of heads; say units=neurons:9 for the neurons of layer 9")
        texts = read_texts(self.attribute)
        if self.way is not None:
            one_of("way", self.way, WAYS)
            if self.way != "units" and (wanted.named or self.protocol or len(texts) == 1):
                needs = "the attribute's values as texts, and units that are sought, not named; leave it out"
                raise OptionError("way", f"{self.way} needs {needs}")
            if self.way in ("measured", "units-axis") and wanted.kind == "neuron":
                raise OptionError("way", f"{self.way} is of heads; for neurons give units, terms-axis or text-axis")
        if texts and wanted.named:
            raise OptionError("attribute", "says which units to look for; leave it out where units are named")
        if len(texts) == 1 and wanted.kind == "neuron":
            raise OptionError(
                "attribute", "of one word is matched with the labels of heads; for neurons give its values as texts"
            )


@dataclass(frozen=True)
class Wanted:
    """What to remove. kind: head or neuron. named: (layer, head) or (layer, neuron); where there are none, units are
    sought: heads, or the neurons of a layer."""

    kind: Literal["head", "neuron"] = "head"
    named: tuple[tuple[int, int], ...] = ()
    layer: int | None = None


def read_units(units: str | Unit | Iterable[str | Unit] | None) -> Wanted:
    """What `units` asks for: names of one kind, or a kind. Behind `neurons:` a neuron may be written 4.17.

    >>> read_units("10.3,11.2").named, read_units("4:17").named, read_units("neurons:4.17,4.20").named
    (((10, 3), (11, 2)), ((4, 17),), ((4, 17), (4, 20)))
    >>> read_units("neurons:4")
    Wanted(kind='neuron', named=(), layer=4)

    Raises `SummandError` for anything else.
    """
    if units is None:
        return Wanted()
    parts = [units] if isinstance(units, Unit) else [one for one in units if isinstance(one, Unit)]
    text = ",".join(map(str, parts)) if parts else ",".join(split(units))  # type: ignore[arg-type]
    word, _, rest = text.partition(":")
    if word.isalpha():
        if word.startswith("neuron") and ("." in rest or ":" in rest):
            return _named(units_of(rest, "neurons"))
        return _sought(text)
    try:
        named = units_of(text)
    except SummandError as error:
        raise OptionError("units", f"must be names, heads, or neurons:LAYER ({error})") from error
    return _named(named)


def _sought(text: str) -> Wanted:
    wanted, *others = parse_units(text)
    if others or wanted.kind not in ("heads", "neurons"):
        raise OptionError("units", f"must be heads or neurons:LAYER, or names of them; got {text!r}")
    if wanted.kind == "heads":
        return Wanted()
    layers = wanted.layers or ()
    if len(layers) != 1:
        raise OptionError("units", f"must be neurons of one layer, such as neurons:9; got {text!r}")
    return Wanted("neuron", layer=layers[0])


def _named(units: Sequence[Unit]) -> Wanted:
    kinds = {unit.group.kind for unit in units}
    if kinds == {"heads"}:
        return Wanted("head", tuple((unit.index[0], unit.index[1]) for unit in units))
    if kinds != {"neurons"}:
        raise OptionError("units", f"must be heads (10.3) or neurons (9:41), not {' and '.join(sorted(kinds))}")
    if len({unit.layer for unit in units}) > 1:
        raise OptionError("units", "must be neurons of one layer, such as 9:41,9:7")
    return Wanted("neuron", tuple((int(unit.layer or 0), unit.index[0]) for unit in units))


def read_texts(attribute: str | Sequence[str] | None) -> list[str]:
    """The texts of the spurious attribute, commas between."""
    return [] if attribute is None else split(attribute)
