"""SKDS: its three terms, their weights, and what is built of it."""

import pytest
import torch
from method_scene import CLASSES, Scene, network
from torch.testing import assert_close

from fakd.functional import pixel_kd
from fakd.functional.skds import pairwise_affinity
from fakd.methods.method import Method
from fakd.methods.skds import SKDS
from fakd.models import create_model
from fakd.types import SegmentationOutput

NAMES = ["pixel", "pairwise", "adversarial"]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def terms(scene: Scene, method: Method, step: int = 0) -> dict[str, torch.Tensor]:
    return method(scene.output_of_student, scene.taught, scene.labels, step, images=scene.images)


def resized_features(scene: Scene) -> torch.Tensor:
    return torch.nn.functional.interpolate(scene.taught.features, size=(6, 8), mode="bilinear", align_corners=False)


def test_terms_are_weight_times_formula(scene) -> None:
    ours, method = scene.output_of_student, SKDS(scene.student, scene.teacher, max_steps=10).eval()
    found = terms(scene, method)
    assert list(found) == NAMES
    assert_close(found["pixel"], 10 * pixel_kd(ours.logits, scene.resized, temperature=1.0))
    assert_close(found["pairwise"], 0.5 * pairwise_affinity(ours.features, resized_features(scene), patch=2))
    assert_close(found["adversarial"], 0.1 * method.adversarial(ours.logits, scene.resized, scene.images, 0))
    method.pixel_weight, method.pairwise_weight, method.adversarial_weight = 20.0, 0.25, 0.3
    again = terms(scene, method)
    for name, factor in zip(NAMES, (2, 0.5, 3), strict=True):
        assert_close(again[name], factor * found[name])


def test_nodes_of_the_authors_code(scene) -> None:
    method = SKDS(scene.student, scene.teacher, max_steps=10, adversarial_weight=0, authors_nodes=True)
    features, taught = scene.output_of_student.features, resized_features(scene)
    nodes = [torch.stack([f[:, :, y : y + 3, x : x + 4].amax((2, 3)) for y in (0, 3) for x in (0, 4)], 2)
             for f in (features, taught)]  # fmt: skip
    ours, theirs = (n / n.norm(dim=1, keepdim=True) for n in nodes)
    expected = 0.5 * (ours.mT @ ours - theirs.mT @ theirs).square().mean()
    assert_close(terms(scene, method)["pairwise"], expected)
    scene.output_of_student = scene.output(2, 1, 1)
    assert terms(scene, method)["pairwise"].item() == pytest.approx(0, abs=1e-12)


def test_agreement_is_0(scene) -> None:
    method = SKDS(scene.student, scene.teacher, max_steps=10)
    scene.taught = scene.output_of_student
    assert [value.item() for value in terms(scene, method).values()] == pytest.approx([0, 0, 0], abs=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_part_of_weight_0_is_not_run(scene, name, monkeypatch) -> None:
    method = SKDS(scene.student, scene.teacher, max_steps=10, **{f"{name}_weight": 0})
    part = {"pixel": "pixel_kd", "pairwise": "pairwise_affinity", "adversarial": "AdversarialTerm"}[name]
    monkeypatch.setattr(f"fakd.methods.skds.{part}", None)
    assert list(terms(scene, method)) == [other for other in NAMES if other != name]


def test_without_its_weight_there_is_no_discriminator(scene) -> None:
    method = SKDS(scene.student, scene.teacher, max_steps=10, adversarial_weight=0)
    assert not list(method.parameters())
    assert not method.state_dict()
    assert method.watched == {}
    assert list(scene.terms(method)) == ["pixel", "pairwise"]  # and no need of images


def test_images_are_asked_for(scene) -> None:
    method = SKDS(scene.student, scene.teacher, max_steps=10)
    with pytest.raises(ValueError, match="looks at the images"):
        method(scene.output_of_student, scene.taught, scene.labels, 0)


@pytest.mark.parametrize("adversarial", ["hinge", "wgan-gp"])
def test_trains_a_step_under_autocast(adversarial) -> None:
    student = network()
    teacher = create_model("pspnet/test_resnet.r160_in1k", num_classes=CLASSES, channels=12, output_stride=16).eval()
    method = SKDS(student, teacher.requires_grad_(False), max_steps=10, adversarial=adversarial)
    images, labels = torch.rand(1, 3, 32, 32), torch.full((1, 32, 32), 255)
    student.eval()  # batch norm has nothing to average over a batch of one
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = method(student(images), teacher(images), labels, step=3, images=images)
    assert method.watched["discriminator"].isfinite()
    assert not method.watched["discriminator"].requires_grad
    for name in NAMES:
        student.zero_grad()
        found[name].backward(retain_graph=True)
        assert found[name].dtype == torch.float32
        gradients = [p.grad for p in student.encoder.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert any(gradient.any() for gradient in gradients)
        # pairs of features know nothing of the classifier
        assert (student.classifier.weight.grad is None) == (name == "pairwise")
    assert all(p.grad is None for p in (*method.parameters(), *teacher.parameters()))


def test_nothing_of_it_is_for_the_runs_optimizer(scene) -> None:
    method = SKDS(scene.student, scene.teacher, max_steps=10)
    terms(scene, method)
    assert list(method.parameters())
    assert not any(parameter.requires_grad for parameter in method.parameters())
    assert all(key.startswith("adversarial.") for key in method.state_dict())


@pytest.mark.parametrize("adversarial", ["hinge", "wgan-gp"])
def test_a_resumed_run_continues_exactly(scene, adversarial, tmp_path) -> None:
    def run(method: Method, steps: range) -> list[torch.Tensor]:
        gradients = []
        for step in steps:
            torch.manual_seed(step)
            scene.output_of_student, scene.taught = scene.output(2, 6, 8), scene.output(2, 3, 4)
            logits, features = (tensor.requires_grad_() for tensor in scene.output_of_student[:2])
            scene.output_of_student = SegmentationOutput(logits, features)
            torch.stack(list(terms(scene, method, step).values())).sum().backward()
            gradients += [logits.grad, features.grad]
        return gradients

    def make(seed: int) -> SKDS:
        torch.manual_seed(seed)
        return SKDS(scene.student, scene.teacher, max_steps=6, adversarial=adversarial)

    straight, first, second = make(0), make(0), make(1)
    expected = run(straight, range(6))
    run(first, range(3))
    torch.save(first.state_dict(), tmp_path / "method.pt")
    second.load_state_dict(torch.load(tmp_path / "method.pt", weights_only=True))
    found = run(second, range(3, 6))
    assert all(torch.equal(one, other) for one, other in zip(found, expected[6:], strict=True))
    for one, other in zip(second.parameters(), straight.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("pixel_weight", -1, "pixel_weight must be a number, 0 or more, got -1"),
        ("pairwise_weight", "much", "pairwise_weight must be a number.*'much'"),
        ("adversarial_weight", float("nan"), "adversarial_weight must be a number, 0 or more, got nan"),
        ("adversarial", "gan", "one of hinge, wgan-gp, got 'gan'"),
        ("discriminator_learning_rate", 0, "learning rate must be a number above 0, got 0"),
        ("authors_nodes", "no", "authors_nodes must be true or false, got 'no'"),
    ],
)
def test_options_are_checked_at_once(scene, option, value, message) -> None:
    with pytest.raises(ValueError, match=message):
        SKDS(scene.student, scene.teacher, max_steps=1, **{option: value})


def test_networks_must_fit(scene) -> None:
    with pytest.raises(ValueError, match="the student has 5, the teacher 7"):
        SKDS(scene.student, network(classes=7), max_steps=1)
