from __future__ import annotations

import pytest

import summand
from summand.survey.units import Group, Wanted, default_units, find_unit, groups_of, parse_units
from tests import tiny


def test_what_is_asked_for_is_read():
    assert parse_units("heads, neurons:1-3,pairs") == (Wanted("heads"), Wanted("neurons", (1, 2, 3)), Wanted("pairs"))
    assert parse_units("neurons,head") == (Wanted("neurons"), Wanted("heads"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "--units is empty"),
        ("haeds", "unknown units 'haeds', did you mean 'heads'"),
        ("neurons:5-2", "expected a layer or a range"),
        ("neurons:-1", "expected a layer or a range"),
        ("heads:3", "only neurons are taken layer by layer"),
    ],
)
def test_what_cannot_be_read_is_named(text, words):
    with pytest.raises(summand.SummandError, match=words):
        parse_units(text)


def test_the_model_says_which_units_it_has(vit, resnet):
    assert [group.name for group in groups_of(vit, default_units(vit))] == [
        *("heads", "neurons.0", "neurons.1", "neurons.2", "neurons.3", "neurons.4")
    ]
    assert [group.name for group in groups_of(resnet, default_units(resnet))] == ["heads", "pairs"]
    with pytest.raises(summand.SummandError, match=r"no layer 17; layers 0 to 4 have"):
        groups_of(vit, parse_units("neurons:17"))
    with pytest.raises(summand.SummandError, match="no attention comes after layer 5"):
        groups_of(vit, parse_units("neurons:4-5"))
    with pytest.raises(summand.SummandError, match="attention pool"):
        groups_of(vit, parse_units("pairs"))
    with pytest.raises(summand.SummandError, match="in front of an attention pool"):
        groups_of(resnet, parse_units("neurons"))


def test_large_towers_take_the_layers_before_the_last():
    model = summand.wrap(tiny.clip(vision={"layers": 12}).eval())
    assert [group.layer for group in groups_of(model, parse_units("neurons"))] == [8, 9, 10]


def test_names_of_units_come_back():
    for kind, name in (("heads", "22.11"), ("neurons", "9:2914"), ("pairs", "624.21")):
        group, index = find_unit(kind, name)
        assert group.unit(index) == name
        assert Group.named(group.name) == group
    for kind, name in (("neurons", "9.2914"), ("heads", "22"), ("pairs", "a.b")):
        with pytest.raises(summand.SummandError, match="is called"):
            find_unit(kind, name)
    for name in ("neurons", "heads.3", "words", "neurons.x"):
        with pytest.raises(summand.SummandError, match="no group of units"):
            Group.named(name)
