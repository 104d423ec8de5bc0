"""The two commands that use a trained network: scores on a data set, and masks of a user's images."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from PIL import Image
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text
from torch import Tensor

from fakd.console import console, progress, say
from fakd.data import DataError, get_dataset, read_image
from fakd.data.datamodule import SegmentationData
from fakd.data.palette import colorize, overlay, write_label_png
from fakd.data.transforms import EvalTransform
from fakd.evaluation.evaluate import evaluate_model
from fakd.evaluation.inference import predict_logits
from fakd.evaluation.inference_config import InferenceConfig
from fakd.evaluation.model_notes import base_size_in, palette_in, window_in
from fakd.evaluation.scores import Scores, scores_from_confusion
from fakd.models import Segmentor, open_model
from fakd.writing import written_at_once

Device = Literal["auto", "cpu", "cuda", "mps"]
_MOST_SCORES = 8 << 30  # bytes of scores of one image: 150 classes and 14 million pixels
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


@dataclass
class EvaluateConfig(InferenceConfig):
    """Score a trained network on a data set's validation split: IoU and accuracy per class, mIoU, mAcc, aAcc."""

    model: str
    """Trained network: a run folder, a .safetensors file, a .pth checkpoint of MMSegmentation, or mmseg:NAME."""
    dataset: str | None = None
    """Data set; by default the one that the network was trained on."""
    data_root: Path | None = None
    """Folder of the data set."""
    base_size: tuple[int, int] | None = None
    """Height and width in pixels that images are fitted into, aspect kept; by default as in training."""
    workers: int = 2
    """Loader processes."""
    device: Device = "auto"
    """Where to compute."""
    output: Path | None = None
    """File to write the scores to, as JSON."""
    overwrite: bool = False
    """Replace that file if it exists."""


@dataclass
class PredictConfig(InferenceConfig):
    """Write the masks that a trained network predicts: class indices and colours, as PNG."""

    model: str
    """Trained network: a run folder, a .safetensors file, a .pth checkpoint of MMSegmentation, or mmseg:NAME."""
    images: Path
    """An image, or a folder that is searched for images in all its subfolders."""
    output: Path
    """Folder to write to: labels/NAME.png holds class indices, color/NAME.png colours."""
    overlay: bool = False
    """Whether to write overlay/NAME.png too: the colours over the image."""
    opacity: float = 0.5
    """Opacity of the colours in overlays, 0 to 1."""
    base_size: tuple[int, int] | None = None
    """Height and width in pixels that images are fitted into before the network sees them, aspect kept; by default as
    in training. Masks always have the image's own size."""
    device: Device = "auto"
    """Where to compute."""
    overwrite: bool = False
    """Write into an output folder that is not empty."""


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Print a table of scores; write them as JSON if asked.

    Returns:
        The scores in percent, as `Scores.to_dict`.

    Raises:
        ValueError: network and data set have different numbers of classes, or options contradict each other.
        FileExistsError: the file for the scores exists.
        DataError: the data set is not as it should be.
    """
    if config.output is not None and config.output.exists() and not config.overwrite:
        raise FileExistsError(f"{config.output} exists. Choose another name, or give --overwrite.")
    model, notes = open_model(config.model)
    name = config.dataset or notes.get("dataset")
    if name is None:
        raise ValueError(f"{config.model} does not say what it was trained on: name the data set with --dataset.")
    spec = get_dataset(name, config.data_root)
    if spec.needs_root and config.data_root is None:
        raise ValueError(f"dataset {name!r} is read from disk: say where it is with --data_root FOLDER.")
    if model.num_classes != spec.num_classes:
        raise ValueError(f"{config.model} scores {model.num_classes} classes, but {name} has {spec.num_classes}.")
    inference = config.inference(spec.window)
    base_size = config.base_size or base_size_in(notes, config.model)
    data = SegmentationData(spec, config.data_root, base_size=base_size, workers=config.workers)
    data.source("val").check()
    with progress("images") as bar:
        task = bar.add_task("evaluating", total=len(data.source("val")), note="")
        matrix = evaluate_model(
            model,
            data.val_dataloader(),
            spec.num_classes,
            device=pick_device(config.device),
            inference=inference,
            on_image=lambda count: bar.advance(task, count),
        )
    scores = scores_from_confusion(matrix, spec.classes)
    _print_scores(scores, name)
    if config.output is not None:
        found = {"model": str(config.model), "dataset": name, "inference": asdict(inference), **scores.to_dict()}
        with written_at_once(config.output) as temporary:
            temporary.write_text(json.dumps(found, indent=2))
        say(f"written to {config.output}")
    return scores.to_dict()


def predict(config: PredictConfig) -> list[Path]:
    """Write a label PNG and a colour PNG for every image; go on past those that cannot be, and list them at the end.

    Returns:
        The label PNGs that were written.

    Raises:
        ValueError: a number is out of range, or options contradict each other.
        FileNotFoundError: there is no image.
        FileExistsError: the output folder is not empty.
        DataError: some images could not be read, or are too large; all others were written.
    """
    if not 0 <= config.opacity <= 1:
        raise ValueError(f"opacity must be between 0 and 1, got {config.opacity}.")
    # masks of an earlier prediction are no images, even if they lie among them
    paths = [path for path in _find_images(config.images) if config.output.resolve() not in path.resolve().parents]
    if config.output.is_dir() and any(config.output.iterdir()) and not config.overwrite:
        raise FileExistsError(f"{config.output} is not empty. Choose another folder, or give --overwrite=true.")
    model, notes = open_model(config.model)
    palette = palette_in(notes, config.model, model.num_classes)
    inference = config.inference(window_in(notes))
    fit = EvalTransform(size).fit if (size := config.base_size or base_size_in(notes, config.model)) else None
    device = pick_device(config.device)
    model.to(device)
    written, failed = [], []
    twins = Counter(path.with_suffix("") for path in paths)
    with progress("images") as bar:
        task = bar.add_task("predicting", total=len(paths), note="")
        for path in paths:
            bar.advance(task)
            try:
                image = read_image(path)
                _require_room(path, image, model)
            except DataError as error:
                failed.append(str(error))
                continue
            fitted = image if fit is None else fit(image)
            logits = predict_logits(model, fitted.unsqueeze(0).to(device), image.shape[-2:], inference)
            labels = logits.argmax(1)[0].to("cpu", torch.uint8)
            pictures = {"color": colorize(labels, palette)}
            if config.overlay:
                pictures["overlay"] = overlay(image, labels, palette, config.opacity)
            name = _output_name(path, config.images, unique=twins[path.with_suffix("")] == 1)
            target = config.output / "labels" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            write_label_png(target, labels, palette)
            for folder, picture in pictures.items():
                (config.output / folder / name).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(picture.numpy()).save(config.output / folder / name)
            written.append(target)
    say(f"{len(written)} of {len(paths)} images written to {config.output}")
    if failed:
        raise DataError(f"{len(failed)} of {len(paths)} images could not be read:\n  " + "\n  ".join(failed))
    return written


def pick_device(name: Device) -> torch.device:
    """The device of that name; "auto" takes the accelerator where there is one."""
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    found = accelerator or torch.device("cpu")
    if name not in ("auto", "cpu", found.type):
        raise ValueError(f"device {name!r} is not there, or this PyTorch is built without it; found {found.type!r}.")
    return found if name == "auto" else torch.device(name)


def _find_images(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    # A leading dot is a hidden file, such as the "._name.png" that macOS leaves on other disks.
    found = [file for file in path.rglob("[!.]*") if file.suffix.lower() in _IMAGE_SUFFIXES and file.is_file()]
    if not found:
        raise FileNotFoundError(f"no image at {path}: expected a file, or a folder with {', '.join(_IMAGE_SUFFIXES)}.")
    return sorted(found)


def _output_name(path: Path, root: Path, unique: bool) -> Path:
    """The image's place below `root` with the suffix .png; the old suffix is kept where two would collide."""
    relative = path.relative_to(root) if root.is_dir() else Path(path.name)
    return relative.with_suffix(".png") if unique else relative.with_name(relative.name + ".png")


def _require_room(path: Path, image: Tensor, model: Segmentor) -> None:
    """Refuse an image before the scores of all its pixels for all classes fill the memory."""
    height, width = image.shape[-2:]
    if (scores := height * width * model.num_classes * 4) > _MOST_SCORES:
        raise DataError(
            f"{path}: {width} x {height} pixels take {decimal(scores)} of scores for {model.num_classes} classes, "
            f"expected {decimal(_MOST_SCORES)} at most. Scale it down, or cut it into parts."
        )


def _print_scores(scores: Scores, dataset: str) -> None:
    table = Table("class", *(f"{name} %" for name in ("IoU", "accuracy")), title=dataset)
    for column in table.columns[1:]:
        column.justify = "right"
    for name in scores.IoU:
        cells = (scores.IoU[name], scores.acc[name])
        table.add_row(Text(name), *("-" if value is None else f"{value:.2f}" for value in cells))
    table.add_section()
    table.add_row("mean (mIoU, mAcc)", f"{scores.mIoU:.2f}", f"{scores.mAcc:.2f}", style="bold")
    table.add_row("all pixels (aAcc)", "", f"{scores.aAcc:.2f}")
    console.print(table)
