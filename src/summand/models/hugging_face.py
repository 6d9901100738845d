"""Models in the layout of transformers, by `hf:org/name` or `hf:folder` (extra `hf`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import SummandError, first_line
from ..towers import tower_of
from ..towers.hf import KINDS as TOWERS
from ..towers.hf import resize_positions
from ..towers.hf_names import why_not, why_not_type
from ..towers.layout import check_multiple, pair
from .preprocessing import HuggingFacePreprocess
from .tokens import MissingTokenizer, NoTexts, hugging_face_tokenizer

KINDS = {
    "clip": "CLIPModel",
    "clip_vision_model": "CLIPVisionModelWithProjection",
    "metaclip_2": "MetaClip2Model",
    "metaclip_2_vision_model": "MetaClip2VisionModelWithProjection",
    "chinese_clip": "ChineseCLIPModel",
    "altclip": "AltCLIPModel",
    "siglip": "SiglipModel",
    "siglip_vision_model": "SiglipVisionModel",
    "siglip2": "Siglip2Model",
    "siglip2_vision_model": "Siglip2VisionModel",
}
"""The class that is made of each model_type: the one with the projection where there are two."""


def load_hugging_face(
    source: str, precision: torch.dtype, size: int | tuple[int, int] | None = None
) -> tuple[nn.Module, Any, Callable[..., Any]]:
    """Model, preprocessing and tokenizer of a CLIP or SigLIP; weights from safetensors only.

    size: another size of the images than the model was trained on, its positions interpolated as transformers does it.
    Raises `SummandError` where transformers is not installed, the model is of another kind, or its files cannot be had.
    """
    try:
        import transformers
    except ImportError as error:
        raise SummandError("hf: models need transformers; install it with: pip install 'summand-clip[hf]'") from error
    where = _place(source)
    try:
        config = transformers.AutoConfig.from_pretrained(where)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SummandError(f"could not load hf:{source}: {first_line(error)}") from error
    kind = _kind(source, config)
    vision_config = getattr(config, "vision_config", config)
    if size is not None and pair(size) != pair(getattr(vision_config, "image_size", 0)):
        check_multiple(size, pair(vision_config.patch_size), f"hf:{source}")
    for settings in (config, vision_config, getattr(config, "text_config", config)):
        settings.return_dict = True
    with _no_bars(transformers):
        clip = _weights(transformers, source, where, kind, config).float()
    if size is not None:
        resize_positions(clip, pair(size))
    clip = clip.to(precision).eval()
    preprocess = _preprocess(transformers, where, tower_of(clip).image_size)
    return clip, preprocess, _tokenizer(transformers, where, config)


@contextmanager
def _no_bars(transformers: Any) -> Iterator[None]:
    """Without transformers' progress bars, which would come between the lines of a command."""
    logging = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _place(source: str) -> str:
    """The folder, or the name on the hub."""
    path = Path(source).expanduser()
    if not source.strip():
        raise SummandError("hf: needs a folder or a name behind it, as hf:openai/clip-vit-base-patch32")
    if path.is_dir():
        if not (path / "config.json").is_file() and (path / "open_clip_config.json").is_file():
            raise SummandError(f"{path} is a folder of open_clip, not of transformers; load it as local-dir:{source}")
        return str(path)
    if source.count("/") != 1 or source.startswith((".", "/", "~")):
        raise SummandError(
            f"hf:{source} is neither a folder nor a name of the form org/name (models of open_clip, as ViT-B-32, go "
            f"without hf:)"
        )
    return source


def _kind(source: str, config: Any) -> str:
    """The class to make. Raises `SummandError` for a configuration of another kind of model."""
    saved_as = (getattr(config, "architectures", None) or [""])[0]
    reason = None if saved_as in TOWERS else why_not(saved_as)
    if config.model_type not in KINDS or reason is not None:
        reason = reason or why_not_type(config.model_type)
        what = f"{saved_as} ({config.model_type})" if saved_as else config.model_type
        reason = f": {reason}" if reason else ""
        raise SummandError(f"hf:{source} is a {what} model{reason}; supported are {', '.join(KINDS)}")
    return KINDS[config.model_type]


def _weights(transformers: Any, source: str, where: str, kind: str, config: Any) -> nn.Module:
    maker = getattr(transformers, kind, None)
    if maker is None:
        raise SummandError(f"hf:{source} needs a newer transformers: {transformers.__version__} has no {kind}")
    try:
        clip, said = maker.from_pretrained(where, config=config, use_safetensors=True, output_loading_info=True)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise SummandError(
            f"could not load the weights of hf:{source}: {first_line(error)} (only safetensors are read)"
        ) from error
    if random := sorted(said["missing_keys"]):
        raise SummandError(f"{len(random)} weights of hf:{source} are missing and would be random: {random[0]}, …")
    return clip


def _tokenizer(transformers: Any, where: str, config: Any) -> Callable[..., Any]:
    text_config = getattr(config, "text_config", None)
    if text_config is None:
        return NoTexts(f"{where} holds an image tower without a text tower; load the whole model for texts")
    try:
        found = transformers.AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError, KeyError, ImportError, TypeError) as error:
        return MissingTokenizer(first_line(error))
    known, expected = len(found), text_config.vocab_size
    if 2 * known < expected:  # transformers makes an empty tokenizer where the files are missing
        return MissingTokenizer(f"its files are missing or of another model ({known} tokens for {expected})")
    return hugging_face_tokenizer(found, text_config)


def _preprocess(transformers: Any, where: str, size: tuple[int, int]) -> HuggingFacePreprocess | None:
    try:
        return HuggingFacePreprocess(transformers.AutoImageProcessor.from_pretrained(where), size)
    except (OSError, ValueError, KeyError, ImportError, AttributeError):
        return None
