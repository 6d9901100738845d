"""What weights do not say about the model they are of: its activation, and how its pixels are normalised."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

from ..errors import SummandError, SummandWarning, listed
from .checkpoint import Checkpoint

Activation = Literal["gelu", "quickgelu"]
_QUICK = "-quickgelu"
_LOOK = ("mean", "std", "interpolation", "resize_mode")


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


def check_activation(name: str, pretrained: str | None, activation: str | None, own_weights: bool) -> None:
    """Raise `SummandError` for an activation that is none, or not that of a tag's own weights or of the name."""
    if activation is None:
        return
    if activation not in get_args(Activation):
        raise SummandError(f"activation must be gelu or quickgelu, got {activation!r}")
    if activation == "gelu" and name.endswith(_QUICK):
        raise SummandError(f"activation='gelu' contradicts {name}; the same with GELU is {name.removesuffix(_QUICK)}")
    if own_weights and pretrained and quick_gelu(name, pretrained) != (activation == "quickgelu"):
        right = "quickgelu" if activation == "gelu" else "gelu"
        raise SummandError(
            f"activation={activation!r} contradicts the tag {pretrained} of {name}, which was trained with {right}; "
            f"leave it out"
        )


def activation_of(name: str, pretrained: str | None, state: Checkpoint | None, asked: str | None) -> bool | None:
    """Whether a model of `open_clip.list_models()` computes QuickGELU: as asked for, else by the tag, else by the
    layout of OpenAI's own release, else as all weights of this architecture. None where a file's may be of both kinds:
    GELU and QuickGELU have the same weights by name and shape (`undecided` is then to be raised).
    """
    if asked is not None:
        return asked == "quickgelu"
    quick = quick_gelu(name, pretrained)
    if state is None or quick:
        return quick
    if state.openai:
        if pretrained:
            raise SummandError(
                f"{state.source} is in the layout of OpenAI's release, which computes QuickGELU, and the tag "
                f"{pretrained} says GELU; give pretrained='openai', or activation='gelu' (--activation gelu) on purpose"
            )
        return True
    return None if not pretrained and _may_be_quick(name) else False


def _may_be_quick(name: str) -> bool:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    return name + _QUICK in open_clip.list_models() or any(quick_gelu(name, tag) for tag in tags)


def undecided(name: str, source: str) -> SummandError:
    """Asks for the activation: the wrong one would explain another model than the one that was trained."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    quick = [tag for tag in tags if quick_gelu(name, tag)]
    plain = [tag for tag in tags if tag not in quick]
    some = "; ".join(f"{what}: {listed(of, most=3)}" for what, of in (("QuickGELU", quick), ("GELU", plain)) if of)
    return SummandError(
        f"{source} does not say whether its {name} computes GELU or QuickGELU, and its weights fit both. Name the tag "
        f"that it was fine-tuned from beside the file: pretrained=TAG, checkpoint={source!r} (--pretrained TAG "
        f"--checkpoint {source}{f'; {some}' if some else ''}); or say activation='gelu' or 'quickgelu' (--activation)"
    )


def preprocessing_of(name: str, pretrained: str | None, state: Checkpoint | None) -> dict[str, Any]:
    """How pixels are resized and normalised: as the tag says, else as all tags of the architecture agree to.

    Warns where they do not agree and no tag is given; open_clip's default is then used, which is OpenAI's.
    """
    import open_clip

    tags = [pretrained] if pretrained else open_clip.list_pretrained_tags_by_model(name)
    looks = [{key: open_clip.get_pretrained_cfg(name, tag)[key] for key in _LOOK} for tag in tags]
    if looks and all(look == looks[0] for look in looks):
        return {"force_preprocess_cfg": looks[0]}
    if looks and state is not None:
        warnings.warn(
            f"{state.source} does not say how its pixels are normalised, and the weights of {name} differ in that: "
            f"those of OpenAI are taken. Name the tag that it was fine-tuned from beside the file: pretrained=TAG "
            f"(--pretrained TAG)",
            SummandWarning,
            stacklevel=2,
        )
    return {}
