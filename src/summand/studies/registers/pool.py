"""The sink of an attention pool: a patch on which the mean token's attention rests, and the neurons that draw it there
(paper B's code)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError
from ...models import Model
from ...statistics.moments import Mean
from ...towers.pool import MeanTokenPool, PoolTower


class PoolSink:
    r"""D_n = E_x[a_s(x) − a_s(x | z^n ← 0 at every token)], a_s the attention on patch s, mean over the heads.

    The sink s: the patch that gets the most attention on average, or the one given. z is set to zero as paper B's code
    does it, before the positional embedding is added, in the mean token too. No pass is made for a neuron: without it
    the logits are (q − z_0^n W_Q^n)·(k_i − z_i^n W_K^n), which is three products for all neurons at once.
    """

    rounds = 2
    measure = "attention on the sink, in that of a patch on average"

    def __init__(self, model: Model, patch: int | None = None) -> None:
        tower = model.tower
        if not isinstance(tower, PoolTower) or not isinstance(tower.pool, MeanTokenPool):
            raise SummandError(
                f"sinks of a pool are of CLIP-ResNets, whose mean token asks; {model.name} is a {tower.kind}"
            )
        patches = tower.grid[0] * tower.grid[1]
        if patch is not None and not 0 <= patch < patches:
            raise SummandError(f"{model.name} has patches 0 to {patches - 1}, not {patch}")
        self._tower, self._pool, self._given = tower, tower.pool, patch
        self._attention, self._change = Mean(), Mean()

    @torch.no_grad()
    def learn(self, turn: int, pixels: Tensor) -> None:
        tokens = self._tokens(pixels)
        if turn == 0:
            rows = self._pool.attention.rows(tokens[:, :1], tokens)[:, :, 0, 1:]
            self._attention.update(rows.mean(dim=1))
        else:
            for one in tokens:
                self._change.update(self._changes(one)[None])

    def end(self, turn: int) -> None:
        pass

    @property
    def patch(self) -> int:
        """s, counted row by row."""
        return int(self._attention.value.argmax()) if self._given is None else self._given

    @property
    def strength(self) -> float:
        """Attention on the sink over that on a patch on average."""
        seen = self._attention.value
        return float(seen[self.patch] / seen.mean())

    @property
    def share(self) -> float:
        """The sink's share of all attention on patches."""
        return float(self._attention.value[self.patch] / self._attention.value.sum())

    def scores(self) -> dict[int, Float[Tensor, " neuron"]]:
        """D_n of every neuron, of the one layer that a pool has."""
        return {0: self._change.value}

    def _tokens(self, pixels: Tensor) -> Float[Tensor, "image token width"]:
        return self._pool.tokens(self._tower.enter(pixels))

    @torch.no_grad()
    def _changes(self, tokens: Float[Tensor, "token width"]) -> Float[Tensor, " neuron"]:
        """a_s − a_s without the neuron, for one image and every neuron."""
        attention = self._pool.attention
        (query, query_bias), (key, key_bias) = attention.projection(0), attention.projection(1)
        assert query is not None
        assert key is not None
        active = tokens - self._pool.positions()  # what is set to zero, [token, neuron]
        changes = torch.zeros(tokens.shape[1], dtype=tokens.dtype, device=tokens.device)
        for head in range(attention.heads):
            some = slice(head * attention.channels, (head + 1) * attention.channels)
            wq, wk = query[some], key[some]
            q = wq @ tokens[0] + (0 if query_bias is None else query_bias[some])
            k = tokens @ wk.T + (0 if key_bias is None else key_bias[some])
            whole = k @ q
            without = (
                whole[:, None] - (k @ wq) * active[0] - active * (q @ wk) + active[0] * active * (wq * wk).sum(dim=0)
            )  # [token, neuron]
            rows = [(logits * attention.channels**-0.5).softmax(dim=0)[1 + self.patch] for logits in (whole, without)]
            changes += (rows[0] - rows[1]) / attention.heads
        return changes

    @torch.no_grad()
    def neutralised(
        self, pixels: Float[Tensor, "image 3 height width"], neurons: Sequence[tuple[int, int]], register: bool
    ) -> tuple[Float[Tensor, "image embed"], Float[Tensor, " image"]]:
        """The output with these neurons at zero, and `strength` of every image. register: the sink's token as it was
        is one more key, which takes attention and adds nothing (the released code's extra token)."""
        tokens = self._tokens(pixels)
        without = tokens.clone()
        columns = [neuron for _, neuron in neurons]
        without[..., columns] = self._pool.positions()[:, columns]
        read = torch.cat([without, tokens[:, 1 + self.patch, None]], dim=1) if register else without
        attention = self._pool.attention
        rows = attention.rows(without[:, :1], read)[:, :, 0, : tokens.shape[1]]
        weight, bias = attention.value_map()
        values = torch.einsum("iht,itw,hcw->ihc", rows, without, weight) + rows.sum(dim=-1)[..., None] * bias
        seen = rows[:, :, 1:].mean(dim=1)
        return self._tower.to_embedding(attention.outputs(values)), seen[:, self.patch] / seen.mean(dim=1)
