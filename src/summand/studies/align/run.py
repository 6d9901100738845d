"""Any vision transformer in words: its pooled output mapped into the space of a CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ...data.loader import fitting, loaded
from ...errors import SummandError
from ...models import Model
from ...models.aligned import AlignedTower, Fit, Vision, aligned_clip, fit, headless, needed
from ...models.aligned.saved import dressed
from ...models.prepared import Prepared
from ...progress import Progress
from ..given import images_of
from ..verb import verb
from ..zeroshot import attribute_classes, classifier, named_classes, predict, read_names, read_templates
from .options import AlignOptions, read_settings
from .result import Alignment


@verb(AlignOptions)
def align(
    vision: nn.Module | str,
    clip: Model,
    images: Any,
    *,
    options: AlignOptions,
    batch_size: int = 64,
    count: int | None = None,
) -> Model:
    r"""M'(x) = f(x) W + b: f the pooled output of a timm transformer, W and b fitted so that M' is near the CLIP's M.

    vision: a timm model, or the name of one; a classifier on it is left out, and the model is not changed. images:
    unlabelled, in any form. The model that comes back is one like any other, in the CLIP's words: decompose, survey,
    label, heatmap, compare; its sum is exact, for W is one more linear map behind its heads and MLPs, and b is in the
    bias term. `.alignment` says what the map is worth on images that were held out; `.alignment.save(folder)` keeps
    the model for `summand.load("aligned:FOLDER")`.

    W is exact for the one linear map; Balasubramanian et al. (NeurIPS 2024) fit a map for every component, by gradient.
    Raises `SummandError` for a network that cannot be read as a sum, and for too few images (and says how many).
    """
    spec = None
    if isinstance(vision, str):
        spec = Vision(vision, read_settings(options.vision_settings), options.weights, options.random_vision)
        vision = spec.build()
    elif options.weights or options.vision_settings or options.random_vision:
        raise SummandError("weights, vision_settings and random_vision go with the name of a timm model")
    given, trunk = images_of(images, count), headless(vision)
    if len(given.source) < needed(trunk.num_features):
        fit(torch.zeros(len(given.source), trunk.num_features), torch.zeros(len(given.source), 1))  # says so
    tower = AlignedTower(trunk, trunk.num_features, clip.tower.embed).to(clip.device).eval()
    preprocess = dressed(tower, trunk, clip, options.pixels)
    name = f"{spec.name if spec else type(vision).__name__} in the words of {clip.name}"
    made = Model(aligned_clip(clip.clip, tower), preprocess, clip._tokenizer, name, world=clip.world)
    same = options.pixels == "clip"
    features, targets = _embeddings(made, trunk, clip, given.source, batch_size, same)
    fitted = fit(features, targets)
    tower.put(fitted.weight.to(clip.device), fitted.bias.to(clip.device))
    answers = _agreements(fitted, features, targets, _classes(clip, options.classes))
    made = Model(made.clip, preprocess, clip._tokenizer, name, world=clip.world)
    made.random_weights = options.random_vision
    made.alignment = Alignment.of(*(fitted, answers, options, spec, tower, clip), data=given.source.label, name=name)
    return made


@dataclass(frozen=True)
class _Both:
    """Pixels for two models, side by side in one row an image: every picture is read once. Pixels that were made
    already are passed on, once."""

    one: Prepared
    other: Prepared

    def __call__(self, images: Any) -> Float[Tensor, "image number"]:
        if isinstance(images, Tensor):
            return images.flatten(1)
        return torch.cat([self.one(images).flatten(1), self.other(images).flatten(1)], dim=1)


@torch.no_grad()
def _embeddings(
    made: Model, trunk: Any, clip: Model, source: Any, batch_size: int, same: bool
) -> tuple[Float[Tensor, "image width"], Float[Tensor, "image embed"]]:
    """f(x) and M(x) of all images that can be read. Two models see every picture, each prepared in its own way, so this
    is no pass of a survey. same: whether both read the same pixels."""
    plan = np.array_split(np.arange(len(source)), max(1, -(-len(source) // batch_size)))
    both = _Both(Prepared(made.preprocess, None), Prepared(clip.preprocess, None))
    sizes = [(3, *model.tower.image_size) for model in (made, clip)]
    features, targets = [], []
    with Progress("embedding by both models", len(source)) as bar:
        for batch in loaded(source, plan, both, count=fitting(source, len(source), clip.device.type)):
            if batch.pixels is not None:
                own, other = _parted(batch.pixels.to(clip.device), [int(np.prod(size)) for size in sizes], same)
                features.append(trunk(own.reshape(-1, *sizes[0]).to(made.dtype)).float().cpu())
                targets.append(clip.encode_image(other.reshape(-1, *sizes[1]).to(clip.dtype)).float().cpu())
            bar.update(len(batch.indices) + len(batch.skipped))
    if not features:
        raise SummandError("none of the images could be read")
    return torch.cat(features), torch.cat(targets)


def _parted(
    given: Float[Tensor, "image number"], numbers: Sequence[int], same: bool
) -> tuple[Float[Tensor, "image one"], Float[Tensor, "image other"]]:
    """The pixels of either model. Raises `SummandError` for such as were made for one of them alone."""
    if given.shape[1] == sum(numbers):
        one, other = given.split(list(numbers), dim=1)
        return one, other
    if same and given.shape[1] == numbers[0]:
        return given, given
    remedy = f"{numbers[0]:,} numbers an image, which both read" if same else "say pixels='clip' where both read such"
    raise SummandError(
        f"these images are tensors of {given.shape[1]:,} numbers, made by one preprocessing, and two models read "
        f"them; give pictures (paths, PIL images, uint8 arrays), or {remedy}"
    )


def _agreements(fitted: Fit, features: Tensor, targets: Tensor, asked: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    """Of every set of classes, how often both give one zero-shot answer for images that were held out, and the share of
    the commonest one."""
    some = list(fitted.reported)
    mapped = features[some] @ fitted.weight.cpu() + fitted.bias.cpu()
    rows = []
    for name, weights in asked.items():
        mine, own = (predict(each, weights.cpu()) for each in (mapped, targets[some]))
        same, most = float((mine == own).float().mean()), float(own.bincount().max()) / len(some)
        rows.append({"classes": name, "agreement": same, "chance": most})
    return rows


def _classes(clip: Model, asked: str | Sequence[str] | None) -> dict[str, Float[Tensor, "class embed"]]:
    """Name → the classifiers that are compared: the one asked for, else those of all attributes of the CLIP's world,
    its main one first, else texts of its pool."""
    world = clip.world
    if asked is None and world.attributes:
        main = world.main_attribute
        names = sorted(world.attributes, key=lambda name: name != main)
        return {name: classifier(clip, attribute_classes(world, name)) for name in names}
    if asked is None:
        return {f"texts of {world.pool}": F.normalize(clip.encode_text(world.contrast()), dim=1)}
    if isinstance(asked, str) and asked in world.attributes:
        return {asked: classifier(clip, attribute_classes(world, asked))}
    names = read_names(asked)
    return {f"{len(names):,} names": classifier(clip, named_classes(names, read_templates(None, clip)))}
