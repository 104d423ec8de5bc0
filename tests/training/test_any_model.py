"""Networks of other libraries as teachers and students of the real commands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from steps import Crash, crash_at

from fakd.cli import main
from fakd.commands.compare import CompareConfig
from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.commands.inspect import InspectConfig, inspect_networks
from fakd.data.sets.toy_scenes import TOY_SCENES
from fakd.models import ForeignSegmentor, load_model
from fakd.training import DistillConfig, TrainConfig, distill, train
from fakd.training.teacher import load_teacher

OURS = list(TOY_SCENES.classes)
THEIRS = ["lorry", "bus", *OURS[1:], "dog"]
"""A teacher's classes: two for our first, and one that we have not."""
SMALL: dict[str, Any] = {"head_channels": None, "crop_size": (64, 64)}


@pytest.fixture(scope="module")
def teachers(tmp_path_factory: pytest.TempPathFactory) -> Callable[[list[str]], str]:
    """Networks as transformers saves them, by the names of their classes."""
    import transformers

    root = tmp_path_factory.mktemp("teachers")

    def saved(names: list[str]) -> str:
        place = root / f"segformer-{len(names)}"
        if not place.is_dir():
            config = transformers.SegformerConfig(
                id2label=dict(enumerate(names)),
                label2id={name: index for index, name in enumerate(names)},
                hidden_sizes=[8, 16, 24, 32],
                depths=[1, 1, 1, 1],
                decoder_hidden_size=16,
                num_attention_heads=[1, 1, 2, 2],
            )
            transformers.SegformerForSemanticSegmentation(config).save_pretrained(place)
        return f"hf:{place}"

    return saved


def test_a_student_of_torchvision_from_training_to_masks(
    train_config: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = train_config(network="torchvision:lraspp_mobilenet_v3_large", **SMALL)
    results = train(config)
    assert results is not None
    model, notes = load_model(tmp_path / "run")
    assert isinstance(model, ForeignSegmentor)
    assert json.loads(notes["classes"]) == OURS
    assert evaluate(EvaluateConfig(str(tmp_path / "run"), workers=0, device="cpu"))["mIoU"] == results["mIoU"]
    Image.new("RGB", (61, 47), (90, 120, 30)).save(tmp_path / "image.png")
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "image.png"), str(tmp_path / "masks")]) == 0
    with Image.open(next((tmp_path / "masks" / "labels").glob("*.png"))) as mask:
        assert mask.size == (61, 47)


def test_stopped_and_resumed_it_ends_the_same(
    distill_config: Callable[..., DistillConfig],
    teachers: Callable[[list[str]], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A Unet, whose 3x3 classifier gives FAKD's covariance nine times the channels."""
    options = {"teacher": teachers(OURS), "student": "smp:unet/mobilenet_v2", "max_steps": 3, **SMALL}
    assert distill(distill_config(**options, output=tmp_path / "whole")) is not None
    crash_at(monkeypatch, 2)
    with pytest.raises(Crash):
        distill(distill_config(**options, output=tmp_path / "parts"))
    assert distill(distill_config(**options, output=tmp_path / "parts", resume=True)) is not None
    assert len(list((tmp_path / "parts/logs/csv").iterdir())) == 2  # started twice
    checkpoints = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("parts", "whole")
    ]
    assert all(torch.equal(checkpoints[0][key], checkpoints[1][key]) for key in checkpoints[1])
    assert checkpoints[0]["method.augmentation.covariance.covariance"].shape == (len(OURS), 16 * 9)


@pytest.mark.parametrize("method", ["ifvd", "cirkd"])
def test_methods_on_features_between_libraries(
    distill_config: Callable[..., DistillConfig], teachers: Callable[[list[str]], str], method: str
) -> None:
    options = {"student": "smp:deeplabv3plus/mobilenet_v2", "method": method, "max_steps": 1, **SMALL}
    assert distill(distill_config(teacher=teachers(OURS), **options)) is not None


def write_map(path: Path, **changes: str | None) -> Path:
    path.write_text(yaml.safe_dump({"lorry": OURS[0], "bus": OURS[0], "dog": None, **changes}))
    return path


def test_class_map_for_a_live_and_for_a_cached_teacher(
    distill_config: Callable[..., DistillConfig],
    teachers: Callable[[list[str]], str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options: dict[str, Any] = {
        **SMALL,
        "teacher": teachers(THEIRS),
        "head_channels": 8,
        "method": "cwd",
        "max_steps": 1,
        "class_map": write_map(tmp_path / "map.yaml"),
    }
    live = distill(distill_config(**options, output=tmp_path / "live"))
    cache = {"teacher_cache": tmp_path / "cache", "teacher_cache_format": "float16"}
    cached = distill(distill_config(**options, **cache, output=tmp_path / "cached"))
    assert f"the teacher's {len(THEIRS)} become {len(OURS)}, 1 of them dropped" in capsys.readouterr().out
    assert live is not None
    assert cached is not None
    assert live["teacher"] == cached["teacher"]
    assert list(live["teacher"]["IoU"]) == OURS

    # another map is another teacher: its logits are not those that are kept
    before = len(list((tmp_path / "cache").iterdir()))
    write_map(tmp_path / "map.yaml", dog=OURS[1])
    distill(distill_config(**options, **cache, output=tmp_path / "other"))
    assert len(list((tmp_path / "cache").iterdir())) > before


def test_other_classes_without_a_map_are_refused(
    distill_config: Callable[..., DistillConfig], teachers: Callable[[list[str]], str], tmp_path: Path
) -> None:
    teacher = teachers(THEIRS)
    with pytest.raises(ValueError, match=rf"scores {len(THEIRS)} classes, but toy-scenes has .*--class-map"):
        distill(distill_config(teacher=teacher))
    (tmp_path / "short.yaml").write_text(f"lorry: {OURS[0]}\ndog: null\n")
    with pytest.raises(ValueError, match="nothing is said of the teacher's classes bus"):
        distill(distill_config(teacher=teacher, class_map=tmp_path / "short.yaml"))
    (tmp_path / "names.txt").write_text("\n".join(OURS))
    with pytest.raises(ValueError, match=rf"names.txt has {len(OURS)} names of classes, but .* scores {len(THEIRS)}"):
        distill(distill_config(teacher=teacher, teacher_classes=tmp_path / "names.txt"))
    with pytest.raises(ValueError, match="scores 21 classes, but toy-scenes has 12"):  # before it is downloaded
        distill_config(teacher="torchvision:deeplabv3_resnet101")


def test_names_of_the_teacher_s_classes_from_a_file(
    distill_config: Callable[..., DistillConfig], teachers: Callable[[list[str]], str], tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("\n".join(f"their {name}" for name in THEIRS))
    words = {f"their {name}": name if name in OURS else None for name in THEIRS}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(words | {"their bus": OURS[0]}))
    files = {"class_map": tmp_path / "map.yaml", "teacher_classes": tmp_path / "names.txt"}
    assert distill(distill_config(teacher=teachers(THEIRS), method="pixel", max_steps=1, **files)) is not None


def test_inspect(teachers: Callable[[list[str]], str], capsys: pytest.CaptureFixture[str]) -> None:
    config = InspectConfig("smp:unet/mobilenet_v2", teacher=teachers(OURS), crop_size=(64, 64), batch_size=2)
    costs = inspect_networks(config)
    out = capsys.readouterr().out
    assert costs["student"]["stride"] == 1
    assert costs["teacher"]["stride"] == 4
    assert "the teacher's resized to them" in out
    assert "3x3, 16 -> 12" in out


def test_run_folders_have_plain_names() -> None:
    config = TrainConfig(network="smp:unet/mobilenet_v2")
    assert config.output == Path("runs/toy-scenes/smp-unet-mobilenet_v2-seed0")


def test_a_grid_hands_the_class_map_to_its_runs(tmp_path: Path) -> None:
    config = CompareConfig(
        teacher=f"hf:{tmp_path}",
        students="smp:unet/mobilenet_v2,torchvision:fcn_resnet50",
        methods="none,fakd",
        seeds=1,
        class_map=tmp_path / "map.yaml",
        output=tmp_path / "grid",
    )
    planned = config.plan_runs(config.arms(), {})
    assert {run.config.class_map for run in planned.values()} == {tmp_path / "map.yaml"}
    assert ("smp-unet-mobilenet_v2/fakd", 0) in planned


@pytest.mark.parametrize(("base_size", "said"), [((48, 72), False), ((96, 144), True), ((24, 36), True)])
def test_a_teacher_that_knows_another_scale_is_named(
    distill_config: Callable[..., DistillConfig],
    capsys: pytest.CaptureFixture[str],
    base_size: tuple[int, int],
    said: bool,
) -> None:
    config = distill_config(base_size=base_size)
    load_teacher(config.teacher, config)
    assert ("--base-size 48,72 is the scale it knows" in " ".join(capsys.readouterr().out.split())) == said
