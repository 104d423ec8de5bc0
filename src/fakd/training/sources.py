"""The names that a run gives to its networks."""

import re
from pathlib import Path

from fakd.data import DatasetSpec, get_dataset
from fakd.data.spec import check_num_classes
from fakd.models.foreign import ForeignName, is_foreign, published_classes
from fakd.models.mmseg.published import PREFIX, find_teacher


def check_source(source: str, option: str, output: Path, spec: DatasetSpec, *, mapped: bool) -> None:
    """Refuse a trained network that would be deleted by its own run, or that cannot fit once it is downloaded.

    Args:
        source: as for `fakd.models.open_model`.
        option: which names it, for the error.
        output: the run folder.
        spec: of the data set.
        mapped: whether a class map says what its classes are.

    Raises:
        ValueError: it is one of these.
    """
    if not mapped:
        _check_published(source, spec)
    if source.startswith(PREFIX):
        return
    files = ForeignName.parse(source).files if is_foreign(source) else (source,)
    if any(output.resolve() in (Path(file).resolve(), *Path(file).resolve().parents) for file in files):
        raise ValueError(f"output {output} holds the {option} {source}; choose another --output.")


def _check_published(source: str, spec: DatasetSpec) -> None:
    if source.startswith(PREFIX):
        classes = get_dataset(find_teacher(source).dataset).num_classes
    elif (found := published_classes(source)) is not None:
        classes = found
    else:
        return
    advice = "A teacher's classes can be merged: see --class_map."
    check_num_classes(source, classes, spec.name, spec.num_classes, advice)


def plain_name(network: str) -> str:
    """A network's name as part of a folder's.

    Example:
        >>> plain_name("pspnet/efficientnet_lite0"), plain_name("smp:unet/mobilenet_v2")
        ('pspnet-efficientnet_lite0', 'smp-unet-mobilenet_v2')
    """
    return re.sub(r"[^\w.+-]+", "-", network).strip("-")
