"""Runs under teachers that only score."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from warnings import catch_warnings

import pytest
import torch
from torch import nn

import fakd
from fakd.cli import main
from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.export.onnx_graph import Deployed, write_graph
from fakd.models import load_model
from fakd.training import DistillConfig, distill
from fakd.training.teacher import load_teacher, run_inputs


class Normalised(nn.Module):
    """A trained network as another program would export it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.network(images).logits
        return scores


@pytest.fixture(scope="module")
def teachers(teacher_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The same trained network as files that only score."""
    root = tmp_path_factory.mktemp("scoring")
    network = Normalised(load_model(teacher_run)[0].eval())
    assert main(["export", str(teacher_run), str(root / "own.onnx")]) == 0
    assert main(["export", str(teacher_run), str(root / "labels.onnx"), "--argmax"]) == 0
    write_graph(Deployed(network.network, upsample=False, argmax=False), root / "foreign.onnx", {})
    with catch_warnings(action="ignore"):
        torch.jit.trace(network, torch.rand(1, 3, 64, 64), check_trace=False).save(str(root / "script.pt"))
    files = {name: str(root / f"{name}.onnx") for name in ("own", "foreign", "labels")}
    return {**files, "script": f"torchscript:{root / 'script.pt'}"}


@pytest.mark.parametrize("kind", ["own", "foreign", "script"])
def test_two_steps_under_a_file(
    distill_config: Callable[..., DistillConfig],
    teachers: dict[str, str],
    teacher_run: Path,
    tmp_path: Path,
    kind: str,
) -> None:
    """Each scores as the network that it is a file of, and so it is what the student learns."""
    options: dict[str, Any] = {"method": "cwd", "max_steps": 2, "eval_every": 2}
    ours = distill(distill_config(**options, teacher=teachers[kind], output=tmp_path / "file"))
    theirs = distill(distill_config(**options, output=tmp_path / "network"))
    assert ours is not None
    assert theirs is not None
    assert ours["teacher"]["mIoU"] == pytest.approx(theirs["teacher"]["mIoU"], abs=0.2)
    weights = [load_model(tmp_path / name)[0].state_dict() for name in ("file", "network")]
    for key, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][key], rtol=1e-2, atol=1e-3)


def test_the_content_of_a_file_tells_it_from_others(
    distill_config: Callable[..., DistillConfig], teachers: dict[str, str], tmp_path: Path
) -> None:
    found = []
    for name in (teachers["own"], teachers["foreign"], teachers["script"], f"{teachers['script']}@imagenet"):
        config = distill_config(teacher=name, method="cwd")
        found.append(run_inputs(config, load_teacher(name, config))["teacher"])
    assert len(set(found)) == len(found)
    copy = tmp_path / "copy.onnx"
    copy.write_bytes(Path(teachers["own"]).read_bytes())
    config = distill_config(teacher=copy, method="cwd")
    assert run_inputs(config, load_teacher(str(copy), config))["teacher"] == found[0]


def test_labels_are_no_scores(distill_config: Callable[..., DistillConfig], teachers: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"labels.onnx gives labels and no scores, of which a student learns"):
        distill(distill_config(teacher=teachers["labels"], method="cwd"))


def test_another_program_s_file_is_evaluated(few_scenes: None, teachers: dict[str, str], teacher_run: Path) -> None:
    how: dict[str, Any] = {"dataset": "toy-scenes", "workers": 0, "device": "cpu"}
    scores = [
        evaluate(EvaluateConfig(name, **how))["mIoU"]
        for name in (teachers["foreign"], teachers["script"], str(teacher_run))
    ]
    assert scores[:2] == pytest.approx([scores[2]] * 2, abs=0.2)


def test_a_function_teaches(distill_config: Callable[..., DistillConfig], teacher_run: Path, tmp_path: Path) -> None:
    """One that asks the trained network, with a cache and without: the run is that under the network itself."""
    network = load_model(teacher_run)[0].eval()
    options: dict[str, Any] = {"method": "cwd", "max_steps": 2, "eval_every": 2}
    given = fakd.ScoringTeacher(lambda images: network(images).logits, network.num_classes)
    results = [
        distill(distill_config(**options, teacher="by hand", output=tmp_path / "a"), given),
        distill(distill_config(**options, output=tmp_path / "b")),
        distill(
            distill_config(**options, teacher="by hand", output=tmp_path / "c", teacher_cache=tmp_path / "cache"), given
        ),
    ]
    scores = [found["teacher"]["mIoU"] for found in results if found is not None]
    assert scores == pytest.approx([scores[1]] * 3, abs=0.2)
    with pytest.raises(ValueError, match="ScoringTeacher gives scores alone"):
        distill(distill_config(teacher="by hand", method="at", output=tmp_path / "d"), given)
    with pytest.raises(ValueError, match="the teacher by hand scores 3 classes, but toy-scenes has 12"):
        distill(
            distill_config(teacher="by hand", output=tmp_path / "e"),
            fakd.ScoringTeacher(lambda images: images[:, :, ::8, ::8], 3),
        )
