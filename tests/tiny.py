"""A tiny CLIP, and folders as the hub and transformers lay them out, written from its random weights."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.border import open_clip
from tests.oracles import perturb

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONFIG: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "layers": 2, "width": 32, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
PREPROCESS = {
    "mean": [0.1, 0.2, 0.3],
    "std": [0.4, 0.5, 0.6],
    "interpolation": "bilinear",
    "resize_mode": "squash",
    "size": [32, 32],
}
WORDS = ["<pad>", "<s>", "<unk>", "a", "red", "blue", "star", "ring", "on", "the", "left", "</s>"]


def config(**changes: Any) -> dict[str, Any]:
    """CONFIG with changes: `vision` and `text` are merged, the rest replaces."""
    made = deepcopy(CONFIG)
    made["vision_cfg"].update(changes.pop("vision", {}))
    made["text_cfg"].update(changes.pop("text", {}))
    return {**made, **changes}


def clip(seed: int = 0, **changes: Any) -> Any:
    """A tiny CLIP with random weights, no bias or gain of which is trivial."""
    made = config(**changes)
    kind = open_clip.CustomTextCLIP if made.pop("custom_text", False) else open_clip.CLIP
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return perturb(kind(**made)).eval()


def write_folder(folder: Path, model: Any, preprocess: dict[str, Any] = PREPROCESS, **changes: Any) -> Path:
    """A model folder as open_clip's push_to_hf_hub writes it."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {"model_cfg": config(**changes), "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(made))
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / "open_clip_model.safetensors")
    return folder


def hub_snapshot(cache: Path, name: str, absent: tuple[str, ...] = ("config.json",)) -> Path:
    """The folder of a model's files in the hub's cache. absent: what the hub once said not to have."""
    home = cache / f"models--{name.replace('/', '--')}"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text(COMMIT)
    lacking = home / ".no_exist" / COMMIT
    lacking.mkdir(parents=True)
    for file in absent:
        (lacking / file).touch()
    return home / "snapshots" / COMMIT


def write_tokenizer(folder: Path, **settings: Any) -> None:
    """A word-level tokenizer in transformers' layout: <s> words </s>."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    raw.pre_tokenizer = Whitespace()
    raw.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 11)])
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>", **settings
    )
    made.save_pretrained(folder)
