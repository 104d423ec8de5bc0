"""The training loop: Algorithm 1 of the paper, from the first step, or the last checkpoint, to the last step."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from lightning_fabric import Fabric
from torch import Tensor, nn

from fakd.console import progress, say
from fakd.data import Sample
from fakd.data.batches import SegmentationData
from fakd.data.seeds import mixed_seed
from fakd.evaluation import evaluate_model, scores_from_confusion
from fakd.machine import processes
from fakd.models.network import CONFIG_KEY, NOTES_KEY
from fakd.training.checkpoints import CheckpointFiles, newest_checkpoint
from fakd.training.config import RunConfig
from fakd.training.cost import Clock
from fakd.training.learner import Learner
from fakd.training.nonfinite import NonFiniteGuard
from fakd.training.optimization import create_optimizer, learning_rate_share, parts
from fakd.training.run_folder import RunFolder
from fakd.training.stopping import Interrupted, StopRequest, Vote


def fit(
    fabric: Fabric, config: RunConfig, folder: RunFolder, data: SegmentationData, learner: Learner, stop: StopRequest
) -> "Trained":
    """Train the student.

    Args:
        fabric: launched; knows devices, processes, precision and loggers.
        config: of the run.
        folder: of the run, prepared.
        data: where crops and validation images come from.
        learner: what is trained, with the teacher in it.
        stop: whether somebody wants the run to stop after its step.

    Returns:
        What came of it, over all starts of the run.

    Raises:
        Interrupted: the run was asked to stop, and its checkpoint is written.
        NonFiniteLossError: a loss term, or what came of it, is infinite or NaN.
    """
    every, log_every = config.checkpoint_every, config.log_every
    eval_every = config.eval_every or evaluation_interval(config, len(data.source("val")))
    assert every is not None  # RunConfig resolves them
    assert log_every is not None
    files, vote = CheckpointFiles(folder, config.keep_checkpoints), Vote()

    # The run goes on where its newest sound checkpoint stands, as the first process sees it.
    found = newest_checkpoint(folder) if config.resume and fabric.is_global_zero else None
    saved = files.load_checkpoint(path) if (path := fabric.broadcast(found)) else {}
    if saved:
        say(f"resuming  from {path}")
        learner.load_state_dict(saved["state_dict"])
    remarked = False
    first, best, clock = saved.get("global_step", 0), saved.get("best", -1.0), Clock(**saved.get("clock", {}))
    best_step, stale = saved.get("best_step", 0), saved.get("stale", 0)  # evaluations since the best one
    done, matrix = first, None

    learner.prepare(fabric.device)
    optimizer = create_optimizer(learner.student, learner, config)
    rates = [group["lr"] for group in optimizer.param_groups]
    terms_of, optimizer = fabric.setup(learner, optimizer)
    if saved:
        optimizer.load_state_dict(saved["optimizer_states"][0])
        fabric.strategy.precision.load_state_dict(saved["precision"])
    guard = NonFiniteGuard(learner, fabric.device, log_every, folder.nonfinite, fabric.global_rank, fabric.world_size)
    batches: Iterator[Any] = iter(fabric.setup_dataloaders(data.train_dataloader(first), use_distributed_sampler=False))
    images = data.val_dataloader()  # whose loader processes stay from one evaluation to the next

    def save(path: Any) -> None:
        guard.look_at_weights()
        if fabric.is_global_zero:
            files.save_checkpoint(
                {
                    "global_step": step + 1,
                    "state_dict": learner.state_dict(),
                    "optimizer_states": [optimizer.state_dict()],
                    "precision": fabric.strategy.precision.state_dict(),
                    "best": best,
                    "best_step": best_step,
                    "stale": stale,
                    "clock": clock.state_dict(),
                    # which network it holds, so that it can be opened as one
                    NOTES_KEY: {CONFIG_KEY: learner.student.config.to_json(), **config.spec.notes(config.base_size)},
                },
                path,
            )

    learner.train()
    with progress("steps") as bar, clock.running():
        task = bar.add_task("training", total=config.max_steps, completed=first, note="")
        for step in range(first, config.max_steps):
            if config.gives_up(step, best, stale):
                break
            with clock.waiting():
                batch = next(batches)
            guard.begin(step, batch)
            # The step's draws depend on (seed, step, rank) alone, so that a resumed run repeats them.
            torch.manual_seed(mixed_seed("step", config.seed, step, fabric.global_rank))

            terms = dict[str, Tensor]()
            for number, part in enumerate(parts(batch, config.accumulate), start=1):
                with fabric.no_backward_sync(terms_of, enabled=number < config.accumulate):
                    own = {name: term / config.accumulate for name, term in terms_of(part, step).items()}
                    fabric.backward(torch.stack(list(own.values())).sum())
                terms = {name: terms.get(name, 0) + term.detach() for name, term in own.items()}
            if config.clip_grad:  # a gradient that is not finite is the guard's to find
                fabric.clip_gradients(terms_of, optimizer, max_norm=config.clip_grad, error_if_nonfinite=False)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * learning_rate_share(step, config)
            optimizer.step()
            optimizer.zero_grad()
            if learner.ema is not None:
                learner.ema.update(learner.student, step)

            done, matrix = step + 1, None
            bar.update(task, completed=done)
            if done % log_every == 0:  # rarely, because reading a number makes the host wait for the device
                watched = {name: value.item() for name, value in learner.method.watched.items()}
                fabric.log_dict(_row(fabric, terms, watched), step)
                if not remarked and (remark := learner.method.remark(watched)):
                    remarked = True
                    say(f"step {done}  {remark}", style="yellow")
            if done % log_every == 0 or done == config.max_steps:
                bar.update(task, note="  ".join(f"{name} {value.item():.3f}" for name, value in terms.items()))
            guard.end(step, terms)

            if done % eval_every == 0:
                guard.look_at_weights()
                with clock.paused():
                    matrix = validate(fabric, config, images, learner)
                    scores = scores_from_confusion(matrix, config.spec.classes)
                    fabric.log_dict({f"val/{name}": getattr(scores, name) for name in ("mIoU", "mAcc", "aAcc")}, step)
                    say(f"step {done}/{config.max_steps}  val {config.score} {scores.mIoU:.2f}")
                stale += 1
                if scores.mIoU > best:
                    best, best_step, stale = scores.mIoU, done, 0
                    save(folder.best)

            ending = done == config.max_steps or config.gives_up(done, best, stale)
            stopping = vote.any(stop.asked)  # or one process would wait for the others for ever
            if stopping or done % every == 0 or ending:
                save(folder.last)
            if stopping:
                fabric.barrier()  # the others must not be gone while the first one writes
                raise Interrupted.at(done, config.max_steps)
    del batches, images  # whose loader processes end here, where a signal raises nothing
    share_statistics(learner)
    if vote.any(stop.asked):
        raise Interrupted.at(done, config.max_steps)
    if done < config.max_steps:
        floor = config.floor(done)
        short = f"the best mIoU, {best:.2f} of step {best_step}, is below {floor:.2f}"
        stalled = f"{stale} evaluations were no better than mIoU {best:.2f} of step {best_step}"
        say(f"stopped early at step {done}: {short if best < floor else stalled}")
    return Trained(clock, done, best_step, best, matrix)


class Trained(NamedTuple):
    """What came of a run's training."""

    clock: Clock
    steps: int
    """How many there were, fewer than asked for where patience ended."""
    best_step: int
    """After which the best evaluation was; 0 where there was none."""
    best: float
    """Its mIoU."""
    matrix: Tensor | None
    """The confusion matrix of the weights of the last step, where they were evaluated."""


def evaluation_interval(config: RunConfig, images: int) -> int:
    """Steps between evaluations, so that there are ten, or fewer where they would take over a tenth of the run.

    Judged by the pixels that networks see, those of training three times, once forward and twice backward: a rule by
    the clock would evaluate a resumed run at other steps.
    """
    base, crop = config.base_size or config.spec.base_size, config.crop_size or config.spec.crop_size
    asked = sum(scale**2 for scale in config.scales) * (2 if config.flip else 1)
    evaluation = images * base[0] * base[1] * asked
    step = 3 * sum(config.crops) * crop[0] * crop[1]
    affordable = int(config.max_steps * step / (9 * evaluation)) if evaluation else 10
    return max(1, config.max_steps // min(max(affordable, 1), 10))


def validate(fabric: Fabric, config: RunConfig, images: Iterable[Sample], learner: Learner) -> Tensor:
    """The confusion matrix of the student on the validation split, each image counted once over all processes."""
    share_statistics(learner)
    with fabric.autocast():
        matrix = evaluate_model(
            learner.scored,
            images,
            config.spec.num_classes,
            device=fabric.device,
            inference=config.inference(config.spec.window),
        )
    learner.train()
    return matrix


def share_statistics(learner: nn.Module) -> None:
    """Let all processes have the first one's batch statistics, which alone are saved.

    Synchronised ones are the same already. Nothing reads them in training, so once before an evaluation will do.
    """
    if processes() > 1:
        for layer in learner.modules():
            if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                for buffer in layer.buffers(recurse=False):
                    dist.broadcast(buffer, src=0)


def _row(fabric: Fabric, terms: dict[str, Tensor], watched: dict[str, float]) -> dict[str, float]:
    """The terms and their sum for the logs, their mean over all processes, and what the method watches."""
    values: Any = fabric.all_reduce(torch.stack(list(terms.values())), reduce_op="mean")
    row = {f"loss/{name}": value for name, value in zip(terms, values.tolist(), strict=True)}
    return {**row, "loss/total": values.sum().item(), **{f"watched/{name}": value for name, value in watched.items()}}
