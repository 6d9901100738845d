"""Words for the ends of directions: planted ones are found, and noise is not proven."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import summand
from summand.text.fits import agreement_of, told_apart
from summand.text.poles import COVERED, Signals, images_of_an_end, poles

COUNTS = (4, 6, 10, 2)  # values of four kinds


def world(images: int = 300, seed: int = 0) -> tuple[np.ndarray, torch.Tensor]:
    """Codes of every kind, and what images show: one value of each kind."""
    rng = np.random.default_rng(seed)
    codes = np.stack([rng.integers(0, count, images) for count in COUNTS], axis=1)
    starts = np.cumsum((0, *COUNTS[:-1]))
    shown = np.zeros((images, sum(COUNTS)), dtype=bool)
    for kind, start in enumerate(starts):
        shown[np.arange(images), start + codes[:, kind]] = True
    return codes, torch.from_numpy(shown)


def planted(*signals, seed: int = 0, images: int = 300) -> tuple[list, Signals]:
    """Signals as functions of shown values and noise, on two sets of images."""
    parts = []
    for part in (0, 1):
        _, shown = world(images, seed + part)
        noise = torch.randn(images, len(signals), generator=torch.Generator().manual_seed(seed + 7 + part)).double()
        x = torch.stack([make(shown.double()) for make in signals], dim=1) + 0.1 * noise
        parts.append((x, shown))
    both = Signals(parts[0][0], parts[1][0], parts[0][1], parts[1][1])
    return poles(both, list(range(len(signals)))), both


def test_both_ends_are_named_by_what_their_images_show():
    (found,), given = planted(lambda s: s[:, 12] - s[:, 15])
    assert [pole.words for pole in found] == [(12,), (15,)]
    assert [pole.verdict for pole in found] == ["proven", "proven"]
    k = images_of_an_end(300)
    for pole, sign in zip(found, (1, -1), strict=True):
        top = (sign * given.final[:, 0]).argsort(descending=True)[:k]
        here, anywhere = (
            int(given.shown_final[top, pole.words[0]].sum()),
            int(given.shown_final[:, pole.words[0]].sum()),
        )
        assert pole.shown == pytest.approx(here / k)
        assert pole.chance == pytest.approx(anywhere / 300)
        tail = sum(comb(anywhere, n) * comb(300 - anywhere, k - n) for n in range(here, k + 1)) / comb(300, k)
        assert pole.p == pytest.approx(tail)
        truth = given.shown_final[:, pole.words[0]].numpy()
        assert pole.agreement == pytest.approx(roc_auc_score(truth, sign * given.final[:, 0].numpy()))


def test_a_unit_that_is_silent_elsewhere_has_one_end():
    (found,), _ = planted(lambda s: 5 * s[:, 12])
    assert found[0].words == (12,)
    assert (found[1].silent, found[1].words) == (True, ())
    assert not found[0].silent


def test_an_end_of_two_things_has_both_and_one_of_many_has_none():
    (two, many), _ = planted(lambda s: 5 * (s[:, 1] * s[:, 21] + s[:, 12]).clamp(max=1), lambda s: 0 * s[:, 0])
    assert two[0].words[0] == 12 or set(two[0].words) >= {12}
    assert not any(pole.proven for pole in many)
    (either,), given = planted(lambda s: 5 * (s[:, 12] + s[:, 4]).clamp(max=1), seed=4)
    assert set(either[0].words) == {12, 4}
    assert either[0].proven
    assert either[0].shown >= COVERED
    assert given.shown_final[:, [12, 4]].any(dim=1).double().mean() == pytest.approx(either[0].chance)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=30))
def test_telling_apart_is_the_area_under_the_curve(rows):
    signal, shown = (torch.tensor(column) for column in zip(*rows, strict=True))
    found = told_apart(torch.stack([signal, -signal], dim=1).double(), torch.stack([shown, ~shown], dim=1))
    apart = 2 * roc_auc_score(shown.numpy(), signal.numpy()) - 1 if 0 < int(shown.sum()) < len(rows) else 0
    assert found.tolist() == pytest.approx(np.array([[apart, -apart], [-apart, apart]]))
    if apart:
        assert agreement_of(signal.double(), shown) == pytest.approx((apart + 1) / 2)


def test_of_the_values_that_all_images_of_an_end_show_the_one_that_orders_all_images_is_its_word():
    """A coin happens to be shown by every image of the end; the value that x is about by all but one of them."""
    _, shown = world(300)
    x = 5.0 * shown[:, 12].double() + torch.from_numpy(np.random.default_rng(1).random(300))
    end = x.topk(images_of_an_end(300)).indices
    shown = shown.clone()
    shown[end, 20], shown[end, 21] = True, False
    shown[end[0], 12:14] = torch.tensor([False, True])
    assert shown[end].double().mean(dim=0)[[20, 12]].tolist() == pytest.approx([1, 11 / 12])
    ((above, _),) = poles(Signals(x[:, None], x[:, None], shown, shown), [0])
    assert (above.words, above.verdict) == ((12,), "proven")


@pytest.mark.parametrize(("showing", "words"), [(12, (12,)), (9, (12,)), (8, ())])
def test_words_that_few_images_might_hide_are_left_to_the_images_that_decide(showing, words):
    """Of 12 images 9 are a standard error below 0.85, and 8 are more; of the images that decide all show the word."""
    _, shown = world(300)
    x = 5.0 * shown[:, 12].double() + torch.from_numpy(np.random.default_rng(1).random(300))
    end = x.topk(images_of_an_end(300)).indices
    first = shown.clone()
    first[end[showing:]] = False  # they show nothing else
    ((above, _),) = poles(Signals(x[:, None], x[:, None], first, shown), [0])
    assert above.words == words
    assert above.proven == bool(words)


def test_words_are_chosen_and_scored_on_different_images():
    """A unit that means something on the second set alone is given words, and they are not proven."""
    _, given = planted(lambda s: s[:, 12] - s[:, 15])
    noise = torch.randn(300, 1, generator=torch.Generator().manual_seed(5)).double()
    (found,) = poles(Signals(given.choice, noise, given.shown_choice, given.shown_final), [0])
    assert [pole.words for pole in found] == [(12,), (15,)]
    assert [pole.verdict for pole in found] == ["not proven", "not proven"]


@pytest.mark.slow
@settings(max_examples=10)
@given(st.integers(0, 1000))
def test_noise_is_not_proven_though_the_best_of_many_values_was_chosen(seed):
    """Every unit is real, and the final images are in another order: at most 5 % of units, all ends together."""
    rng = np.random.default_rng(seed)
    _, shown = world(300, seed)
    weights = torch.from_numpy(rng.standard_normal((shown.shape[1], 400)))
    x = shown.double() @ weights
    other = torch.from_numpy(rng.permutation(300))
    found = poles(Signals(x, x[other], shown, shown), [unit // 2 for unit in range(400)])
    proven = {unit for unit, pair in enumerate(found) if any(pole.proven for pole in pair)}
    assert len({unit // 2 for unit in proven}) <= 0.05 * 200


def test_several_ends_of_a_unit_must_be_better_each():
    """The limit of p is shared among the ends that were given words: a coin's value needs more images."""
    make = [lambda s: s[:, 20] - s[:, 21]]
    (alone,), given = planted(*make, images=40)
    assert alone[0].p <= 0.05 / 2
    signals = Signals(given.choice.repeat(1, 3), given.final.repeat(1, 3), given.shown_choice, given.shown_final)
    together = poles(signals, [0, 0, 0])
    assert (alone[0].verdict, together[0][0].verdict) == (
        "proven",
        "proven" if together[0][0].p <= 0.05 / 6 else "cannot be tested",
    )


def test_only_the_first_directions_with_words_of_a_unit_keep_them():
    _, given = planted(*[lambda s, n=n: s[:, n] - s[:, n + 1] for n in (0, 4, 6, 10, 12)])
    found = poles(given, [3] * 5, most=2)
    assert [bool(pair[0].words) for pair in found] == [True, True, False, False, False]


def test_words_that_others_fit_as_well_are_not_proven():
    """Every value of the pool is shown wherever the word is: it says nothing."""
    _, given = planted(lambda s: 5 * s[:, 12])
    copies = [shown[:, [12] * 30] for shown in (given.shown_choice, given.shown_final)]
    (found,) = poles(Signals(given.choice, given.final, *copies), [0])
    assert found[0].shown == 1
    assert found[0].verdict == "not proven"


@pytest.mark.parametrize("images", [3, 8])
def test_where_nothing_could_pass_nothing_is_tested(images):
    (found,), _ = planted(lambda s: s[:, 12] - s[:, 15], images=images)
    assert {pole.verdict for pole in found if pole.words} <= {"cannot be tested"}
    constant = Signals(torch.ones(40, 1), torch.ones(40, 1), world(40)[1], world(40)[1])
    assert [pole.verdict for pole in poles(constant, [0])[0]] == ["cannot be tested"] * 2


def test_the_order_of_images_and_the_sign_do_not_matter():
    _, given = planted(lambda s: s[:, 12] - s[:, 15], lambda s: s[:, 2] - 0.5 * s[:, 20])
    first = poles(given, [0, 1])
    turn = torch.randperm(300, generator=torch.Generator().manual_seed(2))
    again = poles(Signals(given.choice[turn], -given.final, given.shown_choice[turn], given.shown_final), [0, 1])
    assert [p.words for pair in first for p in pair] == [p.words for pair in again for p in pair]
    turned = poles(Signals(-given.choice, -given.final, given.shown_choice, given.shown_final), [0, 1])
    for (above, below), (below2, above2) in zip(first, turned, strict=True):
        assert (above.words, above.p, below.words, below.p) == (above2.words, above2.p, below2.words, below2.p)


def test_sets_that_do_not_fit_are_refused(unchecked):
    _, given = planted(lambda s: s[:, 12])
    with pytest.raises(summand.SummandError, match="do not fit together"):
        poles(given, [0, 1])
    with pytest.raises(summand.SummandError, match="at least 1 word"):
        poles(given, [0], size=0)
