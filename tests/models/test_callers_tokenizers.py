"""Tokenizers as callers hold them say what their tokens are, and one of another model is refused."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

import summand
from summand import SummandError
from summand.models.callers_tokenizers import check_ids, core_of, vocabulary_size
from tests import tiny
from tests.border import open_clip

pytestmark = pytest.mark.usefixtures("unchecked")
EXPECTED = ["<start>", "a", "red", "star", "<end>", *["<pad>"] * 11]
TEXT = {"vocab_size": len(tiny.WORDS), "pool_type": "eos", "eos_id": 11, "pad_id": 0}


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """transformers' tokenizer of the words, and the folder of its files."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("words")
    tiny.write_tokenizer(folder)
    return transformers.AutoTokenizer.from_pretrained(folder), folder


@pytest.fixture(scope="module")
def clip():
    return tiny.clip(custom_text=True, text=TEXT)


class Holder:
    """A wrapping object of the caller's."""

    def __init__(self, inner):
        self.inner = inner

    def __call__(self, texts):
        return self.inner(texts, padding="max_length", max_length=16, return_tensors="pt")["input_ids"]

    def read(self, texts):
        return self(texts)


def given(form: str, words):
    found, folder = words
    options = {"padding": "max_length", "max_length": 16, "truncation": True, "return_tensors": "pt"}
    if form == "transformers":
        return found
    if form == "tokenizers":
        return found.backend_tokenizer
    if form == "tokenizers, padded":
        from tokenizers import Tokenizer

        raw = Tokenizer.from_file(str(folder / "tokenizer.json"))
        raw.enable_padding(pad_id=0, pad_token="<pad>")
        return raw
    if form == "open_clip":
        from open_clip.tokenizer import HFTokenizer

        return HFTokenizer(str(folder), context_length=16)
    if form == "partial":
        return partial(found, **options)
    if form == "lambda":
        return lambda texts: found(texts, **options).input_ids
    if form == "lists":
        return lambda texts: found(texts, padding="max_length", max_length=16)["input_ids"]
    if form == "arrays":
        return lambda texts: found(texts, padding="max_length", max_length=16, return_tensors="np")["input_ids"]
    return Holder(found) if form == "object" else Holder(found).read


FORMS = ("transformers", "tokenizers", "tokenizers, padded", "open_clip", "partial", "lambda", "lists", "arrays")


@pytest.mark.parametrize("form", [*FORMS, "object", "method"])
def test_words_and_numbers(clip, words, form):
    model = summand.wrap(clip, tokenizer=given(form, words))
    assert model.decompose_text("a red star").words()[0] == EXPECTED
    ids = torch.tensor([[1, 3, 4, 6, 11, *[0] * 11], [1, 5, 7, 11, *[0] * 12]])
    with torch.no_grad():
        truth = F.normalize(clip.encode_text(ids), dim=-1)
    torch.testing.assert_close(model.encode_text(["a red star", "blue ring"]), truth, rtol=0, atol=0)


@pytest.mark.parametrize("form", ["transformers", "tokenizers", "tokenizers, padded", "open_clip"])
def test_a_text_that_is_too_long_is_not_cut(clip, words, form):
    with pytest.raises(summand.SummandError, match="needs 22 tokens, the model reads 16"):
        summand.wrap(clip, tokenizer=given(form, words)).encode_text(["a star", "red " * 20])


@pytest.mark.parametrize("make", ["simple", "function", "partial", "lambda"])
def test_open_clips_own(make):
    inner = open_clip.SimpleTokenizer(context_length=16)
    tokenizer = {
        "simple": inner,
        "function": lambda texts: open_clip.tokenize(texts, context_length=16),
        "partial": partial(inner, context_length=16),
        "lambda": lambda texts: inner(texts),
    }[make]
    model = summand.wrap(tiny.clip(), tokenizer=tokenizer)
    found = model.decompose_text("two striped stars").words()[0]
    assert found[:6] == ["<start>", "two", "striped", "stars", "<end>", "<pad>"]


def test_two_tokenizers_in_one_function_are_not_guessed(clip, words):
    other = open_clip.SimpleTokenizer(context_length=16)
    found, _ = words

    def either(texts):
        return (
            found(texts, padding="max_length", max_length=16, return_tensors="pt").input_ids if texts else other(texts)
        )

    assert core_of(either) is either
    assert summand.wrap(clip, tokenizer=either).decompose_text("a red star").words()[0][:4] == ["1", "3", "4", "6"]


def test_a_tokenizer_with_a_decode_of_its_own(clip):
    class Mine:
        def __call__(self, texts):
            return torch.tensor([[1, 3, 4, 6, 11, *[0] * 11]] * len(texts))

        def decode(self, ids):
            return "/".join(tiny.WORDS[i] for i in ids)

    assert summand.wrap(clip, tokenizer=Mine()).decompose_text("x").words()[0][1:4] == ["a", "red", "star"]


# Another model's tokenizer


def test_tokens_beyond_the_vocabulary_are_refused(clip):
    model = summand.wrap(clip, tokenizer=open_clip.SimpleTokenizer(context_length=16))
    with pytest.raises(
        summand.SummandError, match=r"token 49406 for 'a star', and the model reads 12 different tokens"
    ):
        model.encode_text("a star")
    with pytest.raises(summand.SummandError, match="the model reads 12 different tokens"):
        model.decompose_text("a star")


@pytest.mark.parametrize("length", [8, 24])
@pytest.mark.parametrize("ask", ["encode_text", "decompose_text"])
def test_a_tokenizer_of_another_context_is_refused(length, ask):
    """The tiny model reads 16 tokens: its tokenizer made for 8 or 24 fails in the middle of the model."""

    def tokenizer(texts):
        return torch.ones(len(texts), length, dtype=torch.long)

    model = summand.wrap(tiny.clip(), tokenizer=tokenizer)
    with pytest.raises(
        SummandError, match=rf"gives {length} tokens a text, and the model reads 16: .* a context of 16"
    ):
        getattr(model, ask)("a red star")


@pytest.mark.parametrize("broken", [RuntimeError("of its own"), ValueError("of its own")])
def test_a_failure_that_has_another_cause_stays(broken, monkeypatch):
    made = tiny.clip()

    def encode_text(text):
        raise broken

    monkeypatch.setattr(made, "encode_text", encode_text)
    model = summand.wrap(made, tokenizer=lambda texts: torch.ones(len(texts), 16, dtype=torch.long))
    with pytest.raises(type(broken), match="of its own"):
        model.encode_text("a red star")


def test_the_first_wrong_token_is_named():
    tokens = torch.tensor([[0, 1, 2], [3, 9, 12], [12, 0, -1]])
    check_ids(["a", "b", "c"], tokens[:1], 12)
    check_ids(["a", "b", "c"], tokens, None)
    with pytest.raises(summand.SummandError, match="token 12 for 'b'"):
        check_ids(["a", "b", "c"], tokens, 12)
    with pytest.raises(summand.SummandError, match="token -1 for 'c'"):
        check_ids(["a", "b", "c"], tokens, 13)


def test_the_vocabulary_of_every_kind_of_text_tower(vit):
    transformers = pytest.importorskip("transformers")
    assert vocabulary_size(tiny.clip()) == 49408
    assert vocabulary_size(tiny.clip(custom_text=True, text=TEXT)) == 12
    assert vocabulary_size(vit.clip) == vit.clip.token_embedding.num_embeddings
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    for kind in ("CLIP", "Siglip", "ChineseCLIP", "AltCLIP"):
        config = getattr(transformers, f"{kind}Config")(text_config={**small, "vocab_size": 99}, vision_config=small)
        assert vocabulary_size(getattr(transformers, f"{kind}Model")(config)) == 99


@pytest.mark.parametrize(
    ("made", "got"),
    [
        (lambda texts: [[1, 2], [3]], "its rows differ"),
        (lambda texts: torch.ones(2, 3), r"torch.float32 \[2, 3\]"),
        (lambda texts: "abc", "got str"),
        (lambda texts: torch.ones(2, 3, dtype=torch.bool), "torch.bool"),
        (lambda texts: [["a", "b"], ["c", "d"]], "got list|rows"),
    ],
)
def test_what_is_no_token_ids(clip, made, got):
    with pytest.raises(summand.SummandError, match=got):
        summand.wrap(clip, tokenizer=made).encode_text(["a", "b"])


# Folders


def test_a_folder_with_a_tokenizer_that_its_configuration_does_not_name(tmp_path, clip, words):
    folder = tiny.write_folder(tmp_path / "m", clip, custom_text=True, text=TEXT)
    model = summand.load(f"local-dir:{folder}")
    assert model.encode_image(torch.zeros(1, 3, 32, 32)).shape == (1, 16)
    with pytest.raises(summand.SummandError, match=r"12 different tokens.*Put tokenizer.json beside the weights"):
        model.encode_text("a red star")
    tiny.write_tokenizer(folder)
    assert summand.load(f"local-dir:{folder}").decompose_text("a red star").words()[0] == EXPECTED


def test_clips_own_vocabulary_keeps_its_tokenizer(tmp_path):
    clip = tiny.clip()
    folder = tiny.write_folder(tmp_path / "m", clip)
    tiny.write_tokenizer(folder)  # of other words; open_clip does not read it either
    found = summand.load(f"local-dir:{folder}").decompose_text("a red star").words()[0]
    assert found[:6] == ["<start>", "a", "red", "star", "<end>", "<pad>"]
