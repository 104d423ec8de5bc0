"""The data of a run: found, then checked, and kept in memory where that is asked for."""

from collections.abc import Sequence
from pathlib import Path

from fakd.console import is_main_process, progress, say
from fakd.data import Source
from fakd.data.batches import SegmentationData
from fakd.data.image_cache import CachedSource, cached_bytes, check_fits, image_sizes
from fakd.data.paired_files import PairedFiles
from fakd.data.spec import SPLITS
from fakd.data.unlabelled import UnlabelledImages
from fakd.files.checksum import digest
from fakd.training.config import RunConfig
from fakd.training.distill_config import DistillConfig
from fakd.training.verdicts import check_files


def open_data(config: RunConfig) -> SegmentationData:
    """Find what a run trains and validates on, and say what there is; no file is opened.

    Raises:
        DataError: the data set is not there, or its files do not pair up.
        FileNotFoundError: images without labels are not where they were said to be.
    """
    data = SegmentationData(
        config.spec,
        config.data_root,
        base_size=config.base_size,
        crop_size=config.crop_size,
        batch_size=config.batch_size,
        workers=config.workers,
        seed=config.seed,
        photometric=config.photometric,
        scale=config.scale,
    )
    if isinstance(config, DistillConfig):
        config.open_unlabelled(data)
    if config.spec.notice:
        say(config.spec.notice, style="dim")
    counts = {split: len(data.source(split)) for split in SPLITS}
    if data.unlabelled is not None:
        counts["unlabelled"] = len(data.unlabelled)
    said = ", ".join(f"{count} {part}" for part, count in counts.items() if count)
    height, width = config.base_size or config.spec.base_size
    say(f"data      {config.dataset}: {said} images, {config.spec.num_classes} classes, fitted into {height}x{width}")
    return data


def look_through(data: SegmentationData, config: RunConfig) -> None:
    """Open every file once, and keep the decoded images where that is asked for: what takes long, after all else.

    Raises:
        DataError: a file is at fault; the message names it.
        ValueError: the decoded images do not fit into the memory that is free.
    """
    if config.check_data and is_main_process():
        check_files(data)
    if config.cache_images:
        data.cached = _cached_images(data.training_images(), config.devices, config.spec.bands.channels)


def data_inputs(data: SegmentationData) -> dict[str, str]:
    """How many images each split has, and a hash of the names and sizes of their files, without opening any."""
    inputs = {split: _listing(data.source(split)) for split in SPLITS}
    return inputs if data.unlabelled is None else {**inputs, "without labels": _listing(data.unlabelled)}


def _listing(source: Source) -> str:
    files: Sequence[tuple[str, Sequence[Path]]] = ()
    if isinstance(source, PairedFiles):
        files = [(pair[0].relative_to(source.root).as_posix(), pair) for pair in source.pairs]
    elif isinstance(source, UnlabelledImages):
        files = [(name, [path]) for path, name in source.files]
    # not their times, which copies do not keep
    return f"{len(source)} images {digest(f'{name} {[path.stat().st_size for path in own]}' for name, own in files)}"


def _cached_images(source: Source, copies: int, channels: int) -> CachedSource:
    """The decoded images of a source, once their size has been said and found to fit."""
    sizes = image_sizes(source)
    needed = cached_bytes(sizes, channels)
    each = f" in each of {copies} processes" if copies > 1 else ""
    say(f"memory    {len(sizes)} decoded training images take {needed / 1e9:.2f} GB{each}")
    check_fits(needed, copies)
    with progress("images") as bar:
        task = bar.add_task("decoding", total=len(sizes), note="")
        return CachedSource(source, sizes, on_image=lambda: bar.advance(task), channels=channels)
