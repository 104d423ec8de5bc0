"""`fakd predict`: masks of a user's images."""

import csv
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import torch
from PIL import Image
from rich.progress import Progress
from torch import Tensor

from fakd.console import printable, progress, say
from fakd.data import DataError
from fakd.data.bands import Bands, BandsConfig
from fakd.data.class_names import hidden_classes
from fakd.data.palette import colorize, overlay, write_label_png
from fakd.data.raster import is_raster, require_rasterio
from fakd.data.user.class_file import write_class_list
from fakd.data.video import count_frames, require_av
from fakd.evaluation.images import Frame, Frames, Source, by_size, find_sources, in_background, pixels
from fakd.evaluation.inference import InferenceConfig
from fakd.evaluation.predictor import Device, Predictor, open_predictor, too_large
from fakd.evaluation.raster_windows import predict_raster
from fakd.evaluation.scores import class_frequencies
from fakd.files.atomic import written_at_once
from fakd.machine import described
from fakd.options import Hidden, Output, Size, check_least

SHARES_FILE = "shares.csv"
"""In the output folder."""

Shares = dict[tuple[str, Path], Sequence[float]]
"""Title and mask below labels/ of every image in the order they were read -> each class's share of its pixels."""

_BATCH_SCORES = 1 << 30  # bytes of scores of the images of a batch together, if they are more than one


@dataclass
class PredictConfig(InferenceConfig, BandsConfig):
    """Write the masks that a trained network predicts: class indices and colours, as PNG.

    Of a georeferenced or very large TIFF the mask is a GeoTIFF with the same georeference, and the memory it takes that
    of a few windows: see docs/rasters.md.
    """

    model: str
    """Trained network: a run folder, a .safetensors file, a .pth checkpoint of MMSegmentation, mmseg:NAME, toy-scenes
    for the teacher that comes with the package, an .onnx file of `fakd export`, or one of another library, as
    torchvision:NAME, smp:FOLDER or hf:NAME."""
    images: list[Path] | Path
    """Images and videos; folders, which are searched for images in all their subfolders; patterns in quotes, as
    'photos/**/*.jpg'. As many as you like."""
    output: Output
    """Folder to write to: labels/NAME.png holds class indices, color/NAME.png colours, shares.csv each class's share of
    the pixels; of a video NAME/000123.png and so on. With images/NAME, links to the images, and classes.yaml it is a
    data set for --dataset folder."""
    _: KW_ONLY
    overlay: bool = False
    """Whether to write overlay/NAME.png too: the colours over the image."""
    opacity: float = 0.5
    """Opacity of the colours in overlays, 0 to 1."""
    hide: Hidden = None
    """Classes that overlays show no colour of, as road,sky, or none; by default the background, by its name."""
    ignore_below: float = 0.0
    """Label pixels 255, which trains and scores nobody, where the network's class is less probable than this, 0 to
    1."""
    every: int = 1
    """Frames of a video from one that is taken to the next."""
    base_size: Size | None = None
    """Height and width in pixels that images are fitted into before the network sees them, aspect kept; by default as
    in training. Masks always have the image's own size."""
    batch_size: int = 4
    """Most images of one size that run together; fewer where their scores would take more than 1 GiB."""
    workers: int = 2
    """Processes that read images meanwhile."""
    device: Device = "auto"
    """Where to compute."""
    overwrite: bool = False
    """Write into an output folder that is not empty: what has the same name is replaced, all else stays."""


def predict(config: PredictConfig) -> list[Path]:
    """Write the masks of every image; go on past those that cannot be read, and list them at the end.

    Returns:
        The label PNGs that were written.

    Raises:
        ValueError: a number is out of range, or options contradict each other.
        FileNotFoundError: there is no image.
        FileExistsError: the output folder is not empty.
        DataError: some images could not be read, or are too large; all others were written.
    """
    _check_numbers(config)
    sources = find_sources([config.images] if isinstance(config.images, Path) else config.images, config.output)
    _require_free(config.output, config.overwrite)
    if any(source.is_video for source in sources):
        require_av()
    if any(is_raster(source.path) for source in sources):
        require_rasterio()
    network = open_predictor(config.model, config, config.base_size, config.device)
    if config.ignore_below and network.model.gives_labels:
        raise ValueError(
            f"{config.model} gives labels and no scores: leave out --ignore-below, or export it with scores."
        )
    hide = hidden_classes(config.hide, network.classes)
    sources, rasters, failed = _by_kind(sources, network.bands)
    say(f"machine   {described(network.device)}")
    photos = {source.place: source.path for source in sources if not source.is_video}
    shares: Shares = {}
    with progress("images") as bar:
        task = bar.add_task("predicting", total=_expected(sources, config.every) + len(rasters), note="")

        def readable() -> Iterator[Frame]:
            for frame in in_background(Frames(sources, network.base_size, config.every), config.workers):
                fault = frame.fault or too_large(frame.title, pixels(frame)[0].shape, network.num_classes)
                if fault:
                    failed.append(fault)
                    bar.advance(task)
                else:
                    shares[frame.title, _file(Path(), frame.place)] = ()
                    yield frame

        try:
            for group in by_size(readable(), config.batch_size, _BATCH_SCORES // (4 * network.num_classes)):
                for frame, labels in zip(group, _predicted(network, group, config.ignore_below), strict=True):
                    _write(frame, labels, network, config, hide)
                    if photo := photos.get(frame.place):
                        _link(_file(config.output / "images", frame.place).with_suffix(photo.suffix), photo)
                    found = class_frequencies(labels, network.num_classes).tolist()
                    shares[frame.title, _file(Path(), frame.place)] = found
                    bar.advance(task)
            for source in rasters:
                mask = Path(f"{source.place}.tif")
                try:
                    shares[printable(str(source.path)), mask] = _predict_raster(network, source.path, mask, config, bar)
                except DataError as error:
                    failed.append(str(error))
                bar.advance(task)
        finally:
            # Also where it was stopped half-way; what was read and not yet predicted then has none.
            written = {frame: row for frame, row in shares.items() if row}
            if written:
                _write_shares(config.output / SHARES_FILE, network.classes, written)
                write_class_list(config.output, network.classes, network.palette)
    total = len(written) + len(failed)
    say(f"{len(written)} of {total} images written to {config.output}")
    if failed:
        raise DataError(f"{len(failed)} of {total} images could not be read:\n  " + "\n  ".join(failed))
    return [config.output / "labels" / mask for _, mask in written]


def _check_numbers(config: PredictConfig) -> None:
    for name in ("opacity", "ignore_below"):
        if not 0 <= (given := getattr(config, name)) <= 1:
            raise ValueError(f"{name} must be between 0 and 1, got {given}.")
    check_least(config, batch_size=1, every=1, workers=0)


def _require_free(output: Path, overwrite: bool) -> None:
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file: name the folder for the masks, after the images.")
    if output.is_dir() and any(output.iterdir()) and not overwrite:
        raise FileExistsError(f"{output} is not empty. Choose another folder, or give --overwrite=true.")


def _expected(sources: Sequence[Source], every: int) -> int:
    """Images and frames, as far as the videos say how long they are."""
    return sum(-(-count_frames(source.path) // every) if source.is_video else 1 for source in sources)


def _by_kind(sources: Sequence[Source], bands: Bands) -> tuple[list[Source], list[Source], list[str]]:
    """Images and videos; rasters; and what is wrong with those that have no bands though some are asked for."""
    images: list[Source] = []
    rasters: list[Source] = []
    faults = []
    for source in sources:
        try:
            (rasters if is_raster(source.path, bands) else images).append(source)
        except DataError as error:
            faults.append(str(error))
    return images, rasters, faults


def _predicted(network: Predictor, group: Sequence[Frame], confidence: float) -> Tensor:
    """(B, H, W) labels of images of one size; of half of them at a time where the device has no room for all."""
    try:
        fitted = torch.stack([pixels(frame)[1] for frame in group])
        return network.labels(fitted, pixels(group[0])[0].shape[-2:], confidence)
    except torch.OutOfMemoryError:
        if len(group) == 1:
            raise
    half = len(group) // 2
    return torch.cat([_predicted(network, part, confidence) for part in (group[:half], group[half:])])


def _write(frame: Frame, labels: Tensor, network: Predictor, config: PredictConfig, hide: Sequence[int]) -> None:
    pictures = {"color": colorize(labels, network.palette)}
    if config.overlay:
        pictures["overlay"] = overlay(pixels(frame)[0], labels, network.palette, config.opacity, hide)
    for folder in ("labels", *pictures):
        _file(config.output / folder, frame.place).parent.mkdir(parents=True, exist_ok=True)
    write_label_png(_file(config.output / "labels", frame.place), labels, network.palette)
    for folder, picture in pictures.items():
        Image.fromarray(picture.numpy()).save(_file(config.output / folder, frame.place))


def _predict_raster(network: Predictor, path: Path, mask: Path, config: PredictConfig, bar: Progress) -> list[float]:
    """Write the mask of a raster, and say how far it is; returns the classes' shares."""
    before = bar.tasks[0].completed
    shares = predict_raster(
        network,
        path,
        config.output / "labels" / mask,
        confidence=config.ignore_below,
        batch_size=config.batch_size,
        on_pixels=lambda done, total: bar.update(bar.task_ids[0], completed=before + 0.99 * done / total),
    )
    bar.update(bar.task_ids[0], completed=before)
    _link((config.output / "images" / mask).with_suffix(path.suffix), path)
    return shares


def _link(link: Path, photo: Path) -> None:
    """Have the image beside its mask, as a data set has; a file that is there already is the user's own."""
    if link.is_symlink():
        link.unlink()
    if link.exists():
        return
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        link.symlink_to(os.path.abspath(photo))
    except OSError:  # as on Windows, where not everybody may make links
        shutil.copyfile(photo, link)


def _write_shares(path: Path, classes: Sequence[str], shares: Shares) -> None:
    with written_at_once(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["image", "mask", *classes])
        for (title, mask), row in shares.items():
            table.writerow([title, printable(mask.as_posix()), *(f"{share:.6f}" for share in row)])


def _file(folder: Path, place: Path) -> Path:
    """Not with_suffix, which would take "b.c" for a name with a suffix."""
    return folder / f"{place}.png"
