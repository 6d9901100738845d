import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from summand.towers.finite import all_finite

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


@given(
    st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=1, max_size=20),
    st.sampled_from(DTYPES),
)
def test_agrees_with_looking_at_every_number(numbers, dtype):
    tensor = torch.tensor(numbers, dtype=torch.float64).to(dtype)
    assert all_finite(tensor) == bool(torch.isfinite(tensor).all())


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_that_overflows_is_not_an_infinite_number(dtype):
    largest = torch.finfo(dtype).max
    assert all_finite(torch.full((100,), largest, dtype=dtype))


def test_infinities_of_both_signs_do_not_cancel():
    assert not all_finite(torch.tensor([float("inf"), 1.0, float("-inf")]))
