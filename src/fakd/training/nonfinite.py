"""A loss that is no number: the run stops, and keeps what is needed to compute that loss again."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning_utilities.core.apply_func import apply_to_collection
from torch import Tensor, nn

from fakd.data import Sample
from fakd.evaluation.ensembles import teacher_title
from fakd.files.atomic import written_at_once

LARGEST = 50_000_000
"""Numbers in a tensor of the state, such as CIRKD's memory, beyond which it is not kept as it was before the step."""
STATE = "weights after it"
"""How the state is called in the place of a term."""


class NonFiniteLossError(ValueError):
    """A loss term, or what came of it, became infinite or NaN; the message names the term and the step."""


class _Look(NamedTuple):
    """What is to be looked at of a step."""

    step: int
    images: list[str]
    names: list[str]
    values: Tensor
    """The terms of these names; of the state, 0 or NaN."""
    teacher: Tensor
    """Whether all of the teacher's logits are finite."""


class NonFiniteGuard:
    """Stops the run at the first step whose loss or weights are infinite or NaN, naming the term, or the teacher.

    On an accelerator the look is taken every `every` steps and before weights are evaluated or written, because looking
    makes the host wait; the step named is exact all the same, and no checkpoint is written after that step. Its batch,
    and the state from which it began, are written to a file that `fakd replay` reads.

    Args:
        learner: what is trained, with `teacher_is_finite` and the run's `config`.
        device: where it is.
        every: steps between looks.
        folder: for that file.
        rank: of this process.
        ranks: how many processes train.
    """

    def __init__(
        self, learner: nn.Module, device: torch.device, every: int, folder: Path, rank: int = 0, ranks: int = 1
    ) -> None:
        self._learner, self._device, self._every, self._folder = learner, device, every, folder
        self._rank, self._ranks = rank, ranks
        self._pending: list[_Look] = []
        self._start = _Start()
        self._images: list[str] = []
        self._step = -1

    def begin(self, step: int, batch: Sample) -> None:
        """Keep what the step's loss will depend on.

        Raises:
            NonFiniteLossError: an earlier step went wrong.
        """
        finite = self._start.keep(batch, self._learner, self._device)
        if self._images:  # there was a step before
            self._await_state(finite)
        self._look_if_due(step)
        self._step, self._images = step, list(batch.name)

    def end(self, step: int, terms: Mapping[str, Tensor]) -> None:
        """Keep the step's terms; look at them when it is time.

        Raises:
            NonFiniteLossError: this step, or an earlier one, went wrong.
        """
        teacher: Tensor = self._learner.teacher_is_finite  # type: ignore[assignment]
        values = torch.stack(list(terms.values()))
        self._start.stay_if(~(values.isfinite().all() & teacher))
        self._pending.append(_Look(step, self._images, list(terms), values, teacher))
        self._look_if_due(step + 1)

    def look_at_weights(self) -> None:
        """Look before weights are evaluated or written.

        Raises:
            NonFiniteLossError: a step went wrong.
        """
        self._await_state(_finite(self._learner.state_dict().values()))
        self._look()

    def _await_state(self, finite: Tensor) -> None:
        value = torch.where(finite, 0.0, math.nan)[None]
        self._pending.append(_Look(self._step, self._images, [STATE], value, torch.ones_like(finite)))

    def _look_if_due(self, done: int) -> None:
        if self._device.type == "cpu" or done % self._every == 0:
            self._look()

    def _look(self) -> None:
        pending, self._pending = self._pending, []
        for look in pending:
            if not bool(look.values.isfinite().all() & look.teacher):
                raise NonFiniteLossError(f"{_reason(look, self._learner)} {self._save(look)}")

    def _save(self, look: _Look) -> str:
        """Write the file, and say how to use it."""
        path = self._folder / f"step-{look.step}{f'-rank-{self._rank}' if self._ranks > 1 else ''}.pt"
        kept = {
            **self._start.state(self._learner),
            "step": look.step,
            "images": look.images,
            "found": dict(zip(look.names, look.values.tolist(), strict=True)),
            "rank": self._rank,
            "ranks": self._ranks,
            "config": self._learner.config.to_dict(),  # type: ignore[union-attr,operator]
        }
        try:
            with written_at_once(path) as temporary:
                torch.save(kept, temporary)
        except (OSError, RuntimeError) as error:  # PyTorch's own, where the disk is full
            return f"What would replay it could not be written to {path} ({error})."
        return f"Its batch, and the state from which it began, are kept. Replay it by: fakd replay {path}"


class _Start:
    """What the latest step began with; once a step went wrong, what that one began with, for good.

    The host does not know which it is, and need not wait to know: the device chooses.
    """

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}
        self._flat: dict[torch.dtype, Tensor] = {}
        self._rest: dict[str, Any] = {}
        self._stay: Tensor | None = None

    def keep(self, batch: Sample, module: nn.Module, device: torch.device) -> Tensor:
        """Copy a batch and the module's state, and return whether all of that is finite."""
        state = module.state_dict()
        everything = {f"batch.{name}": value for name, value in batch._asdict().items()} | state
        tensors = {name: value for name, value in everything.items() if isinstance(value, Tensor)}
        self._tensors = {
            name: tensor
            for name, tensor in tensors.items()
            if name.startswith("batch.") or tensor.numel() <= LARGEST  # no replay without the batch
        }
        now = {  # in one launch a type, not in hundreds
            dtype: torch.cat([self._tensors[name].reshape(-1) for name in names])
            for dtype, names in self._by_type().items()
        }
        finite = _finite(now.values())
        if self._flat:
            self.stay_if(~finite)
            assert self._stay is not None
            now = {dtype: torch.where(self._stay, self._flat[dtype], flat) for dtype, flat in now.items()}
        self._flat = now
        # What optimizers of discriminators know. On an accelerator it would be from after the step, and full of NaN.
        if device.type == "cpu" and (self._stay is None or not self._stay):
            rest = {name: value for name, value in state.items() if not isinstance(value, Tensor)}
            self._rest = apply_to_collection(rest, Tensor, torch.clone)
        return finite

    def stay_if(self, wrong: Tensor) -> None:
        """From now on keep nothing else, if the step that began with this went wrong."""
        self._stay = wrong if self._stay is None else self._stay | wrong

    def state(self, module: nn.Module) -> dict[str, Any]:
        """The batch, the state, and which names in it are from after the step."""
        kept: dict[str, Tensor] = {}
        for dtype, names in self._by_type().items():
            shapes = [self._tensors[name].shape for name in names]
            parts = torch.split(self._flat[dtype].cpu(), [shape.numel() for shape in shapes])
            kept |= {name: part.view(shape).clone() for name, part, shape in zip(names, parts, shapes, strict=True)}
        batch = {name: kept.pop(name) for name in list(kept) if name.startswith("batch.")}
        late = {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}
        late = {name: value.cpu() for name, value in late.items() if name not in kept}
        return {
            "batch": {name.removeprefix("batch."): value for name, value in batch.items()},
            "state_dict": {**kept, **late, **self._rest},
            "late": list(late),
        }

    def _by_type(self) -> dict[torch.dtype, list[str]]:
        names: dict[torch.dtype, list[str]] = {}
        for name, tensor in self._tensors.items():
            names.setdefault(tensor.dtype, []).append(name)
        return names


def _finite(values: Iterable[Any]) -> Tensor:
    """Whether all floats are; one launch or two for each tensor."""
    floats = [value for value in values if isinstance(value, Tensor) and value.is_floating_point()]
    return torch.stack([value.isfinite().all() for value in floats]).all()


def _reason(look: _Look, module: nn.Module) -> str:
    if not bool(look.teacher):
        name = teacher_title(module.config.teacher)  # type: ignore[union-attr,arg-type]
        return (
            f"the teacher {name} gives logits that are infinite or NaN, at step {look.step}, on "
            f"{', '.join(look.images)}. Its file may be damaged; with 16-mixed precision try bf16-mixed."
        )
    values = dict(zip(look.names, look.values.tolist(), strict=True))
    found = ", ".join(f"{name} = {value}" for name, value in values.items() if not math.isfinite(value))
    return (
        f"the loss is not finite at step {look.step}: {found}. Lower --learning-rate, or with 16-mixed precision try "
        "bf16-mixed; the last checkpoint is from before."
    )
