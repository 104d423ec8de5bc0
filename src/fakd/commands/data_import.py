"""`fakd data import`: what another tool exported, as a folder to train on."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from fakd.commands.data_check import CheckConfig, check_dataset
from fakd.console import say
from fakd.data.importing import READERS, Format
from fakd.data.importing.planning import plan_classes, require_splits, with_splits
from fakd.data.importing.writing import Overlaps, write_folder
from fakd.data.pairing import listed
from fakd.data.spec import DataError
from fakd.data.survey import say_faults
from fakd.data.user.folder import FOLDER


@dataclass
class ImportConfig:
    """Make a folder to train on of what another tool exported: shapes become masks, splits are kept."""

    format: Format
    """What the source is: coco, labelme, yolo (outlines), voc (as CVAT exports it), roboflow (semantic masks) or
    supervisely."""
    source: Path
    """Folder of the export, unpacked; of coco also one JSON file."""
    root: Path
    """Folder to write, for --dataset folder --data-root ROOT."""
    _: KW_ONLY
    background: str | None = None
    """Class of what no shape covers, value 0 [default: background]; or ignore, so that it does not count."""
    overlaps: Overlaps = "smaller"
    """Which of two shapes lies above the other: the smaller one, or the later in its file."""
    val_share: float | None = None
    """Share of the training images to validate on instead, as 0.2, where the source has none for that."""
    skip_faults: bool = False
    """Leave images with faults out, which are listed; without it they all must be mended first."""


def import_dataset(config: ImportConfig) -> Path:
    """Read a source, draw masks, write the folder, and check it.

    Returns:
        The folder.

    Raises:
        ValueError: An option is out of range.
        FileExistsError: Something is in the place of the folder already.
        DataError: The source is not of the format, or has faults, which are printed; nothing is written then.
        ModuleNotFoundError: pycocotools is needed, and not installed.
    """
    source, root = Path(config.source).expanduser(), Path(config.root).expanduser()
    if config.val_share is not None and not 0 < config.val_share < 1:
        raise ValueError(f"val_share must be above 0 and below 1, got {config.val_share}.")
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise FileExistsError(f"{root} is there already, and not empty. Choose another place, or delete it.")
    if not source.is_dir() and not (config.format == "coco" and source.suffix == ".json" and source.is_file()):
        raise DataError(f"{source}: no such folder, expected the unpacked export there. Check the path.")
    found = READERS[config.format](source)
    try:
        plan = plan_classes(found, config.background)
        images = with_splits(found.images, config.val_share)
        if not found.faults:  # which may explain it, and are listed with those of the images
            require_splits(images)
    except DataError as error:
        if found.faults:
            raise _listed_above(source, found.faults) from None
        raise DataError(f"{source}: {error}") from None
    try:
        written = write_folder(images, root, plan, config.overlaps, found.faults, config.skip_faults)
    except DataError as error:
        raise _listed_above(source, str(error).splitlines()) from None
    for fault in written.faults:
        say(f"left out: {fault}", style="yellow")
    if written.cut:
        found.notes.append(f"{len(written.cut)} shapes are cut at the edge of their image ({listed(written.cut)})")
    for note in found.notes:
        say(f"note: {note}", style="yellow")
    counts = ", ".join(f"{count} {split}" for split, count in written.counts.items())
    say(f"imported {counts} images into {root}; classes: {', '.join(plan.names)}")
    check_dataset(CheckConfig(FOLDER, root))
    say(f"ready: --dataset {FOLDER} --data-root {root}", style="bold")
    return root


def _listed_above(source: Path, faults: list[str]) -> DataError:
    """Print the faults; the error that ends the command."""
    say_faults(faults, source)
    return DataError(
        f"{source} has {len(faults)} fault{'s' if len(faults) > 1 else ''}, listed above: nothing was written. Mend "
        f"{'them' if len(faults) > 1 else 'it'}, or leave such images out with --skip-faults."
    )
