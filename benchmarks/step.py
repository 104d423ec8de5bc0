"""What a step of `fakd distill` spends its time on, PSPNet-R101 to PSPNet-R18, and what the fast path gains.

    python benchmarks/step.py --rounds 3 --threads 2

Runs the objects of `fakd distill`: its data, networks, method, learner and optimizer, without the loop around them.
Prints three Markdown tables: the parts of an FAKD step; the student alone, CWD and FAKD, with the teacher beside it and
with its logits from a cache; and the step with everything that makes it fast against the step without. What is compared
takes turns in one process, round by round, and a ratio is the median over the rounds of the ratios within one. The
memory is the most that a step holds beside networks and batch: tensors on the CPU, the allocator's count on a GPU.
`--clock cpu` counts what the process computes, which others on the machine hardly lengthen.

On a GPU a step is 16 crops of 512x512, and fast means bf16, channels-last and torch.compile beside the folded teacher.
On a CPU it is 2 of 128x128, in bf16 where the CPU has matrix units for it (AMX), as others take many times as long with
it; `--compile` compiles there too, which takes minutes. A cached teacher's logits come with the batch, as
`--teacher-cache` brings them.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import torch
from memory import peak_memory
from torch import Tensor

from fakd.data import Sample
from fakd.data.batches import SegmentationData
from fakd.methods import create_method
from fakd.models import Segmentor, create_model
from fakd.models.inference_copy import inference_copy
from fakd.training.config import TrainConfig
from fakd.training.learner import Learner

CPU_HAS_BF16 = Path("/proc/cpuinfo").exists() and "amx_bf16" in Path("/proc/cpuinfo").read_text()
"""Whether the CPU multiplies matrices in bf16; others take many times as long with it."""

CLOCKS = {"wall": perf_counter, "cpu": process_time}
ALONE = "the student alone"
PARTS = ("data wait", "teacher forward", "student forward", "losses", "backward", "optimizer")
# FAKD at its full strength: its ramp would start at 0, where a step has less to do.
OPTIONS: dict[str, dict[str, Any]] = {"fakd": {"schedule": "constant"}}


@dataclass
class Step:
    """One training step as `fakd distill` does it, timed part by part."""

    learner: Learner
    batches: Iterator[Sample]
    device: torch.device
    bf16: bool
    clock: Callable[[], float]

    def __post_init__(self) -> None:
        learner, config = self.learner, self.learner.config
        learner.prepare(self.device)
        learner.train()
        weights = [parameter for parameter in learner.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(
            weights, lr=config.spec.learning_rate, momentum=config.momentum, weight_decay=config.weight_decay
        )
        self.spent = dict.fromkeys(PARTS, 0.0)
        # instance attributes, which hide the methods
        learner._ask_student = self._timed("student forward", learner._ask_student)  # type: ignore[method-assign]
        learner._ask_teacher = self._timed("teacher forward", learner._ask_teacher)  # type: ignore[method-assign]

    def __call__(self) -> dict[str, float]:
        """Do a step and return the seconds of its parts."""
        self.spent = dict.fromkeys(PARTS, 0.0)
        with self._part("data wait"):
            batch = next(self.batches)
            batch = Sample(*(part.to(self.device) if isinstance(part, Tensor) else part for part in batch))
        autocast = torch.autocast(self.device.type, torch.bfloat16) if self.bf16 else nullcontext()
        with self._part("losses"), autocast:
            loss = torch.stack(list(self.learner(batch, 0).values())).sum()
        self.spent["losses"] -= self.spent["teacher forward"] + self.spent["student forward"]
        with self._part("backward"):
            loss.backward()
        with self._part("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad()
        return self.spent

    @contextmanager
    def _part(self, name: str) -> Iterator[None]:
        self._wait()
        start = self.clock()
        yield
        self._wait()
        self.spent[name] += self.clock() - start

    def _timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any) -> Any:
            with self._part(name):
                return call(*args)

        return timed

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def make_step(method: str, teacher: Segmentor, args: argparse.Namespace, fast: bool, batches: Iterator[Sample]) -> Step:
    """Build student, method and learner as `fakd distill` does."""
    torch.manual_seed(0)
    on_gpu = args.device == "cuda"
    config = TrainConfig(
        precision="bf16-mixed" if fast and (on_gpu or CPU_HAS_BF16) else "32-true",
        channels_last=None if fast else False,
        compile=fast and (on_gpu or args.compile),
    )
    student = create_model("pspnet-r18", num_classes=config.spec.num_classes)
    options = OPTIONS.get(method, {})
    objective = create_method(method, student, teacher, max_steps=1000, options=options)
    learner = Learner(student, objective, teacher, config)
    return Step(
        learner, batches, torch.device(args.device), bf16=config.precision == "bf16-mixed", clock=CLOCKS[args.clock]
    )


def crops(args: argparse.Namespace) -> Iterator[Sample]:
    """The loader's batches of drawn scenes, drawn anew at the size of the crops."""
    spec = TrainConfig().spec
    size = (args.size, args.size)
    data = SegmentationData(spec, base_size=size, crop_size=size, batch_size=args.batch, workers=args.workers)
    return iter(data.train_dataloader())


def with_logits(batches: Iterator[Sample], args: argparse.Namespace) -> Iterator[Sample]:
    """The same batches with a teacher's logits, of the size that a teacher of stride 8 gives."""
    classes, side = TrainConfig().spec.num_classes, -(-args.size // 8)
    logits = torch.randn(args.batch, classes, side, side)
    return (batch._replace(teacher_logits=logits) for batch in batches)


def time_in_rounds(steps: dict[str, Step], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Each step's parts in every round, after one round that does not count."""
    for step in steps.values():
        step()
    spent: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            spent[name].append(step())
    return spent


def totals(rounds: list[dict[str, float]], without: str = "data wait") -> list[float]:
    """Seconds of every round's step, once its batch is there."""
    return [sum(parts.values()) - parts[without] for parts in rounds]


def print_parts(rounds: list[dict[str, float]]) -> None:
    print("| part | ms | share |\n| --- | ---: | ---: |")
    whole = median(sum(parts.values()) for parts in rounds)
    for name in PARTS:
        share = median(parts[name] / sum(parts.values()) for parts in rounds)
        print(f"| {name} | {1000 * median(parts[name] for parts in rounds):.1f} | {share:.1%} |")
    print(f"| step | {1000 * whole:.1f} | 100% |\n", flush=True)


def print_methods(spent: dict[str, list[dict[str, float]]], memory: dict[str, int]) -> None:
    seconds = {name: totals(rounds) for name, rounds in spent.items()}

    def over(name: str, other: str) -> float:
        return median(own / base for own, base in zip(seconds[name], seconds[other], strict=True))

    print("| step of | ms | over the student alone | over cwd | MB |\n| --- | ---: | ---: | ---: | ---: |")
    for name, own in seconds.items():
        cwd = "cwd, teacher cached" if "cached" in name else "cwd"
        print(
            f"| {name} | {1000 * median(own):.1f} | {over(name, ALONE):.3f} | {over(name, cwd):.3f} | "
            f"{memory[name] / 1e6:,.0f} |"
        )
    print(flush=True)


def print_fast(spent: dict[str, list[dict[str, float]]], args: argparse.Namespace) -> None:
    slow = totals(spent["everything off"])
    print("| FAKD | images per second | times faster |\n| --- | ---: | ---: |")
    for name, rounds in spent.items():
        own = totals(rounds)
        gain = median(before / after for before, after in zip(slow, own, strict=True))
        print(f"| {name} | {args.batch / median(own):.2f} | {gain:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="default: 16 on a GPU, 2 on a CPU")
    parser.add_argument("--size", type=int, help="side of the crops; default: 512 on a GPU, 128 on a CPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: the seconds that all threads compute")
    parser.add_argument("--compile", action="store_true", help="compile on a CPU too")
    args = parser.parse_args()
    args.batch = args.batch or (16 if args.device == "cuda" else 2)
    args.size = args.size or (512 if args.device == "cuda" else 128)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    plain = create_model("pspnet-r101", num_classes=TrainConfig().spec.num_classes).eval().requires_grad_(False)
    teacher = inference_copy(plain)
    batches = crops(args)
    print(f"torch {torch.__version__}, {args.device}, {args.threads} threads, {args.workers} loader processes,")
    print(f"{args.batch} crops of {args.size}x{args.size}, {args.rounds} rounds\n", flush=True)

    cached = with_logits(batches, args)
    steps = {
        ALONE: make_step("none", teacher, args, fast=True, batches=batches),
        **{name: make_step(name, teacher, args, fast=True, batches=batches) for name in ("cwd", "fakd")},
        **{
            f"{name}, teacher cached": make_step(name, teacher, args, fast=True, batches=cached)
            for name in ("cwd", "fakd")
        },
    }
    spent = time_in_rounds(steps, args.rounds)
    print_parts(spent["fakd"])
    print_methods(spent, {name: peak_memory(step, args.device) for name, step in steps.items()})

    compared = {
        "everything off": make_step("fakd", plain, args, fast=False, batches=batches),
        "everything on": steps["fakd"],
        "everything on, teacher cached": steps["fakd, teacher cached"],
    }
    print_fast(time_in_rounds(compared, args.rounds), args)


if __name__ == "__main__":
    main()
