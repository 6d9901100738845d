"""An exported model as a file: torch's .pt2, .onnx, or weights in .safetensors; held against the model before it is
written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ...atomic import replacing
from ...errors import SummandError, first_line
from ..ablations import Steering
from ..model import Model
from ..saved_weights import save_weights
from .folding import folded
from .module import Exported, traced
from .patient import patient

PROGRAMS, WEIGHTS = (".pt2", ".onnx"), ".safetensors"
ALLOWED = 1e-4
"""How far the file's answers may be off from the model's, as a share of the largest number."""
_ROUNDING = 1e-5
_INSTALL = "pip install 'summand-clip[export]'"


@dataclass(frozen=True)
class Written:
    """What was written. outputs: names of what comes out; error: the largest difference from the model's own answer,
    as a share of its largest number."""

    path: Path
    bytes: int
    outputs: str
    error: float


def check_place(to: str | Path) -> Path:
    """The path. Raises `SummandError` for a name that says no format, and where a format's packages are missing."""
    kinds = (*PROGRAMS, WEIGHTS)
    if not isinstance(to, (str, os.PathLike)):
        raise SummandError(f"a path is needed that ends in {', '.join(kinds)}; got {type(to).__name__}")
    path = Path(to).expanduser()
    if path.suffix not in kinds:
        raise SummandError(f"the name says the format: it must end in {', '.join(kinds)}; got {path.name!r}")
    if path.is_dir():
        raise SummandError(f"{path} is a folder; name a file in it that ends in {path.suffix}")
    if path.suffix == ".onnx":
        try:
            import onnxruntime
            import onnxscript  # noqa: F401

            onnxruntime.InferenceSession
        except ImportError as error:
            raise SummandError(f"{path.name} needs {error.name}: {_INSTALL}, or export to .pt2") from error
    return path


@torch.no_grad()
def export_model(
    model: Model,
    to: str | Path,
    texts: Float[Tensor, "class embed"] | None = None,
    names: Sequence[str] = (),
    batch: int | None = None,
) -> Written:
    """Write the model, with all its edits, to a file that runs without Summand. texts: of classes called `names`.

    Raises `SummandError` for a tower that torch cannot trace, for edits that no weights hold, and where the file's
    answers are not the model's.
    """
    path = check_place(to)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(batch or 3, 3, *model.tower.image_size, generator=generator).to(model.device, model.dtype)
    want = model.encode_image(pixels)
    about = {
        "model": model.name,
        "image_size": list(model.tower.image_size),
        "mean": _numbers(model, "mean"),
        "std": _numbers(model, "std"),
        "classes": list(names),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SummandError(f"cannot write {path}: {error.strerror or error}") from error
    if path.suffix == WEIGHTS:
        if texts is not None:
            raise SummandError(f"{path.name} holds weights alone; classes go into a program: export to .pt2 or .onnx")
        return _weights(model, path, pixels, want, about)
    module = Exported(_cheapest(model, pixels, want), texts).eval()
    want = want if texts is None else module(pixels)
    program = _program(model, module, pixels, batch)
    write: Callable[..., Callable[[Tensor], Tensor]] = _write_onnx if path.suffix == ".onnx" else _write_pt2
    with replacing(path) as temporary:
        run = write(program, temporary, about)
        error = _error(run(pixels), want)
        if batch is None:
            error = max(error, _error(run(pixels[:1]), want[:1]))
        _check(error, path, model)
    return Written(path, path.stat().st_size, "scores" if texts is not None else "embedding", error)


def _program(model: Model, module: Exported, pixels: Tensor, batch: int | None) -> torch.export.ExportedProgram:
    try:
        return traced(module, pixels, batch)
    except SummandError:
        raise
    except Exception as error:  # whatever torch meets in a model of the caller's
        fixed = "" if batch else "batch=8 (a fixed number of images) may do; else "
        raise SummandError(
            f"{model.name} ({model.tower.kind}) cannot be exported: torch.export cannot trace it: {first_line(error)}. "
            f"Remedy: load it in fp32 without hooks or compiled parts; {fixed}use the classifier.npz that summand "
            f"debias saves, which repairs the plain model's answers"
        ) from error


def _write_pt2(program: torch.export.ExportedProgram, place: Path, about: dict[str, Any]) -> Callable[..., Tensor]:
    with patient(place) as file:
        to: Any = file
        torch.export.save(program, to, extra_files={"about.json": json.dumps(about)})
    with open(place, "rb") as file:
        return torch.export.load(file).module()


def _write_onnx(program: torch.export.ExportedProgram, place: Path, about: dict[str, Any]) -> Callable[..., Tensor]:
    import onnxruntime

    output = "scores" if about["classes"] else "embedding"
    try:
        found: Any = torch.onnx.export(
            program, dynamo=True, input_names=["pixels"], output_names=[output], verbose=False
        )
    except Exception as error:
        raise SummandError(f"{about['model']} has no form in ONNX: {first_line(error)}; export to .pt2") from error
    found.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    found.save(str(place), external_data=_bytes(program) > 2**31 - 2**20)
    session = onnxruntime.InferenceSession(str(place), providers=["CPUExecutionProvider"])

    def run(pixels: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {"pixels": pixels.cpu().numpy()})[0])

    return run


def _bytes(program: torch.export.ExportedProgram) -> int:
    held = [*program.state_dict.values(), *program.constants.values()]
    return sum(each.numel() * each.element_size() for each in held if isinstance(each, Tensor))


def _cheapest(model: Model, pixels: Tensor, want: Tensor) -> Model:
    """The model with its edits in its weights, where pairs are steered and weights hold them as exactly as steps of
    their own do, of which each pair needs several; else itself: for heads the pass of the one query is cheaper than the
    network's own."""
    if not any(isinstance(edit, Steering) and edit.chosen("pairs") for edit in model._ablations):
        return model
    try:
        again = _in_weights(model)
        return again if _error(again.encode_image(pixels), want) <= _ROUNDING else model
    except SummandError:
        return model


def _in_weights(model: Model) -> Model:
    return Model(
        folded(model), model._preprocess, model._tokenizer, model.name, prefix=model._prefix, world=model.world
    )


def _weights(model: Model, path: Path, pixels: Tensor, want: Tensor, about: dict[str, Any]) -> Written:
    again = _in_weights(model)
    clip = again.clip
    error = _error(again.encode_image(pixels), want)
    _check(error, path, model)
    save_weights(clip.state_dict(), path, about)
    return Written(path, path.stat().st_size, "weights", error)


def _error(found: Tensor, want: Tensor) -> float:
    found, want = F.pad(found.cpu().double(), (0, 0)), want.cpu().double()
    return float((found - want).abs().max() / want.abs().max())


def _check(error: float, path: Path, model: Model) -> None:
    if not error <= ALLOWED:
        raise SummandError(
            f"{path.name} was not written: its answers are off from those of {model.name} by {error:.1g} of the "
            f"largest number ({ALLOWED:.0e} is allowed); export in fp32, or to another format"
        )


def _numbers(model: Model, name: str) -> list[float] | None:
    """mean or std of the preprocessing, where it says them."""
    found = getattr(model._image_module, f"image_{name}", None) or getattr(model._preprocess, name, None)
    return None if found is None else [float(number) for number in found]
