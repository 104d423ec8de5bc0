"""The paper's four pairs, distilled for two steps from checkpoints of MMSegmentation's form."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from fakd.cli import main
from fakd.data import get_dataset
from fakd.models import PRESETS, create_model, load_model, save_mmseg
from fakd.training import DistillConfig, distill


@pytest.mark.slow
@pytest.mark.parametrize(
    ("teacher", "student"),
    [
        ("pspnet-r101", "pspnet-r18"),
        ("hrnet-w48", "hrnet-w18s"),
        ("deeplabv3plus-r101", "deeplabv3plus-mv2"),
        ("isanet-r101", "isanet-r18"),
    ],
)
def test_pair(teacher: str, student: str, distill_config: Callable[..., DistillConfig], tmp_path: Path) -> None:
    classes = get_dataset("toy-scenes").num_classes
    checkpoint = tmp_path / "teacher.pth"
    save_mmseg(create_model(teacher, num_classes=classes), checkpoint)
    config = distill_config(
        teacher=str(checkpoint), student=student, head_channels=None, max_steps=2, eval_every=2, checkpoint_every=2
    )
    results = distill(config)
    assert results is not None
    assert results["steps"] == 2

    file = config.output / "student.safetensors"
    model, _ = load_model(file)
    assert (model.config.head, model.config.channels) == (PRESETS[student]["head"], PRESETS[student]["channels"])
    weights = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    assert weights <= file.stat().st_size < 1.05 * weights + 300_000
    # with momentum twice the student, and FAKD's covariance; but not the teacher
    assert (config.output / "checkpoints" / "last.ckpt").stat().st_size < 2.5 * weights

    target = tmp_path / "student.pth"
    assert main(["convert", str(config.output), str(target), "--to", "mmseg"]) == 0
    state = torch.load(target, weights_only=True)["state_dict"]
    assert torch.equal(state["decode_head.conv_seg.weight"], model.classifier.weight)
