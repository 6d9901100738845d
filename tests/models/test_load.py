"""The whole way from a name to a model, on folders and files that the tests write from random weights."""

from __future__ import annotations

import logging
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import summand
from summand.border import foreign
from summand.models import hub
from summand.models.open_clip import quick_gelu
from tests import tiny
from tests.border import open_clip

TEXTS = ["a red star", "a blue ring on the left"]


@pytest.fixture(scope="module")
def clip() -> Any:
    return tiny.clip()


@pytest.fixture
def online(monkeypatch):
    """Without the tests' HF_HUB_OFFLINE: as a user's machine."""
    from huggingface_hub import constants

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@pytest.fixture
def tiny_name(monkeypatch, tmp_path, clip):
    """`tiny` as if open_clip knew it, with one tag trained with QuickGELU and one without."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny.config())
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-quickgelu", tiny.config(quick_gelu=True))
    file = tmp_path / "tiny.safetensors"
    save_file({k: v.contiguous() for k, v in clip.state_dict().items()}, file)
    look = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear", "resize_mode": "squash"}
    tags = {"plain": {"file": str(file), **look}, "quick_tag": {"file": str(file), "quick_gelu": True, **look}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny", tags)
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-quickgelu", {"quick_tag": tags["quick_tag"]})
    return file


def activations(clip: Any) -> tuple[set[str], set[str]]:
    """Class names of the activations of the image and the text tower."""
    image = {type(block.mlp.gelu).__name__ for block in clip.visual.transformer.resblocks}
    return image, {type(block.mlp.gelu).__name__ for block in clip.transformer.resblocks}


def same_numbers(model: summand.Model, clip: Any) -> None:
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model.encode_image(x), clip.encode_image(x), rtol=0, atol=0)
        tokens = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
        truth = torch.nn.functional.normalize(clip.encode_text(tokens), dim=-1)
    torch.testing.assert_close(model.encode_text(TEXTS), truth, rtol=0, atol=0)
    assert model.decompose(x).residual() < 1e-5


# QuickGELU


@pytest.mark.parametrize(("name", "tag"), open_clip.list_pretrained())
def test_the_activation_of_every_published_tag(name, tag):
    says = bool(open_clip.get_pretrained_cfg(name, tag).get("quick_gelu"))
    if name == "roberta-ViT-B-32":  # trained with the configuration's QuickGELU, which its tag does not repeat
        assert quick_gelu(name, tag)
    else:
        assert quick_gelu(name, tag) == says
    if name.endswith("-quickgelu"):
        assert quick_gelu(name, tag)
        assert quick_gelu(name, None)


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [("tiny", "quick_tag", "QuickGELU"), ("tiny", "plain", "GELU"), ("tiny-quickgelu", "quick_tag", "QuickGELU")],
)
def test_both_towers_get_the_activation_of_the_tag(tiny_name, name, tag, expected, recwarn):
    model = summand.load(name, tag)
    assert activations(model.clip) == ({expected}, {expected})
    same_numbers(model, tiny.clip(quick_gelu=expected == "QuickGELU"))
    assert not [w for w in recwarn if "QuickGELU" in str(w.message)]


def test_tag_with_hyphens_as_open_clip_allows(tiny_name):
    assert activations(summand.load("tiny", "quick-tag").clip)[0] == {"QuickGELU"}


def test_explicit_quickgelu_name_without_weights(tiny_name):
    model = summand.load("tiny-quickgelu", random_init=True)
    assert activations(model.clip) == ({"QuickGELU"}, {"QuickGELU"})
    assert model.random_weights


# Folders and the hub's cache


def test_local_dir(tmp_path, clip):
    tiny.write_folder(tmp_path / "m", clip)
    model = summand.load(f"local-dir:{tmp_path / 'm'}")
    same_numbers(model, clip)
    assert not model.random_weights


def test_hub_cache_offline(tmp_path, clip, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tiny.write_folder(tiny.hub_snapshot(tmp_path, "org/tiny"), clip)
    same_numbers(summand.load("hf-hub:org/tiny"), clip)


def test_hub_cache_is_used_when_the_network_is_gone(tmp_path, clip, monkeypatch, online):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    tiny.write_folder(tiny.hub_snapshot(tmp_path, "org/tiny"), clip)
    start = time.monotonic()
    same_numbers(summand.load("hf-hub:org/tiny"), clip)
    assert time.monotonic() - start < 8
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("mode", ["squash", "shortest", "longest"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_preprocessing_is_the_folders(tmp_path, clip, mode, interpolation):
    look = {**tiny.PREPROCESS, "resize_mode": mode, "interpolation": interpolation}
    tiny.write_folder(tmp_path / "m", clip, look)
    model = summand.load(f"local-dir:{tmp_path / 'm'}")
    array = np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)
    picture = Image.fromarray(array)
    resample = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    if mode == "squash":
        seen = picture.resize((32, 32), resample)
    elif mode == "shortest":  # 32 × 53, then the middle
        seen = picture.resize((53, 32), resample).crop((10, 0, 42, 32))
    else:  # 19 × 32 on black
        seen = Image.new("RGB", (32, 32))
        seen.paste(picture.resize((32, 19), resample), (0, 6))
    pixels = torch.from_numpy(np.array(seen)).permute(2, 0, 1) / 255
    mean, std = (torch.tensor(tiny.PREPROCESS[key]).reshape(3, 1, 1) for key in ("mean", "std"))
    got = model.preprocess(picture)
    difference = (got - (pixels - mean) / std).abs()
    assert difference.mean() < (0.05 if mode == "longest" else 1e-3)  # one row more or less of black
    assert np.abs(model.picture(got[None])[0].astype(int) - np.array(seen).astype(int)).mean() < 3


def test_preprocessing_of_a_tag(tiny_name):
    model = summand.load("tiny", "plain")
    grey = model.preprocess(Image.new("RGB", (40, 40), (128, 128, 128)))
    assert grey[:, 3, 3].tolist() == pytest.approx(
        [(128 / 255 - m) / s for m, s in ((0.1, 0.4), (0.2, 0.5), (0.3, 0.6))]
    )


@pytest.mark.parametrize("where", ["folder", "hub"])
def test_tokenizer_of_a_folder(tmp_path, where, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    text = {"vocab_size": len(tiny.WORDS), "hf_tokenizer_name": "org/tiny", "pool_type": "eos", "eos_id": 11}
    clip = tiny.clip(custom_text=True, text={**text, "pad_id": 0})
    folder = tmp_path / "m" if where == "folder" else tiny.hub_snapshot(tmp_path, "org/tiny")
    tiny.write_folder(folder, clip, custom_text=True, text={**text, "pad_id": 0})
    tiny.write_tokenizer(folder)
    model = summand.load(f"local-dir:{folder}" if where == "folder" else "hf-hub:org/tiny")
    ids = torch.zeros(1, 16, dtype=torch.long)
    ids[0, :5] = torch.tensor([1, 3, 4, 6, 11])
    with torch.no_grad():
        truth = torch.nn.functional.normalize(clip.encode_text(ids), dim=-1)
    torch.testing.assert_close(model.encode_text("a red star"), truth, rtol=0, atol=0)
    parts = model.decompose_text("a red star")
    assert parts.words()[0] == ["<start>", "a", "red", "star", "<end>", *["<pad>"] * 11]
    with pytest.raises(summand.SummandError, match="needs 18 tokens, the model reads 16"):
        model.encode_text("red " * 16)


def test_a_missing_tokenizer_only_stops_texts(tmp_path):
    text = {"vocab_size": len(tiny.WORDS), "hf_tokenizer_name": "org/none"}
    clip = tiny.clip(custom_text=True, text=text)
    tiny.write_folder(tmp_path / "m", clip, custom_text=True, text=text)
    model = summand.load(f"local-dir:{tmp_path / 'm'}")
    assert model.encode_image(torch.zeros(1, 3, 32, 32)).shape == (1, 16)
    with pytest.raises(summand.SummandError, match="tokenizer could not be loaded"):
        model.encode_text("a red star")


def test_a_folder_without_weights_is_no_random_model(tmp_path, clip):
    folder = tiny.write_folder(tmp_path / "m", clip)
    (folder / "open_clip_model.safetensors").unlink()
    with pytest.raises(summand.SummandError, match="weights"):
        summand.load(f"local-dir:{folder}")
    assert summand.load(f"local-dir:{folder}", random_init=True).random_weights


def test_a_folder_with_a_broken_configuration(tmp_path, clip):
    folder = tiny.write_folder(tmp_path / "m", clip)
    (folder / "open_clip_config.json").write_text("{")
    with pytest.raises(summand.SummandError, match=r"open_clip_config\.json"):
        summand.load(f"local-dir:{folder}")
    with pytest.raises(summand.SummandError, match="not found"):
        summand.load(f"local-dir:{tmp_path / 'nowhere'}")


# Checkpoints


@pytest.mark.parametrize("layout", ["safetensors", "plain.pt", "training.pt", "compiled.bin"])
def test_checkpoint(tmp_path, layout, tiny_name):
    tuned = tiny.clip(seed=5)
    state = tuned.state_dict()
    file = tmp_path / (f"x.{layout}" if layout == "safetensors" else layout)
    if layout == "safetensors":
        save_file({k: v.contiguous() for k, v in state.items()}, file)
    elif layout == "plain.pt":
        torch.save(state, file)
    elif layout == "training.pt":
        wrapped = {f"module.{k}": v for k, v in state.items()}
        optimizer = torch.optim.AdamW(tuned.parameters()).state_dict()
        torch.save({"epoch": 3, "name": "run", "state_dict": wrapped, "optimizer": optimizer}, file)
    else:
        torch.save({"model": {f"_orig_mod.module.{k}": v for k, v in state.items()}}, file)
    model = summand.load("tiny", checkpoint=file, activation="gelu")
    same_numbers(model, tuned)
    assert not model.random_weights
    same_numbers(summand.load("tiny", str(file), activation="gelu"), tuned)


def test_checkpoint_beside_a_tag_keeps_its_activation_and_preprocessing(tmp_path, tiny_name):
    tuned = tiny.clip(seed=5, quick_gelu=True)
    torch.save(tuned.state_dict(), tmp_path / "x.pt")
    model = summand.load("tiny", "quick_tag", checkpoint=tmp_path / "x.pt")
    assert activations(model.clip) == ({"QuickGELU"}, {"QuickGELU"})
    same_numbers(model, tuned)
    assert model.preprocess(Image.new("RGB", (9, 9)))[0, 0, 0] == pytest.approx(-0.1 / 0.4)


def test_checkpoint_of_the_older_text_layout(tmp_path, monkeypatch, clip):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny", tiny.config(custom_text=True))
    torch.save(clip.state_dict(), tmp_path / "x.pt")
    same_numbers(summand.load("tiny", checkpoint=tmp_path / "x.pt"), clip)


class _Trap:
    def __reduce__(self):
        return (Path.write_text, (Path("trap-went-off"), "x"))


def test_a_checkpoint_that_needs_code_is_refused(tmp_path, clip, tiny_name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": clip.state_dict(), "extra": _Trap()}, "trap.pt")
    with pytest.raises(summand.SummandError, match="running code"):
        summand.load("tiny", checkpoint="trap.pt")
    assert not Path("trap-went-off").exists()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), "jit.pt")
    with pytest.raises(summand.SummandError, match="TorchScript"):
        summand.load("tiny", checkpoint="jit.pt")


def test_bad_checkpoints(tmp_path, clip, tiny_name):
    def refused(name: str, match: str) -> None:
        with pytest.raises(summand.SummandError, match=match):
            summand.load("tiny", checkpoint=tmp_path / name)

    refused("none.pt", "no checkpoint file")
    for name in ("cut.safetensors", "cut.pt"):
        (tmp_path / name).write_bytes(b"no weights at all")
        refused(name, "readable|no checkpoint: torch.save wrote no file that begins with")
    (tmp_path / "x.onnx").write_bytes(b"")
    refused("x.onnx", "ends in")
    torch.save([1, 2], tmp_path / "list.pt")
    refused("list.pt", "holds no weights by name but list")
    torch.save({"a": 1.0}, tmp_path / "number.pt")
    refused("number.pt", "'a' is float")
    state = dict(clip.state_dict())
    del state["visual.proj"]
    state["ln_final.weight"] = torch.zeros(7)
    state["head.weight"] = torch.zeros(2)
    torch.save(state, tmp_path / "other.pt")
    refused(
        "other.pt", r"1 missing \(visual.proj\); 1 unknown \(head.weight\); 1 of another shape \(ln_final.weight \[7\]"
    )
    torch.save(tiny.clip(vision={"layers": 3}).state_dict(), tmp_path / "deeper.pt")
    refused("deeper.pt", r"12 unknown \(visual.transformer.resblocks.2.\S+, .*, …\).*architecture")


def test_contradictions(tmp_path, tiny_name, unchecked):
    with pytest.raises(summand.SummandError, match="contradicts"):
        summand.load("tiny", "plain", random_init=True)
    with pytest.raises(summand.SummandError, match="two checkpoint files"):
        summand.load("tiny", str(tiny_name), checkpoint=tiny_name)
    with pytest.raises(summand.SummandError, match="own weights"):
        summand.load("local-dir:x", "plain")
    with pytest.raises(summand.SummandError, match="precision"):
        summand.load("tiny", "plain", precision="int8")
    with pytest.raises(summand.SummandError, match="image_size"):
        summand.load("tiny", "plain", image_size=-3)
    with pytest.raises(summand.SummandError, match="cannot be put on"):
        summand.load("tiny", "plain", device="cuda:17")


# Precision and size


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_low_precision(precision, dtype, tiny_name):
    model = summand.load("tiny", "plain", precision=precision)
    assert model.dtype == dtype
    x = torch.randn(2, 3, 32, 32).to(dtype)
    heads = model.decompose(x).heads()
    assert heads.dtype == torch.float32
    assert model.encode_image(x).dtype == dtype
    rows = model.encode_text(TEXTS)
    assert rows.dtype == torch.float32
    torch.testing.assert_close(rows.norm(dim=-1), torch.ones(2))
    full = summand.load("tiny", "plain")
    assert model.decompose(x).residual() < 0.03
    torch.testing.assert_close(heads, full.decompose(x.float()).heads(), rtol=0, atol=0.05)
    torch.testing.assert_close(rows, full.encode_text(TEXTS), rtol=0, atol=0.02)
    texts = model.decompose_text(TEXTS)
    assert texts.total().dtype == torch.float32
    assert texts.residual() < 0.03


@pytest.mark.parametrize("size", [64, (32, 48)])
def test_larger_input(tiny_name, size):
    model = summand.load("tiny", "plain", image_size=size)
    height, width = (size, size) if isinstance(size, int) else size
    assert model.tower.grid == (height // 8, width // 8)
    x = torch.randn(1, 3, height, width)
    parts = model.decompose(x)
    assert parts.residual() < 1e-5
    assert parts.tokens().shape[1] == 1 + height * width // 64
    if size == 64:  # a picture of one colour looks alike at every size, up to the interpolated positions
        assert model.preprocess(Image.new("RGB", (9, 9))).shape == (3, 64, 64)


@pytest.mark.parametrize(
    ("name", "size", "match"),
    [
        ("ViT-B-16", 230, r"patches of 16 pixels: image_size .* such as 224 or 240; got 230"),
        ("ViT-B-16", (224, 230), r"the side 230 of image_size .* such as 224 or 240; got \(224, 230\)"),
        ("ViT-B-16", 7, r"such as 16; got 7"),
        ("RN50", 250, r"patches of 32 pixels.*224 or 256"),
        ("ViT-B-16-SigLIP", 230, "224 or 240"),
        ("ViTamin-S", 250, "240 or 256"),
        ("ViT-SO400M-14-SigLIP-384", 400, "392 or 406"),
    ],
)
def test_a_size_that_is_no_multiple_of_the_patch_is_refused(name, size, match):
    with pytest.raises(summand.SummandError, match=match):
        summand.load(name, random_init=True, image_size=size)


def test_a_size_that_is_no_multiple_is_refused_in_folders_too(tmp_path, clip):
    folder = tiny.write_folder(tmp_path / "m", clip)
    with pytest.raises(summand.SummandError, match=r"patches of 8 pixels.*such as 48 or 56; got 50"):
        summand.load(f"local-dir:{folder}", image_size=50)
    assert summand.load(f"local-dir:{folder}", image_size=48).tower.grid == (6, 6)


def test_the_size_that_a_tower_was_made_for_is_never_refused(tiny_name, monkeypatch):
    """As SigLIP-SO400M at 384 pixels, with patches of 14."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "uneven", tiny.config(vision={"image_size": 35}))
    for size in (None, 35):
        tower = summand.load("uneven", random_init=True, image_size=size).tower
        tower = foreign(tower)
        assert (tower.image_size, tower.grid, tower.covered) == ((35, 35), (4, 4), (32, 32))
    with pytest.raises(summand.SummandError, match="such as 32 or 40"):
        summand.load("uneven", random_init=True, image_size=36)


def test_a_size_that_cannot_be_interpolated_is_refused(tmp_path, monkeypatch):
    vision = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 16, "image_size": 64}
    clip = tiny.clip(vision=vision)
    folder = tiny.write_folder(tmp_path / "m", clip, vision=vision)
    assert summand.load(f"local-dir:{folder}").tower.kind == "ModifiedResNet"
    with pytest.raises(summand.SummandError, match="image_size=96"):
        summand.load(f"local-dir:{folder}", image_size=96)


# Errors, fast and quiet


def test_wrong_and_missing_tags_name_the_right_ones():
    with pytest.raises(summand.SummandError, match=r"no pretrained tag 'laion2b_s34b'.*did you mean.*tags: openai"):
        summand.load("ViT-B-16", "laion2b_s34b")
    with pytest.raises(summand.SummandError, match=r"needs a pretrained tag.*tags: openai.*random_init"):
        summand.load("ViT-B-16")
    with pytest.raises(summand.SummandError, match=r"20.*|and \d+ more"):
        summand.load("ViT-B-32", "nothing")
    with pytest.raises(summand.SummandError, match="no such file"):
        summand.load("ViT-B-32", "nothing.pt")
    with pytest.raises(summand.SummandError, match=r"unknown model 'ViT-B-33', did you mean"):
        summand.load("ViT-B-33", "openai")


def test_no_network_fails_at_once_and_says_so(online, monkeypatch, capfd, caplog, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setattr(socket, "create_connection", _no_route)
    start = time.monotonic()
    for name, tag in (("ViT-B-32", "openai"), ("hf-hub:org/none", None), ("hf:org/none", None)):
        with pytest.raises(summand.SummandError, match=r"network cannot be reached|couldn't connect"):
            summand.load(name, tag)
    assert time.monotonic() - start < 12  # building ViT-B-32 is not even begun
    assert capfd.readouterr().err == ""
    assert not caplog.records


def _no_route(*_args, **_more):
    raise socket.gaierror("Name or service not known")


def test_offline_by_wish_says_so():
    with pytest.raises(summand.SummandError, match=r"HF_HUB_OFFLINE.*Tags of ViT-B-16: openai"):
        summand.load("ViT-B-16", "openai")


def test_first_stop_respects_proxies_and_the_endpoint(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert hub.first_stop(hub.endpoint()) == ("huggingface.co", 443)
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror.example:8080")
    assert hub.first_stop(hub.endpoint()) == ("mirror.example", 8080)
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    assert hub.first_stop(hub.endpoint()) == ("proxy.example", 3128)
    monkeypatch.setenv("no_proxy", "mirror.example")
    assert hub.first_stop(hub.endpoint()) == ("mirror.example", 8080)


def test_reachable(online, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert hub.reachable(address)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        assert not hub.reachable(address)
        monkeypatch.delenv("HF_HUB_OFFLINE")
    assert not hub.reachable(address)


def test_quiet_leaves_the_loggers_as_they_were(caplog):
    root = logging.getLogger()
    before = (root.level, list(root.handlers), list(root.filters), logging.getLogger("huggingface_hub").level)
    with hub.quiet():
        logging.getLogger("huggingface_hub").warning("a retry")
        logging.warning("somebody else's line")
    assert [record.message for record in caplog.records] == ["somebody else's line"]
    assert before == (root.level, list(root.handlers), list(root.filters), logging.getLogger("huggingface_hub").level)


def test_random_weights_are_drawn_from_the_seed(tiny_name):
    first, again, other = (summand.load("tiny", random_init=True, seed=seed) for seed in (1, 1, 2))
    x = torch.ones(1, 3, 32, 32)
    assert torch.equal(first.encode_image(x), again.encode_image(x))
    assert not torch.equal(first.encode_image(x), other.encode_image(x))


def test_scenes_models_take_a_checkpoint(tmp_path):
    model = summand.load("scenes-vit", random_init=True, seed=3)
    save_file(model.clip.state_dict(), tmp_path / "mine.safetensors")
    again = summand.load("scenes-vit", checkpoint=tmp_path / "mine.safetensors")
    assert torch.equal(again.encode_text("a red star"), model.encode_text("a red star"))
    assert again.name == "scenes-vit/mine"
    assert not again.random_weights
