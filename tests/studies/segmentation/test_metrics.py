from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
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
