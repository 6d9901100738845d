from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import average_precision_score, jaccard_score

from summand.studies.segmentation.metrics import ClassScores, FigureScores, average_precision, rescaled


@given(arrays(np.float64, 40, elements=st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0])), arrays(bool, 40))
def test_average_precision_is_that_of_scikit_learn(scores, truth):
    if truth.any():
        assert average_precision(scores, truth) == pytest.approx(average_precision_score(truth, scores))
    else:
        assert np.isnan(average_precision(scores, truth))


def test_figure_scores_are_the_published_ones(rng):
    """Literally: intersections and unions over the data set, micro average precision over two channels per picture."""
    scores, correct, labelled = FigureScores("mean"), 0, 0
    inter, union, precisions = np.zeros(2), np.zeros(2), []
    for _ in range(5):
        values, mask = rng.random((6, 7)), rng.integers(-1, 2, (6, 7))
        scores.update(torch.from_numpy(values).float(), torch.from_numpy(mask))
        values = values.astype(np.float32)[mask >= 0]
        truth = mask[mask >= 0]
        said = (values > values.mean()).astype(int)
        correct, labelled = correct + (said == truth).sum(), labelled + len(truth)
        for c in (0, 1):
            inter[c] += ((said == c) & (truth == c)).sum()
            union[c] += ((said == c) | (truth == c)).sum()
        one_hot = np.stack([truth == 0, truth == 1])
        precisions.append(
            average_precision_score(one_hot.ravel(), np.stack([1 - values.astype(float), values]).ravel())
        )
    found = scores.compute()
    assert found["pixel_accuracy"] == pytest.approx(correct / labelled)
    assert found["mIoU"] == pytest.approx((inter / union).mean(), abs=1e-6)
    assert found["mAP"] == pytest.approx(np.mean(precisions), abs=1e-6)


def published_scores(maps, masks, threshold):
    """The released evaluation of papers A and C, picture by picture: maps as they are drawn, before they are scaled."""
    correct = labelled = 0
    inter, union, precisions = np.zeros(2), np.zeros(2), []
    for drawn, mask in zip(maps, masks, strict=True):
        with np.errstate(invalid="ignore"):
            scaled = (drawn - drawn.min()) / (drawn.max() - drawn.min())
        cut = scaled.mean() if threshold == "mean" else threshold
        channels = np.stack([1 - scaled, scaled])
        said = np.stack([scaled <= cut, scaled > cut]).astype(int).argmax(axis=0)
        channels[np.isnan(channels)] = 0
        counts = mask >= 0
        correct, labelled = correct + ((said == mask) & counts).sum(), labelled + counts.sum()
        for c in (0, 1):
            inter[c] += ((said == c) & (mask == c) & counts).sum()
            union[c] += (((said == c) | (mask == c)) & counts).sum()
        truth = np.stack([mask == 0, mask == 1])
        both = np.stack([counts, counts])
        precisions.append(np.nan_to_num(average_precision_score(truth[both], channels[both])))
    return correct / labelled, (inter / union).mean(), np.mean(precisions)


@given(
    arrays(np.float32, (4, 5, 6), elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 0.9, 3.0])),
    arrays(np.int64, (4, 5, 6), elements=st.sampled_from([-1, 0, 0, 1])),
    st.sampled_from(["mean", 0.5]),
    st.integers(0, 3),
)
def test_scores_as_published_count_pictures_without_a_figure(maps, masks, threshold, flat):
    masks[0, 0, :2] = (0, 1)  # so that both classes occur
    masks[1][masks[1] == 1] = 0  # no figure
    masks[1, 0, 0] = 0
    masks[2:, 0, 0] = 0
    maps[flat] = 0.3
    scores = FigureScores(threshold, paper=True)
    found = [
        scores.update(rescaled(torch.from_numpy(drawn)), torch.from_numpy(mask))
        for drawn, mask in zip(maps, masks, strict=True)
    ]
    for scaled in rescaled(torch.from_numpy(maps)).numpy():  # means of two libraries may round to either side of a tie
        assume(not scaled.any() or np.abs(scaled - scaled.mean()).min() > 1e-5)
    accuracy, iou, precision = published_scores(maps, masks, threshold)
    assert scores.compute()["pixel_accuracy"] == pytest.approx(accuracy)
    assert scores.compute()["mIoU"] == pytest.approx(iou, abs=1e-6)
    assert scores.compute()["mAP"] == pytest.approx(precision, abs=1e-6)
    assert np.isnan(found[1].figure)  # of the figure alone there is none
    assert found[flat].two_channel == pytest.approx(0.5)


def test_by_default_pictures_without_a_figure_have_no_precision():
    scores = FigureScores("mean")
    score = torch.tensor([[0.0, 0.2, 1.0]])
    assert np.isnan(scores.update(score, torch.tensor([[0, 0, 0]])).two_channel)
    unlabelled = torch.tensor([[0, 1, -1]])  # mean 0.1 of the labelled, 0.4 of all
    assert scores.update(score, unlabelled).pixel_accuracy == 1.0
    assert FigureScores("mean", paper=True).update(score, unlabelled).pixel_accuracy == 0.5


def test_a_perfect_map_and_its_opposite():
    mask = torch.tensor([[0, 1], [0, 0]])
    perfect, opposite = FigureScores(0.5), FigureScores(0.5)
    assert perfect.update(mask.float(), mask).figure == 1.0
    assert opposite.update(1 - mask.float(), mask).iou == 0.0
    assert perfect.compute()["mIoU"] == 1.0
    assert opposite.compute()["mIoU"] == 0.0


def test_class_scores_with_and_without_background(rng):
    scores = ClassScores(4, background=0)
    said_all, things_all, mask_all = [], [], []
    for _ in range(3):
        mask, said = rng.integers(-1, 4, (8, 9)), rng.integers(0, 4, (8, 9))
        things = np.where(said == 0, 2, said)
        scores.update(*(torch.from_numpy(a) for a in (said, things, mask)))
        said_all.append(said[mask >= 0])
        mask_all.append(mask[mask >= 0])
        things_all.append(things[mask >= 0])
    said, things, mask = (np.concatenate(rows) for rows in (said_all, things_all, mask_all))
    found = scores.compute()
    assert found["mIoU"] == pytest.approx(jaccard_score(mask, said, average="macro"))
    on = mask > 0
    assert found["mIoU_without_background"] == pytest.approx(jaccard_score(mask[on], things[on], average="macro"))
    assert found["pixel_accuracy_without_background"] == pytest.approx((mask[on] == things[on]).mean())


def test_a_flat_map_is_zeros():
    maps = torch.stack([torch.full((2, 2), 3.0), torch.tensor([[1.0, 2.0], [3.0, 5.0]])])
    assert rescaled(maps).tolist() == [[[0, 0], [0, 0]], [[0, 0.25], [0.5, 1]]]
