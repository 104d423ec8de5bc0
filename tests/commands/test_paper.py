"""Every row of the paper's tables is a line that the command line takes, and that asks for what the row says."""

import shlex
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fakd import cli
from fakd.analysis.paper_rows import TEACHER, PaperRow, paper_rows
from fakd.commands.paper import PaperConfig, paper
from fakd.methods import METHODS
from fakd.models.mmseg.published import find_teacher
from fakd.models.presets import PRESETS
from fakd.training import DistillConfig

PSPNET = "mmseg:pspnet_r101-d8_4xb4-160k_ade20k-512x512"
ROWS = [row for row in paper_rows() if row.available]


@pytest.fixture
def parse() -> Any:
    """Turn a line into the config that its command would get."""

    def run(line: str) -> Any:
        program, *arguments = shlex.split(line)
        assert program == "fakd"
        return cli.parse(arguments)[1]

    return run


def teacher_of(name: str, row: PaperRow) -> float:
    """The published mIoU of the teacher that a line names, which must be the row's."""
    teacher = find_teacher(name)
    assert (teacher.network, teacher.dataset) == (row.teacher, row.dataset)
    return teacher.paper_miou


def test_every_table_is_there() -> None:
    # Table 1: 5 pairs, one of them without the teacher's row; Tables 2 and 3: 3 and 4 + 4 pairs
    assert Counter(row.table for row in paper_rows()) == {1: 34, 2: 21, 3: 56, 4: 4, 5: 4}
    assert {row.method for row in paper_rows() if row.table <= 3} == {
        *(TEACHER, "none", "skds", "ifvd", "cirkd", "cwd", "fakd")
    }
    best = {(row.table, row.dataset): row.mIoU for row in paper_rows() if row.method == "fakd" and not row.scratch}
    assert best[1, "ade20k"] == 35.74  # ISANet, the last of the table
    assert all(0 < row.mIoU < row.mAcc < 100 for row in paper_rows())


def test_every_line_asks_for_its_row(parse) -> None:
    assert len(ROWS) >= 60
    for row in ROWS:
        config = parse(row.command("some/where"))
        assert (config.dataset, config.data_root) == (row.dataset, Path("some/where"))
        if row.method == TEACHER:
            assert teacher_of(config.model, row) == row.mIoU
            continue
        teacher_of(config.teacher, row)
        assert (config.student, config.method) == (row.student, row.method)
        assert row.student in PRESETS
        assert (config.photometric, config.ce_average) == (True, "all")
        assert config.backbone_weights == (None if row.scratch else "imagenet")
        expected: dict[str, Any] = {} if row.strength in (None, 1.0) else {"strength": row.strength}
        if row.method == "fakd":
            expected["reference"] = "none"
        assert config.options == expected
        assert (config.max_steps, config.batch_size, config.init) == (40_000, 16, None)


def test_runs_that_differ_have_folders_of_their_own(parse) -> None:
    commands = {row.command("D") for row in ROWS if row.method != TEACHER}
    folders = Counter(parse(command).output for command in commands)
    assert set(folders.values()) == {1}
    assert len(folders) < len([row for row in ROWS if row.method != TEACHER])  # Table 4 repeats rows of Table 1


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (
            {"table": 1, "student": "pspnet-r18", "method": "fakd"},
            [
                f"fakd distill --dataset ade20k --data-root DIR --teacher {PSPNET} --student pspnet-r18 --method fakd "
                "--photometric --ce-average all --backbone-weights imagenet --options.reference none",
                f"fakd distill --dataset ade20k --data-root DIR --teacher {PSPNET} --student pspnet-r18 --method fakd "
                "--photometric --ce-average all --options.reference none --output runs/ade20k/pspnet-r18-fakd-scratch",
            ],
        ),
        (
            {"table": 2, "student": "hrnet-w18s", "method": "teacher"},
            [
                "fakd evaluate mmseg:fcn_hr48_4xb4-80k_pascal-context-59-480x480 --dataset pascal-context "
                "--data-root DIR"
            ],
        ),
        (
            {"dataset": "cityscapes", "student": "isanet-r18", "method": "teacher"},
            [
                "fakd evaluate mmseg:isanet_r101-d8_4xb2-80k_cityscapes-769x769 --dataset cityscapes --data-root DIR "
                "--window 769,769 --stride 513,513"
            ],
        ),
        (
            {"table": 5},
            [
                f"fakd distill --dataset ade20k --data-root DIR --teacher {PSPNET} --student pspnet-r18 --method fakd "
                f"--photometric --ce-average all --backbone-weights imagenet --options.reference none{more}"
                for more in (
                    " --options.strength 0.5 --output runs/ade20k/pspnet-r18-fakd-strength0.5",
                    "",
                    " --options.strength 1.5 --output runs/ade20k/pspnet-r18-fakd-strength1.5",
                    " --options.strength 2.5 --output runs/ade20k/pspnet-r18-fakd-strength2.5",
                )
            ],
        ),
    ],
)
def test_lines_that_are_listed(filters, expected, capsys) -> None:
    rows = paper(PaperConfig(**filters))
    assert [row.command() for row in rows] == expected
    said = [line for line in capsys.readouterr().out.splitlines() if "fakd " in line]
    # the whole line at the end, however narrow the terminal, so that it can be copied
    assert [line[line.index("fakd " + expected[0].split()[1]) :] for line in said] == expected
    for row, line in zip(rows, said, strict=True):
        assert line.split()[:3] == [f"{row.mIoU:.2f}", f"{row.mAcc:.2f}", row.method]


def test_everything_by_default(capsys) -> None:
    assert paper(PaperConfig()) == list(paper_rows())
    said = capsys.readouterr().out
    assert said.count("\nTable ") == 18
    assert "Table 3, voc2012: deeplabv3plus-r101 > deeplabv3plus-mv2\n" in said
    assert "Table 1, ade20k: pspnet-r101 > pspnet-r18, encoder from random weights\n" in said


def test_methods_of_another_version(monkeypatch, capsys, tmp_path) -> None:
    # not delitem, which would put it back at the end
    monkeypatch.setattr(METHODS, "data", {name: kind for name, kind in METHODS.data.items() if name != "cwd"})
    script = tmp_path / "lines.sh"
    (row,) = paper(PaperConfig(table=2, student="hrnet-w18s", method="cwd", output=script))
    assert not row.available
    assert "45.50  56.01  cwd             method cwd is not in this version\n" in capsys.readouterr().out
    assert "fakd distill" not in script.read_text()


def test_script(parse, tmp_path, capsys) -> None:
    script = tmp_path / "deep/lines.sh"
    root = "a folder/of 'mine'"
    rows = paper(PaperConfig(dataset="ade20k", data_root=Path(root), output=script))
    assert f"written to {script}" in capsys.readouterr().out
    subprocess.run(["sh", "-n", script], check=True)
    text = script.read_text()
    lines = [line for line in text.splitlines() if line.startswith("fakd ")]
    configs = [parse(line) for line in lines]
    assert len(configs) == len([row for row in rows if row.available])
    assert all(str(config.data_root) == root for config in configs)
    assert all(config.resume for config in configs if isinstance(config, DistillConfig))
    assert "# Table 5, ade20k: pspnet-r101 > pspnet-r18: fakd lambda=0.5, published mIoU 35.06, mAcc 43.91\n" in text


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"table": 6}, "no row with table 6; choose one of 1, 2, 3, 4, 5"),
        ({"dataset": "camvid"}, "'camvid'; choose one of ade20k, pascal-context, cityscapes, voc2012"),
        ({"table": 2, "dataset": "ade20k"}, "'ade20k'; choose one of pascal-context"),
        ({"student": "r18"}, "'r18'; choose one of pspnet-r18, hrnet-w18s, deeplabv3plus-mv2, isanet-r18"),
        ({"method": "student"}, "'student'; choose one of teacher, none, skds"),
        ({"data_root": Path("x")}, "data_root is the folder of one data set, but several are listed"),
    ],
)
def test_rows_that_are_not_there(filters, message) -> None:
    with pytest.raises(ValueError, match=message):
        paper(PaperConfig(**filters))
