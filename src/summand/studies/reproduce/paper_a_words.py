"""Paper A, what neurons say: Tables 2 and 5, and the concepts of a picture (Appendix A.5)."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
import torch

from ...data.sources import read_batch
from ...survey import Group
from ...survey.profile import profile_of
from ...text.lexicons import values_of
from ...text.pools import Pool
from ...text.sparse import SparseCode, sparse_code
from ..concepts.image import image_concepts
from .job import Job, some
from .paper_a import all_neurons, studied_layer
from .row import B32, Claim, Found, Row

_SIZE, _SHOWN = 128, 4
_OF_SCENES = 16  # texts a neuron: scenes have 251
WORDS = {
    "9:4": "+snowy +frost +closings +advent",
    "9:391": "+woodworking -swelling +cedar +heirloom",
    "9:2137": "+refreshments +gelatin +sour +cosmopolitan",
    "9:2914": "+motorhome +yacht +cirrus +cabriolet",
}
FURTHER = (600, 974, 1517, 2002)
_DRAWS = 1000
_PICTURES = 100


def neurons_in_words(job: Job, *, neurons: tuple[int, ...], further: int) -> Found:
    """Tables 2 and 5: r_n ≈ Σ_j γ_j M_text(t_j) of some neurons of layer 9, the four texts of largest |γ|.

    further: on scenes how many layers behind; there all neurons of the layer are held against what their strongest
    images show.
    """
    model, usual = job.model(), job.usual()
    layer = studied_layer(job) + (further if job.scenes else 0)
    units = all_neurons(model) if job.scenes else f"neurons:{layer}"
    survey = job.survey(model, units, usual)
    pool = job.pool("words-30k", model)
    chosen = list(range(survey.rank_one(f"neurons.{layer}").directions.shape[0])) if job.scenes else list(neurons)
    targets = survey.rank_one(f"neurons.{layer}").directions[chosen]
    texts = model.encode_text(pool.texts, progress=None).cpu()
    code = sparse_code(
        targets.to(texts), texts, min(_SIZE if not job.scenes else _OF_SCENES, len(pool.texts)), parity="paper"
    )
    found = Found()
    said = _signed(code, pool)
    if job.scenes:
        _against_images(found, code, pool, survey.top_images(f"neurons.{layer}").ids, usual.attributes())
        found.words += [(f"{layer}:{n}", " ".join(said[n])) for n in range(4)]
        return found
    shared = 0
    for neuron, words in zip(neurons, said, strict=True):
        name, published = f"{layer}:{neuron}", WORDS.get(f"9:{neuron}", "")
        shared += len(set(published.split()) & set(words))
        found.words.append((name, " ".join(words) + (f" (published: {published})" if published else "")))
    if all(f"9:{neuron}" in WORDS for neuron in neurons):
        found.numbers["words in common with the paper's"] = float(shared)
        found.claims.append(
            Claim(
                "neurons are described by the paper's words",
                shared > 0,
                f"{shared} of 16",
                "the dictionary is of another pool of words, and codes depend on all of it",
            )
        )
    return found


def _signed(code: SparseCode, pool: Pool) -> list[list[str]]:
    rows = []
    for indices, amounts in zip(code.indices.tolist(), code.coefficients.tolist(), strict=True):
        best = sorted(zip(indices, amounts, strict=True), key=lambda one: -abs(one[1]))[:_SHOWN]
        rows.append([f"{'+' if amount > 0 else '-'}{pool.texts[i]}" for i, amount in best if i >= 0])
    return rows


def _against_images(found: Found, code: SparseCode, pool: Pool, top: torch.Tensor, table: pd.DataFrame | None) -> None:
    """How much more often a neuron's strongest images show what its first text names than others do."""
    assert table is not None
    shown = [
        {name: str(value) for name, value in values_of(text).items() if name in table.columns} for text in pool.texts
    ]
    truth = np.zeros((len(pool.texts), len(table)), dtype=bool)
    for row, values in enumerate(shown):
        if values:
            truth[row] = np.all([table[name].to_numpy().astype(str) == value for name, value in values.items()], axis=0)
    usable = np.asarray(truth.any(axis=1))
    largest = code.coefficients.abs().argmax(dim=1)
    place = torch.arange(len(largest))
    first, sign = code.indices[place, largest].numpy(), np.sign(code.coefficients[place, largest].numpy())
    kept = usable[first]
    first, sign, ids = first[kept], sign[kept], top.cpu().numpy()[kept]
    base = truth.mean(axis=1)

    def lift(texts: np.ndarray) -> float:
        inside = np.array([truth[text, images].mean() for text, images in zip(texts, ids, strict=True)])
        return float(100 * np.mean(sign * (inside - base[texts])))

    generator = np.random.default_rng(0)
    chance = [lift(generator.permutation(first)) for _ in range(_DRAWS)]
    here = lift(first)
    p = (1 + sum(value >= here for value in chance)) / (1 + _DRAWS)
    found.numbers |= {
        "neurons whose first text can be checked": float(len(first)),
        "points more of the strongest images show it": here,
        "the same with texts shuffled": float(np.mean(chance)),
    }
    found.claims.append(
        Claim(
            "a neuron's words name what its strongest images show",
            p < 0.01,
            f"{here:+.1f} points, shuffled {np.mean(chance):+.1f} (p = {p:.2g}, {len(first)} neurons)",
        )
    )


def concepts_of_pictures(job: Job) -> Found:
    """App. A.5: w_j = Σ_n γ_j ‖φ_n − b_n‖ over the neurons of layer 9 whose effect is above its 98th percentile."""
    model, usual, layer = job.model(), job.usual(), studied_layer(job)
    units = all_neurons(model) if job.scenes else f"neurons:{layer}"
    known = profile_of(job.survey(model, units, usual), [Group("neurons", layer)])
    pool = job.pool("words-30k", model)
    texts = model.encode_text(pool.texts, progress=None)
    source = some(job.tasks(every=10)[0].source, min(_PICTURES, job.count(_PICTURES)))
    active, right, signed, whole, said = [], [], [], [], []
    truth = source.attributes()
    for index, picture in _pictures(source):
        made = image_concepts(model, picture, known, pool, texts, words=5, maps=0, parity="paper")
        active.append(len(made.units))
        said.append((source.name(index), f"{len(made.units)} neurons: " + " · ".join(word for word, _ in made.words)))
        if truth is not None:
            other = image_concepts(model, picture, known, pool, texts, words=5, maps=0)
            for words, held in ((made.words, right), (other.words, signed), (other.code[:5], whole)):
                held += [float(np.mean([_true(word, truth.iloc[index]) for word, _ in words]))] if words else []
    found = Found(words=said[:4])
    found.numbers |= {
        "fewest significant neurons of a picture": float(min(active)),
        "most significant neurons of a picture": float(max(active)),
        "neurons significant in a picture, mean": float(np.mean(active)),
    }
    share = 100 * float(np.mean(active)) / len(known.units)
    found.claims.append(Claim("few neurons are significant in a picture", share < 5, f"{share:.1f} % of the layer's"))
    if truth is not None:
        chance = 100 * float(np.mean([[_true(text, row) for text in pool.texts] for _, row in truth.iterrows()]))
        held, better, own = (100 * float(np.mean(each)) if each else 0.0 for each in (right, signed, whole))
        found.numbers |= {
            "true of the first words": held,
            "the same by signed projections": better,
            "true of the picture's own sparse code": own,
            "true of any text": chance,
        }
        found.claims.append(
            Claim(
                "their words name what the picture holds",
                held >= 50,
                f"{held:.0f} % are true; of any text {chance:.0f} %",
                f"{np.mean(active):.0f} neurons of one layer say little of a picture: of the first words of its own "
                f"sparse code, of all that is written, {own:.0f} % are true. And norms have no sign: signed, "
                f"{better:.0f} %",
            )
        )
    return found


def _pictures(source):
    for index in range(len(source)):
        for picture in read_batch(source, range(index, index + 1), []).images:
            yield index, picture


def _true(text: str, row: pd.Series) -> bool:
    values = {name: value for name, value in values_of(text).items() if name in row.index}
    return bool(values) and all(str(row[name]) == str(value) for name, value in values.items())


_TRAIN = ("imagenet-train",)
_POOL = ("30,000 common words of wordfreq: the released list is not ours to ship (--pool FILE)",)
ROWS = (
    Row(
        "A:table2",
        "neurons of layer 9 in words",
        partial(neurons_in_words, neurons=(4, 391, 2137, 2914), further=0),
        (B32,),
        _TRAIN,
        published={"words in common with the paper's": 16.0},
        stored="layer",
        images=5_124,
        deviates=_POOL,
    ),
    Row(
        "A:table5",
        "further neurons in words",
        partial(neurons_in_words, neurons=FURTHER, further=1),
        (B32,),
        _TRAIN,
        stored="layer",
        images=5_124,
        deviates=(*_POOL, "the paper's words for these are not repeated here: look at them side by side"),
    ),
    Row(
        "A:appA5",
        "concepts of a picture",
        concepts_of_pictures,
        (B32,),
        ("imagenet-train", "imagenet-val"),
        published={"fewest significant neurons of a picture": 29.0, "most significant neurons of a picture": 59.0},
        stored="layer",
        images=5_224,
        deviates=(
            *_POOL,
            "of 100 validation images, not of the paper's few; weighed by the norm, as the notebook does",
        ),
    ),
)
