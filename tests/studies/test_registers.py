"""Register neurons, found and neutralised, on models in which a known neuron makes the sink."""

from __future__ import annotations

import io
import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from torch.nn import functional as F

import summand
from summand import SummandError
from summand.border import foreign
from summand.report.terminal import drawn as drawn_table
from summand.studies.ablation.accuracy import read
from summand.studies.registers.find import RegisterNeurons, find_registers
from summand.studies.registers.pool import PoolSink
from summand.studies.registers.stream import StreamSink
from tests.commands import command
from tests.studies.pictures import Noise, pixels
from tests.studies.results import close as alike
from tests.studies.test_ablation import close, residual, wrapped

COUNT, PATCH, NEURON = 9, 5, 40


def images(model, count=COUNT):
    source = Noise(count, size=model.tower.image_size[0])
    return source, torch.stack([pixels(source.image(i)) for i in range(count)])


@pytest.fixture(scope="module")
def sunk():
    """A tiny ViT: neuron 40 of layer 0 reads a direction that only the position of patch 5 has, and writes a lot."""
    model = wrapped(vision={"layers": 3})
    visual, g = model.clip.visual, torch.Generator().manual_seed(4)
    direction = F.normalize(torch.randn(32, generator=g), dim=0)
    with torch.no_grad():
        visual.positional_embedding[1 + PATCH] += 20 * direction
        mlp = visual.transformer.resblocks[0].mlp
        mlp.c_fc.weight[NEURON], mlp.c_fc.bias[NEURON] = 3 * direction, -10
        mlp.c_proj.weight[:, NEURON] = 20 * torch.randn(32, generator=g)
    return model


@pytest.fixture(scope="module")
def drawn():
    """A tiny ResNet whose queries and keys meet in what neuron 7 writes to them."""
    model = residual(width=2, head_width=16, image_size=96)
    pool, g = model.clip.visual.attnpool, torch.Generator().manual_seed(4)
    along = F.normalize(torch.randn(64, generator=g), dim=0)
    with torch.no_grad():
        pool.q_proj.bias += 6 * along
        pool.k_proj.weight[:, 7] += 6 * along
    return model


@torch.no_grad()
def literal_pool(pool, grid, neuron=None, register=None):
    """One image: attention row of the mean token, mean over the heads, and the output. neuron: set to zero; register:
    a patch whose token stays behind as a key that is left out of the sum."""
    patches = grid.flatten(1).T.clone()
    z = torch.cat([patches.mean(dim=0, keepdim=True), patches])
    kept = z.clone()
    if neuron is not None:
        z[:, neuron] = 0
    z, kept = z + pool.positional_embedding, kept + pool.positional_embedding
    keys = z if register is None else torch.cat([z, kept[1 + register, None]])
    size, rows, out = len(z[0]) // pool.num_heads, [], []
    for h in range(pool.num_heads):
        cut = slice(h * size, (h + 1) * size)
        q = pool.q_proj.weight[cut] @ z[0] + pool.q_proj.bias[cut]
        a = ((keys @ pool.k_proj.weight[cut].T + pool.k_proj.bias[cut]) @ q / size**0.5).softmax(dim=0)[: len(z)]
        rows.append(a)
        out.append(a @ (z @ pool.v_proj.weight[cut].T + pool.v_proj.bias[cut]))
    return torch.stack(rows).mean(dim=0), pool.c_proj(torch.cat(out))


def test_a_pools_sink_by_setting_neuron_after_neuron_to_zero(drawn):
    source, x = images(drawn, 4)
    pool, seen = drawn.clip.visual.attnpool, []
    handle = pool.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    drawn.encode_image(x)
    handle.remove()
    (grids,) = seen
    whole = torch.stack([literal_pool(pool, grid)[0] for grid in grids])
    sink = int(whole[:, 1:].mean(dim=0).argmax())
    expected = torch.zeros(64)
    for neuron in range(64):
        for grid, row in zip(grids, whole, strict=True):
            expected[neuron] += (row - literal_pool(pool, grid, neuron)[0])[1 + sink] / len(grids)
    made = PoolSink(drawn)
    for turn in range(2):
        for some in x.split(3):
            made.learn(turn, some)
    assert made.patch == sink
    close(made.scores()[0], expected)
    assert made.strength == pytest.approx(float(whole[:, 1 + sink].mean() / whole[:, 1:].mean()), rel=1e-4)
    for register in (False, True):
        outputs, strengths = made.neutralised(x, [(0, 7)], register)
        for i, grid in enumerate(grids):
            row, output = literal_pool(pool, grid, 7, sink if register else None)
            close(outputs[i], output)
            assert float(strengths[i]) == pytest.approx(float(row[1 + sink] / row[1:].mean()), rel=1e-3)
    elsewhere = PoolSink(drawn, patch=8)
    for turn in range(2):
        elsewhere.learn(turn, x)
    assert elsewhere.patch == 8
    assert find_registers(drawn, source, 1, ratio=1.01, patch=8).patch == (2, 2)


def test_the_neuron_that_draws_attention_is_found_and_neutralised(drawn):
    source, _ = images(drawn)
    found = find_registers(drawn, source, 1, ratio=1.1, batch_size=4)
    assert found.neurons == ((0, 7),)
    assert found.strength > 1.1
    assert found.zeroed < found.strength
    assert abs(found.random - found.strength) < 0.2 * (found.strength - found.zeroed)
    assert found.cosine_random > found.cosine_zeroed
    assert not find_registers(drawn, source, 1, ratio=100).there


@torch.no_grad()
def literal_pass(model, x, neurons=(), register=False):
    """Block by block: norms of the patch tokens that enter the last block, every layer's hidden, and the output."""
    visual = model.clip.visual
    stream, hidden_of = visual._embeds(x), []
    if register:
        stream = torch.cat([stream, torch.zeros_like(stream[:, :1])], dim=1)
    count, norms = x.shape[-1] // 8 * (x.shape[-1] // 8), None
    for layer, block in enumerate(visual.transformer.resblocks):
        if layer == len(visual.transformer.resblocks) - 1:
            norms = stream[:, 1 : 1 + count].norm(dim=2)
        after = stream + block.attention(block.ln_1(stream))
        hidden = block.mlp.gelu(block.mlp.c_fc(block.ln_2(after)))
        for at, neuron in neurons:
            if at == layer:
                for i in range(len(x)):
                    own = hidden[i, 1 : 1 + count, neuron].clone()
                    hidden[i, 1 : 1 + count, neuron] = 0
                    if register:
                        hidden[i, -1, neuron] = own[own.abs().argmax()]
        hidden_of.append(hidden)
        stream = after + block.mlp.c_proj(hidden)
    return norms, hidden_of, visual.ln_post(stream[:, 0]) @ visual.proj


def test_the_neuron_that_makes_a_token_large_is_found_and_neutralised(sunk):
    source, x = images(sunk)
    norms, hidden, output = literal_pass(sunk, x)
    close(output, sunk.encode_image(x))
    outlying = norms > 3 * norms.median(dim=1, keepdim=True).values
    assert outlying.nonzero()[:, 1].unique().tolist() == [PATCH]
    made = StreamSink(sunk, 3.0)
    for turn in range(2):
        for some in x.split(4):
            made.learn(turn, some)
    for layer in range(2):
        writes = sunk.clip.visual.transformer.resblocks[layer].mlp.c_proj.weight.norm(dim=0)
        size = hidden[layer][:, 1:].abs()
        expected = torch.stack([size[i, j] for i, j in outlying.nonzero()]).mean(dim=0)
        expected = expected - torch.stack([size[i, j] for i, j in (~outlying).nonzero()]).mean(dim=0)
        close(made.scores()[layer], expected * writes)
    assert set(made.scores()) == {0, 1}
    assert made.share == 1.0
    assert made.strength == pytest.approx(float((norms.amax(1) / norms.median(1).values).mean()), rel=1e-4)
    for register in (False, True):
        outputs, strengths = made.neutralised(x, [(0, NEURON), (1, 3)], register)
        norms, _, expected = literal_pass(sunk, x, [(0, NEURON), (1, 3)], register)
        close(outputs, expected)
        close(strengths, norms.amax(1) / norms.median(1).values)
    close(sunk.encode_image(x), output)  # nothing is left behind
    found = find_registers(sunk, source, 1, batch_size=4)
    assert found.neurons == ((0, NEURON),)
    assert found.zeroed < 2 < 3 < found.strength
    assert found.moved < 2
    assert found.random == pytest.approx(found.strength, rel=0.1)


def test_a_model_without_a_sink_has_no_register_neurons(vit):
    from summand.data import open_source

    model = wrapped(vision={"layers": 3})
    found = find_registers(model, images(model)[0], 5)
    assert not found.there
    assert (found.neurons, found.zeroed, found.share) == ((), None, 0.0)
    scenes = find_registers(vit, open_source("scenes:count=20,seed=3"), 5)
    assert scenes.strength > 1
    assert scenes.there == (scenes.share > 0)


def test_ablated_among_other_terms(sunk):
    source, x = images(sunk)
    family = RegisterNeurons(sunk, 1)
    for turn in range(family.rounds):
        for batch in read(sunk, source, 4, "", False):
            family.learn(turn, batch)
        family.end(turn)
    (batch,) = read(sunk, source, COUNT, "", False)
    made = {version.name: outputs for version, outputs in family.versions(batch)}
    close(made["1 register neurons at zero"], literal_pass(sunk, x, [(0, NEURON)])[2])
    close(made["1 register neurons moved to a register"], literal_pass(sunk, x, [(0, NEURON)], register=True)[2])
    assert len(made) == 3
    assert np.linalg.norm(made["1 random neurons at zero"] - batch.total) < np.linalg.norm(
        made["1 register neurons at zero"] - batch.total
    )


def test_what_has_no_sinks_of_this_kind_is_refused(sunk, drawn, unchecked):
    for given, said in (
        ((sunk, 0), "at least 1 neuron"),
        ((sunk, 1, 0.5), "ratio must be above 1"),
        ((sunk, 1, 3.0, 4), "leave patch=4 out"),
        ((drawn, 1, 3.0, 9), "patches 0 to 8, not 9"),
    ):
        model, count, *more = given
        options = dict(zip(("ratio", "patch"), more, strict=False))
        with pytest.raises(SummandError, match=said):
            RegisterNeurons(model, count, **options)
    with pytest.raises(SummandError, match="has one block"):
        RegisterNeurons(wrapped(vision={"layers": 1}))
    averaged = wrapped(vision={"layers": 3, "pool_type": "avg"})
    with pytest.raises(SummandError, match="averaged with the patches"):
        StreamSink(averaged, 3.0).neutralised(images(averaged)[1], [(0, 1)], register=True)
    assert RegisterNeurons(averaged).ways == ["zeroed", "random"]


@pytest.mark.slow
def test_the_commands(tmp_path, resnet, unchecked):
    given = ("registers", "scenes:count=12,seed=3", "--model", "scenes-rn", "--ratio", "1.01", "--top", "3", "--json")
    made = command(*given).json
    assert made["sink"]
    assert len(made["rows"]) == 3
    assert made["rows"][0]["score"] >= made["rows"][1]["score"] > 0
    assert made["changes"]["at zero"]["strength"] < made["changes"]["as it is"]["strength"]
    python = summand.registers(resnet, "scenes:count=12,seed=3", ratio=1.01, top=3)
    own = json.loads(python.to_json())
    assert alike({**{key: made[key] for key in own}, "options": asdict(python.options)}, own)
    (tmp_path / "result.json").write_text(json.dumps(made))
    assert alike(command("registers", "--config", tmp_path / "result.json", "--json").json, made)
    scenes = [Image.fromarray(one) for one in summand.scenes.sample(12, seed=3).images]
    listed = summand.registers(resnet, scenes, ratio=1.01, top=3)
    assert listed.rows["neuron"].tolist() == python.rows["neuron"].tolist()
    assert "moved to a register" in python._repr_html_()
    assert "There is no sink" in command("registers", "scenes:count=12,seed=3", "--ratio", "50").out
    said = command("registers", "scenes:count=12,seed=3", "--ratio", "1.01", "--top", "2").out
    assert "moved to a register" in said
    assert "random neurons at zero" in said
    wrong = command("registers", "scenes:count=12,seed=3", "--ratio", "1")
    assert (wrong.code, "--ratio must be above 1" in wrong.error) == (2, True)


def test_ablate_knows_them(tmp_path, unchecked):
    rows = command("ablate", "scenes:count=12,seed=3", "--classes", "place", "--what", "registers", "--json",
                   "--out", tmp_path / "a.png").json["rows"]  # fmt: skip
    assert all("register neurons" in row["ablation"] or "random neurons" in row["ablation"] for row in rows)


def test_at_80_columns_neurons_and_numbers_are_whole(resnet):
    found = summand.registers(resnet, "scenes:count=8,seed=3", ratio=1.01, top=2)
    console = Console(width=80, file=io.StringIO())
    for table in found.tables():
        console.print(drawn_table(table))
    text = foreign(console.file).getvalue()
    assert max(map(len, text.split("\n"))) <= 80
    for row in found.rows.to_dict("records"):
        assert row["neuron"] in text
        assert f"{row['score']:.3g}".replace("-", "−") in text
    for change in found.changes.values():
        assert f"{change['strength']:.2f}" in text
        assert f"{change['cosine']:.3f}" in text
