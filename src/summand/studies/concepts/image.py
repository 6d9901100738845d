"""What an image holds, in words: those of the neurons that it moves unusually far, and its own sparse code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ...errors import SummandError
from ...maps.drawing import heatmap_of
from ...maps.heatmap import Heatmap
from ...models import Model
from ...survey import Survey
from ...survey.profile import Profile, profile_of
from ...text.contributions import texts_of_images, words_of_images
from ...text.pools import Pool
from ...text.sparse import sparse_code
from ...towers.precision import doubled
from ..verb import OptionError


@dataclass(frozen=True)
class ActiveUnit:
    """A neuron or pair whose effect on the image is significant. norm: ‖φ − b‖; threshold: its 98th percentile; along:
    its projection x on r; words: up to three texts of its code that the image's move speaks for (γ x > 0)."""

    unit: str
    norm: float
    along: float
    threshold: float
    words: tuple[str, ...]


@dataclass(frozen=True)
class ImageConcepts:
    """words: of the significant units together, best first, with their scores (App. A.5). units: these units, the one
    furthest above its threshold first. code: the image's sparse code, texts with coefficients; cosine: of the code with
    the (centred) image. maps: of the first texts of the code."""

    words: tuple[tuple[str, float], ...]
    units: tuple[ActiveUnit, ...]
    code: tuple[tuple[str, float], ...]
    cosine: float
    maps: Heatmap | None


@torch.no_grad()
def image_concepts(
    model: Model,
    image: Image.Image,
    survey: Survey | Profile,
    pool: Pool,
    texts: Float[Tensor, "text embed"],
    *,
    words: int = 10,
    size: int | None = None,
    code_size: int = 8,
    maps: int = 3,
    parity: Literal["paper"] | None = None,
) -> ImageConcepts:
    r"""w_j = Σ_{n ∈ N(I)} γ_j^n x_n(I) / τ_n over the units N(I) whose norm ‖φ_n(I) − b_n‖ is above τ_n, its 98th
    percentile.

    γ^n: the sparse code of r_n over the pool, of `size` texts (128 for pools over 1,000 as in the paper, else 4).
    x_n = ⟨φ_n − b_n, r_n⟩ is signed: an image that moves a neuron for red far to the other side does not hold red. In
    units of τ_n, since a few neurons write much of everything; on scenes more of the first words are true so.
    parity="paper" puts the norm in the place of x_n / τ_n, as the released notebook that made the paper's figures does.
    The image's own code is non-negative, of M(x)/‖M(x)‖ minus its mean over the survey's images. maps: of so many
    first texts of the code; 0 for none.

    Source: paper A (Gandelsman et al., ICLR 2025), appendix A.5. Raises `SummandError` for sizes that do not fit.
    """
    if parity not in (None, "paper"):
        raise SummandError(f"parity must be None or 'paper', got {parity!r}")
    check_size(pool, code_size)
    profile = profile_of(survey)
    pixels = model.preprocess(image)[None].to(model.device, model.dtype)
    texts = texts.cpu()  # as the survey lies
    norms = profile.norms(model, pixels).cpu()
    active = profile.significant(norms)[0].nonzero()[:, 0]
    along = profile.projections(model, pixels).cpu()
    units, ranked = _units(profile, norms[0], along[0], active), []
    if len(active):
        size = min(size or (128 if len(pool.texts) > 1000 else 4), len(pool.texts))
        code = sparse_code(profile.directions[active].to(texts), texts, size)
        if parity == "paper":
            here = norms[:, active]
            everything = torch.ones_like(here, dtype=torch.bool)
            scores = words_of_images(here, everything, code.indices, code.coefficients, len(pool.texts), power=1)[0]
        else:
            usual = profile.limits[active].to(along).clamp(min=1e-12)
            scores = texts_of_images(along[:, active] / usual, code.indices, code.coefficients, len(pool.texts))[0]
        ranked = [
            (pool.texts[int(i)], float(scores[i])) for i in scores.argsort(descending=True)[:words] if scores[i] > 0
        ]
        spoken = doubled(code.coefficients) * along[0, active].sign()[:, None].to(code.coefficients.device)
        spoken = torch.where(code.indices >= 0, spoken, 0)
        firsts = [
            tuple(pool.texts[int(row[i])] for i in amounts.argsort(descending=True)[:3] if amounts[i] > 0)
            for row, amounts in zip(code.indices, spoken, strict=True)
        ]
        units = [replace(unit, words=words) for unit, words in zip(units, firsts, strict=True)]
    own = F.normalize(model.encode_image(pixels).cpu().double(), dim=1) - profile.centre.cpu()
    image_code = sparse_code(own.to(texts), texts, code_size, nonnegative=True)
    found = [
        (pool.texts[int(i)], float(c))
        for i, c in zip(image_code.indices[0], image_code.coefficients[0], strict=True)
        if i >= 0
    ]
    shown = _distinct(sorted(found, key=lambda item: -item[1]), maps)
    return ImageConcepts(
        tuple(ranked),
        tuple(sorted(units, key=lambda unit: -unit.norm / max(unit.threshold, 1e-12))) if len(active) else (),
        tuple(sorted(found, key=lambda item: -item[1])),
        float(image_code.cosine[0]),
        heatmap_of(model, image, shown) if shown else None,
    )


def check_size(pool: Pool, size: int) -> None:
    """Raises `OptionError` for a code of the picture that the pool has too few texts for."""
    if not 1 <= size <= len(pool.texts):
        raise OptionError("own_size", f"must be from 1 to the {len(pool.texts)} texts of {pool.name}, got {size}")


def _units(profile: Profile, norms: Tensor, along: Tensor, active: Tensor) -> list[ActiveUnit]:
    names, thresholds = profile.units, profile.limits
    return [ActiveUnit(names[int(n)].name, float(norms[n]), float(along[n]), float(thresholds[n]), ()) for n in active]


def _distinct(ranked: list[tuple[str, float]], count: int) -> list[str]:
    """The first words that do not repeat a content word of one before: "a star", not also "a photo of a star"."""
    found: list[str] = []
    for text, _ in ranked:
        words = {word.rstrip("s") for word in text.casefold().split()} - _PLAIN
        if len(found) < count and not any(
            words & ({w.rstrip("s") for w in o.casefold().split()} - _PLAIN) for o in found
        ):
            found.append(text)
    return found


_PLAIN = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "in",
        "on",
        "at",
        "with",
        "photo",
        "picture",
        "image",
        "scene",
        "object",
        "thing",
        "item",
        "shape",
    ]
)
