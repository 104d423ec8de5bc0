"""CIRKD: its terms, its state, and what it does where there is nothing to compare."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from method_scene import CLASSES, Scene, network
from torch import Tensor
from torch.testing import assert_close

from fakd.functional import pixel_kd
from fakd.functional.cirkd import cross_image_kd, memory_kd
from fakd.methods.cirkd import CIRKD
from fakd.models import create_model

WEIGHTS = {"pixel": 1.0, "cross_image": 1.0, "memory_pixel": 0.1, "memory_region": 0.1}


@pytest.fixture
def scene() -> Scene:
    torch.manual_seed(0)
    return Scene()


def make(scene: Scene, **options: Any) -> CIRKD:
    torch.manual_seed(1)
    return CIRKD(scene.student, scene.teacher, max_steps=10, **options)


def resized_features(scene: Scene) -> Tensor:
    return F.interpolate(scene.taught.features, size=(6, 8), mode="bilinear", align_corners=False)


def test_terms_are_weights_times_formulas(scene):
    method = make(scene, pixel_queue=30, region_queue=20, pixel_contrast=10**6, region_contrast=10**6)
    terms = scene.terms(method)
    assert list(terms) == list(WEIGHTS)
    output, teacher = scene.output_of_student, resized_features(scene)
    expected = {
        "pixel": pixel_kd(output.logits, scene.resized),
        "cross_image": cross_image_kd(output.features, teacher),
    }
    for name, queues in (("memory_pixel", method.pixels), ("memory_region", method.regions)):
        remembered = torch.cat([queues.vectors[c, : queues.filled[c]] for c in range(CLASSES)])
        assert len(remembered) >= CLASSES
        exist = torch.ones(len(remembered), dtype=torch.bool)
        projected = method.projector(output.features)
        expected[name] = memory_kd(projected, teacher, scene.small_labels, remembered, exist)
    for name, weight in WEIGHTS.items():
        assert expected[name] > 0.01
        assert_close(terms[name], weight * expected[name])
    doubled = scene.terms(make(scene, **{f"{name}_weight": 2 * weight for name, weight in WEIGHTS.items()}))
    assert_close(doubled["pixel"], 2 * terms["pixel"])
    assert_close(doubled["cross_image"], 2 * terms["cross_image"])


def test_pooling_averages_before_cosines(scene):
    value = scene.terms(make(scene, pooling=4))["cross_image"]
    output, teacher = scene.output_of_student.features, resized_features(scene)

    def pooled(maps: Tensor) -> Tensor:  # rows 0-3 and 4-5, columns 0-3 and 4-7
        halves = [
            maps[:, :, rows, columns].mean((2, 3))
            for rows in (slice(4), slice(4, 6))
            for columns in (slice(4), slice(4, 8))
        ]
        return torch.stack(halves, 2).unflatten(2, (2, 2))

    assert_close(value, cross_image_kd(pooled(output), pooled(teacher)))


def test_drawn_anchors_are_those_not_ignored(scene, monkeypatch):
    drawn = {}

    def spy(name, function):
        def call(*arguments, rows, **options):
            drawn[name] = rows
            return function(*arguments, rows=rows, **options)

        monkeypatch.setattr(f"fakd.methods.cirkd.{name}", call)

    spy("cross_image_kd", cross_image_kd)
    spy("memory_kd", memory_kd)
    scene.labels[0] = 255
    scene.labels[1, :24] = 255
    terms = scene.terms(make(scene, anchors=6))
    assert all(term.isfinite() and term > 0 for term in terms.values())
    assert all(len(rows) == len(rows.unique()) == 12 for rows in drawn.values())
    small = scene.labels[:, 4::8, 4::8].flatten()
    eligible = (small != 255).nonzero().flatten()
    assert len(eligible) > 12
    assert set(drawn["memory_kd"].tolist()) <= set(eligible.tolist())
    assert drawn["cross_image_kd"].min() < 48  # of the ignored image too
    for anchors in (48, 10**6, None):
        scene.terms(make(scene, anchors=anchors))
        assert drawn == {"cross_image_kd": None, "memory_kd": None}


@pytest.mark.parametrize("off", WEIGHTS)
def test_a_part_of_weight_0_is_neither_built_nor_run(scene, off):
    method = make(scene, **{f"{off}_weight": 0.0})
    assert list(scene.terms(method)) == [name for name in WEIGHTS if name != off]
    assert (method.pixels is None) is (off == "memory_pixel")
    assert (method.regions is None) is (off == "memory_region")
    bare = make(scene, memory_pixel_weight=0, memory_region_weight=0)
    assert list(bare.state_dict()) == []
    assert bare.notes == ()


def test_queues_follow_training_batches_only(scene):
    method = make(scene).eval()
    terms = scene.terms(method)
    assert terms["memory_pixel"] == terms["memory_region"] == 0  # nothing is remembered yet
    assert not method.pixels.filled.any()
    scene.terms(method.train())
    held = method.pixels.filled.clone()
    assert held.tolist() == [
        sum(min(16, int((image == c).sum())) for image in scene.small_labels) for c in range(CLASSES)
    ]
    scene.terms(method.eval())
    assert torch.equal(method.pixels.filled, held)


def learn(scene: Scene, method: CIRKD) -> Tensor:
    output = scene.output_of_student
    output.features.requires_grad_()
    output.logits.requires_grad_()
    scene.taught.features.requires_grad_()
    loss = torch.stack(list(scene.terms(method).values())).sum()
    loss.backward()
    assert scene.taught.features.grad is None
    assert output.features.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())
    return loss


def test_learns_through_features_and_projector(scene):
    method = make(scene)
    assert learn(scene, method) > 0
    assert scene.output_of_student.features.grad.any()
    assert all(p.grad.any() for p in method.parameters())


def test_a_batch_without_labels_enqueues_nothing(scene):
    scene.labels[:] = 255
    method = make(scene)
    assert learn(scene, method).isfinite()
    assert not method.pixels.filled.any()
    assert not method.regions.filled.any()
    terms = scene.terms(method)
    assert terms["memory_pixel"] == terms["memory_region"] == 0


def test_a_batch_of_one_and_a_class_with_one_pixel(scene):
    scene.labels = torch.full((1, 48, 64), 255)
    scene.labels[0, :8, :8], scene.labels[0, 8:] = 3, 1
    scene.taught, scene.output_of_student = scene.output(1, 3, 4), scene.output(1, 6, 8)
    method = make(scene)
    assert learn(scene, method) > 0
    assert method.pixels.filled.tolist() == [0, 16, 0, 1, 0]
    assert method.regions.filled.tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("authors_queue", [False, True])
def test_teacher_of_other_channels_and_stride_under_autocast(authors_queue):
    torch.manual_seed(0)
    student = network(8)
    teacher = create_model("pspnet/test_resnet.r160_in1k", num_classes=CLASSES, channels=12, output_stride=16).eval()
    method = CIRKD(student, teacher, max_steps=10, authors_queue=authors_queue, bank_dtype="float16", anchors=10)
    images, labels = torch.rand(2, 3, 48, 64), torch.randint(CLASSES, (2, 48, 64))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        taught = teacher(images)
    with torch.autocast("cpu", torch.bfloat16):
        terms = method(student(images), taught, labels, 0)
    assert all(term.dtype == torch.float32 and term.isfinite() and term > 0 for term in terms.values())
    torch.stack(list(terms.values())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in student.head.parameters())
    assert method.pixels.vectors.shape == (CLASSES, 20_000, 12)
    assert method.notes[0].endswith("takes the student's 8 feature channels to the teacher's 12.")


def test_resumed_steps_equal_uninterrupted_ones(tmp_path):
    torch.manual_seed(0)
    scenes = [Scene() for _ in range(6)]

    def build() -> tuple[CIRKD, torch.optim.Optimizer]:
        method = make(scenes[0], pixel_queue=40, region_queue=5, pixel_contrast=50, anchors=20)
        return method, torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9)

    def run(method: CIRKD, optimizer: torch.optim.Optimizer, steps: range) -> list[dict[str, Tensor]]:
        seen = []
        for step in steps:
            torch.manual_seed(100 + step)
            terms = scenes[step].terms(method, step)
            optimizer.zero_grad()
            torch.stack(list(terms.values())).sum().backward()
            optimizer.step()
            seen.append({name: term.detach() for name, term in terms.items()})
        return seen

    whole, whole_optimizer = build()
    expected = run(whole, whole_optimizer, range(6))
    first, first_optimizer = build()
    run(first, first_optimizer, range(3))
    torch.save({"method": first.state_dict(), "optimizer": first_optimizer.state_dict()}, tmp_path / "last.pt")
    second, second_optimizer = build()
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    second.load_state_dict(saved["method"])
    second_optimizer.load_state_dict(saved["optimizer"])
    assert_close(run(second, second_optimizer, range(3, 6)), expected[3:], rtol=0, atol=0)
    assert_close(second.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert (whole.regions.filled == 5).any()  # they went round


def test_queues_are_shortened_to_the_limit_and_say_so(scene):
    full = make(scene)
    assert (full.pixels.size, full.regions.size) == (20_000, 2_000)
    assert "up to 20,000 pixels and 2,000 regions of each class: 4 MB" in full.notes[1]
    short = make(scene, bank_gigabytes=1e-3)  # of 5 * 22,000 * 8 * 4 bytes
    assert (short.pixels.size, short.regions.size) == (5_681, 568)
    assert "5,681 pixels and 568 regions of each class: 1 MB, in checkpoints too. At the length" in short.notes[1]
    half = make(scene, bank_gigabytes=1e-3, bank_dtype="float16")
    assert half.pixels.size == 11_363
    assert sum(b.nbytes for q in (half.pixels, half.regions) for b in [q.vectors]) <= 1e6
    assert make(scene, bank_gigabytes=1e-9).pixels.size == 1
    assert make(scene, bank_gigabytes=None).pixels.size == 20_000


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("pixel_weight", -1, "pixel_weight must be a number, 0 or more, got -1"),
        ("cross_image_weight", "x", "cross_image_weight must be a number"),
        ("temperature", 0, "temperature must be a number above 0, got 0"),
        ("anchors", 0, "anchors must be a whole number, 1 or more, got 0"),
        ("pooling", 1.5, "pooling must be a whole number, 1 or more, got 1.5"),
        ("pixel_queue", True, "pixel_queue must be a whole number, 1 or more, got True"),
        ("bank_gigabytes", 0, "bank_gigabytes must be a number above 0, got 0"),
        ("bank_dtype", "int8", "bank_dtype must be one of float32, float16, got 'int8'"),
        ("authors_queue", 1, "authors_queue must be true or false, got 1"),
    ],
)
def test_options_are_checked_at_once(scene, option, value, message):
    with pytest.raises(ValueError, match=message):
        make(scene, **{option: value})
