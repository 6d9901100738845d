"""Fine-tuned weights from a file, read without unpickling, and fitted to a model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import SummandError
from .checkpoint_files import read_file, split_part
from .checkpoint_names import clip_tensors

_OPENAI = ("input_resolution", "context_length", "vocab_size")
_TEXT = ("text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final", "cls_emb")
_POSITIONS = ("visual.positional_embedding", "visual.attnpool.positional_embedding")
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_RESNET_STRIDE = 32


@dataclass(frozen=True)
class Checkpoint:
    """Weights by open_clip's names. source: the file's name, for what is said about it."""

    source: str
    tensors: dict[str, Tensor]

    @property
    def openai(self) -> bool:
        """Whether it has the layout of OpenAI's release, which holds three numbers that no other one does."""
        return "input_resolution" in self.tensors

    @property
    def context_length(self) -> int | None:
        """Tokens that its text tower reads; None where it has none, or one of transformers."""
        for text in ("", "text."):
            found = self.tensors.get(f"{text}positional_embedding")
            if found is not None and f"{text}token_embedding.weight" in self.tensors and found.ndim == 2:
                # CoCa's class token has a position too
                return (len(found) - (f"{text}cls_emb" in self.tensors)) or None
        return None


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The weights of one CLIP in a file (`run.ckpt`), or in a part of it (`run.ckpt#ema`).

    Training checkpoints are looked into (`state_dict`, `model`, …), and prefixes are taken off: of
    DistributedDataParallel (`module.`), torch.compile (`_orig_mod.`), of a Lightning module (`model.`) or any other.
    Where averaged weights (EMA) lie beside the trained ones, the trained ones are read, with a warning that says how
    to read the others. Raises `SummandError` for a file that is missing, damaged, cannot be read without running the
    code in it, or holds several models, or more than a CLIP.
    """
    file, part = split_part(path)
    return Checkpoint(file.name, clip_tensors(read_file(file), part, file.name))


def fit(
    clip: nn.Module, state: Checkpoint, rest: Callable[[], dict[str, Tensor]] | None = None, size: Any = None
) -> None:
    """Load weights into a model of open_clip.

    Older layouts and third-party ones are converted. rest: all weights of the model that the file was fine-tuned from;
    asked for only where the file holds one tower alone. size: the image_size that was asked for, to whose grid
    the positions of the patches are interpolated, as open_clip does. Raises `SummandError` where names, shapes or kinds
    of numbers differ.
    """
    from open_clip.convert import convert_state_dict

    model: Any = clip
    expected = clip.state_dict()
    tensors = _texts_as(expected, convert_state_dict(model, dict(state.tensors)))
    for name in (*_OPENAI, "text.transformer.embeddings.position_ids"):
        if name not in expected:
            tensors.pop(name, None)
    tensors = _with_other_tower(expected, tensors, state.source, rest)
    for name in ("logit_scale", "logit_bias"):
        if name in tensors and name in expected and tensors[name].numel() == 1:
            tensors[name] = tensors[name].reshape(expected[name].shape)
    if "logit_bias" in expected and "logit_bias" not in tensors and "logit_scale" in tensors:
        tensors["logit_bias"] = torch.zeros_like(tensors["logit_scale"])
    check_numbers(expected, tensors, state.source)
    if size is not None:
        _interpolate(model, expected, tensors, state.source, size)
    check_fit(expected, tensors, state.source)
    check_finite(expected, tensors, state.source)
    clip.load_state_dict(tensors)


def _texts_as(expected: dict[str, Tensor], tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The text tower under `text.`, or not, as the model has it: open_clip lays it out in both ways."""
    inside = any(name.startswith("text.") for name in expected)
    if inside and not any(name.startswith("text.") for name in tensors):
        return {f"text.{n}" if n.split(".")[0] in _TEXT else n: value for n, value in tensors.items()}
    if not inside:
        return {name.removeprefix("text."): value for name, value in tensors.items()}
    return tensors


def _with_other_tower(
    expected: dict[str, Tensor],
    tensors: dict[str, Tensor],
    source: str,
    rest: Callable[[], dict[str, Tensor]] | None,
) -> dict[str, Tensor]:
    """What the file holds of one tower alone, with the other one from the weights that it was fine-tuned from."""
    missing = [name for name in expected if name not in tensors]
    of_images = {name.startswith("visual.") for name in missing if not name.startswith("logit_")}
    held = {name.startswith("visual.") for name in tensors if not name.startswith("logit_")}
    if len(of_images) != 1 or any(name not in expected for name in tensors) or held != {not next(iter(of_images))}:
        return tensors
    alone, other = ("text", "image") if of_images == {True} else ("image", "text")
    if rest is None:
        raise SummandError(
            f"{source} holds the {alone} tower alone. Name the weights whose {other} tower goes with it beside the "
            f"file: pretrained=TAG, checkpoint={source!r} (--pretrained TAG --checkpoint {source})"
        )
    try:
        whole = rest()
    except SummandError as error:
        raise SummandError(
            f"{source} holds the {alone} tower alone, and the {other} tower cannot be had: {error}"
        ) from error
    return {**{name: whole[name] for name in missing if name in whole}, **tensors}


def check_numbers(expected: dict[str, Tensor], tensors: dict[str, Tensor], source: str) -> None:
    """Raise `SummandError` for weights that are no plain floating-point numbers."""
    for name, value in tensors.items():
        counts = name in expected and value.dtype == expected[name].dtype  # of batches that a norm has seen
        if value.is_quantized or not (value.dtype in _FLOATS or counts):
            raise SummandError(
                f"{source} holds weights in {str(value.dtype).removeprefix('torch.')} ({name}), quantised or packed; "
                f"only float32, float64, bfloat16 and float16 are read: save the weights that were quantised"
            )
        if value.is_meta or value.layout != torch.strided:
            what = "without numbers (on the meta device)" if value.is_meta else f"as {value.layout}"
            raise SummandError(
                f"{source} holds weights {what} ({name}); save plain tensors: value.to_dense(), on the cpu"
            )


def check_finite(expected: dict[str, Tensor], tensors: dict[str, Tensor], source: str) -> None:
    """Raise `SummandError` that names weights which are NaN or infinite, and where most matrices are all zero."""
    wrong = [name for name in expected if name in tensors and not torch.isfinite(tensors[name]).all()]
    empty = [name for name in expected if name in tensors and expected[name].ndim > 1 and not tensors[name].any()]
    if len(empty) > len([name for name in expected if expected[name].ndim > 1]) / 2:
        raise SummandError(
            f"{source} holds nothing but zeros in {len(empty)} weights ({_few(empty)}): it was never filled; save the "
            f"weights after training"
        )
    if wrong:
        raise SummandError(
            f"{source} holds NaN or infinite numbers in {len(wrong)} weights ({_few(wrong)}): the training diverged; "
            f"take an earlier checkpoint"
        )


def trained_size(clip: nn.Module, state: Checkpoint) -> int | None:
    """Pixels a side that the weights of an image tower were trained on, where that is not the model's own size.

    Raises `SummandError` where the positions are no square grid, so that the size must be told.
    """
    expected = clip.state_dict()
    name = next((name for name in _POSITIONS if name in expected and name in state.tensors), None)
    if name is None or not _alike_but_for_positions(expected, state.tensors, name):
        return None
    count = len(state.tensors[name]) - 1
    side = isqrt(max(count, 0))
    if count < 1:
        return None
    if side * side != count:
        raise SummandError(
            f"{state.source} was trained on {count} patches an image, which are no square, and the model reads "
            f"{len(expected[name]) - 1}; say the size that it was trained on: image_size=(HEIGHT, WIDTH)"
        )
    return side * (_RESNET_STRIDE if "attnpool" in name else expected["visual.conv1.weight"].shape[-1])


def _alike_but_for_positions(expected: dict[str, Tensor], found: dict[str, Tensor], name: str) -> bool:
    first = "visual.conv1.weight"
    same = first in found and first in expected and found[first].shape == expected[first].shape
    here, there = expected[name].shape, found[name].shape
    return same and len(there) == 2 and here[1:] == there[1:] and here != there


def _interpolate(model: Any, expected: dict[str, Tensor], tensors: dict[str, Tensor], source: str, size: Any) -> None:
    """Positions of a square grid to the model's, in fp32 at least: in fp16 there is no such operation on a CPU."""
    from open_clip.model import resize_pos_embed

    name = _POSITIONS[0]
    other = [n for n, value in expected.items() if n in tensors and tensors[n].shape != value.shape and n != name]
    if other and all("pos" in n.rpartition(".")[2] for n in other):
        raise SummandError(f"{source} cannot be read at image_size={size}: its positions cannot be interpolated")
    if name not in expected or name not in tensors or not _alike_but_for_positions(expected, tensors, name):
        return
    count = len(tensors[name]) - 1
    if isqrt(max(count, 0)) ** 2 != count or not count:
        raise SummandError(
            f"{source} was trained on {count} patches an image, which are no square: its positions cannot be "
            f"interpolated; say the size that it was trained on: image_size=(HEIGHT, WIDTH)"
        )
    tensors[name] = tensors[name] if tensors[name].dtype == torch.float64 else tensors[name].float()
    resize_pos_embed(tensors, model)


def check_fit(expected: dict[str, Tensor], state: dict[str, Tensor], source: str) -> None:
    """Raise `SummandError` that names a few of the weights that differ."""
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    shapes = [
        f"{name} {list(state[name].shape)} instead of {list(value.shape)}"
        for name, value in expected.items()
        if name in state and state[name].shape != value.shape
    ]
    found = [("missing", missing), ("unknown", extra), ("of another shape", shapes)]
    said = [f"{len(names)} {what} ({_few(names)})" for what, names in found if names]
    if said:
        own_head = "If these are a head of your own, leave them out before the weights are saved; else give"
        advice = own_head if extra and not (missing or shapes) else "Give"
        raise SummandError(
            f"the weights of {source} do not fit the model: {'; '.join(said)}. {advice} the name of the architecture "
            f"that was fine-tuned (`summand models` lists them), or wrap(model) the model that you hold"
        )


def _few(names: list[str], count: int = 3) -> str:
    return ", ".join(names[:count]) + (", …" if len(names) > count else "")
