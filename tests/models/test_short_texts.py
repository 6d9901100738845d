"""Padding behind the token that is read out is left out where it says nothing, and nowhere else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import summand
from summand.models.short_texts import ShortTexts, short_texts
from tests.towers.test_text_towers import END, LENGTH, VOCABULARY, coca, hugging_face, open_clip_model

CAUSAL: dict[str, dict[str, Any]] = {
    "clip": {},
    "end token": {"pool_type": "eos", "eos_id": END, "custom_text": True},
    "custom": {"custom_text": True, "ls_init_value": 0.3},
    "linear projection": {"proj_bias": True, "custom_text": True},
    "no projection": {"proj_type": "none", "width": 16, "heads": 2, "custom_text": True},
}
OTHERS: dict[str, dict[str, Any]] = {
    "no mask, end token": {"no_causal_mask": True, "pool_type": "eos", "eos_id": END, "custom_text": True},
    "no mask, last token": {"no_causal_mask": True, "pool_type": "last", "custom_text": True},
    "last token": {"pool_type": "last", "custom_text": True},
    "first token": {"pool_type": "first", "custom_text": True},
}


def made(name: str) -> Any:
    if name.startswith("hf "):
        return hugging_face(name.removeprefix("hf "))
    if name == "coca":
        return coca()
    return open_clip_model(**{**CAUSAL, **OTHERS}[name])


def tokenizer(texts: list[str]) -> torch.Tensor:
    """Start, a token a letter, end, zeros."""
    ids = torch.zeros(len(texts), LENGTH, dtype=torch.long)
    for row, text in enumerate(texts):
        letters = [1 + (ord(letter) - ord("a")) % (END - 2) for letter in text]
        ids[row, : len(letters) + 2] = torch.tensor([END - 1, *letters, END])
    return ids


TEXTS = ["abcdefghijklmnop"[i % 7 :][: LENGTH - 2 if i % 10 == 0 else 1 + i % 3] for i in range(300)]


class Positions(TorchFunctionMode):
    """Counts the tokens that are embedded."""

    seen = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is F.embedding and len(args[1]) == VOCABULARY:
            self.seen += args[0].numel()
        return function(*args, **(kwargs or {}))


@torch.no_grad()
def own_of(clip: Any, ids: torch.Tensor) -> torch.Tensor:
    """What the model itself gives."""
    if not hasattr(clip, "get_text_features"):
        return clip.encode_text(ids, normalize=False)
    found = clip.get_text_features(input_ids=ids)
    return found if isinstance(found, torch.Tensor) else found.pooler_output


def encoded(clip: Any) -> tuple[torch.Tensor, torch.Tensor, int]:
    """By Summand and by the model itself, and how many tokens Summand had it read."""
    side = summand.wrap(clip, tokenizer=tokenizer)._texts
    with Positions() as counted:
        found = side.encode(TEXTS)
    return found, F.normalize(own_of(clip, tokenizer(TEXTS)), dim=-1), counted.seen


@pytest.mark.parametrize("name", [*CAUSAL, "hf clip", "hf clip, old end token"])
def test_texts_of_causal_towers_are_the_models_own_for_fewer_tokens(name):
    found, own, read = encoded(made(name))
    assert float((found - own).norm(dim=1).max()) <= 1e-12
    lengths = sorted(len(text) + 2 for text in TEXTS)
    assert sum(lengths) <= read
    assert read <= 256 * lengths[255] + 44 * lengths[-1] + 4 * LENGTH  # two batches, and two texts to compare
    assert read < 0.7 * LENGTH * len(TEXTS)


@pytest.mark.parametrize("name", [*OTHERS, "coca", "hf siglip"])
def test_towers_that_see_their_padding_are_left_alone(name):
    clip = made(name)
    assert short_texts(clip) is None
    found, own, read = encoded(clip)
    assert float((found - own).norm(dim=1).max()) <= 1e-12
    assert read == LENGTH * len(TEXTS)


def hooked(clip: Any) -> None:
    clip.transformer.resblocks[1].register_forward_hook(lambda module, args, out: out + out.mean(dim=1, keepdim=True))


def hooked_before(clip: Any) -> None:
    clip.transformer.register_forward_pre_hook(lambda module, args: (args[0] * args[0].shape[1], *args[1:]))


def own_forward(clip: Any) -> None:
    block = clip.transformer.resblocks[0]
    forward = block.forward
    block.forward = lambda x, **given: forward(x, **given) + x.mean(dim=1, keepdim=True)


def own_module(clip: Any) -> None:
    class Counting(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x.shape[1]

    clip.transformer.resblocks[0].ln_1 = torch.nn.Sequential(clip.transformer.resblocks[0].ln_1, Counting())


def seeing_ahead(clip: Any) -> None:
    clip.attn_mask = clip.attn_mask.clone()
    clip.attn_mask[3, 5] = 0


def no_mask(clip: Any) -> None:
    clip.attn_mask = None


def padding_mask(clip: Any) -> None:
    clip.use_pad_mask = True


def own_method(clip: Any) -> None:
    plain = clip.encode_text
    clip.encode_text = lambda ids, normalize=False: plain(ids, normalize=normalize) + ids.shape[1]


def own_class(clip: Any) -> None:
    class Own(type(clip)):
        def encode_text(self, text: torch.Tensor, normalize: bool = False) -> torch.Tensor:
            return super().encode_text(text, normalize) + text.shape[1]

    clip.__class__ = Own


def half(clip: Any) -> None:
    clip.bfloat16()


def adapted(clip: Any) -> None:
    peft = pytest.importorskip("peft")
    wanted = peft.LoraConfig(target_modules=["c_fc"], r=2, init_lora_weights=False)
    peft.inject_adapter_in_model(wanted, clip)


CHANGES = [
    hooked,
    hooked_before,
    own_forward,
    own_module,
    seeing_ahead,
    no_mask,
    padding_mask,
    own_method,
    own_class,
    half,
    adapted,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_may_count_tokens_is_given_all_of_them(change):
    clip = open_clip_model()
    assert short_texts(clip) is not None
    change(clip)
    assert short_texts(clip.eval()) is None
    found, own, read = encoded(clip)
    assert read == LENGTH * len(TEXTS)
    assert float((found - own).norm(dim=1).max()) <= (0.05 if change is half else 1e-12)


def test_hooks_of_the_whole_process_are_given_all_tokens():
    clip = open_clip_model()
    handle = torch.nn.modules.module.register_module_forward_pre_hook(lambda *_: None)
    try:
        assert short_texts(clip) is None
    finally:
        handle.remove()
    assert short_texts(clip) is not None


def test_a_way_that_gives_other_numbers_is_not_taken(monkeypatch):
    clip = open_clip_model()
    known = short_texts(clip)
    assert known is not None
    ids = tokenizer(TEXTS)
    assert known.agrees(clip, ids)
    wrong = ShortTexts(known.ends, lambda tokens: known.encode(tokens) * (1 + 1e-4))
    assert not wrong.agrees(clip, ids)
    monkeypatch.setattr("summand.models.texts.short_texts", lambda clip: wrong)
    found, own, read = encoded(clip)
    assert float((found - own).norm(dim=1).max()) <= 1e-12
    assert read >= LENGTH * len(TEXTS)


def test_a_model_that_is_changed_is_looked_at_again():
    clip = open_clip_model()
    side = summand.wrap(clip, tokenizer=tokenizer)._texts
    side.encode(TEXTS)
    hooked(clip)
    own = F.normalize(own_of(clip, tokenizer(TEXTS)), dim=-1)
    assert float((side.encode(TEXTS) - own).norm(dim=1).max()) <= 1e-12


def test_rows_of_another_length_than_the_context_are_refused_as_before():
    side = summand.wrap(open_clip_model(), tokenizer=lambda texts: F.pad(tokenizer(texts), (0, 3)))._texts
    with pytest.raises(summand.SummandError, match=f"gives {LENGTH + 3} tokens a text, and the model reads {LENGTH}"):
        side.encode(TEXTS)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, VOCABULARY - 1), min_size=LENGTH, max_size=LENGTH), min_size=1, max_size=5),
    st.sampled_from(["clip", "end token", "hf clip"]),
)
def test_whatever_stands_in_a_row_it_ends_behind_what_is_read_out(rows, name):
    clip, ids = made(name), torch.tensor(rows)
    short = short_texts(clip)
    assert short is not None
    ends = short.ends(ids)
    with torch.no_grad():
        found = short.encode(ids[:, : int(ends.max()) + 1])
    whole = own_of(clip, ids)
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12 * float(whole.abs().max()))
    assert short.agrees(clip, ids)
