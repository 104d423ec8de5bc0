"""Teacher caches of tiny runs."""

import torch

from fakd.data.views import TaughtViews
from fakd.training import DistillConfig
from fakd.training.run_data import open_data
from fakd.training.teacher import load_teacher
from fakd.training.teacher_cache import TeacherCache

CPU = torch.device("cpu")


def opened(config: DistillConfig) -> TeacherCache:
    assert config.teacher_cache is not None
    return TeacherCache(config.teacher_cache, config, open_data(config), load_teacher(config.teacher, config))


def filled(config: DistillConfig) -> TaughtViews:
    return opened(config).complete(CPU, on_image=lambda: None)


def files(config: DistillConfig) -> dict[str, int]:
    """When each file of logits was written."""
    return {path.name: path.stat().st_mtime_ns for path in opened(config).folder.glob("*.safetensors")}
