"""Neuron–head pairs as maps and as a segmenter, for towers that end in an attention pool (paper B)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..models import Model
from ..survey.make import survey
from ..towers import AttentionView
from ..towers.pool import PoolTower

Factor = Literal["product", "neuron", "similarity"]
_PAPER_SHARE = 20_000 / 147_456  # of the pairs of RN50x16
_TOP = 50
_SHARE_APART = 0.003  # chosen on scenes: with many pairs the neurons' map no longer says which text was asked


@dataclass(frozen=True)
class PairMaps:
    r"""map[patch] = (1/k) Σ_{(n,h) of the k pairs} z_patch^n · cos(v_patch^h W_O^h F, t), paper B.

    The k pairs of a text are those whose own direction (row n of W_VO^h, of unit length) points most along t. z: the
    neuron's activation behind the ReLU, without the positional embedding. k: by default the paper's share, 13.6 % of
    all pairs (20,000 of RN50x16's). factor: the product, or either factor alone, averaged over the same pairs.
    repair: the patch at the bottom right, an attention sink of RN50x16, is replaced by the mean of its W, N and NW
    neighbours, as in the published code: z of the neurons, and a_i v_i W_O^h F before its cosine is taken. bias: the
    output bias spread over heads and patches counts in the similarity, as there. Texts should be centred over the
    classes and of unit length (`centred`).

    apart: the two maps are averaged before they are multiplied, and each counts from its own nothing: map[patch] =
    (N_patch − min_i N_i) max(S_patch, 0), N the mean of z over the k pairs (0.3 % by default) and S the mean similarity
    over all heads. A neuron behind a ReLU is active nearly everywhere, and a sum of products follows that level.
    factor: N less its mean over the patches, or S.

    signs: of the directions, where they are to be as published (`pair_signs`); by default a pair's own.

    No pair is ever looked at one by one: Σ_n over the pairs of a head is one product of z with a [neuron, head] mask.
    """

    model: Model
    k: int | None = None
    factor: Factor = "product"
    repair: bool = False
    bias: bool = False
    apart: bool = False
    signs: Float[Tensor, "neuron head"] | None = None

    def __post_init__(self) -> None:
        pool_tower(self.model)
        if self.factor not in ("product", "neuron", "similarity"):
            raise SummandError(f"factor must be 'product', 'neuron' or 'similarity', got {self.factor!r}")
        if self.k is not None and not 1 <= self.k <= self._pairs:
            raise SummandError(f"k must be between 1 and the {self._pairs} pairs of {self.model.name}, got {self.k}")

    @property
    def _pairs(self) -> int:
        shape = pool_tower(self.model).pair_directions().shape
        return shape[0] * shape[1]

    @torch.no_grad()
    def chosen(self, directions: Float[Tensor, "text embed"]) -> Float[Tensor, "text neuron head"]:
        """1 for the k pairs of each text, else 0."""
        basis = pool_tower(self.model).pair_directions()
        lengths = basis._gram()[..., 0, 0].clamp(min=1e-20).sqrt()  # [neuron, head]
        along = basis.toward(directions)[:, :, 0] / lengths[..., None]
        along = along if self.signs is None else along * self.signs[..., None].to(along)
        flat = along.flatten(0, 1).T
        k = self.k or max(1, round((_SHARE_APART if self.apart else _PAPER_SHARE) * flat.shape[1]))
        best = flat.topk(k, dim=1).indices
        return torch.zeros_like(flat).scatter(1, best, 1.0).unflatten(1, along.shape[:2])

    @torch.no_grad()
    def maps(
        self, pixels: Float[Tensor, "image 3 height width"], directions: Float[Tensor, "text embed"]
    ) -> Float[Tensor, "image text row column"]:
        """Maps of each text over each image."""
        chosen = self.chosen(directions)
        view, neurons, constant = pool_inputs(self.model, pixels)
        grid = self.model.tower.grid
        constant = constant if self.bias else None
        similar = similarity(self.model, view, directions, constant, self.repair)  # [image, patch, head, text]
        if self.repair:
            neurons = repaired(neurons, grid)
        count = chosen.sum(dim=1)  # [text, head]
        if self.apart:
            return self._apart(neurons, similar, chosen).unflatten(2, grid)
        if self.factor == "neuron":
            found = torch.einsum("ipn,tn->itp", neurons, chosen.sum(dim=2))
        elif self.factor == "similarity":
            found = torch.einsum("ipht,th->itp", similar, count)
        else:
            found = torch.einsum("ipn,tnh,ipht->itp", neurons, chosen, similar)
        return (found / count.sum(dim=1)[None, :, None]).unflatten(2, grid)

    def _apart(
        self,
        neurons: Float[Tensor, "image patch neuron"],
        similar: Float[Tensor, "image patch head text"],
        chosen: Float[Tensor, "text neuron head"],
    ) -> Float[Tensor, "image text patch"]:
        active = torch.einsum("ipn,tn->itp", neurons, chosen.sum(dim=2)) / chosen.sum(dim=(1, 2))[:, None]
        alike = similar.mean(dim=2).transpose(1, 2)
        if self.factor == "neuron":
            return active - active.mean(dim=2, keepdim=True)
        return alike if self.factor == "similarity" else (active - active.amin(2, keepdim=True)) * alike.clamp(min=0)


@torch.no_grad()
def pair_map(
    model: Model,
    pixels: Float[Tensor, "image 3 height width"],
    directions: Float[Tensor, "text embed"],
    neuron: int,
    head: int,
) -> Float[Tensor, "image text row column"]:
    """z_patch^n · cos(v_patch^h W_O^h F, t): one pair's map. Raises `SummandError` for a pair that is not there."""
    shape = pool_tower(model).pair_directions().shape
    if not (0 <= neuron < shape[0] and 0 <= head < shape[1]):
        raise SummandError(
            f"{model.name} has pairs 0.0 to {shape[0] - 1}.{shape[1] - 1} (neuron.head), not {neuron}.{head}"
        )
    view, neurons, _ = pool_inputs(model, pixels)
    similar = similarity(model, view, directions)[:, :, head]
    return (neurons[:, :, neuron, None] * similar).transpose(1, 2).unflatten(2, model.tower.grid)


@torch.no_grad()
def pool_inputs(
    model: Model, pixels: Float[Tensor, "image 3 height width"]
) -> tuple[AttentionView, Float[Tensor, "image patch neuron"], Float[Tensor, "image embed"]]:
    """What the pool reads: its view; the neurons over the patches without their positional embedding; its constant
    term."""
    tower = pool_tower(model)
    model.check_pixels(pixels)
    seen: list[AttentionView] = []
    trace = tower.run(pixels, lambda _, view: seen.append(view))
    added = tower.positions()
    inputs = seen[0].inputs if added is None else seen[0].inputs - added
    return seen[0], inputs[:, tower.prefix :], trace.bias


def similarity(
    model: Model,
    view: AttentionView,
    directions: Float[Tensor, "text embed"],
    constant: Float[Tensor, "image embed"] | None = None,
    repair: bool = False,
) -> Float[Tensor, "image patch head text"]:
    """cos of what a patch writes through a head with a text.

    The attention weight does not matter to it, unless a constant is spread evenly over tokens and heads (as the
    published code does with the output bias), or repair puts the mean of its neighbours in the last patch's place.
    """
    tower = model.tower
    maps = tower.head_maps().kept[0]  # [head, channel, embed]
    text = directions.to(maps)
    text = text / text.norm(dim=1, keepdim=True)
    if constant is not None:
        written = torch.einsum("iphc,hce->iphe", view.token_values()[:, tower.prefix :], maps)
        written = repaired(written, tower.grid) if repair else written
        written = written + (constant / (view.inputs.shape[1] * tower.heads))[:, None, None]
        return written @ text.T / written.norm(dim=-1, keepdim=True).clamp(min=1e-20)
    values = torch.einsum("ipn,hcn->iphc", view.inputs[:, tower.prefix :], view.value_weight) + view.value_bias
    if repair:  # attention may be as small as 1e-12: a mean by weights, not of what they multiply
        weights = view.row[:, :, tower.prefix :].transpose(1, 2)[..., None]
        around = [repaired(some, tower.grid)[:, -1:] for some in (weights * values, weights)]
        values = torch.cat([values[:, :-1], around[0] / around[1].clamp(min=1e-30)], dim=1)
    gram = maps @ maps.transpose(1, 2)
    lengths = torch.einsum("iphc,hcd,iphd->iph", values, gram, values).clamp(min=1e-20).sqrt()
    return torch.einsum("iphc,hct->ipht", values, maps @ text.T) / lengths[..., None]


def pair_signs(
    model: Model, batches: Callable[[], Iterable[Float[Tensor, "image 3 height width"]]], top: int = _TOP
) -> Float[Tensor, "neuron head"]:
    """The side on which a pair's largest centred effects mostly are, +1 or −1 (paper B: 50 of 1,000 images).

    The published r^{n,h} is a principal component, turned so; a pair's own direction is row n of W_VO^h. Of scenes-rn's
    8,192 pairs 4 % are turned around.
    """
    from .neuron_directions import pixels_at_hand

    pool_tower(model)
    found = survey(model, pixels_at_hand(model, batches), units="pairs", held_out=0, top=top, progress=False)
    sides = found.rank_one("pairs").weights[..., 0, 0].sign()
    return torch.where(sides == 0, 1, sides).float()


def repaired(maps: Float[Tensor, "image patch *rest"], grid: tuple[int, int]) -> Float[Tensor, "image patch *rest"]:
    """Maps whose bottom-right patch is the mean of its western, northern and north-western neighbours (paper B)."""
    rows, columns = grid
    if rows < 2 or columns < 2:
        return maps  # it has no such neighbours
    found = maps.clone()
    last = rows * columns - 1
    found[:, last] = (maps[:, last - 1] + maps[:, last - columns] + maps[:, last - columns - 1]) / 3
    return found


def centred(texts: Float[Tensor, "text embed"]) -> Float[Tensor, "text embed"]:
    """Class texts minus their mean over the classes, of unit length again (paper B)."""
    if len(texts) < 2:
        raise SummandError("texts are centred over the classes; give at least two classes, got one")
    away = texts - texts.mean(dim=0)
    return away / away.norm(dim=1, keepdim=True).clamp(min=1e-20)


def pool_tower(model: Model) -> PoolTower:
    """The tower where it ends in an attention pool; else a `SummandError`."""
    if not isinstance(model.tower, PoolTower):
        raise SummandError(
            f"pair maps are of towers that end in an attention pool (ModifiedResNet, SigLIP); {model.name} is a "
            f"{model.tower.kind}. Its MLP neurons have maps of their own"
        )
    return model.tower
