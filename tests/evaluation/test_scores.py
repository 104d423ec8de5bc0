"""Scores against loops over classes, and chance against simulation."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from fakd.evaluation import ConfusionMatrix, Scores, chance_miou, scores_from_confusion

NAMES = list("abcde")


def naive(truth: Tensor, predicted: Tensor) -> dict[str, object]:
    """Per class, over flat labels with 255 ignored; no class that is absent from both counts."""
    predicted, truth = predicted[truth != 255], truth[truth != 255]
    iou, acc = {}, {}
    for index, name in enumerate(NAMES):
        of_truth, of_prediction = truth == index, predicted == index
        both, either = int((of_truth & of_prediction).sum()), int((of_truth | of_prediction).sum())
        iou[name] = 100 * both / either if either else None
        acc[name] = 100 * both / int(of_truth.sum()) if of_truth.any() else None
    means = [[value for value in scores.values() if value is not None] for scores in (iou, acc)]
    return {
        "mIoU": sum(means[0]) / len(means[0]),
        "mAcc": sum(means[1]) / len(means[1]),
        "aAcc": 100 * int((truth == predicted).sum()) / len(truth),
        "IoU": iou,
        "acc": acc,
    }


def counted(truth: Tensor, predicted: Tensor) -> Scores:
    matrix = ConfusionMatrix(len(NAMES))
    for t, p in zip(truth.chunk(3), predicted.chunk(3), strict=True):  # several updates: one matrix over all
        matrix.update(p, t)
    return scores_from_confusion(matrix.compute(), NAMES)


@pytest.mark.parametrize(
    ("in_truth", "in_prediction"),
    [
        ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4]),
        ([0, 1, 2, 3], [0, 1, 2, 3, 4]),  # e only predicted
        ([0, 1, 2, 3, 4], [0, 1, 2]),  # d, e never predicted
        ([0, 1, 3], [0, 2, 3]),  # e in neither, b and c in one
        ([2], [2]),
    ],
)
@pytest.mark.parametrize("ignored", [0.0, 0.4])
def test_scores_are_those_of_a_loop_over_classes(in_truth, in_prediction, ignored) -> None:
    truth = torch.tensor(in_truth)[torch.randint(len(in_truth), (60,))]
    predicted = torch.tensor(in_prediction)[torch.randint(len(in_prediction), (60,))]
    truth = truth.masked_fill(torch.rand(60) < ignored, 255)
    ours, expected = counted(truth, predicted).to_dict(), naive(truth, predicted)
    assert list(ours) == list(expected)
    for name in ("mIoU", "mAcc", "aAcc"):
        assert ours[name] == pytest.approx(expected[name])
    for name in ("IoU", "acc"):
        assert ours[name] == pytest.approx(expected[name])
    json.dumps(ours, allow_nan=False)


some_classes = st.lists(st.sampled_from(range(len(NAMES))), min_size=1, unique=True)


@given(st.data(), some_classes, some_classes)
def test_scores_are_those_of_a_loop_whatever_is_absent(data, in_truth, in_prediction) -> None:
    pixel = st.tuples(st.sampled_from([*in_truth, 255]), st.sampled_from(in_prediction))
    pixels = data.draw(st.lists(pixel, min_size=3, max_size=40).filter(lambda drawn: any(t != 255 for t, _ in drawn)))
    truth, predicted = torch.tensor(pixels).unbind(1)
    ours, expected = counted(truth, predicted).to_dict(), naive(truth, predicted)
    assert ours == {name: pytest.approx(value) for name, value in expected.items()}


@pytest.mark.parametrize(
    ("truth", "predicted", "iou", "acc", "miou", "macc"),
    [
        ([0, 0, 1, 1], [0, 0, 0, 0], [50.0, 0.0, None], [100.0, 0.0, None], 25.0, 50.0),  # b never predicted
        ([0, 0, 0, 0], [0, 0, 1, 1], [50.0, 0.0, None], [50.0, None, None], 25.0, 50.0),  # b not in the truth
        ([0, 0, 0, 0], [0, 0, 0, 0], [100.0, None, None], [100.0, None, None], 100.0, 100.0),  # b and c in neither
        ([0, 0, 255, 255], [0, 0, 1, 2], [100.0, None, None], [100.0, None, None], 100.0, 100.0),  # only where ignored
    ],
)
def test_absent_classes(truth, predicted, iou, acc, miou, macc) -> None:
    matrix = ConfusionMatrix(3)
    matrix.update(torch.tensor(predicted), torch.tensor(truth))
    scores = scores_from_confusion(matrix.compute(), list("abc"))
    assert list(scores.IoU.values()) == iou
    assert list(scores.acc.values()) == acc
    assert (scores.mIoU, scores.mAcc) == (miou, macc)


def test_known_values() -> None:
    scores = scores_from_confusion(torch.tensor([[6, 2, 0], [0, 0, 0], [0, 0, 0]]), ["road", "car", "sky"])
    assert scores.IoU == {"road": 75.0, "car": 0.0, "sky": None}
    assert scores.acc == {"road": 75.0, "car": None, "sky": None}
    assert (scores.mIoU, scores.mAcc, scores.aAcc) == (37.5, 75.0, 75.0)


def test_counts_beyond_float32_stay_exact() -> None:
    scores = scores_from_confusion(torch.tensor([[2**40, 1], [0, 2**40]]), ["a", "b"])
    assert 0 < 100 - scores.aAcc < 1e-9


def test_what_cannot_be_scored() -> None:
    with pytest.raises(ValueError, match="no labelled pixel"):
        scores_from_confusion(torch.zeros(2, 2, dtype=torch.long), ["a", "b"])
    with pytest.raises(ValueError, match=r"matrix is \(2, 2\), expected \(3, 3\)"):
        scores_from_confusion(torch.ones(2, 2, dtype=torch.long), ["a", "b", "c"])


@pytest.mark.parametrize(
    "pixels", [[500, 300, 150, 40, 10], [250, 250, 250, 250], [200, 200, 200, 200, 0, 0], [700, 200, 100, 0, 0], [9, 0]]
)
def test_chance_is_that_of_two_simulated_predictors(pixels) -> None:
    truth = torch.arange(len(pixels)).repeat_interleave(torch.tensor(pixels) * 400)
    names = [str(index) for index in range(len(pixels))]
    scores = []
    for predicted in (torch.randint(len(pixels), truth.shape), torch.full_like(truth, truth.mode().values.item())):
        matrix = ConfusionMatrix(len(pixels))
        matrix.update(predicted, truth)
        counts = matrix.compute()
        scores.append(scores_from_confusion(counts, names).mIoU)
    assert chance_miou(counts) == pytest.approx(max(scores), abs=0.3)
