"""Which elements of a tensor are looked at: some of every row and of every column, as few as that takes."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from summand.models.samples import _progression, bits, grouped, samples

SIZES = st.integers(1, 40)


def numbered(rows: int, columns: int) -> torch.Tensor:
    return torch.arange(rows * columns).view(rows, columns)


@given(SIZES, SIZES)
def test_a_progression_comes_to_every_row_and_column_in_little_more_than_one_round(rows, columns):
    seen = _progression(numbered(rows, columns))
    assert set((seen // columns).tolist()) == set(range(rows))
    assert set((seen % columns).tolist()) == set(range(columns))
    if min(rows, columns) > 2:
        assert len(seen) <= 2 * max(rows, columns) + 2


FORMS = {
    "as it is": lambda whole: whole,
    "turned": lambda whole: whole.T,
    "rows of a larger one": lambda whole: whole[1:-1] if len(whole) > 2 else whole,
    "columns of a larger one": lambda whole: whole[:, 1:-1] if whole.shape[1] > 2 else whole,
    "every second row": lambda whole: whole[::2],
    "as a convolution": lambda whole: whole[:, :, None, None],
}


@given(SIZES, SIZES, st.sampled_from(sorted(FORMS)))
def test_some_of_every_row_and_column_are_looked_at_whatever_the_strides(rows, columns, form):
    tensor = FORMS[form](numbered(rows, columns))
    seen = torch.cat([view.reshape(-1) for view in samples(tensor)])
    assert set((seen // columns).tolist()) == set((tensor.flatten() // columns).tolist())
    assert set((seen % columns).tolist()) == set((tensor.flatten() % columns).tolist())


def test_what_is_gathered_is_what_the_views_show_whatever_their_kind():
    torch.manual_seed(0)
    whole = torch.randn(9, 12)
    views = [whole[2], whole[:, 3], whole[::2, ::3], torch.randn(5).half(), torch.randn(4, dtype=torch.complex32)]
    gathered = bits(grouped(views))
    shown = torch.cat([whole[2], whole[::2, ::3].reshape(-1), whole[:, 3]]).view(torch.int32)
    assert torch.equal(gathered[0], shown)
    assert torch.equal(gathered[1], views[3].view(torch.int16))
    assert torch.equal(gathered[2], views[4].view(torch.int32))
    assert len(gathered) == 3
