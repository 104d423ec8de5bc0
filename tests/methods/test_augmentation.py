"""What moves the student's logits: the covariance, the ramp, whose parameters are whose, and what is said of it."""

import pytest
import torch
from method_scene import CLASSES, Scene, network

from fakd.functional import channel_kd, logit_offsets, pixel_kd
from fakd.methods import FAKD, METHODS, FAKDPixel, method_options

both = pytest.mark.parametrize("kind", [FAKD, FAKDPixel])
MOVED = {"cwd": "cwd", "pixel": "pixel", "skds": "pixel", "ifvd": "pixel", "cirkd": "pixel"}
"""Method -> its term on logits."""
moved = pytest.mark.parametrize("name", MOVED)


@both
def test_covariance_follows_training_batches_only(kind) -> None:
    scene = Scene()
    method = kind(scene.student, scene.teacher, max_steps=10).eval()
    scene.terms(method)
    assert not method.augmentation.covariance.count.any()
    scene.terms(method.train())
    torch.testing.assert_close(method.augmentation.covariance.covariance, scene.covariance())
    assert method.augmentation.covariance.count.sum() == (scene.small_labels != 255).sum()
    before = {key: value.clone() for key, value in method.state_dict().items()}
    Scene().terms(method.eval(), step=9)
    assert all(torch.equal(before[key], value) for key, value in method.state_dict().items())


@both
@pytest.mark.parametrize("form", ["diagonal", "full"])
@pytest.mark.parametrize("bound", ["paper", "tight"])
def test_two_batches_may_share_a_backward_pass(kind, form, bound) -> None:
    """The covariance that the first loss was computed with is still there."""
    student = network()
    options = {"covariance": form, "bound": bound, "detach_classifier": False, "schedule": "constant"}
    method = kind(student, network(), max_steps=1, **options)
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
    assert [method.augmentation.strength_at(step) for step in (0, 1, 3)] == pytest.approx(expected)


@both
def test_strength_0_is_the_first_step_of_the_ramp(kind) -> None:
    scene = Scene()
    off = kind(scene.student, scene.teacher, max_steps=10, strength=0.0)
    ramp = kind(scene.student, scene.teacher, max_steps=10)
    first, last, plain = scene.terms(ramp, 0), scene.terms(ramp, 9), scene.terms(off, 9)
    assert first == plain
    assert last[kind.term] != plain[kind.term]


@both
@pytest.mark.parametrize("detach", [False, True])
def test_variances_train_the_classifier_unless_detached(kind, detach) -> None:
    scene = Scene()
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
    assert set(state) == {
        f"augmentation.covariance.{name}" for name in ("count", "mean", "covariance", "mean_rounding")
    }
    assert list(method.parameters()) == []
    shape = (CLASSES, 8) if form == "diagonal" else (CLASSES, 8, 8)
    assert state["augmentation.covariance.covariance"].shape == shape
    twin = kind(scene.student, scene.teacher, max_steps=3, covariance=form)
    twin.load_state_dict(state)
    more = Scene()
    more.student = scene.student
    assert torch.equal(more.terms(twin, 2)[kind.term], more.terms(method, 2)[kind.term])


@both
def test_moves_with_its_module_while_the_student_stays(kind) -> None:
    student = network()
    method = kind(student, network(), max_steps=3).double()
    assert method.augmentation.covariance.covariance.dtype == torch.float64
    assert student.classifier.weight.dtype == torch.float32


def test_window_reaches_the_covariance() -> None:
    scene = Scene()
    method = FAKD(scene.student, scene.teacher, max_steps=3, window=4)
    scene.terms(method)
    assert method.augmentation.covariance.count.max() == 4


@pytest.mark.parametrize("form", ["diagonal", "full"])
def test_watched_variance_is_the_mean_over_classes_seen(form) -> None:
    scene = Scene()
    scene.small_labels[scene.small_labels == 2] = 255
    scene.labels[scene.labels == 2] = 255
    method = FAKD(scene.student, scene.teacher, max_steps=3, covariance=form)
    scene.terms(method)
    seen = [0, 1, 3, 4]
    torch.testing.assert_close(method.watched["variance"], scene.covariance()[seen].sum(1).mean())


@moved
@pytest.mark.parametrize("step", [0, 5, 10])
def test_any_term_on_logits_can_look_at_moved_ones(name, step) -> None:
    scene = Scene()
    options = {"augment_logits": 0.8}
    method = METHODS[name](scene.student, scene.teacher, max_steps=11, **options)
    found = scene.terms(method, step)[MOVED[name]]
    strength = {0: 0.0, 5: 0.4, 10: 0.8}[step]
    weight = scene.student.classifier.weight
    offsets = logit_offsets(scene.small_labels, weight, scene.covariance(), strength=strength)
    logits = scene.output_of_student.logits + offsets
    share = {"cwd": 3, "pixel": 1, "skds": 10, "ifvd": 10 / CLASSES, "cirkd": 1}[name]
    expected = channel_kd(logits, scene.resized) if name == "cwd" else pixel_kd(logits, scene.resized)
    torch.testing.assert_close(found, share * expected)


@moved
def test_without_it_nothing_is_estimated(name) -> None:
    scene = Scene()
    method = METHODS[name](scene.student, scene.teacher, max_steps=11)
    scene.terms(method, 10)
    assert not [key for key in method.state_dict() if "covariance" in key]
    assert not {"variance", "offset", "teacher_spread"} & set(method.watched)


def test_which_methods_can() -> None:
    assert {name for name in METHODS if "augment_logits" in method_options(name)} == set(MOVED)


@both
@pytest.mark.parametrize("reference", ["none", "label"])
def test_watches_the_offsets_and_the_teachers_spread(kind, reference) -> None:
    scene = Scene()
    method = kind(scene.student, scene.teacher, max_steps=1, strength=0.8, reference=reference)
    scene.terms(method)
    weight = scene.student.classifier.weight
    offsets = logit_offsets(scene.small_labels, weight, scene.covariance(), strength=0.8, reference=reference)
    torch.testing.assert_close(method.watched["offset"], offsets.mean())
    torch.testing.assert_close(method.watched["teacher_spread"], scene.resized.std())


@both
def test_offsets_that_will_be_larger_than_the_teachers_spread_are_remarked(kind) -> None:
    scene = Scene()
    method = kind(scene.student, scene.teacher, max_steps=11)
    assert method.remark({}) is None
    scene.terms(method, step=0)
    assert method.remark({"variance": 9.0, "offset": 0.0, "teacher_spread": 2.5}) is None
    scene.terms(method, step=5)  # at half of the strength
    assert method.remark({"variance": 9.0, "offset": 1.0, "teacher_spread": 2.5}) is None
    remark = method.remark({"variance": 9.0, "offset": 2.0, "teacher_spread": 2.5})
    assert remark is not None
    assert "the mean offset of the logits would be 4.00, and the spread of the teacher's is 2.50" in remark
    assert remark.endswith("give a smaller strength.")
