"""Loading by name: open_clip's models, the shipped ones, folders, the hub, and fine-tuned checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from .ablating import load_ablation
from .errors import SummandError, first_line, listed, nearest
from .hub import cache_only, offline_by_wish, quiet, reachable
from .huggingface import load_hugging_face
from .models import Model, wrap
from .scenes import pretrained as scenes_models
from .tokenizing import MissingTokenizer
from .towers import describe_configuration
from .weights import fit, read_checkpoint

Precision = Literal["fp32", "bf16", "fp16"]
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_REMOTE = ("hf-hub:", "local-dir:")
_HUGGING_FACE = "hf:"


def load(
    name: str,
    pretrained: str | None = None,
    *,
    device: str | torch.device = "cpu",
    random_init: bool = False,
    seed: int = 0,
    precision: Precision | None = None,
    image_size: int | tuple[int, int] | None = None,
    checkpoint: str | Path | None = None,
    ablation: str | Path | None = None,
) -> Model:
    """Load a CLIP by name, in evaluation mode.

    name: `scenes-vit`, `scenes-rn` or `scenes-vit-tied` (shipped), a name of `open_clip.list_models()`, an open_clip
    location `hf-hub:org/name` or `local-dir:path`, or `hf:org/name` and `hf:folder` for transformers' CLIP and SigLIP.
    pretrained: open_clip's tag, or a checkpoint file; QuickGELU follows the tag in both towers, and an explicit
    `-quickgelu` name is honoured. checkpoint: fine-tuned weights (.safetensors, .pt, .bin), read without unpickling;
    with a tag beside it, the tag says the activation and the preprocessing that were fine-tuned from, and its own
    weights are not fetched. random_init=True builds the architecture with random weights drawn from `seed`; without
    it, no tag is an error, so that random weights never go unnoticed. precision: of the weights, where
    open_clip keeps the norms in fp32; σ, attention rows and sums are always fp32 or better. image_size: another input
    size than the tower was trained on, with positions interpolated as open_clip does: finer maps. ablation: a file of
    `summand debias`; its heads or neurons then always write their mean to the output, within the same one forward
    pass.

    Raises `SummandError` for an unknown name (nearest names given), a missing or unknown tag (tags listed), weights
    that cannot be had offline, and a checkpoint that does not fit or holds code.
    """
    precision = precision or "fp32"
    if precision not in _DTYPES:
        raise SummandError(f"precision must be one of {', '.join(_DTYPES)}; got {precision!r}")
    size = _checked_size(image_size)
    file = Path(pretrained).expanduser() if pretrained else None
    if file is not None and file.is_file() and not _is_tag(name, pretrained):
        if checkpoint is not None:
            raise SummandError(f"two checkpoint files were given: {pretrained} and {checkpoint}")
        pretrained, checkpoint = None, file
    if random_init and (pretrained or checkpoint):
        raise SummandError(f"random_init=True contradicts {pretrained or checkpoint!s}; leave one of them out")
    if name in scenes_models.NAMES:
        made = _load_scenes(name, pretrained, random_init, seed, precision, size, checkpoint)
    elif name.startswith(_HUGGING_FACE):
        made = _load_hugging_face(name, pretrained, random_init, precision, size, checkpoint)
    else:
        made = _load_open_clip(name, pretrained, random_init, seed, precision, size, checkpoint)
    clip, preprocess, tokenizer = made
    label = "/".join([name, *([pretrained] if pretrained else []), *([Path(checkpoint).stem] if checkpoint else [])])
    try:
        clip = clip.to(device)
    except (RuntimeError, AssertionError) as error:
        raise SummandError(f"{name} cannot be put on {device}: {first_line(error)}") from error
    model = wrap(clip, preprocess=preprocess, tokenizer=tokenizer, name=label)
    model.random_weights = random_init
    return model if ablation is None else load_ablation(ablation).apply(model)


def quick_gelu(name: str, pretrained: str | None) -> bool:
    """Whether both towers of a model of `open_clip.list_models()` use QuickGELU with these weights.

    open_clip's tag says what the weights were trained with, but open_clip ≥ 3 only warns where its configuration
    disagrees, and then computes with the wrong activation. A configuration that says QuickGELU was trained so
    (`-quickgelu` names; roberta-ViT-B-32, whose tag leaves it out).
    """
    import open_clip

    config = open_clip.get_model_config(name) or {}
    tag = open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    return bool(config.get("quick_gelu") or tag.get("quick_gelu"))


def _load_scenes(
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
        raise SummandError(f"{name} reads scenes of one size; leave out image_size={size}")
    if random_init or checkpoint is not None:
        with _seeded(seed):
            clip = scenes_models.build(name)
        preprocess = scenes_models.ScenePreprocess(scenes_models.INPUT_SIZE[name])
        tokenizer = scenes_models.SceneTokenizer()
        if checkpoint is not None:
            fit(clip, read_checkpoint(checkpoint), Path(checkpoint).name)
    else:
        clip, preprocess, tokenizer = scenes_models.load(name)
    return clip.to(_DTYPES[precision]).eval(), preprocess, tokenizer


def _load_hugging_face(
    name: str,
    pretrained: str | None,
    random_init: bool,
    precision: Precision,
    size: int | tuple[int, int] | None,
    checkpoint: str | Path | None,
) -> tuple[nn.Module, Any, Any]:
    given = [("pretrained", pretrained), ("image_size", size), ("checkpoint", checkpoint), ("random_init", random_init)]
    for option, value in given:
        if value:
            raise SummandError(f"{name} comes with its own weights and size; leave out {option}={value!r}")
    source = name.removeprefix(_HUGGING_FACE)
    local = Path(source).expanduser().is_dir()
    with quiet(), cache_only(local or not reachable()):
        return load_hugging_face(source, _DTYPES[precision])


def _load_open_clip(
    name: str,
    pretrained: str | None,
    random_init: bool,
    seed: int,
    precision: Precision,
    size: int | tuple[int, int] | None,
    checkpoint: str | Path | None,
) -> tuple[nn.Module, Any, Any]:
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    remote = name.startswith(_REMOTE)
    if not remote and name not in open_clip.list_models():
        known = [*scenes_models.NAMES, *open_clip.list_models()]
        raise SummandError(
            f"unknown model {name!r}{nearest(name, known) or ', no similar name is known'} "
            f"(`summand models` lists all {len(known)})"
        )
    if remote and pretrained is not None:
        raise SummandError(f"{name} comes with its own weights; leave out pretrained={pretrained!r}")
    if not remote and not random_init and (pretrained or checkpoint is None):
        _check_tag(name, pretrained)
    state = read_checkpoint(checkpoint) if checkpoint is not None else None
    own_weights = not random_init and state is None
    tag = open_clip.get_pretrained_cfg(name, pretrained) if pretrained else {}
    settings: dict[str, Any] = {}
    if not own_weights and not remote and tag:
        settings["force_preprocess_cfg"] = {k: tag[k] for k in ("mean", "std", "interpolation", "resize_mode")}
    if not remote:
        settings["force_quick_gelu"] = quick_gelu(name, pretrained)
    try:
        with quiet(), cache_only(_stay_offline(name, pretrained if own_weights else None)), _seeded(seed):
            clip = open_clip.create_model(
                name,
                pretrained=pretrained if own_weights else None,
                load_weights=own_weights,
                require_pretrained=own_weights,
                pretrained_text=False,
                precision=precision,
                force_image_size=size,
                **settings,
            )
            tokenizer = _tokenizer(name)
    except (OSError, RuntimeError, ValueError, KeyError, ImportError, AttributeError, TypeError) as error:
        raise SummandError(_why(name, pretrained, size, error)) from error
    if state is not None:
        fit(clip, state, Path(str(checkpoint)).name)
    preprocess = image_transform_v2(PreprocessCfg(**clip.visual.preprocess_cfg), is_train=False)
    return clip.eval(), preprocess, tokenizer


def _tokenizer(name: str) -> Callable[..., Any]:
    import open_clip

    try:
        return open_clip.get_tokenizer(name)
    except (OSError, RuntimeError, ValueError, KeyError, ImportError, TypeError, AttributeError) as error:
        return MissingTokenizer(first_line(error))


def _stay_offline(name: str, pretrained: str | None) -> bool:
    """Whether to look into the cache alone: where nothing is to be fetched, or nothing can be."""
    import open_clip

    if name.startswith("local-dir:"):
        config = {}
    elif name.startswith("hf-hub:"):
        return not reachable()
    else:
        config = (open_clip.get_model_config(name) or {}).get("text_cfg", {})
    needs_hub = pretrained or config.get("hf_model_name") or config.get("hf_tokenizer_name")
    return not needs_hub or not reachable()


def _why(name: str, pretrained: str | None, size: Any, error: BaseException) -> str:
    import open_clip

    said = first_line(error)
    if size is not None and "size mismatch" in str(error):
        return f"{name} cannot be read at image_size={size}: its positions cannot be interpolated"
    if name.startswith("local-dir:"):
        return f"could not load {name}: {said}. The folder must hold open_clip_config.json and the weights beside it"
    weights = f"{name}, pretrained={pretrained!r}" if pretrained else name
    tags = open_clip.list_pretrained_tags_by_model(name)
    choice = f" Tags of {name}: {listed(tags)}" if tags else ""
    if _not_found(error):
        if offline_by_wish():
            return f"could not load {weights}: it is not in the cache, and HF_HUB_OFFLINE forbids to fetch it.{choice}"
        if not reachable():
            return (
                f"could not load {weights}: it is not in the cache, and the network cannot be reached. Weights are "
                f"fetched once; offline, give checkpoint=FILE, local-dir:PATH, or the shipped scenes-vit.{choice}"
            )
    return f"could not load {weights}: {said}.{choice}"


def _not_found(error: BaseException | None) -> bool:
    """Whether files were missing, rather than found and wrong. open_clip drops the types of the hub's errors."""
    phrases = ("Failed to download", "could not be loaded", "couldn't connect", "urlopen error", "offline mode")
    while error is not None:
        if isinstance(error, ConnectionError) or any(phrase in str(error) for phrase in phrases):
            return True
        error = error.__cause__ or error.__context__
    return False


def _is_tag(name: str, pretrained: str | None) -> bool:
    import open_clip

    return bool(pretrained) and open_clip.is_pretrained_cfg(name, pretrained)


def _check_tag(name: str, pretrained: str | None) -> None:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    choice = listed(tags, most=20) if tags else "none; give a checkpoint file"
    if pretrained is None:
        raise SummandError(
            f"{name} needs a pretrained tag, else its weights would be random (tags: {choice}); "
            f"to explain random weights on purpose, say random_init=True (--random-init)"
        )
    if not _is_tag(name, pretrained):
        missing = ", and there is no such file" if "/" in pretrained or Path(pretrained).suffix else ""
        raise SummandError(
            f"{name} has no pretrained tag {pretrained!r}{missing}{nearest(pretrained, tags)} (tags: {choice})"
        )


def _checked_size(size: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
    sides = size if isinstance(size, tuple) else (size,)
    if size is not None and (len(sides) not in (1, 2) or any(not isinstance(side, int) or side < 1 for side in sides)):
        raise SummandError(f"image_size must be a positive number of pixels or (height, width), got {size!r}")
    return size


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def catalogue() -> list[dict[str, Any]]:
    """Every name that `load` knows, what its image tower is a sum of, and whether the sum is exact.

    Rows: model, tower, terms, exact, reason (None where exact), tags (number of sets of weights).
    """
    import open_clip

    rows = [
        {**describe_configuration(alike), "model": name, "tags": 1}
        for name, alike in (("scenes-vit", "ViT-B-32"), ("scenes-rn", "RN50"), ("scenes-vit-tied", "ViT-B-32"))
    ]
    for name in open_clip.list_models():
        tags = len(open_clip.list_pretrained_tags_by_model(name))
        rows.append({**describe_configuration(name), "tags": tags})
    return rows
