"""`fakd data show`: images and labels on one sheet, as they are and as training sees them."""

import random
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from math import ceil
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from torch import Tensor

from fakd.console import progress, say
from fakd.data import get_dataset
from fakd.data.bands import BandsConfig
from fakd.data.batches import SegmentationDataset
from fakd.data.class_names import hidden_classes
from fakd.data.palette import as_picture, overlay
from fakd.data.spec import DatasetSpec, Sample
from fakd.data.transforms import TrainTransform
from fakd.files.atomic import check_free, written_at_once
from fakd.options import Hidden, Output, Range, Size
from fakd.types import IGNORE_INDEX

_INCHES = 1.9  # height of a picture
_WIDEST = 2.0  # width of a picture over that height; wider images are drawn smaller
_LEGEND_INCHES = 1.6  # width of a legend's entry
_GAP = 0.05  # between samples side by side, in heights of a picture
_DPI = 110
_MOST = 100  # images on a sheet
_SHORT = 34  # letters of a name that fit under a picture
_HEADINGS = ("image, crop dashed", "labels", "training crop")


@dataclass
class ShowConfig(BandsConfig):
    """Draw a contact sheet of a data set: images, labels over them, and what training makes of both."""

    dataset: str
    """Data set, as toy-scenes, camvid, folder or hf:NAME."""
    root: Path | None = None
    """Folder of the data set."""
    _: KW_ONLY
    split: str = "train"
    """Which images: train or val."""
    count: int = 8
    """How many images, drawn at random."""
    output: Output = Path("contact-sheet.png")
    """The PNG to write."""
    seed: int = 0
    """Seed of the choice of images, and of the augmentation, as in training."""
    base_size: Size | None = None
    """Height and width in pixels that images are fitted into, aspect kept, as 360,480; by default the data set's."""
    crop_size: Size | None = None
    """Height and width in pixels of training crops, as 360,360; by default the data set's."""
    scale: Range = (0.5, 2.0)
    """Smallest and largest factor of the random scaling, as 0.5,2.0."""
    photometric: bool = False
    """Whether to vary brightness, contrast, saturation and hue, as training does with the same option."""
    opacity: float = 0.5
    """Opacity of the labels' colours, 0 to 1."""
    hide: Hidden = None
    """Classes whose labels are not coloured, as road,sky, or none; by default the background, by its name."""
    overwrite: bool = False
    """Replace that file if it exists."""


def show(config: ShowConfig) -> Path:
    """Write the contact sheet: each image, its labels over it, and a training crop of it with labels.

    Returns:
        The PNG.

    Raises:
        ValueError: An option is out of range.
        DataError: The data set is not as it should be.
        FileExistsError: The file is there already.
    """
    if not 1 <= config.count <= _MOST:
        raise ValueError(f"count must be from 1 to {_MOST}, got {config.count}.")
    if not 0 <= config.opacity <= 1:
        raise ValueError(f"opacity must be between 0 and 1, got {config.opacity}.")
    output = Path(config.output)
    if output.suffix.lower() != ".png":
        raise ValueError(f"output must be the name of a PNG file, as contact-sheet.png, got {output}.")
    check_free(output, config.overwrite)
    spec = get_dataset(config.dataset, config.root, config.chosen_bands(), config.base_size)
    if spec.needs_root and config.root is None:
        raise ValueError(f"dataset {spec.name!r} is read from disk: give its folder, too.")
    transform = TrainTransform(
        config.base_size or spec.base_size,
        config.crop_size or spec.crop_size,
        scale=config.scale,
        photometric=config.photometric,
    )
    hide = hidden_classes(config.hide, spec.classes)
    if spec.notice:
        say(spec.notice)
    source = spec.open(config.root, config.split)
    crops = SegmentationDataset(source, transform, config.seed)
    chosen = sorted(random.Random(config.seed).sample(range(len(source)), min(config.count, len(source))))
    samples: list[tuple[Sample, Sample]] = []
    with progress("images") as bar:
        task = bar.add_task("reading", total=len(chosen), note="")
        for index in chosen:
            samples.append((source[index], crops[index]))
            bar.advance(task)
    figure = draw_sheet(samples, spec, config.opacity, hide)
    figure.suptitle(f"{spec.name}, {config.split}: {len(chosen)} of {len(source):,} images")
    with written_at_once(output) as temporary:
        figure.savefig(temporary, format="png", dpi=_DPI)
    say(f"written to {output}")
    return output


def draw_sheet(
    samples: Sequence[tuple[Sample, Sample]], spec: DatasetSpec, opacity: float = 0.5, hide: Sequence[int] = ()
) -> Figure:
    """Draw image, labels and crop of each sample side by side, and a legend of the classes that occur.

    Args:
        samples: Each sample as it is, and as a crop.
        spec: Gives the classes and their colours.
        opacity: Of the colours, 0 to 1.
        hide: Classes without a colour.
    """
    aspect = min(_WIDEST, max(sample.image.shape[2] / sample.image.shape[1] for sample, _ in samples))
    crop_height, crop_width = samples[0][1].label.shape
    widths = [aspect, aspect, crop_width / crop_height]
    across = 1 if sum(widths) > 5 or len(samples) == 1 else 2  # samples side by side
    rows = ceil(len(samples) / across)
    handles = _legend(samples, spec, hide)
    width = max(7, across * sum(widths) * _INCHES)
    legend_rows = ceil(len(handles) / (width / _LEGEND_INCHES))

    height = rows * (_INCHES + 0.3) + 0.7 + 0.2 * legend_rows
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(hspace=0.01)  # type: ignore[union-attr, call-arg]
    grid = figure.subplots(rows, across * 4 - 1, squeeze=False, width_ratios=[*widths, _GAP, *widths][: across * 4 - 1])
    for axes in grid.flat:
        axes.set_axis_off()
    for number, (sample, crop) in enumerate(samples):
        row, place = number // across, number % across * 4
        coloured, cropped = (overlay(item.image, item.label, spec.palette, opacity, hide) for item in (sample, crop))
        _draw(grid[row, place], as_picture(sample.image), _short(sample.name))
        _outline(grid[row, place], sample, crop)
        _draw(grid[row, place + 1], coloured, _size(sample))
        _draw(grid[row, place + 2], cropped, _size(crop) + _change(sample, crop))
    for place in range(0, across * 4, 4):
        for axes, heading in zip(grid[0, place : place + 3], _HEADINGS, strict=True):
            axes.set_title(heading, fontsize="medium")
    columns = max(1, ceil(len(handles) / max(1, legend_rows)))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize="small")
    return figure


def _draw(axes: Axes, picture: Tensor, caption: str) -> None:
    axes.imshow(picture.numpy(), interpolation="antialiased")
    axes.set_axis_on()
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.set_xlabel(caption, fontsize="x-small", color="0.3", labelpad=3)


def _outline(axes: Axes, sample: Sample, crop: Sample) -> None:
    """Frame the region of the image that the crop shows; what lies outside of the image is cut off."""
    top, left, down, across, _ = crop.geometry.tolist()
    height, width = sample.label.shape
    corner = (left * width - 0.5, top * height - 0.5)  # pixels have their centres at whole numbers
    for colour, line in (("black", "-"), ("white", "--")):  # both, to be seen on any image
        axes.add_patch(
            Rectangle(
                corner, across * width, down * height, fill=False, edgecolor=colour, linestyle=line, linewidth=1.2
            )
        )


def _change(sample: Sample, crop: Sample) -> str:
    _, _, down, _, flipped = crop.geometry.tolist()
    scale = crop.label.shape[0] / (down * sample.label.shape[0])
    return f", scale {scale:.2f}" + (", flipped" if flipped else "")


def _legend(samples: Sequence[tuple[Sample, Sample]], spec: DatasetSpec, hide: Sequence[int]) -> list[Patch]:
    """A patch for every class that occurs in an image, and one for pixels without a colour."""
    counts = torch.stack([torch.bincount(sample.label.flatten(), minlength=256) for sample, _ in samples]).sum(0)
    patches = [
        Patch(facecolor="#{:02x}{:02x}{:02x}".format(*colour), edgecolor="0.5", label=name)
        for index, (name, colour) in enumerate(zip(spec.classes, spec.palette, strict=True))
        if counts[index] and index not in hide
    ]
    bare = [spec.classes[index] for index in hide if counts[index]] + ["ignored"] * bool(counts[IGNORE_INDEX])
    if bare:
        patches.append(Patch(facecolor="none", edgecolor="0.5", label=f"no colour: {', '.join(bare)}"))
    return patches


def _size(sample: Sample) -> str:
    height, width = sample.label.shape
    return f"{width}x{height}"


def _short(name: str) -> str:
    """The end of a long name, which tells images apart."""
    return name if len(name) <= _SHORT else f"...{name[-_SHORT:]}"
