"""Counts what is really read: pictures of a source; by a model, without a hook or class that its guard would see."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pandas as pd
import torch
from PIL import Image
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from summand.data import open_source


class Texts(TorchFunctionMode):
    """How many texts go through an embedding of tokens while this is entered."""

    seen = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.embedding:
            self.seen += len(args[0])
        return function(*args, **(kwargs or {}))


class Read(TorchFunctionMode):
    """The shape of what every linear layer with one of these weights reads."""

    def __init__(self, weights: list[torch.Tensor]) -> None:
        super().__init__()
        self.weights = {id(weight) for weight in weights}
        self.shapes: list[tuple[int, ...]] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.linear and id(args[1]) in self.weights:
            self.shapes.append(tuple(args[0].shape))
        return function(*args, **(kwargs or {}))


class Passes(TorchFunctionMode):
    """The batch of every pass that begins with a convolution over `channels` channels."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.channels = channels
        self.batches: list[int] = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if getattr(function, "__name__", "") == "conv2d" and args[0].shape[1] == self.channels:
            self.batches.append(len(args[0]))
        return function(*args, **(kwargs or {}))


_VIEWS = frozenset(
    (
        *("view", "_unsafe_view", "_reshape_alias", "transpose", "permute", "expand", "slice", "select", "squeeze"),
        *("unsqueeze", "detach", "alias", "unbind", "split", "t", "as_strided", "empty", "new_empty", "empty_strided"),
        *("split_with_sizes", "unfold"),
    )
)
_PRODUCTS = frozenset(("mm", "bmm", "addmm", "baddbmm"))
_LONG = 64  # rows of a factor from which on a product is one over tokens or over a width


class Operations(TorchDispatchMode):
    """What torch is asked to do, without views: by name in `done`. Of these, the products in fp32 over many rows
    (`wide`), copies of weights in another precision (`casts`), numbers that are read on the host (`reads`), and
    comparisons of whole tensors there (`compared`)."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._weights = {weight.untyped_storage().data_ptr() for weight in module.parameters()}
        self.done: list[str] = []
        self.wide: list[str] = []
        self.casts: list[str] = []
        self.reads: list[str] = []
        self.compared: list[str] = []

    @property
    def count(self) -> int:
        return len(self.done)

    def names(self) -> dict[str, int]:
        """How often each is done."""
        return dict(Counter(self.done).most_common())

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = str(function).split(".")[1]
        tensors = [each for each in args if isinstance(each, torch.Tensor)]
        if name not in _VIEWS:
            self.done.append(name)
        if name in _PRODUCTS and any(t.dtype == torch.float32 and t.shape[-2] >= _LONG for t in tensors if t.ndim > 1):
            self.wide.append(name)
        if name == "_to_copy" and tensors[0].untyped_storage().data_ptr() in self._weights:
            self.casts.append(name)
        if name in ("_local_scalar_dense", "nonzero", "is_nonzero", "item"):
            self.reads.append(name)
        if name == "equal":
            self.compared.append(name)
        return function(*args, **(kwargs or {}))


class Products(TorchDispatchMode):
    """How many products have a factor that begins within this weight's memory."""

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self._lies = range(weight.data_ptr(), weight.data_ptr() + weight.numel() * weight.element_size())
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if str(function).split(".")[1] in _PRODUCTS:
            self.count += any(each.data_ptr() in self._lies for each in args if isinstance(each, torch.Tensor))
        return function(*args, **(kwargs or {}))


class Counted:
    """A source that counts how often one of its pictures is read."""

    label = "counted pictures"

    def __init__(self, text: str) -> None:
        self.source, self.read = open_source(text), 0

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def image(self, index: int) -> Image.Image:
        self.read += 1
        return self.source.image(index)

    def attributes(self) -> pd.DataFrame | None:
        return self.source.attributes()
