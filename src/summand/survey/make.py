"""From images to a survey: moments, then top images, then the images kept aside."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..arguments import names_wrong_arguments
from ..data import ImageSource, Skipped
from ..data.adapters import open_images
from ..data.skips import note
from ..errors import OptionError, SummandError
from ..models import Model
from ..processes import workers as reading
from ..surroundings import room_or_place
from .checksums import Checksums
from .devices import devices_of
from .fingerprints import weights_hash
from .folder import check_folder
from .lock import locked
from .making import How, Making
from .manifest import FILE, Manifest
from .shelf import DIRECTIONS, LABELS, Folder, InMemory, forget
from .survey import Survey
from .units import Group, Wanted, default_units, groups_of, parse_units

ENGINES, DTYPES = ("local", "ray"), ("float16", "float32")
Units = str | Sequence["str | Group | Wanted"] | None


@names_wrong_arguments
def survey(
    model: Model,
    images: Any,
    *,
    units: Units = None,
    out: str | Path | None = None,
    top: int | None = None,
    held_out: float = 0.2,
    keep: int | str | Sequence[int] | None = None,
    dtype: str = "float16",
    batch_size: int = 64,
    count: int | None = None,
    progress: bool | None = None,
    restart: bool = False,
    workers: int | None = None,
    max_skipped: float = 0.01,
    devices: str | Sequence[str] = (),
    engine: str = "local",
) -> Survey:
    """What is usual for the units of a model: statistics of their effects over images.

    images: a source string, a path, a list of pictures or paths, a uint8 array [image, row, column, 3], a Dataset or a
    DataLoader. units: "heads", "neurons:8-10", "pairs", commas between [default: fits the model]. out: a folder, where
    an unfinished survey is gone on with and a finished one is opened; None keeps all in memory. top: images kept for a
    unit, from which r_n is made [default: `top_count`]; 0 saves a pass. held_out: the share of images kept aside, which
    labels are scored on. keep: of how many last layers (or which layers) the heads' coefficients are kept for every
    image; or of which units all are ("heads,neurons:9"), in `dtype` (`Survey.coefficients`). count: use at most so many
    images. workers: processes that read the pictures [default: none for few, one beside a model on the CPU, else one a
    core]. max_skipped: the share of the images that may be unreadable before the survey stops; ten never stop it.
    devices: "cuda:0,cuda:1" or "auto" use several at once. engine: "ray" computes on a Ray cluster, or on a Ray of this
    machine where there is none.

    >>> import summand
    >>> model = summand.load("scenes-vit")
    >>> found = summand.survey(model, summand.scenes.sample(40, seed=1).images, units="neurons:3")
    >>> found
    <Survey in memory: scenes-vit on 40 images in memory, neurons.3>
    >>> tuple(found.rank_one("neurons.3").directions.shape)
    (512, 128)
    """
    if batch_size < 1:
        raise OptionError("batch_size", f"must be a whole number of at least 1, got {batch_size!r}")
    source = open_images(images, count)
    whole = chosen_groups(model, keep) if isinstance(keep, str) else ()
    layers = () if isinstance(keep, str) else _kept(model, keep)
    groups = tuple(dict.fromkeys([*chosen_groups(model, units), *whole]))
    if layers and Group("heads") not in groups:
        groups = (Group("heads"), *groups)
    given = str(images) if isinstance(images, (str, Path)) else None
    asked = Manifest.of(
        model.origin or model.name, source, given, count, top=top, held_out=held_out, kept=layers
    )  # fmt: skip
    asked = keeping_whole(asked, whole, dtype)
    more: dict[str, Any] = {"batch_size": batch_size, "restart": restart, "progress": progress, "engine": engine}
    with reading(workers):
        return make(model, source, asked, groups, out, max_skipped=max_skipped, devices=devices, **more)


def make(
    model: Model,
    source: ImageSource,
    asked: Manifest,
    groups: Sequence[Group],
    out: str | Path | None = None,
    *,
    batch_size: int = 64,
    restart: bool = False,
    progress: bool | None = None,
    every: float = 60.0,
    max_skipped: float = 0.01,
    devices: str | Sequence[str] = (),
    engine: str = "local",
) -> Survey:
    """`survey`, once it is clear what is asked for.

    An unfinished survey of the same is gone on with from its last checkpoint, written every `every` seconds (0: after
    every batch) and when the process is asked to stop; a finished one is returned as it is. restart: forget what is
    there. Raises `SummandError` before any pass for a folder that is something else, and where fewer than two images
    can be read.
    """
    if engine not in ENGINES:
        raise SummandError(f"engine is one of {', '.join(ENGINES)}, got {engine!r}")
    how = How(batch_size, progress, every, max_skipped, tuple(devices_of(devices)) if devices else (), engine)
    asked = replace(asked, groups=tuple(group.name for group in groups), weights=weights_hash(model))
    if out is None:
        return Making(model, source, InMemory(), asked, groups, how).run(None)
    path = Path(out).expanduser()
    check_folder(path, asked, restart)
    try:
        path.mkdir(parents=True, exist_ok=True)
        with locked(path):
            if restart:
                forget(path)
            broken: set[str] | None = None
            there = Manifest.read(path) if (path / FILE).is_file() else None
            if there is not None:
                asked = replace(asked, states=_unchanged(there, asked) or asked.states)
            if there is not None and there.complete and not (broken := _broken(path)):
                note(Skipped(item["name"], item["reason"]) for item in there.skipped)
                return Survey(Folder(path, Checksums(path).entries()), there, model, source)
            return Making(model, source, Folder(path), asked, groups, how, broken).run(path)
    except OSError as error:
        raise SummandError(
            f"cannot write to {path}: {error.strerror or error}; {room_or_place(error)}, and the same command goes on "
            f"from there"
        ) from error


def _unchanged(there: Manifest, asked: Manifest) -> str:
    """The states of the files when the survey was begun. Where they are others now, that is said."""
    if there.states and asked.states and there.states != asked.states:
        print(
            f"pictures of {asked.source} were changed since this survey was begun (sizes or times are others): "
            f"what was read of them stands; --restart reads all anew",
            file=sys.stderr,
            flush=True,
        )
    return there.states


def chosen_groups(model: Model, units: Units) -> tuple[Group, ...]:
    """The groups that were asked for, in any of the ways in which one asks."""
    if units is None:
        return groups_of(model, default_units(model))
    if isinstance(units, str):
        return groups_of(model, parse_units(units))
    found: list[Group] = []
    for item in units:
        if isinstance(item, str):
            found += groups_of(model, parse_units(item))
        else:
            found += groups_of(model, [item]) if isinstance(item, Wanted) else [item]
    return tuple(dict.fromkeys(found))


def keeping_whole(asked: Manifest, whole: Sequence[Group], dtype: str) -> Manifest:
    """The same survey, which also keeps all coefficients of these groups for every image."""
    if dtype not in DTYPES:
        raise SummandError(f"dtype of kept coefficients is one of {', '.join(DTYPES)}, got {dtype!r}")
    names = tuple(group.name for group in whole)
    return replace(asked, coefficients=names, dtype=dtype if names else asked.dtype)


def _kept(model: Model, keep: int | Sequence[int] | None) -> tuple[int, ...]:
    last = model.tower.layers
    if keep is None or isinstance(keep, int):
        return tuple(range(max(0, last - (keep or 0)), last))
    if wrong := [layer for layer in keep if not 0 <= layer < last]:
        raise SummandError(f"{model.name} has layers 0 to {last - 1}, got keep={wrong}")
    return tuple(sorted(set(keep)))


def _broken(path: Path) -> set[str] | None:
    """Which data of a finished survey must be made again, since files of them are damaged; None where nothing is.
    Their files are named on stderr; damaged labels are removed."""
    sums = Checksums(path)
    damaged = sums.damaged()
    for file in (file for files in damaged.values() for file in files):
        print(f"{file} is damaged: its checksum is another; what it is a part of is made again", file=sys.stderr)
    if labels := [name for name in damaged if name.startswith((f"{LABELS}.", f"{DIRECTIONS}."))]:
        for name in (f"{LABELS}.parquet", f"{LABELS}.csv"):
            (path / name).unlink(missing_ok=True)
        shutil.rmtree(path / f"{DIRECTIONS}.zarr", ignore_errors=True)
        sums.note([*labels, f"{LABELS}.parquet", f"{LABELS}.csv", f"{DIRECTIONS}.zarr"])
        print(f"the labels are gone; `summand label {path}` makes them again", file=sys.stderr)
    return {name.rpartition(".")[0] for name in damaged if name not in labels} or None
