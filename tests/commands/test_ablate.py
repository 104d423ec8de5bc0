"""One option changed at a time: which runs that makes, how they are called, and what they are compared with."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from grid_runs import here, names  # noqa: F401  # a fixture
from tiny import NETWORK, SETTINGS

from fakd.commands.ablate import AblateConfig, ablate
from fakd.commands.compare import CompareConfig, compare


@pytest.fixture
def make(few_scenes: None, teacher_run: Path, tmp_path: Path) -> Callable[..., AblateConfig]:
    def config(kind: type = AblateConfig, **changes: Any) -> AblateConfig:
        own = {"teacher": str(teacher_run), "seeds": 2, "output": tmp_path / "grid", "allow_bad_teacher": True}
        own |= {"student": NETWORK} if kind is AblateConfig else {"students": NETWORK}
        return kind(**{**SETTINGS, **own, **changes})

    return config


def arms(config: AblateConfig) -> dict[str, tuple[dict[str, Any], str | None]]:
    return {arm.name: (dict(arm.options), arm.baseline) for arm in config.arms()}


def test_table_4_compares_each_augmented_method_with_its_plain_form(make) -> None:
    assert arms(make(table=4)) == {
        "pixel": ({}, None),
        "fakd-pixel": ({}, "pixel"),
        "cwd": ({}, None),
        "fakd": ({}, "cwd"),
    }


def test_table_5_is_the_strength_of_fakd_in_the_papers_order(make) -> None:
    config = make(table=5)
    assert list(arms(config).items()) == [
        ("fakd-strength0.5", ({"strength": 0.5}, "fakd")),
        ("fakd", ({}, None)),
        ("fakd-strength1.5", ({"strength": 1.5}, "fakd")),
        ("fakd-strength2.5", ({"strength": 2.5}, "fakd")),
    ]
    assert [arm.label for arm in config.arms()][1] == "fakd strength 1.0"


def test_any_options_one_at_a_time_around_the_defaults(make) -> None:
    vary = {"bound": "null,tight", "window": "null,1000", "covariance": ["full"], "weight": 1, "schedule": "linear"}
    assert list(arms(make(vary=vary)).items()) == [
        ("fakd", ({}, None)),
        ("fakd-bound-tight", ({"bound": "tight"}, "fakd")),
        ("fakd-window1000", ({"window": 1000}, "fakd")),
        ("fakd-covariance-full", ({"covariance": "full"}, "fakd")),
        ("fakd-weight1.0", ({"weight": 1.0}, "fakd")),
        ("fakd-schedule-linear", ({"schedule": "linear"}, "fakd")),
    ]
    assert make(vary={"bound": "null,tight"}).arms()[0].label == "fakd without bound"
    other = make(method="cwd", vary={"temperature": "1,2,4"}, method_options={"cwd": {"weight": "2"}})
    assert arms(other) == {
        "cwd-temperature1.0": ({"weight": 2.0, "temperature": 1.0}, "cwd"),
        "cwd-temperature2.0": ({"weight": 2.0, "temperature": 2.0}, "cwd"),
        "cwd": ({"weight": 2.0}, None),
    }


def test_runs_and_table(make, here, tmp_path) -> None:  # noqa: F811
    ablate(make(vary={"bound": "tight"}, max_steps=2, eval_every=2, seeds=1))
    assert names(here.started) == ["fakd-seed0", "fakd-bound-tight-seed0"]
    config = yaml.safe_load((tmp_path / "grid/fakd-bound-tight-seed0/config.yaml").read_text())
    assert config["options"] == {"bound": "tight"}
    page = (tmp_path / "grid/ablation.md").read_text()
    assert page.startswith("# Ablation on toy-scenes\n")
    assert "--vary.bound tight" in page
    assert {path.name for path in (tmp_path / "grid").glob("ablation.*")} == {
        f"ablation.{suffix}" for suffix in ("md", "csv", "tex", "json")
    }


def test_runs_that_a_comparison_made_are_not_made_again(make, here, tmp_path) -> None:  # noqa: F811
    compare(make(CompareConfig, methods="none,cwd,fakd"))
    here.started.clear()
    ablate(make(table=4))
    ablate(make(table=5))
    ablate(make(vary={"strength": "0.5,1"}))
    assert sorted(set(names(here.started))) == sorted(
        f"{name}-seed{seed}"
        for name in ("pixel", "fakd-pixel", "fakd-strength0.5", "fakd-strength1.5", "fakd-strength2.5")
        for seed in (0, 1)
    )
    assert len(here.started) == 10
    written = {path.stem for path in (tmp_path / "grid").glob("*.md")}
    assert written == {"comparison", "ablation-table4", "ablation-table5", "ablation"}  # none takes another's place


def test_baselines_that_differ_stand_in_the_table(make, here, tmp_path) -> None:  # noqa: F811
    ablate(make(table=4))
    with (tmp_path / "grid/ablation-table4.csv").open(newline="") as file:
        rows = {row["label"]: row for row in csv.DictReader(file)}
    assert rows["fakd-pixel"]["compared_with"] == "pixel"
    plain, augmented = float(rows["pixel"]["mIoU"]), float(rows["fakd-pixel"]["mIoU"])
    assert float(rows["fakd-pixel"]["mIoU_difference"]) == pytest.approx(augmented - plain)
    assert rows["cwd"]["mIoU_difference"] == ""
    assert "| compared with |" in (tmp_path / "grid/ablation-table4.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "say what to vary"),
        ({"table": 4, "vary": {"bound": "tight"}}, "say what to vary"),
        ({"table": 4, "method": "cwd"}, "Table 4 is about pixel, fakd-pixel, cwd, fakd; leave out --method"),
        ({"table": 5, "method": "fakd-pixel"}, "Table 5 is about fakd"),
        ({"vary": {"bond": "tight"}}, "method 'fakd' has no option bond"),
        ({"vary": {"bound": "paper,loose"}}, "loose.* option bound of method 'fakd'.*tight"),
        ({"vary": {"strength": "0.5,strong"}}, "option strength of method 'fakd': .*strong"),
        ({"method": "none", "vary": {"weight": 1}}, "method 'none' has no option weight"),
        ({"method": "kd", "vary": {"weight": 1}}, "there is no method 'kd'"),
        ({"table": 4, "method_options": {"ifvd": {"pixel_weight": 1}}}, "method_options are given for ifvd"),
    ],
)
def test_mistakes(make, changes, message) -> None:
    with pytest.raises(ValueError, match=message):
        make(**changes)
