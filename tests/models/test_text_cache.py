"""Text embeddings on disk: used when they fit, never when they do not, and a damaged file is no failure."""

from __future__ import annotations

import multiprocessing
import sqlite3
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import summand
from summand.models import text_store
from summand.models.text_cache import digests, fingerprint
from summand.models.text_store import Memory, TextStore, cache_folder
from tests import tiny
from tests.border import open_clip

TEXTS = [f"a red star and {i} rings" for i in range(7)]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SUMMAND_CACHE", str(tmp_path))
    return tmp_path / "texts"


def kept(made: summand.Model, texts: list[str]) -> dict:
    """What is on disk of these texts."""
    return TextStore(made.name, made._texts.fingerprint()).read(digests(made.text_tokens(texts)))


def execute(file: Path, *statement) -> None:
    opened = sqlite3.connect(file)
    with opened:
        opened.execute(statement[0], statement[1:])
    opened.close()


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
    assert [path.suffix for path in folder.iterdir()] == [".sqlite"]


def test_new_texts_are_added_and_order_and_repeats_are_the_callers(folder):
    made = model()
    made.text_batch(TEXTS[:3])
    rows = made.text_batch([TEXTS[5], TEXTS[1], TEXTS[5]], batch_size=1)
    assert Counting.seen == 4
    torch.testing.assert_close(rows, made._texts.encode([TEXTS[5], TEXTS[1], TEXTS[5]]), rtol=0, atol=1e-6)
    assert len(kept(made, TEXTS)) == 4


def test_without_cache_nothing_is_written(folder):
    made = model()
    made.text_batch(TEXTS, cache=False)
    assert not folder.exists()
    made.text_batch(TEXTS, cache=False)
    assert Counting.seen == 2 * len(TEXTS)


@pytest.mark.parametrize("count", [1, 7, 256, 300])
def test_encode_text_reads_every_text_once_in_memory_and_on_disk(folder, count):
    made = model()
    many = [f"star {i}" for i in range(count)]
    rows = made.encode_text(many)
    assert len(list(folder.iterdir())) == 1
    assert torch.equal(made.encode_text(many), rows)
    assert torch.equal(model().encode_text(many), rows)
    assert Counting.seen == 0  # counted from the last model on
    (file,) = folder.iterdir()
    file.unlink()
    assert torch.equal(made.encode_text(many[::-1]), rows.flip(0))
    assert Counting.seen == 0


def test_random_weights_are_kept_in_memory_alone(folder):
    made = model()
    made.random_weights = True
    many = [f"star {i}" for i in range(256)]
    rows = made.encode_text(many)
    assert torch.equal(made.text_batch(many), rows)
    assert Counting.seen == 256
    assert not folder.exists()


def test_a_model_that_is_trained_is_not_hashed_for_a_few_texts(folder):
    """At every step the weights are others: hashing them would cost more than what is kept could save."""
    made = model()
    weight = made.clip.text_projection
    for step in range(3):
        before = made.encode_text(TEXTS)
        weight.data.mul_(-1)
        assert len(list(folder.iterdir())) == 1, step
        torch.testing.assert_close(made.encode_text(TEXTS), -before)


def test_tokenizers_that_change_are_noticed_in_memory(folder):
    made = model()
    before = made.encode_text(TEXTS)
    made._texts.tokenizer.__class__ = Shouting
    after = made.encode_text(TEXTS)
    torch.testing.assert_close(after, made.text_batch(TEXTS, cache=False), rtol=0, atol=1e-6)
    assert (after - before).abs().max() > 0.01


@pytest.mark.parametrize("own", ["closure", "class"])
def test_what_depends_on_the_users_own_functions_is_never_remembered(folder, own):
    """Their numbers can change without anything that could be seen."""
    made, strength = model(), [0.0]
    block = made.clip.transformer.resblocks[1]
    if own == "closure":
        block.register_forward_hook(lambda _, __, out: out + strength[0] * torch.linspace(0, 1, out.shape[-1]))
    else:

        class Mine(type(block)):
            def forward(self, *args, **more):
                out = super().forward(*args, **more)
                return out + strength[0] * torch.linspace(0, 1, out.shape[-1])

        block.__class__ = Mine
    before = made.encode_text(TEXTS)
    strength[0] = 1.0
    after = made.encode_text(TEXTS)
    assert (after - before).abs().max() > 0.01
    torch.testing.assert_close(after, made.text_batch(TEXTS, cache=False), rtol=0, atol=1e-6)
    assert not folder.exists()


def test_memory_is_bounded_and_forgets_what_was_asked_for_longest_ago():
    memory = Memory(most=4 * 40)
    row = np.zeros(10, np.float32)
    for i in range(4):
        memory.put({f"{i}": (bytes(16), row)})
    memory.get(["0"])
    memory.put({"4": (bytes(16), row)})
    assert list(memory.get([f"{i}" for i in range(5)])) == ["0", "2", "3", "4"]
    memory.put({"big": (bytes(16), np.zeros(1000, np.float32))})
    assert len(memory) == 0


def add_rows(folder: Path, start: int) -> None:
    warnings.simplefilter("error")
    for i in range(start, start + 120):
        TextStore("m", "k" * 64, folder).add({i.to_bytes(16, "big"): np.full(4, i, np.float32)})


@pytest.mark.slow
def test_processes_share_a_file(tmp_path):
    """Three processes add rows one by one to one file, overlapping; nothing is lost and every row is its own."""
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=add_rows, args=(tmp_path, start)) for start in (0, 80, 160)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    found = TextStore("m", "k" * 64, tmp_path).read([i.to_bytes(16, "big") for i in range(280)])
    assert {int.from_bytes(digest, "big"): float(row[0]) for digest, row in found.items()} == {i: i for i in range(280)}


def test_additions_do_not_rewrite_what_is_there(tmp_path):
    """A text more costs some pages, not the whole file."""
    store = TextStore("m", "k" * 64, tmp_path)
    store.add({i.to_bytes(16, "big"): np.full(64, i, np.float32) for i in range(4000)})
    inode, size = store.path.stat().st_ino, store.path.stat().st_size
    store.add({b"one more": np.ones(64, np.float32)})
    assert store.path.stat().st_ino == inode
    assert size <= store.path.stat().st_size < 1.02 * size
    assert len(store.read([i.to_bytes(16, "big") for i in range(4000)])) == 4000


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


@pytest.mark.parametrize("damage", ["cut", "garbage", "other", "nan", "sizes", "kind"])
def test_a_damaged_file_is_rebuilt(folder, damage):
    made = model()
    rows = made.text_batch(TEXTS)
    (file,) = folder.iterdir()
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:200])
    elif damage == "garbage":
        file.write_bytes(b"not an archive")
    elif damage == "other":
        file.unlink()
        execute(file, "CREATE TABLE embeddings (other TEXT)")
    elif damage == "nan":
        execute(file, "UPDATE embeddings SET row = ?", np.full(16, np.nan, np.float32).tobytes())
    elif damage == "sizes":
        execute(file, "UPDATE embeddings SET row = ? WHERE rowid = 1", bytes(8))
    else:
        execute(file, "UPDATE embeddings SET kind = 'nonsense'")
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.equal(model().text_batch(TEXTS), rows)
    assert torch.equal(model().text_batch(TEXTS), rows)
    assert len(kept(made, TEXTS)) == len(TEXTS)


def test_a_file_that_a_full_disk_left_is_an_empty_one(folder, recwarn):
    """SQLite makes the file before it writes to it."""
    made = model()
    rows = made.text_batch(TEXTS)
    (file,) = folder.iterdir()
    file.write_bytes(b"")
    assert torch.equal(model().text_batch(TEXTS), rows)
    assert len(kept(made, TEXTS)) == len(TEXTS)
    assert not [one for one in recwarn if "text cache" in str(one.message)]


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

    opened = sqlite3.connect(file)
    opened.execute("BEGIN EXCLUSIVE")  # another process, that never ends
    monkeypatch.setattr(text_store, "_WAIT", 0.01)
    with pytest.warns(UserWarning, match="locked"):
        rows = made.text_batch(TEXTS)
    opened.close()
    torch.testing.assert_close(rows, made.text_batch(TEXTS, cache=False), rtol=0, atol=1e-6)
    assert file.read_bytes() == before
    assert list(folder.iterdir()) == [file]


def test_only_so_many_files_are_kept(tmp_path):
    for i in range(text_store._KEEP + 5):
        TextStore("m", f"{i:024d}", tmp_path).add({bytes(16): np.zeros(2, np.float32)})
    assert len(list((tmp_path / "texts").iterdir())) == text_store._KEEP


def test_many_rows_of_every_kind_come_back(tmp_path):
    store = TextStore("a/model: name", "k" * 64, tmp_path)
    keys = [i.to_bytes(16, "little") for i in range(1200)]
    rows = {key: np.full(3, i + 0.1, (np.float32, np.float64)[i % 2]) for i, key in enumerate(keys)}
    store.add(rows)
    found = store.read([*keys, b"unknown"])
    assert found.keys() == rows.keys()
    for key in keys:
        assert found[key].dtype == rows[key].dtype
        assert np.array_equal(found[key], rows[key])


def test_cache_folder(monkeypatch):
    monkeypatch.setenv("SUMMAND_CACHE", "~/mine")
    assert cache_folder() == Path.home() / "mine"
    monkeypatch.delenv("SUMMAND_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/summand")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "summand"


def test_progress_goes_to_stderr(folder, capsys, monkeypatch):
    monkeypatch.setattr("summand.progress.EVERY", 0.0)  # no terminal: a line whenever there is news
    model().text_batch(TEXTS, batch_size=2, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "texts" in err


def test_scenes_models_use_it_too(folder):
    made = summand.load("scenes-vit")
    rows = made.text_batch(["a red star", "two blue rings"])
    assert torch.equal(made.text_batch(["two blue rings"])[0], rows[1])
    (file,) = folder.iterdir()
    assert file.name.startswith("scenes-vit-")


def test_bad_batch_size():
    with pytest.raises(summand.SummandError, match="batch_size"):
        model().text_batch(TEXTS, batch_size=0)
