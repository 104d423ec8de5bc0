"""What a run's numbers depend on beside its options: the versions of the libraries, and the machine."""

import os
import platform
from importlib.metadata import version

import torch

_LIBRARIES = ("fakd", "torch", "torchvision", "timm", "lightning", "torchmetrics")


def installed_versions() -> dict[str, str]:
    """Each by its name."""
    versions = {name: version(name) for name in _LIBRARIES}
    versions["python"] = platform.python_version()
    versions["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    if torch.cuda.is_available():
        versions["gpu"] = torch.cuda.get_device_name()
    return versions
