"""What is in the folder of a survey, and whether it is as it was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from ...errors import SummandError
from ...survey.checksums import FILE as CHECKSUMS
from ...survey.checksums import Checksums
from ...survey.lock import FILE as LOCK
from ...survey.manifest import FILE, Manifest
from ...survey.shards import FOLDER, faults_of
from ..columns import Column, Table
from ..result import Result

_NAMED = 5  # skipped images that are named


class Info(Result):
    """rows: a part of the survey each: part (its name in the folder), what it is, files, megabytes, sound (None where
    nothing is known to compare it with), damaged (its files that are not what was written)."""

    command: ClassVar[str] = "info"

    def tables(self) -> list[Table]:
        columns = (
            Column("part", kind="id"),
            Column("what", "what it is", kind="words"),
            Column("files", form=","),
            Column("megabytes", "size", form=lambda size: f"{size:,.1f} MB"),
            Column("sound", "checksum", kind="id", form=lambda sound: "right" if sound else "WRONG"),
        )
        return [Table(self.rows, columns, self.more["title"], "\n".join(self.more["said"]))]


def info(survey: str | Path) -> Info:
    """What a survey holds, each part compared with its checksum; an alarm where one is another, or a part is missing.

    Raises `SummandError` for a folder that is no survey.
    """
    folder = Path(survey).expanduser()
    made, wrong = _manifest(folder)
    try:
        known = Checksums(folder).entries()
        damaged = Checksums(folder).damaged()
    except SummandError as error:
        known, damaged = {}, {CHECKSUMS: [folder / CHECKSUMS]}
        wrong = [*wrong, str(error)]
    manifest = {FILE: [folder / FILE]} if made is None else {}
    rows = [_row(folder, name, known, {**manifest, **damaged}) for name in _parts(folder, known)]
    rows += [_shard(place, fault) for place, fault in faults_of(folder)]
    lost = [str(file) for row in rows for file in row["damaged"]]
    notes = [*wrong, *(f"{file} is damaged or missing" for file in lost)]
    if made is None or CHECKSUMS in damaged:
        notes.append("the command that made the survey makes it again with --restart")
    elif lost:
        notes.append("the command that made the survey makes what is damaged again, and nothing else")
    title, said = (f"{folder}", []) if made is None else _said(folder, made)
    return Info(rows, None, model=made and made.model, data=made and made.source, notes=notes,
                alarm=bool(lost or wrong), title=title, said=said, complete=bool(made and made.complete),
                skipped=[] if made is None else list(made.skipped))  # fmt: skip


def _manifest(folder: Path) -> tuple[Manifest | None, list[str]]:
    """The manifest, or why it cannot be used."""
    if not (folder / FILE).is_file():
        return Manifest.read(folder), []  # which says that it is no survey
    try:
        return Manifest.read(folder), []
    except SummandError as error:
        return None, [str(error)]


def _parts(folder: Path, known: dict[str, Any]) -> Iterator[str]:
    there = {path.name for path in folder.iterdir() if path.name not in (LOCK, FOLDER)}
    yield from sorted(there | set(known), key=lambda name: (name not in (FILE, CHECKSUMS), name))


def _row(folder: Path, name: str, known: dict[str, Any], damaged: dict[str, list[Path]]) -> dict[str, Any]:
    place = folder / name
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.is_file()]
    sealed = name in (FILE, CHECKSUMS)  # these hold their own
    return {
        "part": name,
        "what": what_is(name),
        "files": len(files),
        "megabytes": sum(path.stat().st_size for path in files) / 1e6,
        "sound": name not in damaged if sealed or name in known else None,
        "damaged": [str(file) for file in damaged.get(name, [])],
    }


def _shard(place: Path, fault: str | None) -> dict[str, Any]:
    files = [path for path in place.rglob("*") if path.is_file()]
    stage, start, stop = (*place.name.split("-"), "", "")[:3]
    return {
        "part": f"{FOLDER}/{place.name}",
        "what": f"images {start} to {stop} of stage {stage}, not finished",
        "files": len(files),
        "megabytes": sum(path.stat().st_size for path in files) / 1e6,
        "sound": fault is None,
        "damaged": [] if fault is None else [fault],
    }


def what_is(name: str) -> str:
    """What an entry of a survey's folder is.

    >>> what_is("neurons.9.zarr"), what_is("notes.txt")
    ('statistics of neurons.9', 'not of the survey')
    """
    stem = name.rpartition(".")[0]
    kinds = {
        **{
            FILE: "what it is a survey of",
            CHECKSUMS: "SHA-256 of all other files",
            "images.parquet": "images by number",
        },
        **{"images.zarr": "embeddings", "terms.zarr": "heads, MLPs and input of held-out images"},
        **{"skipped.parquet": "images that could not be read", "labels.parquet": "labels", "labels.csv": "labels"},
        **{"directions.zarr": "directions of the labels", "kept.zarr": "heads' coefficients of every image"},
        **{"heads.zarr": "statistics of heads", "pairs.zarr": "statistics of pairs"},
    }
    if name in kinds:
        return kinds[name]
    if name.startswith("kept.") and name.endswith(".zarr"):
        return f"coefficients of {stem.removeprefix('kept.')} on every image"
    return f"statistics of {stem}" if name.startswith("neurons.") and name.endswith(".zarr") else "not of the survey"


def _said(folder: Path, made: Manifest) -> tuple[str, list[str]]:
    of = " (RANDOM weights)" if made.random_init else ""
    said = [f"{made.images:,} images of {made.source}; {', '.join(made.groups)}"]
    if made.parts:
        said.append(f"merged of {len(made.parts)} surveys")
    if made.skipped:
        some = "; ".join(f"{item.get('name')}: {item.get('reason')}" for item in made.skipped[:_NAMED])
        said.append(f"{len(made.skipped):,} images were skipped: {some}{' …' if len(made.skipped) > _NAMED else ''}")
    if not made.complete:
        said.append(f"not finished: {made.passed:,} of {made.planned:,} image passes are done; go on with")
        said.append(made.command(folder))
    versions = ", ".join(f"{name} {number}" for name, number in made.versions.items())
    return f"{folder}: {made.model}{of}", [*said, versions]
