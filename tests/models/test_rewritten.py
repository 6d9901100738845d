"""The state of a model whose passes rewrite or register anew their own weights, as peft's do."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from summand.models.state import State


class Rewriting(nn.Module):
    """Adds and takes away in every pass, as peft's LoRA of torch's attention does: equal up to rounding afterwards."""

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(rows, columns)), nn.Parameter(torch.randn(rows))
        self.more = torch.randn(rows, columns)

    def forward(self):
        merged = self.weight.data + self.more
        del self.weight
        self.weight = nn.Parameter(merged - self.more)


def settled(module: Any) -> State:
    state = State(lambda: [module])
    state.settle(module)
    return state


@given(
    rows=st.integers(1, 7),
    columns=st.integers(1, 7),
    at=st.integers(0, 6),
    seed=st.integers(0, 50),
    passes=st.integers(0, 3),
)
def test_rounding_is_no_change_and_an_edit_of_a_row_is_one(rows, columns, at, seed, passes):
    torch.manual_seed(seed)
    module = Rewriting(rows, columns)
    state = settled(module)
    for _ in range(passes):
        module()
    assert state.still()
    module.weight.data[at % rows] += 0.01
    assert not state.still()


def test_a_record_of_passes_is_still_left_out():
    class Recording(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.seen, self.kept = 0, torch.zeros(3)

        def forward(self):
            self.seen, self.kept = self.seen + 1, torch.randn(3)

    module = Recording()
    state = settled(module)
    module()
    assert state.still()


def test_a_parameter_registered_anew_over_the_same_numbers_is_the_same():
    module = nn.Linear(4, 4)
    state = State(lambda: [module])
    weight = module.weight
    del module.weight
    module.register_parameter("weight", nn.Parameter(weight.data))
    assert state.still()
    assert state.still()
    with torch.no_grad():
        module.weight[0, 1] += 1  # counted by torch, though no sampled element is touched
    assert not state.still()
    state = State(lambda: [module])
    module.weight = nn.Parameter(module.weight.data.clone())
    assert not state.still()


def test_a_transposed_weight_is_another():
    module = nn.Linear(4, 4)
    state = State(lambda: [module])
    module.weight.data = module.weight.data.t()
    assert not state.still()
