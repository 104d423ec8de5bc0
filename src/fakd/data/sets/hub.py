"""Data sets of the Hugging Face Hub, or of a folder that `datasets` reads, with a column of images and one of masks.

    hf:segments/sidewalk-semantic                         ORGANISATION/NAME, then perhaps :REVISION
    hf:downloads/leaves                                   a folder: of save_to_disk, or with Parquet files
    hf:org/name,image=photo,mask=labels,val=test          columns and splits that cannot be guessed; also config=NAME
    hf:org/name,classes=FOLDER                            where classes.txt or classes.yaml is

The classes are those of classes=FOLDER; else the names that the masks' column has; else classes.txt or classes.yaml of
the folder itself; else id2label.json, as many repositories have it.
"""

import json
import re
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from fakd.data.extras import required
from fakd.data.pairing import listed
from fakd.data.sets.hub_rows import Rows
from fakd.data.spec import DataError, DatasetSpec
from fakd.data.user.class_file import FILES, read_class_list
from fakd.data.user.folder import base_of, crop_of
from fakd.data.user.masks import ClassList, UserClass

HUB = "hf:"
"""What the names of such data sets begin with."""

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?(:[\w.-]+(/[\w.-]+)*)?")
_OPTIONS = ("image", "mask", "train", "val", "config", "classes")
_IMAGES = ("image", "images", "img", "photo", "pixel_values")
_MASKS = ("mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "semantic_segmentation")
_VAL = ("validation", "val", "valid", "dev")
_NAMES = "id2label.json"


def describe_hub(name: str) -> DatasetSpec:
    """Read the description of a data set of the Hub, or of a folder, which are fetched or read once.

    Images are fitted into their median size, no side above 2048 pixels; crops are squares of its shorter side, of 512
    pixels at most.

    Args:
        name: with "hf:" before it, and options behind.

    Raises:
        ValueError: An option is none.
        DataError: There is no such data set, or it has no such split or column, or no names of classes.
        ModuleNotFoundError: `datasets` is not installed.
    """
    place, *words = name.removeprefix(HUB).split(",")
    options = dict(word.partition("=")[::2] for word in words)
    if unknown := [key for key, value in options.items() if key not in _OPTIONS or not value]:
        raise ValueError(
            f"{name}: {unknown[0]!r} is no option, expected {', '.join(f'{key}=...' for key in _OPTIONS)}."
        )
    place = str(Path(place).expanduser()) if Path(place).expanduser().is_dir() else place
    splits = _loaded(place, options.get("config"))
    rows = splits[_split(name, splits, "train", options)]
    if not len(rows):
        raise DataError(f"{name}: no rows to train on are there.")
    image, mask = _columns(name, rows, options)
    classes = _classes(name, place, rows.features[mask], options.get("classes"))
    opened = partial(_open, name, classes, splits, (image, mask), options)
    base = base_of(list(opened(None, "train").sizes()))
    return DatasetSpec(
        name=name,
        classes=tuple(item.name for item in classes.classes),
        palette=classes.palette,
        base_size=base,
        crop_size=crop_of(base),
        open=opened,
        needs_root=False,
    )


def _open(
    name: str,
    classes: ClassList,
    splits: Mapping[str, Any],
    columns: tuple[str, str],
    options: Mapping[str, str],
    _root: Path | None,
    split: str,
) -> Rows:
    from datasets import Image

    theirs = _split(name, splits, split, options)
    rows = splits[theirs]
    for column in columns:
        if isinstance(rows.features[column], Image):
            rows = rows.cast_column(column, Image(decode=False))
    return Rows(rows.select_columns(list(columns)), *columns, classes, f"{name}, {theirs}", split)


@cache
def _loaded(place: str, config: str | None) -> Mapping[str, Any]:
    """All splits of a data set by name; downloaded where it is not a folder, into the cache of `datasets`."""
    datasets = required("datasets", "datasets", "hf: data sets need")
    folder = Path(place)
    if not folder.is_dir() and not _NAME.fullmatch(place):
        raise DataError(f"{HUB}{place}: no such folder, and no ORGANISATION/NAME of the Hugging Face Hub.")
    try:
        datasets.disable_progress_bars()
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            loaded = datasets.load_from_disk(place)
        elif folder.is_dir():
            loaded = datasets.load_dataset(place, config)
        else:
            repository, _, revision = place.partition(":")
            loaded = datasets.load_dataset(repository, config, revision=revision or None)
    except Exception as error:  # of datasets, huggingface_hub, pyarrow and others
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{HUB}{place}: not read by datasets: {reason} If it is on the Hugging Face Hub, see whether its page has "
            "Parquet files, and whether it asks for terms to be accepted and for `hf auth login`."
        ) from error
    splits: Mapping[str, Any] = loaded if isinstance(loaded, Mapping) else {"train": loaded}
    return splits


def _split(name: str, splits: Mapping[str, Any], split: str, options: Mapping[str, str]) -> str:
    wanted = (options[split],) if split in options else _VAL if split == "val" else (split,)
    theirs = next((word for word in wanted if word in splits), None)
    if theirs is None:
        held_out = "; or hold some of the training images out, with --holdout 0.2" if split == "val" else ""
        raise DataError(
            f"{name}: no split {listed(wanted)}, there is {listed(list(splits))}. Say which it is, as "
            f"{name},{split}={list(splits)[-1]}{held_out}."
        )
    return theirs


def _columns(name: str, rows: Any, options: Mapping[str, str]) -> tuple[str, str]:
    """The names of the columns of images and of masks."""
    from datasets import Image

    columns = list(rows.features)
    if unknown := [options[key] for key in ("image", "mask") if options.get(key, columns[0]) not in columns]:
        raise DataError(f"{name}: no column {unknown[0]!r}, there is {listed(columns, 20)}.")
    pictures = [column for column in columns if isinstance(rows.features[column], Image)]
    image = options.get("image") or _only([column for column in pictures if column.lower() in _IMAGES])
    others = [column for column in pictures if column != image]
    mask = options.get("mask") or _only([column for column in others if column.lower() in _MASKS]) or _only(others)
    image = image or _only([column for column in pictures if column != mask])
    if image is None or image not in pictures or mask is None or image == mask:
        raise DataError(
            f"{name}: unclear which column has the images and which the masks, of {listed(columns, 20)}, where "
            f"{listed(pictures, 20) or 'none'} hold pictures. Say it, as {name},image=COLUMN,mask=COLUMN."
        )
    return image, mask


def _only(found: list[str]) -> str | None:
    return found[0] if len(found) == 1 else None


def _classes(name: str, place: str, feature: Any, folder: str | None) -> ClassList:
    """What the masks' values stand for."""
    if folder is not None:
        return read_class_list(Path(folder).expanduser())
    if names := _feature_names(feature):
        return _of_names(name, names)
    if any((Path(place) / file).is_file() for file in FILES):
        return read_class_list(Path(place))
    names_file = Path(place) / _NAMES
    if not Path(place).is_dir():
        names_file = _downloaded(place) or names_file
    if names_file.is_file():
        try:
            given = json.loads(names_file.read_text(encoding="utf-8"))
            named = {int(value): str(given[value]) for value in given}
        except (ValueError, TypeError) as error:
            raise DataError(f"{names_file}: not readable as names of classes by number ({error}).") from error
        return _of_names(name, named)
    raise DataError(
        f"{name}: its columns have no names of classes, and there is no {_NAMES}. Write classes.txt, one class a line, "
        f"the first is value 0 of the masks; and give its folder, as {name},classes=FOLDER."
    )


def _feature_names(feature: Any) -> dict[int, str]:
    """The names of a ClassLabel, which lists of lists may hold."""
    while (inner := getattr(feature, "feature", None)) is not None:
        feature = inner
    return dict(enumerate(getattr(feature, "names", None) or ()))


def _of_names(name: str, names: Mapping[int, str]) -> ClassList:
    classes = tuple(UserClass(names[value], (value,)) for value in sorted(names))
    return ClassList(Path(name), classes, options={"masks": "index"})


def _downloaded(place: str) -> Path | None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled

    repository, _, revision = place.partition(":")
    try:
        return Path(hf_hub_download(repository, _NAMES, repo_type="dataset", revision=revision or None))
    except (EntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled):
        return None
