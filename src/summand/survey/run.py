"""A finished run, opened: manifest, statistics, images, embeddings, labels."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..data import ImageSource, open_source
from ..errors import SummandError
from ..models import Model
from ..models.load import load
from ..statistics.moments import Moments
from ..statistics.principal_direction import RankOne
from ..statistics.top_images import TopImages
from ..towers.directions import Directions
from . import store
from .manifest import Manifest, names_hash, same_weights, weights_hash
from .units import Group

IMAGES, EMBEDDINGS, LABELS = "images.parquet", "images.zarr", "labels.parquet"


class Run:
    """What `summand decompose` left in a folder. Made by `open_run`; nothing is read before it is asked for.

    path: the folder. manifest: what it is a run of. groups: its groups of units; wherever a group is asked for, its
    name does as well ("heads", "neurons.9", "pairs").

    Images are numbered by their place in the data source, and these numbers are what `images.index`, the ids of top
    images and the coordinates of the data sets hold.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path, self.manifest = path, manifest
        self.groups = tuple(Group.named(name) for name in manifest.groups)
        self._basis = lru_cache(maxsize=None)(self._read_basis)

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self.manifest.model} on {self.manifest.source}, {', '.join(self.manifest.groups)}>"

    def dataset(self, group: Group | str) -> xr.Dataset:
        """All statistics of a group with named dimensions, read lazily; docs/runs.md lists the variables."""
        return store.read(self.path / f"{self.group(group).name}.zarr")

    def moments(self, group: Group | str) -> Moments:
        """Count, mean and covariance over the images that were not kept aside."""
        return store.moments_of(self.dataset(group), self._basis(self.group(group)))

    def top_images(self, group: Group | str) -> TopImages:
        """The images of largest centred effect for every unit, none of them held out."""
        data = self.dataset(group)
        if "top_image" not in data:
            raise SummandError(f"{self.path} was made with --top 0 and keeps no top images; make it again without")
        return store.top_images_of(data, self._basis(self.group(group)))

    def rank_one(self, group: Group | str) -> RankOne:
        """r_n of every unit: from its top images, or from its moments where the run keeps none. Of pairs, exact."""
        return store.rank_one_of(self.dataset(group), self._basis(self.group(group)))

    def held_out(self, group: Group | str) -> Float[Tensor, "held_out_image *unit"]:
        """x_n = ⟨φ_n − b_n, r_n⟩ of the held-out images, signed, in the order of `held_out_images`."""
        data = self.dataset(group)
        return torch.from_numpy(data["held_out"].values).float() * torch.from_numpy(data["scale"].values)

    @property
    def held_out_images(self) -> np.ndarray:
        """Numbers of the images that were kept aside, whose effects are in no statistic."""
        images = self.images
        return images.index[images["held_out"]].to_numpy()

    @property
    def images(self) -> pd.DataFrame:
        """One row an image that could be read: its name, whether it was held out, ‖M(x)‖; indexed by number."""
        return _table(self.path / IMAGES)

    @property
    def embeddings(self) -> Float[Tensor, "image embed"]:
        """M(x) / ‖M(x)‖, in the order of `images`; kept in fp16."""
        return torch.from_numpy(store.read(self.path / EMBEDDINGS)["embedding"].values).float()

    @property
    def labelled(self) -> bool:
        return (self.path / LABELS).is_file()

    @property
    def labels(self) -> pd.DataFrame:
        """One row a unit, as `summand label` wrote them."""
        if not self.labelled:
            raise SummandError(f"{self.path} has no labels yet; `summand label {self.path}` makes them")
        return _table(self.path / LABELS)

    def group(self, group: Group | str) -> Group:
        """The group of a name. Raises `SummandError` that lists the groups of this run."""
        group = Group.named(group) if isinstance(group, str) else group
        if group not in self.groups:
            raise SummandError(
                f"{self.path} holds {', '.join(self.manifest.groups)}, not {group.name}; "
                f"`summand decompose --units {group.name.replace('.', ':')}` into another folder adds it"
            )
        return group

    def check_unit(self, group: Group | str, index: tuple[int, ...]) -> None:
        """Raise `SummandError` for a unit that the group does not have."""
        data, group = self.dataset(group), self.group(group)
        sizes = [data.sizes[axis] for axis in data.attrs["units"]]
        for axis, number, size in zip(data.attrs["units"], index, sizes, strict=True):
            if not 0 <= number < size:
                raise SummandError(f"{group.name} has no {axis} {number}; {axis}s are counted from 0 to {size - 1}")

    def source(self) -> ImageSource:
        """The images, read again from where they came. Raises `SummandError` where they moved or changed."""
        asked = self.manifest
        try:
            source = open_source(asked.location, asked.count)
        except SummandError as error:
            raise SummandError(f"the images of this run cannot be read again: {error}") from error
        if len(source) != asked.images or names_hash(source) != asked.files:
            raise SummandError(f"the images in {asked.location} are no longer those of this run")
        return source

    def load_model(self, device: str = "cpu") -> Model:
        """The model of this run. Raises `SummandError` where its weights are no longer the same."""
        asked = self.manifest
        model = load(
            asked.model,
            asked.pretrained,
            random_init=asked.random_init,
            device=device,
            checkpoint=asked.checkpoint,
            activation=asked.activation,  # type: ignore[arg-type]
        )
        if not same_weights(weights_hash(model), asked.weights):
            raise SummandError(
                f"the weights of {model.name}, or what it computes with them (activations, eps), are no longer those "
                f"that {self.path} was made with; make the run again"
            )
        return model

    def _read_basis(self, group: Group) -> Directions:
        return store.basis_of(self.dataset(group))


def open_run(path: str | Path) -> Run:
    """The run in a folder that `summand decompose` wrote.

    Raises `SummandError` for a folder that is no run, and for a run that was not finished, with the command that goes
    on with it.
    """
    path = Path(path).expanduser()
    manifest = Manifest.read(path)
    if not manifest.complete:
        done = f"{manifest.passed:,} of {manifest.planned:,}" if manifest.planned else "none"
        raise SummandError(
            f"{path} is not finished ({done} image passes are done); this goes on with it: {manifest.command(path)}"
        )
    return Run(path, manifest)


def _table(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise SummandError(f"{path} is missing from its run folder; make the run again") from None
    except (OSError, ValueError) as error:
        raise SummandError(f"{path} is broken: {error}") from error
