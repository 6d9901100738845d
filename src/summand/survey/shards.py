"""A survey on its way: shards of images that are done, each on the disk whole or not at all."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from ..atomic import replacing
from ..data import Skipped
from ..errors import SummandError
from . import checksums, store
from .engine import Arrays, Consumer, Position, Shard

FOLDER = "shards"
_SHARD = "shard.json"
_ROWS = ".rows-"


class Shards:
    """What a pass has behind it, in a folder: a folder a shard, `STAGE-START-STOP`, which holds the states of the
    consumers over these images in the format of everything else, and shard.json with their checksums.

    Shards that stand side by side are merged as a binary counter counts, so that n of them leave log₂ n; files of rows,
    one an image, move along as they are, so that memory does not grow with the images. A shard that is broken is named,
    removed, and its images are passed again. names: of the consumers whose states a shard must hold; one of others is
    of no use, and removed. note: called after every commit.
    """

    saved = "saved; the same command goes on from here"

    def __init__(self, out: Path, names: Iterable[str], note: Callable[[], None] = lambda: None) -> None:
        self.folder, self._names, self.note = out / FOLDER, sorted(names), note
        self._known: dict[int, list[Shard]] | None = None

    @property
    def begun(self) -> bool:
        return any(self._all().values())

    def position(self) -> Position:
        """How far the pass is."""
        at = Position()
        for shards in self._all().values():
            for shard in shards:
                at.take(shard)
        return at

    def done(self, stage: int) -> list[Shard]:
        """The shards of a stage, in order; none of them overlap."""
        return list(self._all().get(stage, ()))

    def state(self, shard: Shard, name: str) -> Arrays:
        """What a consumer knew of a shard's images; empty where it knew nothing."""
        path = self._path(shard) / _file(name)
        return store.arrays_of(store.read_zip(path)) if path.exists() else {}

    def rows(self, name: str, stage: int) -> Iterator[Arrays]:
        """What a consumer that keeps rows of every image found in a stage, part by part."""
        for shard in self.done(stage):
            for path in sorted(self._path(shard).glob(f"{_stem(name)}{_ROWS}*.zarr.zip")):
                yield store.arrays_of(store.read_zip(path))

    def commit(self, shard: Shard, consumers: Mapping[str, Consumer]) -> None:
        """Put a shard on the disk, and merge it with those before it that are no larger."""
        names = {name: _rows_file(name, shard) if _streamed(each) else _file(name) for name, each in consumers.items()}
        self._write(shard, {names[name]: each.state() for name, each in consumers.items()})
        shards = self._all().setdefault(shard.stage, [])
        shards.append(shard)
        shards.sort(key=lambda each: each.start)
        at = shards.index(shard)
        while at and shards[at - 1].stop == shards[at].start and _size(shards[at - 1]) <= _size(shards[at]):
            at -= 1
            shards[at : at + 2] = [self._merged(shards[at], shards[at + 1], consumers)]
        self.note()

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._known = {}

    def _path(self, shard: Shard) -> Path:
        return self.folder / f"{shard.stage}-{shard.start}-{shard.stop}"

    def _write(self, shard: Shard, states: Mapping[str, Arrays], linked: Iterable[Path] = ()) -> None:
        self.folder.mkdir(exist_ok=True)
        with replacing(self._path(shard)) as temporary:
            temporary.mkdir()
            for name, state in states.items():
                if state:
                    store.write_zip(store.of_arrays(state), temporary / name)
            for path in linked:
                _link(path, temporary / path.name)
            known = {"files": checksums.digests(temporary), "survey_of": self._names}
            checksums.write_sealed(temporary / _SHARD, {**asdict(shard), **known})

    def _merged(self, one: Shard, other: Shard, consumers: Mapping[str, Consumer]) -> Shard:
        states = {}
        for name, each in consumers.items():
            if _streamed(each):
                continue
            whole, more = each.fresh(), each.fresh()
            whole.restore(self.state(one, name))
            more.restore(self.state(other, name))
            whole.merge(more)
            states[_file(name)] = whole.state()
        both = one.with_next(other)
        self._write(both, states, [path for each in (one, other) for path in self._path(each).glob(f"*{_ROWS}*")])
        for old in (one, other):
            shutil.rmtree(self._path(old), ignore_errors=True)
        return both

    def _all(self) -> dict[int, list[Shard]]:
        """By stage. What a commit left half done is removed, and so is what is broken, which is said."""
        if self._known is None:
            found = []
            for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
                if path.suffix in (".part", ".old") or not path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif (shard := self._sound(path)) is not None:
                    found.append(shard)
            self._known = {}
            for shard in sorted(found, key=lambda each: (each.stage, each.start, -each.stop)):
                shards = self._known.setdefault(shard.stage, [])
                if shards and shard.start < shards[-1].stop:  # merged already: the process ended before it was removed
                    shutil.rmtree(self._path(shard), ignore_errors=True)
                else:
                    shards.append(shard)
        return self._known

    def _sound(self, path: Path) -> Shard | None:
        """A shard that can be gone on from; a broken one is removed."""
        try:
            said = checksums.read_sealed(path / _SHARD)
            checksums.check(path, said.pop("files"), "")
            if said.pop("survey_of") != self._names:
                shutil.rmtree(path, ignore_errors=True)
                return None
            shard = Shard(**{**said, "skipped": [Skipped(**item) for item in said["skipped"]]})
            if path.name != f"{shard.stage}-{shard.start}-{shard.stop}":
                raise SummandError(f"{path} holds another shard")
            return shard
        except (SummandError, OSError, TypeError, KeyError) as error:
            what = str(error).rstrip("; ") if isinstance(error, SummandError) else f"{path} is broken ({error})"
            print(f"{what}; its images are passed again", file=sys.stderr, flush=True)
            shutil.rmtree(path, ignore_errors=True)
            return None


def faults_of(out: Path) -> Iterator[tuple[Path, str | None]]:
    """The shards in a folder, and what is wrong with each. Changes nothing."""
    folder = out / FOLDER
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.is_dir() and path.suffix not in (".part", ".old"):
            try:
                checksums.check(path, checksums.read_sealed(path / _SHARD)["files"], "")
                yield path, None
            except (SummandError, OSError, KeyError, TypeError, AttributeError) as error:
                yield path, str(error).rstrip("; ")


def _size(shard: Shard) -> int:
    return shard.stop - shard.start


def _stem(name: str) -> str:
    return name.replace("/", ".")


def _file(name: str) -> str:
    return f"{_stem(name)}.zarr.zip"


def _rows_file(name: str, shard: Shard) -> str:
    """By the place of its first image, so that names stand in the order of the images."""
    return f"{_stem(name)}{_ROWS}{shard.start:012}.zarr.zip"


def _streamed(consumer: Consumer) -> bool:
    return getattr(consumer, "streamed", False)


def _link(path: Path, to: Path) -> None:
    """The same file under a second name, or a copy where the disk has no such thing."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copyfile(path, to)
