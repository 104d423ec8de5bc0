"""What two networks say about an image, against numpy."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from fakd.evaluation.inference import InferenceConfig
from fakd.evaluation.predictor import Predictor, open_predictor
from fakd.serve import pair as comparing
from fakd.serve.drawing import DIFFERENT, agreement_map, at_page_size, figures, legend, slider_pictures
from fakd.serve.pair import Answer, Comparison, compare

PALETTE = [(10, 20, 30), (200, 0, 0), (0, 200, 0)]
CLASSES = ("road", "<b>sky</b>", "tree")


@pytest.fixture
def network(teacher_run) -> Predictor:
    return open_predictor(teacher_run, InferenceConfig(), device="cpu")


def labels(seed: int, size=(30, 44), classes: int = 2) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, classes, size, dtype=np.uint8))


def answer(mask: torch.Tensor, milliseconds: float) -> Answer:
    return Answer(mask, torch.tensor([(mask == index).double().mean() for index in range(3)]), milliseconds, 5)


def comparison(size=(30, 44)) -> Comparison:
    image = torch.from_numpy(np.random.default_rng(2).integers(0, 256, (3, *size), dtype=np.uint8))
    return Comparison(image, answer(labels(0, size), 5.0), answer(labels(1, size), 20.0))


def test_agreement() -> None:
    made = comparison()
    one, other = labels(0).numpy(), labels(1).numpy()
    assert made.agreement == pytest.approx((one == other).mean(), abs=1e-12)
    assert replace(made, teacher=made.student).agreement == 1


def test_both_networks_are_asked(network, tmp_path) -> None:
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 47, 61), dtype=np.uint8))
    flipped = replace(network, inference=replace(network.inference, flip=True))
    found = compare(image, network, flipped)
    assert found.teacher is not None
    for one, asked in ((found.student, network), (found.teacher, flipped)):
        assert one.labels.shape == (47, 61)
        expected = [(one.labels.numpy() == index).mean() for index in range(12)]
        assert one.shares.tolist() == pytest.approx(expected, abs=1e-12)
        assert one.milliseconds > 0
        assert 1 <= one.passes <= comparing.MOST_PASSES
        assert asked.classes == network.classes
    assert found.agreement == (found.student.labels == found.teacher.labels).double().mean().item()
    assert compare(image, network).agreement is None


def test_time_is_the_median_without_the_first_pass(network, monkeypatch) -> None:
    clock, taken = [0.0], iter([9.0, 0.03, 0.01, 0.5, 0.02, 0.04])

    def work(*arguments: object) -> torch.Tensor:
        clock[0] += next(taken)
        return torch.zeros(1, 4, 4, dtype=torch.uint8)

    monkeypatch.setattr(Predictor, "labels", work)
    monkeypatch.setattr(comparing.time, "perf_counter", lambda: clock[0])
    (found,) = comparing.ask(torch.zeros(3, 4, 4, dtype=torch.uint8), [network])
    assert found.milliseconds == pytest.approx(30)
    assert found.passes == 5
    taken = iter([9.0, 7.0, 0.1, 2.0, 0.3, 1.0, 0.2, 3.0])  # one and the other in turns, until four seconds are over
    student, teacher = comparing.ask(torch.zeros(3, 4, 4, dtype=torch.uint8), [network, network])
    assert (student.milliseconds, student.passes) == (pytest.approx(200), 3)
    assert (teacher.milliseconds, teacher.passes) == (pytest.approx(2000), 3)
    taken = iter([9.0, 8.0])  # a slow one is not kept waiting for
    (found,) = comparing.ask(torch.zeros(3, 4, 4, dtype=torch.uint8), [network])
    assert (found.milliseconds, found.passes) == (pytest.approx(8000), 1)


def test_pictures_of_the_page() -> None:
    made = comparison()
    drawing = at_page_size(made)
    assert drawing.image.shape == (3, 30 * 14, 44 * 14)  # enlarged by the whole number that stays within 640
    assert torch.equal(drawing.student[7::14, 7::14], made.student.labels)
    assert torch.equal(drawing.image[:, ::14, ::14], made.image)
    left, right = slider_pictures(drawing, PALETTE, 1.0)
    assert np.array_equal(left, np.array(PALETTE, np.uint8)[drawing.student])
    assert np.array_equal(right, np.array(PALETTE, np.uint8)[drawing.teacher])
    left, right = slider_pictures(at_page_size(replace(made, teacher=None)), PALETTE, 0.0)
    assert np.array_equal(left, right)
    bare, _ = slider_pictures(drawing, PALETTE, 1.0, hide=(0,))
    seen = drawing.image.permute(1, 2, 0).numpy()
    assert np.array_equal(bare, np.where(drawing.student.numpy()[..., None] == 0, seen, np.array(PALETTE[1], np.uint8)))
    large = at_page_size(comparison((2000, 900)))
    assert large.image.shape == (3, 1280, 576)
    assert large.student.shape == (1280, 576)


def test_map_of_the_differences() -> None:
    made = comparison()
    assert made.teacher is not None
    picture = agreement_map(made.image, made.student.labels, made.teacher.labels)
    different = made.student.labels.numpy() != made.teacher.labels.numpy()
    assert np.array_equal((picture == DIFFERENT).all(-1), different)
    same = picture[~different]
    assert (same[:, 0] == same[:, 1]).all()
    assert (same[:, 0] == same[:, 2]).all()


def test_legend_and_numbers() -> None:
    made = comparison()
    table = legend(made, CLASSES, PALETTE)
    shares = [made.student.shares, made.teacher.shares]
    order = sorted(range(2), key=lambda index: -max(share[index].item() for share in shares))
    found = re.findall(r"(\d+\.\d) %</span>", table)
    assert found == [f"{100 * share[index]:.1f}" for index in order for share in shares]
    assert "&lt;b&gt;sky" in table
    assert "<b>" not in table
    assert "tree" not in table
    assert "1 other class is not seen" in table
    assert "#c80000" in table
    (hidden,) = [index for index, colour in enumerate(PALETTE) if colour == (200, 0, 0)]
    bare = legend(made, CLASSES, PALETTE, hide=(hidden,))
    assert [text.count('swatch" style="background:#c80000"') for text in (table, bare)] == [1, 0]
    assert bare.count('swatch" style="background:transparent"') == 1
    assert re.findall(r"(\d+\.\d) %</span>", bare) == found
    words = re.sub("<[^>]+>", " ", figures(made, "<a>.png"))
    assert "5.0 ms" in words
    assert "20.0 ms" in words
    assert "4.0 times the student's" in words
    assert f"{100 * made.agreement:.1f} %" in words
    assert "44 &times; 30" in words
    assert "&lt;a&gt;.png" in words
    assert "teacher" not in figures(replace(made, teacher=None))


def test_images_at_their_own_size(network, tmp_path) -> None:
    assert network.base_size == (48, 72)
    whole = replace(network, base_size=None)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 96), dtype=np.uint8))
    assert compare(image, whole).student.labels.shape == (64, 96)
