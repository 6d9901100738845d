"""Terms ablated together, reconstructions and sparse codes of an attention pool, against literal transcriptions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp
from torch.nn import functional as F

from summand import SummandError
from summand.maps.methods import needs_reference, prepare
from summand.maps.pair_maps import PairMaps, pair_signs
from summand.studies.ablation.accuracy import read
from summand.studies.ablation.direct import AttentionUpTo, ClassToken, Mlps
from summand.studies.ablation.kinds import families, read_pools
from summand.studies.ablation.options import read_kinds
from summand.studies.ablation.reconstructions import Reconstruction, SparsePairs
from summand.studies.ablation.together import Together
from summand.studies.shift.reference import Reference, make_reference
from summand.studies.shift.scores import named_concepts
from summand.text.pools import pool, random_directions
from tests.border import open_clip
from tests.commands import command
from tests.published_neurons import literal_even_pairs
from tests.studies.pictures import Noise, pixels
from tests.studies.test_ablation import close, learnt, residual, wrapped

IMAGES = 11  # odd: an even number may be half on either side, where the published sign is LAPACK's


@pytest.fixture(scope="module")
def tiny():
    return wrapped(vision={"layers": 3})


@pytest.fixture(scope="module")
def pooled():
    """A tiny ResNet, and every pair's effect as paper B's code counts it: [image, neuron, head, embed]."""
    model = residual(width=2, head_width=16, image_size=64)
    x = torch.stack([pixels(noise(model).image(i)) for i in range(IMAGES)])
    seen = []
    pool = model.clip.visual.attnpool
    handle = pool.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    output = model.encode_image(x)
    handle.remove()
    with torch.no_grad():
        effects = torch.stack([literal_even_pairs(pool, grid) for grid in seen[0]]).double()
    close(effects.sum(dim=(1, 2)), output)
    return model, effects


def noise(model):
    return Noise(IMAGES, size=model.tower.image_size[0])


def versions_of(family, model):
    for turn in range(family.rounds):
        for batch in read(model, noise(model), 5, "", False):
            family.learn(turn, batch)
        family.end(turn)
    (batch,) = read(model, noise(model), IMAGES, "", False)
    return {version.name: (version, outputs) for version, outputs in family.versions(batch)}


def test_class_token_and_mlps_together_are_paper_cs_third_column(tiny):
    made, batch = learnt(Together([ClassToken(tiny), Mlps()]), tiny)
    parts = tiny.decompose(batch.pixels)
    total, own, mlps = tiny.encode_image(batch.pixels), parts.tokens()[:, 0], parts.mlps().sum(dim=1)
    both = total - own + own.mean(dim=0) - mlps + mlps.mean(dim=0)
    close(made["the class token's own term and all MLPs"], both)
    assert (both - total).norm() / total.norm() > 1e-2
    heads = parts.heads()
    for layer, outputs in enumerate(learnt(Together([AttentionUpTo(), Mlps()]), tiny)[0].values()):
        early = heads[:, : layer + 1].sum(dim=(1, 2))
        close(outputs, total - early + early.mean(dim=0) - mlps + mlps.mean(dim=0))


def test_attention_with_the_class_tokens_own_term_takes_no_layer_twice(tiny):
    (three,) = families(tiny, [("class-token", "mlps", "attention")], images=30)
    made, batch = learnt(three, tiny)
    parts = tiny.decompose(batch.pixels)
    tokens = parts.toward(torch.eye(16))[..., 0, :].sum(dim=2)  # the class token's of every layer
    total, heads, mlps = tiny.encode_image(batch.pixels), parts.heads(), parts.mlps().sum(dim=1)
    for layer, outputs in enumerate(made.values()):
        removed = heads[:, : layer + 1].sum(dim=(1, 2)) + tokens[:, layer + 1 :].sum(dim=1) + mlps
        close(outputs, total - removed + removed.mean(dim=0))


@torch.no_grad()
def published_scores(model, effects, words, top=50, count=5):
    """Paper B's script for distribution shifts, on every pair's effect [image, neuron, head, embed]: for each word the
    pairs, and the ratio of norms on every image."""
    flat, (_, neurons, heads, _) = effects.flatten(1, 2), effects.shape
    mean = flat.mean(dim=0)
    directions = np.zeros((neurons * heads, flat.shape[-1]))
    for pair in range(neurons * heads):
        centred = (flat[:, pair] - mean[pair]).numpy()
        largest = centred[np.argsort(np.linalg.norm(centred, axis=1))[-top:]]
        right = np.linalg.svd(largest, full_matrices=False)[2][0]
        directions[pair] = right if (largest @ right > 0).sum() > len(largest) // 2 else -right
    tokenizer = open_clip.SimpleTokenizer(context_length=16)
    chosen, scores = [], []
    for word in words:
        prompts = [template(word) for template in open_clip.OPENAI_IMAGENET_TEMPLATES]
        text = F.normalize(model.clip.encode_text(tokenizer(prompts)), dim=1).mean(dim=0)
        text = (text / text.norm()).double().numpy()
        best = np.argsort(-(directions @ text))[:count]
        chosen.append([divmod(int(pair), heads) for pair in best])
        scores.append(flat[:, best].sum(dim=1).norm(dim=1) / flat.sum(dim=1).norm(dim=1))
    return chosen, torch.stack(scores, dim=1)


def test_named_concepts_of_paper_b_are_those_of_its_code(pooled, tmp_path):
    model, effects = pooled
    source = noise(model)
    chosen, scores = published_scores(model, effects, ["yellow", "convertible"])
    found = named_concepts(model, source, ["yellow", "convertible"], pool("scenes"), batch_size=5, parity="paper")
    assert [[tuple(unit) for unit in some] for some in found.units.chosen.tolist()] == chosen
    np.testing.assert_allclose(found.scores, scores, rtol=1e-3)
    own = named_concepts(model, source, ["yellow", "convertible"], pool("scenes"), batch_size=5)
    assert own.units.chosen.tolist() != found.units.chosen.tolist()
    made = make_reference(model, source, pool("scenes"), named=["yellow"], parity="paper")
    made.save(tmp_path / "r.npz")
    loaded = Reference.load(tmp_path / "r.npz").named
    assert loaded.units.parity == "paper"
    np.testing.assert_allclose(loaded.units.measure(model, source), scores[:, :1], rtol=1e-3)


def test_sides_of_pairs_are_those_of_most_of_the_largest_effects(pooled):
    model, effects = pooled
    x = torch.stack([pixels(noise(model).image(i)) for i in range(IMAGES)])
    signs = pair_signs(model, lambda: x.split(5), top=5)
    centred = (effects - effects.mean(dim=0)).double()
    rows = model.pairs(x).directions[:, :, 0].double()
    largest = centred.norm(dim=-1).topk(5, dim=0).indices
    positive = torch.einsum("inhe,nhe->inh", centred, rows).gather(0, largest) > 0
    assert torch.equal(signs > 0, positive.sum(dim=0) > 2)
    assert {-1.0, 1.0} == set(signs.flatten().tolist())
    texts = F.normalize(torch.randn(2, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    unit = F.normalize(rows, dim=-1) * signs[..., None]
    best = torch.einsum("nhe,te->tnh", unit, texts.double()).flatten(1).topk(9, dim=1).indices
    taken = PairMaps(model, k=9, signs=signs).chosen(texts).flatten(1)
    assert torch.equal(taken, torch.zeros_like(taken).scatter(1, best, 1.0))
    published = prepare(model, "pairs", lambda: x.split(5), paper=True).maps(x, texts)
    everything = PairMaps(model, repair=True, bias=True, signs=pair_signs(model, lambda: x.split(5)))
    torch.testing.assert_close(published, everything.maps(x, texts))
    assert needs_reference(["pairs"], paper=True)
    assert not needs_reference(["pairs"])


def test_the_published_score_is_refused_where_it_is_not_defined(tiny):
    with pytest.raises(SummandError, match="of the pairs of a ModifiedResNet"):
        make_reference(tiny, Noise(IMAGES), pool("scenes"), named=["yellow"], parity="paper")
    with pytest.raises(SummandError, match="how named concepts are scored"):
        make_reference(tiny, Noise(IMAGES), pool("scenes"), parity="paper")


def literal_reconstruction(effects, size, top):
    """Centred by the mean over the images, singular vectors of the largest, not centred again: [image, embed]."""
    mean = effects.mean(dim=0)
    rebuilt = torch.zeros_like(effects[:, 0])
    for unit in range(effects.shape[1]):
        centred = (effects[:, unit] - mean[unit]).numpy()
        best = np.argsort(-np.linalg.norm(centred, axis=1))[:top]
        right = np.linalg.svd(centred[best], full_matrices=False)[2]
        one = sum(np.outer(centred @ vector, vector) for vector in right[:size])
        rebuilt += mean[unit] + torch.from_numpy(one)
    return rebuilt


def test_pairs_need_one_component_and_neurons_more(pooled):
    model, effects = pooled
    pairs, neurons = effects.flatten(1, 2), effects.sum(dim=2)
    made = versions_of(Reconstruction("pairs", [1, 2, 4], top=6), model)
    assert list(made) == ["neuron–head pairs by 1 principal component"]
    (version, outputs) = made["neuron–head pairs by 1 principal component"]
    close(outputs, literal_reconstruction(pairs, 1, 6))
    close(outputs, effects.sum(dim=(1, 2)))  # of rank one: nothing is lost
    assert (version.family, version.x) == ("reconstruction", 1)
    made = versions_of(Reconstruction("neurons", [4, 1, 2], top=6), model)
    lost = []
    for size, (_, outputs) in zip((1, 2, 4), made.values(), strict=True):
        close(outputs, literal_reconstruction(neurons, size, 6))
        lost.append(float((outputs - effects.sum(dim=(1, 2))).norm()))
    assert lost[0] > lost[1] > lost[2]
    assert lost[0] > 1e-2


def test_second_order_effects_by_more_components(tiny):
    source, made = Noise(IMAGES), versions_of(Reconstruction(1, [1, 2], images=200), tiny)
    x = torch.stack([pixels(source.image(i)) for i in range(IMAGES)])
    effects = tiny.second_order(x, 1).vectors().double()
    rest = tiny.encode_image(x) - effects.sum(dim=1)
    for size, (_, outputs) in zip((1, 2), made.values(), strict=True):
        close(outputs, rest + literal_reconstruction(effects, size, 4))


@pytest.mark.parametrize("parity", [None, "paper"])
@pytest.mark.parametrize("units", ["pairs", "neurons"])
def test_sparse_codes_of_pairs_and_neurons_by_scikit_learn(pooled, units, parity):
    model, effects = pooled
    texts = F.normalize(torch.randn(40, 16, generator=torch.Generator().manual_seed(2)), dim=1)
    made = versions_of(SparsePairs(units, {"pool": texts}, [2, 16], top=6, parity=parity), model)
    flat = effects.flatten(1, 2) if units == "pairs" else effects.sum(dim=2)
    atoms = (texts - texts.mean(dim=0)).double().numpy()
    if parity == "paper":
        atoms = atoms / np.linalg.norm(atoms, axis=0)  # as released: each dimension over the pool
    else:
        atoms = atoms / np.linalg.norm(atoms, axis=1, keepdims=True)
    mean = flat.mean(dim=0)
    for size in (2, 16):
        expected = mean.sum(dim=0).repeat(IMAGES, 1)
        for unit in range(flat.shape[1]):
            centred = (flat[:, unit] - mean[unit]).numpy()
            best = np.argsort(-np.linalg.norm(centred, axis=1))[:6]
            direction = np.linalg.svd(centred[best], full_matrices=False)[2][0]
            picks, left, found = [], direction, np.zeros_like(direction)
            for _ in range(size):  # orthogonal matching pursuit, by its definition: atoms need not be of unit length
                picks.append(int(np.argmax(np.abs(atoms @ left))))
                found = np.linalg.lstsq(atoms[picks].T, direction, rcond=None)[0] @ atoms[picks]
                left = direction - found
                if np.linalg.norm(left) < 1e-6:
                    break
            if parity is None and size == 2:
                codes = orthogonal_mp(atoms.T, direction, n_nonzero_coefs=size)
                np.testing.assert_allclose(found, atoms.T @ codes, atol=1e-6)
            unit_length = found / np.linalg.norm(found)
            expected += torch.from_numpy(np.outer(centred @ unit_length, unit_length))
        what = {"pairs": "neuron–head pairs", "neurons": "neurons"}[units]
        close(made[f"{what} by {size} texts each, pool"][1], expected)
    assert made[f"{what} by 2 texts each, pool"][0].series == f"{what}, pool"
    close(made[f"{what} by 1 principal component"][1], literal_reconstruction(flat, 1, 6))


def test_pools_of_random_vectors(tiny):
    made = read_pools(tiny, "random,gaussian,random:7,gaussian:9")
    assert [len(rows) for rows in made.values()] == [3000, 3498, 7, 9]
    torch.testing.assert_close(made["random"], random_directions(3000, 16))
    torch.testing.assert_close(F.normalize(made["gaussian:9"], dim=1), random_directions(9, 16))
    lengths = made["gaussian"].norm(dim=1).square()
    assert float(lengths.mean()) == pytest.approx(16, rel=0.05)  # of a χ² with as many degrees of freedom
    assert float(lengths.var()) == pytest.approx(32, rel=0.2)
    for wrong in ("random:0", "gaussian:x", "random:"):
        with pytest.raises(SummandError, match="takes how many vectors"):
            read_pools(tiny, wrong)


def test_what_cannot_be_combined_or_reconstructed_is_refused(tiny, pooled, unchecked):
    assert read_kinds(None) is None
    with pytest.raises(SummandError, match="sparse cannot be ablated together with other terms: only class-token"):
        read_kinds("mlps+sparse")
    with pytest.raises(SummandError, match="mlps\\+mlps names an ablation twice"):
        read_kinds("mlps+mlps")
    with pytest.raises(SummandError, match="unknown ablation 'mpls', did you mean 'mlps'"):
        read_kinds("class-token+mpls")
    with pytest.raises(SummandError, match="from two families on, got 1"):
        Together([Mlps()])
    with pytest.raises(SummandError, match="from 1 on"):
        Reconstruction("pairs", [0])
    with pytest.raises(SummandError, match="pairs, neurons or a layer"):
        Reconstruction("heads")
    with pytest.raises(SummandError, match="whose neurons are of one layer"):
        families(pooled[0], [("reconstruction",)], images=9, layers=[0])
    with pytest.raises(SummandError, match="sizes of at least 1"):
        SparsePairs("pairs", {}, [4])


@pytest.mark.slow
def test_the_commands(tmp_path, unchecked):
    def rows(*arguments):
        given = ["ablate", "scenes:count=24,seed=3", "--classes", "place", *arguments, "--out", tmp_path / "a.png"]
        result = command(*given, "--json").json
        return {row["ablation"]: row for row in result["rows"]}, result

    found, result = rows("--what", "mlps,class-token+mlps", "--model", "scenes-vit")
    assert list(found) == ["all MLPs", "the class token's own term and all MLPs"]
    assert result["options"]["what"] == "mlps,class-token+mlps"
    found, result = rows("--what", "reconstruction,sparse", "--pool", "scenes,gaussian:200", "--size", "4",
                         "--model", "scenes-rn")  # fmt: skip
    assert found["neuron–head pairs by 1 principal component"]["drop"] == 0
    assert {f"{what} by 4 texts each, {pool}" for what in ("neurons", "neuron–head pairs") for pool in
            ("scenes", "gaussian:200")} < set(found)  # fmt: skip
    assert found["neurons by 4 principal components"]["x"] == 4
    found, _ = rows("--what", "reconstruction", "--layers", "3", "--components", "1,3")
    assert list(found) == [f"second-order effects of layer 3 by {n}" for n in ("1 principal component",
                                                                             "3 principal components")]  # fmt: skip
