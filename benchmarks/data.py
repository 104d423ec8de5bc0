"""Time a training sample, from its files to its crop, on one core: cropping first against resizing everything.

    python benchmarks/data.py --images 8 --rounds 15

Makes photo-like files of the size of two data sets in a temporary folder, and prints a table of images per second. All
orders draw from the same distribution: a ratio of 0.5 to 2, a crop of 512x512 pixels that one class fills at most to
75 %, a flip. They take turns in one process of one thread, and what counts is the time that the processor worked.

- crop first: `SegmentationDataset` with `TrainTransform`, as in training
- resize first: files read by the same code; then torchvision's transforms (v2) resize, crop and flip
- resize first, tensors: the same transforms on tensors as torchvision makes them of Pillow's images, without any check
- resize first, PIL: the same transforms on Pillow's images, as in torchvision's own recipe for segmentation
- reading: what crop first and resize first have in common
- decoding: Pillow alone
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import Image as TvImage
from torchvision.tv_tensors import Mask

from fakd.data.batches import SegmentationDataset
from fakd.data.paired_files import PairedFiles, label_table
from fakd.data.sets.toy_scenes import TOY_SCENES, ToyScenes
from fakd.data.transforms import TrainTransform, fitted_size

CROP = (512, 512)
CLASSES = range(len(TOY_SCENES.classes))
NEAREST = v2.InterpolationMode.NEAREST_EXACT


class Kind(NamedTuple):
    """What the files of a data set are like."""

    suffix: str
    size: tuple[int, int]
    base_size: tuple[int, int]
    grain: float
    """Noise in grey levels at 1, 4 and 16 pixels, together; set so that the files are as large as real ones."""


KINDS = {
    "JPEG": Kind(".jpg", (512, 683), (512, 2048), 5.5),
    "PNG": Kind(".png", (1024, 2048), (1024, 2048), 0.9),
}


def make_files(root: Path, kind: Kind, count: int) -> list[tuple[Path, Path]]:
    """Write enlarged scenes with noise of several wavelengths, and masks with ragged borders."""
    height, width = kind.size
    scenes = ToyScenes("train", count, (height // 4, width // 4))
    pairs = []
    for index in range(count):
        scene, rng = scenes[index], np.random.default_rng(index)

        def noise(wavelength: int, rng: np.random.Generator = rng) -> np.ndarray:
            coarse = rng.normal(size=(-(-height // wavelength), -(-width // wavelength))).astype(np.float32)
            return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))

        photo = Image.fromarray(scene.image.permute(1, 2, 0).numpy()).resize((width, height), Image.Resampling.BICUBIC)
        grain = kind.grain * sum(noise(wavelength) for wavelength in (1, 4, 16))
        pixels = (np.asarray(photo) + grain[..., None]).clip(0, 255).astype(np.uint8)
        rows = (np.arange(height)[:, None] + 2 * noise(8)).clip(0, height - 1).astype(int) // 4
        columns = (np.arange(width) + 2 * noise(8)).clip(0, width - 1).astype(int) // 4
        label = scene.label.numpy()
        mask = label[rows.clip(max=label.shape[0] - 1), columns.clip(max=label.shape[1] - 1)]
        pair = root / f"{index}{kind.suffix}", root / f"{index}-mask.png"
        Image.fromarray(pixels).save(pair[0], quality=75)
        Image.fromarray(mask).save(pair[1])
        pairs.append(pair)
    return pairs


class ResizeEverything:
    """The usual order, with torchvision's transforms; on Pillow's images or on tensors."""

    def __init__(self, base_size: tuple[int, int]) -> None:
        self.base_size = base_size
        self.crop = v2.RandomCrop(CROP, pad_if_needed=True)
        self.flip = v2.RandomHorizontalFlip()

    def __call__(self, image: Any, label: Any) -> tuple[Any, Any]:
        """Return a crop of both."""
        height, width = F.get_size(image)
        size = list(fitted_size((height, width), self.base_size, 0.5 + 1.5 * torch.rand(()).item()))
        image = F.resize(image, size, antialias=True)
        if isinstance(label, Mask):  # F.resize knows masks only as "nearest"
            label = Mask(F.resize_image(label.as_subclass(Tensor)[None], size, interpolation=NEAREST)[0])
        else:
            label = F.resize(label, size, interpolation=NEAREST)
        for _ in range(10):
            window = self.crop.make_params([image])
            shown = self.crop.transform(label, window)
            counts = np.bincount(np.asarray(shown).ravel(), minlength=256)[:255]
            if 0 < counts.max() <= 0.75 * counts.sum():
                break
        return self.flip(self.crop.transform(image, window), shown)


def orders(pairs: list[tuple[Path, Path]], kind: Kind) -> dict[str, Callable[[int, int], object]]:
    """Return every order as a function of an image's number, and how long it takes only to read the files."""
    table = label_table({index: index for index in CLASSES})
    source = PairedFiles(pairs[0][0].parent, pairs, table)
    crop_first = SegmentationDataset(source, TrainTransform(kind.base_size, CROP), seed=0)
    resize_everything = ResizeEverything(kind.base_size)

    def opened(index: int) -> tuple[Image.Image, Image.Image]:
        image, mask = pairs[index]
        return Image.open(image).convert("RGB"), Image.open(mask)

    def same_reading(_: int, index: int) -> object:
        sample = source[index]
        return resize_everything(TvImage(sample.image), Mask(sample.label))

    def on_tensors(_: int, index: int) -> object:
        image, mask = opened(index)
        label = torch.from_numpy(table[np.asarray(mask)].astype(np.uint8))
        return resize_everything(F.to_image(image), Mask(label))

    def on_pil(_: int, index: int) -> object:
        image, label = resize_everything(*opened(index))
        return F.pil_to_tensor(image), torch.from_numpy(table[np.asarray(label)].astype(np.uint8))

    def decode(_: int, index: int) -> object:
        image, mask = opened(index)
        mask.load()
        return image

    return {
        "crop first": lambda epoch, index: crop_first[epoch, index],
        "resize first": same_reading,
        "resize first, tensors": on_tensors,
        "resize first, PIL": on_pil,
        "reading": lambda _, index: source[index],
        "decoding": decode,
    }


def main() -> None:
    """Print how many images per second each order gives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=int, default=8, help="number of files of each kind")
    parser.add_argument("--rounds", type=int, default=15, help="how often each order takes each file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| files | order | ms an image | images / s | crop first is faster by |")
    print("| --- | --- | ---: | ---: | ---: |")
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            pairs = make_files(Path(folder), kind, arguments.images)
            kilobytes = [
                sum(path.stat().st_size for path in side) / len(side) / 1000 for side in zip(*pairs, strict=True)
            ]
            calls = orders(pairs, kind)
            seconds: dict[str, list[float]] = {order: [] for order in calls}
            for round_number in range(arguments.rounds + 1):  # one to warm up
                for order, call in calls.items():
                    torch.manual_seed(round_number)
                    start = process_time()
                    for index in range(len(pairs)):
                        call(round_number, index)
                    if round_number > 0:
                        seconds[order].append((process_time() - start) / len(pairs))
        for order, times in seconds.items():
            faster = median(other / own for other, own in zip(times, seconds["crop first"], strict=True))
            typical = median(times)
            files = f"{name} {kind.size[1]}x{kind.size[0]}, {kilobytes[0]:.0f} kB; mask {kilobytes[1]:.0f} kB"
            print(f"| {files} | {order} | {1000 * typical:.2f} | {1 / typical:.1f} | {faster:.2f} |")


if __name__ == "__main__":
    main()
