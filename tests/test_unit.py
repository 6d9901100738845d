from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import summand
from summand.unit import KINDS, Group, Unit, Wanted, parse_layers, parse_units, units_of


def test_what_is_asked_for_is_read():
    assert parse_units("heads, neurons:1-3,pairs") == (Wanted("heads"), Wanted("neurons", (1, 2, 3)), Wanted("pairs"))
    assert parse_units("neurons,head") == (Wanted("neurons"), Wanted("heads"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no units were named"),
        ("haeds", "unknown units 'haeds', did you mean 'heads'"),
        ("neurons:5-2", "expected a layer or a range"),
        ("neurons:-1", "expected a layer or a range"),
        ("heads:3", "only neurons are taken layer by layer"),
    ],
)
def test_what_cannot_be_read_is_named(text, words):
    with pytest.raises(summand.SummandError, match=words):
        parse_units(text)


@pytest.mark.parametrize(
    ("kind", "name"), [("heads", "22.11"), ("neurons", "9:2914"), ("pairs", "624x21"), ("latents", "9#1234")]
)
def test_names_of_units_come_back(kind, name):
    for unit in (Unit.parse(name), Unit.parse(f" {name} ", kind), Unit.parse(Unit.parse(name))):
        assert (str(unit), unit.name, unit.group.kind) == (name, name, kind)
        assert unit.group.unit(unit.index) == name
        assert Group.named(unit.group.name) == unit.group


def test_a_point_means_what_the_kind_says():
    assert str(Unit.parse("624.21", "pair")) == "624x21"
    assert str(Unit.parse("4.17", "neurons")) == "4:17"
    assert Unit.parse("4.17").kind == "head"


@given(st.sampled_from(KINDS), st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_unit_has_one_name(kind, first, second):
    layered = kind in ("neurons", "latents")
    unit = Unit(Group(kind, first if layered else None), (second,) if layered else (first, second))
    assert Unit.parse(str(unit)) == unit
    assert unit.layer == (None if kind == "pairs" else first)


@pytest.mark.parametrize(
    ("kind", "name"),
    [("heads", "22"), ("pairs", "a.b"), ("heads", "9:3"), ("neurons", "6x2"), (None, ""), (None, "1.-2")],
)
def test_what_is_no_unit_is_named(kind, name):
    with pytest.raises(summand.SummandError, match="is called"):
        Unit.parse(name, kind)


@pytest.mark.parametrize("name", ["neurons", "heads.3", "words", "neurons.x"])
def test_what_is_no_group_is_named(name):
    with pytest.raises(summand.SummandError, match="no group of units"):
        Group.named(name)


def test_lists_are_read_as_people_write_them():
    assert [str(unit) for unit in units_of("10.3, 9:2914,10.3")] == ["10.3", "9:2914"]
    assert parse_layers("8-10, 3") == (8, 9, 10, 3)
    assert parse_layers(4) == (4,)
    for wrong in ("", "5-2", "a"):
        with pytest.raises(summand.SummandError, match="a layer or a range of layers"):
            parse_layers(wrong)
