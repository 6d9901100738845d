"""A second look by identity alone: it says "the same" only where a look that takes everything apart says so too."""

from __future__ import annotations

from collections import OrderedDict
from types import MethodType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from summand.models.flat import as_long_as_below, flat
from summand.models.marks import UNSEEN, look
from tests.models.tiny_clip import clip


def taken_apart(model):
    settings, tensors, _, _ = look([model], [], (UNSEEN, frozenset(), set()), set())
    return settings, [id(tensor) for tensor in tensors]


def a_module(made, place):
    modules = list(made.modules())
    return modules[place % len(modules)]


def edit_setting(module):
    module.eps = 0.125


def edit_list(module):
    module.chosen[1]["within"].append(3)


def edit_hook(module):
    module.register_forward_hook(lambda *_: None)


def edit_hook_order(module):
    module._forward_pre_hooks = OrderedDict(module._forward_pre_hooks)


def edit_class(module):
    module.__class__ = type(type(module).__name__, (type(module),), {})


def edit_forward(module):
    module.forward = MethodType(type(module).forward, module)


def edit_parameter(module):
    module.register_parameter("another", nn.Parameter(torch.ones(2)))


def edit_child(module):
    module.add_module("another", nn.Identity())


def edit_deleted(module):
    del module.chosen


def edit_nothing(module):
    pass


EDITS = [value for name, value in list(globals().items()) if name.startswith("edit_")]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(EDITS), st.integers(0, 200))
def test_every_edit_is_seen_as_by_taking_apart(edit, place):
    made = clip()
    module = a_module(made, place)
    module.chosen = (1, {"within": [1, 2]})
    before = taken_apart(made)
    listed = flat(list(made.modules()), UNSEEN, set())
    assert listed.still()
    edit(module)
    assert not listed.still() or taken_apart(made) == before
    assert listed.still() == (edit in (edit_nothing, edit_hook_order))
    edit_hook(module)  # also in a dict that was exchanged for an equal one
    assert not listed.still()


def test_what_may_change_within_itself_is_not_listed():
    made = clip()
    made.visual.counts = np.zeros(3)
    assert flat(list(made.modules()), UNSEEN, set()) is None
    assert flat(list(made.modules()), UNSEEN | {"counts"}, set()).still()


def test_what_passes_write_down_is_left_out():
    made = clip()
    made.visual.calls = 0
    listed = flat(list(made.modules()), UNSEEN, {(id(made.visual), "calls")})
    made.visual.calls += 1
    assert listed.still()
    made.visual.other = 1
    assert not listed.still()


@pytest.mark.parametrize("change", ["none", "setting", "shared", "new dict"])
def test_structure_is_walked_again_only_where_it_changed(change):
    made, walks = clip(), []
    asked = as_long_as_below(made, lambda: walks.append(1) or list(made.children()))
    asked()
    if change == "setting":
        made.visual.ln_post.eps = 0.5
    elif change == "shared":
        made.visual.transformer.resblocks[0].more = made.ln_final
    elif change == "new dict":
        made._modules = dict(made._modules)
    assert asked() == list(made.children())
    assert len(walks) == (1 if change in ("none", "setting") else 2)
