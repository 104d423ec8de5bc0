"""Finished runs of a few steps, as a comparison leaves them, with names that a page must not take for markup."""

from dataclasses import replace
from pathlib import Path

import pytest
from tiny import NETWORK, SETTINGS, SMALL

from fakd.commands.report import ReportConfig, report
from fakd.data import DATASETS
from fakd.training import DistillConfig, TrainConfig, distill, train

ODD = "<b>\"&'</script>%{x}"
SPEC = replace(SMALL, classes=(ODD, *SMALL.classes[1:]))
CELLS = [("none", 0), ("none", 1), ("cwd", 0), ("cwd", 1), ("fakd", 0)]


@pytest.fixture(scope="session")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A teacher and five students, one of them left unfinished beside them."""
    root = tmp_path_factory.mktemp("a <i>comparison")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "toy-scenes", SPEC)
        settings = SETTINGS | {"check_data": False, "eval_every": 2}
        train(TrainConfig(network=NETWORK, output=root / "teacher", **settings))
        for method, seed in CELLS:
            distill(
                DistillConfig(
                    teacher=str(root / "teacher"),
                    student=NETWORK,
                    method=method,
                    options={"strength": 0.5} if method == "fakd" else {},
                    seed=seed,
                    output=root / f"{method}-seed{seed}",
                    allow_bad_teacher=True,
                    **settings,
                )
            )
    (root / "pixel-seed0").mkdir()
    (root / "pixel-seed0" / "config.yaml").write_text((root / "cwd-seed0" / "config.yaml").read_text())
    return root


@pytest.fixture(autouse=True)
def odd_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let toy-scenes have a class whose name looks like markup."""
    monkeypatch.setitem(DATASETS, "toy-scenes", SPEC)


@pytest.fixture(scope="session")
def page(comparison: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the comparison."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "toy-scenes", SPEC)
        output = tmp_path_factory.mktemp("page") / "report.html"
        return report(
            ReportConfig([comparison], output=output, images=6, search=8, device="cpu", title="A <i>title</i> & more")
        )
