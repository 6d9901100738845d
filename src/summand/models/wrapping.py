"""Models that the caller already holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from ..arguments import names_wrong_arguments
from ..errors import SummandError, listed
from ..towers import tower_of
from ..towers.finite import empty_projections
from .adapters import unwrapped
from .model import Model
from .preprocessing import as_preprocess
from .tokens import as_tokenizer
from .world import World, check_world


@names_wrong_arguments
def wrap(
    clip: nn.Module,
    *,
    preprocess: Callable[..., Any] | None = None,
    tokenizer: Callable[..., Any] | None = None,
    name: str | None = None,
    prefix: int | None = None,
    world: World | str | None = None,
) -> Model:
    """A model that the caller already holds, fine-tuned or not. It is neither copied nor changed.

    preprocess and tokenizer are asked for only by what uses them; processors and tokenizers of transformers are taken
    as they are. world: which pool, templates and pictures fit the model, a `World` or the name of one; by default the
    tokenizer says it (the scenes' own), else it is the general one. prefix: how many tokens stand before the patches,
    where a tower of the caller's own has more than its class says (registers). Wrappers that add nothing
    (DataParallel, torch.compile, peft) are looked through. Raises `SummandError` for an image tower that cannot be
    taken apart.
    """
    known = None if world is None else check_world(world)
    inner = unwrapped(clip)
    if empty := empty_projections(inner):
        raise SummandError(
            f"{name or type(inner).__name__} holds nothing but zeros in {listed(empty)}, the projection to its "
            f"embeddings, so that all of them are alike: it was never filled, or pruned; load the weights it was "
            f"trained to"
        )
    preprocess = as_preprocess(preprocess, lambda: tower_of(inner, prefix).image_size)
    tokenizer = as_tokenizer(tokenizer, inner)
    return Model(inner, preprocess, tokenizer, name or type(inner).__name__, prefix=prefix, world=known)
