"""Pictures for the page: chosen, predicted, and encoded."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from fakd.analysis.groups import ALONE, UNREADABLE, Group
from fakd.analysis.report.networks import Layer, open_networks
from fakd.analysis.runs import Run
from fakd.analysis.statistics import parts
from fakd.console import progress
from fakd.data import DatasetSpec, Sample, get_dataset
from fakd.data.bands import Bands
from fakd.data.class_names import hidden_classes
from fakd.data.palette import Palette, as_picture
from fakd.data.spec import Source, spread
from fakd.evaluation import ConfusionMatrix, scores_from_confusion
from fakd.evaluation.predictor import Predictor
from fakd.types import IGNORE_INDEX


@dataclass(frozen=True)
class Picture:
    """An image with a mask of each layer."""

    name: str
    width: int
    height: int
    image: str
    """As a data URI, like the masks."""
    masks: list[str]
    miou: list[float | None]
    """Mean IoU of this image alone, by layer, over the classes in its truth or prediction; None for the truth."""
    iou: list[dict[int, float]]
    """IoU by class index, by layer, of classes in the truth or the prediction."""
    classes: list[int]
    """Classes in the truth."""


@dataclass(frozen=True)
class Confusion:
    """What a network takes the pixels of each class for."""

    label: str
    """Of its layer."""
    matrix: Tensor
    """(C, C) pixels, truth by prediction, over the images that were looked through."""
    images: int
    """How many those were."""


@dataclass(frozen=True)
class Gallery:
    """The pictures of a page."""

    pictures: Sequence[Picture] = ()
    layers: Sequence[Layer] = ()
    legend: Sequence[tuple[str, str]] = ()
    """Name of every class, and its colour, or "none" where the image is seen."""
    start: int = 0
    """Index of the layer that is shown on the left at first: the method with the highest mean mIoU."""
    searched: int = 0
    """How many images were looked through."""
    total: int = 0
    """How many there are in the split."""
    notes: Sequence[str] = ()
    """What is missing, and why."""
    confusions: Sequence[Confusion] = ()
    """One for each network."""


@dataclass
class _Seen:
    """One image as all layers see it, at the size of the page."""

    sample: Sample
    masks: list[Tensor] = field(default_factory=list)
    miou: list[float | None] = field(default_factory=list)
    iou: list[dict[int, float]] = field(default_factory=list)


def make_gallery(
    groups: Sequence[Group],
    teachers: Mapping[str, Run | None],
    data_root: Path | None,
    images: int,
    search: int,
    device: torch.device,
    hide: str | Sequence[str] | None = None,
) -> Gallery:
    """Predict once, choose the images to show, and make small pictures of them.

    Half of the images are those where the students are worst; the others are spread evenly over the rest.

    Args:
        groups: of finished runs; the network of each one's first seed is shown.
        teachers: by folder of a run, the run of its teacher where that is at hand.
        data_root: folder of the data set; None is where it was when the runs were made.
        images: how many to show.
        search: how many to look through.
        device: where to predict.
        hide: classes that are shown without a colour, see `hidden_classes`.

    Returns:
        No pictures, and a note that says why, if data or networks are not where the runs say.

    Raises:
        DataError: the data set is not at `data_root`.
        ValueError: its classes are not those of the runs, or there is none of the name of one that is to be hidden.
    """
    first = groups[-1].runs[0]
    try:
        spec, source = _open_data(first, data_root)
    except UNREADABLE as error:
        if data_root is not None:
            raise
        return Gallery(notes=[f"no pictures: {error} Say where the data set is with --data-root."])
    hidden = hidden_classes(hide, spec.classes)
    networks, notes = open_networks(groups, teachers, spec, device)
    if not any(layer.kind == "student" for layer, _ in networks):
        return Gallery(notes=["no pictures: no run has its network any more.", *notes])
    matrices = [ConfusionMatrix(spec.num_classes) for _ in networks]
    seen = _look_through(source, [network for _, network in networks], spec, spread(len(source), search), matrices)
    chosen = _choose(seen, [layer for layer, _ in networks], images)
    layers = [*(layer for layer, _ in networks), Layer("truth", "truth")]
    legend = [
        (name, "none" if index in hidden else "#{:02x}{:02x}{:02x}".format(*spec.palette[index]))
        for index, name in enumerate(spec.classes)
    ]
    pictures = [_picture(one, spec, hidden) for one in chosen]
    confusions = [
        Confusion(layer.label, matrix.compute(), len(seen))
        for (layer, _), matrix in zip(networks, matrices, strict=True)
        if seen
    ]
    return Gallery(pictures, layers, legend, _start(layers, groups), len(seen), len(source), notes, confusions)


def _open_data(run: Run, data_root: Path | None) -> tuple[DatasetSpec, Source]:
    root = data_root or (Path(recorded) if (recorded := run.config.get("data_root")) else None)
    spec = get_dataset(run.config["dataset"], root, Bands.of_options(run.config), run.config.get("base_size"))
    if spec.classes != run.classes:
        raise ValueError(f"the classes of {spec.name} are not those of the run {run.folder}.")
    return spec, spec.open(root, "val")


def _look_through(
    source: Source,
    networks: Sequence[Predictor],
    spec: DatasetSpec,
    indices: Sequence[int],
    matrices: Sequence[ConfusionMatrix],
) -> list[_Seen]:
    """Predict and score every image once, and count; images without a labelled pixel are passed over."""
    found = []
    with progress("images") as bar:
        task = bar.add_task("predicting", total=len(indices), note="")
        for index in indices:
            bar.advance(task)
            sample = source[index]
            if (sample.label == IGNORE_INDEX).all():
                continue
            seen = _Seen(sample._replace(image=shrink(sample.image), label=shrink(sample.label)))
            for network, matrix in zip(networks, matrices, strict=True):
                prediction = network.labels(network.fit(sample.image).unsqueeze(0), sample.label.shape[-2:])[0]
                matrix.update(prediction.long(), sample.label.long())
                miou, iou = _scores(prediction.long(), sample.label, spec)
                seen.masks.append(shrink(prediction))
                seen.miou.append(miou)
                seen.iou.append(iou)
            found.append(seen)
    return found


def _scores(prediction: Tensor, label: Tensor, spec: DatasetSpec) -> tuple[float, dict[int, float]]:
    matrix = ConfusionMatrix(spec.num_classes)
    matrix.update(prediction, label.long())
    scores = scores_from_confusion(matrix.compute(), spec.classes)
    by_class = {index: value for index, value in enumerate(scores.IoU.values()) if value is not None}
    return scores.mIoU, by_class


def _start(layers: Sequence[Layer], groups: Sequence[Group]) -> int:
    """The student of the best method, or the student alone where there is no other."""
    quality = {group.label: (group.method != ALONE, parts(group.spread("mIoU"))[0] or 0) for group in groups}
    students = [index for index, layer in enumerate(layers) if layer.kind == "student"]
    return max(students, key=lambda index: quality[layers[index].label])


def _choose(seen: Sequence[_Seen], layers: Sequence[Layer], count: int) -> list[_Seen]:
    students = [index for index, layer in enumerate(layers) if layer.kind == "student"]
    ranked = sorted(seen, key=lambda one: sum(one.miou[index] or 0 for index in students))
    worst = -(-count // 2)
    rest = ranked[worst:]
    return ranked[:worst] + [rest[index] for index in spread(len(rest), count - worst)]


def _picture(seen: _Seen, spec: DatasetSpec, hide: Sequence[int]) -> Picture:
    label = seen.sample.label
    height, width = label.shape
    return Picture(
        name=seen.sample.name,
        width=width,
        height=height,
        image=image_uri(seen.sample.image),
        masks=[mask_uri(mask, spec.palette, hide) for mask in (*seen.masks, label)],
        miou=[*seen.miou, None],
        iou=[*seen.iou, {}],
        classes=[index for index in np.unique(label.numpy()).tolist() if index < spec.num_classes],
    )


WIDTH = 480
"""Pixels that a picture on the page is wide at most."""


def shrink(picture: Tensor, width: int = WIDTH) -> Tensor:
    """Resize to at most that width: a (3, H, W) image smoothly, a (H, W) mask to the nearest pixel."""
    if picture.shape[-1] <= width:
        return picture
    size = [max(1, round(picture.shape[-2] * width / picture.shape[-1])), width]
    if picture.ndim == 3:
        image: Tensor = F.resize_image(picture, size, antialias=True)
        return image
    mask: Tensor = F.resize_mask(picture.unsqueeze(0), size)[0]
    return mask


def image_uri(image: Tensor) -> str:
    """A (3, H, W) uint8 image as a JPEG."""
    return _uri(Image.fromarray(as_picture(image).numpy()), "jpeg", quality=80, optimize=True)


def mask_uri(mask: Tensor, palette: Palette, hide: Sequence[int] = ()) -> str:
    """(H, W) class indices as a PNG of their colours; ignored pixels, and those of hidden classes, are transparent."""
    indices = mask.cpu().numpy().astype(np.uint8)
    ignored = len(palette)  # next to the classes: a small palette needs fewer bits a pixel
    indices[np.isin(indices, [*hide, IGNORE_INDEX])] = ignored
    picture = Image.fromarray(indices, "P")
    picture.putpalette([value for colour in (*palette, (0, 0, 0)) for value in colour])
    bits = next(bits for bits in (1, 2, 4, 8) if ignored < 1 << bits)
    return _uri(picture, "png", optimize=True, transparency=ignored, bits=bits)


def _uri(picture: Image.Image, kind: str, **options: object) -> str:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
