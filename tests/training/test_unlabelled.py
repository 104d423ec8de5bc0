"""Images that nobody labelled, in training: what the losses see of them, and where they come from."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import steps
import torch
from folders import write_folder
from PIL import Image
from safetensors.torch import load_file
from tiny import NETWORK, SETTINGS

from fakd.cli import main, parse
from fakd.console import console
from fakd.data import DataError, get_dataset, read_image
from fakd.data.sets.toy_scenes import ToyScenes
from fakd.data.spec import Sample
from fakd.methods import create_method
from fakd.models import load_model
from fakd.training import DistillConfig, distill
from fakd.training.learner import Learner
from fakd.training.optimization import parts
from fakd.training.student import create_student
from fakd.training.teacher import load_teacher
from fakd.training.unlabelled import find_unlabelled, set_aside
from fakd.types import IGNORE_INDEX, UNLABELLED


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six photos that nobody labelled, one in a subfolder."""
    folder = tmp_path / "photos"
    source = ToyScenes("val", count=6, size=(48, 72), seed=5)
    for number in range(6):
        path = folder / ("deep/5.png" if number == 5 else f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source[number].image.permute(1, 2, 0).numpy()).save(path)
    return folder


@pytest.fixture
def learner(distill_config, photos) -> Callable[..., Learner]:
    def make(**changes: object) -> Learner:
        config = distill_config(**{"unlabelled": [str(photos)], "dataset": "toy-scenes", "dropout": 0.0, **changes})
        teacher = load_teacher(config.teacher, config).network
        student = create_student(config)
        method = create_method(config.method, student, teacher, max_steps=config.max_steps, options=config.options)
        return Learner(student, method, teacher, config).train()

    return make


def batch(labelled: int = 2, unlabelled: int = 2) -> Sample:
    scenes = ToyScenes("train", count=labelled + unlabelled, size=(48, 72))
    images = torch.stack([scenes[index].image for index in range(labelled + unlabelled)])
    labels = torch.stack([scenes[index].label for index in range(labelled + unlabelled)])
    labels[labelled:] = UNLABELLED
    labels[:, :5] = IGNORE_INDEX
    return Sample(images, labels, [""] * len(images))


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(0))
    return powers / powers.sum(0)


@pytest.mark.parametrize("confidence", [0.0, 0.3])
def test_the_covariance_is_of_labels_and_else_of_the_teachers_classes(learner, confidence) -> None:
    """In NumPy, position by position in float64."""
    module = learner(method="fakd", options={"confidence": confidence})
    seen = batch()
    found = {}
    module.student.register_forward_hook(lambda _module, _inputs, output: found.update(output=output))
    module(seen, 0)
    features, scores = (part.detach().double().numpy() for part in (found["output"].features, found["output"].logits))
    with torch.no_grad():
        teacher = module.teachers[0](seen.image / 255).logits.double().numpy()
    (height, width), (high, wide) = scores.shape[-2:], seen.label.shape[-2:]
    by_class: dict[int, list[np.ndarray]] = {}
    unsure = 0
    for image in range(4):
        for row in range(height):
            for column in range(width):
                label = int(seen.label[image, int((row + 0.5) * high / height), int((column + 0.5) * wide / width)])
                if label == UNLABELLED:
                    shares = softmax(teacher[image, :, row, column])
                    label = int(shares.argmax()) if shares.max() >= confidence else IGNORE_INDEX
                    unsure += label == IGNORE_INDEX
                if label != IGNORE_INDEX:
                    by_class.setdefault(label, []).append(features[image, :, row, column])
    estimate = module.method.augmentation.covariance
    assert len(by_class) > 2
    assert bool(unsure) == bool(confidence)
    for label in range(scores.shape[1]):
        vectors = np.array(by_class.get(label, np.zeros((0, features.shape[1]))))
        assert int(estimate.count[label]) == len(vectors)
        expected = vectors.var(0) if len(vectors) else np.zeros(features.shape[1])
        np.testing.assert_allclose(estimate.covariance[label].numpy(), expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("average", ["valid", "all"])
def test_cross_entropy_looks_at_labelled_images_alone(learner, average) -> None:
    """The value is that of their logits; it does not change, and has no gradient, with the others'."""
    module = learner(method="cwd", ce_average=average).eval()
    seen = batch()
    terms = module(seen, 0)
    with torch.no_grad():
        logits = module.student(seen.image / 255).logits[:2]
    scores = torch.nn.functional.interpolate(logits, size=(48, 72), mode="bilinear")
    labels = seen.label[:2].long()
    total = torch.nn.functional.cross_entropy(scores, labels, ignore_index=IGNORE_INDEX, reduction="sum")
    torch.testing.assert_close(terms["ce"], total / ((labels != 255).sum() if average == "valid" else labels.numel()))

    other = seen.image.clone()
    other[2:] = 255 - other[2:]
    changed = module(seen._replace(image=other), 0)
    assert changed["ce"] == terms["ce"]
    assert changed["cwd"] != terms["cwd"]


def test_the_method_sees_classes_and_no_other_number(learner) -> None:
    module = learner(method="fakd-pixel", options={"confidence": 1.0})
    labels = []
    module.method.register_forward_pre_hook(lambda _module, inputs: labels.append(inputs[2]))
    module(batch(), 0)
    assert set(labels[0][2:].unique().tolist()) <= {*range(12), IGNORE_INDEX}
    assert labels[0][:2].equal(batch().label[:2].long())


def weights(config: DistillConfig) -> dict[str, torch.Tensor]:
    assert config.output is not None
    return load_file(config.output / "student.safetensors")


@pytest.mark.parametrize("cached", [False, True])
def test_a_run_that_is_stopped_ends_with_the_same_bits(distill_config, photos, tmp_path, monkeypatch, cached) -> None:
    cache = {"teacher_cache": tmp_path / "cache"} if cached else {}
    common = {"dataset": "toy-scenes", "unlabelled": [str(photos)], "unlabelled_batch": 3, "dropout": 0.5, **cache}
    whole = distill_config(**common, output=tmp_path / "whole")
    distill(whole)
    steps.crash_at(monkeypatch, 3)
    stopped = distill_config(**common, output=tmp_path / "stopped")
    with pytest.raises(steps.Crash):
        distill(stopped)
    distill(distill_config(**common, output=tmp_path / "stopped", resume=True))
    ours, theirs = weights(whole), weights(stopped)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    plain = distill_config(**cache, output=tmp_path / "plain", dropout=0.5)
    distill(plain)
    assert not all(torch.equal(ours[name], value) for name, value in weights(plain).items())


def test_the_cache_holds_what_the_run_shows_of_either_part(cached_config, photos, written) -> None:
    """4 steps of 2 of the 8 labelled are one epoch; of 6 of the 6 unlabelled, four."""
    config = cached_config(dataset="toy-scenes", unlabelled=[str(photos)], unlabelled_batch=6)
    distill(config)
    assert sorted(index for _, index in written) == sorted([*range(8), *[*range(8, 14)] * 4])


def test_photos_added_meanwhile_are_refused(distill_config, photos, tmp_path) -> None:
    common = {"dataset": "toy-scenes", "unlabelled": [str(photos)]}
    distill(distill_config(**common))
    (tmp_path / "run/results.json").unlink()
    Image.new("RGB", (72, 48)).save(photos / "new.png")
    with pytest.raises(ValueError, match="changed since it was begun: without labels had 6 images and has 7"):
        distill(distill_config(**common, resume=True))


def test_two_commands_without_any_label(teacher_run, photos, tmp_path, few_scenes, capsys) -> None:
    """A teacher, photos, and a student: then masks of it."""
    run, options = tmp_path / "run", []
    for name, value in SETTINGS.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        options += [f"--{name.replace('_', '-')}", text]
    words = ["distill", "--teacher", str(teacher_run), "--unlabelled", str(photos), "--student", NETWORK]
    with console.capture() as said:
        assert main([*words, "--output", str(run), *options]) == 0
    assert "5 unlabelled images, 12 classes" in said.get().replace("1 val, ", "")
    assert "agreement with the teacher" in said.get()
    assert "mIoU" not in said.get()
    results = json.loads((run / "results.json").read_text())
    assert results["scored_against"] == "teacher"
    assert results["teacher"]["mIoU"] == 100
    assert 0 <= results["mIoU"] < 100
    for command in (["report", str(run)], ["share", str(run), str(tmp_path / "shared")], ["analyze", str(run)]):
        with console.capture():
            assert main(command) == 1
        assert "scored on its agreement with the teacher, and not on labels" in capsys.readouterr().err
    assert main(["predict", str(run), str(photos), str(tmp_path / "masks"), "--workers", "0"]) == 0
    assert len(list((tmp_path / "masks/labels").rglob("*.png"))) == 6


@pytest.mark.parametrize("cached", [False, True])
def test_agreement_is_with_the_argmax_of_the_teacher(distill_config, photos, teacher_run, tmp_path, cached) -> None:
    cache = {"teacher_cache": tmp_path / "cache"} if cached else {}
    config = distill_config(unlabelled=str(photos), method="cwd", val_share=0.5, init=teacher_run, **cache)
    assert (config.dataset, config.base_size, config.crop_size) == ("unlabelled", (48, 72), (32, 32))
    results = distill(config)
    counts = np.zeros((12, 12))
    _, val = set_aside(find_unlabelled([str(photos)]), 0.5)
    for path, _ in val:
        image = read_image(path)[None] / 255
        student, teacher = (masks(load_model(run)[0], image) for run in (tmp_path / "run", teacher_run))
        np.add.at(counts, (teacher, student), 1)
    right, either = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    assert results["mIoU"] == pytest.approx(100 * (right[either > 0] / either[either > 0]).mean(), abs=0.2)


@torch.no_grad()
def masks(network: torch.nn.Module, image: torch.Tensor) -> np.ndarray:
    logits = torch.nn.functional.interpolate(network(image).logits, size=(48, 72), mode="bilinear")
    return logits.argmax(1)[0].numpy()


def test_images_are_found_once_and_never_labelled_ones(photos, tmp_path) -> None:
    names = [name for _, name in find_unlabelled([str(photos)])]
    assert names == ["0", "1", "2", "3", "4", "deep/5"]
    listed = tmp_path / "photos/some.txt"
    listed.write_text("deep/5.png\n\n3.png\n")
    assert [name for _, name in find_unlabelled([str(listed)])] == ["deep/5", "3"]
    both = find_unlabelled([str(photos / "3.png"), str(photos), str(listed)])
    assert [name for _, name in both] == ["3", "0", "1", "2", "4", "deep/5"]


def test_nothing_of_the_data_set_is_taken_for_unlabelled(photos, tmp_path) -> None:
    """Neither an image to validate on nor a mask, where the folder that is named holds them too."""
    root = write_folder(tmp_path, ["a", "b"])
    (root / "val.txt").write_text("b\n")
    spec = get_dataset("folder", root)
    sources = [spec.open(root, split) for split in ("train", "val")]
    assert [name for _, name in find_unlabelled([str(root)], sources)] == [
        *(f"photos/{number}" for number in range(5)),
        "photos/deep/5",
    ]
    with pytest.raises(DataError, match=r"all 2 images of .*images are labelled: name others"):
        find_unlabelled([str(root / "images")], sources)


def test_several_places_on_the_command_line(photos, teacher_run) -> None:
    words = ["distill", "--unlabelled", "a", "b/c.txt", "--dataset", "toy-scenes", "--teacher", str(teacher_run)]
    assert parse(words)[1].unlabelled == ["a", "b/c.txt"]
    assert parse(words)[1].unlabelled_batch == 16


def test_an_image_that_comes_later_moves_no_other() -> None:
    found = [(Path(f"{number}.png"), str(number)) for number in range(200)]
    train, val = set_aside(found, 0.1)
    assert sorted([*train, *val]) == sorted(found)
    assert 8 <= len(val) <= 36
    more = [*found, *[(Path(f"x{number}.png"), f"x{number}") for number in range(50)]]
    assert set(val) <= set(set_aside(more, 0.1)[1])
    assert [len(part) for part in set_aside(found[:2], 0.01)] == [1, 1]
    assert [len(part) for part in set_aside(found[:2], 0.99)] == [1, 1]


def test_photos_alone_are_data_of_your_own(distill_config, photos) -> None:
    photos_alone = {"unlabelled": [str(photos)], "dataset": None, "max_steps": None, "batch_size": 2}
    config = distill_config(**photos_alone, learning_rate=None)
    assert (config.recipe, config.optimizer, config.class_weights) == ("own", "adamw", "none")
    assert config.max_steps == 500  # 60 passes over five photos would be 150
    # one of six is set aside; the crops of a step are two
    assert distill_config(**photos_alone, epochs=4).max_steps == 10


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "none"}, "method 'none' asks nothing of a teacher.*leave out --unlabelled, or choose one of pixel"),
        ({"method": "at"}, "method 'at' asks the teacher's features"),
        ({"unlabelled_batch": 0}, "unlabelled_batch must be 1 or more, got 0"),
        ({"devices": 2, "unlabelled_batch": 3}, "unlabelled_batch 3 does not divide by 2, devices times"),
        ({"val_share": 0.2}, "val_share is for images without labels alone"),
        ({"val_share": 1.0, "dataset": None}, "val_share must be above 0 and below 1, got 1.0"),
        ({"val_share": 0, "dataset": None}, "val_share must be above 0 and below 1, got 0"),
        ({"dataset": None, "data_root": "x"}, "x: no such folder, expected one with images/, masks/"),
        ({"unlabelled": None, "unlabelled_batch": 4}, "unlabelled_batch is for images without labels"),
        ({"batch_size": 4, "unlabelled_batch": 3, "accumulate": 2}, "unlabelled_batch 3 does not divide by 2"),
        ({"dataset": None, "loss": "ohem"}, "loss ohem is about labels, and no image has any"),
        ({"dataset": None, "class_weights": "sqrt"}, "class_weights sqrt is about labels, and no image has any"),
        ({"options": {"confidence": 2}}, "confidence must be a probability, 0 to 1, got 2"),
    ],
)
def test_what_does_not_go_together(distill_config, photos, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        distill(distill_config(**{"dataset": "toy-scenes", "unlabelled": [str(photos)], **changes}))


def test_images_that_are_not_there(distill_config, photos, tmp_path) -> None:
    def start(*given: object) -> None:
        distill(distill_config(dataset="toy-scenes", unlabelled=[*map(str, given)]))

    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no image at .*empty"):
        start(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"no list of images at .*none\.txt"):
        start(tmp_path / "none.txt")
    (tmp_path / "list.txt").write_text("photos/0.png\nphotos/9.png\n")
    with pytest.raises(
        FileNotFoundError, match=r"1 of 2 images are not there, as photos/9.png; expected paths as seen"
    ):
        start(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(DataError, match="the list is empty"):
        start(tmp_path / "list.txt")
    (photos / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"0\.png"):
        start(photos)
    with pytest.raises(DataError, match="1 image without a label, expected two or more"):
        distill(distill_config(unlabelled=[str(photos / "1.png")]))


def test_parts_of_a_step_have_their_share_of_either_kind(learner) -> None:
    """The mean of the parts' terms is the whole's, where every part has as many labelled pixels."""
    asked = learner(batch_size=4, unlabelled_batch=2, accumulate=2, method="cwd", ce_average="all").eval()
    whole = batch(4, 2)
    found = [asked(part, 0) for part in parts(whole, 2)]
    expected = asked(whole, 0)
    assert set(expected) == {"ce", "cwd"}
    for name, value in expected.items():
        torch.testing.assert_close((found[0][name] + found[1][name]) / 2, value)
