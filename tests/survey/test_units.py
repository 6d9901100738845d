from __future__ import annotations

import pytest

import summand
from summand.survey.units import default_units, groups_of
from summand.unit import parse_units
from tests import tiny


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
    with pytest.raises(summand.SummandError, match="sparse autoencoder"):
        groups_of(model, parse_units("latents"))
