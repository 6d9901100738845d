"""Models in the layout of transformers, by `hf:org/name` or `hf:folder` (extra `hf`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from .errors import SummandError, first_line
from .tokenizing import HuggingFaceTokenizer, MissingTokenizer

KINDS = ("clip", "siglip", "siglip2")


class HuggingFacePreprocess:
    """A PIL image → pixels [3, height, width], by the model's own image processor. mean, std: its normalisation."""

    def __init__(self, processor: Any) -> None:
        self.processor = processor
        self.mean, self.std = tuple(processor.image_mean), tuple(processor.image_std)

    def __call__(self, image: Image.Image) -> Float[Tensor, "3 height width"]:
        return torch.as_tensor(self.processor(images=image, return_tensors="pt")["pixel_values"][0])


def load_hugging_face(source: str, precision: torch.dtype) -> tuple[nn.Module, Any, Callable[..., Any]]:
    """Model, preprocessing and tokenizer of a CLIP or SigLIP; weights from safetensors only.

    Raises `SummandError` where transformers is not installed, the model is of another kind, or its files cannot be had.
    """
    try:
        import transformers
    except ImportError as error:
        raise SummandError("hf: models need transformers; install it with: pip install 'summand[hf]'") from error
    path = Path(source).expanduser()
    where = str(path) if path.is_dir() else source
    if not path.is_dir() and (source.count("/") != 1 or source.startswith((".", "/", "~"))):
        raise SummandError(f"hf:{source} is neither a folder nor a name of the form org/name")
    try:
        config = transformers.AutoConfig.from_pretrained(where)
    except (OSError, ValueError, KeyError) as error:
        raise SummandError(f"could not load hf:{source}: {first_line(error)}") from error
    if config.model_type not in KINDS:
        raise SummandError(f"hf:{source} is a {config.model_type} model; supported are {', '.join(KINDS)}")
    try:
        clip, said = transformers.AutoModel.from_pretrained(
            where, config=config, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise SummandError(
            f"could not load the weights of hf:{source}: {first_line(error)} (only safetensors are read)"
        ) from error
    if random := sorted(said["missing_keys"]):
        raise SummandError(f"{len(random)} weights of hf:{source} are missing and would be random: {random[0]}, …")
    tokenizer, preprocess = _tokenizer(transformers, where, config), _preprocess(transformers, where)
    return clip.to(precision).eval(), preprocess, tokenizer


def _tokenizer(transformers: Any, where: str, config: Any) -> Callable[..., Any]:
    try:
        found = transformers.AutoTokenizer.from_pretrained(where)
    except (OSError, ValueError, KeyError, ImportError, TypeError) as error:
        return MissingTokenizer(first_line(error))
    known, expected = len(found), config.text_config.vocab_size
    if 2 * known < expected:  # transformers makes an empty tokenizer where the files are missing
        return MissingTokenizer(f"its files are missing or of another model ({known} tokens for {expected})")
    return HuggingFaceTokenizer(found, config.text_config.max_position_embeddings)


def _preprocess(transformers: Any, where: str) -> HuggingFacePreprocess | None:
    try:
        return HuggingFacePreprocess(transformers.AutoImageProcessor.from_pretrained(where))
    except (OSError, ValueError, KeyError, ImportError, AttributeError):
        return None
