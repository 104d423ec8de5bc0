"""ONNX files: they predict, without PyTorch's layers, and cannot be trained."""

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fakd.console import install_command
from fakd.functional.inputs import uncompiled
from fakd.models.network import Scorer
from fakd.models.scoring import tried
from fakd.types import SegmentationOutput

SUFFIX = ".onnx"
VERSION_KEY = "fakd.version"
"""The metadata entry that says which version of fakd wrote the file, and so that fakd did."""
INPUT, LOGITS, LABELS = "images", "logits", "labels"
"""Names of the graph's input, and of its output: scores, or with the argmax inside labels."""


class OnnxNetwork(Scorer):
    """Runs a network that `fakd export` wrote with onnxruntime on the CPU, as many threads as PyTorch's.

    It is called as every other network here, so that whatever predicts with those predicts with this. It knows no
    features, has no weights that PyTorch sees, and no gradient.

    Args:
        path: a file that `fakd export` wrote.
        session: of onnxruntime, where the file is open already.

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or was not written by fakd.
    """

    std: Tensor

    def __init__(self, path: str | Path, session: Any = None) -> None:
        super().__init__()
        self.path = Path(path)
        """The file."""
        self._session = session or _open_session(self.path)
        found = dict(self._session.get_modelmeta().custom_metadata_map)
        outputs = [output.name for output in self._session.get_outputs()]
        inputs = [given.name for given in self._session.get_inputs()]
        if VERSION_KEY not in found or inputs != [INPUT] or outputs not in ([LOGITS], [LABELS]):
            raise ValueError(
                f"{path} takes {', '.join(inputs)} and gives {', '.join(outputs)}"
                f"{'' if VERSION_KEY in found else f', and has no metadata entry {VERSION_KEY!r}'}: it was not written "
                "by `fakd export`."
            )
        self.gives_labels = outputs == [LABELS]
        """Whether the argmax is inside: the file says which class wins, and no scores."""
        self._num_classes = _read_classes(found, self.path)
        self.notes: dict[str, str] = found
        """What is known about its classes, as `fakd.models.open_model` gives it, and what `fakd export` added."""
        for name in ("mean", "std"):
            self.register_buffer(name, _read_colour(found, name, self.path), persistent=False)

    @property
    def num_classes(self) -> int:
        """C, as the file says it."""
        return self._num_classes

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Score every class at every position.

        Args:
            images: (B, 3, H, W) float RGB in [0, 1].

        Returns:
            logits (B, C, h, w) as the file gives them, and no features. A file that gives labels has
            the score 1 for the class that wins and 0 for the others.
        """
        answer = self.answer(images)
        logits = F.one_hot(answer.long(), self.num_classes).movedim(-1, 1).float() if self.gives_labels else answer
        return SegmentationOutput(logits, logits[:, :0])

    @uncompiled
    def answer(self, images: Tensor) -> Tensor:
        """Return what the file gives, as it gives it: scores (B, C, h, w) float, or labels (B, h, w) uint8.

        Args:
            images: (B, 3, H, W) float RGB in [0, 1].
        """
        self.check_images(images)
        given = {INPUT: images.detach().to("cpu", torch.float32).contiguous().numpy()}
        (answer,) = self._session.run(None, given)
        return torch.from_numpy(answer).to(images.device)


def open_onnx(path: str | Path, normalisation: str | None = None) -> Scorer:
    """Open an ONNX file: one that `fakd export` wrote, or any that maps images to scores.

    Args:
        path: the file. Another program's has one input, float32 images (B, 3, H, W), and one output, float scores
            (B, C, h, w); H and W may be fixed, and B may be fixed to 1.
        normalisation: of images for another program's file, a key of `fakd.models.scoring.NORMALISATIONS`; None leaves
            them RGB in [0, 1].

    Raises:
        ModuleNotFoundError: onnxruntime is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or has other inputs and outputs.
    """
    session = _open_session(Path(path))
    if VERSION_KEY not in session.get_modelmeta().custom_metadata_map:
        function = _ScoringGraph(session, path)
        return tried(function, path, normalisation, function.size)
    if normalisation is not None:
        raise ValueError(f"{path} normalises images itself: leave out @{normalisation}.")
    return OnnxNetwork(path, session)


class _ScoringGraph:
    """Another program's graph as a function from images to scores, on the CPU."""

    def __init__(self, session: Any, path: str | Path) -> None:
        inputs, outputs = session.get_inputs(), session.get_outputs()
        taken, given = (
            ", ".join(f"{one.name} {one.type.removeprefix('tensor')} {one.shape}" for one in several)
            for several in (inputs, outputs)
        )
        shape = inputs[0].shape if len(inputs) == 1 else []
        fits = (
            len(shape) == 4
            and shape[1] == 3
            and inputs[0].type == "tensor(float)"
            and (shape[0] == 1 or not isinstance(shape[0], int))
        )
        if not fits or len(outputs) != 1:
            raise ValueError(
                f"{path} takes {taken} and gives {given}: expected one input, float images (B, 3, H, W) with B free or "
                "1, and one output, scores (B, C, h, w)."
            )
        self._session, self._input, self._path = session, inputs[0].name, path
        self._one_by_one = shape[0] == 1
        self._fixed = [side if isinstance(side, int) else None for side in shape[2:]]
        self.size = (self._fixed[0] or 64, self._fixed[1] or 64)
        """(height, width) of images that it takes, as far as they are fixed."""

    def __call__(self, images: Tensor) -> Tensor:
        """Score images (B, 3, H, W)."""
        for side, fixed in zip(images.shape[-2:], self._fixed, strict=True):
            if fixed not in (None, side):
                height, width = self.size
                raise ValueError(
                    f"{self._path} takes images of {height}x{width} alone, got {images.shape[-2]}x{images.shape[-1]}: "
                    f"give --crop-size {height},{width} --window {height},{width}, or a file whose size is free."
                )
        given = images.detach().to("cpu", torch.float32).contiguous()
        parts = torch.split(given, 1) if self._one_by_one else [given]
        answers = [torch.from_numpy(self._session.run(None, {self._input: part.numpy()})[0]) for part in parts]
        return torch.cat(answers).to(images.device)


def require_onnxruntime() -> ModuleType:
    """Import onnxruntime, which `pip install fakd` leaves out.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    module = _imported("onnxruntime")
    module.set_default_logger_severity(4)  # what fails is raised as well
    return module


def require_onnx() -> ModuleType:
    """Import onnx, which `pip install fakd` leaves out.

    Raises:
        ModuleNotFoundError: it is not installed; the message says how to.
    """
    return _imported("onnx")


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"ONNX needs a package that is missing ({error}): {install_command('export')}"
        ) from None


def _open_session(path: Path) -> Any:
    onnxruntime = require_onnxruntime()
    if not path.is_file():
        raise FileNotFoundError(f"no ONNX file at {path}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # threads that wait would otherwise keep their cores busy, and slow down whatever comes next
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # each kind of damage is another of onnxruntime's own exceptions
        raise ValueError(f"{path} cannot be read as an ONNX file ({error}); was it cut short?") from error


def _read_classes(notes: Mapping[str, str], path: Path) -> int:
    try:
        count = int(notes["num_classes"])
    except (KeyError, ValueError):
        count = 0
    if not 1 <= count <= 256:
        raise ValueError(f"{path}: its num_classes is {notes.get('num_classes')!r:.80}, expected 1 to 256.")
    return count


def _read_colour(notes: Mapping[str, str], name: str, path: Path) -> Tensor:
    try:
        colour = torch.tensor(json.loads(notes[name]), dtype=torch.float32)
    except (KeyError, ValueError, TypeError, RecursionError):
        colour = torch.empty(0)
    channels = len(json.loads(notes["bands"])) if "bands" in notes else 3
    if colour.shape != (channels,):
        expected = "three numbers" if channels == 3 else f"{channels} numbers"
        raise ValueError(f"{path}: its {name} is {notes.get(name)!r:.80}, expected {expected}.")
    return colour.view(1, channels, 1, 1)
