"""Loading by name: open_clip's models, the shipped ones, folders, the hub, and fine-tuned checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..arguments import names_wrong_arguments
from ..errors import SummandError, first_line
from ..towers import describe_configuration
from ..unit import split
from . import Model, wrap
from .ablations import load_ablation
from .ablations.steer_words import Steer, steer_text
from .aligned.saved import load_aligned, random_vision
from .autoencoders import at_layer
from .checkpoint import fit, read_checkpoint
from .checkpoint_files import is_checkpoint, split_part
from .fine_tuned import Activation
from .hub import cache_only, quiet, reachable
from .hugging_face import load_hugging_face
from .open_clip import Precision, is_tag, load_open_clip, seeded
from .origin import Origin
from .world import SHIPPED

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_HUGGING_FACE = "hf:"
_ALIGNED = "aligned:"


@names_wrong_arguments
def load(
    name: str,
    pretrained: str | Path | None = None,
    *,
    device: str | torch.device = "cpu",
    random_init: bool = False,
    seed: int = 0,
    precision: Precision | None = None,
    image_size: int | tuple[int, int] | None = None,
    checkpoint: str | Path | None = None,
    activation: Activation | None = None,
    ablation: str | Path | None = None,
    steer: Steer | None = None,
    sae: str | Path | Sequence[str | Path] | None = None,
    compile: bool | int = False,
) -> Model:
    """Load a CLIP by name, in evaluation mode.

    device: also "auto", a GPU where there is one.

    name: `scenes-vit`, `scenes-rn` or `scenes-vit-tied` (shipped), a name of `open_clip.list_models()`, an open_clip
    location `hf-hub:org/name` or `local-dir:path`, `aligned:folder` (what `summand align` saved), or `hf:org/name` and
    `hf:folder` for transformers' CLIP, SigLIP, MetaCLIP 2, Chinese CLIP and AltCLIP.
    pretrained: open_clip's tag, or a checkpoint file; QuickGELU follows the tag in both towers, and an explicit
    `-quickgelu` name is honoured. checkpoint: fine-tuned weights (.safetensors, .pt, .ckpt, .bin), read without
    unpickling; `file.ckpt#part` reads one part of a training checkpoint (`#ema`, `#student`). With a tag beside it, the
    tag says the activation and the preprocessing that were fine-tuned from, and its own weights are fetched only where
    the file holds one tower alone. activation: "gelu" or "quickgelu", which weights do not tell; asked for where there
    is no tag and the architecture was trained with both. Texts and images have the size that the weights were trained
    on. random_init=True builds the architecture with random weights drawn from `seed`; without
    it, no tag is an error, so that random weights never go unnoticed. precision: of the weights, where
    open_clip keeps the norms in fp32; σ, attention rows and sums are always fp32 or better. image_size: another input
    size than the tower was trained on, a multiple of its patch, with positions interpolated as open_clip does (for
    `hf:`, as transformers does): finer maps. ablation: a file of
    `summand debias`; its heads or neurons then always write their mean to the output, within the same one forward
    pass. steer: units whose effects are scaled or set, as in `Model.steer`. sae: sparse autoencoders of the
    stream, as in `Model.with_autoencoder` (`FOLDER@9` for one that does not say that it is of layer 9). compile: True,
    or a batch size: `Model.compile` for batches of one image, or of so many.

    Raises `SummandError` for an unknown name (nearest names given), a missing or unknown tag (tags listed), weights
    that cannot be had offline, and a checkpoint that does not fit, holds code, or does not say its activation.
    """
    precision = precision or "fp32"
    if precision not in _DTYPES:
        raise SummandError(f"precision must be one of {', '.join(_DTYPES)}; got {precision!r}")
    size = _checked_size(image_size)
    pretrained = str(pretrained) if pretrained else None
    if pretrained and not is_tag(name, pretrained) and is_checkpoint(pretrained):
        if checkpoint is not None:
            raise SummandError(f"two checkpoint files were given: {pretrained} and {checkpoint}")
        pretrained, checkpoint = None, pretrained
    if random_init and (pretrained or checkpoint):
        raise SummandError(f"random_init=True contradicts {pretrained or checkpoint!s}; leave one of them out")
    files = _files_of(sae)
    if activation is not None and (name in SHIPPED or name.startswith(_HUGGING_FACE)):
        raise SummandError(f"{name} says its activation itself; leave out activation={activation!r}")
    if name in SHIPPED:
        made = _load_shipped(name, pretrained, random_init, seed, precision, size, checkpoint)
    elif name.startswith(_ALIGNED):
        _check_alone(name, pretrained, checkpoint, random_init, image_size=size, activation=activation)
        made = load_aligned(name.removeprefix(_ALIGNED), load)
        made = (made[0].to(_DTYPES[precision]), *made[1:])
    elif name.startswith(_HUGGING_FACE):
        made = _load_hugging_face(name, pretrained, random_init, precision, size, checkpoint)
    else:
        made = load_open_clip(
            name, pretrained, random_init, seed, precision, size, checkpoint, tuple(SHIPPED), activation
        )
    clip, preprocess, tokenizer = made
    label = "/".join([name, *([pretrained] if pretrained else []), *([_short(checkpoint)] if checkpoint else [])])
    try:
        clip = clip.to(_device(device))
    except (RuntimeError, AssertionError) as error:
        raise SummandError(f"{name} cannot be put on {device}: {first_line(error)}") from error
    model = wrap(clip, preprocess=preprocess, tokenizer=tokenizer, name=label)
    of_folder = name.startswith(_ALIGNED) and random_vision(name.removeprefix(_ALIGNED))
    model.random_weights = random_init or of_folder
    for file in files:
        model = _with_one_more(model, *at_layer(file))
    model = model if ablation is None else load_ablation(ablation).apply(model)
    model = model if steer is None else model.steer(steer)
    steered = None if steer is None else steer_text(steer)
    if steer is None or steered is not None:  # what is set, not scaled, no file of a survey can say
        model.origin = Origin.of(
            name,
            pretrained,
            **{"checkpoint": checkpoint, "ablation": ablation, "random_init": random_init, "seed": seed},
            **{"precision": precision, "image_size": size, "activation": activation, "steer": steered},
            sae=tuple(files),
        )
    return model.compile(batch_size=int(compile)) if compile else model


def _files_of(sae: Any) -> list[str]:
    """What `sae` names. Raises `SummandError` for anything that names no file."""
    if sae is None or isinstance(sae, (str, Path)):
        return split(str(sae or ""))
    if not isinstance(sae, (list, tuple)) or not all(isinstance(each, (str, Path)) for each in sae):
        raise SummandError(
            f"sae is the path of a sparse autoencoder, or a list of paths; got {sae!r:.80}. One that is at hand "
            f"is added by model.with_autoencoder(…)"
        )
    return split(map(str, sae))


def _with_one_more(model: Model, file: str, layer: int | None) -> Model:
    """Raises `SummandError` for a second autoencoder of a layer."""
    found = model.with_autoencoder(file, layer)
    added = next(at for at, one in found.autoencoders.items() if model.autoencoders.get(at) is not one)
    if added in model.autoencoders:
        raise SummandError(
            f"sae names two autoencoders of layer {added}, the second of them {file}; the latents of a layer are those "
            f"of one: leave one of them out"
        )
    return found


def _device(device: str | torch.device) -> str | torch.device:
    """`auto` is cuda or mps where there is one, else cpu."""
    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _short(checkpoint: str | Path) -> str:
    file, part = split_part(checkpoint)
    return f"{file.stem}#{part}" if part else file.stem


def _load_shipped(
    name: str,
    pretrained: str | None,
    random_init: bool,
    seed: int,
    precision: Precision,
    size: int | tuple[int, int] | None,
    checkpoint: str | Path | None,
) -> tuple[nn.Module, Any, Any]:
    if pretrained is not None:
        raise SummandError(f"{name} ships with its one set of weights; leave out pretrained={pretrained!r}")
    if size is not None:
        raise SummandError(f"{name} reads pictures of one size; leave out image_size={size}")
    shipped = SHIPPED[name]
    if random_init or checkpoint is not None:
        with seeded(seed):
            clip = shipped.build()
        if checkpoint is not None:
            fit(clip, read_checkpoint(checkpoint), lambda: shipped.trained().state_dict())
    else:
        clip = shipped.trained()
    return clip.to(_DTYPES[precision]).eval(), shipped.preprocess(), shipped.tokenizer()


def _check_alone(name: str, pretrained: Any, checkpoint: Any, random_init: bool, **others: Any) -> None:
    given = {"pretrained": pretrained, "checkpoint": checkpoint, "random_init": random_init, **others}
    for option, value in given.items():
        if value:
            raise SummandError(f"{name} comes with its own weights; leave out {option}={value!r}")


def _load_hugging_face(
    name: str,
    pretrained: str | None,
    random_init: bool,
    precision: Precision,
    size: int | tuple[int, int] | None,
    checkpoint: str | Path | None,
) -> tuple[nn.Module, Any, Any]:
    _check_alone(name, pretrained, checkpoint, random_init)
    source = name.removeprefix(_HUGGING_FACE)
    local = Path(source).expanduser().is_dir()
    with quiet(), cache_only(local or not reachable()):
        return load_hugging_face(source, _DTYPES[precision], size)


def _checked_size(size: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
    sides = size if isinstance(size, tuple) else (size,)
    if size is not None and (len(sides) not in (1, 2) or any(not isinstance(side, int) or side < 1 for side in sides)):
        raise SummandError(f"image_size must be a positive number of pixels or (height, width), got {size!r}")
    return size


def catalogue() -> list[dict[str, Any]]:
    """Every name that `load` knows, what its image tower is a sum of, and whether the sum is exact.

    Rows: model, tower, terms, exact, reason (None where exact), tags (number of sets of weights).
    """
    import open_clip

    rows = [{**describe_configuration(shipped.alike), "model": name, "tags": 1} for name, shipped in SHIPPED.items()]
    for name in open_clip.list_models():
        tags = len(open_clip.list_pretrained_tags_by_model(name))
        rows.append({**describe_configuration(name), "tags": tags})
    return rows
