"""Feed `fakd predict` a thousand damaged images; count what was written, and what was refused by name.

    python tests/reliability/fuzz_predict.py 1000

Every second image is whole. What must hold: each image is either written, at its own size, or in the list of what
failed, with the reason; all whole ones are written; and memory stays within that of the largest image.
"""

import argparse
import random
import resource
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from hostile import png
from PIL import Image

from fakd.commands.predict import PredictConfig, predict
from fakd.data.spec import DataError
from fakd.models import create_model, save_model

SUFFIXES = {"PNG": "png", "JPEG": "jpg", "BMP": "bmp", "WEBP": "webp", "TIFF": "tif"}
MODES = ("1", "L", "LA", "P", "RGBA", "CMYK", "I", "F", "I;16")


def scene(rng: random.Random, mode: str = "RGB") -> Image.Image:
    width, height = rng.randint(1, 90), rng.randint(1, 90)
    picture = Image.fromarray(np.frombuffer(rng.randbytes(3 * width * height), np.uint8).reshape(height, width, 3))
    return picture.convert("I").convert(mode) if mode == "I;16" else picture.convert(mode)


def encoded(rng: random.Random, kind: str, mode: str = "RGB") -> bytes:
    buffer = BytesIO()
    scene(rng, mode).save(buffer, kind)
    return buffer.getvalue()


def truncated(rng: random.Random, whole: bytes) -> bytes:
    return whole[: rng.randrange(len(whole))]


def flipped(rng: random.Random, whole: bytes) -> bytes:
    damaged = bytearray(whole)
    for _ in range(rng.randint(1, 8)):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def wrong_mode(rng: random.Random, whole: bytes) -> bytes:
    mode = rng.choice(MODES)
    return encoded(rng, "TIFF" if mode in ("CMYK", "F", "I") else "PNG", mode)


def lying(rng: random.Random, whole: bytes) -> bytes:
    return png(rng.choice((1, 5000, 10_000, 2**31 - 1)), rng.choice((1, 5000, 10_000)), rng.randbytes(50))


def animated(rng: random.Random, whole: bytes) -> bytes:
    buffer = BytesIO()
    frames = [scene(rng).resize((20, 20)) for _ in range(3)]
    frames[0].save(buffer, rng.choice(("PNG", "GIF", "WEBP", "TIFF")), save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def stretched(rng: random.Random, whole: bytes) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", rng.choice(((20_000, 1), (1, 20_000), (1, 1)))).save(buffer, "PNG")
    return buffer.getvalue()


def noise(rng: random.Random, whole: bytes) -> bytes:
    return rng.randbytes(rng.choice((0, 1, 100, 5000)))


FAULTS: list[Callable[[random.Random, bytes], bytes]] = [
    *(truncated, flipped, flipped, wrong_mode, lying, animated, stretched, noise)
]


@dataclass(frozen=True)
class Outcome:
    tried: Counter[str]
    """Number of images by fault; "whole" are those without."""
    refused: Counter[str]
    lost: list[str]
    """Images that were neither written nor named, or written at another size."""
    megabytes: float
    """By which the peak memory of the process grew."""


def fuzz(count: int, folder: Path, seed: int = 0) -> Outcome:
    """Make the images below the folder, predict them, and look what came of each."""
    rng, kinds = random.Random(seed), {}
    (folder / "in").mkdir(parents=True)
    for number in range(count):
        kind = rng.choice(list(SUFFIXES))
        whole, fault = encoded(rng, kind), rng.choice(FAULTS)
        name = f"{number:04d}.{SUFFIXES[kind]}"
        kinds[name] = fault.__name__ if number % 2 else "whole"
        (folder / "in" / name).write_bytes(fault(rng, whole) if number % 2 else whole)
    save_model(create_model("pspnet/test_resnet", num_classes=3, channels=8), folder / "net.safetensors")
    before, message = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, ""
    try:
        predict(PredictConfig(str(folder / "net.safetensors"), folder / "in", folder / "out", device="cpu"))
    except DataError as error:
        message = str(error)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = {name for name in kinds if f"{folder / 'in' / name}: " in message}
    lost = [name for name in kinds if name not in refused and not written(folder, name)]
    lost += [name for name in refused if written(folder, name) or kinds[name] == "whole"]
    return Outcome(
        Counter(kinds.values()), Counter(kinds[name] for name in refused), lost, (after - before) * 1024 / 1e6
    )


def written(folder: Path, name: str) -> bool:
    """Whether both masks are there, whole and of the image's size."""
    masks = [folder / "out" / kind / Path(name).with_suffix(".png") for kind in ("labels", "color")]
    if not all(path.is_file() for path in masks):
        return False
    sizes = {np.asarray(Image.open(path)).shape[:2] for path in masks}
    with Image.open(folder / "in" / name) as image:
        turned = image.getexif().get(0x0112, 1) >= 5
        return sizes == {image.size if turned else image.size[::-1]}


def main() -> int:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = fuzz(arguments.count, Path(folder), arguments.seed)
    print(f"{'fault':<12} {'tried':>6} {'written':>8} {'refused':>8}")
    for fault, tried in outcome.tried.items():
        print(f"{fault:<12} {tried:>6} {tried - outcome.refused[fault]:>8} {outcome.refused[fault]:>8}")
    written, refused = outcome.tried.total() - outcome.refused.total(), outcome.refused.total()
    print(f"{'all':<12} {outcome.tried.total():>6} {written:>8} {refused:>8}")
    print(f"lost {len(outcome.lost)} {outcome.lost[:10]}; peak memory grew by {outcome.megabytes:.0f} MB")
    return bool(outcome.lost)


if __name__ == "__main__":
    sys.exit(main())
