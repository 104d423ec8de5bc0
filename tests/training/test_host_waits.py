"""No training step makes the host wait for the device.

On PyTorch's meta device, as on a GPU, tensors have shapes at once; but they never have values, so whatever would wait
for one (`.item()`, `bool`, `.tolist()`, `nonzero`, a boolean mask as an index, a copy to the CPU) raises. Code that is
for the CPU alone, such as looking at labels, is not run there; kernels that are for CUDA alone are not run either, nor
is autocast, which knows no meta device.
"""

from contextlib import nullcontext
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from fakd.data import Sample
from fakd.methods import METHODS, create_method
from fakd.models import create_model
from fakd.training import loop
from fakd.training.config import TrainConfig
from fakd.training.learner import Learner
from fakd.training.run_folder import RunFolder
from fakd.training.stopping import StopRequest
from fakd.types import SegmentationOutput

CLASSES = 12
OPTIONS: dict[str, list[dict[str, Any]]] = {
    "fakd": [{"bound": "tight"}, {"window": 100}, {"detach_classifier": False}, {"reference": "label"}],
    "fakd-pixel": [{"bound": "paper"}],
    "cwd": [{"augment_logits": 1.0}],
    "skds": [{"adversarial": "wgan-gp"}, {"authors_nodes": True}],
    "ifvd": [{"adversarial": "wgan-gp"}],
    "cirkd": [{"anchors": None}, {"authors_queue": True, "pooling": 2, "bank_dtype": "float16"}],
    "at": [{"maps": "stages"}],
}
CASES = [(name, options) for name in METHODS for options in [{}, *OPTIONS.get(name, [])]]


class FromTheHost(TorchDispatchMode):
    """Notes copies from the CPU to the device: of pageable memory, they make the host wait too."""

    def __init__(self) -> None:
        super().__init__()
        self.copies: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # Adam counts its steps in a tensor on the CPU, as it does beside a GPU.
        result = func(*args, **(kwargs or {}))
        sources = [arg for arg in args if isinstance(arg, Tensor)]
        if func.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_):
            target = result.device.type
            if target == "meta" and any(source.device.type == "cpu" for source in sources):
                self.copies.append(f"{func} {[tuple(source.shape) for source in sources]}")
        return result


@cache
def networks() -> tuple[nn.Module, nn.Module]:
    """A student and a teacher of another stride; without values, tests may share them."""
    student = create_model("pspnet/test_resnet", num_classes=CLASSES, channels=8)
    teacher = create_model("pspnet/test_resnet", num_classes=CLASSES, channels=8, output_stride=16, aux=False)
    return student.to("meta"), teacher.to("meta")


def learner_of(name: str, options: dict[str, Any], **settings: Any) -> Learner:
    student, teacher = networks()
    method = create_method(name, student, teacher, max_steps=4, options=options)
    learner = Learner(student, method, teacher, TrainConfig(**settings))
    learner.prepare(torch.device("meta"))
    return learner


def meta_batch() -> Sample:
    image = torch.empty(2, 3, 32, 48, dtype=torch.uint8, device="meta")
    label, geometry = torch.empty(2, 32, 48, dtype=torch.uint8, device="meta"), torch.empty(2, 5, device="meta")
    return Sample(image, label, ["a", "b"], geometry, torch.empty(2, 0, device="meta"))  # type: ignore[arg-type]


def run_steps(learner: Learner) -> None:
    """The loop itself, two steps of it where no row of the logs is due, on batches that are on the device."""
    config = TrainConfig(max_steps=100, checkpoint_every=100, eval_every=100, log_every=50)
    data = SimpleNamespace(train_dataloader=lambda first: [meta_batch()] * 2, val_dataloader=list)
    with pytest.raises(StopIteration):  # no third batch
        loop.fit(OnMeta(), config, RunFolder(Path()), data, learner, StopRequest())  # type: ignore[arg-type]


class OnMeta:
    """What the loop asks of Fabric."""

    device = torch.device("meta")
    global_rank, world_size, is_global_zero = 0, 1, True

    def setup(self, *given: Any) -> Any:
        return given

    def setup_dataloaders(self, batches: Any, **_: Any) -> Any:
        return batches

    def broadcast(self, value: Any) -> Any:
        return value

    def no_backward_sync(self, _: Any, *, enabled: bool) -> Any:
        return nullcontext()

    def backward(self, loss: Tensor) -> None:
        loss.backward()  # type: ignore[no-untyped-call]


@pytest.fixture
def no_autocast_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())


@pytest.mark.usefixtures("no_autocast_on_meta")
@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_a_step_neither_waits_nor_copies(name: str, options: dict[str, Any]) -> None:
    learner = learner_of(name, options)
    with FromTheHost() as watch:
        run_steps(learner)
    assert watch.copies == []


@pytest.mark.usefixtures("no_autocast_on_meta")
def test_cached_logits_need_no_wait() -> None:
    learner = learner_of("fakd", {}, channels_last=True)
    logits = torch.empty(2, CLASSES, 4, 6, device="meta")
    with FromTheHost() as watch:
        terms = learner(meta_batch()._replace(teacher_logits=logits), 0)
        torch.stack(list(terms.values())).sum().backward()
    assert watch.copies == []


class Waits(nn.Module):
    """A network that asks the device for something, in one of the ways there are."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(3, CLASSES, 1)
        self.num_classes = CLASSES
        self.how = how

    def forward(self, images: Tensor) -> SegmentationOutput:
        logits = self.classifier(images)
        if self.how == "item":
            logits = logits / logits.detach().max().item()
        elif self.how == "mask":
            logits = logits + images[images > 0].sum()
        elif self.how == "bool" and (logits > 0).any():
            logits = -logits
        elif self.how == "nonzero":
            logits = logits + images.nonzero().sum()
        elif self.how == "tolist":
            logits = logits + sum(logits[0, 0, 0].tolist())
        elif self.how == "cpu":
            logits = logits + images.cpu().sum()
        elif self.how == "copy":
            logits = logits + torch.ones(3).sum().to(logits.device)
        return SegmentationOutput(logits, images)


@pytest.mark.parametrize("how", ["item", "mask", "bool", "nonzero", "tolist", "cpu", "copy", "nothing"])
def test_the_test_would_notice(how: str) -> None:
    student = Waits(how)
    method = create_method("none", student, None, max_steps=4)  # type: ignore[arg-type]
    learner = Learner(student, method, None, TrainConfig())  # type: ignore[arg-type]
    learner.prepare(torch.device("meta"))
    with FromTheHost() as watch:
        if how in ("nothing", "copy"):
            run_steps(learner)
        else:
            # which of the two a tensor without values raises depends on what it is asked
            with pytest.raises((RuntimeError, NotImplementedError), match=r"[mM]eta"):
                run_steps(learner)
    assert bool(watch.copies) is (how == "copy")
