"""Text embeddings on disk: used when they fit, never when they do not, and a damaged file is no failure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from torch.overrides import TorchFunctionMode

import summand
from summand.models import text_cache
from summand.models.text_cache import TextCache, cache_folder, fingerprint
from tests import tiny

TEXTS = [f"a red star and {i} rings" for i in range(7)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SUMMAND_CACHE", str(tmp_path))
    return tmp_path / "texts"


class Counting(TorchFunctionMode):
    """Counts the texts that were really encoded."""

    seen = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.nn.functional.embedding:
            Counting.seen += len(args[0])
        return function(*args, **(kwargs or {}))


@pytest.fixture(autouse=True)
def counting():
    with Counting():
        yield


def model(seed: int = 0, **changes) -> summand.Model:
    made = tiny.clip(seed, **changes)
    Counting.seen = 0
    return summand.wrap(made, tokenizer=open_clip.SimpleTokenizer(context_length=16), name="tiny/test")


def test_the_second_time_nothing_is_computed(folder):
    first = model()
    rows = first.text_batch(TEXTS)
    again = model()
    assert torch.equal(again.text_batch(TEXTS), rows)
    assert Counting.seen == 0
    torch.testing.assert_close(rows, first.encode_text(TEXTS), rtol=0, atol=1e-6)
    assert [path.suffix for path in folder.iterdir()] == [".npz"]


def test_new_texts_are_added_and_order_and_repeats_are_the_callers(folder):
    made = model()
    made.text_batch(TEXTS[:3])
    rows = made.text_batch([TEXTS[5], TEXTS[1], TEXTS[5]], batch_size=1)
    assert Counting.seen == 4
    torch.testing.assert_close(rows, made.encode_text([TEXTS[5], TEXTS[1], TEXTS[5]]), rtol=0, atol=1e-6)
    assert len(TextCache("tiny/test", made._texts.fingerprint()).read()) == 4


def test_without_cache_nothing_is_written(folder):
    made = model()
    made.text_batch(TEXTS, cache=False)
    made.encode_text(TEXTS)
    assert not folder.exists()


def test_encode_text_caches_long_lists_only(folder):
    made = model()
    many = [f"star {i}" for i in range(256)]
    rows = made.encode_text(many)
    assert len(list(folder.iterdir())) == 1
    seen = Counting.seen
    assert torch.equal(made.encode_text(many), rows)
    assert Counting.seen == seen == 256


def test_random_weights_are_not_kept(folder):
    made = model()
    made.random_weights = True
    made.encode_text([f"star {i}" for i in range(256)])
    assert not folder.exists()


@pytest.mark.parametrize("behind", [False, True])
def test_training_a_weight_changes_the_key(folder, behind):
    made = model()
    before = made.text_batch(TEXTS)
    weight = made.clip.text_projection
    (weight.data if behind else weight.detach()).add_(torch.randn_like(weight))
    after = made.text_batch(TEXTS)
    assert (after - before).abs().max() > 0.01
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"quick_gelu": True},
        {"custom_text": True},
        {"custom_text": True, "text": {"no_causal_mask": True}},
        {"custom_text": True, "text": {"pool_type": "last"}},
    ],
)
def test_models_that_differ_have_different_keys(change):
    plain = {"custom_text": True} if change.get("text") else {}
    assert fingerprint(tiny.clip(**change)) != fingerprint(tiny.clip(**plain))


def test_the_image_tower_does_not_matter_and_precision_does():
    clip = tiny.clip()
    before = fingerprint(clip)
    with torch.no_grad():
        clip.visual.proj.mul_(2)
    assert fingerprint(clip) == before
    assert fingerprint(clip, "bfloat16") != before
    assert fingerprint(clip.bfloat16()) != before


class Shouting(open_clip.SimpleTokenizer):
    """Reads every text as another one."""

    def __call__(self, texts, context_length=None):
        return super().__call__([f"{text} !" for text in texts], context_length)


def sloped(_, __, out):
    return out + torch.linspace(0, 1, out.shape[-1])


def permute_rows(clip):
    clip.token_embedding.weight.data.copy_(clip.token_embedding.weight.data.flip(0))


def eps(clip):
    clip.ln_final.eps = 0.5
    clip.transformer.resblocks[1].ln_1.eps = 5.0


def activation(clip):
    clip.transformer.resblocks[0].mlp.gelu = torch.nn.ReLU()


def hook(clip):
    clip.transformer.resblocks[1].register_forward_hook(sloped)


def forward(clip):
    block = clip.transformer.resblocks[1]
    block.forward = lambda x, attn_mask=None: sloped(None, None, type(block).forward(block, x, attn_mask=attn_mask))


@pytest.mark.parametrize("change", [permute_rows, eps, activation, hook, forward])
def test_no_row_of_another_state_is_found(folder, change):
    made = model()
    before = made.text_batch(TEXTS)
    change(made.clip)
    after = made.text_batch(TEXTS)
    torch.testing.assert_close(after, made.text_batch(TEXTS, cache=False), rtol=0, atol=1e-6)
    assert (after - before).abs().max() > 0.01
    again = model()
    change(again.clip)
    torch.testing.assert_close(again.text_batch(TEXTS), after, rtol=0, atol=1e-6)
    assert torch.equal(model().text_batch(TEXTS), before)


def test_no_row_of_another_tokenizer_is_found(folder):
    made = model()
    before = made.text_batch(TEXTS)
    other = summand.wrap(made.clip, tokenizer=Shouting(context_length=16), name="tiny/test")
    after = other.text_batch(TEXTS)
    torch.testing.assert_close(after, other.text_batch(TEXTS, cache=False), rtol=0, atol=1e-6)
    assert (after - before).abs().max() > 0.01
    assert torch.equal(made.text_batch(TEXTS), before)


def test_no_row_of_autocast_is_found_outside(folder):
    made = model()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = made.text_batch(TEXTS)
    fine = made.text_batch(TEXTS)
    torch.testing.assert_close(fine, made.text_batch(TEXTS, cache=False), rtol=0, atol=1e-6)
    assert (rough - fine).abs().max() > 1e-5


@pytest.mark.parametrize("damage", ["cut", "garbage", "pickle", "nan", "parts"])
def test_a_damaged_file_is_rebuilt(folder, damage):
    made = model()
    rows = made.text_batch(TEXTS)
    (file,) = folder.iterdir()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif damage == "garbage":
        file.write_bytes(b"not an archive")
    elif damage == "pickle":
        np.savez(file, lengths=np.array([1]), texts=np.array([object()]), embeddings=np.zeros((1, 16)))
    elif damage == "nan":
        np.savez(file, lengths=np.array([1]), texts=np.frombuffer(b"a", np.uint8), embeddings=np.full((1, 16), np.nan))
    else:
        np.savez(file, lengths=np.array([1]), texts=np.frombuffer(b"abc", np.uint8), embeddings=np.zeros((1, 16)))
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.equal(model().text_batch(TEXTS), rows)
    assert torch.equal(model().text_batch(TEXTS), rows)


def test_a_folder_that_cannot_be_written_is_no_failure(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUMMAND_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be written"):
        assert model().text_batch(TEXTS).shape == (7, 16)


def test_a_write_that_fails_leaves_the_old_file(folder, monkeypatch):
    made = model()
    made.text_batch(TEXTS[:2])
    (file,) = folder.iterdir()
    before = file.read_bytes()

    def full(*_args, **_more):
        raise OSError("No space left on device")

    monkeypatch.setattr(text_cache.np, "savez", full)
    with pytest.warns(UserWarning, match="No space left"):
        made.text_batch(TEXTS)
    assert file.read_bytes() == before
    assert list(folder.iterdir()) == [file]


def test_only_so_many_files_are_kept(tmp_path):
    for i in range(text_cache._KEEP + 5):
        TextCache("m", f"{i:024d}", tmp_path).write({"a": (bytes(16), np.zeros(2, np.float32))})
    assert len(list((tmp_path / "texts").iterdir())) == text_cache._KEEP


def test_texts_of_every_kind_come_back(tmp_path):
    cache = TextCache("a/model: name", "k" * 64, tmp_path)
    texts = {"ünïcode ☃": 0.0, "line\nbreak": 1.0, "nul\0": 2.0, "x" * 5000: 3.0}
    cache.write({text: (bytes([int(value)] * 16), np.full(3, value, np.float32)) for text, value in texts.items()})
    assert {text: float(row[0]) for text, (_, row) in cache.read().items()} == texts
    assert all(digest == bytes([int(row[0])] * 16) for digest, row in cache.read().values())


def test_cache_folder(monkeypatch):
    monkeypatch.setenv("SUMMAND_CACHE", "~/mine")
    assert cache_folder() == Path.home() / "mine"
    monkeypatch.delenv("SUMMAND_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/summand")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "summand"


def test_progress_goes_to_stderr(folder, capsys):
    model().text_batch(TEXTS, batch_size=2, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "texts" in err


def test_scenes_models_use_it_too(folder):
    made = summand.load("scenes-vit", random_init=True)
    rows = made.text_batch(["a red star", "two blue rings"])
    assert torch.equal(made.text_batch(["two blue rings"])[0], rows[1])
    (file,) = folder.iterdir()
    assert file.name.startswith("scenes-vit-")


def test_bad_batch_size():
    with pytest.raises(summand.SummandError, match="batch_size"):
        model().text_batch(TEXTS, batch_size=0)
