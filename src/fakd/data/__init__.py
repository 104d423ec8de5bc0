"""Data sets: descriptions, sources of labelled images, transforms and loaders."""

from pathlib import Path

from fakd.console import did_you_mean
from fakd.data.bands import Bands
from fakd.data.reading import read_image
from fakd.data.sets.ade20k import ADE20K
from fakd.data.sets.camvid import CAMVID
from fakd.data.sets.cityscapes import CITYSCAPES
from fakd.data.sets.hub import HUB, describe_hub
from fakd.data.sets.pascal_context import PASCAL_CONTEXT
from fakd.data.sets.toy_scenes import TOY_SCENES
from fakd.data.sets.voc2012 import VOC2012
from fakd.data.spec import DataError, DatasetSpec, Sample, Source
from fakd.data.unlabelled import UNLABELLED_SET
from fakd.data.user.folder import FOLDER, describe_folder
from fakd.plugins import Registry

DATASETS: Registry[DatasetSpec] = Registry(
    "fakd.datasets",
    DatasetSpec,
    {spec.name: spec for spec in (ADE20K, CAMVID, CITYSCAPES, PASCAL_CONTEXT, TOY_SCENES, VOC2012)},
    reserved=(FOLDER,),
)
"""Every data set of fixed classes by the name that configurations use: those above, and what packages bring."""

__all__ = ["DATASETS", "DataError", "DatasetSpec", "Sample", "Source", "get_dataset", "meant_dataset", "read_image"]


def meant_dataset(named: str | None, root: Path | None, trained_on: str | None = None) -> str | None:
    """Return which data set is meant: the one that is named, or that a network was trained on, or a user's folder.

    Args:
        named: what the user calls it.
        root: where the user says that it is; a data set that is not read from there is not what is meant.
        trained_on: of the network that is asked about, where it says so.

    Returns:
        None where nothing says it.

    Example:
        >>> [meant_dataset(None, Path("here"), trained_on) for trained_on in ("toy-scenes", "hf:org/name", "camvid")]
        ['folder', 'folder', 'camvid']
    """
    if named is not None or root is None:
        return named or trained_on
    theirs = trained_on or ""
    rootless = theirs.startswith(HUB) or (theirs in DATASETS and not DATASETS[theirs].needs_root)
    return FOLDER if rootless or trained_on in (None, UNLABELLED_SET) else trained_on


def get_dataset(
    name: str, root: Path | None = None, bands: Bands | None = None, base_size: tuple[int, int] | None = None
) -> DatasetSpec:
    """Return the description of a data set.

    Args:
        name: One of `DATASETS`; "folder" for a user's own images; or "hf:NAME", see `fakd.data.sets.hub`.
        root: Where the classes of "folder" are read; not looked at for any other.
        bands: What is read of the TIFF files of "folder".
        base_size: (height, width) in pixels of the tiles that its rasters are cut into, if not its own.

    Raises:
        ValueError: There is none of that name; the message lists those that exist. Or it has no bands to choose from.
        DataError: The folder is not there, or does not say what its classes are.
    """
    if name == FOLDER:
        return describe_folder(root, bands, base_size)
    if bands is not None and bands.chosen:
        raise ValueError(f"--bands and --value-range are for --dataset {FOLDER}, not for {name}: leave them out.")
    if name.startswith(HUB):
        return describe_hub(name)
    if name not in DATASETS:
        known = sorted([*DATASETS, FOLDER])
        near = did_you_mean(name, known)
        raise ValueError(f"no data set {name!r}; choose one of {', '.join(known)}, or {HUB}NAME.{near}")
    return DATASETS[name]
