"""What a teacher cache takes on the disk, how wrong its numbers are, and what it saves.

    python benchmarks/teacher_cache.py --dataset camvid --data-root DATA --teacher runs/camvid/teacher \
        --base-size 180 240 --crop-size 96 96 --batch 4 --images 16 --rounds 9 --threads 2

Prints two Markdown tables. The first has a row for each format, over one crop of each of the first `--images` training
images: kilobytes of a crop, the largest and the mean error of a logit, and the mean over the positions of
KL(teacher, cache) in nats.

The second has the seconds of a training step (forward, backward and optimizer, of `fakd distill`'s own module) and of
loading its batch in one process, with and without the cache; they take turns, and the ratio is the median over rounds.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor
from torch.utils.data import default_collate

from fakd.data.batches import SegmentationData, SegmentationDataset
from fakd.data.spec import Sample
from fakd.data.teacher_logits import TOP8, LogitStore
from fakd.data.views import TaughtViews
from fakd.evaluation import to_float_images
from fakd.methods import create_method
from fakd.models import Segmentor, create_model
from fakd.training import DistillConfig
from fakd.training.learner import Learner
from fakd.training.teacher import load_teacher


def divergence(due: Tensor, found: Tensor) -> Tensor:
    """KL(due, found) of the class distributions of (N, C, h, w) logits: (N, h, w) nats."""
    due, found = due.log_softmax(1), found.log_softmax(1)
    return (due.exp() * (due - found)).sum(1)


@torch.no_grad()
def fill(stores: list[LogitStore], data: SegmentationData, teacher: Segmentor, count: int) -> Tensor:
    """Write the logits of a crop of each of the first images to all stores, and return them exactly: (N, C, h, w)."""
    batches = data.some_views([(0, index) for index in range(count)])
    logits = torch.cat([teacher(to_float_images(batch.image)).logits for batch in batches])
    for store in stores:
        for index, crop in enumerate(logits):
            store.write(0, index, crop)
    return logits


def print_formats(stores: list[LogitStore], due: Tensor) -> None:
    """Print the first table."""
    print("| format | KB per crop | largest error | mean error | KL |\n| --- |" + " ---: |" * 4)
    for store in stores:
        size = sum(path.stat().st_size for path in store.folder.glob("*.safetensors")) / len(due)
        found = torch.stack([store.read(0, index) for index in range(len(due))])
        errors = (found - due).abs()
        row = f"{size / 1e3:.1f} | {errors.max():.4f} | {errors.mean():.4f} | {divergence(due, found).mean():.1e}"
        print(f"| {store.form} | {row} |", flush=True)


def print_steps(
    config: DistillConfig, data: SegmentationData, teacher: Segmentor, store: LogitStore, rounds: int
) -> None:
    """Print the second table."""
    torch.manual_seed(0)
    student = create_model(config.student, num_classes=teacher.num_classes)
    method = create_method(config.method, student, teacher, max_steps=config.max_steps)
    learner = Learner(student, method, teacher, config).train()
    learner._say_sizes = lambda *_: None  # type: ignore[method-assign]
    weights = [parameter for parameter in learner.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=config.spec.learning_rate, momentum=config.momentum)
    datasets = {
        "without": SegmentationDataset(data.source("train"), data.train_transform, seed=0),
        "with": TaughtViews(data.views(), store, count=1, seed=0),
    }
    assert learner.teachers[0] is teacher
    times: dict[str, list[float]] = {f"{part}, {form}": [] for part in ("step", "loading") for form in datasets}
    images = len(store.labels)

    def load(form: str, number: int) -> Sample:
        keys = [(number, index % images) for index in range(number, number + config.batch_size)]
        batch: Sample = default_collate([datasets[form][key] for key in keys])
        return batch

    def step(batch: Sample) -> None:
        optimizer.zero_grad()
        torch.stack(list(learner(batch, 0).values())).sum().backward()
        optimizer.step()

    for number in range(rounds + 1):
        for form in datasets:
            start = perf_counter()
            batch = load(form, number)
            loaded = perf_counter()
            step(batch)
            if number:  # the first is a warm-up
                times[f"loading, {form}"].append(loaded - start)
                times[f"step, {form}"].append(perf_counter() - loaded)
    print("\n| seconds | without | with | with over without |\n| --- | ---: | ---: | ---: |")
    for part in ("step", "loading"):
        without, cached = times[f"{part}, without"], times[f"{part}, with"]
        ratio = median(ours / theirs for ours, theirs in zip(cached, without, strict=True))
        print(f"| {part} | {median(without):.3f} | {median(cached):.3f} | {ratio:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="toy-scenes")
    parser.add_argument("--data-root", "--data_root", type=Path)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--student", default="pspnet-r18")
    parser.add_argument("--method", default="fakd")
    parser.add_argument("--base-size", type=int, nargs=2)
    parser.add_argument("--crop-size", type=int, nargs=2)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    sizes = {name: tuple(size) if (size := getattr(args, name)) else None for name in ("base_size", "crop_size")}
    config = DistillConfig(
        dataset=args.dataset,
        data_root=args.data_root,
        teacher=args.teacher,
        student=args.student,
        method=args.method,
        batch_size=args.batch,
        **sizes,
    )
    data = SegmentationData(config.spec, config.data_root, config.base_size, config.crop_size, args.batch)
    teacher = load_teacher(args.teacher, config).network
    classes = teacher.num_classes
    with tempfile.TemporaryDirectory() as folder:
        labels = [str(index) for index in range(args.images)]
        forms = ["float16", "int8", *(["top8"] if classes > TOP8 else [])]
        stores = [LogitStore(Path(folder, form), labels, classes, form) for form in forms]
        due = fill(stores, data, teacher, args.images)
        size = "x".join(map(str, data.train_transform.crop_size))
        print(
            f"torch {torch.__version__}, {args.threads} threads; crops of {size} of {args.dataset}, {classes} "
            f"classes, logits of {due.shape[-2]}x{due.shape[-1]}\n"
        )
        print_formats(stores, due)
        print_steps(config, data, teacher, stores[1], args.rounds)


if __name__ == "__main__":
    main()
