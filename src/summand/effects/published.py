"""Effects as the published code of papers A and B counts them: every constant dealt out evenly (parity="paper")."""

from __future__ import annotations

from typing import Literal
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SummandError
from ..towers.factored import Factored
from ..towers.pool import PoolTower
from ..towers.residual import ResidualTower

Parity = Literal["paper"] | None

NEURON, MLP_BIAS, INPUT_MEAN, CONSTANTS, OUTPUT_MEAN, OUTPUT_SHIFT = range(6)
"""What a path carries: the neuron itself; its share of the MLP's output bias and of ln_1's μ, through each later head;
of ln_1's β and the attention's biases, of the final norm's μ and of its β, through all of them together."""

_PERCENT = 100.0

_built: WeakKeyDictionary[Factored, tuple[Tensor, Factored]] = WeakKeyDictionary()


def check_parity(parity: Parity) -> None:
    if parity not in (None, "paper"):
        raise SummandError(f"parity must be None or 'paper', got {parity!r}")


def path_terms(later: range, heads: int) -> tuple[tuple[int, ...], ...]:
    """(later layer, later head, term) of every path; −1 where a path is of all later layers and heads together."""
    through = [(at, head, term) for term in (NEURON, MLP_BIAS, INPUT_MEAN) for at in later for head in range(heads)]
    return (*through, *((-1, -1, term) for term in (CONSTANTS, OUTPUT_MEAN, OUTPUT_SHIFT)))


def even_coefficients(
    own: Float[Tensor, "image path neuron"],
    reads: Float[Tensor, "image path token"],
    means: Float[Tensor, "image path token"],
    shares: Float[Tensor, "image 3"],
    norms: Float[Tensor, " image"],
    later: range,
) -> Float[Tensor, "image neuron allpath"]:
    r"""100/‖M‖ · (s_n/σ, Σ_i a_i/(σ_i σ N), −Σ_i a_i μ_i/(σ_i σ (1 + 2l') N), 1/σ, −μ/σ, 1), the last five for all.

    own: Σ_i a_i p_i/σ_i of each neuron; reads: a_i/σ_i; means: μ_i of the stream that ln_1 of the path's layer reads;
    shares: (1/σ, −μ/σ, 1) of the final norm; norms: ‖M‖.
    """
    count, each = own.shape[2], own.shape[1] // len(later)
    scale = shares[:, :1] * (_PERCENT / norms)[:, None]
    before = torch.tensor([1 + 2 * at for at in later], dtype=own.dtype, device=own.device).repeat_interleave(each)
    even = [scale * reads.sum(dim=-1) / count, -scale * (reads * means).sum(dim=-1) / (before * count)]
    even.append(shares * (_PERCENT / norms)[:, None])
    same = torch.cat(even, dim=1)[:, None].expand(-1, count, -1)
    return torch.cat([(own * scale[..., None]).transpose(1, 2), same], dim=2)


@torch.no_grad()
def even_directions(tower: ResidualTower, layer: int, shares: Float[Tensor, "layer 3 embed"]) -> Factored:
    r"""Directions of `path_terms`: w W_VO F, then b W_VO F and 1 W_VO F for the neuron's MLP bias and ln_1's μ, with
    diag(γ) of ln_1 folded in and F = diag(γ_post) P; and three that are sums over the later layers l'.

    shares: what every head of a layer gets of the output bias, of μ and of β by paper C's split; here a neuron gets
    of it 1/((1 + 2l') N), and as much of ln_1's β and the value bias.
    """
    base, blocks = tower.neuron_directions(layer), tower.blocks
    kept = _built.get(base)
    if kept is not None and torch.equal(kept[0], shares):
        return kept[1]
    left, right, count = base._left, base._right, base._left.shape[0]
    maps, bias = tower.head_maps().kept, blocks[layer].neuron_bias()
    through = []
    for vector in (bias, torch.ones_like(bias)):
        reads = torch.cat([vector @ blocks[at].value_reads(False) for at in range(layer + 1, tower.layers)])
        through.append(reads.unflatten(0, (-1, tower.channels)))
    last = right.new_zeros(3, *right.shape[1:])
    for at in range(layer + 1, tower.layers):
        last[:, 0] += shares[at] * tower.heads / ((1 + 2 * at) * count)
        values = torch.einsum("hc,hce->e", blocks[at].value_constants(), maps[at])
        last[0, 0] += values / ((1 + 2 * at) * count)
    one = left.new_zeros(3, tower.channels)
    one[:, 0] = 1
    same = torch.cat([*through, one])[None].expand(count, -1, -1)
    found = Factored(torch.cat([left, same], dim=1), torch.cat([right, right, right, last]))
    _built[base] = (shares.clone(), found)
    return found


@torch.no_grad()
def even_pair_directions(
    tower: PoolTower, value_bias: Float[Tensor, "head channel"], output_bias: Float[Tensor, " embed"]
) -> Factored:
    r"""Row n of W_VO^h, and (b_V^h W_O^h + b_O / H) / N, the same for all N neurons: [neuron, head, 2, embed]."""
    base = tower.pair_directions()
    count = base._left.shape[0]
    even = torch.einsum("hc,hce->he", value_bias, base._right[:, 0]) + output_bias / tower.heads
    kept = _built.get(base)
    if kept is not None and torch.equal(kept[0], even):
        return kept[1]
    right = torch.cat([base._right, torch.zeros_like(base._right)], dim=1)
    right[:, 1, 0] = even / count
    left = torch.cat([base._left, torch.zeros_like(base._left)], dim=2)
    left[:, :, 1, 0] = 1
    found = Factored(left, right)
    _built[base] = (even, found)
    return found
