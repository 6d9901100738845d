"""Loading and wrapping: names, weights, QuickGELU, preprocessing, text encoding."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from .decomposition import Parity, Parts
from .errors import SummandError, nearest
from .scenes import pretrained as scenes_models
from .towers import Tower, describe_configuration, tower_of

_REMOTE = ("hf-hub:", "local-dir:")
_TEXT_BATCH = 256
_OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
_OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)


class Model:
    """A CLIP that can be taken apart. Made by `load` or `wrap`.

    clip: the wrapped model itself, never changed. name: what it was loaded as. random_weights: True where the weights
    are random and every explanation is of noise.
    """

    def __init__(
        self,
        clip: nn.Module,
        tower: Tower,
        preprocess: Callable[..., Any] | None,
        tokenizer: Callable[..., Any] | None,
        name: str,
        random_weights: bool,
    ) -> None:
        self.clip, self.tower, self.name, self.random_weights = clip, tower, name, random_weights
        self._preprocess, self._tokenizer = preprocess, tokenizer

    def __repr__(self) -> str:
        tower = self.tower
        weights = " with RANDOM weights" if self.random_weights else ""
        return (
            f"<summand.Model {self.name}{weights}: {tower.kind}, {tower.layers} × {tower.heads} heads, {tower.embed}-d>"
        )

    @property
    def device(self) -> torch.device:
        return next(self.clip.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return next(self.tower.visual.parameters()).dtype

    def preprocess(self, images: Image.Image | np.ndarray) -> Float[Tensor, "*image 3 height width"]:
        """A PIL image → [3, height, width]; a uint8 array [image, height, width, 3] → [image, 3, height, width]."""
        if self._preprocess is None:
            raise SummandError(
                f"{self.name} was wrapped without preprocessing; pass preprocess= to summand.wrap, or give pixels"
            )
        if isinstance(images, np.ndarray):
            if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8:
                raise SummandError(
                    "expected a PIL image or a uint8 array [image, height, width, 3], "
                    f"got {images.dtype} {list(images.shape)}"
                )
            if isinstance(self._preprocess, scenes_models.ScenePreprocess):
                return self._preprocess(images)
            return torch.stack([self._preprocess(Image.fromarray(image)) for image in images])
        if not isinstance(images, Image.Image):
            raise SummandError(f"expected a PIL image or a uint8 array, got {type(images).__name__}")
        return self._preprocess(images if images.mode == "RGB" else images.convert("RGB"))

    def picture(self, pixels: Float[Tensor, "image 3 height width"]) -> np.ndarray:
        """Preprocessed pixels back as the model sees them, uint8 [image, height, width, 3]."""
        if isinstance(self._preprocess, scenes_models.ScenePreprocess):
            mean, std = [scenes_models.MEAN] * 3, [scenes_models.STD] * 3
        else:
            visual = getattr(self.clip, "visual", None)
            mean = getattr(visual, "image_mean", None) or _OPENAI_MEAN
            std = getattr(visual, "image_std", None) or _OPENAI_STD
        shape = (1, 3, 1, 1)
        light = pixels.detach().float().cpu() * torch.tensor(std).reshape(shape) + torch.tensor(mean).reshape(shape)
        return (light.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()

    @torch.no_grad()
    def encode_image(self, x: Float[Tensor, "image channel height width"]) -> Float[Tensor, "image embed"]:
        """The wrapped model's own numbers, not normalised."""
        self._check_pixels(x)
        return self.tower.encode(x)

    @torch.no_grad()
    def encode_text(self, texts: str | Sequence[str], progress: bool = False) -> Float[Tensor, "text embed"]:
        """Unit-norm embeddings of texts, fp32 or better. progress: a bar on stderr for many texts."""
        if self._tokenizer is None:
            raise SummandError(f"{self.name} was wrapped without a tokenizer; pass tokenizer= to summand.wrap")
        texts = [texts] if isinstance(texts, str) else list(texts)
        if not texts:
            raise SummandError("expected at least one text, got an empty list")
        for text in texts:
            if not isinstance(text, str) or not text.strip():
                raise SummandError(f"a text must be a non-empty string, got {text!r}")
        rows = []
        bar = tqdm(total=len(texts), desc="texts", unit="text", file=sys.stderr, disable=not progress, leave=False)
        for start in range(0, len(texts), _TEXT_BATCH):
            tokens = self._tokenizer(texts[start : start + _TEXT_BATCH]).to(self.device)
            rows.append(self.clip.encode_text(tokens))
            bar.update(len(tokens))
        bar.close()
        found = torch.cat(rows)
        return F.normalize(found if found.dtype == torch.float64 else found.float(), dim=-1)

    def decompose(self, x: Float[Tensor, "image channel height width"], parity: Parity = None) -> Parts:
        """The terms whose sum is `encode_image(x)`. One forward pass, made when the first term is asked for.

        x: preprocessed pixels [image, 3, height, width] on the model's device. parity="paper": constants split evenly
        over the terms, as paper C's code does it (class-token transformers). Raises `SummandError` for a wrong
        shape, dtype or device, NaN or infinite pixels, an empty batch, or a model in training mode.
        """
        self._check_pixels(x)
        return Parts(self.tower, x, self.tower.encode, parity)

    def _check_pixels(self, x: Tensor) -> None:
        height, width = self.tower.image_size
        if not isinstance(x, Tensor) or x.ndim != 4 or tuple(x.shape[1:]) != (3, height, width):
            got = list(x.shape) if isinstance(x, Tensor) else type(x).__name__
            raise SummandError(
                f"{self.name} expects pixels [image, 3, {height}, {width}], got {got}; model.preprocess makes them"
            )
        if x.shape[0] == 0:
            raise SummandError("expected at least one image, got an empty batch")
        if x.dtype != self.dtype:
            raise SummandError(f"{self.name} computes in {self.dtype}, got pixels in {x.dtype}; call x.to(model.dtype)")
        if x.device != self.device:
            raise SummandError(
                f"{self.name} is on {self.device}, the pixels are on {x.device}; call x.to(model.device)"
            )
        if not torch.isfinite(x).all():
            raise SummandError("the pixels hold NaN or infinite numbers; check the images and the preprocessing")
        if self.tower.visual.training:
            raise SummandError(f"{self.name} is in training mode, where dropout changes every pass; call .eval() on it")


def wrap(
    clip: nn.Module,
    *,
    preprocess: Callable[..., Any] | None = None,
    tokenizer: Callable[..., Any] | None = None,
    name: str | None = None,
) -> Model:
    """A model that the caller already holds, fine-tuned or not. It is neither copied nor changed.

    preprocess and tokenizer are asked for only by what uses them. Raises `SummandError` for an image tower that
    cannot be taken apart.
    """
    return Model(clip, tower_of(clip), preprocess, tokenizer, name or type(clip).__name__, random_weights=False)


def load(
    name: str,
    pretrained: str | None = None,
    *,
    device: str | torch.device = "cpu",
    random_init: bool = False,
    seed: int = 0,
) -> Model:
    """Load a CLIP by name, in evaluation mode.

    name: `scenes-vit` or `scenes-rn` (shipped in the package), a name of `open_clip.list_models()`, or an open_clip
    location `hf-hub:org/name` or `local-dir:path`. pretrained: open_clip's tag, or a checkpoint file; QuickGELU
    follows the tag in both towers, and an explicit `-quickgelu` name is honoured. random_init=True builds the
    architecture with random weights drawn from `seed`; without it, no tag is an error, so that random weights never
    go unnoticed.

    Raises `SummandError` for an unknown name (nearest names given), a missing or unknown tag (tags listed), and
    weights that cannot be had offline.
    """
    if name in scenes_models.NAMES and not random_init:
        if pretrained is not None:
            raise SummandError(f"{name} ships with its one set of weights; leave out pretrained={pretrained!r}")
        clip, preprocess, tokenizer = scenes_models.load(name)
        model = wrap(clip.to(device), preprocess=preprocess, tokenizer=tokenizer, name=name)
        return model
    if name in scenes_models.NAMES:
        with _seeded(seed):
            clip = scenes_models.build(name).eval()
        made = clip, scenes_models.ScenePreprocess(scenes_models.INPUT_SIZE[name]), scenes_models.SceneTokenizer()
    else:
        made = _load_open_clip(name, pretrained, random_init, seed)
    clip, preprocess, tokenizer = made
    label = name if pretrained is None else f"{name}/{pretrained}"
    model = wrap(clip.to(device), preprocess=preprocess, tokenizer=tokenizer, name=label)
    model.random_weights = random_init
    return model


def _load_open_clip(name: str, pretrained: str | None, random_init: bool, seed: int) -> tuple[nn.Module, Any, Any]:
    import open_clip

    remote = name.startswith(_REMOTE)
    if not remote and name not in open_clip.list_models():
        known = [*scenes_models.NAMES, *open_clip.list_models()]
        raise SummandError(
            f"unknown model {name!r}{nearest(name, known) or ', no similar name is known'} "
            f"(`summand models` lists all {len(known)})"
        )
    if random_init and pretrained is not None:
        raise SummandError(f"random_init=True contradicts pretrained={pretrained!r}; leave one of them out")
    if not random_init and not remote:
        _check_tag(name, pretrained)
    quick = bool(pretrained and open_clip.get_pretrained_cfg(name, pretrained).get("quick_gelu"))
    try:
        with _seeded(seed), _quiet(random_init):
            clip, _, preprocess = open_clip.create_model_and_transforms(
                name,
                pretrained=pretrained,
                load_weights=not random_init,
                force_quick_gelu=quick,
            )
        tokenizer = open_clip.get_tokenizer(name)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise SummandError(
            f"could not load {name!r}, pretrained={pretrained!r}: {_first_line(error)}. Weights come from the network "
            f"once and then from the local cache; offline, give a checkpoint file, local-dir:PATH, or the shipped "
            f"scenes-vit. Tags of {name}: {tags}"
        ) from error
    return clip.eval(), preprocess, tokenizer


def _check_tag(name: str, pretrained: str | None) -> None:
    from pathlib import Path

    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    listed = ", ".join(tags) if tags else "none; give a checkpoint file"
    if pretrained is None:
        raise SummandError(
            f"{name} needs a pretrained tag, else its weights would be random (tags: {listed}); "
            f"to explain random weights on purpose, say random_init=True (--random-init)"
        )
    if pretrained not in tags and not Path(pretrained).is_file():
        raise SummandError(f"{name} has no pretrained tag {pretrained!r}{nearest(pretrained, tags)} (tags: {listed})")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def _quiet(silence: bool) -> Iterator[None]:
    """open_clip warns that no weights were loaded; where that was asked for, say nothing."""
    root = logging.getLogger()
    level = root.level
    try:
        if silence:
            root.setLevel(logging.ERROR)
        yield
    finally:
        root.setLevel(level)


def catalogue() -> list[dict[str, Any]]:
    """Every name that `load` knows, what its image tower is a sum of, and whether the sum is exact.

    Rows: model, tower, terms, exact, reason (None where exact), tags (number of sets of weights).
    """
    import open_clip

    rows = [
        {**describe_configuration(alike), "model": name, "tags": 1}
        for name, alike in (("scenes-vit", "ViT-B-32"), ("scenes-rn", "RN50"))
    ]
    for name in open_clip.list_models():
        tags = len(open_clip.list_pretrained_tags_by_model(name))
        rows.append({**describe_configuration(name), "tags": tags})
    return rows
