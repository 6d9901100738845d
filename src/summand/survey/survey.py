"""What a pass over a data set leaves: statistics of all units, embeddings, labels; in memory or in a folder."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..arguments import names_wrong_arguments
from ..data import ImageSource
from ..data.joined import Joined
from ..effects.effects import Effects
from ..errors import SummandError
from ..models import Model
from ..models.load import load
from ..statistics.moments import Moments
from ..statistics.principal_direction import RankOne, significance
from ..statistics.top_images import TopImages
from ..towers.directions import Directions
from ..towers.precision import doubled
from . import store
from .asked import Asked
from .fingerprints import same_weights, weights_hash
from .manifest import Manifest
from .read_again import read_again
from .shelf import DIRECTIONS, EMBEDDINGS, IMAGES, KEPT, LABELS, MEANS, SKIPPED, TERMS, Folder, Shelf
from .units import Group


@names_wrong_arguments
class Survey(Asked):
    """What `summand.survey` found. Of a folder (`summand.open`) nothing is read before it is asked for.

    manifest: what it is a survey of. path: its folder, or None. groups: its groups of units; wherever a group is asked
    for, its name does as well ("heads", "neurons.9", "pairs"). survey["9:2914"] is one unit.

    Images are numbered by their place in the data source, and these numbers are what `images.index`, the ids of top
    images and the coordinates of the data sets hold.
    """

    def __init__(
        self, shelf: Shelf, manifest: Manifest, model: Model | None = None, source: ImageSource | None = None
    ) -> None:
        self.shelf, self.manifest = shelf, manifest
        self.groups = tuple(Group.named(name) for name in manifest.groups)
        self._model, self._source = model, source
        self._basis = lru_cache(maxsize=None)(self._read_basis)

    def __repr__(self) -> str:
        where = "in memory" if self.path is None else str(self.path)
        made = self.manifest
        return f"<Survey {where}: {made.model} on {made.source}, {', '.join(made.groups)}>"

    @property
    def _survey(self) -> Survey:
        return self

    @property
    def path(self) -> Path | None:
        return self.shelf.path

    @property
    def units(self) -> list[str]:
        """The names of all units, group after group."""
        return [group.unit(index) for group in self.groups for index in np.ndindex(*self.shape(group))]

    def shape(self, group: Group | str) -> tuple[int, ...]:
        """How many units a group has along each of its axes."""
        data = self.dataset(group)
        return tuple(data.sizes[axis] for axis in data.attrs["units"])

    def dataset(self, group: Group | str) -> xr.Dataset:
        """All statistics of a group with named dimensions, read lazily; docs/runs.md lists the variables."""
        return self.shelf.dataset(self.group(group).name)

    def moments(self, group: Group | str) -> Moments:
        """Count, mean and covariance over the images that were not kept aside."""
        return store.moments_of(self.dataset(group), self._basis(self.group(group)))

    def top_images(self, group: Group | str) -> TopImages:
        """The images of largest centred effect for every unit, none of them held out."""
        data = self.dataset(group)
        if "top_image" not in data:
            raise SummandError(
                f"{self.shelf.label} was made with --top 0 and keeps no top images; make it again without"
            )
        return store.top_images_of(data, self._basis(self.group(group)))

    def rank_one(self, group: Group | str) -> RankOne:
        """r_n of every unit: from its top images, or from its moments where none are kept. Of pairs, exact."""
        return store.rank_one_of(self.dataset(group), self._basis(self.group(group)))

    def thresholds(self, group: Group | str) -> Float[Tensor, "*unit"]:
        """The norm ‖φ_n(x) − b_n‖ above which an effect is significant."""
        return significance(self.top_images(group))

    def held_out(self, group: Group | str) -> Float[Tensor, "held_out_image *unit"]:
        """x_n = ⟨φ_n − b_n, r_n⟩ of the held-out images, signed, in the order of `held_out_images`."""
        data = self.dataset(group)
        return store.tensor(data["held_out"]).float() * store.tensor(data["scale"])

    def held_out_coefficients(self, group: Group | str) -> Float[Tensor, "held_out_image *unit path"] | None:
        """c − c̄ of the held-out images, of heads; None in surveys of other units, and of older ones."""
        data = self.dataset(group)
        if "held_out_coefficient" not in data:
            return None
        return store.tensor(data["held_out_coefficient"]).float() * store.tensor(data["coefficient_scale"])[..., None]

    @property
    def held_out_images(self) -> np.ndarray:
        """Numbers of the images that were kept aside, whose effects are in no statistic."""
        images = self.images
        return images.index.to_numpy()[images["held_out"].to_numpy()]

    @property
    def images(self) -> pd.DataFrame:
        """One row an image that could be read: its name, whether it was held out, ‖M(x)‖; indexed by number."""
        return self.shelf.table(IMAGES)

    @property
    def embeddings(self) -> Float[Tensor, "image embed"]:
        """M(x) / ‖M(x)‖, in the order of `images`; kept in fp16."""
        return store.tensor(self.shelf.dataset(EMBEDDINGS)["embedding"]).float()

    @property
    def centre(self) -> Float[Tensor, " embed"]:
        """The mean of M(x) / ‖M(x)‖ over the images that were not kept aside."""
        return doubled(self.embeddings)[torch.from_numpy(~self.images["held_out"].to_numpy())].mean(dim=0)

    @property
    def kept(self) -> Effects:
        """The heads' effects on every image, of the layers in `manifest.kept`, in the order of `images`."""
        data = self._kept()
        basis = self._basis(self.group("heads")).select(list(self.manifest.kept))
        return Effects(store.tensor(data["coefficient"]), basis, ("layer", "head"), ("channel",))

    def coefficients(self, group: Group | str) -> Effects:
        """The effects of a group on every image, where `keep` named it, in the order of `images`."""
        found = self.group(group)
        if found.name not in self.manifest.coefficients:
            raise SummandError(
                f"{self.shelf.label} keeps no coefficients of single images of {found.name}; make it again with "
                f"keep={found.name.replace('.', ':')!r}"
            )
        data, moments = self.shelf.dataset(f"{KEPT}.{found.name}"), self.moments(found)
        numbers = store.tensor(data["coefficient"]).float()
        return Effects(numbers, moments.basis, moments.units, moments.paths, path_index=moments.path_index)

    @property
    def skipped(self) -> pd.DataFrame:
        """The images that could not be read: id (their name in the source) and reason."""
        if self.shelf.has(SKIPPED, table=True):
            return self.shelf.table(SKIPPED)
        rows = [(item["name"], item["reason"]) for item in self.manifest.skipped]
        return pd.DataFrame(rows, columns=["id", "reason"])

    @property
    def mlps(self) -> Float[Tensor, "image embed"]:
        """The direct effect of all MLPs together on every image; kept where coefficients are."""
        return store.tensor(self._kept()["mlps"])

    @property
    def outputs(self) -> Float[Tensor, "image embed"]:
        """M(x) of every image; kept where coefficients are."""
        return store.tensor(self._kept()["output"])

    def _kept(self) -> xr.Dataset:
        if not self.manifest.kept:
            raise SummandError(f"{self.shelf.label} keeps no coefficients of single images; make it again with keep=4")
        return self.shelf.dataset(KEPT)

    def holds(self, group: Group | str) -> bool:
        """Whether it is a survey of these units."""
        return (Group.named(group) if isinstance(group, str) else group) in self.groups

    def group(self, group: Group | str) -> Group:
        """The group of a name. Raises `SummandError` that lists the groups of this survey."""
        group = Group.named(group) if isinstance(group, str) else group
        if group not in self.groups:
            raise SummandError(
                f"{self.shelf.label} holds {', '.join(self.manifest.groups)}, not {group.name}; "
                f"`summand survey --units {group.name.replace('.', ':')}` into another folder adds it"
            )
        return group

    def check_unit(self, group: Group | str, index: tuple[int, ...]) -> None:
        """Raise `SummandError` for a unit that the group does not have."""
        data, group = self.dataset(group), self.group(group)
        sizes = [data.sizes[axis] for axis in data.attrs["units"]]
        if len(index) != len(sizes):
            raise SummandError(f"a unit of {group.name} is ({', '.join(data.attrs['units'])}), got {index}")
        for axis, number, size in zip(data.attrs["units"], index, sizes, strict=True):
            if not 0 <= number < size:
                raise SummandError(f"{group.name} has no {axis} {number}; {axis}s are counted from 0 to {size - 1}")

    def source(self) -> ImageSource:
        """The images, read again from where they came. Raises `SummandError` where they moved or changed."""
        made = self.manifest
        if made.location is None and self._source is not None:
            return self._source
        if made.parts:
            return Joined([read_again(made.source, **part) for part in made.parts])
        return read_again(made.source, made.location, made.count, made.images, made.files)

    @property
    def model(self) -> Model:
        """The model that this is a survey of, loaded again where it is not at hand."""
        if self._model is None:
            self._model = self.load_model()
        return self._model

    def load_model(self, device: str = "cpu") -> Model:
        """The model, loaded again. Raises `SummandError` where its weights are no longer the same."""
        origin = self.manifest.origin
        if origin is None:
            raise SummandError(
                f"{self.shelf.label} is of a model that was wrapped, {self.manifest.model}, and not loaded by name; "
                f"hand it over with summand.open({str(self.path)!r}, model=model)"
            )
        model = load(**asdict(origin), device=device)
        self.check_model(model)
        return model

    def check_model(self, model: Model) -> None:
        """Raise `SummandError` for a model with other weights or settings than that of the survey."""
        if not same_weights(weights_hash(model), self.manifest.weights):
            raise SummandError(
                f"the weights of {model.name}, or what it computes with them (activations, eps), are no longer those "
                f"that {self.shelf.label} was made with; make the run again"
            )

    def save(self, folder: str | Path) -> Survey:
        """The same survey in a new folder. Raises `SummandError` for one that is not empty."""
        path = Path(folder).expanduser()
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise SummandError(f"{path} is not empty; give a new folder")
        path.mkdir(parents=True, exist_ok=True)
        shelf = Folder(path)
        whole = [f"{KEPT}.{name}" for name in self.manifest.coefficients]
        for name in (*self.manifest.groups, EMBEDDINGS, KEPT, *whole, TERMS, MEANS, DIRECTIONS):
            if self.shelf.has(name):
                shelf.put(name, self.shelf.dataset(name).load())
        for name in (IMAGES, LABELS, SKIPPED):
            if self.shelf.has(name, table=True):
                shelf.put_table(name, self.shelf.table(name))
        replace(self.manifest, complete=True).write(path)
        return Survey(shelf, self.manifest, self._model, self._source)

    def _read_basis(self, group: Group) -> Directions:
        return store.basis_of(self.dataset(group))
