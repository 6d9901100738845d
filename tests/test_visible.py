"""Someone else's texts in figures: as they are, whatever they hold."""

from __future__ import annotations

import warnings

import matplotlib.pyplot as plt
import pytest

from summand.notebook import png
from summand.visible import drawn

NASTY = "cost $x_{$ of\x1b[31m a\u202eb"


@pytest.fixture
def figure():
    made, (first, second) = plt.subplots(1, 2)
    made.suptitle(NASTY)
    first.set_title(NASTY)
    first.text(0, 0, NASTY)
    first.plot([1, 2], [1, 1000], label=NASTY)
    first.set_yscale("log")
    first.legend()
    second.set_xlabel("plain")
    yield made
    plt.close(made)


def test_a_name_with_dollars_and_escapes_is_drawn(figure):
    with pytest.raises(ValueError, match="Expected"):
        figure.savefig("/dev/null", format="png")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert png(figure).startswith(b"\x89PNG")
    assert figure.get_suptitle() == "cost $x_{$ of\\x1b[31m a\\u202eb"


def test_the_numbers_along_an_axis_are_left_alone(figure):
    figure.axes[0].set_title("")
    drawn(figure).canvas.draw()
    said = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert any("10^" in text for text in said)
    assert all(label.get_parse_math() for label in figure.axes[0].get_yticklabels())
