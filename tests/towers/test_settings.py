"""Every setting that changes a model's numbers changes what is said of it, and nothing else does."""

from __future__ import annotations

import copy
import subprocess
import sys
from functools import partial

import pytest
import torch
from torch import nn

import summand
from summand.survey.fingerprints import same_weights, weights_hash
from summand.towers.settings import settings_hash, settings_of
from tests import tiny

pytestmark = pytest.mark.slow


def first_norm(clip):
    return clip.visual.transformer.resblocks[0].ln_1


def swap_activation(clip):
    clip.transformer.resblocks[1].mlp.gelu = nn.GELU(approximate="tanh")


def function_for_activation(clip, function=torch.nn.functional.silu):
    clip.visual.transformer.resblocks[0].mlp.gelu = nn.Identity()
    clip.visual.transformer.resblocks[0].mlp.gelu.forward = function


CHANGES = {
    "eps": lambda clip: setattr(first_norm(clip), "eps", 1e-3),
    "activation": swap_activation,
    "a function": function_for_activation,
    "another function": lambda clip: function_for_activation(clip, torch.nn.functional.relu),
    "a lambda": lambda clip: function_for_activation(clip, lambda x: x * 2),
    "another lambda": lambda clip: function_for_activation(clip, lambda x: x * 3),
    "a partial": lambda clip: function_for_activation(clip, partial(torch.nn.functional.gelu, approximate="tanh")),
    "heads": lambda clip: setattr(clip.visual.transformer.resblocks[0].attn, "num_heads", 4),
    "pooling": lambda clip: setattr(clip.visual, "pool_type", "avg"),
    "text pooling": lambda clip: setattr(clip, "text_pool_type", "last"),
    "the mask": lambda clip: clip.attn_mask.zero_(),
    "a tensor that is no buffer": lambda clip: setattr(clip, "scale", torch.ones(2)),
    "a subclass": lambda clip: setattr(first_norm(clip), "__class__", type("Norm", (type(first_norm(clip)),), {})),
}


def test_settings_are_told_apart():
    seen = {"nothing": settings_hash(tiny.clip())}
    for name, change in CHANGES.items():
        clip = tiny.clip()
        change(clip)
        seen[name] = settings_hash(clip)
    assert len(set(seen.values())) == len(seen)
    assert settings_hash(tiny.clip(quick_gelu=True)) not in seen.values()


def test_what_changes_no_number_is_left_out():
    clip = tiny.clip()
    said = settings_of(clip)
    clip.train()
    clip.visual.transformer.grad_checkpointing = True
    clip.visual.register_forward_hook(lambda *_: None)
    clip.double()
    with torch.no_grad():
        clip.visual.proj.add_(1)
    del clip.attn_mask
    lines = said.splitlines()
    assert lines[-1].startswith("attn_mask tensor(torch.float32, [16, 16]")
    assert settings_of(clip).splitlines() == lines[:-1]
    assert settings_of(copy.deepcopy(tiny.clip())) == said
    assert settings_of(tiny.clip(seed=9)) == said


def test_it_is_the_same_in_another_process():
    code = (
        "from tests import tiny\nfrom summand.towers.settings import settings_hash\n"
        "clip = tiny.clip()\nclip.act = lambda x: x * 2\nclip.words = {'a', 'b', 'c'}\nprint(settings_hash(clip))"
    )
    clip = tiny.clip()
    clip.act, clip.words = eval("lambda x: x * 2", {"__name__": "__main__"}), {"c", "b", "a"}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.strip() == settings_hash(clip), said.stderr


def test_only_one_side():
    clip = tiny.clip()
    texts = settings_of(clip, lambda name: not name.startswith("visual"))
    first_norm(clip).eps = 1e-3
    assert settings_of(clip, lambda name: not name.startswith("visual")) == texts
    swap_activation(clip)
    assert settings_of(clip, lambda name: not name.startswith("visual")) != texts


@pytest.mark.parametrize("change", ["eps", "activation", "the mask"])
def test_the_hash_of_weights_knows_settings(change):
    clip = tiny.clip()
    before = weights_hash(summand.wrap(clip))
    assert before == weights_hash(summand.wrap(tiny.clip()))
    assert weights_hash(summand.wrap(tiny.clip(quick_gelu=True))) != before
    CHANGES[change](clip)
    after = weights_hash(summand.wrap(clip))
    assert after.split("+")[0] == before.split("+")[0]
    assert not same_weights(before, after)
    assert same_weights(before.split("+")[0], after)  # a run of an earlier version, which knew weights alone
    assert not same_weights(before, weights_hash(summand.wrap(tiny.clip(seed=2))))
