"""What a run folder is a run of: model, data, options, versions; written as plain JSON."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..data import ImageSource
from ..errors import SummandError
from ..models.origin import Origin, location, same_place
from ..models.origin import model_location as model_location
from .checksums import read_sealed, write_sealed
from .fingerprints import names_hash, same_weights, states_hash
from .fingerprints import versions as versions

FORMAT = 2
FILE = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """Everything a run folder says about itself.

    model, pretrained, random_init, seed, checkpoint, activation, precision, image_size, ablation, steer, sae: what
    `summand.load` was asked for, paths made absolute; wrapped: it was not loaded by name, and must be handed over
    again. weights: `weights_hash` of the model. source: the data source as it was given; location: the same, absolute
    where it is a path, None of images in memory; count: as asked for. images: in the source; files: SHA-256 over their
    names, and states: over their sizes and times of change. groups: names of the groups of units. top: images kept for
    a unit, None for `top_count`. held_out: share of the images kept aside. kept: layers whose heads' coefficients are
    kept for every image; coefficients: groups of which all are, in `dtype`. skipped: images that could not be read, and
    why. residual: |Σ − encode_image| of the first batch, relative. complete: False while the run is being made; passed
    and planned: images that went through, of how many. parts: of a merged run, where the images of each are.
    """

    model: str
    pretrained: str | None
    random_init: bool
    source: str
    location: str | None
    count: int | None
    images: int
    files: str
    groups: tuple[str, ...]
    top: int | None
    held_out: float
    checkpoint: str | None = None
    activation: str | None = None
    precision: str = "fp32"
    image_size: int | tuple[int, int] | None = None
    ablation: str | None = None
    steer: str | None = None
    sae: str | None = None
    seed: int = 0
    wrapped: bool = False
    kept: tuple[int, ...] = ()
    coefficients: tuple[str, ...] = ()
    dtype: str = "float16"
    weights: str = ""
    states: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    skipped: tuple[dict[str, str], ...] = ()
    residual: float | None = None
    seconds: float = 0.0
    passed: int = 0
    planned: int = 0
    complete: bool = False
    parts: tuple[dict[str, Any], ...] = ()
    format: int = FORMAT

    @staticmethod
    def draft(
        model: str,
        pretrained: str | None,
        source: ImageSource,
        images: str | None,
        count: int | None = None,
        *,
        top: int | None = None,
        held_out: float = 0.2,
        **more: Any,
    ) -> Manifest:
        """What a survey is to be, before the model is loaded. source: opened from the string `images` and `count`;
        more: the further arguments of `load`."""
        if len(source) < 4:
            raise SummandError(f"{images} holds {len(source)} image(s); statistics need at least 4")
        return Manifest.of(Origin.of(model, pretrained, **more), source, images, count, top=top, held_out=held_out)

    @staticmethod
    def of(
        origin: Origin | str,
        source: ImageSource,
        images: str | None = None,
        count: int | None = None,
        *,
        top: int | None = None,
        held_out: float = 0.2,
        kept: Sequence[int] = (),
    ) -> Manifest:
        """What a survey is to be. origin: where the model came from, or the name of a wrapped one. images: None where
        they are in memory."""
        if not 0 <= held_out < 1:
            raise SummandError(f"--held-out is a share from 0 to below 1, got {held_out}")
        if top is not None and top < 0:
            raise SummandError(f"--top is a number of images a unit, or 0 for none, got {top}")
        given = source.label if images is None else images
        known = {"model": origin} if isinstance(origin, str) else {**asdict(origin), "model": origin.name}
        known.pop("name", None)
        return Manifest(
            **{"pretrained": None, "random_init": False, "wrapped": isinstance(origin, str), **known},
            source=given,
            location=None if images is None else location(images),
            count=count,
            images=len(source),
            files=names_hash(source),
            states=states_hash(source),
            groups=(),
            top=top,
            held_out=held_out,
            kept=tuple(kept),
        )

    @property
    def origin(self) -> Origin | None:
        """What `load` is to be asked for; None of a wrapped model."""
        if self.wrapped:
            return None
        return Origin(self.model, **{i.name: getattr(self, i.name) for i in fields(Origin) if i.name != "name"})

    def command(self, out: Path) -> str:
        """The command line that makes, or goes on with, this run."""
        words = ["summand", "survey", "--model", self.model]
        words += ["--pretrained", self.pretrained] if self.pretrained else []
        words += ["--checkpoint", self.checkpoint] if self.checkpoint else []
        words += ["--activation", self.activation] if self.activation else []
        words += ["--precision", self.precision] if self.precision != "fp32" else []
        words += ["--image-size", str(self.image_size)] if self.image_size else []
        words += ["--ablation", self.ablation] if self.ablation else []
        words += ["--steer", self.steer] if self.steer else []
        words += ["--sae", self.sae] if self.sae else []
        words += ["--random-init"] if self.random_init else []
        words += ["--images", self.location or self.source] + (["--count", str(self.count)] if self.count else [])
        words += ["--units", ",".join(name.replace(".", ":") for name in self.groups)]
        words += ["--held-out", str(self.held_out)] + (["--top", str(self.top)] if self.top is not None else [])
        if self.coefficients:
            words += ["--keep", ",".join(name.replace(".", ":") for name in self.coefficients), "--dtype", self.dtype]
        words += ["--out", str(out)]
        return shlex.join(words)

    def write(self, folder: Path) -> None:
        """Replace the manifest of a run folder in one step."""
        write_sealed(folder / FILE, asdict(self))

    @staticmethod
    def read(folder: Path) -> Manifest:
        """The manifest of a run folder. Raises `SummandError` where there is none, or one that cannot be used."""
        if not folder.is_dir():
            raise SummandError(f"there is no run folder {folder}; `summand survey --out {folder}` makes one")
        try:
            found = read_sealed(folder / FILE, required=lambda found: found.get("format") == FORMAT)
        except FileNotFoundError:
            raise SummandError(
                f"{folder} is no run folder: it has no {FILE}; `summand survey --out FOLDER` makes one"
            ) from None
        except PermissionError as error:
            raise SummandError(f"no permission to read {folder / FILE}") from error
        except SummandError as error:
            raise SummandError(f"{error}; the run must be made again, with --restart") from error
        if found.get("format") != FORMAT:
            raise SummandError(
                f"{folder} has format {found.get('format')}; this version reads format {FORMAT}. Make the run again"
            )
        return _of_json(found, folder / FILE)

    def differences(self, other: Manifest) -> list[str]:
        """Where two runs would not be the same, in words: what is here, and what `other` asks for."""
        named = {
            **{"model": "model", "pretrained": "pretrained", "random_init": "random weights", "location": "images"},
            **{"checkpoint": "--checkpoint", "activation": "--activation"},
            **{"precision": "--precision", "image_size": "--image-size", "ablation": "--ablation", "seed": "seed"},
            **{"steer": "--steer", "sae": "--sae"},
            **{
                "count": "--count",
                "groups": "--units",
                "top": "--top",
                "held_out": "--held-out",
                "kept": "kept layers",
                "coefficients": "--keep",
                "dtype": "--dtype",
            },
        }
        said = []
        for name, words in named.items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs and not (name == "location" and same_place(mine, theirs)):
                said.append(f"{words} {_plain(mine)}, not {_plain(theirs)}")
        if not said and (self.files, self.images) != (other.files, other.images):
            said.append(f"{self.images} images, which are not the {other.images} that {self.source} holds now")
        if not said and self.weights and other.weights and not same_weights(self.weights, other.weights):
            said.append("other weights, under the same name, or other settings (activations, eps)")
        return said


_KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("model", "source", "files", "precision", "weights", "dtype", "states"), (str,)),
    **dict.fromkeys(
        ("pretrained", "location", "checkpoint", "activation", "ablation", "steer", "sae"), (str, type(None))
    ),
    **dict.fromkeys(("random_init", "wrapped", "complete"), (bool,)),
    **dict.fromkeys(("images", "seed", "passed", "planned", "format"), (int,)),
    **dict.fromkeys(("count", "top"), (int, type(None))),
    **{"held_out": (int, float), "seconds": (int, float), "residual": (int, float, type(None))},
    **{"image_size": (int, tuple, type(None)), "versions": (dict,)},
    **dict.fromkeys(("groups", "kept", "skipped", "coefficients", "parts"), (tuple,)),
}
_ITEMS: dict[str, type] = {
    "groups": str,
    "coefficients": str,
    "kept": int,
    "skipped": dict,
    "parts": dict,
    "image_size": int,
}


def _of_json(found: dict[str, Any], file: Path) -> Manifest:
    """Raises `SummandError` that names a value which is missing, or of another kind than it must be."""
    known = {name: value for name, value in found.items() if name in _KINDS}
    values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in known.items()}
    for name, value in values.items():
        right = isinstance(value, _KINDS[name]) and (isinstance(value, bool) <= (bool in _KINDS[name]))
        items = value if name in _ITEMS and isinstance(value, tuple) else ()
        if not right or not all(isinstance(item, _ITEMS[name]) for item in items):
            raise SummandError(f"{file}: {name} is {value!r}, which cannot be; the run must be made again")
    try:
        return Manifest(**values)
    except TypeError as error:
        raise SummandError(f"{file} is not complete ({error}); the run must be made again") from error


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else "as by default" if value is None else str(value)
