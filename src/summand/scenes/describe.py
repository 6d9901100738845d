"""A described scene: what the words name is fixed, everything else is left to chance."""

from __future__ import annotations

from collections.abc import Mapping

from ..arguments import names_wrong_arguments
from ..errors import SummandError
from .attributes import (
    _OPPOSITE,
    ATTRIBUTES,
    GROUP_ATTRIBUTES,
    LARGEST_GROUP_OF_TWO,
    Causes,
    Value,
    code_of,
    draw_causes,
)
from .meaning import parse
from .render import Chance, Scenes, render

_DIFFERING = ("shape", "colour", "texture")


@names_wrong_arguments
def describe(text: str, count: int = 1, seed: int = 0) -> Scenes:
    """`count` scenes of which a sentence is true: "two red stars and a small blue ring in the snow with the letter A".

    Every cause that the sentence names is fixed, the others are drawn by `seed`; the number of objects is free unless
    a number word names it. Groups are joined by "and", at most two. Two groups stand on opposite sides, have at most
    three objects each, and differ in shape, colour and texture unless the sentence says otherwise.

    >>> describe("two red stars in the snow", count=2).attributes[["count", "colour", "shape", "place"]]
       count colour shape place
    0      2    red  star  snow
    1      2    red  star  snow

    Raises `SummandError` for a word outside the vocabulary, contradictions, and more objects than two groups have
    room for.
    """
    if not text.strip():
        raise SummandError("expected a sentence that describes a scene, such as 'two red stars in the snow', got none")
    named = parse(text)
    if len(named) == 1:
        causes = draw_causes(count, seed, fixed=named[0])
    else:
        causes = _two_groups(text, named[0], named[1], count, seed)
    return render(causes, Chance.draw(count, seed))


def _two_groups(text: str, first: Mapping[str, Value], second: Mapping[str, Value], count: int, seed: int) -> Causes:
    for group in (first, second):
        _check_room(text, group)
    causes = draw_causes(count, seed, groups=2, fixed={**first, **_side_of_first(text, first, second)})
    groups = causes.groups.copy()
    for attribute, value in second.items():
        column, code = GROUP_ATTRIBUTES.index(attribute), code_of(attribute, value)
        if attribute in _DIFFERING and attribute not in first:
            # Turn the pair of different values until the second is the named one: the first keeps differing from it.
            turn = code - groups[:, 1, column]
            groups[:, 0, column] = (groups[:, 0, column] + turn) % len(ATTRIBUTES[attribute])
        groups[:, 1, column] = code
    return Causes(groups, causes.place, causes.letter)


def _check_room(text: str, group: Mapping[str, Value]) -> None:
    if int(group.get("count", 1)) > LARGEST_GROUP_OF_TWO:
        raise SummandError(
            f"{text!r} asks for {group['count']} objects in one of two groups, which have room for at most "
            f"{LARGEST_GROUP_OF_TWO} each; ask for fewer, or describe one group"
        )
    if group.get("position") == "centre":
        raise SummandError(
            f"{text!r} puts one of two groups in the centre, where there is no room beside it; "
            f"name a side ({', '.join(_OPPOSITE)}), or describe one group"
        )


def _side_of_first(text: str, first: Mapping[str, Value], second: Mapping[str, Value]) -> dict[str, Value]:
    """The position of the first group as far as the sentence settles it: its own, or opposite the second's."""
    if "position" not in second:
        return {}
    opposite = _OPPOSITE[str(second["position"])]
    if first.get("position", opposite) != opposite:
        raise SummandError(
            f"{text!r} puts two groups at the {first['position']} and at the {second['position']}, but two groups "
            f"stand on opposite sides; name one of the two positions, or {second['position']} and {opposite}"
        )
    return {"position": opposite}
