"""Statistics as xarray data sets in zarr, every axis with its name."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor
from zarr.storage import ZipStore

from ..atomic import replacing
from ..errors import SummandError, first_line
from ..statistics.moments import Moments
from ..statistics.norm_quantiles import NormSketch
from ..statistics.principal_direction import RankOne
from ..statistics.top_images import TopImages
from ..towers.directions import Directions
from ..towers.factored import Factored


@dataclass(frozen=True)
class Statistics:
    """All that a run keeps of a group of units.

    top: None where no top images were asked for. rank_one: r_n of every unit. held_out: x_n = ⟨φ_n − b_n, r_n⟩ of the
    images kept aside, in units of `scale`, fp16; scale: the standard deviation of x_n over the other images. whole: of
    heads, all of their centred coefficients on the images kept aside, in units of a second scale.
    """

    moments: Moments
    top: TopImages | None
    rank_one: RankOne
    scale: Float[Tensor, "*unit"]
    held_out: Float[Tensor, "held_out_image *unit"]
    whole: tuple[Float[Tensor, "held_out_image *unit path"], Float[Tensor, "*unit"]] | None = None


def to_dataset(found: Statistics, held_out_images: np.ndarray) -> xr.Dataset:
    """The statistics of a group, its axes named as in its `Effects`; docs/runs.md lists the variables."""
    moments, top = found.moments, found.top
    units = moments.units
    variables: dict[str, Any] = {
        "mean": ((*units, "path"), _array(moments.mean)),
        "covariance": ((*units, "path", "path2"), _array(moments.covariance)),
        "direction_weight": ((*units, "path"), _array(found.rank_one.weights[..., 0, :].float())),
        "direction_explained": ((*units, "component"), _array(found.rank_one.explained.float())),
        "scale": (units, _array(found.scale.float())),
        "held_out": (("held_out_image", *units), _array(found.held_out)),
    }
    if found.whole is not None:
        variables["held_out_coefficient"] = (("held_out_image", *units, "path"), _array(found.whole[0]))
        variables["coefficient_scale"] = (units, _array(found.whole[1].float()))
    factors = moments.basis._held()
    if len(factors) == 1:
        variables["directions"] = ((*units, "path", "embed"), _array(factors[0]))
    else:
        last = (*units, "path")[-(factors[1].ndim - 2) :]
        variables["left"] = ((*units, "path", "through"), _array(factors[0]))
        variables["right"] = ((*last, "through", "embed"), _array(factors[1]))
    if top is not None:
        ids = _array(top.ids)
        variables["top_image"] = ((*units, "rank"), ids.astype(np.int32) if ids.max(initial=0) < 2**31 else ids)
        variables["top_norm"] = ((*units, "rank"), _array(top.norms.float()))
        variables["norm_highest"] = (units, _array(top.sketch.highest))
        variables["norm_counts"] = ((*units, "bin"), _array(top.sketch.counts))
        variables["top_coefficient"] = ((*units, "rank", "path"), _array(top.coefficients))
    coordinates: dict[str, Any] = {"held_out_image": held_out_images.astype(np.int64)}
    for column, name in enumerate(moments.paths):
        if moments.path_index is not None:
            coordinates[name.replace(" ", "_")] = ("path", np.array([row[column] for row in moments.path_index]))
    return xr.Dataset(
        variables,
        coords=coordinates,
        attrs={
            **{"count": moments.count, "units": list(units), "paths": list(moments.paths)},
            **({"top_k": top.k, "top_count": top.count} if top is not None else {}),
        },
    )


def of_arrays(state: Mapping[str, np.ndarray]) -> xr.Dataset:
    """Plain arrays by name, as a consumer of a pass says its state; names (arrays of text) become attributes."""
    named = {name: array.tolist() for name, array in state.items() if array.dtype.kind == "U"}
    numbers = {name: array for name, array in state.items() if array.dtype.kind != "U"}
    axes = {name: [f"{name}_{axis}" for axis in range(array.ndim)] for name, array in numbers.items()}
    return xr.Dataset({name: (axes[name], array) for name, array in numbers.items()}, attrs=named)


def arrays_of(data: xr.Dataset) -> dict[str, np.ndarray]:
    """What `of_arrays` was given."""
    names = {name: np.array(value, dtype=np.str_) for name, value in data.attrs.items()}
    return {**{str(name): data[name].values for name in data.data_vars}, **names}


def basis_of(data: xr.Dataset) -> Directions:
    """The fixed directions of a group."""
    if "directions" in data:
        return Directions.of(tensor(data["directions"]))
    return Factored(tensor(data["left"]), tensor(data["right"]))


def moments_of(data: xr.Dataset, basis: Directions) -> Moments:
    return Moments.restore(
        int(data.attrs["count"]), tensor(data["mean"]), tensor(data["covariance"]), basis, *_axes(data)
    )


def top_images_of(data: xr.Dataset, basis: Directions) -> TopImages:
    return TopImages.restore(
        int(data.attrs["top_k"]),
        int(data.attrs["top_count"]),
        tensor(data["mean"]),
        (tensor(data["top_image"]).long(), tensor(data["top_norm"]).double(), tensor(data["top_coefficient"])),
        NormSketch(tensor(data["norm_highest"]), tensor(data["norm_counts"])),
        basis,
        *_axes(data),
    )


def rank_one_of(data: xr.Dataset, basis: Directions) -> RankOne:
    return RankOne(
        basis,
        tensor(data["direction_weight"]).double().unsqueeze(-2),
        tensor(data["mean"]),
        tensor(data["direction_explained"]),
    )


def _axes(data: xr.Dataset) -> tuple[tuple[str, ...], tuple[str, ...], tuple[tuple[int, ...], ...] | None]:
    paths = tuple(data.attrs["paths"])
    columns = [name.replace(" ", "_") for name in paths]
    index = None
    if all(column in data.coords for column in columns):
        rows = zip(*(data[column].values.tolist() for column in columns), strict=True)
        index = tuple(tuple(row) for row in rows)
    return tuple(data.attrs["units"]), paths, index


def write(data: xr.Dataset, path: Path) -> None:
    """A zarr folder, put in its place only when it is complete."""
    with replacing(path) as temporary, warnings.catch_warnings():
        # Consolidated metadata is not yet a part of the zarr 3 specification; readers that ignore it lose nothing.
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated")
        data.to_zarr(temporary, mode="w", zarr_format=3, consolidated=True)


def write_blocks(blocks: Iterable[xr.Dataset], path: Path) -> None:
    """The same of parts that stand behind each other along `image`, of which one is held at a time: a chunk each."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated")
        first = True
        for block in blocks:
            size = block.sizes["image"]
            chunks = {name: {"chunks": (size, *variable.shape[1:])} for name, variable in block.variables.items()}
            begin: Any = {"mode": "w", "encoding": chunks} if first else {"append_dim": "image"}
            block.to_zarr(temporary, zarr_format=3, consolidated=True, **begin)
            first = False


def write_tables(blocks: Iterable[pd.DataFrame], path: Path) -> None:
    """A parquet file of parts, of which one is held at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with replacing(path) as temporary, contextlib.ExitStack() as opened:
        writer: pq.ParquetWriter | None = None
        for block in blocks:
            table = pa.Table.from_pandas(block)
            if writer is None:
                writer = opened.enter_context(pq.ParquetWriter(temporary, table.schema))
            writer.write_table(table)


def read(path: Path) -> xr.Dataset:
    """A zarr folder, its variables read when they are used. Raises `SummandError` where it is missing or broken."""
    try:
        return xr.open_zarr(path, chunks=None)
    except FileNotFoundError:
        raise SummandError(f"{path} is missing from its run folder; make the run again") from None
    except (OSError, ValueError, KeyError) as error:
        raise SummandError(f"{path} is broken ({first_line(error)}); make the run again") from error


def write_zip(data: xr.Dataset, path: Path) -> None:
    """The same in one file, a zarr in a zip, which is on the disk at once where many small files would not be."""
    with replacing(path) as temporary, ZipStore(temporary, mode="w") as archive, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Duplicate name")  # metadata is written twice; the last one counts
        data.to_zarr(archive, zarr_format=3, consolidated=False)


def read_zip(path: Path) -> xr.Dataset:
    """What `write_zip` wrote, in memory."""
    with ZipStore(path, mode="r") as archive:
        return xr.open_zarr(archive, chunks=None, consolidated=False).load()


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()


def tensor(values: xr.DataArray) -> Tensor:
    """A copy, the caller's own."""
    return torch.from_numpy(np.array(values.values))
