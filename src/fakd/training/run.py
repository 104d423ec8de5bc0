"""The two commands that train: a network on labels, and a student with its teacher."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from fakd.console import progress, say
from fakd.data.batches import SegmentationData
from fakd.data.pairing import listed
from fakd.data.unlabelled import UNLABELLED_SET
from fakd.evaluation import chance_miou, evaluate_model, scores_from_confusion
from fakd.evaluation.ensembles import teacher_names, teacher_title
from fakd.files.atomic import write_json
from fakd.machine import described
from fakd.methods import create_method
from fakd.models import Scorer, load_model, save_model
from fakd.models.by_name import check_trained
from fakd.training.begun import begun
from fakd.training.checkpoints import full_disk_explained
from fakd.training.config import RunConfig, TrainConfig
from fakd.training.cost import peak_memory
from fakd.training.distill_config import DistillConfig
from fakd.training.fabric import check_machine, create_fabric, say_step
from fakd.training.label_loss import weigh_classes
from fakd.training.launch import launched
from fakd.training.learner import Learner
from fakd.training.loop import Trained, fit
from fakd.training.outcome import say_outcome
from fakd.training.resuming import check_same_inputs, prepare_folder
from fakd.training.run_data import data_inputs, look_through, open_data
from fakd.training.run_folder import RunFolder
from fakd.training.stopping import Interrupted, StopRequest
from fakd.training.student import check_network, count_parameters, create_student
from fakd.training.teacher import Teacher, load_teacher, run_inputs
from fakd.training.teacher_cache import TeacherCache
from fakd.training.tracker import track_results, tracked
from fakd.training.unlabelled import teacher_masks
from fakd.training.verdicts import never_found


def train(config: TrainConfig) -> dict[str, Any] | None:
    """Train a network on labels alone: a teacher, or the baseline of a comparison.

    Returns:
        What results.json holds, or None if the run was interrupted.

    Raises:
        BusyError: another process is at work on the run.
    """
    with begun(config) as finished:
        return finished or _train(config)


def _train(config: TrainConfig) -> dict[str, Any] | None:
    check_network(config)
    check_machine(config)
    data = open_data(config)
    student = create_student(config)
    method = create_method("none", student, None, max_steps=config.max_steps)
    folder = _prepared(config, data, run_inputs(config))
    run = _Run(config, folder, data)
    with run.stopped_together():
        return run.train(Learner(student, method, None, config), notes={})
    return run.interrupted()


def distill(config: DistillConfig, teacher: Scorer | None = None) -> dict[str, Any] | None:
    """Distil a trained teacher into a student.

    The teacher is evaluated first; one that is no better than chance is refused unless `allow_bad_teacher`. With a
    teacher cache that is done once, as are its logits, and it takes no part in training.

    Args:
        config: of the run.
        teacher: the network that teaches, where it is no file, as a `fakd.ScoringTeacher` of any function. What the
            config calls it stands for it in the run's files, and in the teacher cache: another function needs another
            name.

    Returns:
        What results.json holds, or None if the run was interrupted.

    Raises:
        ValueError: the teacher does not fit the data set, or is no better than chance.
        BusyError: another process is at work on the run.
    """
    with begun(config) as finished:
        return finished or _distill(config, teacher)


def _distill(config: DistillConfig, teacher: Scorer | None) -> dict[str, Any] | None:
    check_network(config)
    for name in teacher_names(config.teacher) if teacher is None else ():
        check_trained(name)
    check_machine(config)
    data = open_data(config)
    teaching = load_teacher(config.teacher, config, teacher)
    student = create_student(config)
    method = create_method(config.method, student, teaching.network, max_steps=config.max_steps, options=config.options)
    for note in method.notes:
        say(f"method    {note}")
    folder = _prepared(config, data, run_inputs(config, teaching))
    run = _Run(config, folder, data)
    with run.stopped_together():
        scores = run.teach(teaching, logits_wanted=method.needs_teacher)
        network = teaching.network if data.taught is None else None
        return run.train(Learner(student, method, network, config), notes={"teacher": scores})
    return run.interrupted()


def _prepared(config: RunConfig, data: SegmentationData, inputs: dict[str, str]) -> RunFolder:
    """The run's folder, once every file was looked at; and before that, whatever can be refused sooner."""
    inputs |= data_inputs(data)
    check_same_inputs(config, inputs)
    look_through(data, config)
    return prepare_folder(config, inputs)


class _Run:
    """A run whose folder is prepared: its processes, and what they do one after the other."""

    def __init__(self, config: RunConfig, folder: RunFolder, data: SegmentationData) -> None:
        self.config, self.folder, self.data = config, folder, data
        self.fabric = create_fabric(config, folder)
        self.stop = StopRequest()
        self._evaluating = 0.0  # seconds, before and after training

    @contextmanager
    def stopped_together(self) -> Iterator[None]:
        """Start the other processes of the run, where nobody has. One that is asked to stop says where it stands.

        Raises:
            ConnectionError: another process of the run is gone.
        """
        self.fabric.launch()
        self.data.rank, self.data.world_size = self.fabric.global_rank, self.fabric.world_size
        try:
            with self.stop.heard(), tracked(self.fabric, self.config.to_dict()):
                yield
        except Interrupted as interrupted:
            say(str(interrupted))
        except RuntimeError as error:
            if self.fabric.world_size == 1 or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
                raise
            raise ConnectionError(
                "another process of this run is gone: it failed, crashed, or was killed. Look for its message, and go "
                "on with the same command and --resume."
            ) from error

    def interrupted(self) -> dict[str, Any] | None:
        """What a command returns that was stopped: None, which `fakd` makes exit status 130 of."""
        # Fabric's launcher kills the first process, which may still be writing, where another ends with any but 0.
        return None if self.fabric.is_global_zero or launched() else {}

    def teach(self, teacher: Teacher, *, logits_wanted: bool) -> dict[str, Any]:
        """Score the teacher, and with a cache have its logits come with the crops.

        Raises:
            ValueError: the teacher is no better than chance.
        """
        config, data = self.config, self.data
        assert isinstance(config, DistillConfig)
        title = teacher_title(config.teacher)
        cache = None if config.teacher_cache is None else TeacherCache(config.teacher_cache, config, data, teacher)

        def count() -> torch.Tensor:
            return self._count(teacher.network, "evaluating the teacher", f"the teacher {title}")

        own_truth = config.dataset == UNLABELLED_SET
        if own_truth:
            self._take_masks(teacher.network)
        matrix = cache.confusion(count, self.fabric.broadcast) if cache and not own_truth else count()
        scores, chance = scores_from_confusion(matrix, data.spec.classes), chance_miou(matrix)
        found = "its masks stand for labels" if own_truth else f"mIoU {scores.mIoU:.2f}  mAcc {scores.mAcc:.2f}"
        say(f"teacher   {found}  ({title}; chance is {chance:.2f})")
        if scores.mIoU <= chance and not config.allow_bad_teacher:
            raise ValueError(
                f"the teacher's mIoU on {config.dataset} is {scores.mIoU:.2f}, no better than chance ({chance:.2f}): "
                "it was trained on other data, or not long enough. Give another --teacher, or --allow-bad-teacher."
            )
        if never := never_found(scores.to_dict()):
            say(f"teacher   never finds {listed(never)}: of these the student learns from labels alone", style="yellow")
        if cache and logits_wanted:
            data.taught = cache.complete(self.fabric.device, on_image=self.stop.obey)
        return scores.to_dict()

    def train(self, learner: Learner, notes: dict[str, Any]) -> dict[str, Any]:
        """Train, evaluate and write what came out.

        Raises:
            Interrupted: the user did.
        """
        config, folder, student = self.config, self.folder, learner.scored
        say(f"machine   {described(self.fabric.device)}, {config.precision}")
        say_step(config, self.fabric.device, self.data)
        if learner.label_loss.weights is not None:
            weigh_classes(learner.label_loss, self.data, self.fabric)
        with full_disk_explained(folder):
            trained = fit(self.fabric, config, folder, self.data, learner, self.stop)
        matrix = trained.matrix
        if kept_best := config.report == "best" and 0 < trained.best_step < trained.steps:
            say(f"report    the weights of step {trained.best_step}, the best by mIoU on val: {trained.best:.2f}")
            best: Any = load_model(folder.best)[0].state_dict() if self.fabric.is_global_zero else None
            student.load_state_dict(self.fabric.broadcast(best))
        if kept_best or matrix is None or config.precision != "32-true":  # of others the scores are of 32 bits at last
            matrix = self._count(student, "evaluating", "the network")
        scores = scores_from_confusion(matrix, self.data.spec.classes)
        results = {
            **scores.to_dict(),
            "chance": chance_miou(matrix),
            "report": config.report,
            "report_step": trained.best_step if kept_best else trained.steps,
            "best_step": trained.best_step,
            "best_mIoU": trained.best if trained.best_step else None,
            "parameters": count_parameters(student),
            **self._cost(trained),
            **notes,
        }
        if config.dataset == UNLABELLED_SET:
            results["scored_against"] = "teacher"
        if self.fabric.is_global_zero:
            with full_disk_explained(folder):
                save_model(student, folder.student, config.spec.notes(config.base_size))
                write_json(folder.results, results)
            track_results(self.fabric, results, trained.steps)
            for older in folder.found_checkpoints():
                if older != folder.last:
                    older.unlink()  # nobody resumes a finished run
        say_outcome(config, folder, results)
        return results

    def _take_masks(self, teacher: torch.nn.Module) -> None:
        """Make the teacher's masks the labels of the validation images, of those that this process looks at.

        Raises:
            Interrupted: the user did.
        """
        images = self.data.val_dataloader()
        with progress("images") as bar:
            task = bar.add_task("asking the teacher", total=len(images), note="")

            def on_image() -> None:
                self.stop.obey()
                bar.advance(task)

            inference = self.config.inference(self.config.spec.window)
            masks = teacher_masks(teacher, images, self.fabric.device, inference, on_image)
        self.data.relabel_val(dict(zip(self.data.val_indices(), masks, strict=True)))

    def _cost(self, trained: Trained) -> dict[str, Any]:
        clock, steps, seconds = trained.clock, trained.steps, trained.clock.seconds
        evaluating = clock.evaluation_seconds + self._evaluating
        return {
            "steps": steps,
            "wall_seconds": round(seconds + evaluating, 2),
            "evaluation_share": round(evaluating / (seconds + evaluating), 5) if seconds + evaluating else 0.0,
            "seconds": round(seconds, 2),
            "seconds_per_step": round(seconds / steps, 5),
            "data_wait": round(clock.data_seconds / seconds, 5) if seconds else 0.0,
            "peak_memory": peak_memory(self.fabric.device),
        }

    def _count(self, model: torch.nn.Module, what: str, name: str) -> torch.Tensor:
        """The confusion matrix of the validation split.

        Raises:
            Interrupted: the user did.
        """
        loader, since = self.data.val_dataloader(), time.monotonic()
        with progress("images") as bar:
            task = bar.add_task(what, total=len(loader), note="")

            def on_image(count: int) -> None:
                self.stop.obey()
                bar.advance(task, count)

            matrix = evaluate_model(
                model,
                loader,
                self.data.spec.num_classes,
                device=self.fabric.device,
                inference=self.config.inference(self.config.spec.window),
                name=name,
                on_image=on_image,
            )
        self._evaluating += time.monotonic() - since
        return matrix
