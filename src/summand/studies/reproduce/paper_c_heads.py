"""Paper C, what heads are about: Table 1 and Tables 6 to 9."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np

from ...data import ImageSource
from ...statistics.moments import Moments
from ...text.pools import Pool
from ...text.properties import property_of
from ...text.textspan import textspan
from .job import Job
from .row import L14, Claim, Found, Row, Weights

_LAST = 4  # layers
_TEXTS = 5  # a head, in the paper's tables
_CLEAR = 4  # of them about one property
_DRAWS = 20_000
# The roles that the paper's authors gave to some heads of ViT-L-14, each with the lists of `general` that say the same.
ROLES = {
    "21.11": ("geo-locations", ("countries", "cities", "regions", "landmarks")),
    "23.10": ("counting", ("count", "counts", "numbers")),
    "22.8": ("letters", ("letter", "letters", "text")),
    "22.11": ("colours", ("colour",)),
    "22.6": ("animals", ("mammals", "birds", "breeds", "insects", "sea_life", "reptiles_amphibians")),
    "22.3": ("objects", ("clothing", "household_objects", "furniture", "electronics", "body", "tools")),
    "23.12": ("textures", ("texture", "textures", "patterns", "materials")),
    "22.1": ("shapes", ("shape", "shapes")),
    "22.2": ("locations", ("place", "indoor_places", "outdoor_places", "landscapes", "architecture", "buildings")),
}


def head_texts(
    job: Job, weights: Weights | None = None, source: ImageSource | None = None
) -> tuple[Pool, dict[str, list[str]]]:
    """The first five texts of the TextSpan of every head of the last 4 layers, as published: without centring texts.

    weights: of the first model unless another is named; source: over the classified images, unless others are given.
    """

    def make() -> tuple[Pool, dict[str, list[str]]]:
        model = job.model(weights)
        chosen = job.pool("general", model)
        last = list(range(max(0, model.tower.layers - _LAST), model.tower.layers))
        images = job.tasks()[0].source if source is None else source
        moments = job.survey(model, "heads", images).moments("heads").select(last)
        found = textspan(moments, model.encode_text(chosen.texts, progress=None), _TEXTS, parity="paper").indices
        texts = {
            f"{layer}.{head}": [chosen.texts[int(i)] for i in found[row, head] if i >= 0]
            for row, layer in enumerate(last)
            for head in range(found.shape[1])
        }
        return chosen, texts

    label = None if source is None else source.label
    return job.once(("head texts", weights or job.weights[0], label), make)


def head_moments(job: Job) -> Moments:
    """Second moments of all heads, over the images that are classified."""
    return job.survey(job.model(), "heads", job.tasks()[0].source).moments("heads")


def most_named(texts: list[str], pool: Pool) -> tuple[str | None, int]:
    """The property that most of some texts name, and how many do."""
    named = Counter(name for text in texts if (name := property_of(text, pool)) is not None)
    return named.most_common(1)[0] if named else (None, 0)


def chance_of_clear(pool: Pool, seed: int = 0) -> float:
    """How often five texts drawn from the pool are as much of one property."""
    kinds = np.array([property_of(text, pool) or "" for text in pool.texts])
    codes = np.unique(kinds, return_inverse=True)[1]
    codes = np.where(kinds == "", -1 - np.arange(len(kinds)), codes)  # texts of no property are alike to none
    drawn = np.random.default_rng(seed).choice(codes, (_DRAWS, _TEXTS))
    return float(np.mean([np.unique(row, return_counts=True)[1].max() >= _CLEAR for row in drawn]))


def roles(job: Job) -> Found:
    """Table 1: the heads that the paper shows, and what their texts are about here; on scenes, how many heads are about
    one property."""
    pool, texts = head_texts(job)
    found = Found()
    if not job.scenes:
        right = 0
        for head, (role, lists) in ROLES.items():
            if head in texts:
                here, count = most_named(texts[head], pool)
                right += here in lists
                found.words.append((f"{head}, {role}", f"{count} of 5 {here or 'nothing'}: {' · '.join(texts[head])}"))
        found.numbers["heads with the paper's role"] = float(right)
        found.notes.append("the texts are of another pool than the paper's, so the property is compared (--pool FILE)")
    found.claims.append(_clear(job, texts, pool, found))
    return found


def one_layer(job: Job, *, back: int) -> Found:
    """Tables 6 to 9: the first texts of every head of one of the last layers. back: 1 for the last."""
    pool, texts = head_texts(job)
    layer = job.model().tower.layers - back
    here = {head: some for head, some in texts.items() if head.startswith(f"{layer}.")}
    found = Found()
    for head, some in here.items():
        name, count = most_named(some, pool)
        found.words.append((head, f"{count} of 5 {name or 'nothing'}: {' · '.join(some)}"))
    written = head_moments(job).variance().sum(dim=1)
    why = f"its heads write {100 * float(written[layer] / written.sum()):.0f} % of the variance of all heads"
    found.claims.append(_clear(job, here, pool, found, why))
    clear = int(found.numbers["heads about one property"])
    found.claims.append(Claim("not every head has a clear role", clear < len(here), f"{clear} of {len(here)} have"))
    return found


def _clear(job: Job, texts: dict[str, list[str]], pool: Pool, found: Found, why: str = "") -> Claim:
    from scipy.stats import binom

    clear = [head for head, some in texts.items() if most_named(some, pool)[1] >= _CLEAR]
    chance = job.once(("chance", pool.name, len(pool.texts)), lambda: chance_of_clear(pool))
    p = float(binom.sf(len(clear) - 1, len(texts), chance)) if clear else 1.0
    found.numbers |= {
        "heads": float(len(texts)),
        "heads about one property": float(len(clear)),
        "as many by chance": chance * len(texts),
    }
    said = f"{len(clear)} of {len(texts)} heads ({_CLEAR} of the first {_TEXTS} texts; by chance "
    said += f"{chance * len(texts):.1f}, p = {p:.1g})"
    return Claim("the texts of some heads are about one property", p < 0.01, said, why)


_VAL = ("imagenet-val",)
_POOL = ("texts of another pool: the paper's are not ours to ship (--pool FILE)",)
ROWS = (
    Row(
        "C:table1",
        "the texts of some heads",
        roles,
        (L14,),
        _VAL,
        published={"heads with the paper's role": 9.0},
        passes=1,
        deviates=_POOL,
    ),
    *(
        Row(
            f"C:table{number}",
            f"the texts of the heads of the {name} layer",
            partial(one_layer, back=back),
            (L14,),
            _VAL,
            passes=1,
            deviates=_POOL,
        )
        for number, back, name in ((6, 4, "fourth last"), (7, 3, "third last"), (8, 2, "second last"), (9, 1, "last"))
    ),
)
