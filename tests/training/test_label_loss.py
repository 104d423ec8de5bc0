"""The loss on labels: which one, and how much each class counts in it."""

import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from folders import write_folder
from safetensors.torch import load_file
from steps import Crash, crash_at
from test_resumed_runs import assert_equal_runs
from torch.testing import assert_close

from fakd.analysis.runs import read_metrics
from fakd.console import install_command
from fakd.data import get_dataset
from fakd.data.paired_files import PairedFiles
from fakd.training import TrainConfig, train
from fakd.training.label_loss import LabelLoss, LabelLossConfig, class_weights, count_labels

CLASSES = ("road", "car", "sky", "boat")


def pixels_of(*counts: int) -> torch.Tensor:
    pixels = torch.zeros(256, dtype=torch.int64)
    pixels[: len(counts)] = torch.tensor(counts)
    pixels[255] = 1000
    return pixels


@pytest.mark.parametrize(("kind", "power"), [("balanced", 1.0), ("sqrt", 0.5)])
def test_rare_classes_count_more_and_a_pixel_one_in_the_mean(kind, power) -> None:
    counts = np.array([900, 90, 10, 0])
    found = class_weights(kind, pixels_of(*counts), CLASSES).numpy()
    there = counts > 0
    expected = counts[there] ** -power
    expected *= counts.sum() / (expected * counts[there]).sum()
    np.testing.assert_allclose(found[there], expected, rtol=1e-6)
    assert found[~there] == 1


def test_weights_of_a_file(tmp_path) -> None:
    path = tmp_path / "weights.yaml"
    path.write_text("car: 2\nroad: 0.5\nsky: 1\nboat: 0\n")
    assert class_weights(str(path), torch.zeros(256), CLASSES).tolist() == [0.5, 2.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("car: 2\nroad: 1\nsky: 1\n", "must give each of the 4 classes a weight.*missing or unknown: boat"),
        ("car: 2\nroad: 1\nsky: 1\nboat: 1\nship: 1\n", "missing or unknown: ship"),
        ("[1, 2]", "missing or unknown: boat, car"),
        ("car: -2\nroad: 1\nsky: 1\nboat: 1\n", "the weight of car must be a number, 0 or more, got -2"),
        ("car: much\nroad: 1\nsky: 1\nboat: 1\n", "the weight of car must be a number, 0 or more, got 'much'"),
    ],
)
def test_files_that_do_not_fit(tmp_path, text, message) -> None:
    (tmp_path / "weights.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        LabelLossConfig(class_weights=str(tmp_path / "weights.yaml")).check_label_loss(CLASSES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "mse"}, "loss must be ce, ce.dice, .*, got 'mse'"),
        ({"class_weights": "most"}, "class_weights must be none, balanced, sqrt or a file of weights, got 'most'"),
        ({"label_smoothing": 1.0}, "label_smoothing must be at least 0 and below 1, got 1"),
        ({"loss": "focal", "label_smoothing": 0.1}, "leave it out with --loss focal"),
    ],
)
def test_wrong_values_are_named(changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        TrainConfig(**changes)


def test_a_loss_whose_library_is_missing(monkeypatch) -> None:
    monkeypatch.setattr("fakd.training.label_loss.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"--loss ce\+dice needs .*" + re.escape(install_command("smp"))):
        TrainConfig(loss="ce+dice")
    TrainConfig(loss="ohem")


def labels_and_scores() -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.randint(4, (2, 8, 8))
    labels[0, :2] = 255
    return torch.randn(2, 4, 8, 8), labels


def dice_by_numpy(scores: torch.Tensor, labels: torch.Tensor) -> float:
    known = (labels != 255).numpy()
    shares = scores.double().softmax(1).numpy()
    losses = []
    for index in range(4):
        truth = (labels.numpy() == index) & known
        found = np.where(known, shares[:, index], 0)
        losses.append(1 - 2 * (found * truth).sum() / (found.sum() + truth.sum()) if truth.any() else 0.0)
    return float(np.mean(losses))


def focal_by_numpy(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """One class against all others, (1 - p)^2 of the cross-entropy, as segmentation_models_pytorch has it."""
    known = (labels != 255).numpy()
    losses = []
    for index in range(4):
        right = np.where(labels.numpy() == index, 1.0, -1.0)[known]
        p = 1 / (1 + np.exp(-right * scores[:, index].double().numpy()[known]))
        losses.append(((1 - p) ** 2 * -np.log(p)).mean())
    return float(np.mean(losses))


def test_terms_of_the_library() -> None:
    pytest.importorskip("segmentation_models_pytorch")
    scores, labels = labels_and_scores()
    ce = F.cross_entropy(scores, labels, ignore_index=255)
    terms = LabelLoss(LabelLossConfig(loss="ce+dice", class_weights="none"), 4)(scores, labels)
    assert_close(terms["ce"], ce)
    assert terms["dice"].item() == pytest.approx(dice_by_numpy(scores, labels), rel=1e-4)
    terms = LabelLoss(LabelLossConfig(loss="focal", class_weights="none"), 4)(scores, labels)
    assert terms["focal"].item() == pytest.approx(focal_by_numpy(scores, labels), rel=1e-4)
    # Lovasz' loss of a certain and right prediction is 0, of a certain and wrong one the whole IoU
    loss = LabelLoss(LabelLossConfig(loss="ce+lovasz", class_weights="none"), 4)
    right = 100.0 * F.one_hot(labels.clamp_max(3), 4).movedim(-1, 1)
    assert loss(right, labels)["lovasz"].item() == pytest.approx(0, abs=1e-5)
    assert loss(right.roll(1, dims=1), labels)["lovasz"].item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("loss", ["ce", "ce+dice", "ce+lovasz", "ohem", "focal"])
def test_without_a_label_every_loss_is_zero_and_has_a_gradient(loss) -> None:
    if loss not in ("ce", "ohem"):
        pytest.importorskip("segmentation_models_pytorch")
    scores, labels = labels_and_scores()
    scores.requires_grad_()
    terms = LabelLoss(LabelLossConfig(loss=loss, class_weights="none"), 4)(scores, torch.full_like(labels, 255))
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    assert scores.grad is not None
    assert all(value.item() == 0 for value in terms.values())
    assert not scores.grad.any()


@pytest.mark.parametrize("loss", ["ce+dice", "ce+lovasz", "ohem", "focal"])
def test_every_loss_trains(train_config, tmp_path, loss) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    train(train_config(loss=loss, class_weights="sqrt", max_steps=2, eval_every=2))
    assert {f"loss/{name}" for name in loss.split("+")} < read_metrics(tmp_path / "run").keys()
    assert all(value.isfinite().all() for value in load_file(tmp_path / "run/student.safetensors").values())


def test_weights_are_counted_once_and_kept(train_config, monkeypatch, tmp_path, capsys) -> None:
    settings = {"class_weights": "balanced", "label_smoothing": 0.1}
    train(train_config(output=tmp_path / "whole", **settings))
    spec = train_config(**settings).spec
    labels = torch.stack([spec.open(None, "train")[index].label for index in range(8)])
    counts = np.bincount(labels[labels != 255].numpy(), minlength=12)
    expected = np.where(counts > 0, counts.sum() / (np.maximum(counts, 1) * (counts > 0).sum()), 1)
    state = torch.load(tmp_path / "whole/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    np.testing.assert_allclose(state["label_loss.weights"].numpy(), expected, rtol=1e-5)
    assert "classes   weighed from" in capsys.readouterr().out
    crash_at(monkeypatch, 3)
    with pytest.raises(Crash):
        train(train_config(output=tmp_path / "broken", **settings))
    train(train_config(output=tmp_path / "broken", resume=True, **settings))
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


def test_the_check_of_the_data_counts_as_it_reads(tmp_path, monkeypatch) -> None:
    root = write_folder(tmp_path / "data", ["a", "b", "c", "d"])
    (root / "val.txt").write_text("d\n")
    checked, asked = (get_dataset("folder", root).open(root, "train") for _ in range(2))
    checked.check()
    assert isinstance(checked, PairedFiles)
    with monkeypatch.context() as patch:
        patch.setattr(PairedFiles, "count", None)  # which is not asked again
        assert count_labels(checked)[:3].tolist() == [96, 96, 96]
    monkeypatch.setattr("fakd.data.paired_files.read_image", None)  # masks alone are read
    assert torch.equal(count_labels(asked), count_labels(checked))
