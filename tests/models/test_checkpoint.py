"""Checkpoints as training leaves them: each read for the CLIP that it holds, or refused with what to do."""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch.nn import functional as F

import summand
from summand.models.checkpoint_names import clip_tensors
from tests import tiny
from tests.border import configuration, open_clip
from tests.models.test_load import activations, same_numbers, tiny_name  # noqa: F401

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def tuned() -> Any:
    return tiny.clip(seed=5)


@pytest.fixture(scope="module")
def state(tuned) -> State:
    return tuned.state_dict()


@pytest.fixture(scope="module")
def clip() -> Any:
    return tiny.clip()


@pytest.fixture
def plain(monkeypatch) -> str:
    """An architecture that was never trained with QuickGELU."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-plain", tiny.config())
    return "tiny-plain"


@pytest.fixture
def tagged(monkeypatch, tmp_path) -> Any:
    """A tag `base` of tiny-plain, with the model whose weights it has."""
    base = tiny.clip(seed=1)
    save_file({k: v.contiguous() for k, v in base.state_dict().items()}, tmp_path / "base.safetensors")
    look = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "bilinear", "resize_mode": "squash"}
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-plain", tiny.config())
    tags = {"base": {"file": str(tmp_path / "base.safetensors"), **look}}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-plain", tags)
    return base


def under(prefix: str, state: State) -> State:
    return {prefix + name: value for name, value in state.items()}


def saved(path: Path, found) -> str:
    torch.save(found, path)
    return str(path)


@torch.no_grad()
def images_of(model: Any, x: torch.Tensor) -> torch.Tensor:
    return model.encode_image(x)


@torch.no_grad()
def texts_of(model: Any, tokens: torch.Tensor) -> torch.Tensor:
    return F.normalize(model.encode_text(tokens), dim=-1)


def refused(match: str, *args, **options) -> None:
    with pytest.raises(summand.SummandError, match=match):
        summand.load(*args, **options)


# Layouts


@pytest.mark.slow
@pytest.mark.parametrize(
    "prefix",
    [
        "model.",
        "clip.",
        "net.",
        "student.",
        "model.clip.",
        "module.model._orig_mod.",
        "_forward_module.model.",
        "a.b.c.",
    ],
)
@pytest.mark.parametrize("key", ["state_dict", "model", "module", None])
def test_any_one_prefix_in_any_wrapping(tmp_path, plain, tuned, state, prefix, key):
    found = under(prefix, state)
    found = (
        found if key is None else {"epoch": 3, "pytorch-lightning_version": "2.1", key: found, "optimizer_states": [{}]}
    )
    same_numbers(summand.load(plain, checkpoint=saved(tmp_path / "x.ckpt", found)), tuned)


def test_prefixes_inside_of_the_names(tmp_path, plain, tuned, state):
    found = {
        n.replace("visual.", "visual.module.").replace("resblocks.1.", "resblocks.1._orig_mod."): v
        for n, v in state.items()
    }
    same_numbers(summand.load(plain, checkpoint=saved(tmp_path / "x.pt", {"model": {"state_dict": found}})), tuned)


@pytest.mark.parametrize("custom", [False, True])
def test_the_text_tower_in_both_layouts(tmp_path, monkeypatch, state, tuned, custom):
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-plain", tiny.config(custom_text=custom))
    inside = {n if n.startswith(("visual", "logit")) else f"text.{n}": value for n, value in state.items()}
    for found in (state, under("model.", inside)):
        same_numbers(summand.load("tiny-plain", checkpoint=saved(tmp_path / "x.pt", found)), tuned)


def test_numbers_of_numpy_and_of_python_beside_the_weights(tmp_path, plain, tuned, state):
    beside = {
        "epoch": np.float64(3.5),
        "step": np.int64(7),
        "best": np.array([1.0, 2.0]),
        "seen": np.bool_(True),
        "when": np.datetime64("2024-01-01", "s"),
        "history": collections.OrderedDict(loss=[np.float32(1), 0.5]),
        "config": {"name": "run", "layers": (1, 2), "none": None},
    }
    same_numbers(summand.load(plain, checkpoint=saved(tmp_path / "x.pt", {**beside, "state_dict": state})), tuned)


@pytest.mark.parametrize("value", [argparse.Namespace(lr=1e-3), Path("x"), collections.UserDict(a=1)])
def test_objects_beside_the_weights_are_named(tmp_path, plain, state, value):
    name = f"{type(value).__module__.split('.')[0]}.*{type(value).__name__}.*weights_only=False.*torch.save"
    refused(name, plain, checkpoint=saved(tmp_path / "x.ckpt", {"state_dict": state, "hyper_parameters": value}))


def test_a_whole_model_is_named(tmp_path, plain, tuned):
    refused("open_clip.model.CLIP", plain, checkpoint=saved(tmp_path / "x.pt", tuned))


# Several models in one file


@pytest.mark.parametrize("key", ["state_dict_ema", "ema", "ema_state_dict", "model_ema"])
def test_averages_beside_the_weights(tmp_path, plain, tuned, state, key):
    averaged = tiny.clip(seed=6)
    file = saved(tmp_path / "x.pt", {"state_dict": state, key: under("module.", averaged.state_dict())})
    with pytest.warns(summand.SummandWarning, match=f"averaged weights too.*checkpoint='x.pt#{key}'"):
        same_numbers(summand.load(plain, checkpoint=file), tuned)
    model = summand.load(plain, checkpoint=f"{file}#{key}")
    same_numbers(model, averaged)
    assert model.name == f"tiny-plain/x#{key}"
    same_numbers(summand.load(plain, f"{file}#{key}"), averaged)


@pytest.mark.parametrize("key", ["state_dict_ema", "ema", "ema_state_dict", "model_ema"])
def test_averages_alone(tmp_path, plain, tuned, state, key):
    file = saved(tmp_path / "x.pt", {"epoch": 1, key: state})
    with pytest.warns(summand.SummandWarning, match=f"averaged weights alone .{key}"):
        same_numbers(summand.load(plain, checkpoint=file), tuned)


@pytest.mark.parametrize("prefix", ["ema_model.", "model_ema.", "averaged.clip."])
def test_averages_among_the_names(tmp_path, plain, tuned, state, prefix):
    averaged = tiny.clip(seed=6)
    both = {**under("model.", state), **under(prefix, averaged.state_dict())}
    file = saved(tmp_path / "x.ckpt", {"state_dict": both})
    with pytest.warns(summand.SummandWarning, match="averaged weights too"):
        same_numbers(summand.load(plain, checkpoint=file), tuned)
    same_numbers(summand.load(plain, checkpoint=f"{file}#{prefix.split('.')[0]}"), averaged)
    same_numbers(summand.load(plain, checkpoint=f"{file}#{prefix.removesuffix('.')}"), averaged)


def test_averages_without_dots_in_their_names(tmp_path, plain, tuned, state):
    flat = {f"model_ema.{n.replace('.', '')}": value for n, value in state.items()}
    file = saved(
        tmp_path / "x.ckpt", {"state_dict": {**under("model.", state), **flat, "model_ema.decay": torch.tensor(0.9)}}
    )
    with pytest.warns(summand.SummandWarning, match="averaged weights too"):
        same_numbers(summand.load(plain, checkpoint=file), tuned)


def test_an_averaged_model_of_torch(tmp_path, plain, tuned):
    averaged = torch.optim.swa_utils.AveragedModel(tuned)
    file = saved(tmp_path / "x.pt", averaged.state_dict())
    with pytest.warns(summand.SummandWarning, match="averaged weights alone"):
        same_numbers(summand.load(plain, checkpoint=file), tuned)


def test_two_models_are_asked_about(tmp_path, plain, tuned, state):
    teacher = tiny.clip(seed=6)
    both = {**under("student.", state), **under("teacher.", teacher.state_dict())}
    file = saved(tmp_path / "x.ckpt", {"state_dict": both})
    refused(r"several CLIPs under the names 'student.', 'teacher.'.*'x.ckpt#student'", plain, checkpoint=file)
    same_numbers(summand.load(plain, checkpoint=f"{file}#student"), tuned)
    same_numbers(summand.load(plain, checkpoint=f"{file}#teacher"), teacher)
    file = saved(tmp_path / "y.pt", {"first": state, "second": teacher.state_dict()})
    refused(r"several sets of weights.*'y.pt#first' or .*'y.pt#second'", plain, checkpoint=file)
    same_numbers(summand.load(plain, checkpoint=f"{file}#second"), teacher)
    refused("no part 'third'.*there are first, second", plain, checkpoint=f"{file}#third")


def test_a_head_beside_the_clip_is_named_and_left_out_on_purpose(tmp_path, plain, tuned, state):
    head = {"classification_head.weight": torch.zeros(3, 16), "classification_head.bias": torch.zeros(3)}
    refused(
        "2 unknown .classification_head.weight.*head of your own",
        plain,
        checkpoint=saved(tmp_path / "x.pt", {**state, **head}),
    )
    inside = {**under("model.", state), **head}
    file = saved(tmp_path / "y.ckpt", {"state_dict": inside})
    refused(r"more than a CLIP under 'model.': classification_head.weight.*'y.ckpt#model'", plain, checkpoint=file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        same_numbers(summand.load(plain, checkpoint=f"{file}#model"), tuned)


# One tower


@pytest.mark.parametrize("layout", ["visual.", "", "encoder.", "model.visual."])
def test_an_image_tower_alone(tmp_path, tagged, tuned, state, layout):
    alone = {layout + n.removeprefix("visual."): value for n, value in state.items() if n.startswith("visual.")}
    file = saved(tmp_path / "x.pt", alone)
    refused("image tower alone.*pretrained=TAG", "tiny-plain", checkpoint=file)
    model = summand.load("tiny-plain", "base", checkpoint=file)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.encode_image(x), images_of(tuned, x))
    assert torch.equal(model.encode_text("a star"), summand.load("tiny-plain", "base").encode_text("a star"))
    folder = tiny.write_folder(tmp_path / "m", tagged)
    assert torch.equal(summand.load(f"local-dir:{folder}", checkpoint=file).encode_image(x), model.encode_image(x))


@pytest.mark.parametrize("prefix", ["", "text.", "model."])
def test_a_text_tower_alone(tmp_path, tagged, tuned, state, prefix):
    alone = {prefix + n: value for n, value in state.items() if not n.startswith(("visual.", "logit"))}
    file = saved(tmp_path / "x.pt", alone)
    refused("text tower alone.*pretrained=TAG", "tiny-plain", checkpoint=file)
    model = summand.load("tiny-plain", "base", checkpoint=file)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.encode_image(x), images_of(tagged, x))
    truth = texts_of(tuned, open_clip.SimpleTokenizer(context_length=16)(["a star"]))
    assert torch.equal(model.encode_text("a star"), truth)


def test_an_image_tower_of_a_resnet_alone(tmp_path, monkeypatch):
    vision = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 16, "image_size": 64}
    mine = tiny.clip(vision=vision)
    folder = tiny.write_folder(tmp_path / "m", tiny.clip(seed=2, vision=vision), vision=vision)
    file = saved(tmp_path / "x.pt", mine.visual.state_dict())
    x = torch.randn(2, 3, 64, 64)
    assert torch.equal(summand.load(f"local-dir:{folder}", checkpoint=file).encode_image(x), images_of(mine, x))


def test_the_other_tower_that_cannot_be_had(tmp_path, tagged, tuned, monkeypatch):
    look = open_clip.get_pretrained_cfg("tiny-plain", "base") | {"hf_hub": "org/none/", "file": ""}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-plain", {"away": look})
    file = saved(tmp_path / "x.pt", tuned.visual.state_dict())
    match = "image tower alone, and the text tower cannot be had: .*HF_HUB_OFFLINE"
    refused(match, "tiny-plain", "away", checkpoint=file)


def test_scenes_take_a_tower_alone(tmp_path, vit, pixels):
    mine = summand.load("scenes-vit", random_init=True, seed=3)
    file = saved(tmp_path / "x.pt", mine.clip.visual.state_dict())
    model = summand.load("scenes-vit", checkpoint=file)
    assert torch.equal(model.encode_image(pixels), mine.encode_image(pixels))
    assert torch.equal(model.encode_text("a red star"), vit.encode_text("a red star"))


# The activation and the preprocessing


def test_the_activation_is_asked_for(tmp_path, tiny_name):  # noqa: F811
    quick, file = tiny.clip(seed=5, quick_gelu=True), tmp_path / "x.pt"
    saved(file, quick.state_dict())
    refused(
        r"GELU or QuickGELU.*pretrained=TAG.*QuickGELU: quick_tag; GELU: plain.*activation='gelu'",
        "tiny",
        checkpoint=file,
    )
    for model in (
        summand.load("tiny", "quick_tag", checkpoint=file),
        summand.load("tiny", checkpoint=file, activation="quickgelu"),
        summand.load("tiny", "plain", checkpoint=file, activation="quickgelu"),
        summand.load("tiny-quickgelu", checkpoint=file),
    ):
        assert activations(model.clip) == ({"QuickGELU"}, {"QuickGELU"})
        same_numbers(model, quick)
    for model in (summand.load("tiny", file, activation="gelu"), summand.load("tiny", "plain", checkpoint=file)):
        assert activations(model.clip) == ({"GELU"}, {"GELU"})
    refused("contradicts tiny-quickgelu", "tiny-quickgelu", checkpoint=file, activation="gelu")
    refused("contradicts the tag plain", "tiny", "plain", activation="quickgelu")
    refused("leave out activation", "scenes-vit", activation="gelu")


def test_wrong_weights_are_said_before_the_activation_is_asked_for(tmp_path, tiny_name):  # noqa: F811
    refused("do not fit", "tiny", checkpoint=saved(tmp_path / "x.pt", tiny.clip(vision={"layers": 3}).state_dict()))


def openai(state: State, resolution: int = 32) -> State:
    """As OpenAI's archives hold it: half precision, and three numbers."""
    numbers = {"input_resolution": resolution, "context_length": 16, "vocab_size": 49408}
    half = {n: v.half() if v.ndim > 1 and "embedding" not in n else v for n, v in state.items()}
    return {**half, **{name: torch.tensor(value) for name, value in numbers.items()}}


def test_the_layout_of_openai_says_its_activation(tmp_path, tiny_name):  # noqa: F811
    quick = tiny.clip(seed=5, quick_gelu=True)
    quick.load_state_dict({n: v.float() for n, v in openai(quick.state_dict()).items() if n in quick.state_dict()})
    file = saved(tmp_path / "x.pt", openai(quick.state_dict()))
    same_numbers(summand.load("tiny", checkpoint=file), quick)
    refused("layout of OpenAI's release.*tag plain says GELU", "tiny", "plain", checkpoint=file)
    folder = tiny.write_folder(tmp_path / "m", quick)
    save_file(
        {n: v.contiguous() for n, v in openai(quick.state_dict()).items()}, folder / "open_clip_model.safetensors"
    )
    same_numbers(summand.load(f"local-dir:{folder}"), quick)


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-B-16", "ViT-L-14", "ViT-L-14-336", "ViT-H-14", "RN50", "RN101"])
def test_published_architectures_of_both_activations_ask(name):
    from summand.models.checkpoint import Checkpoint
    from summand.models.fine_tuned import activation_of

    state = Checkpoint("x.pt", {})
    assert activation_of(name, None, state, None) is None
    assert activation_of(name, None, state, "gelu") is False
    assert activation_of(f"{name}-quickgelu", None, state, None) is True
    assert activation_of(name, "openai", state, None) is (name != "ViT-H-14")


@pytest.mark.parametrize(
    "name", ["ViT-B-16-SigLIP", "ViT-B-16-plus-240", "coca_ViT-B-32", "ViT-S-32-alt", "EVA02-B-16"]
)
def test_published_architectures_of_one_activation_do_not_ask(name):
    from summand.models.checkpoint import Checkpoint
    from summand.models.fine_tuned import activation_of

    assert activation_of(name, None, Checkpoint("x.pt", {}), None) is False


def test_preprocessing_is_that_of_all_tags_where_they_agree():
    from summand.models.checkpoint import Checkpoint
    from summand.models.fine_tuned import preprocessing_of

    state = Checkpoint("x.pt", {})
    look = preprocessing_of("ViT-B-16-SigLIP", None, state)["force_preprocess_cfg"]
    assert (look["mean"], look["resize_mode"]) == ((0.5, 0.5, 0.5), "squash")
    assert preprocessing_of("ViT-B-32", None, state)["force_preprocess_cfg"]["mean"][0] == 0.48145466
    with pytest.warns(summand.SummandWarning, match="how its pixels are normalised"):
        assert preprocessing_of("ViT-L-14", None, state) == {}
    assert preprocessing_of("ViT-L-14", "laion2b_s32b_b82k", state)["force_preprocess_cfg"]["mean"] == (0.5, 0.5, 0.5)


# Sizes


def test_long_texts_are_read_at_their_own_length(tmp_path, plain):
    long = tiny.clip(seed=5, text={"context_length": 40})
    model = summand.load(plain, checkpoint=saved(tmp_path / "x.pt", long.state_dict()))
    text = "a red star " * 10
    tokens = open_clip.SimpleTokenizer(context_length=40)([text])
    assert torch.equal(model.encode_text(text), texts_of(long, tokens))
    with pytest.raises(summand.SummandError, match="needs 62 tokens, the model reads 40"):
        model.encode_text("a red star " * 20)
    folder = tiny.write_folder(tmp_path / "m", long)  # whose configuration says 16
    assert torch.equal(summand.load(f"local-dir:{folder}").encode_text(text), model.encode_text(text))


def test_long_clip_has_two_tables_of_positions(tmp_path, plain):
    """As published: table 1 where mask1 is 1 (the first 20 positions), table 2 elsewhere."""
    long = tiny.clip(seed=5, text={"context_length": 40})
    first, second = torch.randn(40, 16), torch.randn(40, 16)
    mask1, mask2 = torch.zeros(40, 1), torch.zeros(40, 1)
    mask1[:20], mask2[20:] = 1, 1
    found = {**long.state_dict(), "positional_embedding": first, "positional_embedding_res": second}
    long.load_state_dict({**long.state_dict(), "positional_embedding": first * mask1 + second * mask2})
    model = summand.load(plain, checkpoint=saved(tmp_path / "x.pt", found))
    tokens = open_clip.SimpleTokenizer(context_length=40)(["a red star " * 10])
    assert torch.equal(model.encode_text("a red star " * 10), texts_of(long, tokens))


def test_scenes_have_one_length(tmp_path, vit):
    state = dict(vit.clip.state_dict())
    state["positional_embedding"] = state["positional_embedding"].repeat(2, 1)
    refused("positional_embedding .* instead of", "scenes-vit", checkpoint=saved(tmp_path / "x.pt", state))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_images_are_read_at_their_own_size_and_it_is_said(tmp_path, plain, dtype):
    large = tiny.clip(seed=5, vision={"image_size": 48})
    state = {n: v.to(dtype) for n, v in large.state_dict().items()}
    large.load_state_dict({n: v.float() for n, v in state.items()})
    file = saved(tmp_path / "x.pt", state)
    x = torch.randn(2, 3, 48, 48)
    with pytest.warns(summand.SummandWarning, match="trained on 48 × 48 pixels"):
        model = summand.load(plain, checkpoint=file)
    assert torch.equal(model.encode_image(x), images_of(large, x))
    assert model.preprocess(summand.scenes.sample(1, seed=1).images).shape == (1, 3, 48, 48)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(summand.load(plain, checkpoint=file, image_size=48).encode_image(x), model.encode_image(x))
        smaller = summand.load(plain, checkpoint=file, image_size=32)
    table = large.visual.positional_embedding.detach()
    grid = F.interpolate(table[1:].T.reshape(1, 32, 6, 6), size=(4, 4), mode="bicubic", antialias=True)
    truth = torch.cat([table[:1], grid.reshape(32, 16).T])
    torch.testing.assert_close(smaller.clip.visual.positional_embedding, truth, rtol=0, atol=1e-6)


def test_a_resnet_is_read_at_its_own_size(tmp_path, monkeypatch):
    vision = {"layers": [1, 1, 1, 1], "width": 8, "head_width": 16, "image_size": 64}
    large = tiny.clip(vision={**vision, "image_size": 96})
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-rn", tiny.config(vision=vision))
    file = saved(tmp_path / "x.pt", large.state_dict())
    with pytest.warns(summand.SummandWarning, match="trained on 96 × 96 pixels"):
        model = summand.load("tiny-rn", checkpoint=file)
    x = torch.randn(2, 3, 96, 96)
    assert torch.equal(model.encode_image(x), images_of(large, x))
    refused("image_size=128: its positions cannot be interpolated", "tiny-rn", checkpoint=file, image_size=128)


def test_a_grid_that_is_no_square(tmp_path, plain):
    wide = tiny.clip(seed=5, vision={"image_size": (32, 48)})
    file = saved(tmp_path / "x.pt", wide.state_dict())
    refused(r"24 patches an image, which are no square.*image_size=\(HEIGHT, WIDTH\)", plain, checkpoint=file)
    refused(r"24 patches an image, which are no square", plain, checkpoint=file, image_size=64)
    x = torch.randn(2, 3, 32, 48)
    model = summand.load(plain, checkpoint=file, image_size=(32, 48))
    assert torch.equal(model.encode_image(x), images_of(wide, x))


def test_a_tags_own_weights_in_half_precision_at_another_size(tmp_path, tagged):
    half = {n: v.half().contiguous() for n, v in tagged.state_dict().items()}
    save_file(half, tmp_path / "base.safetensors")
    save_file({n: v.float() for n, v in half.items()}, tmp_path / "full.safetensors")
    x = torch.randn(2, 3, 64, 64)
    model = summand.load("tiny-plain", "base", image_size=64)
    full = summand.load("tiny-plain", "base", checkpoint=tmp_path / "full.safetensors", image_size=64)
    assert torch.equal(model.encode_image(x), full.encode_image(x))
    grey = summand.scenes.sample(1, seed=1).images
    assert torch.equal(model.preprocess(grey), full.preprocess(grey))


def test_a_logit_bias_does_not_matter(tmp_path, plain, tuned, state):
    same_numbers(
        summand.load(plain, checkpoint=saved(tmp_path / "x.pt", {**state, "logit_bias": torch.tensor(-10.0)})), tuned
    )


# Numbers


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda v: v.to(torch.float8_e4m3fn), "float8_e4m3fn"),
        (lambda v: v.to(torch.int8), "int8"),
        (lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8), "qint8"),
        (lambda v: v.to(torch.complex64), "complex64"),
        (lambda v: v > 0, "bool"),
        (lambda v: v.to_sparse(), "sparse"),
        (lambda v: v.to("meta"), "meta"),
    ],
)
def test_weights_that_are_no_plain_numbers(tmp_path, plain, state, make, match):
    found = {**state, "visual.proj": make(state["visual.proj"])}
    refused(match, plain, checkpoint=saved(tmp_path / "x.pt", found))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_diverged(tmp_path, plain, state, value):
    found = {**state, "ln_final.weight": torch.full((16,), value)}
    refused(
        r"NaN or infinite numbers in 1 weights \(ln_final.weight\)", plain, checkpoint=saved(tmp_path / "x.pt", found)
    )


def test_weights_that_were_never_filled(tmp_path, plain, state):
    found = {name: torch.zeros_like(value) for name, value in state.items()}
    refused("nothing but zeros", plain, checkpoint=saved(tmp_path / "x.pt", found))


@pytest.mark.parametrize("name", ["visual.proj", "text_projection"])
def test_a_projection_of_zeros_is_refused_where_it_is_loaded(tmp_path, plain, state, name):
    found = {**state, name: torch.zeros_like(state[name])}
    refused(f"nothing but zeros in {name}, the projection", plain, checkpoint=saved(tmp_path / "x.pt", found))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read(tmp_path, plain, state, dtype):
    cast = {n: v.to(dtype) for n, v in state.items()}
    same = tiny.clip()
    same.load_state_dict({n: v.float() for n, v in cast.items()})
    same_numbers(summand.load(plain, checkpoint=saved(tmp_path / "x.pt", cast)), same)


# What else people have in such files


def test_layouts_of_others_say_whose_they_are(tmp_path, plain, state):
    weight = torch.zeros(4, 4)
    for name, match in (
        ("vision_model.encoder.layers.0.self_attn.q_proj.weight", "layout of transformers.*hf:FOLDER"),
        ("base_model.model.visual.transformer.resblocks.0.mlp.c_fc.lora_A.default.weight", "merge_and_unload"),
        ("visual.transformer.resblocks.0.mlp.c_fc.parametrizations.weight.original0", "remove_parametrizations"),
    ):
        refused(match, plain, checkpoint=saved(tmp_path / "x.pt", {**state, name: weight}))


def test_files_that_are_none(tmp_path, plain, state):
    refused("is a folder.*local-dir:", plain, checkpoint=tmp_path)
    (tmp_path / "x.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    refused("pointer of Git LFS", plain, checkpoint=tmp_path / "x.safetensors")
    refused("holds no weights by name but nothing", plain, checkpoint=saved(tmp_path / "x.pt", {}))
    refused("'a' is dict", plain, checkpoint=saved(tmp_path / "x.pt", {"a": {"b": 1}}))
    (tmp_path / "page.pt").write_text("<!doctype html>")  # what a download leaves that was none
    refused("page.pt is no checkpoint.*begins with b'<!doctype html>'", plain, checkpoint=tmp_path / "page.pt")
    whole = Path(saved(tmp_path / "whole.pt", state)).read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    refused("cut.pt", plain, checkpoint=tmp_path / "cut.pt")
    for name, to in (("gone.pt", tmp_path / "nothing.pt"), ("round.pt", tmp_path / "round.pt")):
        (tmp_path / name).symlink_to(to)
        refused(f"{name} is a link to .*{to.name}, which is not there", plain, checkpoint=tmp_path / name)
    os.mkfifo(tmp_path / "pipe.pt")  # which would never end
    refused("a device or a pipe", plain, checkpoint=tmp_path / "pipe.pt")
    numbered = saved(tmp_path / "numbered.pt", dict(enumerate(state.values())))
    refused(r"unknown \(0, 1, 2", plain, checkpoint=numbered)
    refused(r"1 unknown \(3\)", plain, checkpoint=saved(tmp_path / "one.pt", {**state, 3: torch.ones(2)}))


def test_a_file_with_a_hash_in_its_name(tmp_path, plain, tuned, state):
    same_numbers(summand.load(plain, checkpoint=saved(tmp_path / "run#3.pt", state)), tuned)


@given(
    st.lists(
        st.text("abv.", max_size=5) | st.sampled_from(["visual.a", "x.visual.b", "conv1.weight", "c.conv1.weight"])
    )
)
def test_strange_names_are_read_or_refused(names):
    found = {name: torch.zeros(2, 2) for name in names}
    with contextlib.suppress(summand.SummandError):
        assert len(clip_tensors(found, None, "x.pt")) == len(found) > 0


@pytest.mark.parametrize(
    "name", ["ViT-B-32", "RN50", "coca_ViT-B-32", "EVA02-B-16", "ViT-B-16-SigLIP", "MobileCLIP-S1"]
)
def test_published_architectures_keep_their_names(name):
    config = configuration(name)
    custom = config.pop("custom_text", False)
    kind = open_clip.CoCa if "multimodal_cfg" in config else open_clip.CustomTextCLIP if custom else open_clip.CLIP
    with torch.device("meta"):
        made = kind(**config)
    names, visual = set(made.state_dict()), made.visual.state_dict()
    for prefix in ("", "model.", "module.model.clip."):
        assert set(clip_tensors(under(prefix, made.state_dict()), None, "x.pt")) == names
    for prefix in ("visual.", "encoder.", "", "model.visual."):
        assert set(clip_tensors(under(prefix, visual), None, "x.pt")) == {n for n in names if n.startswith("visual.")}


def test_other_weights_beside_the_model_are_said(tmp_path, plain, tuned, state):
    file = saved(
        tmp_path / "x.pt", {"model": state, "adapter": {"down.weight": torch.zeros(2, 2)}, "optimizer": {"a": {}}}
    )
    with pytest.warns(summand.SummandWarning, match="other weights beside 'model', which are not read: adapter"):
        same_numbers(summand.load(plain, checkpoint=file), tuned)
