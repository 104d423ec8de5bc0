"""The two commands that train: a network on labels, and a student with its teacher."""

import json
from functools import partial
from typing import Any

import torch
from lightning.pytorch import Trainer, seed_everything

from fakd.console import is_main_process, progress, say
from fakd.data import Source
from fakd.data.datamodule import SegmentationData
from fakd.data.image_cache import CachedSource, cached_bytes, check_fits, image_sizes
from fakd.evaluation import chance_miou, evaluate_model, scores_from_confusion
from fakd.methods import Method, create_method
from fakd.models import Network, copy_weights, create_model, save_model
from fakd.training.callbacks import LastCheckpoint
from fakd.training.checkpoints import full_disk_explained, newest_checkpoint
from fakd.training.compiling import check_compiler
from fakd.training.config import DistillConfig, RunConfig, TrainConfig
from fakd.training.inputs import run_inputs
from fakd.training.module import DistillationModule
from fakd.training.run_folder import RunFolder, check_folder, prepare_folder, write_json
from fakd.training.teacher import Teacher, as_saved, load_teacher
from fakd.training.teacher_cache import TeacherCache, weights_digest
from fakd.training.timing import StepTimer
from fakd.training.together import together
from fakd.training.trainer import create_trainer, find_callback, peak_memory, say_step


def train(config: TrainConfig) -> dict[str, Any] | None:
    """Train a network on labels alone: a teacher, or the baseline of a comparison.

    Returns:
        What results.json holds, or None if the run was interrupted.
    """
    if finished := _finished(config):
        return finished
    data = _open_data(config)
    student = create_student(config)
    method = create_method("none", student, None, max_steps=config.max_steps)
    folder = prepare_folder(config, run_inputs(config))
    trainer = create_trainer(config, folder)
    with together(trainer):
        return _fit(config, folder, trainer, data, student, None, method, notes={})
    return None


def distill(config: DistillConfig) -> dict[str, Any] | None:
    """Distil a trained teacher into a student.

    The teacher is evaluated first; one that is no better than chance is refused unless `allow_bad_teacher`. With a
    teacher cache that is done once, as are its logits, and it takes no part in training.

    Returns:
        What results.json holds, or None if the run was interrupted.

    Raises:
        ValueError: the teacher does not fit the data set, or is no better than chance.
    """
    if finished := _finished(config):
        return finished
    data = _open_data(config)
    teacher = load_teacher(config.teacher, config)
    student = create_student(config)
    method = create_method(config.method, student, teacher, max_steps=config.max_steps, options=config.options)
    for note in method.notes:
        say(f"method    {note}")
    folder = prepare_folder(config, run_inputs(config, teacher))
    trainer = create_trainer(config, folder)
    with together(trainer):
        return _teach(config, folder, trainer, data, teacher, student, method)
    return None


def _teach(
    config: DistillConfig,
    folder: RunFolder,
    trainer: Trainer,
    data: SegmentationData,
    teacher: Teacher,
    student: Network,
    method: Method,
) -> dict[str, Any]:
    """Evaluate the teacher, and train the student by it."""
    data.trainer = trainer  # which knows this process's share of the images
    device = trainer.strategy.root_device
    cache = _open_cache(config, data, teacher)
    count = partial(_count, teacher, data, config, device, "evaluating the teacher", f"the teacher {config.teacher}")
    matrix = cache.confusion(count, trainer.strategy.broadcast) if cache else count()
    scores, chance = scores_from_confusion(matrix, data.spec.classes), chance_miou(matrix)
    say(f"teacher   mIoU {scores.mIoU:.2f}  mAcc {scores.mAcc:.2f}  ({config.teacher}; chance is {chance:.2f})")
    if scores.mIoU <= chance and not config.allow_bad_teacher:
        raise ValueError(
            f"the teacher's mIoU on {config.dataset} is {scores.mIoU:.2f}, no better than chance ({chance:.2f}): it "
            "was trained on other data, or not long enough. Give another --teacher, or --allow_bad_teacher=true."
        )
    if cache and method.needs_teacher:
        data.taught = cache.complete(teacher, device)
    running = teacher if data.taught is None else None
    return _fit(config, folder, trainer, data, student, running, method, notes={"teacher": scores.to_dict()})


def _finished(config: RunConfig) -> dict[str, Any] | None:
    """The results of the run that is to be resumed, if there is nothing left to do."""
    folder = RunFolder(config.output)
    if is_main_process():
        check_folder(config, folder)  # before data and networks are opened, so that a mistake shows at once
    if not config.resume:
        return None
    if not folder.results.is_file():
        if not folder.found_checkpoints():
            say(f"nothing to resume in {folder.root}: starting anew")
        return None
    say(f"finished already: {folder.results}")
    try:
        results: dict[str, Any] = json.loads(folder.results.read_text())
    except ValueError as error:
        raise ValueError(f"{folder.results} is damaged ({error}): delete it, and --resume writes it anew.") from None
    return results


def _open_data(config: RunConfig) -> SegmentationData:
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
    if config.spec.notice:
        say(config.spec.notice, style="dim")
    if config.check_data and is_main_process():
        data.check()
    counts = ", ".join(f"{len(data.source(split))} {split}" for split in ("train", "val"))
    say(f"data      {config.dataset}: {counts} images, {config.spec.num_classes} classes")
    if config.cache_images:
        data.cached = _cached_images(data.source("train"), config.devices)
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


def create_student(config: RunConfig) -> Network:
    """Make the network that learns, from the run's seed and the weights it is to start from."""
    seed_everything(config.seed, verbose=False)
    student = create_model(
        config.trained_network,
        num_classes=config.spec.num_classes,
        output_stride=config.output_stride,
        channels=config.head_channels,
        dropout=config.dropout,
        aux=config.aux_weight > 0,
        backbone_weights=config.backbone_weights,
    )
    if config.init is not None:
        copy_weights(config.init, student)
    without = ", without an auxiliary head" if config.aux_weight and student.aux_head is None else ""
    say(f"network   {config.trained_network}: {_parameters(student) / 1e6:.2f} M parameters{without}")
    return student


def _fit(
    config: RunConfig,
    folder: RunFolder,
    trainer: Trainer,
    data: SegmentationData,
    student: Network,
    teacher: Teacher | None,
    method: Method,
    notes: dict[str, Any],
) -> dict[str, Any]:
    """Train, evaluate and write what came out.

    Raises:
        Interrupted: the user did.
    """
    # as the first process sees it: a file system may show the others something older
    found = newest_checkpoint(folder) if config.resume and trainer.is_global_zero else None
    resume_from = trainer.strategy.broadcast(found)
    if resume_from is not None:
        say(f"resuming  from {resume_from}")
    if config.compile:
        check_compiler(trainer.strategy.root_device)
    say_step(config, trainer.strategy.root_device)
    module = DistillationModule(student, method, teacher, config, config.spec.classes)
    with full_disk_explained(folder), find_callback(trainer, LastCheckpoint).stop.heard():
        trainer.fit(module, datamodule=data, ckpt_path=resume_from)
    matrix = _count(student, data, config, trainer.strategy.root_device, "evaluating", "the network")
    scores = scores_from_confusion(matrix, data.spec.classes)
    timer = find_callback(trainer, StepTimer)
    seconds = timer.seconds
    results = {
        **scores.to_dict(),
        "parameters": _parameters(student),
        "steps": trainer.global_step,
        "seconds": round(seconds, 2),
        "seconds_per_step": round(seconds / trainer.global_step, 5),
        "data_wait": round(timer.data_seconds / seconds, 5) if seconds else 0.0,
        "peak_memory": peak_memory(trainer.strategy.root_device),
        **notes,
    }
    if trainer.is_global_zero:
        with full_disk_explained(folder):
            save_model(student, folder.student, config.spec.notes(config.base_size))
            write_json(folder.results, results)
        for older in folder.found_checkpoints():
            if older != folder.last:
                older.unlink()  # nobody resumes a finished run
    say(f"mIoU {scores.mIoU:.2f}  mAcc {scores.mAcc:.2f}  aAcc {scores.aAcc:.2f}  in {seconds:.0f} s", style="bold")
    say(f"written to {folder.root}")
    return results


def _open_cache(config: DistillConfig, data: SegmentationData, teacher: Teacher) -> TeacherCache | None:
    if config.teacher_cache is None:
        return None
    return TeacherCache(config.teacher_cache, config, data, weights_digest(as_saved(config.teacher, teacher)))


def _count(
    model: Teacher, data: SegmentationData, config: RunConfig, device: torch.device, what: str, name: str
) -> torch.Tensor:
    """The confusion matrix of the validation split."""
    loader = data.val_dataloader()
    with progress("images") as bar:
        task = bar.add_task(what, total=len(loader), note="")
        return evaluate_model(
            model,
            loader,
            data.spec.num_classes,
            device=device,
            inference=config.inference(config.spec.window),
            name=name,
            on_image=lambda count: bar.advance(task, count),
        )


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
