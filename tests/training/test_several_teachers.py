"""Several teachers as one, from the options of a run to its report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from grid_runs import here  # noqa: F401  # a fixture
from steps import Crash, crash_at
from tiny import NETWORK, SETTINGS, SMALL

from fakd.analysis.paper_rows import run_teacher_network
from fakd.analysis.protocol import protocol_lines
from fakd.analysis.run_options import command_words
from fakd.analysis.runs import read_run
from fakd.cli import main, parse
from fakd.commands.compare import CompareConfig, compare
from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.commands.report import ReportConfig, report
from fakd.models import create_model, open_model, save_model
from fakd.serve.pair import PairConfig, described, open_pair
from fakd.training import DistillConfig, distill
from fakd.training.teacher import load_teacher, run_inputs

OURS = list(SMALL.classes)
THEIRS = ["lorry", *OURS[:0:-1]]
"""Other classes, in another order: our first by another name."""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of stride 4, with random weights, that scores other classes."""
    root = tmp_path_factory.mktemp("other")
    network = create_model("fcn-concat/test_resnet", num_classes=len(THEIRS), channels=16)
    save_model(network, root / "other.safetensors", {"classes": json.dumps(THEIRS), "base_size": "[48, 72]"})
    (root / "map.yaml").write_text(yaml.safe_dump({"lorry": OURS[0]}))
    return root


@pytest.fixture
def several(other: Path, teacher_run: Path) -> dict[str, Any]:
    return {
        "teacher": [str(teacher_run), str(other / "other.safetensors")],
        "class_map": [None, other / "map.yaml"],
        "teacher_weights": (3, 1),
        "method": "cwd",
        "max_steps": 2,
        "eval_every": 2,
    }


def mean_of_both(images: torch.Tensor, teachers: list[str]) -> np.ndarray:
    """The probabilities that the two teachers give in the mean, in float64 and by hand."""
    with torch.no_grad():
        first, second = (open_model(name)[0](images).logits for name in teachers)
    second = second[:, [0, *range(len(OURS) - 1, 0, -1)]]
    size = max(first.shape[-2:], second.shape[-2:])
    total = 0
    for logits, weight in ((first, 0.75), (second, 0.25)):
        scores = F.interpolate(logits.double(), size=size, mode="bilinear").numpy()
        powers = np.exp(scores - scores.max(1, keepdims=True))
        total = total + weight * powers / powers.sum(1, keepdims=True)
    return total


def test_they_teach_the_mean_of_their_probabilities(
    distill_config: Callable[..., DistillConfig], several: dict[str, Any]
) -> None:
    teacher = load_teacher(several["teacher"], distill_config(**several))
    images = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        found = teacher.network(images).logits
    np.testing.assert_allclose(found.exp().numpy(), mean_of_both(images, several["teacher"]), rtol=1e-4, atol=1e-6)


def test_what_tells_them_from_others(distill_config: Callable[..., DistillConfig], several: dict[str, Any]) -> None:
    def digests(**changes: Any) -> str:
        config = distill_config(**{**several, **changes})
        return run_inputs(config, load_teacher(config.teacher, config))["teacher"]

    first, second = several["teacher"]
    found = [
        digests(),
        digests(teacher_weights=(3, 2)),
        digests(teacher=first, class_map=None, teacher_weights=None),
        digests(teacher=[second, first], class_map=several["class_map"][::-1]),
    ]
    assert len(set(found)) == len(found)
    assert digests() == found[0]


@pytest.mark.slow
def test_a_cache_keeps_the_mean_and_the_run_says_who_taught(
    distill_config: Callable[..., DistillConfig],
    several: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    live = distill(distill_config(**several, output=tmp_path / "live"))
    cache = {"teacher_cache": tmp_path / "cache", "teacher_cache_format": "float16"}
    cached = distill(distill_config(**several, **cache, output=tmp_path / "cached"))
    assert live is not None
    assert cached is not None
    assert live["teacher"] == cached["teacher"]
    said = capsys.readouterr().out
    names = " + ".join(several["teacher"])
    assert f"teachers  2, of whose probabilities the student learns the mean, weights 3, 1: {names}" in said
    assert f"({names}; chance is" in said

    before = len(list((tmp_path / "cache").iterdir()))
    distill(distill_config(**{**several, "teacher_weights": (1, 1)}, **cache, output=tmp_path / "other"))
    assert len(list((tmp_path / "cache").iterdir())) > before

    scores = evaluate(
        EvaluateConfig(
            several["teacher"][0],
            ensemble_with=several["teacher"][1],
            class_map=several["class_map"],
            teacher_weights=(3, 1),
            workers=0,
            device="cpu",
            output=tmp_path / "scores.json",
        )
    )
    assert scores["IoU"] == live["teacher"]["IoU"]
    assert json.loads((tmp_path / "scores.json").read_text())["model"] == names

    run = read_run(tmp_path / "live")
    assert run.config["teacher"] == several["teacher"]
    protocol = dict(map(tuple, protocol_lines(run, None, None)))  # type: ignore[arg-type]
    assert "2 teachers, the mean of their probabilities weighed 3, 1" in protocol["teacher"]
    assert run_teacher_network(run, None) is None  # a file alone does not say its architecture by its folder
    repeated = parse(command_words(run.config)[1:])[1]
    assert (repeated.teacher, repeated.class_map) == (several["teacher"], several["class_map"])
    assert repeated.teacher_weights == (3, 1)

    page = report(ReportConfig([tmp_path / "live"], output=tmp_path / "page.html", images=2, search=2, device="cpu"))
    assert "could not be read" not in page.read_text()
    student, teacher = open_pair(PairConfig(str(tmp_path / "live"), device="cpu"))
    assert teacher is not None
    assert (teacher.name, teacher.classes) == (names, student.classes)
    assert described(teacher).count("M parameters") == 2


@pytest.mark.slow
def test_stopped_and_resumed_it_ends_the_same(
    distill_config: Callable[..., DistillConfig],
    several: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    several |= {"max_steps": 3, "method": "fakd", "checkpoint_every": 1}
    assert distill(distill_config(**several, output=tmp_path / "whole")) is not None
    crash_at(monkeypatch, 2)
    with pytest.raises(Crash):
        distill(distill_config(**several, output=tmp_path / "parts"))
    with pytest.raises(ValueError, match=r"teacher_weights was .* and is"):
        distill(distill_config(**{**several, "teacher_weights": (1, 1)}, output=tmp_path / "parts", resume=True))
    assert distill(distill_config(**several, output=tmp_path / "parts", resume=True)) is not None
    weights = [
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("parts", "whole")
    ]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[1])


@pytest.mark.slow
def test_a_comparison_of_methods_under_several_teachers(
    few_scenes: None,
    several: dict[str, Any],
    tmp_path: Path,
    here: Any,  # noqa: F811
) -> None:
    here.student = None
    own = {name: several[name] for name in ("teacher", "class_map", "teacher_weights")}
    common = {**SETTINGS, "max_steps": 1, "eval_every": 1, "output": tmp_path / "grid", "allow_bad_teacher": True}
    config = CompareConfig(**own, **common, students=NETWORK, methods="none,cwd", seeds=1)
    content = compare(config)
    assert content is not None
    assert {tuple(run.teacher) for run in here.started} == {tuple(several["teacher"])}
    page = (tmp_path / "grid/comparison.md").read_text()
    assert all(f"`{name}`" in page for name in several["teacher"])
    assert "the mean of their probabilities, weights 3, 1" in page
    assert "the teacher is several networks as one" in page
    words = config.command_line("compare")
    assert words.count("--teacher") == words.count("--class-map") == 2
    with pytest.raises(ValueError, match="method 'at' learns from a teacher's features"):
        CompareConfig(**own, **common, students=NETWORK, methods="none,at", seeds=1)


def test_from_the_command_line(few_scenes: None, several: dict[str, Any], tmp_path: Path) -> None:
    first, second = several["teacher"]
    words = ["distill", "--teacher", first, "--teacher", second, "--class-map", "none"]
    words += ["--class-map", str(several["class_map"][1]), "--student", NETWORK, "--method", "pixel"]
    words += ["--max-steps", "1", "--batch-size", "2", "--crop-size", "32", "--workers", "0", "--accelerator", "cpu"]
    assert main([*words, "--head-channels", "8", "--allow-bad-teacher", "-o", str(tmp_path / "run")]) == 0
    kept = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert (kept["teacher"], kept["class_map"]) == ([first, second], [None, str(several["class_map"][1])])
