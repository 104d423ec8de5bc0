"""Trained networks that a run cannot start from, refused before anything is read."""

from pathlib import Path

from fakd.data import DatasetSpec, get_dataset
from fakd.data.spec import check_num_classes
from fakd.models.by_name import NetworkName, published_classes
from fakd.models.mmseg.published import find_teacher


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
    asked = NetworkName.parse(source)
    if not mapped:
        _check_published(asked, source, spec)
    if any(output.resolve() in (Path(file).resolve(), *Path(file).resolve().parents) for file in asked.files):
        raise ValueError(f"output {output} holds the {option} {source}; choose another --output.")


def _check_published(asked: NetworkName, source: str, spec: DatasetSpec) -> None:
    if asked.kind == "mmseg":
        classes = get_dataset(find_teacher(asked.network).dataset).num_classes
    elif (found := published_classes(source)) is not None:
        classes = found
    else:
        return
    advice = "A teacher's classes can be merged: see --class_map."
    check_num_classes(source, classes, spec.name, spec.num_classes, advice)
