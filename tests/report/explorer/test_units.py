"""Units inside heads, one by one and switched off: latents of autoencoders and pairs of attention pools."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image

import summand
from summand import SummandError
from summand.effects.autoencoder import Autoencoder
from summand.report.explorer import page
from summand.report.explorer.known import Known, known_of
from summand.report.explorer.off import map_without, switched_off, terms_without
from summand.report.explorer.one_unit import active_map, added, pair_sum, unit_map
from summand.report.explorer.question import Along, head_map, token_map
from summand.unit import Unit
from tests.report.explorer.conftest import TEXTS
from tests.tiny import clip

VERSUS = Along(0, 1)


def squashed(image: Image.Image) -> torch.Tensor:
    return torch.tensor(np.asarray(image.convert("RGB").resize((32, 32)))).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="module")
def latent() -> Known:
    """Three layers, with an autoencoder of the stream behind the first, and a survey of its latents."""
    draw = torch.Generator().manual_seed(0)
    shapes = {"W_enc": (32, 12), "b_enc": (12,), "W_dec": (12, 32), "b_dec": (32,)}
    t = {name: 0.3 * torch.randn(*shape, generator=draw) for name, shape in shapes.items()}
    model = summand.wrap(
        clip(vision={"layers": 3}), preprocess=squashed, tokenizer=SimpleTokenizer(context_length=16)
    ).with_autoencoder(Autoencoder(0, t["W_enc"], t["b_enc"], t["W_dec"], t["b_dec"], t["b_dec"]))
    pictures = np.random.default_rng(1).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    return known_of(summand.survey(model, pictures, units="heads,latents:0", progress=False), model)


@pytest.fixture(scope="module")
def seen(latent):
    rng = np.random.default_rng(5)
    return latent.read(Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)), TEXTS)


@pytest.mark.parametrize(("units", "heads"), [(["0#2"], []), (["0#2", "0#7"], ["1.1"])])
def test_latents_that_are_off_leave_the_model_as_steering_does(latent, seen, units, heads):
    """φ is taken away by another road, `steer`, which goes through the tower; φ̄ comes from the survey's moments."""
    bare = Known(latent.model)
    found = terms_without(bare, seen, switched_off(bare, [*units, *heads])).output
    steered = latent.model.steer(dict.fromkeys([*units, *heads], 0)).encode_image(seen.pixels)[0]
    torch.testing.assert_close(found, steered, atol=1e-5, rtol=1e-4)
    moments = latent.survey.moments("latents.0")
    with_means = terms_without(latent, seen, switched_off(latent, units)).output
    without_means = terms_without(bare, seen, switched_off(bare, units)).output
    numbers = [Unit.parse(unit).index[0] for unit in units]
    means = moments.basis.combine(moments.mean)[numbers].sum(dim=0).float()
    torch.testing.assert_close(with_means, without_means + means, atol=1e-5, rtol=1e-4)
    assert float((found - seen.terms.output).norm()) > 1e-3


def test_a_latents_map_sums_to_its_effect_where_the_class_token_says_nothing(latent, seen):
    codes = latent.model.reconstruction(seen.pixels, 0).codes[0]
    silent = ((codes[0] == 0) & (codes[1:] > 0).any(dim=0)).nonzero()[:, 0].tolist()
    assert silent
    unit, direction = float(seen.scale / seen.terms.output.norm()), seen.direction(VERSUS)
    for number in silent:
        name = f"0#{number}"
        effect = latent.model.latents(seen.pixels, 0).select([number])
        whole = unit * float(effect.toward(direction[None])[0, 0, 0])
        own = unit_map(seen, VERSUS, Unit.parse(name))
        assert float(own.sum()) == pytest.approx(whole, abs=1e-5)
        torch.testing.assert_close(active_map(seen, Unit.parse(name)).flatten(), codes[1:, number])
        off = switched_off(latent, [name])
        terms = terms_without(latent, seen, off)
        left = map_without(seen, terms, VERSUS, off) * terms.output.norm() / seen.terms.output.norm()
        torch.testing.assert_close(left, token_map(seen, VERSUS) - own, atol=1e-5, rtol=1e-4)
        mean = latent.survey.moments("latents.0").mean[number] @ effect.directions[0].double()
        assert added(latent, seen, VERSUS, Unit.parse(name)) == pytest.approx(
            whole - unit * float(mean @ direction.double()), abs=1e-5
        )


def test_latents_are_among_the_units_that_a_picture_moves(latent, seen):
    assert latent.smaller == "latents"
    session = page.with_moved(latent, page.asked(latent, seen.picture, "\n".join(TEXTS)))
    norms = latent.profile.norms(latent.model, seen.pixels)[0]
    expected = {
        unit.name for unit, over in zip(latent.profile.units, norms > latent.profile.limits, strict=True) if over
    }
    assert {one.unit for one in session.moved} == expected
    for one in session.moved:
        shown = page.shown(latent, page.looked_at(latent, session, one.unit))
        assert f'data-unit="{one.unit}"' in shown.neurons
        assert f'aria-label="latent {one.unit}"' in shown.unit
        assert shown.unit.count("<img") == 2
    assert page.compared(session, TEXTS[1], None).moved is None  # it was of another score


@pytest.mark.slow
def test_pairs_that_are_off_leave_the_model_as_steering_does(resnet):
    known, pairs = Known(resnet), ["5x3", "400x1", "5x7"]
    picture = Image.fromarray(summand.scenes.describe("a red star and a blue ring").images[0])
    reading = known.read(picture, TEXTS)
    found = terms_without(known, reading, switched_off(known, pairs)).output
    steered = resnet.steer(dict.fromkeys(pairs, 0)).encode_image(reading.pixels)[0]
    torch.testing.assert_close(found, steered, atol=1e-4, rtol=1e-4)
    alone, both = (
        terms_without(known, reading, switched_off(known, units)).output for units in (["0.3"], ["0.3", "5x3"])
    )
    torch.testing.assert_close(alone, both, atol=1e-5, rtol=1e-5)  # with the head the pair is gone already


@pytest.mark.slow
def test_all_pairs_of_a_head_are_its_map_but_for_the_value_bias(resnet):
    """Σ_n a_i z_i^n W_VO^{n,h} + a_i b_V^h W_O^h is what the head writes from patch i; the second goes with a_i."""
    known = Known(resnet)
    reading = known.read(Image.fromarray(summand.scenes.describe("a red star in the snow").images[0]), TEXTS)
    neurons, head = resnet.tower.pair_directions().shape[0], 2
    direction, views = reading.direction(VERSUS), []
    resnet.tower.run(reading.pixels, lambda _, view: views.append(view))
    row = views[0].row[0, head, 1:].unflatten(0, resnet.tower.grid)
    every = pair_sum(reading, direction, [(n, head) for n in range(neurons)])
    unit = reading.scale / float(reading.terms.output.norm())
    bias = (head_map(reading, VERSUS, 0, head) / unit - every) / row
    torch.testing.assert_close(bias, bias.mean().expand_as(bias), atol=2e-3, rtol=2e-3)
    single = unit_map(reading, VERSUS, Unit.parse("7x2"))
    torch.testing.assert_close(single, unit * pair_sum(reading, direction, [(7, 2)]))
    rest = unit * pair_sum(reading, direction, [(n, head) for n in range(neurons) if n != 7])
    torch.testing.assert_close(single + rest, unit * every, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("unit", "says"),
    [("0#12", "0#0 to 0#11"), ("1#0", "none of layer 1"), ("3x1", "attention pool"), ("3.0", "heads are 0.0 to 2.1")],
)
def test_units_that_there_are_not_are_refused(latent, seen, unit, says):
    with pytest.raises(SummandError, match=says):
        switched_off(latent, [unit])
    with pytest.raises(SummandError, match=says):
        page.looked_at(latent, page.asked(latent, seen.picture, "a star"), unit)
