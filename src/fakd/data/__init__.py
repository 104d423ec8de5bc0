"""Data sets: descriptions, sources of labelled images, transforms and loaders."""

from fakd.data.camvid import CAMVID
from fakd.data.reading import read_image
from fakd.data.spec import DataError, DatasetSpec, Sample, Source
from fakd.data.toy_scenes import TOY_SCENES

DATASETS: dict[str, DatasetSpec] = {
    "camvid": CAMVID,
    "toy-scenes": TOY_SCENES,
}
"""Every data set by the name that configurations use."""

__all__ = ["DATASETS", "DataError", "DatasetSpec", "Sample", "Source", "get_dataset", "read_image"]


def get_dataset(name: str) -> DatasetSpec:
    """Return the description of a data set.

    Raises:
        ValueError: There is none of that name; the message lists those that exist.
    """
    if name not in DATASETS:
        raise ValueError(f"no data set {name!r}; choose one of {', '.join(sorted(DATASETS))}")
    return DATASETS[name]
