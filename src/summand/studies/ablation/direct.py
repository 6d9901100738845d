"""Ablations of direct effects (paper C): MLPs, attention up to a layer, the class token's own term, sets of heads, and
heads projected on the texts that describe them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import SummandError, listed
from ...models import Model
from ...statistics.moments import Mean, Moments
from ...survey import Survey
from ...survey.means import mean_terms
from ...text.textspan import textspan
from ...towers import AttentionView
from ...towers.precision import doubled, with_fp64
from ...whole_numbers import whole_number
from .accuracy import Batch, Version

Head = tuple[int, int]


class Mlps:
    """Every MLP's direct effect replaced by its mean (paper C, Table 1). embedding: what enters the first layer as
    well, which paper C's code counts as an MLP."""

    rounds, axis = 1, ""

    def __init__(self, embedding: bool = False) -> None:
        self._embedding, self._mean, self.direct = embedding, Mean(), not embedding

    def learn(self, turn: int, batch: Batch) -> None:
        self._mean.update(self._term(batch))

    def end(self, turn: int) -> None:
        pass

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """A survey's means of the MLPs and of what enters the first layer."""
        if (known := mean_terms(survey)) is None:
            return False
        mlps = known["mlps"].sum(dim=0)
        mean = mlps + known["embedding"] if self._embedding else mlps
        self._mean.update(mean[None].to(with_fp64(device)))
        return True

    def _term(self, batch: Batch) -> Float[Tensor, "image embed"]:
        mlps = batch.parts.mlps().sum(dim=1)
        return mlps + batch.parts.embedding() if self._embedding else mlps

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        change = self._mean.value - self._term(batch)
        yield Version("terms", "all MLPs"), batch.total + change


class AttentionUpTo:
    """The heads of layers 0 … l replaced by their means, for every l (paper C, Fig. 3). own: of the later layers what
    the class token adds through its attention to itself as well, which those of 0 … l hold already."""

    rounds, axis = 1, "last ablated layer"

    def __init__(self, own: bool = False) -> None:
        self._own, self._mean, self.direct = own, Mean(), not own

    def learn(self, turn: int, batch: Batch) -> None:
        self._mean.update(self._terms(batch))

    def end(self, turn: int) -> None:
        pass

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """The means of a survey's heads, summed over each layer."""
        if self._own or not survey.holds("heads"):
            return False
        self._mean.update(survey.moments("heads").mean_vectors().sum(dim=1)[None, None].to(device))
        return True

    def _terms(self, batch: Batch) -> Float[Tensor, "image kind layer embed"]:
        return torch.stack([batch.layers, own_terms(batch)] if self._own else [batch.layers], dim=1)

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        changes = self._mean.value - self._terms(batch)
        change, more = changes[:, 0].cumsum(dim=1), ", the class token's own term" if self._own else ""
        if self._own:
            change += changes[:, 1].sum(dim=1, keepdim=True) - changes[:, 1].cumsum(dim=1)
        for layer in range(change.shape[1]):
            name, series = f"attention up to layer {layer}{more}", f"attention of layers 0 … l{more}"
            yield Version("attention", name, series, layer), batch.total + change[:, layer]


class ClassToken:
    """What the class token adds through its attention to itself, over all heads (paper C, Table 4). No survey keeps it:
    a head's coefficient is the sum over all tokens; so its mean is learnt from the images."""

    rounds, axis = 1, ""

    def __init__(self, model: Model) -> None:
        check_class_token(model)
        self._mean = Mean()

    def learn(self, turn: int, batch: Batch) -> None:
        self._mean.update(own_terms(batch).sum(dim=1))

    def end(self, turn: int) -> None:
        pass

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        change = self._mean.value - own_terms(batch).sum(dim=1)
        yield Version("terms", "the class token's own term"), batch.total + change


def check_class_token(model: Model) -> None:
    """Raise `SummandError` where no class token is pooled."""
    if not model.tower.prefix:
        raise SummandError(f"{model.name} pools no class token, so there is no such term to ablate")


@torch.no_grad()
def own_terms(batch: Batch) -> Float[Tensor, "image layer embed"]:
    """Σ_h a_0 v_0 W_O F / σ of every layer: token 0 of the token decomposition, without the others."""
    directions = batch.model.tower.head_maps().kept
    total: list[Tensor] = []

    def visit(layer: int, view: AttentionView) -> None:
        value = torch.einsum("iw,hcw->ihc", view.inputs[:, 0], view.value_weight) + view.value_bias
        read = view.row[:, :, 0, None] * value
        total.append(torch.einsum("ihc,hce->ie", read, directions[layer]))

    trace = batch.model.tower.run(batch.pixels, visit)
    return torch.stack(total, dim=1) * trace.scale[:, None, None]


class HeadSets:
    """Any sets of heads: name → [(layer, head), …]."""

    rounds, axis, direct = 1, "", True

    def __init__(self, model: Model, sets: Mapping[str, Sequence[Head]], family: str = "terms") -> None:
        for heads in sets.values():
            check_heads(model, heads)
        self._sets = {
            name: list(dict.fromkeys((int(a), int(b)) for a, b in heads)) for name, heads in sets.items()
        }  # none is removed twice
        self._family, self._mean = family, Mean()

    def learn(self, turn: int, batch: Batch) -> None:
        self._mean.update(batch.parts.head_effects().coefficients)

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """The means of a survey's heads."""
        if not survey.holds("heads"):
            return False
        self._mean.update(survey.moments("heads").mean[None].to(device))
        return True

    def end(self, turn: int) -> None:
        pass

    @property
    def means(self) -> Float[Tensor, "layer head channel"]:
        """Mean coefficients of all heads, fp64."""
        return self._mean.value

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        effects = batch.parts.head_effects()
        centred = effects.coefficients - self._mean.value.to(effects.coefficients)
        for name, heads in self._sets.items():
            layers, numbers = [layer for layer, _ in heads], [head for _, head in heads]
            removed = torch.einsum("ikc,kce->ie", centred[:, layers, numbers], effects.basis._whole()[layers, numbers])
            yield Version(self._family, name), batch.total - removed


def check_heads(model: Model, heads: Sequence[Head]) -> None:
    layers, count = model.tower.layers, model.tower.heads
    wrong = [
        f"{layer}.{head}"
        for layer, head in heads
        if whole_number(layer) not in range(layers) or whole_number(head) not in range(count)
    ]
    if wrong:
        raise SummandError(
            f"{model.name} has no head {listed(wrong)}; layers are 0 to {layers - 1}, heads 0 to {count - 1}, "
            f"written layer.head"
        )
    if not heads:
        raise SummandError("a set of heads needs at least one head, written layer.head such as 5.3")


class Spans:
    """The heads of the last layers projected on the first m texts of their TextSpan, everything else that varies (the
    earlier heads, the MLPs) replaced by its mean (paper C, Fig. 4)."""

    rounds, axis, direct = 1, "texts a head", True

    def __init__(
        self,
        model: Model,
        pools: Mapping[str, Float[Tensor, "text embed"]],
        sizes: Sequence[int],
        layers: int = 4,
    ) -> None:
        if not pools or not sizes or min(sizes) < 1:
            raise SummandError(f"projections need pools of texts and sizes of at least 1; got {listed(pools)}, {sizes}")
        self._first = max(0, model.tower.layers - layers)
        self._pools, self._sizes = dict(pools), sorted(sizes)
        self._moments, self._mean = Moments(), Mean()
        self._bases: dict[str, Tensor] = {}

    def learn(self, turn: int, batch: Batch) -> None:
        self._moments.update(batch.parts.head_effects().select(slice(self._first, None)))
        self._mean.update(torch.stack([batch.layers.sum(dim=1), batch.parts.mlps().sum(dim=1)], dim=1))

    def recall(self, survey: Survey, device: torch.device) -> bool:
        """The moments of a survey's heads, and its means."""
        if not survey.holds("heads") or (known := mean_terms(survey)) is None:
            return False
        self._moments = survey.moments("heads").select(slice(self._first, None)).to(device)
        self._mean.update(torch.stack([known["heads"], known["mlps"].sum(dim=0)])[None].to(with_fp64(device)))
        self.end(0)
        return True

    def end(self, turn: int) -> None:
        for name, texts in self._pools.items():
            self._bases[name] = textspan(self._moments, texts, max(self._sizes)).basis

    def versions(self, batch: Batch) -> Iterator[tuple[Version, Tensor]]:
        effects = batch.parts.head_effects().select(slice(self._first, None))
        centred = doubled(effects.coefficients) - self._moments.mean
        fixed = batch.total - batch.layers.sum(dim=1) - batch.parts.mlps().sum(dim=1) + self._mean.value.sum(dim=0)
        directions = doubled(effects.basis._whole())
        whole = fixed + torch.einsum("ilhc,lhce->ie", centred, directions)
        family, last = "TextSpan", f"heads of the last {effects.coefficients.shape[1]} layers alone"
        yield Version(family, last, last, None), whole
        for name, basis in self._bases.items():
            along = torch.einsum("lhce,lhme->lhcm", directions, basis)
            amounts = torch.einsum("ilhc,lhcm->ilhm", centred, along)
            for size in self._sizes:
                rebuilt = torch.einsum("ilhm,lhme->ie", amounts[..., :size], basis[..., :size, :])
                yield Version(family, f"{size} texts a head, {name}", name, size), fixed + rebuilt
