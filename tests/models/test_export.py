"""Exported models, run by torch and onnxruntime alone, against the definition of what was ablated."""

from __future__ import annotations

import json
import warnings

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch.nn import functional as F

import summand
from summand import Moments, SummandError
from summand.models.ablations import Ablation, AxisRemoval, NeuronAblation
from summand.models.export.module import Exported, traced
from tests.border import open_clip
from tests.tiny import clip

HEADS = ((0, 1), (1, 0))


@pytest.fixture(scope="module")
def tiny():
    return summand.wrap(clip(), tokenizer=open_clip.get_tokenizer("ViT-B-32", context_length=16), name="tiny")


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def mean_of_heads(model, pixels):
    return Moments().update(model.decompose(pixels).head_effects()).mean


def axes_of(embed, seed=0):
    return torch.linalg.qr(torch.randn(embed, 2, generator=torch.Generator().manual_seed(seed)))[0].T


def without_heads(model, pixels, strength=1.0):
    out, heads = model.encode_image(pixels).clone(), model.decompose(pixels).heads()
    for layer, head in HEADS:
        out -= strength * (heads[:, layer, head] - heads[:, layer, head].mean(dim=0))
    return out


@pytest.mark.slow
def test_onnx_is_the_ablated_model_for_any_number_of_images(tmp_path, tiny, pixels):
    onnxruntime = pytest.importorskip("onnxruntime")
    ablated = Ablation.of(tiny, HEADS, mean_of_heads(tiny, pixels), strength=0.7).apply(tiny)
    found = summand.export(ablated, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(str(found.path))
    want = without_heads(tiny, pixels, 0.7)
    for count in (1, 5):
        (got,) = session.run(["embedding"], {"pixels": pixels[:count].numpy()})
        torch.testing.assert_close(torch.from_numpy(got), want[:count], rtol=1e-4, atol=1e-4)
    assert json.loads(session.get_modelmeta().custom_metadata_map["image_size"]) == [32, 32]


@pytest.mark.slow
def test_a_program_of_torch_alone_holds_all_edits_at_once(tmp_path, tiny, pixels):
    neurons = NeuronAblation.of(tiny, 0, [3, 40], Moments().update(tiny.second_order(pixels, 0)).mean)
    axes = axes_of(16)
    repaired = AxisRemoval.of(tiny, axes, tiny.encode_image(pixels).mean(dim=0)).apply(neurons.apply(tiny))
    found = summand.export(repaired, tmp_path / "a.pt2", classes=["a star", "a ring"], templates="{}")
    program = torch.export.load(found.path)
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert [name for name in called if not name.startswith(("aten.", "<built-in function"))] == []

    effects = tiny.second_order(pixels, 0).vectors()[:, [3, 40]].sum(dim=1)
    out = tiny.encode_image(pixels) - effects + effects.mean(dim=0)
    out = out - (out - tiny.encode_image(pixels).mean(dim=0)) @ axes.T @ axes
    texts = tiny.encode_text(["a star", "a ring"])
    want = float(tiny.clip.logit_scale.detach().exp()) * F.normalize(out, dim=1) @ texts.T
    torch.testing.assert_close(program.module()(pixels), want, rtol=1e-3, atol=1e-3)
    assert found.classes == ["a star", "a ring"]


@pytest.mark.slow
def test_what_only_the_whole_network_computes_falls_out_of_the_graph(tiny, pixels):
    """The last block is computed for the class token alone, so that an ablated model costs no more than the plain
    one: of its two full attentions one is left."""
    ablated = Ablation.of(tiny, HEADS, mean_of_heads(tiny, pixels)).apply(tiny)
    with torch.no_grad():
        program = traced(Exported(ablated).eval(), pixels)
    full = [node for node in program.graph.nodes if "scaled_dot_product" in str(node.target)]
    assert len(full) == tiny.tower.layers - 1


def plain_of(file):
    """The network itself with the weights of the file, as whoever has no Summand loads them."""
    made = clip(seed=1)
    made.load_state_dict(load_file(file))
    return made.eval()


def test_an_axis_of_the_embedding_is_one_of_the_weights(tmp_path, tiny, pixels):
    axes, out = axes_of(16), tiny.encode_image(pixels)
    edited = AxisRemoval.of(tiny, axes, out.mean(dim=0)).apply(tiny)
    found = summand.export(edited, tmp_path / "a.safetensors")
    with torch.no_grad():
        got = plain_of(found.path).encode_image(pixels)
    torch.testing.assert_close(got, out - (out - out.mean(dim=0)) @ axes.T @ axes, rtol=1e-4, atol=1e-4)
    with safe_open(found.path, "pt") as file:
        assert json.loads(file.metadata()["model"]) == edited.name


@pytest.mark.parametrize("where", ["heads", "terms", "embedding", "ablation"])
def test_heads_of_an_attention_pool_are_columns_of_its_weights(tmp_path, resnet, where):
    x = resnet.preprocess(summand.scenes.sample(4, seed=2).images)
    parts, heads = resnet.decompose(x), ((0, 1), (0, 3))
    terms, out, axes = parts.heads()[:, 0], resnet.encode_image(x), axes_of(resnet.tower.embed)
    some = terms[:, [1, 3]].sum(dim=1)
    whole = {"heads": some, "terms": terms.sum(dim=1), "embedding": out, "ablation": some}[where]
    moved = whole - whole.mean(dim=0)
    if where == "ablation":
        edit, want = Ablation.of(resnet, heads, mean_of_heads(resnet, x), strength=1.5), out - 1.5 * moved
    else:
        edit = AxisRemoval.of(resnet, axes, whole.mean(dim=0), where, heads if where == "heads" else ())
        want = out - moved @ axes.T @ axes
    found = summand.export(edit.apply(resnet), tmp_path / "a.safetensors")
    again = summand.load("scenes-rn", checkpoint=found.path)
    torch.testing.assert_close(again.encode_image(x), want, rtol=1e-4, atol=1e-4)


def test_what_no_weights_hold_is_refused_by_name(tmp_path, tiny, pixels):
    neurons = NeuronAblation.of(tiny, 0, [3], torch.zeros(128, 2)).apply(tiny)
    with pytest.raises(SummandError, match=r"neuron ablation .* export to \.pt2 or \.onnx"):
        summand.export(neurons, tmp_path / "a.safetensors")
    heads = Ablation.of(tiny, HEADS, mean_of_heads(tiny, pixels)).apply(tiny)
    with pytest.raises(SummandError, match=r"2 heads.* is no edit of weights: later layers read"):
        summand.export(heads, tmp_path / "a.safetensors")
    with pytest.raises(SummandError, match="holds weights alone; classes go into a program"):
        summand.export(tiny, tmp_path / "a.safetensors", classes="star,ring", templates="{}")
    assert list(tmp_path.iterdir()) == []


def test_places(tmp_path, tiny):
    with pytest.raises(SummandError, match=r"must end in \.pt2, \.onnx, \.safetensors; got 'a\.pth'"):
        summand.export(tiny, tmp_path / "a.pth")
    (tmp_path / "b.pt2").mkdir()
    with pytest.raises(SummandError, match="is a folder"):
        summand.export(tiny, tmp_path / "b.pt2")


def test_a_tower_that_torch_cannot_trace(tmp_path):
    class Choosing(torch.nn.Identity):
        def forward(self, tokens):
            return tokens if float(tokens.sum()) > 0 else tokens * 1

    made = clip()
    made.visual.ln_pre = torch.nn.Sequential(made.visual.ln_pre, Choosing()).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(SummandError, match=r"torch\.export cannot trace it: .*Remedy: .*classifier\.npz"):
            summand.export(summand.wrap(made, name="choosing"), tmp_path / "a.pt2")
    assert list(tmp_path.iterdir()) == []
