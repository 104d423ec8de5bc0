"""What the student's features look like with and without the covariance (Figure 3 of the FAKD paper)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from fakd.data import Sample
from fakd.data.palette import Palette, colorize
from fakd.evaluation import to_float_images
from fakd.functional import resize_labels
from fakd.types import IGNORE_INDEX, SegmentationModel


@dataclass(frozen=True)
class FeatureMap:
    """The features of one image."""

    strength: Tensor
    """(h, w) mean over the channels."""
    separation: float | None
    """Share, in percent, of the features' variance over the image that lies between classes, not within them; None
    where the image has one class alone or the features are all the same."""


@torch.no_grad()
def feature_map(model: SegmentationModel, image: Tensor, label: Tensor) -> FeatureMap:
    """Ask a network for its features, the input of its last layer.

    Args:
        model: in eval mode.
        image: (3, H, W) uint8, fitted to the size that the network was trained on, on the network's device.
        label: (H', W') of the image.
    """
    features = model(to_float_images(image[None])).features[0].float().cpu()
    small = resize_labels(label[None].long().cpu(), features.shape[-2:])[0]
    return FeatureMap(features.mean(0), class_separation(features, small))


def class_separation(features: Tensor, labels: Tensor) -> float | None:
    """Percent of the variance that lies between the means of the classes: 100 where each class is one point.

    Args:
        features: (A, h, w).
        labels: (h, w), 255 = ignore.
    """
    labelled = labels != IGNORE_INDEX
    points, classes = features[:, labelled].double(), labels[labelled]
    present = torch.bincount(classes).nonzero().flatten()
    if len(present) < 2:
        return None
    centre = points.mean(1, keepdim=True)
    total = (points - centre).square().sum()
    between = sum(
        (classes == index).sum() * (points[:, classes == index].mean(1, keepdim=True) - centre).square().sum()
        for index in present
    )
    return 100 * float(between / total) if total > 0 else None


def draw_feature_maps(samples: Sequence[Sample], maps: Mapping[str, Sequence[FeatureMap]], palette: Palette) -> Figure:
    """Draw a row for each image: the image, its truth, and the features of each network on one scale of colours.

    Args:
        samples: one a row.
        maps: by heading of the column, one a row.
        palette: colours of the truth.
    """
    columns = len(maps) + 2
    tall = sum(sample.image.shape[1] / sample.image.shape[2] for sample in samples)
    figure = Figure(figsize=(2.4 * columns + 0.9, 2.3 * tall + 0.2 * len(samples) + 0.9))
    grid = figure.subplots(len(samples), columns, squeeze=False)
    every = torch.cat([found.strength.flatten() for column in maps.values() for found in column])
    lowest, highest = np.quantile(every.numpy(), [0.01, 0.99])  # of any number of values; torch had a limit
    for place, (row, sample) in enumerate(zip(grid, samples, strict=True)):
        row[0].imshow(sample.image.permute(1, 2, 0).numpy())
        row[1].imshow(colorize(sample.label, palette).numpy(), interpolation="nearest")
        for axes, column in zip(row[2:], maps.values(), strict=True):
            found = column[place]
            height, width = sample.label.shape
            picture = axes.imshow(
                found.strength.numpy(), cmap="viridis", vmin=lowest, vmax=highest, extent=(0, width, height, 0)
            )
            if found.separation is not None:
                note = f"{found.separation:.0f} % between classes"
                axes.text(0.5, -0.02, note, transform=axes.transAxes, ha="center", va="top", fontsize=8)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, heading in zip(grid[0], ["image", "truth", *maps], strict=True):
        axes.set_title(heading, loc="center")
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)  # type: ignore[union-attr, call-arg]
    figure.supxlabel(
        "% between classes: share of the features' variance that lies between the classes of the truth", fontsize=8
    )
    bar = figure.colorbar(picture, ax=grid, shrink=0.6, aspect=30, pad=0.01)
    bar.set_label("features, mean over channels")
    bar.outline.set_visible(False)
    return figure
