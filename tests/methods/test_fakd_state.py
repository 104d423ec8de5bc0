"""FAKD's state: the covariance, the ramp, and whose parameters are whose."""

import pytest
import torch
from method_scene import CLASSES, Scene, network

from fakd.methods import FAKD, FAKDPixel

both = pytest.mark.parametrize("kind", [FAKD, FAKDPixel])


@both
def test_covariance_follows_training_batches_only(kind) -> None:
    scene = Scene()
    method = kind(scene.student, scene.teacher, max_steps=10).eval()
    scene.terms(method)
    assert not method.covariance.count.any()
    scene.terms(method.train())
    torch.testing.assert_close(method.covariance.covariance, scene.covariance())
    assert method.covariance.count.sum() == (scene.small_labels != 255).sum()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    Scene().terms(method.eval(), step=9)
    assert all(torch.equal(before[key], value) for key, value in method.state_dict().items())


@both
@pytest.mark.parametrize("form", ["diagonal", "full"])
@pytest.mark.parametrize("bound", ["paper", "tight"])
def test_two_batches_may_share_a_backward_pass(kind, form, bound) -> None:
    """The covariance that the first loss was computed with is still there."""
    student = network()
    method = kind(student, network(), max_steps=1, covariance=form, bound=bound, schedule="constant")
    scene, weight = Scene(), student.classifier.weight
    first = scene.terms(method)[method.term]
    (expected,) = torch.autograd.grad(first, weight, retain_graph=True)
    second = scene.terms(method)[method.term]
    (found,) = torch.autograd.grad(first + 0 * second, weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("schedule", "expected"), [("cosine", [0, 0.5, 2]), ("linear", [0, 2 / 3, 2]), ("constant", [2, 2, 2])]
)
def test_strength_grows_as_the_schedule_says(schedule, expected) -> None:
    method = FAKD(network(), network(), max_steps=4, strength=2.0, schedule=schedule)
    assert [method.strength_at(step) for step in (0, 1, 3)] == pytest.approx(expected)


@both
def test_strength_0_is_the_first_step_of_the_ramp(kind) -> None:
    scene = Scene()
    off = kind(scene.student, scene.teacher, max_steps=10, strength=0.0)
    ramp = kind(scene.student, scene.teacher, max_steps=10)
    first, last, plain = scene.terms(ramp, 0), scene.terms(ramp, 9), scene.terms(off, 9)
    assert first == plain
    assert last[kind.term] > plain[kind.term]


@both
@pytest.mark.parametrize("detach", [False, True])
def test_variances_train_the_classifier_unless_detached(kind, detach) -> None:
    scene = Scene()
    scene.terms(kind(scene.student, scene.teacher, max_steps=1, detach_classifier=detach, weight=0.0))
    term = scene.terms(kind(scene.student, scene.teacher, max_steps=1, detach_classifier=detach))[kind.term]
    assert term.requires_grad is not detach
    if not detach:
        term.backward()
        assert scene.student.classifier.weight.grad.any()


@both
@pytest.mark.parametrize("form", ["diagonal", "full"])
def test_state_is_the_covariance_alone_and_survives_a_round_trip(kind, form) -> None:
    scene = Scene()
    method = kind(scene.student, scene.teacher, max_steps=3, covariance=form)
    scene.terms(method)
    state = method.state_dict()
    assert set(state) == {f"covariance.{name}" for name in ("count", "mean", "covariance", "mean_rounding")}
    assert list(method.parameters()) == []
    shape = (CLASSES, 8) if form == "diagonal" else (CLASSES, 8, 8)
    assert state["covariance.covariance"].shape == shape
    twin = kind(scene.student, scene.teacher, max_steps=3, covariance=form)
    twin.load_state_dict(state)
    more = Scene()
    more.student = scene.student
    assert torch.equal(more.terms(twin, 2)[kind.term], more.terms(method, 2)[kind.term])


@both
def test_moves_with_its_module_while_the_student_stays(kind) -> None:
    student = network()
    method = kind(student, network(), max_steps=3).double()
    assert method.covariance.covariance.dtype == torch.float64
    assert student.classifier.weight.dtype == torch.float32


def test_window_reaches_the_covariance() -> None:
    scene = Scene()
    method = FAKD(scene.student, scene.teacher, max_steps=3, window=4)
    scene.terms(method)
    assert method.covariance.count.max() == 4


@pytest.mark.parametrize("form", ["diagonal", "full"])
def test_watched_variance_is_the_mean_over_classes_seen(form) -> None:
    scene = Scene()
    scene.small_labels[scene.small_labels == 2] = 255
    scene.labels[scene.labels == 2] = 255
    method = FAKD(scene.student, scene.teacher, max_steps=3, covariance=form)
    assert method.watched["variance"] == 0
    scene.terms(method)
    seen = [0, 1, 3, 4]
    torch.testing.assert_close(method.watched["variance"], scene.covariance()[seen].sum(1).mean())
