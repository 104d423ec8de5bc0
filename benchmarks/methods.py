"""Time and memory of every method's losses: forward and backward, without the networks.

    python benchmarks/methods.py [NAMES...] --classes 19 150 --batch 4 --size 64 --channels 512 --rounds 5 --threads 2

Prints a Markdown table of each method's median seconds for one step: the terms of one batch, and their gradients with
respect to the student's logits and features and to what the method itself learns. Networks take no part: a batch is
made up, of logits and features of `--size` squared and images of 8 times that. The memory is the most that a step holds
beside its inputs and what the method remembers: tensors on the CPU, the allocator's count on a GPU.

The methods take turns in one process, so that a busy machine slows all of them, and the cost over `cwd` is the median
over the rounds. `--clock cpu` counts the seconds that all threads together compute, which others on the machine do not
lengthen.

`--references` adds a second table: two losses of the literature as they are published, loop and all, and the covariance
as a few lines have it, against the functions here, at a size that fits (`--reference-size`, default 32; 64 takes 12 GB
and minutes), after checking that both give the same value.
"""

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter, process_time

import torch
import torch.nn.functional as F
from memory import peak_memory
from torch import Tensor, nn

from fakd.functional import class_moments
from fakd.functional.cirkd import cross_image_kd
from fakd.functional.ifvd import intra_class_kd
from fakd.methods import METHODS, Method, create_method
from fakd.types import SegmentationOutput

STEPS = 100
Step = Callable[[], Tensor]


class Network(nn.Module):
    """All that a method sees of a network."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(channels, classes, 1)


class Batch:
    """What the networks would have made of a batch; about a tenth of the labels is ignored."""

    def __init__(self, args: argparse.Namespace, classes: int, size: int, ignored: float = 0.1) -> None:
        self.device = args.device
        shape = (args.batch, size, size)
        self.student, self.teacher = self._output(args, classes, size), self._output(args, classes, size)
        self.images = torch.rand(args.batch, 3, 8 * size, 8 * size, device=self.device)
        # squares of one class, as a segmentation has
        labels = torch.randint(classes, (args.batch, 1, size // 4, size // 4), device=self.device).float()
        labels = F.interpolate(labels, (size, size)).squeeze(1).long()
        self.small_labels = labels.masked_fill(torch.rand(shape, device=self.device) < ignored, 255)
        self.labels = self.small_labels.repeat_interleave(8, 1).repeat_interleave(8, 2)

    def _output(self, args: argparse.Namespace, classes: int, size: int) -> SegmentationOutput:
        logits = torch.randn(args.batch, classes, size, size, device=self.device)
        return SegmentationOutput(logits, torch.randn(args.batch, args.channels, size, size, device=self.device).relu())

    def learnt(self) -> SegmentationOutput:
        """The student's output as new leaves, that share the memory of the old."""
        return SegmentationOutput(*(part.detach().requires_grad_() for part in self.student[:2]))


def step_of(method: Method, batch: Batch) -> Step:
    """Return the method's forward and backward pass as a function."""

    def step() -> Tensor:
        terms = method(batch.learnt(), batch.teacher, batch.labels, STEPS // 2, images=batch.images)
        loss = torch.stack(list(terms.values())).sum()
        loss.backward()
        method.zero_grad()
        return loss.detach()

    return step


def seconds(call: Step, args: argparse.Namespace) -> float:
    """Return how long one call takes, by the chosen clock."""
    wait = torch.cuda.synchronize if args.device != "cpu" else lambda: None
    clock = {"wall": perf_counter, "cpu": process_time}[args.clock]
    wait()
    start = clock()
    call()
    wait()
    return clock() - start


def measure(
    calls: dict[str, Step], rounds: int, args: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return each call's seconds, round by round, and its bytes."""
    memory = {name: peak_memory(call, args.device) for name, call in calls.items()}  # and warms up
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call, args))
    return times, memory


def ifvd_by_loop(batch: Batch, classes: int) -> Tensor:
    """IFVD's variation term as it is published: every class paints its centre over a map of the features' size."""
    output, cosines = batch.learnt(), []
    for features in (output.features, batch.teacher.features):
        centres = features.clone()
        for c in range(classes):
            inside = (batch.small_labels == c).unsqueeze(1).expand_as(features).float()
            mean = (inside * features).sum((2, 3), keepdim=True) / (inside.sum((2, 3), keepdim=True) + 1e-6)
            centres = (1 - inside) * centres + inside * mean
        cosines.append(F.cosine_similarity(features, centres, dim=1))
    loss = F.mse_loss(*cosines)
    loss.backward()
    return loss.detach()


def cirkd_by_pairs(batch: Batch, classes: int) -> Tensor:
    """CIRKD's mini-batch term as it is published: one pair of images after the other, all kept for the way back."""
    output = batch.learnt()
    ours, theirs = (F.normalize(part.features, dim=1).flatten(2) for part in (output, batch.teacher))
    loss = torch.zeros((), device=batch.device)
    for i in range(len(ours)):
        for j in range(len(ours)):
            own, taught = ours[i].T @ ours[j] / 0.1, theirs[i].T @ theirs[j] / 0.1
            loss = loss + F.kl_div(own.log_softmax(1), taught.softmax(1), reduction="batchmean")
    loss = loss / len(ours) ** 2
    loss.backward()
    return loss.detach()


def ifvd_here(batch: Batch, classes: int) -> Tensor:
    features = batch.learnt().features
    loss = intra_class_kd(features, batch.teacher.features, batch.small_labels, num_classes=classes)
    loss.backward()
    return loss.detach()


def cirkd_here(batch: Batch, classes: int, anchors: int | None = None) -> Tensor:
    features = batch.learnt().features
    positions = features[:, 0].numel()
    rows = None if anchors is None else torch.randperm(positions, device=batch.device)[: anchors * len(features)]
    loss = cross_image_kd(features, batch.teacher.features, rows=rows)
    loss.backward()
    return loss.detach()


def covariance_by_index(batch: Batch, classes: int) -> Tensor:
    """The variances of every class's features as a few lines have them: sums at an index, mean first."""
    rows, labels = batch.student.features.movedim(1, -1).flatten(0, 2), batch.small_labels.flatten()
    labels = torch.where(labels < classes, labels, classes)
    count = torch.bincount(labels, minlength=classes + 1).clamp_min(1).unsqueeze(1)
    sums = rows.new_zeros(classes + 1, rows.shape[1])
    mean = sums.index_add(0, labels, rows) / count
    return (sums.index_add(0, labels, (rows - mean[labels]).square()) / count)[:-1]


def covariance_here(batch: Batch, classes: int) -> Tensor:
    return class_moments(batch.student.features, batch.small_labels, classes).covariance


# name, published form, form here, whether classes matter to it, whether both give the same value (some of CIRKD's
# anchors give an estimate)
REFERENCES = [
    ("FAKD, diagonal covariance", covariance_by_index, covariance_here, True, True),
    ("IFVD, variation", ifvd_by_loop, ifvd_here, True, True),
    ("CIRKD, mini-batch, all anchors", cirkd_by_pairs, cirkd_here, False, True),
    ("CIRKD, mini-batch, 256 anchors an image", cirkd_by_pairs, partial(cirkd_here, anchors=256), False, False),
]


def print_methods(args: argparse.Namespace) -> None:
    """Print the table of the methods."""
    results = {}
    for classes in args.classes:
        batch = Batch(args, classes, args.size)
        networks = [Network(args.channels, classes).to(args.device) for _ in range(2)]
        methods = {name: create_method(name, *networks, max_steps=STEPS).to(args.device) for name in args.names}
        calls = {name: step_of(method, batch) for name, method in methods.items()}
        results[classes] = measure(calls, args.rounds, args)
    print(f"{args.batch} images, logits of {args.size}x{args.size}, {args.channels} feature channels\n")
    columns = [f"{what}, {classes} classes" for classes in args.classes for what in ("s", "over cwd", "MB")]
    print("| method |", " | ".join(columns), "|\n| --- |" + " ---: |" * len(columns))
    for name in args.names:
        cells = []
        for times, memory in results.values():
            cost = median(own / base for own, base in zip(times[name], times.get("cwd", times[name]), strict=True))
            cells += [f"{median(times[name]):.3f}", f"{cost:.1f}", f"{memory[name] / 1e6:,.0f}"]
        print(f"| {name} |", " | ".join(cells), "|", flush=True)


def print_references(args: argparse.Namespace) -> None:
    """Print the table of the published forms."""
    size = args.reference_size
    print(f"\n{args.batch} images, logits of {size}x{size}, {args.channels} feature channels, one round\n")
    columns = "classes | s, published | s, here | times faster | MB, published | MB, here"
    print(f"| loss | {columns} |\n| --- |" + " ---: |" * (columns.count("|") + 1))
    for name, *forms, by_class, same in REFERENCES:
        for classes in args.classes if by_class else args.classes[:1]:
            batch = Batch(args, classes, size, ignored=0)  # with ignored pixels the published IFVD differs
            published, here = (partial(form, batch, classes) for form in forms)
            if same:
                torch.testing.assert_close(here(), published(), rtol=1e-3, atol=1e-6)
            times, memory = measure({"published": published, "here": here}, 1, args)
            (slow,), (fast,) = times["published"], times["here"]
            megabytes = " | ".join(f"{memory[form] / 1e6:,.0f}" for form in ("published", "here"))
            print(f"| {name} | {classes} | {slow:.3f} | {fast:.3f} | {slow / fast:.0f} | {megabytes} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = [name for name, method in METHODS.items() if method.needs != "nothing"]
    parser.add_argument("names", nargs="*", default=known, help="methods, default: all that have a loss")
    parser.add_argument("--classes", type=int, nargs="+", default=[19, 150])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--references", action="store_true")
    parser.add_argument("--reference-size", type=int, default=32)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {args.device}, {args.threads} threads, {args.clock} seconds\n")
    print_methods(args)
    if args.references:
        print_references(args)


if __name__ == "__main__":
    main()
