"""What the guard says may be the cause: each kind of change is named, by its module, the likeliest first."""

from __future__ import annotations

import re
from typing import Any

import pytest
from torch import nn
from torch.nn.utils import parametrizations, prune

import summand
from summand.models.findings import findings
from summand.towers.listening import PassHook, listening
from tests.models.tiny_clip import clip, pixels

BLOCK = "visual.transformer.resblocks.1"


def test_a_plain_model_has_none():
    assert findings(clip()) == []


def test_our_own_hooks_are_none():
    model = clip()
    with listening([(model.visual.ln_post, "before", print)], model.visual):
        assert findings(model, PassHook) == []


class MyBlock(nn.Module):
    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs)


class Twice(nn.GELU):
    def forward(self, x):
        return 2 * super().forward(x)


def hooked(model):
    def halve(module, args, output):
        return output / 2

    model.get_submodule(BLOCK).mlp.register_forward_hook(halve)


def hooked_before(model):
    model.get_submodule(BLOCK).register_forward_pre_hook(lambda module, args: None)


def own_forward(model):
    layer = model.get_submodule(BLOCK).mlp.c_fc
    layer.forward = lambda x: 0 * x


def own_encode(model):
    model.encode_image = lambda image, normalize=False: image


def foreign(model):
    model.get_submodule(BLOCK).mlp.gelu = Twice()


def dropping(model):
    model.get_submodule(BLOCK).attn.dropout = 0.5
    model.get_submodule(BLOCK).attn.training = True


def dropout_layer(model):
    model.get_submodule(BLOCK).mlp.add_module("drop", nn.Dropout(0.3))


def statistics(model):
    model.visual.bn = nn.BatchNorm2d(3)


def masked(model):
    prune.random_unstructured(model.visual, "proj", 0.3)


def parametrized(model):
    parametrizations.orthogonal(model.get_submodule(BLOCK).mlp.c_fc)
    model.eval()


def compiled(model):
    model.visual.compile(backend="eager")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (hooked, rf"forward hooks of yours on {BLOCK}\.mlp \(.*halve\).*remove them"),
        (hooked_before, rf"forward hooks of yours on {BLOCK} "),
        (own_forward, rf"forward set on the object at {BLOCK}\.mlp\.c_fc"),
        (own_encode, "set on the object in place of its class's encode_image"),
        (foreign, rf"{BLOCK}\.mlp\.gelu \(Twice of .*, which may do more than GELU\)"),
        (dropping, rf"dropout in training mode at {BLOCK}\.attn; call \.eval\(\)"),
        (dropout_layer, rf"dropout in training mode at {BLOCK}\.mlp\.drop"),
        (statistics, r"batch statistics in training mode at visual\.bn"),
        (masked, r"parametrizations or masks on visual"),
        (parametrized, rf"parametrizations or masks on {BLOCK}\.mlp\.c_fc"),
        (compiled, r"compiled modules: visual"),
    ],
)
def test_each_kind_is_named(change, said):
    model = clip()
    change(model)
    found = findings(model)
    assert len(found) == 1
    assert re.search(said, found[0]), found


def test_adapters_are_named():
    peft = pytest.importorskip("peft")
    model = clip()
    peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["c_fc"]))
    model.eval()
    assert any("adapters of peft" in said and "merge_and_unload()" in said for said in findings(model))


def test_the_likeliest_come_first_and_at_most_five():
    model = clip()
    for change in (compiled, masked, statistics, dropping, foreign, own_forward, hooked, own_encode):
        change(model)
    found = findings(model)
    assert len(found) == 5
    assert "encode_image" in found[0]
    assert "hooks" in found[1]
    assert not any("compiled" in said for said in found)


def test_the_guard_names_what_made_the_sum_wrong():
    model = clip()
    model.visual.ln_post.register_forward_hook(lambda m, i, o: 1.01 * o)
    with pytest.raises(summand.SummandError, match=r"forward hooks of yours on visual\.ln_post"):
        summand.wrap(model).decompose(pixels()).total()


def test_many_modules_are_cut_short():
    model = clip()
    for module in model.modules():
        module.register_forward_hook(lambda *_: None)
    assert "more" in findings(model)[0]
    assert len(findings(model)[0]) < 400


def test_a_subclass_without_a_name_of_a_library_is_told_by_what_it_extends():
    model = clip()
    model.visual.transformer.resblocks[0] = MyBlock(model.visual.transformer.resblocks[0])
    said = findings(model)[0]
    assert "visual.transformer.resblocks.0 (MyBlock of" in said
    assert "more than" not in said
