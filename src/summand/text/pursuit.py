"""Orthogonal matching pursuit of many targets at once, signed and non-negative: the inner loops of `sparse_code`."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .search import Search


@torch.no_grad()
def pursue(
    targets: Float[Tensor, "target embed"],
    dictionary: Float[Tensor, "atom embed"],
    search: Search,
    size: int,
) -> tuple[Int[Tensor, "target size"], Float[Tensor, "target size"]]:
    """Signed pursuit of a block of targets: indices (−1 past the end) and coefficients.

    search: in the dictionary. With Q an orthonormal basis of the picks D = MᵀQ, the residual loses ⟨r, q⟩ q at each
    step, and the coefficients solve M γ = Q t at the end.
    """
    count, embed = targets.shape
    residual = targets.clone()
    basis = targets.new_zeros(count, size, embed)
    mixing = torch.eye(size, dtype=targets.dtype, device=targets.device).repeat(count, 1, 1)
    along = targets.new_zeros(count, size)
    chosen = torch.full((count, size), -1, dtype=torch.long, device=targets.device)
    floor = _floor(targets)
    least = floor * targets.norm(dim=1)
    going = residual.norm(dim=1) > least
    for step in range(min(size, embed)):
        if not going.any():
            break
        residual = torch.where(going[:, None], residual, 0)  # of a target that stopped: nothing to search for
        best, _ = search.strongest(residual, chosen[:, :step], signed=True)
        atom = dictionary[best]
        new, shares = _orthogonal_to(basis[:, :step], atom)
        length = new.norm(dim=1)
        going = going & (length > floor * atom.norm(dim=1)) & (residual.norm(dim=1) > least)
        new = torch.where(going[:, None], new / torch.where(going, length, 1)[:, None], 0)
        basis[:, step] = new
        mixing[:, :step, step] = torch.where(going[:, None], shares, 0)
        mixing[:, step, step] = torch.where(going, length, 1)
        along[:, step] = (residual * new).sum(dim=1)
        residual = residual - along[:, step, None] * new
        chosen[:, step] = torch.where(going, best, -1)
    weights = torch.linalg.solve_triangular(mixing, along[..., None], upper=True)[..., 0]
    return chosen, torch.where(chosen >= 0, weights, 0)


@torch.no_grad()
def pursue_nonnegative(
    targets: Float[Tensor, "target embed"],
    dictionary: Float[Tensor, "atom embed"],
    search: Search,
    size: int,
) -> tuple[Int[Tensor, "target size"], Float[Tensor, "target size"]]:
    """Pursuit with coefficients ≥ 0: after every pick all of them are fitted anew (`fit_nonnegative`)."""
    count, embed = targets.shape
    chosen = torch.full((count, size), -1, dtype=torch.long, device=targets.device)
    weights = targets.new_zeros(count, size)
    picks = targets.new_zeros(count, size, embed)
    gram, wanted = targets.new_zeros(count, size, size), targets.new_zeros(count, size)
    residual = targets
    least = _floor(targets) * targets.norm(dim=1)
    going = targets.norm(dim=1) > 0
    for step in range(size):
        best, strength = search.strongest(residual, chosen[:, :step], signed=False)
        atom = dictionary[best]
        again = (chosen[:, :step] == best[:, None]).any(dim=1)
        going = going & (strength > least * atom.norm(dim=1)) & ~again
        if not going.any():
            break
        atom = torch.where(going[:, None], atom, 0)
        chosen[:, step] = torch.where(going, best, -1)
        picks[:, step] = atom
        row = (picks[:, : step + 1] @ atom[..., None])[..., 0]
        gram[:, step, : step + 1], gram[:, : step + 1, step] = row, row
        wanted[:, step] = (atom * targets).sum(dim=1)
        now = slice(0, step + 1)
        weights[:, now] = fit_nonnegative(gram[:, now, now], wanted[:, now], weights[:, now])
        residual = targets - (weights[:, None, now] @ picks[:, now])[:, 0]
    return chosen, weights


def fit_nonnegative(
    gram: Float[Tensor, "target k k"], wanted: Float[Tensor, "target k"], start: Float[Tensor, "target k"]
) -> Float[Tensor, "target k"]:
    """argmin_{w ≥ 0} wᵀGw/2 − bᵀw for each target, by the active-set method of Lawson and Hanson (1974).

    start: feasible weights; those above 0 are the first free set. A free set grows by the steepest weight at a time and
    shrinks where the unconstrained solution on it would be negative. Rows of G that are 0 keep the weight 0.
    """
    weights = start.clone()
    scale = wanted.abs().amax(dim=1, keepdim=True)
    tolerance = 10 * _floor(wanted) * scale
    free = weights > 0
    for _ in range(3 * wanted.shape[1] + 1):
        slope = (wanted - (gram @ weights[..., None])[..., 0]).masked_fill(free, -torch.inf)
        steepest, entering = slope.max(dim=1)
        open_rows = steepest > tolerance[:, 0]
        if not open_rows.any():
            break
        rows = open_rows.nonzero()[:, 0]
        free[rows, entering[rows]] = True
        weights[rows], free[rows] = _to_the_optimum(gram[rows], wanted[rows], weights[rows], free[rows])
    return weights


def _to_the_optimum(gram: Tensor, wanted: Tensor, weights: Tensor, free: Tensor) -> tuple[Tensor, Tensor]:
    """The inner loop: towards the optimum on the free set; a weight that would turn negative leaves the set."""
    eye = torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    for _ in range(gram.shape[1] + 1):
        both = free[:, :, None] & free[:, None, :]
        ridge = _floor(gram) ** 2 * gram.diagonal(dim1=1, dim2=2).amax(dim=1)[:, None, None]
        system = torch.where(both, gram + ridge * eye, eye)
        aim = torch.linalg.solve(system, torch.where(free, wanted, 0))
        blocked = free & (aim <= 0)
        if not blocked.any():
            return torch.where(free, aim, 0), free
        reach = torch.where(blocked, weights / (weights - aim).clamp(min=torch.finfo(gram.dtype).tiny), 1)
        pace = reach.amin(dim=1, keepdim=True)
        weights = (weights + pace * (aim - weights)).clamp(min=0)
        free = free & ~(blocked & (reach <= pace))
        weights = torch.where(free, weights, 0)
    return weights, free


def _orthogonal_to(basis: Tensor, atom: Tensor) -> tuple[Tensor, Tensor]:
    """What of each atom is orthogonal to the rows of its basis, and its shares of those.

    A second pass removes what rounding left of the first. Twice is enough, and once where the first took little away
    (Daniel, Gragg, Kaufman and Stewart 1976).
    """
    shares = (basis @ atom[..., None])[..., 0]
    new = atom - (shares[:, None] @ basis)[:, 0]
    rows = (new.norm(dim=1) < 0.7 * atom.norm(dim=1)).nonzero()[:, 0]
    if len(rows):
        again = basis[rows]
        share = (again @ new[rows][..., None])[..., 0]
        new[rows] -= (share[:, None] @ again)[:, 0]
        shares[rows] += share
    return new, shares


def _floor(numbers: Tensor) -> float:
    """Relative size below which a residual is rounding."""
    return 1e-6 if numbers.dtype == torch.float32 else 1e-11
