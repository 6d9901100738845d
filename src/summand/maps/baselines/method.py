"""What a baseline is: a name, a source, where it applies, and its maps."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError, nearest
from ...models import Model
from ...towers.pool import MeanTokenPool, PoolTower
from ...towers.residual import ResidualTower

Applies = Callable[[Model], str | None]
Reads = int | Literal["pass"] | None


@dataclass(frozen=True)
class Method:
    """A way to draw a map of a text over an image.

    maps(model, pixels, directions, **options) → [image, text, row, column] for directions [text, embed], or [text,
    image, embed], where every image has texts of its own; on the grid of the tower's tokens, larger
    where the image says more of the text, not normalised; a map that does not depend on the text is repeated.
    applies(model): None, or why the method does not apply to the model's image tower. source: the paper. reads: what
    it takes from a `Capture`: gradients from a layer on, tensors alone ("pass"), or nothing (None).
    """

    name: str
    title: str
    source: str
    applies: Applies
    maps: Callable[..., Float[Tensor, "image text row column"]]
    reads: Reads = "pass"


METHODS: dict[str, Method] = {}


def method(
    name: str, title: str, source: str, applies: Applies = lambda _: None, reads: Reads = "pass"
) -> Callable[[Any], Any]:
    """Put a function of (model, pixels, directions, **options) into `METHODS`."""

    def register(maps: Callable[..., Tensor]) -> Callable[..., Tensor]:
        METHODS[name] = Method(name, title, source, applies, maps, reads)
        return maps

    return register


def baseline_maps(
    model: Model,
    pixels: Float[Tensor, "image 3 height width"],
    directions: Float[Tensor, "text *each embed"],
    method: str,
    **options: Any,
) -> Float[Tensor, "image text row column"]:
    """Maps of each text over each image by one of `METHODS`, on the grid of the tower's tokens.

    directions: class-text directions, already minus a contrast where that is wanted: the same for all images, or
    [text, image, embed]; their lengths do not matter to
    the shape of a map. options: those of the method; `shared=Capture(…)` serves several methods with one pass.

    Raises `SummandError` for an unknown method or option, a method that does not apply to the tower (with the reason),
    directions that do not fit the model or are zero or not finite, and pixels that `model.encode_image` refuses.
    """
    found = METHODS.get(method)
    if found is None:
        raise SummandError(f"unknown method {method!r}{nearest(method, METHODS)} (methods: {', '.join(METHODS)})")
    reason = found.applies(model)
    if reason is not None:
        raise SummandError(f"{found.title} does not apply to {model.name} ({model.tower.kind}): {reason}")
    known = [p.name for p in inspect.signature(found.maps).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise SummandError(f"{found.title} has no option {option!r} (options: {', '.join(known)})")
    return found.maps(model, pixels, checked(model, directions, len(pixels)), **options)


def by_image(directions: Float[Tensor, "text *each embed"], images: int) -> Float[Tensor, "text images embed"]:
    """Directions of every image, those that all share repeated without a copy."""
    return directions if directions.ndim == 3 else directions[:, None].expand(-1, images, -1)


def checked(model: Model, directions: Tensor, images: int) -> Float[Tensor, "text *each embed"]:
    """The directions on the model's device in working precision, or what is wrong with them."""
    embed = model.tower.embed
    if (
        not isinstance(directions, Tensor)
        or directions.ndim not in (2, 3)
        or directions.shape[-1] != embed
        or (directions.ndim == 3 and directions.shape[1] != images)
        or not len(directions)
    ):
        got = list(directions.shape) if isinstance(directions, Tensor) else type(directions).__name__
        raise SummandError(
            f"expected directions [text, {embed}] or [text, {images}, {embed}] with at least one text, got {got}"
        )
    if not torch.isfinite(directions).all():
        raise SummandError("the directions hold NaN or infinite numbers")
    if (directions.norm(dim=-1) == 0).any():
        raise SummandError("a direction is zero: is a text its own contrast?")
    precise = torch.float64 if model.dtype == torch.float64 else torch.float32
    return directions.detach().to(model.device, precise)


def attention_pool(model: Model) -> PoolTower | None:
    """The tower where it ends in an attention pool."""
    return model.tower if isinstance(model.tower, PoolTower) else None


def residual_only(what: str) -> Applies:
    """Applies to transformers whose output is a pooled stream."""

    def applies(model: Model) -> str | None:
        if isinstance(model.tower, ResidualTower):
            return None
        return f"{what}, and here all that is read is one attention pool"

    return applies


def class_token_blocks(what: str) -> Applies:
    """Applies to class-token transformers with plain pre-norm blocks."""

    def applies(model: Model) -> str | None:
        reason = residual_only(what)(model)
        if reason is not None:
            return reason
        tower = model.tower
        assert isinstance(tower, ResidualTower)
        if not tower.plain or tower.averaged:
            return f"{what}: plain pre-norm blocks and a class token, and this tower has something else"
        return None

    return applies


def token_queries(model: Model) -> str | None:
    """Applies where tokens ask as well as answer: not to a pool whose query is learned."""
    pool = attention_pool(model)
    if pool is None or isinstance(pool.pool, MeanTokenPool):
        return None
    return "its last attention is a pool with a learned query, so its tokens have no queries of their own"


def one_query(model: Model) -> str | None:
    """Applies where the output is read by one query."""
    tower = model.tower
    if isinstance(tower, ResidualTower):
        return "its output is a mean over tokens, so no single query reads it" if tower.averaged else None
    if isinstance(tower, PoolTower) and tower.pool.several:
        return "its pool averages several queries, so no single query reads the image"
    return None
