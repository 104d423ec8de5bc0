"""Computing a loss that was not finite once more, under observation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _EXTRA_STATE_KEY_SUFFIX

from fakd.analysis.run_options import run_config
from fakd.console import say
from fakd.data import Sample
from fakd.data.seeds import mixed_seed
from fakd.evaluation.predictor import Device, pick_device
from fakd.methods import create_method
from fakd.models.weights_file import read_torch_file
from fakd.training.config import RunConfig
from fakd.training.distill_config import DistillConfig
from fakd.training.learner import Learner
from fakd.training.optimization import parts
from fakd.training.run_folder import NONFINITE
from fakd.training.student import create_student
from fakd.training.teacher import load_teacher

_AUTOCAST = {"16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}


@dataclass
class ReplayConfig:
    """Compute a step whose loss was infinite or NaN once more, and show where that began."""

    file: Path
    """What the run has kept of the step, as RUN/nonfinite/step-12.pt; or the run folder, for its first such step."""
    _: KW_ONLY
    device: Device = "auto"
    """Where to compute."""


def replay(config: ReplayConfig) -> dict[str, Any]:
    """Print the terms of the step, the first module that gives what is not finite, and such tensors before and after.

    Returns:
        terms: value by name; module: the first one whose output is not finite, or None; before: names in the state that
        are not finite; gradients: names of weights whose gradient is not finite.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it was not written by fakd, or by another release.
    """
    path = _find(config.file)
    kept = _read(path)
    run = _config(kept)
    device = pick_device(config.device)
    say(f"step      {kept['step']} on {', '.join(kept['images'])}")
    say(f"found     {_listed(kept['found'])}")
    for note in _notes(kept, run, device):
        say(f"note      {note}", style="yellow")
    module = _build(kept, run)
    module.prepare(device)
    before = [name for name, value in kept["state_dict"].items() if not _is_finite(value)]
    batch = Sample(**{name: value.to(device) for name, value in kept["batch"].items()}, name=kept["images"])
    torch.manual_seed(mixed_seed("step", run.seed, kept["step"], kept["rank"]))
    with _watched(module) as wrong, _precision(run, device):
        each = [module(part, kept["step"]) for part in parts(batch, run.accumulate)]
    terms = {name: torch.stack([part[name] for part in each]).mean() for name in each[0]}
    torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
    gradients = [name for name, weight in module.named_parameters() if not _is_finite(weight.grad)]
    values = {name: term.item() for name, term in terms.items()}
    say(f"now       {_listed(values)}")
    say(f"before    {_some(before) if before else 'all weights and states are finite'}")
    say(f"first     {wrong[0] if wrong else 'no module gives what is not finite: look at the terms'}")
    say(f"gradients {_some(gradients) if gradients else 'all finite'}")
    return {"terms": values, "module": wrong[0] if wrong else None, "before": before, "gradients": gradients}


def _find(path: Path) -> Path:
    """The file itself, or the earliest below a folder."""
    if not path.is_dir():
        return path
    found = [*path.glob("step-*.pt"), *path.glob(f"{NONFINITE}/step-*.pt")]
    if not found:
        raise FileNotFoundError(f"no step is kept in {path}: it has no {NONFINITE}/step-NUMBER.pt.")
    return min(found, key=lambda file: int(file.stem.split("-")[1]))


def _read(path: Path) -> dict[str, Any]:
    kept = read_torch_file(path)
    if not isinstance(kept, dict) or not {"batch", "state_dict", "step", "config", "found", "late"} <= kept.keys():
        raise ValueError(f"{path} does not hold a step of a run.")
    return kept


def _config(kept: dict[str, Any]) -> RunConfig:
    """The run's options, for one process and without what is downloaded or compiled."""
    options = kept["config"] | {"resume": False, "overwrite": False, "devices": 1, "num_nodes": 1, "compile": False}
    options |= {"backbone_weights": None, "init": None}  # all weights are in the file
    frozen = options.pop("freeze_backbone", False)  # which without them is refused
    config = run_config(options, "the step's run")
    config.freeze_backbone = frozen
    return config


def _build(kept: dict[str, Any], run: RunConfig) -> Learner:
    student = create_student(run)
    if isinstance(run, DistillConfig):
        teacher = load_teacher(run.teacher, run).network
        method = create_method(run.method, student, teacher, max_steps=run.max_steps, options=run.options)
    else:
        teacher, method = None, create_method("none", student, None, max_steps=run.max_steps)
    module = Learner(student, method, teacher, run)
    missing, unexpected = module.load_state_dict(kept["state_dict"], strict=False)
    # What a discriminator's optimizer knows is not kept on GPUs: it begins anew.
    if wrong := [*(name for name in missing if not name.endswith(_EXTRA_STATE_KEY_SUFFIX)), *unexpected]:
        raise ValueError(f"the step was kept by another release of fakd: {_some(wrong, 'do not fit')}.")
    return module.train()


def _notes(kept: dict[str, Any], run: RunConfig, device: torch.device) -> Iterator[str]:
    """Why it may come out differently than in the run."""
    if kept["ranks"] > 1:
        yield f"this was process {kept['rank']} of {kept['ranks']}; what they share of each other's images is missing"
    if kept["late"]:
        yield _some(kept["late"], "as after the step, being too large to keep")
    if run.precision == "16-mixed" and device.type == "cpu":
        yield "the run was in 16-mixed precision, which a CPU replaces by bf16-mixed"


@contextmanager
def _watched(module: Learner) -> Iterator[list[str]]:
    """Gather the names of modules whose output is not finite, in the order in which they compute."""
    wrong: list[str] = []
    networks: list[tuple[str, nn.Module]] = [("student", module.student), ("method", module.method)]
    networks += [("teacher", teacher) for teacher in module.teachers]
    hooks = []
    for role, network in networks:
        for name, part in network.named_modules():
            if not list(part.children()):  # what is within comes first

                def look(part: nn.Module, inputs: Any, output: Any, name: str = f"{role}.{name}") -> None:
                    if isinstance(output, Tensor) and not _is_finite(output):
                        wrong.append(f"{name} ({type(part).__name__})")

                hooks.append(part.register_forward_hook(look))
    try:
        yield wrong
    finally:
        for hook in hooks:
            hook.remove()


def _precision(run: RunConfig, device: torch.device) -> torch.autocast:
    """The number format in which the run computed."""
    format_ = _AUTOCAST.get(run.precision)
    if format_ is torch.float16 and device.type == "cpu":
        format_ = torch.bfloat16
    return torch.autocast(device.type, dtype=format_, enabled=format_ is not None)


def _is_finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or bool(value.isfinite().all())


def _listed(values: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:g}" for name, value in values.items())


def _some(names: list[str], what: str = "not finite") -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{more}: {what}"
