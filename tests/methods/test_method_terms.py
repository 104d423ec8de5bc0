"""What every method computes and refuses."""

import pytest
import torch
import torch.nn.functional as F
from method_scene import CLASSES, Scene, network
from torch import Tensor, nn

from fakd.functional import augmented_channel_kd, augmented_pixel_kd, channel_kd, logit_offsets, pixel_kd
from fakd.methods import FAKD, METHODS, FAKDPixel, create_method, method_options
from fakd.models import ClassifierTap
from fakd.types import SegmentationOutput

every_method = pytest.mark.parametrize("name", METHODS)
distilling = pytest.mark.parametrize("name", [name for name in METHODS if name != "none"])


TERMS = {
    "none": [],
    "skds": ["pixel", "pairwise", "adversarial"],
    "ifvd": ["pixel", "variation", "adversarial"],
    "cirkd": ["pixel", "cross_image", "memory_pixel", "memory_region"],
}
"""The terms of methods that have not just one, named as the method."""


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.parametrize(
    ("name", "formula", "weight", "temperature"), [("pixel", pixel_kd, 1, 1), ("cwd", channel_kd, 3, 4)]
)
def test_plain_methods_are_weight_times_formula(scene, name, formula, weight, temperature) -> None:
    logits = scene.output_of_student.logits
    terms = scene.terms(METHODS[name](scene.student, scene.teacher, max_steps=10))
    assert list(terms) == [name]
    torch.testing.assert_close(terms[name], weight * formula(logits, scene.resized, temperature=temperature))
    terms = scene.terms(METHODS[name](scene.student, scene.teacher, max_steps=10, weight=0.7, temperature=2.0))
    torch.testing.assert_close(terms[name], 0.7 * formula(logits, scene.resized, temperature=2.0))


@pytest.mark.parametrize(
    ("name", "formula", "weight", "temperature"),
    [("fakd", augmented_channel_kd, 3, 4), ("fakd-pixel", augmented_pixel_kd, 1, 1)],
)
@pytest.mark.parametrize("bound", ["paper", "tight"])
@pytest.mark.parametrize("detach", [False, True])
def test_bounds_are_weight_times_formula(scene, name, formula, weight, temperature, bound, detach) -> None:
    options = {"bound": bound, "detach_classifier": detach}
    method = METHODS[name](scene.student, scene.teacher, max_steps=11, strength=0.8, **options)
    for step, strength in [(0, 0.0), (5, 0.4), (10, 0.8)]:
        terms = scene.terms(method, step)
        assert list(terms) == [name]
        expected = formula(
            scene.output_of_student.logits,
            scene.resized,
            scene.small_labels,
            scene.student.classifier.weight,
            scene.covariance(),  # the same batch again leaves it as it is
            strength=strength,
            temperature=temperature,
            bound=bound,
        )
        torch.testing.assert_close(terms[name], weight * expected)


@pytest.mark.parametrize(("name", "formula", "weight"), [("fakd", channel_kd, 3), ("fakd-pixel", pixel_kd, 1)])
@pytest.mark.parametrize("reference", ["none", "label"])
def test_augmented_methods_are_plain_ones_at_moved_logits(scene, name, formula, weight, reference) -> None:
    method = METHODS[name](scene.student, scene.teacher, max_steps=11, strength=0.8, reference=reference)
    for step, strength in [(0, 0.0), (5, 0.4), (10, 0.8)]:
        terms = scene.terms(method, step)
        assert list(terms) == [name]
        offsets = logit_offsets(
            scene.small_labels,
            scene.student.classifier.weight,
            scene.covariance(),  # the same batch again leaves it as it is
            strength=strength,
            reference=reference,
        )
        expected = formula(scene.output_of_student.logits + offsets, scene.resized)
        torch.testing.assert_close(terms[name], weight * expected)


def test_a_bound_has_its_own_reference(scene) -> None:
    for kind in (FAKD, FAKDPixel):
        assert kind(scene.student, scene.teacher, max_steps=1).bound is None
        assert kind(scene.student, scene.teacher, max_steps=1, detach_classifier=False).bound == "paper"
        for options in ({"bound": "tight"}, {"detach_classifier": False}):
            with pytest.raises(ValueError, match=r"reference 'none' is for moved logits, and bound '(tight|paper)'"):
                kind(scene.student, scene.teacher, max_steps=1, reference="none", **options)


def test_no_distillation_has_no_term(scene) -> None:
    method = create_method("none", scene.student, None, max_steps=10)
    assert method(scene.output_of_student, None, scene.labels, 0) == {}
    assert not method.needs_teacher
    assert list(method.state_dict()) == []


@every_method
def test_trains_a_step_under_autocast(name) -> None:
    student, teacher = network(), network(16).eval().requires_grad_(False)
    method = create_method(name, student, teacher, max_steps=10)
    images, labels = torch.rand(2, 3, 32, 32), torch.randint(CLASSES, (2, 32, 32))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        terms = method(student(images), teacher(images), labels, step=9, images=images)
    assert list(terms) == TERMS.get(name, [name])
    for term in terms.values():
        assert term.shape == ()
        assert term.dtype == torch.float32
        assert term.isfinite()
    if terms:
        sum(terms.values()).backward()
        gradients = [
            p.grad for part in (student.encoder, student.head) for p in part.parameters() if p.grad is not None
        ]
        assert gradients
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients)


@distilling
def test_half_precision_outside_of_autocast(scene, name) -> None:
    method = METHODS[name](scene.student, scene.teacher, max_steps=2)
    for output in (scene.output_of_student, scene.taught):
        output.logits.data, output.features.data = output.logits.bfloat16(), output.features.bfloat16()
    for term in scene.terms(method, step=1).values():
        assert term.dtype == torch.float32
        assert term.isfinite()


@distilling
def test_no_gradient_into_the_teacher(scene, name) -> None:
    method = METHODS[name](scene.student, scene.teacher, max_steps=2)
    output, taught = scene.output_of_student, scene.taught
    for maps in (output.logits, output.features, taught.logits, taught.features):
        maps.requires_grad_()
    sum(scene.terms(method, step=1).values()).backward()
    assert any(maps.grad is not None and maps.grad.any() for maps in (output.logits, output.features))
    assert taught.logits.grad is None
    assert taught.features.grad is None


class Foreign(nn.Module):
    """A network that fakd did not build."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, stride=4, padding=1)
        self.drop = nn.Dropout2d(0.3)
        self.last = nn.Conv2d(6, CLASSES, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": F.interpolate(self.last(self.drop(self.body(images).relu())), scale_factor=4)}


@distilling
def test_foreign_networks_in_five_lines(name) -> None:
    images, labels = torch.rand(2, 3, 32, 32), torch.randint(CLASSES, (2, 32, 32))
    network, teacher = Foreign(), ClassifierTap(Foreign(), num_classes=CLASSES).eval()
    student = ClassifierTap(network, num_classes=CLASSES)
    method = METHODS[name](student, teacher, max_steps=100)
    with torch.no_grad():
        taught = teacher(images)
    sum(method(student(images), taught, labels, step=99, images=images).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.body.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert [key for key in method.state_dict() if "last" in key or "model" in key] == []


def test_unknown_method_and_option_name_those_that_exist(scene) -> None:
    with pytest.raises(ValueError, match=f"there is no method 'kd'; the methods are {', '.join(METHODS)}"):
        create_method("kd", scene.student, scene.teacher, max_steps=1)
    with pytest.raises(
        ValueError, match="'cwd' has no option 'strength'; its options are weight, temperature, augment_logits"
    ):
        create_method("cwd", scene.student, scene.teacher, max_steps=1, options={"strength": 1, "weight": 1})
    with pytest.raises(ValueError, match="'none' has no option 'weight'; it has none"):
        create_method("none", scene.student, None, max_steps=1, options={"weight": 1})
    assert list(method_options("fakd"))[:4] == ["weight", "temperature", "strength", "reference"]


@distilling
def test_weights_of_every_method_are_checked_at_once(scene, name) -> None:
    weights = [option for option in method_options(name) if option.endswith("weight")]
    assert weights
    for option in weights:
        with pytest.raises(ValueError, match=f"{option} must be a number, 0 or more, got -1"):
            create_method(name, scene.student, scene.teacher, max_steps=1, options={option: -1})


@pytest.mark.parametrize("name", ["pixel", "cwd", "skds", "ifvd", "cirkd"])
@pytest.mark.parametrize("value", [-1, float("inf"), "much"])
def test_strength_of_moved_logits_is_checked_at_once(scene, name, value) -> None:
    with pytest.raises(ValueError, match=f"augment_logits must be a number, 0 or more, got {value!r}"):
        create_method(name, scene.student, scene.teacher, max_steps=1, options={"augment_logits": value})


@pytest.mark.parametrize("name", ["pixel", "cwd", "fakd", "fakd-pixel"])
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("weight", -1, "weight must be a number, 0 or more, got -1"),
        ("weight", "much", "weight must be a number.*'much'"),
        ("temperature", 0, "temperature must be a number above 0, got 0"),
        ("temperature", float("nan"), "temperature must be a number above 0, got nan"),
    ],
)
def test_numbers_are_checked_at_once(scene, name, option, value, message) -> None:
    with pytest.raises(ValueError, match=message):
        create_method(name, scene.student, scene.teacher, max_steps=1, options={option: value})


@pytest.mark.parametrize("kind", [FAKD, FAKDPixel])
@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("strength", -0.5, "strength must be a number, 0 or more, got -0.5"),
        ("reference", "own", "reference must be one of none, label, got 'own'"),
        ("bound", "loose", "bound must be one of paper, tight, got 'loose'"),
        ("covariance", "block", "covariance must be one of diagonal, full, got 'block'"),
        ("schedule", "poly", "schedule must be one of cosine, linear, constant, got 'poly'"),
        ("window", 0, "window must be"),
        ("window", 2.5, "window must be"),
        ("detach_classifier", "no", "detach_classifier must be true or false, got 'no'"),
    ],
)
def test_options_of_fakd_are_checked_at_once(scene, kind, option, value, message) -> None:
    with pytest.raises(ValueError, match=message):
        kind(scene.student, scene.teacher, max_steps=1, **{option: value})


@pytest.mark.parametrize("kind", [kind for name, kind in METHODS.items() if name != "none"])
def test_networks_must_fit(scene, kind) -> None:
    with pytest.raises(ValueError, match="the student has 5, the teacher 7"):
        kind(scene.student, network(classes=7), max_steps=1)
    with pytest.raises(ValueError, match=f"{kind.__name__} needs a teacher, got None"):
        kind(scene.student, None, max_steps=1)
    with pytest.raises(ValueError, match="max_steps must be 1 or more, got 0"):
        kind(scene.student, scene.teacher, max_steps=0)


class Scoring(nn.Module):
    """Scores pixels, and has neither features nor a classifier."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.num_classes = classes


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if kind.needs == "logits"])
def test_a_teacher_that_only_scores_teaches_as_one_with_features(scene, name) -> None:
    expected = scene.terms(create_method(name, scene.student, scene.teacher, max_steps=4), step=2)
    scene.taught = SegmentationOutput(scene.taught.logits, scene.taught.logits[:, :0])
    terms = scene.terms(create_method(name, scene.student, Scoring(CLASSES), max_steps=4), step=2)
    assert {key: float(term) for key, term in terms.items()} == {key: float(term) for key, term in expected.items()}
    with pytest.raises(ValueError, match=f"the student has {CLASSES}, the teacher 3"):
        create_method(name, scene.student, Scoring(3), max_steps=4)


@pytest.mark.parametrize("name", [name for name, kind in METHODS.items() if kind.needs == "features"])
def test_a_method_that_needs_features_refuses_a_teacher_that_only_scores(scene, name) -> None:
    with pytest.raises(ValueError, match=r"learns from a teacher's features, and this Scoring gives scores alone"):
        create_method(name, scene.student, Scoring(CLASSES), max_steps=4)
