"""`fakd evaluate`: scores of a trained network, or of several together, on a data set."""

from dataclasses import KW_ONLY, asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from fakd.console import console, progress, say
from fakd.data.bands import BandsConfig
from fakd.data.class_names import Classes
from fakd.evaluation.ensembles import TeacherClassesConfig, as_one, teacher_names, teacher_title
from fakd.evaluation.evaluate import evaluate_model, validation_data
from fakd.evaluation.inference import InferenceConfig
from fakd.evaluation.predictor import Device, Predictor, base_size_in
from fakd.evaluation.scores import Scores, scores_from_confusion
from fakd.files.atomic import check_free, write_json
from fakd.machine import described
from fakd.models.by_name import open_any
from fakd.options import Output, Size, Teachers


@dataclass
class EvaluateConfig(InferenceConfig, TeacherClassesConfig, BandsConfig):
    """Score a trained network on a data set's validation split: IoU and accuracy per class, mIoU, mAcc, aAcc.

    A network of other classes is brought to the data set's by --class-map, as a teacher is to its student's. With
    others by --ensemble-with it is the mean of their probabilities that is scored, as several teachers teach it.
    """

    model: str
    """Trained network: a run folder, a .safetensors file, a .pth checkpoint of MMSegmentation, mmseg:NAME, toy-scenes
    for the teacher that comes with the package, an .onnx file of `fakd export`, or one of another library, as
    torchvision:NAME, smp:FOLDER or hf:NAME; or another program's .onnx file, or torchscript:FILE."""
    _: KW_ONLY
    ensemble_with: Teachers | None = None
    """Another network to score it together with; may be given several times. --class-map and --teacher-weights are then
    for all of them, the first one included."""
    dataset: str | None = None
    """Data set; by default the one that the network was trained on, or where that is a drawn one, folder with
    --data-root."""
    data_root: Path | None = None
    """Folder of the data set, or of your own images and masks."""
    base_size: Size | None = None
    """Height and width in pixels that images are fitted into, aspect kept; by default as in training."""
    workers: int = 2
    """Loader processes."""
    device: Device = "auto"
    """Where to compute."""
    output: Output | None = None
    """File to write the scores to, as JSON."""
    overwrite: bool = False
    """Replace that file if it exists."""


def evaluate(config: EvaluateConfig) -> dict[str, Any]:
    """Print a table of scores; write them as JSON if asked.

    Returns:
        The scores in percent, as `Scores.to_dict`.

    Raises:
        ValueError: network and data set have different numbers of classes, or options contradict each other.
        FileExistsError: the file for the scores exists.
        DataError: the data set is not as it should be.
    """
    if config.output is not None:
        check_free(config.output, config.overwrite)
    names = (config.model, *teacher_names(config.ensemble_with or ()))
    opened = [open_any(name) for name in names]
    notes = opened[0][1]
    data = validation_data(config.model, notes, config)
    spec = data.spec
    advice = "Name by --dataset the one that it was trained on, or say by --class-map which classes belong together."
    model = as_one(names, opened, config, spec.name, Classes.of_dataset(spec), advice)
    known = {**notes, **spec.notes(base_size_in(notes, config.model))}
    network = Predictor.of(teacher_title(names), model, known, config, spec.window, device=config.device)
    data.source("val").check()
    say(f"machine   {described(network.device)}")
    with progress("images") as bar:
        task = bar.add_task("evaluating", total=len(data.source("val")), note="")
        matrix = evaluate_model(
            network.model,
            data.val_dataloader(),
            spec.num_classes,
            device=network.device,
            inference=network.inference,
            name=network.name,
            on_image=lambda count: bar.advance(task, count),
        )
    scores = scores_from_confusion(matrix, spec.classes)
    _print_scores(scores, spec.name)
    if config.output is not None:
        asked = {"model": teacher_title(names), "dataset": spec.name, "inference": asdict(network.inference)}
        write_json(config.output, asked | scores.to_dict())
        say(f"written to {config.output}")
    return scores.to_dict()


def _print_scores(scores: Scores, dataset: str) -> None:
    table = Table("class", *(Column(f"{name} %", justify="right") for name in ("IoU", "accuracy")), title=dataset)
    for name in scores.IoU:
        cells = (scores.IoU[name], scores.acc[name])
        table.add_row(Text(name), *("-" if value is None else f"{value:.2f}" for value in cells))
    table.add_section()
    table.add_row("mean (mIoU, mAcc)", f"{scores.mIoU:.2f}", f"{scores.mAcc:.2f}", style="bold")
    table.add_row("all pixels (aAcc)", "", f"{scores.aAcc:.2f}")
    console.print(table)
