"""fakd benchmark, as people type it, and the parts that it is made of."""

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from settled import TINY, settled

from fakd.cli import main
from fakd.commands.export import ExportConfig, export
from fakd.export.speed_and_memory import open_timed, time_in_rounds
from fakd.models import save_model
from fakd.models.cost import measure_cost

CPU = torch.device("cpu")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    checkpoint, exported = tmp_path / "a.safetensors", tmp_path / "a.onnx"
    save_model(settled(TINY, 5, channels=8), checkpoint)
    export(ExportConfig(str(checkpoint), exported))
    return checkpoint, exported


def test_the_table_and_its_files(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint, exported = map(str, files)
    options = ["--size", "64,96", "--rounds", "2", "--batch", "3", "--threads", "1"]
    output = tmp_path / "found.json"
    assert main(["benchmark", checkpoint, exported, *options, "--output", str(output)]) == 0
    said = capsys.readouterr().out
    assert "GMACs" in said
    assert max(map(len, said.partition("written to")[0].splitlines())) <= 80
    assert "Images of 64x96" in said
    assert "the networks take turns" in said.replace("\n", " ")
    own, onnx = json.loads(output.read_text())["networks"]
    cost = measure_cost(open_timed(checkpoint, 5, CPU).network, (64, 96), batch_size=2)
    for figures, path in ((own, files[0]), (onnx, files[1])):
        assert figures["macs"] == cost.macs
        assert figures["file_bytes"] == path.stat().st_size
        assert 0 < figures["latency"] <= figures["latency_90"]
        assert figures["throughput"] > 0
        # at least an image and the weights, at most what no network of this size takes
        assert 4 * cost.inference_parameters < figures["memory"] < 500e6
    assert own["parameters"] == onnx["parameters"] > 0
    assert own["speed"] == 1
    assert [own["runtime"], onnx["runtime"]] == ["PyTorch", "ONNX float32"]
    assert json.loads(output.read_text())["caption"].startswith("Images of 64x96, float32, 1 threads")


def test_as_markdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fakd.commands.benchmark.measure_footprint", lambda *given: 12_345_678)
    output = tmp_path / "found.md"
    assert main(["benchmark", TINY, "--size", "32,32", "--rounds", "1", "--batch", "1", "-o", str(output)]) == 0
    lines = output.read_text().splitlines()
    assert lines[0].startswith("| network | runs in | parameters | GMACs | file MB | latency ms")
    assert lines[2].startswith(f"| {TINY} | PyTorch | ")
    assert lines[2].endswith("| 12 | x 1.00 |")
    assert len({line.count("|") for line in lines[:3]}) == 1


def test_networks_time_in_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count()
    monkeypatch.setattr("fakd.export.speed_and_memory.perf_counter", lambda: float(next(clock)))
    called: list[str] = []

    def slow() -> None:
        called.append("slow")
        next(clock)

    times = time_in_rounds(
        {"slow": slow, "fast": lambda: called.append("fast")}, 2, CPU, lambda: called.append("round")
    )
    assert called == ["slow", "fast", "slow", "fast", "round", "slow", "fast", "round"]
    assert times == {"slow": [2.0, 2.0], "fast": [1.0, 1.0]}


def test_answers_are_those_of_the_networks(files: tuple[Path, Path]) -> None:
    images = torch.rand(2, 3, 41, 57)
    torch_answer, onnx_answer = (open_timed(str(path), 5, CPU).predict(images) for path in files)
    torch.testing.assert_close(torch_answer, onnx_answer, rtol=1e-4, atol=1e-4)
    assert open_timed(TINY, 9, CPU).predict(images).shape[1] == 9


@pytest.mark.parametrize(
    ("models", "options", "message"),
    [
        ([], [], "name the networks to time"),
        (["pspnet-r18", "pspnet-r18"], [], "named twice"),
        (["pspnet-r17"], [], "unknown network"),
        (["nowhere.onnx"], [], "no ONNX file at nowhere.onnx"),
        ([TINY], ["--rounds", "0"], "rounds must be 1 or more"),
        ([TINY], ["--size", "0,4"], "size must be at least 1 pixel"),
        ([TINY], ["--output", "a.csv"], "must end in .json or .md"),
        ([TINY], ["--output", "."], "must end in .json or .md"),
    ],
)
def test_what_cannot_be(
    models: list[str], options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["benchmark", *models, *options]) == 1
    assert message in capsys.readouterr().err


def test_a_file_that_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output: Any = tmp_path / "a.json"
    output.write_text("kept")
    assert main(["benchmark", TINY, "--output", str(output)]) == 1
    assert "a.json exists" in capsys.readouterr().err
    assert output.read_text() == "kept"
