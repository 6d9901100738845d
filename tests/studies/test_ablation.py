"""Every ablation against its definition, on dense tensors of tiny models with random weights."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from sklearn.linear_model import orthogonal_mp
from torch.nn import functional as F

import summand
from summand import SummandError
from summand.data.labelled import Labelled
from summand.studies.ablation.accuracy import Batch, measure, measure_tasks, read
from summand.studies.ablation.direct import AttentionUpTo, ClassToken, HeadSets, Mlps, Spans
from summand.studies.ablation.neurons import Indirect, SecondOrder, SparseSecondOrder
from summand.studies.ablation.options import AblateOptions
from summand.studies.ablation.pairs import Pairs
from summand.studies.ablation.result import Ablations
from tests.border import open_clip
from tests.commands import command
from tests.counting import Counted
from tests.studies.pictures import Noise, labelled, pixels
from tests.tiny import clip

COUNT = 30
RESNET = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 4, "head_width": 8}


def wrapped(**changes):
    return summand.wrap(clip(**changes), preprocess=pixels, tokenizer=open_clip.SimpleTokenizer(context_length=16))


def residual(**changes):
    """A tiny ResNet whose batch norms know noise; else nothing of an image is left behind them."""
    model = wrapped(vision={**RESNET, **changes})
    noise = Noise(COUNT, seed=9, size=model.tower.image_size[0])
    norms = [module for module in model.clip.visual.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    with torch.no_grad():
        model.clip.visual.train()(torch.stack([pixels(noise.image(i)) for i in range(COUNT)]))
    model.clip.visual.eval()
    return model


@pytest.fixture(scope="module")
def tiny():
    return wrapped(vision={"layers": 3})


def learnt(family, model, source=None):
    """The outputs of all versions on all images, the statistics taken over `source`."""
    for turn in range(family.rounds):
        for batch in read(model, source or Noise(COUNT), 8, "", False):
            family.learn(turn, batch)
        family.end(turn)
    (batch,) = read(model, Noise(COUNT), COUNT, "", False)
    return {version.name: outputs for version, outputs in family.versions(batch)}, batch


def close(found, expected):
    torch.testing.assert_close(found.double(), expected.double(), rtol=1e-3, atol=2e-4)


def test_direct_effects_are_replaced_by_their_means(tiny):
    versions, batch = learnt(Mlps(), tiny)
    parts = tiny.decompose(batch.pixels)
    total, heads, mlps = tiny.encode_image(batch.pixels), parts.heads(), parts.mlps().sum(dim=1)
    close(batch.total, total)
    close(versions["all MLPs"], total - mlps + mlps.mean(dim=0))
    for layer, outputs in enumerate(learnt(AttentionUpTo(), tiny)[0].values()):
        early = heads[:, : layer + 1].sum(dim=(1, 2))
        close(outputs, total - early + early.mean(dim=0))
    own = tiny.decompose(batch.pixels).tokens()[:, 0]
    close(learnt(ClassToken(tiny), tiny)[0]["the class token's own term"], total - own + own.mean(dim=0))
    some = heads[:, 0, 1] + heads[:, 2, 0]
    close(learnt(HeadSets(tiny, {"two": [(0, 1), (2, 0)]}), tiny)[0]["two"], total - some + some.mean(dim=0))


def test_means_may_come_from_other_images(tiny):
    other = Noise(12, seed=4)
    versions, batch = learnt(Mlps(), tiny, other)
    elsewhere = tiny.decompose(torch.stack([pixels(other.image(i)) for i in range(12)])).mlps().sum(dim=1).mean(dim=0)
    close(versions["all MLPs"], batch.total - tiny.decompose(batch.pixels).mlps().sum(dim=1) + elsewhere)


def test_projection_on_textspan_bases(tiny):
    texts = F.normalize(torch.randn(40, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    versions, batch = learnt(Spans(tiny, {"pool": texts}, [2, 16], layers=2), tiny)
    parts = tiny.decompose(batch.pixels)
    heads, mlps = parts.heads(), parts.mlps().sum(dim=1)
    fixed = parts.embedding() + parts.bias() + (heads[:, :1].sum(dim=(1, 2)) + mlps).mean(dim=0)
    late = heads[:, 1:]
    close(versions["heads of the last 2 layers alone"], fixed + late.sum(dim=(1, 2)))
    # As many texts as the heads have dimensions lose nothing.
    close(versions["16 texts a head, pool"], versions["heads of the last 2 layers alone"])
    rebuilt = 0
    for layer in range(2):
        for head in range(late.shape[2]):
            outputs = late[:, layer, head]
            span = summand.textspan(outputs, texts, 2)
            rebuilt = rebuilt + span.project(outputs.double() - outputs.double().mean(dim=0)) + outputs.mean(dim=0)
    close(versions["2 texts a head, pool"], fixed + rebuilt)


def test_second_order_effects_by_their_dense_definition(tiny):
    versions, batch = learnt(SecondOrder(0, COUNT), tiny)
    vectors = tiny.second_order(batch.pixels, 0).vectors().double()
    mean = vectors.mean(dim=0)
    centred = vectors - mean
    norms = centred.norm(dim=-1)
    significant = norms >= norms.max(dim=0).values * (1 - 1e-5)  # the top 2 % of 30 images is one image
    approximated = torch.zeros_like(centred)
    for neuron in range(vectors.shape[1]):
        top = centred[norms[:, neuron].argmax(), neuron]
        direction = top / top.norm()  # the first principal direction of one image is the image
        approximated[:, neuron] = (centred[:, neuron] @ direction)[:, None] * direction
    name = "second-order effects of layer 0: {}".format
    total = batch.total
    close(versions[name("all mean-ablated")], total - centred.sum(dim=1))
    strong = (centred * significant[..., None]).sum(dim=1)
    close(versions[name("significant mean-ablated")], total - strong)
    close(versions[name("insignificant mean-ablated")], total - centred.sum(dim=1) + strong)
    close(versions[name("rank-one reconstruction")], total - centred.sum(dim=1) + approximated.sum(dim=1))
    assert float(strong.norm() / total.norm()) > 1e-3


def test_indirect_effects_run_on_from_the_mean_activations(tiny):
    versions, batch = learnt(Indirect(1), tiny)
    blocks, visual = tiny.clip.visual.transformer.resblocks, tiny.clip.visual
    stream = visual._embeds(batch.pixels)
    stream = blocks[0](stream)
    after = stream + blocks[1].attention(blocks[1].ln_1(stream))
    hidden = blocks[1].mlp.gelu(blocks[1].mlp.c_fc(blocks[1].ln_2(after)))
    after = after + blocks[1].mlp.c_proj(hidden.mean(dim=0, keepdim=True).expand_as(hidden))
    expected = visual.ln_post(blocks[2](after)[:, 0]) @ visual.proj
    close(versions["indirect effects of layer 1 mean-ablated"], expected.detach())
    close(tiny.encode_image(batch.pixels), batch.total)  # nothing is left behind


def test_sparse_reconstruction_against_sklearn(tiny):
    texts = F.normalize(torch.randn(60, 16, generator=torch.Generator().manual_seed(2)), dim=1)
    family = SparseSecondOrder(1, COUNT, {"pool": texts}, [3, 16])
    versions, batch = learnt(family, tiny)
    family_name = "sparse codes, layer 1"
    whole = versions[f"{family_name}: rank-one reconstruction"]
    close(versions[f"{family_name}: 16 texts a neuron, pool"], whole)  # 16 atoms span the 16 dimensions
    atoms = F.normalize(texts - texts.mean(dim=0), dim=1).double().numpy()
    directions = family.directions.directions.numpy()
    codes = orthogonal_mp(atoms.T, directions.T, n_nonzero_coefs=3)
    effects = tiny.second_order(batch.pixels, 1)
    amount = family.directions.project(effects)
    change = amount @ torch.from_numpy(directions - (atoms.T @ codes).T)
    close(versions[f"{family_name}: 3 texts a neuron, pool"], whole - change)


def test_pairs_are_kept_by_their_largest_norms():
    model = residual()
    versions, batch = learnt(Pairs([25, 100], top=5), model)
    vectors = model.pairs(batch.pixels).vectors().double()
    centred = (vectors - vectors.mean(dim=0)).flatten(1, 2)
    score = centred.norm(dim=-1).sort(dim=0, descending=True).values[:5].mean(dim=0)
    kept = score >= score.quantile(0.75)
    lost = centred[:, ~kept].sum(dim=1)
    assert float(lost.norm() / batch.total.norm()) > 1e-2
    close(versions["all but 25 % of the neuron–head pairs"], batch.total - lost)
    close(versions["all but 100 % of the neuron–head pairs"], batch.total)
    neurons, _ = learnt(Pairs([50], top=5, neurons=True), model)
    whole = (vectors - vectors.mean(dim=0)).sum(dim=2)
    score = whole.norm(dim=-1).sort(dim=0, descending=True).values[:5].mean(dim=0)
    close(neurons["all but 50 % of the neurons"], batch.total - whole[:, score < score.quantile(0.5)].sum(dim=1))


def test_accuracy_is_counted_against_the_labels(tiny):
    data = labelled(COUNT)
    weights = F.normalize(torch.randn(3, 16, generator=torch.Generator().manual_seed(3)), dim=1)
    made = measure(tiny, data, weights, [Mlps(), AttentionUpTo()], batch_size=7)
    images = torch.stack([pixels(data.source.image(i)) for i in range(COUNT)])
    guesses = (tiny.encode_image(images) @ weights.T).argmax(dim=1).numpy()
    assert made.baseline == pytest.approx((guesses == data.labels).mean())
    assert made.guesses.shape == (1 + 1 + 3, COUNT)
    for row, guess in zip(made.rows, made.guesses[1:], strict=True):
        assert row.accuracy == pytest.approx((guess == data.labels).mean())
        assert row.drop == pytest.approx(made.baseline - row.accuracy)
    found = Ablations.of(made, AblateOptions(), data.source, data.classes, model="tiny")
    assert found.rows["accuracy"].tolist() == [row.accuracy for row in made.rows]
    bars, lines = found.figure().axes
    assert [bar.get_width() for bar in bars.patches] == [100 * made.rows[0].accuracy]
    assert lines.lines[0].get_ydata().tolist() == [100 * row.accuracy for row in made.rows[1:]]
    assert {line.get_ydata()[0] for line in lines.lines[1:]} == {100 * made.baseline}


def test_several_tasks_share_their_passes(tiny):
    data = labelled(COUNT)
    other = Labelled(data.source, ("p", "q"), (data.labels + np.arange(COUNT)) % 2)
    weights = [torch.randn(n, 16, generator=torch.Generator().manual_seed(n)) for n in (3, 2)]
    made = measure_tasks(tiny, [data, other], weights, [AttentionUpTo()], batch_size=7)
    for task, classifier, found in zip((data, other), weights, made, strict=True):
        alone = measure(tiny, task, classifier, [AttentionUpTo()], batch_size=7)
        assert (alone.baseline, alone.rows) == (found.baseline, found.rows)
        np.testing.assert_array_equal(alone.guesses, found.guesses)
    with pytest.raises(SummandError, match="not of the same images"):
        measure_tasks(tiny, [data, labelled(6)], [weights[0], weights[0]], [])


def test_what_cannot_be_ablated_is_refused(tiny):
    with pytest.raises(SummandError, match=r"no head 3\.0; layers are 0 to 2"):
        HeadSets(tiny, {"x": [(3, 0)]})
    with pytest.raises(SummandError, match="at least one head"):
        HeadSets(tiny, {"x": []})
    with pytest.raises(SummandError, match="a percentage above 0"):
        Pairs([0])
    with pytest.raises(SummandError, match="sizes of at least 1"):
        SparseSecondOrder(1, 10, {}, [4])
    with pytest.raises(SummandError, match="the classifier has 2 classes, the labels have 3"):
        measure(tiny, labelled(6), torch.randn(2, 16), [])


def test_a_batch_sums_to_the_models_own_output(tiny):
    x = torch.stack([pixels(Noise(5).image(i)) for i in range(5)])
    close(Batch(tiny, x, range(5)).total, tiny.encode_image(x))
    np.testing.assert_array_equal(Batch(tiny, x, range(5)).indices, range(5))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--what", "indirect", "--layers", "9"), r"layers 0 to 5, got \[9\]"),
        (("--what", "indirect", "--layers=-1"), "takes numbers from 0 on, .*; got '-1'"),
        (("--what", "sparse", "--layers", "5"), "layers 0 to 4"),
        (("--what", "indirect", "--model", "scenes-rn"), "no MLPs"),
        (("--what", "mlps,second-order", "--model", "scenes-rn"), "mlps, second-order cannot be ablated"),
        (("--units", "9.3"), "has no head 9.3; layers are 0 to 5"),
        (("--units", "4:9999"), "layer 4 has neurons 0 to 511, not 9999"),
        (("--units", "5:3"), "no attention comes after layer 5"),
        (("--units", "3x1"), "pairs are of towers that end in an attention pool"),
        (("--units", "3:1", "--model", "scenes-rn"), "of a transformer"),
        (("--units", "3x99", "--model", "scenes-rn"), "has no pair 3x99; its neurons are 0 to"),
        (("--what", "mlps", "--out", "file.txt/a.png"), "file.txt is no folder"),
    ],
)
def test_ablations_that_a_model_does_not_have_are_named(arguments, said, tmp_path, monkeypatch, unchecked):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("")
    found = command("ablate", "scenes:count=20", "--classes", "shape", *arguments)
    assert found.code == 2
    assert re.search(said, " ".join(found.error.split()))


def test_a_head_named_twice_is_removed_once(tiny):
    sets = HeadSets(tiny, {"once": [(1, 0)], "twice": [(1, 0), (1, 0)]})
    versions, _ = learnt(sets, tiny)
    assert torch.equal(versions["once"], versions["twice"])


@pytest.mark.slow
def test_a_survey_of_the_reference_stands_for_its_images(vit):
    given = {"classes": "shape", "what": "second-order", "layers": "3", "units": "5.0,4.1", "batch_size": 20}
    reference = Counted("scenes:count=60,seed=8")
    plain = summand.ablate(vit, "scenes:count=12,seed=3", reference, **given)
    # as many top images as a survey of its own would have: 2 % of 60
    known = summand.survey(vit, reference, units="heads,neurons:3", held_out=0, top=2, progress=False)
    reference.read = 0
    found = summand.ablate(vit, "scenes:count=12,seed=3", known, **given)
    assert reference.read == 0
    assert found.rows.equals(plain.rows)
    assert len(found.rows) == 5
    summand.ablate(vit, "scenes:count=12,seed=3", known, **given | {"what": "mlps"})  # means that it keeps
    assert reference.read == 0
    summand.ablate(vit, "scenes:count=12,seed=3", known, **given | {"layers": "4"})  # which it does not hold
    assert reference.read == 2 * 60  # in two passes
