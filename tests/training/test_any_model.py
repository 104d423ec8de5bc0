"""Networks of other libraries as teachers and students of the real commands."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fakd.data.toy_scenes import TOY_SCENES
from fakd.evaluation.commands import EvaluateConfig, evaluate
from fakd.models import ForeignSegmentor, load_model
from fakd.training import DistillConfig, TrainConfig, distill, train

CLASSES = len(TOY_SCENES.classes)
SMALL = {"head_channels": None, "crop_size": (64, 64)}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where networks with random weights are kept."""
    return tmp_path_factory.mktemp("networks")


def segformer(folder: Path, names: list[str]) -> str:
    """A trained network as transformers saves it."""
    import transformers

    place = folder / f"segformer-{len(names)}"
    if not place.is_dir():
        torch.manual_seed(1)
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


def test_train_and_resume_a_student_of_another_library(train_config: Callable[..., TrainConfig]) -> None:
    results = train(train_config(network="torchvision:lraspp_mobilenet_v3_large", **SMALL))
    assert results is not None
    folder = train_config(**SMALL).output
    model, notes = load_model(folder)
    assert isinstance(model, ForeignSegmentor)
    assert json.loads(notes["classes"]) == list(TOY_SCENES.classes)
    assert evaluate(EvaluateConfig(str(folder), workers=0, device="cpu"))["mIoU"] == pytest.approx(results["mIoU"])


@pytest.mark.parametrize("method", ["fakd", "ifvd", "cirkd"])
def test_distil_between_libraries(distill_config: Callable[..., DistillConfig], folder: Path, method: str) -> None:
    teacher = segformer(folder, list(TOY_SCENES.classes))
    results = distill(distill_config(teacher=teacher, student="smp:unet/mobilenet_v2", method=method, **SMALL))
    assert results is not None
    assert results["steps"] == 4


def test_our_teacher_and_its_cache_teach_a_student_of_another_library(
    distill_config: Callable[..., DistillConfig], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"student": "smp:segformer/mit_b0", "teacher_cache": tmp_path / "cache", **SMALL}
    assert distill(distill_config(**options)) is not None
