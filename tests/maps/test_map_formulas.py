"""Token, neuron and pair maps against loops over the formulas."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

import summand
from summand import SummandError
from summand.maps.neuron_directions import neuron_directions
from summand.maps.neuron_maps import NeuronMaps, activations, combined_maps, neuron_map, second_order_maps
from summand.maps.pair_maps import PairMaps, centred, pair_map, pool_inputs, repaired, similarity
from summand.maps.token_maps import head_maps, token_maps


@pytest.fixture(scope="module")
def rn_pixels(resnet):
    return resnet.preprocess(summand.scenes.sample(2, seed=3).images)


def test_token_maps_are_tokens_along_texts(vit, resnet, pixels, rn_pixels):
    for model, x in ((vit, pixels), (resnet, rn_pixels)):
        texts = model.encode_text(["a star", "a red object", "a ring"])
        expected = (model.decompose(x).tokens()[:, 1:] @ texts.T).transpose(1, 2).unflatten(2, model.tower.grid)
        torch.testing.assert_close(token_maps(model, x, texts), expected, atol=1e-5, rtol=1e-4)
    by_head = vit.decompose(pixels).toward(vit.encode_text(["a star"]))[:, :, :, 1:, 0]
    some = token_maps(vit, pixels, vit.encode_text(["a star"]), layers=[3, 5])[:, 0].flatten(1)
    torch.testing.assert_close(some, by_head[:, [3, 5]].sum(dim=(1, 2)), atol=1e-5, rtol=1e-4)
    one = head_maps(vit, pixels, vit.encode_text(["a star"]), 4, 3)[:, 0].flatten(1)
    torch.testing.assert_close(one, by_head[:, 4, 3], atol=1e-5, rtol=1e-4)
    with pytest.raises(SummandError, match=r"0\.0 to 5\.7"):
        head_maps(vit, pixels, vit.encode_text(["a star"]), 6, 0)
    with pytest.raises(SummandError, match="layers must be some of 0 to 5"):
        token_maps(vit, pixels, vit.encode_text(["a star"]), layers=[6])


def test_activations_are_what_the_mlps_write_with(vit, pixels):
    """The stream's step at the patch tokens is W_out p + b."""
    block = vit.clip.visual.transformer.resblocks[2]
    seen = []
    handle = block.mlp.register_forward_hook(lambda _, __, output: seen.append(output))
    vit.encode_image(pixels)
    handle.remove()
    found = activations(vit, pixels, [2])[2]
    written = found @ block.mlp.c_proj.weight.T + block.mlp.c_proj.bias
    torch.testing.assert_close(written, seen[0][:, 1:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(neuron_map(vit, pixels, 2, 7).flatten(1), found[:, :, 7])


def test_neuron_maps_are_means_over_the_chosen_neurons(vit, pixels):
    generator = torch.Generator().manual_seed(0)
    made = {layer: torch.randn(512, 128, generator=generator) for layer in (3, 4)}
    text = vit.encode_text(["a star"])
    along = {(layer, n): float(made[layer][n] @ text[0]) for layer in made for n in range(512)}
    chosen = sorted(along, key=lambda key: -abs(along[key]))[:5]
    hidden = activations(vit, pixels, [3, 4])
    expected = {"mean": 0.0, "signed": 0.0, "weighted": 0.0}
    for key in chosen:
        one = hidden[key[0]][:, :, key[1]]
        expected["mean"] = expected["mean"] + one / 5
        expected["signed"] = expected["signed"] + (1 if along[key] > 0 else -1) * one / 5
        expected["weighted"] = expected["weighted"] + along[key] * one / 5
    for weighting, truth in expected.items():
        found = NeuronMaps(vit, made, 5, weighting).maps(pixels, text)[:, 0].flatten(1)
        torch.testing.assert_close(found, truth, atol=1e-4, rtol=1e-4)


def test_second_order_maps_are_patches_of_the_second_order_effects(vit, pixels):
    """A patch's share: the whole effect of a pass in which only that patch's activations are read."""
    text = vit.encode_text(["a star"])
    found = second_order_maps(vit, pixels[:2], text, [3])[:, 0].flatten(1)
    effects = vit.second_order(pixels[:2], 3)
    whole = effects.toward(text)[:, :, 0].sum(dim=1)
    hidden = []
    block = vit.clip.visual.transformer.resblocks[3]
    handle = block.mlp.c_proj.register_forward_pre_hook(lambda _, args: hidden.append(args[0]))
    vit.encode_image(pixels[:2])
    handle.remove()
    streams, rows = {}, {}
    handles = [
        b.register_forward_pre_hook(lambda _, args, at=at: streams.__setitem__(at, args[0]))
        for at, b in enumerate(vit.clip.visual.transformer.resblocks)
    ]
    trace = vit.tower.run(pixels[:2], lambda at, view: rows.__setitem__(at, view.row))
    for handle in handles:
        handle.remove()
    directions, expected = effects.directions, torch.zeros(2, 65)
    for path, (at, head) in enumerate(effects.path_index):
        deviation = (streams[at].var(dim=-1, correction=0) + 1e-5).sqrt()
        along = hidden[0] @ (directions[:, path] @ text[0])
        expected += rows[at][:, head] * along / deviation * trace.scale[:, None]
    torch.testing.assert_close(found, expected[:, 1:], atol=1e-4, rtol=1e-3)
    torch.testing.assert_close(expected.sum(dim=1), whole, atol=1e-4, rtol=1e-3)
    with pytest.raises(SummandError, match="no attention comes after layer 5"):
        second_order_maps(vit, pixels, text, [5])


def test_combined_maps_are_the_weighted_geometric_mean_of_both(vit, pixels):
    text = vit.encode_text(["a star", "a red thing"])
    active = NeuronMaps(vit, neuron_directions(vit, lambda: [pixels], [2, 3]), 50)
    found = combined_maps(active, pixels[:2], text)
    effects, activity = second_order_maps(vit, pixels[:2], text), active.maps(pixels[:2], text)
    nothing = (effects <= 0) | (activity <= 0)
    assert 0 < int(nothing.sum()) < nothing.numel()
    assert (found[nothing] == 0).all()
    expected = torch.exp((2 * effects[~nothing].log() + activity[~nothing].log()) / 3)
    torch.testing.assert_close(found[~nothing], expected)


def test_neuron_directions_are_those_of_rank_one(vit, pixels):
    batches = [pixels[:3], pixels[3:]]
    found = neuron_directions(vit, lambda: batches, [4], top=1)[4]
    vectors = vit.second_order(pixels, 4).vectors()[:, 17].double()
    away = vectors - vectors.mean(dim=0)
    best = away[away.norm(dim=1).topk(1).indices]
    direction = torch.linalg.svd(best, full_matrices=False).Vh[0]
    assert abs(float(direction @ found.directions[17].double())) == pytest.approx(1, abs=1e-4)
    many = neuron_directions(vit, lambda: batches, [4], top=100)[4]  # never more than a quarter of the images
    torch.testing.assert_close(many.directions, found.directions)


def test_pair_maps_are_products_over_the_chosen_pairs(resnet, rn_pixels):
    """Pair by pair: the neuron times the cosine of what the token writes through the head."""
    texts = centred(resnet.encode_text(["a star", "a ring", "a heart"]))
    tower, x = resnet.tower, rn_pixels
    directions = resnet.pairs(x).directions[:, :, 0]  # [neuron, head, embed]
    unit = directions / directions.norm(dim=2, keepdim=True)
    view, neurons, _ = pool_inputs(resnet, x)
    written = torch.einsum("ithc,hce->ithe", view.token_values(), tower.head_maps().directions[0])[:, 1:]
    for t in range(2):
        along = unit @ texts[t]
        pairs = [divmod(int(i), along.shape[1]) for i in along.flatten().topk(30).indices]
        unit_texts = texts[t][None, None, None]
        # attention of 1e-12 is in what is written: its length must not meet the default eps
        cosines = torch.nn.functional.cosine_similarity(written, unit_texts, dim=3, eps=1e-30)
        product = sum(neurons[:, :, n] * cosines[:, :, h] for n, h in pairs) / 30
        alone = {"neuron": torch.stack([neurons[:, :, n] for n, _ in pairs]).sum(dim=0) / 30}
        alone["similarity"] = torch.stack([cosines[:, :, h] for _, h in pairs]).sum(dim=0) / 30
        found = PairMaps(resnet, k=30).maps(x, texts)[:, t].flatten(1)
        torch.testing.assert_close(found, product, atol=1e-4, rtol=1e-3)
        for factor, expected in alone.items():
            found = PairMaps(resnet, k=30, factor=factor).maps(x, texts)[:, t].flatten(1)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
        active, alike = alone["neuron"], cosines.mean(dim=2)
        apart = (active - active.min(dim=1, keepdim=True).values) * alike.clamp(min=0)
        factors = {"product": apart, "neuron": active - active.mean(dim=1, keepdim=True), "similarity": alike}
        for factor, expected in factors.items():
            found = PairMaps(resnet, k=30, factor=factor, apart=True).maps(x, texts)[:, t].flatten(1)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-3)
        n, h = pairs[0]
        one = pair_map(resnet, x, texts[t][None], n, h)[:, 0].flatten(1)
        torch.testing.assert_close(one, neurons[:, :, n] * cosines[:, :, h], atol=1e-4, rtol=1e-3)


def test_pool_neurons_are_behind_the_relu_without_positions(resnet, rn_pixels):
    seen = []
    handle = resnet.clip.visual.layer4.register_forward_hook(lambda _, __, output: seen.append(output))
    resnet.encode_image(rn_pixels)
    handle.remove()
    _, neurons, _ = pool_inputs(resnet, rn_pixels)
    torch.testing.assert_close(neurons, seen[0].flatten(2).transpose(1, 2), atol=1e-4, rtol=1e-4)


def test_the_sink_takes_the_mean_of_its_three_neighbours():
    maps = torch.arange(9.0).reshape(1, 9)
    assert repaired(maps, (3, 3))[0].tolist() == pytest.approx([0, 1, 2, 3, 4, 5, 6, 7, (7 + 5 + 4) / 3])


def literal_pair_maps(pool, grid, texts, k):
    """Paper B's released segmenter for one picture, loop by loop: what every patch writes through every head, the sink
    repaired as a vector, then the cosine; the neurons repaired; the mean over the k pairs. grid: [neuron, row, column].
    """
    neurons, rows, columns = grid.shape
    patches = grid.flatten(1).T
    z = torch.cat([patches.mean(dim=0, keepdim=True), patches]) + pool.positional_embedding
    heads, tokens = pool.num_heads, len(z)
    size = neurons // heads
    bias = pool.c_proj.bias / (tokens * heads)
    written = torch.zeros(tokens, heads, len(pool.c_proj.bias), dtype=z.dtype)
    unit = torch.zeros(neurons, heads, len(pool.c_proj.bias), dtype=z.dtype)
    for h in range(heads):
        cut = slice(h * size, (h + 1) * size)
        q = pool.q_proj.weight[cut] @ z[0] + pool.q_proj.bias[cut]
        a = ((z @ pool.k_proj.weight[cut].T + pool.k_proj.bias[cut]) @ q / size**0.5).softmax(dim=0)
        for i in range(tokens):
            v = pool.v_proj.weight[cut] @ z[i] + pool.v_proj.bias[cut]
            written[i, h] = pool.c_proj.weight[:, cut] @ (a[i] * v) + bias
        for n in range(neurons):
            along = pool.c_proj.weight[:, cut] @ pool.v_proj.weight[cut, n]
            unit[n, h] = along / along.norm()
    active = torch.cat([torch.full((1, neurons), torch.inf, dtype=z.dtype), patches])
    last = rows * columns  # the last token; its western, northern and north-western neighbours
    for kept in (written, active):
        kept[last] = (kept[last - 1] + kept[last - columns] + kept[last - columns - 1]) / 3
    found = torch.zeros(len(texts), rows * columns, dtype=z.dtype)
    for t, text in enumerate(texts):
        for pair in (unit @ text).flatten().topk(k).indices.tolist():
            n, h = divmod(pair, heads)
            for i in range(1, tokens):
                found[t, i - 1] += active[i, n] * (written[i, h] @ text / written[i, h].norm()) / k
    return found.unflatten(1, (rows, columns))


@torch.no_grad()
def test_the_published_pair_maps_repair_the_sink_before_the_cosine():
    from tests.tiny import clip

    vision = {"image_size": 96, "layers": [1, 1, 1, 1], "width": 4, "head_width": 8}
    model = summand.wrap(clip(vision=vision).double())
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = []
    pool = model.clip.visual.attnpool
    handle = pool.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model.encode_image(x)
    handle.remove()
    texts = centred(torch.randn(3, 16, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    expected = torch.stack([literal_pair_maps(pool, grid, texts, 40) for grid in seen[0]])
    found = PairMaps(model, k=40, repair=True, bias=True).maps(x, texts)
    torch.testing.assert_close(found, expected, atol=1e-8, rtol=1e-6)
    after = PairMaps(model, k=40, bias=True).maps(x, texts).flatten(2)
    torch.testing.assert_close(found.flatten(2)[..., :-1], after[..., :-1])
    assert (found.flatten(2)[..., -1] - repaired(after.transpose(1, 2), (3, 3))[:, -1]).abs().max() > 1e-3
    # without the output bias too: the last patch writes the mean of what its neighbours write
    view, _, _ = pool_inputs(model, x)
    written = torch.einsum("ithc,hce->ithe", view.token_values(), model.tower.head_maps().directions[0])[:, 1:]
    around = (written[:, 7] + written[:, 5] + written[:, 4]) / 3
    plain = similarity(model, view, texts, repair=True)
    torch.testing.assert_close(plain[:, -1], F.normalize(around, dim=-1) @ F.normalize(texts, dim=1).T)
    torch.testing.assert_close(plain[:, :-1], similarity(model, view, texts)[:, :-1])


def test_the_default_share_of_pairs_is_the_papers(resnet):
    chosen = PairMaps(resnet).chosen(centred(resnet.encode_text(["a star", "a ring"])))
    assert chosen.sum(dim=(1, 2)).tolist() == [round(20_000 / 147_456 * chosen[0].numel())] * 2
    few = PairMaps(resnet, apart=True).chosen(centred(resnet.encode_text(["a star", "a ring"])))
    assert few.sum(dim=(1, 2)).tolist() == [25, 25]  # 0.3 % of 8,192


def test_mistakes_are_named(vit, resnet, pixels, rn_pixels):
    with pytest.raises(SummandError, match="attention pool"):
        PairMaps(vit)
    with pytest.raises(SummandError, match="MLP neurons"):
        activations(resnet, rn_pixels, [0])
    with pytest.raises(SummandError, match="layers 0 to 5"):
        activations(vit, pixels, [6])
    with pytest.raises(SummandError, match="neurons 0 to 511, not 512"):
        neuron_map(vit, pixels, 4, 512)
    with pytest.raises(SummandError, match="at least two classes"):
        centred(resnet.encode_text(["a star"]))
