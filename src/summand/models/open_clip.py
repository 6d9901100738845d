"""Models of open_clip by name: which weights and activation a tag means, offline or not, and why one cannot be had."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from ..errors import SummandError, SummandWarning, first_line, listed
from ..towers import describe_configuration, tower_of
from ..towers.catalogue import patch_of
from ..towers.layout import check_multiple, covered, pair, patch_size
from .checkpoint import Checkpoint, fit, read_checkpoint, trained_size
from .fine_tuned import Activation, activation_of, check_activation, preprocessing_of, undecided
from .fine_tuned import quick_gelu as quick_gelu
from .hub import cache_only, offline_by_wish, quiet, reachable
from .names import hint_of_tag, unknown_model
from .open_clip_files import own_weights_of
from .open_clip_tokenizers import tokenizer_of

Precision = Literal["fp32", "bf16", "fp16"]
_REMOTE = ("hf-hub:", "local-dir:")
_FAILURES = (OSError, RuntimeError, ValueError, KeyError, ImportError, AttributeError, TypeError)


def load_open_clip(
    name: str,
    pretrained: str | None,
    random_init: bool,
    seed: int,
    precision: Precision,
    size: int | tuple[int, int] | None,
    checkpoint: str | Path | None,
    others: Sequence[str] = (),
    activation: Activation | None = None,
) -> tuple[nn.Module, Any, Any]:
    """Model, preprocessing and tokenizer; others: names besides open_clip's, to suggest."""
    import open_clip
    from open_clip.transform import PreprocessCfg, image_transform_v2

    remote = name.startswith(_REMOTE)
    if not remote and name not in open_clip.list_models():
        raise SummandError(unknown_model(name, others))
    if not remote:
        _check_tower(name, size)
    if remote and pretrained is not None:
        raise SummandError(f"{name} comes with its own weights; leave out pretrained={pretrained!r}")
    if not remote and not random_init and (pretrained or checkpoint is None):
        _check_tag(name, pretrained)
    state = read_checkpoint(checkpoint) if checkpoint is not None else None
    if state is None and remote and not random_init:
        state = own_weights_of(name, _stay_offline(name, None))
    check_activation(name, pretrained, activation, own_weights=checkpoint is None and not random_init)
    own_weights = not random_init and state is None
    settings = _settings(name, pretrained, state, activation, remote)

    def build(size: Any, load: bool, precision: Precision = precision) -> Any:
        try:
            with quiet(), cache_only(_stay_offline(name, pretrained if load else None)), seeded(seed):
                return open_clip.create_model(
                    name,
                    pretrained=pretrained if load else None,
                    load_weights=load,
                    require_pretrained=load,
                    pretrained_text=False,
                    precision=precision,
                    force_image_size=size,
                    **settings,
                )
        except NotImplementedError:
            raise
        except _FAILURES as error:
            raise SummandError(_why(name, pretrained, size, error)) from error

    clip = _built(build, name, size, own_weights)
    if remote and size is not None:
        tower = tower_of(clip)
        if covered(tower) != tower.image_size:
            check_multiple(size, patch_size(tower), name)
    if state is not None:
        clip = _of_its_size(build, name, size, clip, state)
        rest = (lambda: build(None, True, "fp32").state_dict()) if checkpoint and (pretrained or remote) else None
        fit(clip, state, rest, size)
        if settings.get("quick_gelu", False) is None:  # asked for last, of weights that fit
            raise undecided(name, state.source)
    with quiet(), cache_only(_stay_offline(name, pretrained if own_weights else None)):
        tokenizer = tokenizer_of(name, clip, state.context_length if state is not None else None)
    preprocess = image_transform_v2(PreprocessCfg(**clip.visual.preprocess_cfg), is_train=False)
    return clip.eval(), preprocess, tokenizer


def _settings(
    name: str, pretrained: str | None, state: Checkpoint | None, activation: Activation | None, remote: bool
) -> dict[str, Any]:
    """What the tag, the file and the caller say about a model beside its configuration."""
    settings: dict[str, Any] = {}
    if not remote:
        settings["quick_gelu"] = activation_of(name, pretrained, state, activation)
        if pretrained or state is not None:
            settings |= preprocessing_of(name, pretrained, state)
    elif activation is not None or (state is not None and state.openai):
        settings["quick_gelu"] = activation != "gelu"
    if state is not None and state.context_length is not None:
        settings["force_context_length"] = state.context_length
    if state is not None and "logit_bias" in state.tensors:
        settings["init_logit_bias"] = 0.0
    return settings


def _check_tower(name: str, size: int | tuple[int, int] | None) -> None:
    """Refuse at once, before weights are fetched, what could not be taken apart, or what would leave out pixels."""
    import open_clip

    row = describe_configuration(name)
    if not row["exact"]:
        raise SummandError(
            f"{name} cannot be taken apart: its image tower ({row['tower']}): {row['reason']} (`summand models` lists "
            f"those that can)"
        )
    own = (open_clip.get_model_config(name) or {})["vision_cfg"].get("image_size")
    if size is not None and (own is None or pair(size) != pair(own)):
        check_multiple(size, patch_of(name), name)


def _built(build: Callable[..., Any], name: str, size: Any, own_weights: bool) -> Any:
    try:
        return build(size, own_weights)
    except NotImplementedError:  # open_clip interpolates positions in the file's fp16, which a CPU cannot
        if size is None or not own_weights:
            raise
    whole, clip = build(None, True, "fp32"), build(size, False)
    fit(clip, Checkpoint(name, whole.state_dict()), size=size)
    return clip


def _of_its_size(build: Callable[..., Any], name: str, size: Any, clip: Any, state: Checkpoint) -> Any:
    """The model for the pixels that a file was trained on, unless another size is asked for."""
    trained = trained_size(clip, state) if size is None else None
    if trained is None:
        return clip
    warnings.warn(
        f"the image tower of {state.source} was trained on {trained} × {trained} pixels, not on {name}'s own size: it "
        f"is read at the size that it was trained on; image_size asks for another one",
        SummandWarning,
        stacklevel=2,
    )
    return build(trained, False)


def _stay_offline(name: str, pretrained: str | None) -> bool:
    """Whether to look into the cache alone: where nothing is to be fetched, or nothing can be."""
    import open_clip

    if name.startswith("local-dir:"):
        config = {}
    elif name.startswith("hf-hub:"):
        return not reachable()
    else:
        config = (open_clip.get_model_config(name) or {}).get("text_cfg") or {}
    needs_hub = pretrained or config.get("hf_model_name") or config.get("hf_tokenizer_name")
    return not needs_hub or not reachable()


def _why(name: str, pretrained: str | None, size: Any, error: BaseException) -> str:
    import open_clip

    said = f"its configuration lacks {error}" if isinstance(error, KeyError) else first_line(error)
    said = said.rstrip(".")
    if size is not None and "size mismatch" in str(error):
        return f"{name} cannot be read at image_size={size}: its positions cannot be interpolated"
    if name.startswith("local-dir:"):
        folder = Path(name.removeprefix("local-dir:"))
        if (folder / "config.json").is_file() and not (folder / "open_clip_config.json").is_file():
            return f"could not load {name}: it is a folder of transformers, not of open_clip; load it as hf:{folder}"
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


def is_tag(name: str, pretrained: str | None) -> bool:
    import open_clip

    return bool(pretrained) and open_clip.is_pretrained_cfg(name, pretrained)


def _check_tag(name: str, pretrained: str | None) -> None:
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    choice = listed(tags, most=20) if tags else "none; give a checkpoint file"
    if pretrained is None:
        raise SummandError(
            f"{name} needs a pretrained tag, else its weights would be random (tags: {choice}); "
            f"to explain random weights on purpose, say random_init=True"
        )
    if not is_tag(name, pretrained):
        missing = ", and there is no such file" if "/" in pretrained or Path(pretrained).suffix else ""
        raise SummandError(
            f"{name} has no pretrained tag {pretrained!r}{missing}{hint_of_tag(name, pretrained)} (tags: {choice})"
        )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
