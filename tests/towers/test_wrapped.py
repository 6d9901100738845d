"""What callers hold instead of open_clip's own classes: other `encode_image`s, none at all, registers."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import pytest
import torch
from torch import nn

import summand
from summand.towers import tower_of
from summand.towers.dispatch import takes_normalize
from tests.border import configuration
from tests.towers.shrink import build, shrink
from tests.towers.test_towers import small_resnet, small_vit
from tests.towers.test_variants import check


class Holder(nn.Module):
    """A model that holds a tower, and nothing else."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual = visual


class Plain(Holder):
    def encode_image(self, image):
        return self.visual(image)


class Other(Holder):
    def encode_image(self, image, *, scale: float = 1.0, **more):
        return scale * self.visual(image)


@pytest.mark.parametrize("kind", [Holder, Plain, Other])
@pytest.mark.parametrize("make", [small_vit, small_resnet])
def test_encode_image_without_the_switch_or_none_at_all(kind, make):
    visual = make().visual
    model = check(kind(visual))
    x = torch.randn(2, 3, *model.tower.image_size, dtype=torch.float64)
    torch.testing.assert_close(model.encode_image(x), visual(x).detach(), rtol=0, atol=1e-12)


def test_a_tower_that_returns_its_tokens_too():
    clip = small_vit(output_tokens=True)
    assert isinstance(clip.visual(torch.zeros(1, 3, 32, 32, dtype=torch.float64)), tuple)
    check(Holder(clip.visual))


@pytest.mark.parametrize("returned", [lambda found: (found, found), lambda found: {"image": found}, lambda f: f[None]])
def test_an_encode_image_that_returns_something_else_is_refused(returned):
    class Odd(Holder):
        def encode_image(self, image):
            return returned(self.visual(image))

    model = summand.wrap(Odd(small_vit().visual))
    with pytest.raises(summand.SummandError, match=r"Odd\.encode_image must return one embedding for each image"):
        model.encode_image(torch.zeros(2, 3, 32, 32, dtype=torch.float64))


def coca() -> Any:

    return build(shrink(configuration("coca_ViT-B-32")))


def test_a_subclass_that_hands_its_keywords_on_is_not_normalised():
    """CoCa normalises unless it is told not to."""

    class Mine(type(coca())):
        def encode_image(self, *args, **kwargs):
            return super().encode_image(*args, **kwargs)

    clip = coca()
    truth = summand.wrap(clip).encode_image(torch.ones(1, 3, 24, 24, dtype=torch.float64))
    clip.__class__ = Mine
    model = summand.wrap(clip)
    assert torch.equal(model.encode_image(torch.ones(1, 3, 24, 24, dtype=torch.float64)), truth)
    assert model.decompose(torch.ones(1, 3, 24, 24, dtype=torch.float64)).residual() <= 1e-12


def test_what_takes_the_switch():
    assert takes_normalize(small_vit().encode_image)
    assert takes_normalize(coca().encode_text)
    assert not takes_normalize(Plain(nn.Identity()).encode_image)
    assert not takes_normalize(Other(nn.Identity()).encode_image)
    assert not takes_normalize(lambda image: image)
    assert takes_normalize(functools.wraps(small_vit().encode_image)(lambda *args, **kwargs: None))
    assert not takes_normalize(dict.fromkeys)  # has no signature, or one that says nothing


def test_a_mistake_in_the_callers_own_encode_image_is_not_hidden():
    """The switch is found by the signature: a TypeError from within is the caller's, and comes through."""

    class Broken(Holder):
        def encode_image(self, image, normalize=False):
            return len(None)

    with pytest.raises(TypeError, match="NoneType"):
        summand.wrap(Broken(small_vit().visual)).encode_image(torch.zeros(1, 3, 32, 32, dtype=torch.float64))


def test_an_encode_image_that_needs_more_than_pixels_is_refused():
    class Alpha(Holder):
        def encode_image(self, image, alpha):
            return self.visual(image * alpha)

    model = summand.wrap(Alpha(small_vit().visual))
    with pytest.raises(summand.SummandError, match=r"encode_image cannot be called with pixels alone.*alpha"):
        model.encode_image(torch.zeros(1, 3, 32, 32, dtype=torch.float64))


def test_a_scripted_model_says_to_load_it_otherwise():
    """clip.load(…, jit=True), and open_clip's jit=True."""
    clip = Plain(small_vit().visual)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2))
    clip.visual = scripted
    with pytest.raises(summand.SummandError, match=r"compiled by TorchScript.*jit=False"):
        summand.wrap(clip)


# Registers


def with_registers(count: int, **vision) -> Any:
    """open_clip's tower, in a subclass with registers behind the class token."""
    clip = small_vit(**vision)

    class Registers(type(clip.visual)):
        def _embeds(self, x):
            tokens = super()._embeds(x)
            more = self.registers.expand(len(tokens), -1, -1)
            return torch.cat([tokens[:, :1], more, tokens[:, 1:]], dim=1)

    clip.visual.__class__ = Registers
    clip.visual.registers = nn.Parameter(torch.randn(count, 48, dtype=torch.float64))
    return clip


@pytest.mark.parametrize("count", [1, 4])
def test_registers_of_the_callers_own(count):
    clip = with_registers(count)
    tower = tower_of(clip, prefix=1 + count)
    assert tower.prefix == 1 + count
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    seen = []
    trace = tower.run(x, lambda layer, view: seen.append(view.row.shape[-1]))
    total, truth = trace.total(tower.head_maps()), clip.encode_image(x)
    assert (total - truth).abs().max() <= 1e-12 * truth.abs().max()
    assert set(seen) == {tower.prefix + tower.grid[0] * tower.grid[1]}


def test_prefix_is_for_class_tokens(unchecked):
    for clip in (small_vit(pool_type="avg"), small_resnet(), coca()):
        with pytest.raises(summand.SummandError, match=r"prefix=3 is for a tower that reads out its class token"):
            tower_of(clip, prefix=3)
        assert tower_of(clip, prefix=tower_of(clip).prefix).prefix == tower_of(clip).prefix
    for wrong in (0, -1, True, 2.0, "2"):
        with pytest.raises(summand.SummandError, match="prefix counts the class token and the registers"):
            tower_of(small_vit(), prefix=wrong)
