"""Latents of sparse autoencoders as units, on format-true miniatures of each layout."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import summand
from summand import SummandError
from summand.border import foreign
from summand.data.labelled import open_labelled
from summand.effects.autoencoder import Autoencoder
from summand.maps.neuron_maps import latent_map, neuron_map, second_order_maps
from summand.models.autoencoders import read_autoencoder, write_autoencoder
from summand.scenes.pretrained import ScenePreprocess
from summand.studies.zeroshot import classifier_of, predict
from tests.border import open_clip
from tests.tiny import clip

pytestmark = pytest.mark.slow

WIDTH, LATENTS = 32, 12


@pytest.fixture(scope="module")
def tiny():
    tokenizer = open_clip.get_tokenizer("ViT-B-32", context_length=16)
    made = clip(vision={"layers": 3})
    return summand.wrap(made, preprocess=ScenePreprocess(32), tokenizer=tokenizer, name="tiny")


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


def saev(place: Path, held, header) -> Path:
    """A file as saev's `dump` writes it: a line of JSON, and torch's own file behind it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.open("wb") as file:
        file.write((json.dumps(header) + "\n").encode())
        torch.save(held, file)
    return place


SIZE = {"d_vit": WIDTH, "exp_factor": 4, "seed": 3}
BATCH = {"cls": "BatchTopK", "params": {"key": "batch-top-k", "top_k": 2, "aux": {"cls": "AuxK", "params": {}}}}
ACTIVATIONS = {
    "before schemas": ({**SIZE, "sparsity_coeff": 4e-4, "ghost_grads": False}, "b_dec", "relu"),
    "1, first": ({"schema": 1, "cfg": {**SIZE, "top_k": 9}, "cls": "TopK", "commit": "a", "lib": "0"}, "b_dec", "top"),
    "2": ({"schema": 2, "cfg": {**SIZE, "activation": {"cls": "TopK", "params": {"top_k": 9}}}}, None, "top"),
    "5": ({"schema": 5, "cfg": {"d_model": WIDTH, "d_sae": LATENTS, "activation": BATCH}}, None, "threshold"),
}


@pytest.mark.parametrize("schema", ACTIVATIONS)
def test_files_of_saev(tmp_path, schema):
    """sae.pt of every schema: before the second b_dec is taken from the input; top-k keeps what is below zero; batch
    top-k is a threshold where it is not trained."""
    header, before, act = ACTIVATIONS[schema]
    t = tensors()
    held = {**t, **({"activation.threshold": torch.tensor(3.0)} if act == "threshold" else {})}
    saev(tmp_path / "layer_1" / "3zih0tpa" / "sae.pt", held, header)
    found = read_autoencoder(tmp_path / "layer_1" / "3zih0tpa", 1)
    hidden = (STREAM - (t[before] if before else 0)) @ t["W_enc"] + t["b_enc"]
    want = {
        "relu": torch.relu(hidden),
        "threshold": hidden * (hidden > 3),
        "top": hidden * (hidden >= hidden.topk(9, dim=1).values[:, -1:]),
    }[act]
    assert act != "top" or bool((want < 0).any())
    torch.testing.assert_close(found.encode(STREAM), want)
    parts = found.parts(STREAM)
    torch.testing.assert_close(parts.written + parts.bias, want @ t["W_dec"] + t["b_dec"], rtol=1e-4, atol=1e-4)


def test_what_torch_wrote_is_read_without_running_it(tmp_path):
    """Prisma's weights.pt with a config.json beside; and what only an unpickler could read is refused."""
    place = tmp_path / "prisma"
    place.mkdir()
    torch.save(tensors(), place / "weights.pt")
    config = {"hook_point": "blocks.1.hook_resid_post", "activation_fn_str": "relu", "d_in": WIDTH}
    (place / "config.json").write_text(json.dumps(config))
    t, found = tensors(), read_autoencoder(place)
    torch.testing.assert_close(found.encode(STREAM), torch.relu((STREAM - t["b_dec"]) @ t["W_enc"] + t["b_enc"]))

    class Bomb:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    for bomb in (tmp_path / "plain.pt", saev(tmp_path / "bomb" / "sae.pt", {"W_enc": Bomb()}, {"schema": 2})):
        if bomb.name == "plain.pt":
            torch.save({"cfg": Bomb(), "state_dict": tensors()}, bomb)
        with pytest.raises(SummandError, match="cannot be read without running code from it, which is refused"):
            read_autoencoder(bomb, 1)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        (b"{half a header\nrest", "begins with a header that is no JSON"),
        (b'{"schema": 2}\nno zip', r"sae\.pt is no checkpoint: torch\.save wrote no file that begins"),
        (b"", "is not a readable checkpoint|cannot be read"),
    ],
)
def test_files_that_are_damaged(tmp_path, held, said):
    (tmp_path / "sae.pt").write_bytes(held)
    with pytest.raises(SummandError, match=said):
        read_autoencoder(tmp_path, 1)


def test_the_largest_by_what_they_write(tmp_path):
    """SAELens' rescale_acts_by_decoder_norm: the k of largest f_k ‖d_k‖ are kept."""
    t = tensors()
    config = {"architecture": "topk", "k": 3, "rescale_acts_by_decoder_norm": True, "apply_b_dec_to_input": False,
              "metadata": {"hook_name": "blocks.1.hook_resid_post"}}  # fmt: skip
    found = read_autoencoder(folder(tmp_path / "a", t, config))
    lengths = t["W_dec"].norm(dim=1)
    hidden = torch.relu((STREAM @ t["W_enc"] + t["b_enc"]) * lengths)
    kept = hidden * (hidden >= hidden.topk(3, dim=1).values[:, -1:])
    parts = found.parts(STREAM)
    torch.testing.assert_close(parts.codes, kept, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parts.written, (kept / lengths) @ t["W_dec"], rtol=1e-4, atol=1e-4)


def test_thresholds_and_the_multiplier_of_overcomplete(tmp_path):
    made = torch.Generator().manual_seed(1)
    linear, rows = torch.nn.Linear(WIDTH, LATENTS), torch.randn(LATENTS, WIDTH, generator=made)
    logs = torch.rand(LATENTS, generator=made)
    held = {"encoder.final_block.0.weight": linear.weight.detach(), "encoder.final_block.0.bias": linear.bias.detach(),
            "dictionary._weights": rows, "dictionary.multiplier": torch.tensor(0.7), "thresholds": logs}  # fmt: skip
    found = read_autoencoder(folder(tmp_path / "over", held, {}), 1)
    with torch.no_grad():
        codes = torch.relu(linear(STREAM))
    want = codes * (codes >= logs.exp())
    torch.testing.assert_close(found.encode(STREAM), want)
    length = float(torch.tensor(0.7).exp())
    torch.testing.assert_close(found.decoder.norm(dim=1), torch.full((LATENTS,), length))
    with pytest.raises(SummandError, match=r"holds Q, of a kind of overcomplete's that is not read"):
        read_autoencoder(folder(tmp_path / "q", {**held, "Q": rows.clone()}, {}), 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"finetuning_scaling_factor": True}, "a factor found in finetuning; fold it into W_dec first"),
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


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    held = tensors()
    held["W_dec"][0, 0] = float("nan")
    with pytest.raises(SummandError, match=r"W_dec holds NaN, so its latents mean nothing"):
        read_autoencoder(folder(tmp_path / "a", held, {"hook_name": "blocks.1.hook_resid_post"}))


def test_another_model_or_layer(tmp_path, tiny):
    config = {"hook_name": "blocks.1.hook_resid_post"}
    with pytest.raises(SummandError, match="of a stream of 48 numbers, this model's has 32: it was trained on another"):
        tiny.with_autoencoder(folder(tmp_path / "a", tensors(width=48), config))
    with pytest.raises(SummandError, match="of a stream of 48 numbers, this model's has 32"):
        tiny.with_autoencoder(folder(tmp_path / "d", tensors(width=48), {"hook_name": "blocks.9.hook_resid_post"}))
    with pytest.raises(SummandError, match=r"reads the stream that leaves layer 9: .* no layer 9"):
        tiny.with_autoencoder(folder(tmp_path / "e", tensors(), {"hook_name": "blocks.9.hook_resid_post"}))
    with pytest.raises(SummandError, match=r"there is no autoencoder .*@x; behind @ stands the number of a layer"):
        summand.load("scenes-vit", sae=tmp_path / "b@x")
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


def test_maps_of_a_latent_are_those_of_a_neuron_that_writes_the_same(tiny, pixels):
    """Where it is active, and what it adds along texts from where: over all tokens ⟨φ, t⟩."""
    layer = 0
    hidden, write = tiny.activations(pixels, layer), tiny.tower.blocks[layer].neuron_writes()

    class Own(Autoencoder):
        def encode(self, stream):
            return hidden

    zero = torch.zeros(len(write))
    own = tiny.with_autoencoder(Own(layer, write.T * 0, zero, write, torch.zeros(WIDTH), torch.zeros(WIDTH)))
    texts = torch.randn(2, 16, generator=torch.Generator().manual_seed(4))
    found = second_order_maps(own, pixels, texts, latents={0: [3, 40]})
    want = second_order_maps(tiny, pixels, texts, neurons={0: [3, 40]})
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-5)
    assert float(want.abs().max()) > 1e-3
    torch.testing.assert_close(latent_map(own, pixels, 0, 40), neuron_map(tiny, pixels, 0, 40))


def test_heatmaps_of_a_latent(with_latents):
    """Where it is active; and along texts what it adds, the class token's part of which is none of the picture's."""
    picture = np.random.default_rng(0).integers(0, 255, (48, 40, 3), dtype=np.uint8)
    x = with_latents.preprocess(Image.fromarray(picture))[None]
    codes = with_latents.reconstruction(x).codes[0]
    latent = int((codes[0] * (codes[1:] > 0).any(dim=0)).argmax())  # active at the class token, and elsewhere
    active = summand.heatmap(with_latents, picture, latent=f"0#{latent}")
    want = codes[1:, latent].unflatten(0, with_latents.tower.grid)
    np.testing.assert_allclose(active.grid[0], want.numpy(), rtol=1e-5)
    assert (active.quantity, active.signed) == ("activation", False)
    adds = summand.heatmap(with_latents, picture, "a star", latent=f"0#{latent}", contrast=["a ring"])
    silent = with_latents.with_autoencoder(without_class_token(with_latents))
    star, ring = with_latents.encode_text(["a star", "a ring"])
    whole, patches = (float(model.latents(x).vectors()[0, latent] @ (star - ring)) for model in (with_latents, silent))
    assert adds.grid.sum() == pytest.approx(patches, rel=1e-3, abs=1e-5)
    assert patches != pytest.approx(whole, rel=1e-2)
    assert adds.quantity == f"contribution of latent 0#{latent}"


def without_class_token(model):
    """The same autoencoder, all latents of which are silent at the class token."""
    sae = model.autoencoder()

    class Silent(Autoencoder):
        def encode(self, stream):
            codes = super().encode(stream).clone()
            codes[:, 0] = 0
            return codes

    return Silent(**{field.name: getattr(sae, field.name) for field in fields(sae)})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"latent": "0#12"}, r"tiny has latents 0#0 to 0#11; got 0#12"),
        ({"latent": "1#3"}, r"tiny has none of layer 1 \(but of 0\)"),
        ({"latent": "0:3"}, "a latent is given as layer#latent, such as 9#1234; got '0:3'"),
        ({"latent": "0#3", "neuron": "0:3"}, "one part at a time: neuron and latent were given"),
        ({"latent": "0#3", "versus": "a ring"}, "versus and contrast are of texts"),
    ],
)
def test_heatmaps_of_latents_that_are_not_there(with_latents, options, said):
    with pytest.raises(SummandError, match=said):
        summand.heatmap(with_latents, np.zeros((32, 32, 3), dtype=np.uint8), **options)


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


def test_latents_can_be_ablated_like_neurons(vit):
    """Accuracy with two of them at their means is that of the model that is steered to these means."""
    made = torch.Generator().manual_seed(3)
    rows, zero = torch.randn(6, 128, generator=made), torch.zeros(128)
    model = vit.with_autoencoder(Autoencoder(3, rows.T.contiguous(), torch.zeros(6), rows, zero, zero))
    found = summand.ablate(model, "scenes:count=40,seed=3", units="3#1,3#4", classes="shape", progress=False)
    scenes = summand.scenes.sample(40, seed=3)
    x = model.preprocess(scenes.images)
    means = model.latents(x).coefficients.mean(dim=0)
    steered = model.steer({"3#1": means[1], "3#4": means[4]})
    data = open_labelled("scenes:count=40,seed=3", "shape")
    guessed = predict(steered.encode_image(x), classifier_of(model, data)).numpy()
    want = float((guessed == data.labels).mean())
    (row,) = [row for row in found.rows.to_dict("records") if "3#1" in str(row)]
    assert row["accuracy"] == pytest.approx(want, abs=1e-6)
    with pytest.raises(SummandError, match=r"has latents 3#0 to 3#5; got 3#6"):
        summand.ablate(model, "scenes:count=20,seed=3", units="3#6", classes="shape", progress=False)
    with pytest.raises(SummandError, match="latents are those of a sparse autoencoder"):
        summand.ablate(vit, "scenes:count=20,seed=3", units="3#1", classes="shape", progress=False)


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


def test_load_takes_one_autoencoder_of_a_layer_and_says_what_it_is_not_given(tmp_path):
    model = summand.load("scenes-vit")
    width = model.clip.visual.ln_post.weight.shape[0]
    made = torch.Generator().manual_seed(0)
    encoder, decoder = torch.randn(width, 8, generator=made), torch.randn(8, width, generator=made)
    for name, layer in (("one", 3), ("other", 3), ("later", 4)):
        sae = Autoencoder(layer, encoder, torch.zeros(8), decoder, torch.zeros(width), torch.zeros(width), 2)
        write_autoencoder(sae, tmp_path / name)
    both = summand.load("scenes-vit", sae=[tmp_path / "one", tmp_path / "later"])
    assert sorted(both.autoencoders) == [3, 4]
    with pytest.raises(SummandError, match=r"two autoencoders of layer 3, the second of them .*other"):
        summand.load("scenes-vit", sae=[tmp_path / "one", tmp_path / "other"])
    for given in (3, [3], {"a": 1}, torch.ones(2)):
        with pytest.raises(SummandError, match="sae is the path of a sparse autoencoder"):
            summand.load("scenes-vit", sae=given)
