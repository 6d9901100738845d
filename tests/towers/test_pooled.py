"""The pooled tokens of a pass: pointed at where they lie, and copied behind it."""

from __future__ import annotations

import copy

import pytest
import torch
from open_clip.transformer import ResidualAttentionBlock

import summand
from summand.towers import tower_of as any_tower_of
from summand.towers.residual import ResidualTower
from tests.border import CLIP

VISION = {"image_size": 28, "patch_size": 14, "width": 32, "layers": 4, "head_width": 8}
TEXT = {"context_length": 16, "vocab_size": 100, "width": 64, "heads": 2, "layers": 1}


@pytest.fixture
def clip():
    torch.manual_seed(0)
    made = CLIP(16, VISION, TEXT).eval()
    for parameter in made.parameters():  # norms, biases and all
        parameter.data += 0.1 * torch.randn_like(parameter)
    return made


@pytest.fixture
def x():
    return torch.randn(3, 3, 28, 28, generator=torch.Generator().manual_seed(1))


class InPlace(ResidualAttentionBlock):
    """Adds to the very tensor that it was given."""

    def forward(self, q_x, k_x=None, v_x=None, attn_mask=None):
        q_x += self.ls_1(self.attention(q_x=self.ln_1(q_x), attn_mask=attn_mask))
        q_x += self.ls_2(self.mlp(self.ln_2(q_x)))
        return q_x


def tower_of(clip, prefix=None) -> ResidualTower:
    found = any_tower_of(clip, prefix)
    assert isinstance(found, ResidualTower)
    return found


def total(trace, tower):
    return trace.total(tower.head_maps())


@torch.no_grad()
def test_a_stream_that_is_added_to_in_place_is_copied_as_it_is_seen(clip, x):
    want = tower_of(clip).run(x)
    for block in clip.visual.transformer.resblocks:
        block.__class__ = InPlace
    tower = tower_of(clip)  # of nobody who would look at the code of others
    assert not tower.adds_in_place
    found = tower.run(x)
    assert tower.adds_in_place
    for term in ("values", "scale", "embedding", "mlps", "bias"):
        torch.testing.assert_close(getattr(found, term), getattr(want, term), rtol=0, atol=1e-6)
    torch.testing.assert_close(total(found, tower), clip.encode_image(x), rtol=0, atol=1e-5)
    again = tower.run(x, lambda layer, view: None)
    torch.testing.assert_close(again.mlps, want.mlps, rtol=0, atol=1e-6)


@torch.no_grad()
def test_it_is_never_told_to_who_has_seen_half_of_it(clip, x):
    for block in clip.visual.transformer.resblocks:
        block.__class__ = InPlace
    with pytest.raises(summand.SummandError, match="writes to its stream in some passes only"):
        tower_of(clip).run(x, lambda layer, view: None)


@torch.no_grad()
def test_small_and_large_passes_see_the_same(monkeypatch, clip, x):
    small = tower_of(clip).run(x)
    monkeypatch.setattr("summand.towers.pooled._SMALL", 0)
    large = tower_of(clip).run(x)
    for term in ("values", "scale", "embedding", "mlps", "bias"):
        torch.testing.assert_close(getattr(small, term), getattr(large, term), rtol=0, atol=0)


def first_norm_of_all(blocks):
    for block in blocks:
        block.ln_1 = blocks[0].ln_1


def second_norm_of_all(blocks):
    for block in blocks:
        block.ln_2 = blocks[0].ln_2


def within_a_block(blocks):
    for block in blocks:
        block.ln_2 = block.ln_1


def everywhere(blocks):
    for block in blocks:
        block.ln_1 = block.ln_2 = blocks[0].ln_1


@pytest.mark.parametrize("share", [first_norm_of_all, second_norm_of_all, within_a_block, everywhere])
@torch.no_grad()
def test_norms_that_are_shared_are_read_too(clip, x, share):
    """Against the same weights in norms of their own."""
    blocks = clip.visual.transformer.resblocks
    assert tower_of(clip).through_norms
    share(blocks)
    apart = copy.deepcopy(clip)
    for block in apart.visual.transformer.resblocks:
        block.ln_1, block.ln_2 = copy.deepcopy(block.ln_1), copy.deepcopy(block.ln_2)
    tower, want = tower_of(clip), tower_of(apart).run(x)
    assert not tower.through_norms
    found = tower.run(x)
    for term in ("values", "scale", "embedding", "mlps", "bias"):
        torch.testing.assert_close(getattr(found, term), getattr(want, term), rtol=0, atol=1e-6)
    torch.testing.assert_close(summand.wrap(clip).decompose(x).total(), clip.encode_image(x), rtol=0, atol=1e-5)


@torch.no_grad()
def test_two_listeners_watch_a_block(monkeypatch, clip, x):
    tower = tower_of(clip)
    tower.parts = None  # a pass by the model's own forward
    tower.run(x)
    counts = {"before": 0, "behind": 0}
    before, behind = torch.nn.Module.register_forward_pre_hook, torch.nn.Module.register_forward_hook

    def counted(what, register):
        def registering(self, *args, **kwargs):
            counts[what] += 1
            return register(self, *args, **kwargs)

        return registering

    monkeypatch.setattr(torch.nn.Module, "register_forward_pre_hook", counted("before", before))
    monkeypatch.setattr(torch.nn.Module, "register_forward_hook", counted("behind", behind))
    tower.run(x)
    assert counts == {"before": 3 + 1, "behind": 4 + 1}  # of the last block only its norm; one each of the whole tower
