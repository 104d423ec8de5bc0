"""What a finished run says, as numbers, tables and pictures."""

import json
from pathlib import Path
from statistics import stdev

import pytest
from PIL import Image

from fakd.analysis.figures.demo import draw_curves, draw_predictions
from fakd.analysis.groups import Group
from fakd.analysis.runs import Run, read_metrics, read_run
from fakd.analysis.tables import class_lines, markdown_lines, rich_lines, score_lines
from fakd.console import console
from fakd.data import get_dataset
from fakd.models import load_model


def write_csv(folder: Path, start: int, text: str) -> None:
    path = folder / f"logs/csv/{start:03d}/metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_reads_a_real_run(teacher_run) -> None:
    run = read_run(teacher_run)
    assert run.config["max_steps"] == 40
    assert run.results["steps"] == 40
    assert [step for step, _ in run.metrics["loss/ce"]] == list(range(40))
    assert [step for step, _ in run.metrics["val/mIoU"]] == [39]


@pytest.mark.parametrize("missing", ["config.yaml", "results.json"])
def test_unfinished_runs(tmp_path, missing) -> None:
    for name in {"config.yaml", "results.json"} - {missing}:
        (tmp_path / name).write_text("{}")
    with pytest.raises(FileNotFoundError, match=f"not a finished run: it has no {missing}"):
        read_run(tmp_path)


def test_later_starts_replace_what_they_repeat(tmp_path) -> None:
    write_csv(tmp_path, 0, "step,loss/ce,val/mIoU\n0,1.0,\n1,2.0,\n1,,30.0\n2,3.0,\n3,4.0,\n3,,40.0\n")
    write_csv(tmp_path, 1, "loss/ce,loss/cwd,step,epoch\n3.5,9,2,0\n")  # killed again at once
    write_csv(tmp_path, 2, "epoch,step,loss/ce,val/mIoU\n0,3,4.5,\n0,4,,45.0\n")
    assert read_metrics(tmp_path) == {
        "loss/ce": [(0, 1.0), (1, 2.0), (2, 3.5), (3, 4.5)],
        "val/mIoU": [(1, 30.0), (4, 45.0)],
        "loss/cwd": [(2, 9.0)],
    }


def test_no_logs_no_metrics(tmp_path) -> None:
    assert read_metrics(tmp_path) == {}
    write_csv(tmp_path, 0, "step,loss/ce\n")
    assert read_metrics(tmp_path) == {}


def run(miou: float, car: float | None = 50.0) -> Run:
    results = {"mIoU": miou, "mAcc": 60.0, "parameters": 1234567, "seconds_per_step": 0.25, "seconds": 100.4}
    return Run(Path("run"), {}, {**results, "IoU": {"road": miou, "car": car}}, {})


def groups(runs: dict[str, list[Run]]) -> list[Group]:
    return [Group(name, {}, seeds) for name, seeds in runs.items()]


def class_table(runs: dict[str, list[Run]]) -> str:
    return markdown_lines(class_lines(groups(runs), list(runs)))


def test_rows_hold_mean_and_spread_over_seeds() -> None:
    _, one, three = score_lines(groups({"one": [run(40.0)], "three": [run(40.0), run(41.0), run(45.0)]}))
    assert one == ["one", "40.00", "60.00", "1,234,567", "0.250", "100"]
    assert three[:3] == ["three", f"42.00 ± {stdev([40, 41, 45]):.2f}", "60.00 ± 0.00"]


def test_markdown() -> None:
    lines = markdown_lines(score_lines(groups({"a": [run(40.0)], "b": [run(50.0)]}))).splitlines()
    assert lines[0] == "|  | mIoU % | mAcc % | parameters | s / step | seconds |"
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: |"
    assert [line.count("|") for line in lines] == [7] * 4
    classes = class_table({"a": [run(40.0)], "b": [run(50.0, None), run(52.0)]}).splitlines()
    assert classes[2:] == ["| road | 40.0 | 51.0 ± 1.4 |", "| car | 50.0 | - |"]


def test_markdown_of_names_with_bars() -> None:
    odd = run(40.0)
    odd.results["IoU"] = {"a|b": 40.0}
    assert class_table({"x|y": [odd]}).splitlines() == ["| IoU % | x\\|y |", "| --- | ---: |", "| a\\|b | 40.0 |"]
    assert markdown_lines(score_lines(groups({"x|y": [odd]}))).splitlines()[2].startswith("| x\\|y |")


def test_terminal_table_fits_80_columns(capsys) -> None:
    console.print(rich_lines(score_lines(groups({"student alone": [run(40.0)], "FAKD": [run(50.0)]}))), width=80)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any("student alone" in line and "40.00" in line and "0.250" in line for line in lines)


def test_pictures(few_scenes, teacher_run, tmp_path) -> None:
    spec = get_dataset("toy-scenes")
    draw_curves({"trained": read_run(teacher_run), "no logs": run(1.0)}, 62.0, tmp_path / "curves.png")
    model, source = load_model(teacher_run)[0], spec.open(None, "val")
    samples = [source[0], source[1]]
    draw_predictions({"a": model, "b": model}, {"a": 1.0, "b": 2.0}, samples, spec, tmp_path / "grid.png", "two scenes")
    for name in ("curves.png", "grid.png"):
        picture = Image.open(tmp_path / name).convert("RGB")
        assert min(picture.size) > 200
        assert len(picture.getcolors(1 << 24)) > 10
    colours = {colour for _, colour in Image.open(tmp_path / "grid.png").convert("RGB").getcolors(1 << 24)}
    truth = {spec.palette[index] for index in source[0].label.unique().tolist() if index != 255}
    assert truth <= colours


def test_results_are_plain_json(teacher_run) -> None:
    results = json.loads((teacher_run / "results.json").read_text())
    assert json.loads(json.dumps(results, allow_nan=False)) == results  # nan is no JSON
