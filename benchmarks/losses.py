"""What the losses and the covariance update cost, beside plain distillation as a textbook writes it.

    python benchmarks/losses.py [--check] [--quick] [--device cpu|cuda] [--dtype float32 bfloat16] [--threads 2]
                                [--shapes 4,19,64,64,512 ...] [--rounds 15] [--naive-gb 4]

Prints Markdown: one table per shape (B, C, h, w, A), and the ratios that are required. Forward and backward are timed
together, on a fresh graph each time; all take turns in one process, so that a busy machine slows all of them, and a
ratio is the median over the rounds of the ratio within a round. What takes longer than a second, and everything where
the logits have more than 2^24 numbers, is timed in three rounds. `--quick` leaves out the tables.

- "MB": the most bytes held at once beside the inputs, the gradients included. On a GPU the allocator's count; on the
  CPU the sum of the allocations and frees that PyTorch's profiler records: buffers inside operations count too.
- "MB must move": what any form has to read and write: both logits forward, both backward, the gradient; for the
  covariance the features once. "GB/s": that over the time; the line above the table has the bandwidth of a plain copy.
- "naive": the augmentation by a tensor of positions x classes x channels, at the largest size, halving h and w, whose
  three such tensors fit into `--naive-gb`; compared with ours at that size.

On a GPU what is required includes the share of a plain copy's bandwidth that both augmented losses reach, forward and
backward, at (16, 150, 64, 64).

`--check` ends with status 1 where a required ratio does not hold.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor
from turns import FEW_ROUNDS, Call, copy_bandwidth, peak_allocated, ratio, time_in_rounds

from fakd import ClassCovariance
from fakd.functional import augmented_channel_kd, augmented_pixel_kd, channel_kd, pixel_kd

TEXTBOOK = {"channel": "textbook channel-wise KD", "pixel": "textbook pixel-wise KD"}
UPDATE = "covariance update, diagonal"
MANY_NUMBERS = 2**24


@dataclass(frozen=True)
class Shape:
    """Sizes of one case."""

    batch: int
    classes: int
    height: int
    width: int
    channels: int

    @property
    def logits(self) -> tuple[int, int, int, int]:
        return self.batch, self.classes, self.height, self.width

    def __str__(self) -> str:
        return f"({', '.join(map(str, vars(self).values()))})"


REQUIRED_SHAPE = Shape(4, 150, 64, 64, 512)
SHAPES = [Shape(4, 19, 64, 64, 512), Shape(16, 150, 64, 64, 512), Shape(16, 171, 128, 128, 256)]


class Case:
    """The tensors of one shape; about a tenth of the labels is ignored."""

    def __init__(self, shape: Shape, device: str, dtype: torch.dtype) -> None:
        batch, classes, height, width = shape.logits
        place = {"device": device, "dtype": dtype}
        self.shape, self.device = shape, device
        self.student = torch.randn(shape.logits, **place).requires_grad_()
        self.teacher = torch.randn(shape.logits, **place)
        self.labels = torch.randint(classes, (batch, height, width), device=device)
        self.labels[torch.rand(self.labels.shape, device=device) < 0.1] = 255
        self.weight = torch.randn(classes, shape.channels, device=device).mul_(0.05).requires_grad_()
        self.variances = torch.rand(classes, shape.channels, device=device) + 0.1

    def loss(self, function: Callable[..., Tensor], full: bool | None = None, **options: object) -> Call:
        """Forward and backward of a loss; `full` picks the covariance of an augmented one, None is plain KD."""
        logits = (self.student, self.teacher)
        arguments: tuple[Tensor, ...] = logits
        if full is not None:
            arguments = (*logits, self.labels, self.weight, self.variances.diag_embed() if full else self.variances)

        def call() -> None:
            function(*arguments, **options).backward()
            self.student.grad = self.weight.grad = None

        return call

    def update(self, diagonal: bool) -> Call:
        batch, _, height, width = self.shape.logits
        features = torch.randn(batch, self.shape.channels, height, width, device=self.device, dtype=self.student.dtype)
        state = ClassCovariance(self.shape.classes, self.shape.channels, diagonal=diagonal).to(self.device)
        return partial(state.update, features, self.labels)

    def bytes_to_move(self, name: str) -> int:
        labels = self.labels.nbytes
        if name.startswith("covariance"):
            return self.labels.numel() * self.shape.channels * self.student.element_size() + labels
        return 5 * self.student.nbytes + (0 if "textbook" in name or "plain" in name else 2 * labels)


def textbook_channel(student: Tensor, teacher: Tensor, temperature: float = 4.0) -> Tensor:
    log_p, q = F.log_softmax(student.flatten(2) / temperature, -1), F.softmax(teacher.flatten(2) / temperature, -1)
    return F.kl_div(log_p, q, reduction="sum") * temperature**2 / (student.shape[0] * student.shape[1])


def textbook_pixel(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    log_p, q = F.log_softmax(student / temperature, 1), F.softmax(teacher / temperature, 1)
    return F.kl_div(log_p, q, reduction="sum") * temperature**2 / student[:, 0].numel()


def naive_channel(
    student: Tensor, teacher: Tensor, labels: Tensor, weight: Tensor, variances: Tensor, temperature: float = 4.0
) -> Tensor:
    """The paper's bound with the variance of every logit at every position from an expansion to all channels."""
    at_pixel = F.pad(variances, (0, 0, 0, 1))[labels.flatten(1).clamp_max(len(weight))]  # (B, M, A)
    expanded = at_pixel.unsqueeze(2) * weight.square()  # (B, M, C, A)
    variance = expanded.sum(-1).transpose(1, 2) / (2 * temperature)
    scores, log_p = student.flatten(2) / temperature, (teacher.flatten(2) / temperature).log_softmax(2)
    terms = log_p.exp() * (2 * variance - (scores + variance).log_softmax(2) + log_p)
    return temperature**2 / (student.shape[0] * student.shape[1]) * terms.sum()


def required_calls(case: Case) -> dict[str, Call]:
    return {
        TEXTBOOK["channel"]: case.loss(textbook_channel),
        "augmented channel-wise (paper)": augmented(case, "channel", "paper", full=False),
        "augmented channel-wise (tight)": augmented(case, "channel", "tight", full=False),
        TEXTBOOK["pixel"]: case.loss(textbook_pixel),
        "augmented pixel-wise (paper)": augmented(case, "pixel", "paper", full=False),
        UPDATE: case.update(diagonal=True),
    }


def augmented(case: Case, kind: str, bound: str, full: bool) -> Call:
    function = augmented_channel_kd if kind == "channel" else augmented_pixel_kd
    return case.loss(function, full, strength=1.0, bound=bound)


def all_calls(case: Case) -> dict[str, Call]:
    calls = {}
    for kind, textbook, plain in (("channel", textbook_channel, channel_kd), ("pixel", textbook_pixel, pixel_kd)):
        calls[TEXTBOOK[kind]] = case.loss(textbook)
        calls[f"plain {kind}-wise"] = case.loss(plain)
        for bound in ("paper", "tight"):
            for full in (False, True):
                name = f"augmented {kind}-wise ({bound}, {'full' if full else 'diagonal'})"
                calls[name] = augmented(case, kind, bound, full)
    return calls | {UPDATE: case.update(diagonal=True), "covariance update, full": case.update(diagonal=False)}


def print_table(case: Case, rounds: int) -> None:
    calls = all_calls(case)
    rounds = min(rounds, FEW_ROUNDS) if case.student.numel() > MANY_NUMBERS else rounds
    times = time_in_rounds(calls, rounds, case.device)
    print(f"\n{case.shape}, {case.student.dtype}; a copy moves {copy_bandwidth(case.device) / 1e9:.1f} GB/s\n")
    print("| | ms | over textbook | MB | MB must move | GB/s |\n| --- |" + " ---: |" * 5)
    for name, call in calls.items():
        base = TEXTBOOK["pixel" if "pixel" in name else "channel"]
        moved, time = case.bytes_to_move(name), median(times[name])
        cells = [
            f"{time * 1e3:,.1f}",
            f"{ratio(times, name, base):.2f}",
            f"{peak_allocated(call, case.device) / 1e6:,.1f}",
        ]
        print(f"| {name} | {' | '.join(cells)} | {moved / 1e6:,.1f} | {moved / time / 1e9:.1f} |", flush=True)


def naive_ratio(args: argparse.Namespace, rounds: int) -> tuple[Shape, float]:
    """The largest shape at which the naive expansion fits, and its time over ours there."""
    shape = REQUIRED_SHAPE
    while 3 * 4 * shape.batch * shape.classes * shape.height * shape.width * shape.channels > args.naive_gb * 1e9:
        shape = replace(shape, height=shape.height // 2, width=shape.width // 2)
    case = Case(shape, args.device, torch.float32)
    arguments = (case.student, case.teacher, case.labels, case.weight, case.variances)
    torch.testing.assert_close(
        naive_channel(*arguments), augmented_channel_kd(*arguments, strength=1.0), rtol=1e-4, atol=1e-6
    )
    ours = augmented(case, "channel", "paper", full=False)
    calls = {"naive": case.loss(naive_channel, full=False), "ours": ours}
    return shape, ratio(time_in_rounds(calls, min(rounds, 5), args.device), "naive", "ours")


def print_required(args: argparse.Namespace, rounds: int) -> bool:
    """Print the table of required ratios and return whether all hold."""
    case = Case(REQUIRED_SHAPE, args.device, torch.float32)
    calls = required_calls(case)
    memory = {name: peak_allocated(call, args.device) for name, call in calls.items()}
    times = time_in_rounds(calls, rounds, args.device)
    channel, pixel = TEXTBOOK.values()
    wanted = [
        ("augmented channel-wise (paper)", channel, 1.0),
        ("augmented channel-wise (tight)", channel, 1.5),
        ("augmented pixel-wise (paper)", pixel, 1.6),
        (UPDATE, channel, 1.0),
    ]
    rows = [(f"{name} / {base}", ratio(times, name, base), most, True) for name, base, most in wanted]
    rows += [
        (f"peak extra memory, {name} / {base}", memory[name] / memory[base], 1.0, True) for name, base, _ in wanted[:3]
    ]
    shape, naive = naive_ratio(args, rounds)
    rows.append((f"naive expansion / ours augmented channel-wise, at {shape}", naive, 50.0, False))
    if args.device == "cuda":
        bandwidth, case = copy_bandwidth("cuda"), Case(SHAPES[1], "cuda", torch.float32)
        for kind in TEXTBOOK:
            name = f"augmented {kind}-wise (paper)"
            time = median(time_in_rounds({name: augmented(case, kind, "paper", full=False)}, rounds, "cuda")[name])
            share = case.bytes_to_move(name) / time / bandwidth
            rows.append((f"share of the copy bandwidth, {name}, at {case.shape}", share, 0.6, False))
    print(f"\nRequired, forward + backward at {REQUIRED_SHAPE}, float32, {rounds} rounds\n")
    print("| ratio of medians | measured | required | |\n| --- | ---: | ---: | --- |")
    good = [value <= limit if at_most else value >= limit for _, value, limit, at_most in rows]
    for (name, value, limit, at_most), holds in zip(rows, good, strict=True):
        bound = f"{'at most' if at_most else 'at least'} {limit:g}"
        print(f"| {name} | {value:.2f} | {bound} | {'pass' if holds else 'FAIL'} |")
    return all(good)


def read_shape(text: str) -> Shape:
    try:
        shape = Shape(*map(int, text.split(",")))
    except (ValueError, TypeError):
        raise argparse.ArgumentTypeError(f"{text!r} is not B,C,h,w,A, five whole numbers as 4,19,64,64,512") from None
    if min(vars(shape).values()) < 1:
        raise argparse.ArgumentTypeError(f"the sizes of {text!r} must be 1 or more")
    return shape


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--dtype", choices=["float32", "bfloat16"], nargs="+", default=["float32"], help="of the tables' logits"
    )
    parser.add_argument("--shapes", type=read_shape, nargs="+", default=SHAPES, metavar="B,C,h,w,A")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--naive-gb", type=float, default=4.0)
    parser.add_argument("--quick", action="store_true", help="the required ratios alone")
    parser.add_argument("--check", action="store_true", help="status 1 where a required ratio does not hold")
    args = parser.parse_args()
    if args.rounds < 1 or args.threads < 1 or not args.naive_gb > 0:
        parser.error("--rounds and --threads must be 1 or more, --naive-gb above 0")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch finds no CUDA device here")
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    where = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {args.threads} threads"
    print(f"torch {torch.__version__}, {where}", flush=True)
    if not args.quick:
        for dtype in args.dtype:
            for shape in args.shapes:
                print_table(Case(shape, args.device, getattr(torch, dtype)), args.rounds)
    good = print_required(args, args.rounds)
    sys.exit(1 if args.check and not good else 0)


if __name__ == "__main__":
    main()
