"""The states of a model's image side and of its text side."""

from __future__ import annotations

from torch import nn

from .flat import as_long_as_below
from .marks import UNSEEN
from .sides import IMAGE_SIDE, TEXT_SIDE, only_of
from .state import State


def image_state(clip: nn.Module) -> State:
    """All that image embeddings depend on: the model without what belongs to its text side alone."""
    return _state(clip, IMAGE_SIDE, TEXT_SIDE)


def text_state(clip: nn.Module) -> State:
    """All that text embeddings depend on: the model without what belongs to its image side alone."""
    return _state(clip, TEXT_SIDE, IMAGE_SIDE)


def _state(clip: nn.Module, own: tuple[str, ...], other: tuple[str, ...]) -> State:
    def towers() -> list[nn.Module]:
        found = dict(clip.named_children())
        return [found[name] for name in own if name in found] or [clip]

    def unread() -> frozenset[str]:
        return _SCALES if _as_published(clip) else frozenset()

    core = State(towers, unseen=UNSEEN | {"_forward_hooks", "_forward_pre_hooks"})
    aside = as_long_as_below(clip, lambda: only_of(clip, other))
    return State(lambda: [clip], aside, unread=unread, core=core)


_SCALES = frozenset(("logit_scale", "logit_bias"))

_LIBRARIES = frozenset(("open_clip", "clip", "transformers"))

_ENTRIES = ("encode_image", "encode_text", "get_image_features", "get_text_features")


def _as_published(clip: nn.Module) -> bool:
    """Whether embeddings are made as the libraries write it, where the scale of the logits takes no part."""
    made = [getattr(type(clip), name) for name in _ENTRIES if hasattr(type(clip), name)]
    plain = all(function.__module__.partition(".")[0] in _LIBRARIES for function in made)
    return bool(made) and plain and not any(name in vars(clip) for name in _ENTRIES)
