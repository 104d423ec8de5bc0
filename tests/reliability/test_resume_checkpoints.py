"""Checkpoints that are damaged, cut short, or do not fit on the disk."""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from kill import differences
from safetensors.torch import save_file
from steps import TRAINING, Crash, at_step, crash_at

from fakd.analysis.runs import read_metrics
from fakd.cli import main
from fakd.training import DistillConfig, distill
from fakd.training.checkpoints import CheckpointFiles, full_disk_explained, newest_checkpoint
from fakd.training.metrics_file import MetricsFile, cut_torn_rows
from fakd.training.resuming import check_folder
from fakd.training.run_folder import RunFolder

FAKD = {"method": "fakd", "dropout": 0.5, "max_steps": 6, "checkpoint_every": 2, "eval_every": 4}
STATE = {"state_dict": {"weight": torch.arange(5000.0)}, "optimizer_states": []}


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2 // 3)


def flip_a_weight(path: Path) -> None:
    """PyTorch reads this without a word."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    torch.load(path, weights_only=True)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def other_file(path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, path)


FAULTS = {
    cut_short: "cut short",
    flip_a_weight: "the checksum of .* is wrong",
    empty: "cut short",
    other_file: "is no checkpoint of a run",
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run of two checkpoints."""
    folder = RunFolder(tmp_path / "run")
    files = CheckpointFiles(folder)
    for step in (1, 2):
        files.save_checkpoint({**STATE, "global_step": step}, folder.last)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run that is left alone lies, once a test has made it."""
    return tmp_path_factory.mktemp("whole") / "run"


def step_of(path: Path) -> int:
    step: int = torch.load(path, weights_only=True)["global_step"]
    return step


def names(folder: RunFolder) -> set[str]:
    return {path.name for path in folder.checkpoints.iterdir()}


def test_two_generations_and_no_more(folder: RunFolder) -> None:
    assert (step_of(folder.previous), step_of(folder.last)) == (1, 2)
    CheckpointFiles(folder).save_checkpoint({**STATE, "global_step": 3}, folder.last)
    assert (step_of(folder.previous), step_of(folder.last)) == (2, 3)
    CheckpointFiles(folder).save_checkpoint({**STATE, "global_step": 4}, folder.checkpoints / "best.ckpt")
    assert names(folder) == {"last.ckpt", "previous.ckpt", "best.ckpt"}
    assert newest_checkpoint(folder) == folder.last


@pytest.mark.parametrize(("keep", "kept"), [(1, [6]), (2, [6, 5]), (4, [6, 5, 4, 3])])
def test_as_many_as_configured(keep: int, kept: list[int], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    files = CheckpointFiles(folder, keep)
    for step in range(1, 7):
        files.save_checkpoint({**STATE, "global_step": step}, folder.last)
    assert [step_of(path) for path in folder.found_checkpoints()] == kept
    assert len(names(folder)) == keep
    fewer = CheckpointFiles(folder, max(1, keep - 2))
    fewer.save_checkpoint({**STATE, "global_step": 7}, folder.last)
    assert [step_of(path) for path in folder.found_checkpoints()] == [7, 6, 5][: max(1, keep - 2)]


def test_the_newest_that_is_sound(tmp_path: Path, capsys) -> None:
    folder = RunFolder(tmp_path)
    files = CheckpointFiles(folder, keep=12)
    for step in range(1, 13):
        files.save_checkpoint({**STATE, "global_step": step}, folder.last)
    for path in folder.found_checkpoints()[:10]:
        cut_short(path)
    found = newest_checkpoint(folder)
    assert found == tmp_path / "checkpoints/previous-10.ckpt"
    assert step_of(found) == 2
    assert capsys.readouterr().out.count("damaged   ") == 10


def test_a_finished_run_keeps_one(distill_config, tmp_path: Path) -> None:
    distill(distill_config(method="cwd", checkpoint_every=1, keep_checkpoints=3))
    assert names(RunFolder(tmp_path / "run")) == {"last.ckpt", "best.ckpt"}


@pytest.mark.parametrize("spoil", FAULTS)
def test_the_one_before_a_damaged_checkpoint(spoil: Callable[[Path], None], folder: RunFolder, capsys) -> None:
    spoil(folder.last)
    assert newest_checkpoint(folder) == folder.previous
    said = capsys.readouterr().out
    assert said.startswith(f"damaged   {folder.last} ")
    # The sound one must outlive the next write, whose place is the damaged one's.
    files = CheckpointFiles(folder)
    assert files.load_checkpoint(folder.previous)["global_step"] == 1
    files.save_checkpoint({**STATE, "global_step": 2}, folder.last)
    assert (step_of(folder.previous), step_of(folder.last)) == (1, 2)
    files.save_checkpoint({**STATE, "global_step": 3}, folder.last)
    assert (step_of(folder.previous), step_of(folder.last)) == (2, 3)


@pytest.mark.parametrize("spoil", FAULTS)
def test_nothing_left_to_go_on_from(spoil: Callable[[Path], None], folder: RunFolder) -> None:
    spoil(folder.last)
    spoil(folder.previous)
    with pytest.raises(ValueError, match=rf"can be read; start anew with --overwrite\. .*last\.ckpt.*{FAULTS[spoil]}"):
        newest_checkpoint(folder)


def test_killed_between_the_two_renames(folder: RunFolder) -> None:
    os.replace(folder.last, folder.previous)
    assert newest_checkpoint(folder) == folder.previous


def test_killed_before_the_first(tmp_path: Path) -> None:
    assert newest_checkpoint(RunFolder(tmp_path)) is None


@pytest.mark.parametrize("where", ["torch.save", "os.fsync", "os.replace"])
def test_a_write_that_breaks_off_leaves_both(where: str, folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(where, fail)
    with pytest.raises(OSError, match="No space left"):
        CheckpointFiles(folder).save_checkpoint({**STATE, "global_step": 3}, folder.last)
    assert names(folder) == {"last.ckpt", "previous.ckpt"}
    assert (step_of(folder.previous), step_of(folder.last)) == (1, 2)


def test_a_run_goes_on_from_the_one_before(distill_config, whole, monkeypatch, tmp_path, capsys) -> None:
    """Its metrics too are those of a run that was left alone."""
    if not whole.exists():
        distill(distill_config(**FAKD, output=whole))
    crash_at(monkeypatch, 5)
    with pytest.raises(Crash):
        distill(distill_config(**FAKD))
    run = RunFolder(tmp_path / "run")
    assert (step_of(run.previous), step_of(run.last)) == (2, 4)
    cut_short(run.last)
    metrics = run.logs / "csv/000/metrics.csv"
    metrics.write_bytes(metrics.read_bytes() + b"0.25,0.1")  # a row that was not finished
    (run.checkpoints / ".last.ckpt.4711.tmp").write_bytes(b"half a checkpoint")
    capsys.readouterr()
    distill(distill_config(**FAKD, resume=True))
    said = capsys.readouterr().out
    assert f"damaged   {run.last} " in said
    assert f"resuming  from {run.previous}" in said
    assert differences(whole, tmp_path / "run") == []
    assert names(run) == {"last.ckpt", "best.ckpt"}  # finished


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(disk)], capture_output=True
        ).returncode
    ):
        pytest.skip("needs the right to mount a file system")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def arguments(config: DistillConfig) -> list[str]:
    options = {
        name: value
        for name, value in config.to_dict().items()
        if value is not None and name not in ("options", "resume", "overwrite")
    }
    return ["distill", *(f"--{name}={value}" for name, value in options.items())]


@pytest.mark.parametrize("left", [0.5, 0.0])
def test_a_full_disk(distill_config, whole, small_disk, monkeypatch, capsys, left) -> None:
    """All that is free is taken away, or all but half a checkpoint; then it is given back."""
    if not whole.exists():
        distill(distill_config(**FAKD, output=whole))
    run, hog = RunFolder(small_disk / "run"), small_disk / "hog"

    def fill() -> None:
        with suppress(OSError):  # which is not the one that is looked for
            hog.write_bytes(bytes(shutil.disk_usage(small_disk).free - int(left * run.last.stat().st_size)))

    with monkeypatch.context() as patch:
        at_step(patch, TRAINING, 5, fill)
        assert main(arguments(distill_config(**FAKD, output=run.root))) == 1
    error = capsys.readouterr().err
    assert f"there is no room for {run.root} (No space left on device)" in error
    assert "with the same command and --resume" in error
    assert "Traceback" not in error
    assert (step_of(run.previous), step_of(run.last)) == (2, 4)
    assert not list(run.root.rglob("*.tmp"))
    hog.unlink()
    assert main([*arguments(distill_config(**FAKD, output=run.root)), "--resume"]) == 0
    assert differences(whole, run.root) == []


def test_a_full_disk_at_the_end(small_disk: Path) -> None:
    """The network's own format has errors of its own."""
    weights = {"weight": torch.zeros(20 << 20)}
    with pytest.raises(OSError, match="there is no room"), full_disk_explained(RunFolder(small_disk)):
        save_file(weights, small_disk / "student.safetensors")


def test_files_may_not_grow(distill_config, tmp_path, monkeypatch, capsys) -> None:
    """The same by a limit that every user may set, before the first checkpoint; the logs still fit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))

    try:
        with monkeypatch.context() as patch:
            at_step(patch, TRAINING, 0, limit, once=False)
            assert main(arguments(distill_config(**FAKD))) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert f"there is no room for {tmp_path / 'run'} (File too large)" in capsys.readouterr().err
    assert not list((tmp_path / "run/checkpoints").iterdir())


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "Permission denied", "x"), ValueError("wrong")])
def test_other_errors_are_left_as_they_are(error: Exception, tmp_path: Path) -> None:
    with pytest.raises(type(error)) as caught, full_disk_explained(RunFolder(tmp_path)):
        raise error
    assert caught.value is error


def test_the_best_is_known_where_a_folder_was_moved(distill_config, whole, monkeypatch, tmp_path) -> None:
    """The evaluation after the move is worse than the one before it, and does not take its place."""
    scores = iter([41.0, 40.0])
    monkeypatch.setattr(
        "fakd.training.loop.scores_from_confusion", lambda *_: SimpleNamespace(mIoU=next(scores), mAcc=0.0, aAcc=0.0)
    )
    with monkeypatch.context() as patch:
        crash_at(patch, 5)
        with pytest.raises(Crash):
            distill(distill_config(**{**FAKD, "eval_every": 3}))
    shutil.move(tmp_path / "run", tmp_path / "moved")
    distill(distill_config(**{**FAKD, "eval_every": 3}, output=tmp_path / "moved", resume=True))
    assert step_of(tmp_path / "moved/checkpoints/best.ckpt") == 3


def test_new_columns_never_empty_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = MetricsFile(tmp_path / "logs", name="csv", version="000", flush_logs_every_n_steps=1)
    logger.log_metrics({"loss/ce": 0.5}, step=0)
    file = tmp_path / "logs/csv/000/metrics.csv"
    before = file.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("csv.DictWriter.writerows", lambda *_: (_ for _ in ()).throw(Crash))
        with pytest.raises(Crash):
            logger.log_metrics({"val/mIoU": 7.0}, step=1)
    logger.finalize("failed")
    assert file.read_bytes() == before
    again = MetricsFile(tmp_path / "logs", name="csv", version="001", flush_logs_every_n_steps=1)
    for step, row in enumerate(({"loss/ce": 0.5}, {"val/mIoU": 7.0})):
        again.log_metrics(row, step)
    assert read_metrics(tmp_path) == {"loss/ce": [(0, 0.5)], "val/mIoU": [(1, 7.0)]}


@pytest.mark.parametrize("torn", ["0.2", '"0.2', "0.25,7", ",0"])
def test_torn_rows_are_cut(torn: str, tmp_path: Path) -> None:
    file = tmp_path / "csv/000/metrics.csv"
    file.parent.mkdir(parents=True)
    whole = b"loss/ce,step\r\n0.5,0\r\n"
    file.write_bytes(whole + torn.encode())
    cut_torn_rows(tmp_path)
    assert file.read_bytes() == whole
    cut_torn_rows(tmp_path)
    assert file.read_bytes() == whole


def test_a_start_that_was_killed_while_it_made_its_folder(train_config, tmp_path: Path) -> None:
    config = train_config(resume=True)
    run = RunFolder(tmp_path / "run")
    run.root.mkdir()
    (run.root / ".config.yaml.4711.tmp").write_text("half")
    assert not check_folder(config, run)
