"""Exported models, run by torch and onnxruntime alone, against the definition of what was ablated."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch.nn import functional as F

import summand
from summand import Moments, SummandError
from summand.effects.autoencoder import Autoencoder
from summand.models.ablations import Ablation, AxisRemoval, NeuronAblation
from summand.models.export.module import Exported, traced
from summand.models.export.patient import patient
from summand.models.saved_weights import save_weights
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


@pytest.mark.slow
def test_steered_pairs_cost_nothing_in_a_program(tmp_path, resnet):
    """They are in its weights: step for step the program of the plain model."""
    x = resnet.preprocess(summand.scenes.sample(4, seed=2).images)
    edited = resnet.steer({"0.1": 0.5, "0.3": 0, "62x3": 2, "10x1": 0, "5x2": torch.tensor([0.3])})
    files = [summand.export(one, tmp_path / f"{place}.pt2").path for place, one in enumerate((resnet, edited))]
    plain, program = (torch.export.load(file) for file in files)
    assert [str(node.target) for node in program.graph.nodes] == [str(node.target) for node in plain.graph.nodes]
    torch.testing.assert_close(program.module()(x), edited.encode_image(x), rtol=1e-4, atol=1e-4)


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


def test_a_steered_pool_is_one_of_the_weights(tmp_path, resnet):
    x = resnet.preprocess(summand.scenes.sample(3, seed=2).images)
    channels = resnet.decompose(x).head_effects().coefficients.shape[-1]
    steer = {"7x2": 3, "9x0": torch.tensor([0.4]), "0.0": 0.5, "0.3": 0.1 * torch.ones(channels)}
    steered = resnet.steer(steer)
    found = summand.export(steered, tmp_path / "a.safetensors")
    again = summand.load("scenes-rn", checkpoint=found.path)
    torch.testing.assert_close(again.encode_image(x), steered.encode_image(x), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_steered_heads_neurons_and_latents_in_one_program(tmp_path, tiny, pixels, suffix):
    """Against the definition M' = M + Σ (k − 1) φ, on top of an ablation of heads."""
    made = torch.Generator().manual_seed(3)
    encoder, rows = torch.randn(32, 12, generator=made), torch.randn(12, 32, generator=made)
    sae = Autoencoder(0, encoder, torch.zeros(12), rows, torch.zeros(32), torch.zeros(32), top_k=4)
    model = tiny.with_autoencoder(sae)
    assert tiny.tower.layers == 2
    latent = int((model.reconstruction(pixels).codes > 0).sum(dim=(0, 1)).argmax())
    ablated = Ablation.of(tiny, [(0, 1)], mean_of_heads(tiny, pixels)).apply(model)
    edited = ablated.steer({f"0#{latent}": 0, "0:3": 2.5, "1.0": 0.5})
    found = summand.export(edited, tmp_path / f"a{suffix}")
    if suffix == ".onnx":
        onnxruntime = pytest.importorskip("onnxruntime")
        (got,) = onnxruntime.InferenceSession(str(found.path)).run(None, {"pixels": pixels.numpy()})
        got = torch.from_numpy(got)
    else:
        got = torch.export.load(found.path).module()(pixels)
    heads = tiny.decompose(pixels).heads()
    effects, written = tiny.second_order(pixels, 0), model.latents(pixels)
    left = torch.tensor([0.5 if path == (1, 0) else 1.0 for path in effects.path_index])
    moved = 1.5 * effects.coefficients[:, 3, :, None] * effects.directions[3]
    moved = moved - written.coefficients[:, latent, :, None] * written.directions[latent]
    want = tiny.encode_image(pixels) - heads[:, 0, 1] + heads[:, 0, 1].mean(dim=0) - 0.5 * heads[:, 1, 0]
    torch.testing.assert_close(got, want + torch.einsum("p,ipe->ie", left, moved), rtol=1e-3, atol=1e-3)


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
    with pytest.raises(SummandError, match=r"a path is needed that ends in \.pt2, .*; got NoneType"):
        summand.export(tiny, None)
    (tmp_path / "file").touch()
    with pytest.raises(SummandError, match=r"cannot write .*x\.pt2: "):
        summand.export(tiny, tmp_path / "file" / "x.pt2")
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_error_and_not_the_end_of_the_process():
    """torch's writer ends the process (terminate) where a write to its file fails."""
    program = torch.export.export(torch.nn.Linear(200, 200), (torch.ones(2, 200),))
    with pytest.raises(OSError, match="No space left"), patient(Path("/dev/full")) as file:
        torch.export.save(program, file)
    assert file.error is not None


def test_weights_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    save_weights({"a": torch.eye(3)}, tmp_path / "a.safetensors", {"classes": ["star"]})

    def full(tensors, path, metadata):
        Path(path).write_bytes(b"half")
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(SummandError, match=r"a.safetensors: I/O error: No space left.*make room"):
        save_weights({"a": torch.zeros(3)}, tmp_path / "a.safetensors")
    assert torch.equal(load_file(tmp_path / "a.safetensors")["a"], torch.eye(3))
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]
