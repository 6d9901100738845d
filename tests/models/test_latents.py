"""Latents of sparse autoencoders as units, on format-true miniatures of each layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import summand
from summand import SummandError
from summand.border import foreign
from summand.effects.autoencoder import Autoencoder
from summand.models.autoencoders import read_autoencoder, write_autoencoder
from tests.tiny import clip

pytestmark = pytest.mark.slow

WIDTH, LATENTS = 32, 12


@pytest.fixture(scope="module")
def tiny():
    return summand.wrap(clip(vision={"layers": 3}), name="tiny")


@pytest.fixture(scope="module")
def pixels():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def tensors(seed=0, width=WIDTH):
    made = torch.Generator().manual_seed(seed)
    return {
        "W_enc": torch.randn(width, LATENTS, generator=made),
        "b_enc": torch.randn(LATENTS, generator=made),
        "W_dec": torch.randn(LATENTS, width, generator=made),
        "b_dec": torch.randn(width, generator=made),
    }


def folder(place: Path, held, config, weights="sae_weights.safetensors", named="cfg.json"):
    place.mkdir(exist_ok=True)
    save_file(held, str(place / weights))
    (place / named).write_text(json.dumps(config))
    return place


STREAM = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(9)) * 3


def test_sae_lens(tmp_path):
    t = tensors()
    config = {"architecture": "topk", "k": 3, "d_in": WIDTH, "apply_b_dec_to_input": True, "normalize_activations":
              "none", "metadata": {"hook_name": "blocks.1.hook_resid_post"}}  # fmt: skip
    found = read_autoencoder(folder(tmp_path / "a", t, config))
    hidden = torch.relu((STREAM - t["b_dec"]) @ t["W_enc"] + t["b_enc"])
    kept = hidden * (hidden >= hidden.topk(3, dim=1).values[:, -1:])
    assert found.layer == 1
    torch.testing.assert_close(found.encode(STREAM), kept)
    jump = {**t, "threshold": torch.full((LATENTS,), 4.0)}
    config = {"architecture": "jumprelu", "apply_b_dec_to_input": False, "hook_name": "blocks.2.hook_resid_pre"}
    found = read_autoencoder(folder(tmp_path / "b", jump, config))
    hidden = STREAM @ t["W_enc"] + t["b_enc"]
    assert found.layer == 1
    torch.testing.assert_close(found.encode(STREAM), torch.relu(hidden) * (hidden > 4))


def test_prisma_normalises_each_token(tmp_path):
    t = tensors()
    config = {"architecture": "standard", "activation_fn_str": "relu", "activation_fn_kwargs": {}, "d_in": WIDTH,
              "normalize_activations": "layer_norm", "hook_point_layer": 1,
              "hook_point": "blocks.{layer}.hook_resid_post"}  # fmt: skip
    found = read_autoencoder(folder(tmp_path / "a", t, config, "weights.safetensors", "config.json"))
    mean = STREAM.mean(dim=1, keepdim=True)
    deviation = (STREAM - mean).std(dim=1, keepdim=True) + 1e-5
    codes = torch.relu(((STREAM - mean) / deviation - t["b_dec"]) @ t["W_enc"] + t["b_enc"])
    whole = (codes @ t["W_dec"] + t["b_dec"]) * deviation + mean  # what Prisma's own forward returns, up to its eps
    parts = found.parts(STREAM)
    assert found.layer == 1
    torch.testing.assert_close(parts.written + parts.bias, whole, rtol=1e-4, atol=1e-4)


def test_saev_and_overcomplete_say_no_layer(tmp_path):
    t = tensors()
    config = {"schema": 2, "cfg": {"d_vit": WIDTH, "activation": {"cls": "TopK", "params": {"top_k": 2}}}}
    place = folder(tmp_path / "saev", t, config)
    with pytest.raises(SummandError, match=r"does not say where it was trained; give the layer .*layer=9, or FILE@9"):
        read_autoencoder(place)
    found = read_autoencoder(place, 0)
    hidden = torch.relu(STREAM @ t["W_enc"] + t["b_enc"])
    torch.testing.assert_close(found.encode(STREAM), hidden * (hidden >= hidden.topk(2, dim=1).values[:, -1:]))

    made = torch.Generator().manual_seed(1)
    linear, norm = torch.nn.Linear(WIDTH, LATENTS), torch.nn.BatchNorm1d(LATENTS).eval()
    with torch.no_grad():
        for tensor in (*norm.parameters(), norm.running_mean, norm.running_var):
            tensor.copy_(torch.rand(LATENTS, generator=made) + 0.5)
    block = {f"encoder.final_block.0.{k}": v for k, v in linear.state_dict().items()}
    block |= {f"encoder.final_block.1.{k}": v for k, v in norm.state_dict().items()}
    rows = torch.randn(LATENTS, WIDTH, generator=made)
    place = folder(tmp_path / "over", {**block, "dictionary._weights": rows}, {"top_k": LATENTS})
    found = read_autoencoder(place, 1)
    with torch.no_grad():
        torch.testing.assert_close(found.encode(STREAM), torch.relu(norm(linear(STREAM))), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.decoder, rows / rows.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hook_name": "blocks.1.hook_mlp_out"}, "trained on blocks.1.hook_mlp_out; latents are read in the residual"),
        ({"hook_name": "blocks.0.hook_resid_pre"}, "in front of the first block"),
        ({"architecture": "gated"}, "is a gated autoencoder with relu; relu, topk and jumprelu can be read"),
        ({"architecture": "topk"}, "does not say how many"),
        ({"normalize_activations": "expected_average_only_in"}, "fold the factor into its weights first"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(tmp_path, change, said):
    config = {"hook_name": "blocks.1.hook_resid_post", **change}
    with pytest.raises(SummandError, match=said):
        read_autoencoder(folder(tmp_path / "a", tensors(), config))


def test_another_model_or_layer(tmp_path, tiny):
    config = {"hook_name": "blocks.1.hook_resid_post"}
    with pytest.raises(SummandError, match="of a stream of 48 numbers, this model's has 32: it was trained on another"):
        tiny.with_autoencoder(folder(tmp_path / "a", tensors(width=48), config))
    with pytest.raises(SummandError, match="leaves layer 1, not layer 0"):
        tiny.with_autoencoder(folder(tmp_path / "b", tensors(), config), layer=0)
    with pytest.raises(SummandError, match="no attention comes after layer 2"):
        tiny.with_autoencoder(folder(tmp_path / "c", tensors(), {"hook_name": "blocks.2.hook_resid_post"}))
    with pytest.raises(SummandError, match="latents are those of a sparse autoencoder, and tiny has none"):
        summand.survey(tiny, "scenes:count=8,seed=1", units="latents")


@pytest.fixture(scope="module")
def with_latents(tiny):
    t = tensors()
    sae = Autoencoder(0, t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], t["b_dec"], top_k=4)
    return tiny.with_autoencoder(sae)


def test_latents_error_and_bias_are_the_stream(with_latents, pixels):
    streams = []
    block = foreign(with_latents.clip.visual).transformer.resblocks[0]
    handle = block.register_forward_hook(lambda module, given, output: streams.append(output))
    with torch.no_grad():
        with_latents.clip.visual(pixels)
    handle.remove()
    parts = with_latents.reconstruction(pixels)
    torch.testing.assert_close(parts.written + parts.bias + parts.error, streams[0], rtol=1e-5, atol=1e-5)
    assert float(parts.error.abs().max()) > 0.1
    assert int((parts.codes > 0).sum(dim=-1).max()) <= 4


def test_a_latent_is_a_neuron_that_writes_a_row_of_the_decoder(tiny, pixels):
    """With the MLP's own neurons for latents, and its output map for the decoder, both say the same."""
    layer = 0
    hidden = tiny.activations(pixels, layer)
    write = tiny.tower.blocks[layer].neuron_writes()

    class Own(Autoencoder):
        def encode(self, stream):
            return hidden

    zero = torch.zeros(len(write))
    sae = Own(layer, write.T * 0, zero, write, torch.zeros(WIDTH), torch.zeros(WIDTH))
    found, want = tiny.with_autoencoder(sae).latents(pixels, layer), tiny.second_order(pixels, layer)
    assert found.path_index == want.path_index
    torch.testing.assert_close(found.vectors(), want.vectors(), rtol=1e-4, atol=1e-5)


def test_survey_label_and_steering(with_latents, pixels, tmp_path):

    effects = with_latents.latents(pixels)
    steered = with_latents.steer({"0#3": 0, "0#5": 2.5, "2.1": 0.5})
    left = torch.tensor([0.5 if path == (2, 1) else 1.0 for path in effects.path_index])
    each = effects.coefficients[..., None] * effects.directions
    want = with_latents.encode_image(pixels) - 0.5 * with_latents.decompose(pixels).heads()[:, 2, 1]
    want = want + torch.einsum("p,ipe->ie", left, 1.5 * each[:, 5] - each[:, 3])
    torch.testing.assert_close(steered.encode_image(pixels), want, rtol=1e-4, atol=1e-4)
    found = steered.latents(pixels)
    torch.testing.assert_close(found.coefficients[:, 5], 2.5 * effects.coefficients[:, 5] * left)
    assert float(found.coefficients[:, 3].abs().max()) == 0
    with pytest.raises(SummandError, match=r"has latents 0#0 to 0#11 at that layer; got 0#12"):
        with_latents.steer({"0#12": 0})

    write_autoencoder(with_latents.autoencoder(), tmp_path / "kept")
    again = read_autoencoder(tmp_path / "kept")
    torch.testing.assert_close(again.encode(STREAM), with_latents.autoencoder().encode(STREAM))


def test_a_survey_takes_latents_as_it_takes_neurons(tmp_path, vit):
    made = torch.Generator().manual_seed(3)
    sae = Autoencoder(
        3,
        torch.randn(128, 6, generator=made),
        torch.zeros(6),
        torch.randn(6, 128, generator=made),
        *(torch.zeros(128), torch.zeros(128)),
    )
    write_autoencoder(sae, tmp_path / "sae")
    model = summand.load("scenes-vit", sae=tmp_path / "sae")
    run = summand.survey(model, "scenes:count=60,seed=1", units="latents", out=tmp_path / "run", progress=False)
    assert run["3#4"].unit.kind == "latent"
    table = run.label()
    assert list(table["unit"]) == [f"3#{latent}" for latent in range(6)]
    again = summand.open(tmp_path / "run").load_model()
    assert again.autoencoder(3).latents == 6
