"""Teachers that only score: a function from images to scores, and files of other programs that are one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import torch
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from fakd.console import say
from fakd.functional.inputs import uncompiled
from fakd.models.network import Scorer
from fakd.types import SegmentationOutput

SCRIPT = "torchscript:"
"""What the name of a TorchScript file begins with, as such a file is a program that is run."""
NORMALISATIONS = {"imagenet": (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD)}
"""What may stand behind the @ of a file's name: the mean and the deviation that images are normalised by."""
_PLAIN = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
_MOST_CLASSES = 256
_ROUNDING = 1e-3
_SIDE = 64  # of the images that a file is tried on, in pixels
_KEYS = ("logits", "out")
"""What transformers and torchvision call the scores among several outputs."""


class ScoringTeacher(Scorer):
    """Any function from images to scores as a teacher: of a method that learns from scores alone, as cwd or fakd.

    Args:
        function: maps float images (B, 3, H, W) to scores before softmax (B, C, h, w) at any stride, which it may give
            as they are, or as transformers (`.logits`) or torchvision (`["out"]`) do. An nn.Module is set to eval mode,
            moved to the student's device, and asked for no gradient.
        num_classes: C; 1 for a function that gives one score, as a sigmoid trains it: it is read as two classes, the
            background, whose score is 0, and the class.
        mean: of red, green and blue, which is subtracted from images in [0, 1] before the function sees them.
        std: which they are divided by then.
        probabilities: whether the function gives probabilities in place of scores; their logarithm is then taken.

    Raises:
        ValueError: there are no classes, or mean and std are not three numbers each.

    Example:
        >>> import fakd
        >>> brightness = fakd.ScoringTeacher(lambda images: 9 * images[:, :2, ::8, ::8], num_classes=2)
        >>> brightness(torch.rand(1, 3, 32, 48)).logits.shape
        torch.Size([1, 2, 4, 6])
    """

    std: Tensor

    def __init__(
        self,
        function: Callable[[Tensor], Any],
        num_classes: int,
        *,
        mean: Sequence[float] = _PLAIN[0],
        std: Sequence[float] = _PLAIN[1],
        probabilities: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be 1 or more, got {num_classes}.")
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError(f"mean and std must be three numbers each, std above 0, got {mean} and {std}.")
        self.function = function
        if isinstance(function, nn.Module):
            function.eval()
            for weight in function.parameters():  # one by one, as a TorchScript module asks for
                weight.requires_grad_(False)
        self._given = num_classes
        self.probabilities = probabilities
        self.register_buffer("mean", _colour(mean))
        self.register_buffer("std", _colour(std))

    @property
    def num_classes(self) -> int:
        """C, two or more."""
        return max(2, self._given)

    @uncompiled
    def forward(self, images: Tensor) -> SegmentationOutput:
        """Score every class in images (B, 3, H, W), RGB in [0, 1].

        Raises:
            ValueError: the function gives something else than scores (B, C, h, w).
        """
        self.check_images(images)
        scores = scores_in(self.function((images - self.mean) / self.std))
        if scores.ndim != 4 or scores.shape[:2] != (len(images), self._given) or not scores.is_floating_point():
            expected = f"({len(images)}, {self._given}, h, w)"
            raise ValueError(
                f"a teacher that only scores must give float scores (B, C, h, w), here {expected}, got "
                f"{str(scores.dtype).removeprefix('torch.')} {tuple(scores.shape)}."
            )
        if self._given == 1:
            scores = torch.cat([1 - scores if self.probabilities else torch.zeros_like(scores), scores], dim=1)
        if self.probabilities:
            scores = scores.float().clamp_min(torch.finfo(torch.float32).tiny).log()
        return SegmentationOutput(scores, scores[:, :0])


def scores_in(answer: Any) -> Tensor:
    """The scores in what a function gives: a tensor, or one under a name that other libraries use.

    Raises:
        ValueError: there are none, or several that could be it.
    """
    if isinstance(answer, Mapping):
        answer = next((answer[key] for key in _KEYS if key in answer), answer)
    answer = next((getattr(answer, key) for key in _KEYS if hasattr(answer, key)), answer)
    if isinstance(answer, tuple | list) and len(answer) == 1:
        answer = answer[0]
    if not isinstance(answer, Tensor):
        got = f"{type(answer).__name__} of {len(answer)}" if hasattr(answer, "__len__") else type(answer).__name__
        raise ValueError(f"a teacher that only scores must give one tensor (B, C, h, w), got {got}.")
    return answer


def split_normalisation(name: str) -> tuple[str, str | None]:
    """Part the name of a file from what stands behind its @.

    Raises:
        ValueError: no such normalisation is known.

    Example:
        >>> split_normalisation("teacher.onnx@imagenet"), split_normalisation("teacher.onnx")
        (('teacher.onnx', 'imagenet'), ('teacher.onnx', None))
    """
    path, at, normalisation = name.rpartition("@")
    if not at or Path(name.removeprefix(SCRIPT)).exists():
        return name, None
    if normalisation not in NORMALISATIONS:
        raise ValueError(
            f"{name}: after the @ stands how images are normalised, {', '.join(NORMALISATIONS)}, or nothing."
        )
    return path, normalisation


def open_script(path: str | Path, normalisation: str | None) -> ScoringTeacher:
    """Open a TorchScript file, which is a program: it is run.

    Args:
        path: the file.
        normalisation: of images, a key of `NORMALISATIONS`; None leaves them in [0, 1].

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no TorchScript file, or gives no scores of pixels.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no TorchScript file at {path}")
    try:
        with catch_warnings(action="ignore", category=FutureWarning):  # of its own age
            module: Any = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
        module.eval()
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"{path} cannot be read as a TorchScript file ({first}): expected what torch.jit.save wrote."
        ) from None
    return tried(module, path, normalisation, (_SIDE, _SIDE))


def tried(
    function: Callable[[Tensor], Any], path: str | Path, normalisation: str | None, size: tuple[int, int]
) -> ScoringTeacher:
    """Make a teacher of what is in a file; an image of noise shows how many classes it scores.

    Args:
        function: maps images to scores.
        path: for errors.
        normalisation: as for `open_script`.
        size: (height, width) of the image.

    Raises:
        ValueError: it gives no scores of pixels.
    """
    mean, std = NORMALISATIONS[normalisation] if normalisation else _PLAIN
    noise = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            scores = scores_in(function((noise - _colour(mean)) / _colour(std)))
    except Exception as error:  # whatever another program's file raises
        last = str(error).strip().splitlines()[-1]
        raise ValueError(f"{path} does not take images (1, 3, {size[0]}, {size[1]}): {last}") from None
    if scores.ndim != 4 or not scores.is_floating_point() or not 1 <= scores.shape[1] <= _MOST_CLASSES:
        got = f"{str(scores.dtype).removeprefix('torch.')} {tuple(scores.shape)}"
        raise ValueError(f"{path} gives {got}, expected float scores (B, C, h, w) of at most {_MOST_CLASSES} classes.")
    single = scores.shape[1] == 1
    whole = scores <= 1 if single else (scores.sum(1) - 1).abs() < _ROUNDING
    probabilities = bool((scores >= 0).all()) and bool(whole.all())
    plain = "RGB in [0, 1] (with @imagenet behind its name they are normalised for it)"
    shown = "normalised by ImageNet's mean and deviation" if normalisation else plain
    gives = "probabilities, of which the logarithm is taken" if probabilities else "scores"
    of = "one class, beside which all else is background" if single else f"{scores.shape[1]} classes"
    say(f"scores    {path} gives {gives} of {of}; it is shown images {shown}")
    return ScoringTeacher(function, scores.shape[1], mean=mean, std=std, probabilities=probabilities)


def _colour(numbers: Sequence[float]) -> Tensor:
    return torch.tensor(tuple(numbers)).view(1, 3, 1, 1)
