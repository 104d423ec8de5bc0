"""Write what a release leaves in a run folder, small enough for the repository: its weights become a pattern.

To be run where that release is installed, before its successor is written:
python tests/reliability/old_releases/write.py tests/reliability/old_releases/0.1.0
"""

import gzip
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from fakd.data import DATASETS
from fakd.data.sets.toy_scenes import TOY_SCENES, ToyScenes
from fakd.models import load_model, save_model
from fakd.training import DistillConfig, TrainConfig, distill, train

NETWORK = "pspnet/test_efficientnet.r160_in1k"
SETTINGS: dict[str, Any] = {
    "head_channels": 4,
    "aux_weight": 0.0,
    "max_steps": 4,
    "batch_size": 2,
    "crop_size": (32, 32),
    "workers": 0,
    "accelerator": "cpu",
    "checkpoint_every": 2,
}


def pattern(value: Any, name: str = "") -> Any:
    """The same nest of values with other numbers in its tensors of floats; they repeat, so that they compress."""
    if isinstance(value, dict):
        return {key: pattern(item, str(key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(pattern, value))
    if isinstance(value, Tensor) and value.is_floating_point():
        numbers = ((torch.arange(value.numel()) * 37 % 64) - 31.5) / 128
        return (numbers.abs() if name.endswith("running_var") else numbers).to(value).view_as(value)
    return value


def image() -> Tensor:
    """A picture to compare logits on."""
    return (torch.arange(3 * 32 * 32) * 31 % 97 / 97).view(1, 3, 32, 32)


def write(folder: Path) -> None:
    DATASETS["toy-scenes"] = replace(  # type: ignore[index]
        TOY_SCENES, base_size=(32, 48), open=lambda root, split: ToyScenes(split, count=4, size=(32, 48))
    )
    with tempfile.TemporaryDirectory() as name:
        teacher, run = Path(name) / "teacher", Path(name) / "run"
        train(TrainConfig(**SETTINGS, network=NETWORK, output=teacher))
        distill(
            DistillConfig(
                **SETTINGS, teacher=str(teacher), student=NETWORK, method="fakd", output=run, allow_bad_teacher=True
            )
        )
        folder.mkdir(parents=True, exist_ok=True)
        for kept in ("config.yaml", "versions.json"):
            shutil.copy(run / kept, folder / kept)
        text = (folder / "config.yaml").read_text().replace(name, "runs")
        (folder / "config.yaml").write_text(text)
        model, notes = load_model(run)
        model.load_state_dict(pattern(dict(model.state_dict())))
        save_model(model, run / "student.safetensors", notes)
        checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        torch.save(pattern(checkpoint), run / "checkpoints/last.ckpt")
        with torch.no_grad():
            (folder / "logits.safetensors").write_bytes(save({"logits": model.eval()(image()).logits}))
        for kept in ("student.safetensors", "checkpoints/last.ckpt"):
            packed = gzip.compress((run / kept).read_bytes(), mtime=0)
            (folder / f"{Path(kept).name}.gz").write_bytes(packed)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
