"""The data of a run: opened, checked, and kept in memory where that is asked for."""

from fakd.console import is_main_process, progress, say
from fakd.data import Source
from fakd.data.batches import SegmentationData
from fakd.data.image_cache import CachedSource, cached_bytes, check_fits, image_sizes
from fakd.data.spec import SPLITS
from fakd.training.config import RunConfig
from fakd.training.distill_config import DistillConfig
from fakd.training.verdicts import check_files


def open_data(config: RunConfig) -> SegmentationData:
    """Open what a run trains and validates on, look at every file once, and say what there is.

    Raises:
        DataError: the data set is not there, or a file is at fault; the message names it.
        FileNotFoundError: images without labels are not where they were said to be.
        ValueError: the decoded images do not fit into the memory that is free.
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
    if config.check_data and is_main_process():
        check_files(data)
    counts = {split: len(data.source(split)) for split in SPLITS}
    if data.unlabelled is not None:
        counts["unlabelled"] = len(data.unlabelled)
    said = ", ".join(f"{count} {part}" for part, count in counts.items() if count)
    height, width = config.base_size or config.spec.base_size
    say(f"data      {config.dataset}: {said} images, {config.spec.num_classes} classes, fitted into {height}x{width}")
    if config.cache_images:
        data.cached = _cached_images(data.training_images(), config.devices)
    return data


def _cached_images(source: Source, copies: int) -> CachedSource:
    """The decoded images of a source, once their size has been said and found to fit."""
    sizes = image_sizes(source)
    each = f" in each of {copies} processes" if copies > 1 else ""
    say(f"memory    {len(sizes)} decoded training images take {cached_bytes(sizes) / 1e9:.2f} GB{each}")
    check_fits(cached_bytes(sizes), copies)
    with progress("images") as bar:
        task = bar.add_task("decoding", total=len(sizes), note="")
        return CachedSource(source, sizes, on_image=lambda: bar.advance(task))
