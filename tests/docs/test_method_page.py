"""What docs/method.md claims of the bounds, by drawing perturbations."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from fakd.functional import augmented_channel_kd, augmented_pixel_kd, channel_kd, pixel_kd

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/method.md").read_text()
SURE = 4  # standard errors


@pytest.fixture(scope="module")
def bounds():
    spec = importlib.util.spec_from_file_location("bounds", ROOT / "docs/figures/bounds.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["bounds"] = module
    spec.loader.exec_module(module)
    return module


def test_the_table_is_what_the_script_finds(bounds) -> None:
    rows = re.findall(r"^\| (.+-wise, .+) \| ([\d.]+) \| ([\d.]+) ± ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", PAGE, re.M)
    assert len(rows) == 9
    scene = bounds.draw_scene()
    for title, *numbers in rows:
        plain, augmented, temperature = bounds.PANELS[title]
        strength, printed, error, tight, paper = map(float, numbers)
        mean, own_error = bounds.expected(scene, plain, strength, temperature, 100)
        assert abs(mean - printed) < SURE * (error**2 + own_error**2) ** 0.5
        for kind, value in (("tight", tight), ("paper", paper)):
            assert bounds.bound(scene, augmented, strength, temperature, kind) == pytest.approx(value, abs=6e-5)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("seed", range(3))
def test_channel_wise_the_order_holds(bounds, seed, temperature) -> None:
    scene = bounds.draw_scene(seed)
    for strength in (0.3, 2.0):
        mean, error = bounds.expected(scene, channel_kd, strength, temperature, 60)
        tight, paper = (
            bounds.bound(scene, augmented_channel_kd, strength, temperature, kind) for kind in ("tight", "paper")
        )
        assert mean - SURE * error < tight < paper


def test_below_a_temperature_of_one_the_printed_form_bounds_nothing(bounds) -> None:
    scene = bounds.draw_scene()
    mean, error = bounds.expected(scene, channel_kd, 1.0, 0.1, 60)
    tight, paper = (bounds.bound(scene, augmented_channel_kd, 1.0, 0.1, kind) for kind in ("tight", "paper"))
    assert paper < mean - SURE * error < tight


def test_pixel_wise_the_tight_form_is_a_bound_and_the_printed_one_may_lie_below(bounds) -> None:
    """Pixels of a class that scatters, which the teacher takes for one that does not."""
    scene = bounds.draw_scene()
    covariance = torch.zeros_like(scene.covariance)
    covariance[0] = scene.covariance[-1]
    teacher = torch.zeros_like(scene.teacher)
    teacher[:, 1] = 50
    scene = scene._replace(covariance=covariance, labels=torch.zeros_like(scene.labels), teacher=teacher)
    mean, error = bounds.expected(scene, pixel_kd, 2.0, 1.0, 60)
    tight, paper = (bounds.bound(scene, augmented_pixel_kd, 2.0, 1.0, kind) for kind in ("tight", "paper"))
    assert paper < mean - SURE * error
    assert mean - SURE * error < tight


@pytest.mark.parametrize("seed", range(3))
def test_pixel_wise_the_two_agree_where_the_teacher_is_sure_and_right(bounds, seed) -> None:
    scene = bounds.draw_scene(seed)
    sure = 800.0 * torch.nn.functional.one_hot(scene.labels, bounds.CLASSES).movedim(-1, 1).double()
    scene = scene._replace(teacher=sure)
    tight, paper = (bounds.bound(scene, augmented_pixel_kd, 1.0, 1.0, kind) for kind in ("tight", "paper"))
    assert tight == pytest.approx(paper, rel=1e-9)


def test_jensen_before_the_difference(bounds) -> None:
    """The smaller bound that the page mentions, from the formula."""
    scene, strength, temperature = bounds.draw_scene(), 1.0, 1.0
    z, q = (logits.flatten(2)[0] for logits in (scene.logits(scene.features), scene.teacher))
    q_table = torch.einsum("ca,yab,cb->cy", scene.weight, scene.covariance, scene.weight)
    v = strength / (2 * temperature**2) * q_table[:, scene.labels.flatten()]
    p = (q / temperature).softmax(1)
    each = torch.logsumexp(z / temperature + v, 1, keepdim=True) - z / temperature
    found = (temperature**2 * (p * (each + p.log())).sum(1).mean()).item()
    mean, error = bounds.expected(scene, channel_kd, strength, temperature, 60)
    assert mean - SURE * error < found < bounds.bound(scene, augmented_channel_kd, strength, temperature, "tight")


def test_the_figure_is_drawn(bounds, tmp_path) -> None:
    found = {title: bounds.curves(title, 3, (0.5, 1.0)) for title in bounds.PANELS}
    bounds.draw(found, tmp_path / "bounds.svg")
    assert "<svg" in (tmp_path / "bounds.svg").read_text()
    assert len(bounds.table(found).splitlines()) == 2 + 6
