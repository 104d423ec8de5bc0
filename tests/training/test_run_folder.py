"""What lies in a run folder, and when it may be written to."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from fakd.analysis.runs import read_run
from fakd.data import DATASETS
from fakd.models import load_model
from fakd.training import TrainConfig, distill, train
from fakd.training.resuming import prepare_folder
from fakd.training.run_folder import RunFolder


def run_folder(root: Path, config: TrainConfig | None = None) -> RunFolder:
    """What a run that was started leaves behind."""
    folder = RunFolder(root)
    folder.checkpoints.mkdir(parents=True)
    folder.last.touch()
    folder.config.write_text(yaml.safe_dump((config or TrainConfig(output=root)).to_dict()))
    folder.versions.write_text('{"fakd": "0.1.0"}')
    return folder


def test_a_finished_run(distill_config, teacher_run, tmp_path, capsys) -> None:
    returned = distill(distill_config(method="fakd"))
    root = tmp_path / "run"
    names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    events = {name for name in names if name.startswith("logs/tensorboard/events.")}
    assert len(events) == 1
    # older releases of Lightning write that for its CSV logger too
    assert names - events - {"logs/tensorboard/hparams.yaml", "logs/csv/000/hparams.yaml"} == {
        "config.yaml",
        "versions.json",
        "inputs.json",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "logs/csv/000/metrics.csv",
        "student.safetensors",
        "results.json",
    }

    results = json.loads((root / "results.json").read_text())
    assert results == returned
    assert set(results) == {
        *("mIoU", "mAcc", "aAcc", "IoU", "acc"),
        *("parameters", "steps", "seconds", "seconds_per_step", "data_wait", "peak_memory", "teacher"),
        *("chance", "report", "report_step", "best_step", "best_mIoU", "wall_seconds", "evaluation_share"),
    }
    student, notes = load_model(root)
    assert results["parameters"] == sum(p.numel() for p in student.parameters())
    assert results["steps"] == 4
    assert 100e6 < results["peak_memory"] < 100e9
    assert 0 <= results["data_wait"] < 1
    assert results["seconds_per_step"] == pytest.approx(results["seconds"] / 4, abs=0.01)
    teacher = json.loads((teacher_run / "results.json").read_text())
    assert results["teacher"]["mIoU"] == pytest.approx(teacher["mIoU"])

    spec = DATASETS["toy-scenes"]
    assert notes["dataset"] == "toy-scenes"
    assert json.loads(notes["classes"]) == list(spec.classes)
    assert [tuple(colour) for colour in json.loads(notes["palette"])] == list(spec.palette)
    assert json.loads(notes["base_size"]) == list(spec.base_size)

    versions = json.loads((root / "versions.json").read_text())
    assert versions["torch"] == torch.__version__.split("+")[0] or versions["torch"] == torch.__version__
    assert {"fakd", "timm", "lightning-fabric", "python", "machine"} <= set(versions)

    metrics = read_run(root).metrics
    assert [step for step, _ in metrics["loss/fakd"]] == [0, 1, 2, 3]
    assert set(metrics) == {
        *("loss/ce", "loss/aux", "loss/fakd", "loss/total"),
        *("watched/variance", "watched/offset", "watched/teacher_spread"),
        *("val/mIoU", "val/mAcc", "val/aAcc"),
    }
    assert metrics["val/mIoU"] == [(3, pytest.approx(results["mIoU"], abs=1e-4))]
    for step in range(4):
        parts = [metrics[f"loss/{name}"][step][1] for name in ("ce", "aux", "fakd")]
        assert metrics["loss/total"][step][1] == pytest.approx(sum(parts), rel=1e-5)
    assert f"mIoU {results['mIoU']:.2f}" in capsys.readouterr().out


def test_written_config_starts_an_equal_run_and_deletes_nothing(tmp_path) -> None:
    config = TrainConfig(output=tmp_path / "run", crop_size=(32, 48), overwrite=True, learning_rate=3e-5)
    written = yaml.safe_load(prepare_folder(config).config.read_text())
    again = TrainConfig(**{**written, "crop_size": (32, 48), "scale": (0.5, 2.0), "scales": (1.0,)})
    assert not again.overwrite
    assert not again.resume
    again.overwrite = True
    assert again == config


def test_occupied_folders_are_left_alone(tmp_path) -> None:
    folder = run_folder(tmp_path / "run")
    with pytest.raises(FileExistsError, match=r"run is not empty.*--resume.*--overwrite.*--output"):
        prepare_folder(TrainConfig(output=folder.root))
    assert folder.last.is_file()


def test_overwrite_deletes_runs_and_nothing_else(tmp_path) -> None:
    folder = run_folder(tmp_path / "run")
    prepare_folder(TrainConfig(output=folder.root, overwrite=True))
    assert sorted(path.name for path in folder.root.iterdir()) == ["config.yaml", "inputs.json", "versions.json"]
    precious = tmp_path / "photos/me.jpg"
    precious.parent.mkdir()
    precious.touch()
    with pytest.raises(FileExistsError, match="holds files but no run; it is not deleted"):
        prepare_folder(TrainConfig(output=precious.parent, overwrite=True))
    with pytest.raises(FileExistsError, match="is a file; give a folder"):
        prepare_folder(TrainConfig(output=precious, overwrite=True))
    assert precious.exists()


def test_overwriting_a_run_keeps_what_others_put_there(tmp_path) -> None:
    folder = run_folder(tmp_path / "run")
    written = (folder.results, folder.student, folder.previous, folder.logs / "csv/000/metrics.csv")
    left = (folder.root / ".student.safetensors.7.tmp", folder.nonfinite / "step-3.pt")
    left += (folder.best, folder.logs / "tensorboard/events.out.tfevents.1.host.2.0", folder.logs / "wandb/run-1/a.log")
    kept = [folder.root / name for name in ("map.yaml", "notebooks/a.ipynb", ".mine.1.tmp", "deep/config.yaml")]
    kept += [folder.logs / "mine.txt", folder.logs / "csv/mine.csv", folder.nonfinite / "mine/step-3.pt"]
    for path in (*written, *left, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    prepare_folder(TrainConfig(output=folder.root, overwrite=True))
    ours = {folder.config, folder.versions, folder.inputs}
    assert {path for path in folder.root.rglob("*") if path.is_file()} == {*kept, *ours}
    assert not folder.checkpoints.exists()


def test_overwriting_follows_no_link(tmp_path) -> None:
    folder = run_folder(tmp_path / "run")
    shared = tmp_path / "shared/precious"
    shared.parent.mkdir()
    shared.touch()
    folder.logs.symlink_to(shared.parent)
    prepare_folder(TrainConfig(output=folder.root, overwrite=True))
    assert shared.is_file()
    assert not folder.logs.exists()


@pytest.mark.parametrize("versions", [None, "half a fi", "[]", '{"node": "20"}'])
def test_a_config_alone_makes_no_run(versions: str | None, tmp_path) -> None:
    """It may be the one that the run is to be started from."""
    folder = RunFolder(tmp_path / "project")
    folder.root.mkdir()
    folder.config.write_text(yaml.safe_dump(TrainConfig(output=folder.root).to_dict()))
    if versions is not None:
        folder.versions.write_text(versions)
    for name in ("notebooks/a.ipynb", "logs/mine.txt"):
        with pytest.raises(FileExistsError, match="is not empty"):
            prepare_folder(TrainConfig(output=folder.root))
        (folder.root / name).parent.mkdir()
        (folder.root / name).touch()
        before = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}
        with pytest.raises(FileExistsError, match="holds files but no run; it is not deleted"):
            prepare_folder(TrainConfig(output=folder.root, overwrite=True))
        assert {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()} == before


def test_empty_folders_and_starts_that_failed_are_free(tmp_path) -> None:
    (tmp_path / "run").mkdir()
    prepare_folder(TrainConfig(output=tmp_path / "run"))
    folder = prepare_folder(TrainConfig(output=tmp_path / "run", seed=2))
    assert yaml.safe_load(folder.config.read_text())["seed"] == 2


def test_resuming_wants_the_same_options(tmp_path) -> None:
    root = run_folder(tmp_path / "run").root
    with pytest.raises(
        ValueError, match=r"started with other options: learning_rate was 0.01 and is 0.1, seed was 0 and is 1\."
    ):
        prepare_folder(TrainConfig(output=root, resume=True, learning_rate=0.1, seed=1))
    prepare_folder(TrainConfig(output=root, resume=True, workers=0, check_data=False, log_every=3))
    (root / "config.yaml").unlink()
    with pytest.raises(ValueError, match=r"cannot be resumed: it has no config\.yaml"):
        prepare_folder(TrainConfig(output=root, resume=True))


def test_a_run_begins_beside_others_files_where_it_may_be_resumed(tmp_path) -> None:
    (tmp_path / "run/logs").mkdir(parents=True)
    (tmp_path / "run/logs/mine.txt").touch()
    with pytest.raises(FileExistsError, match="is not empty"):
        prepare_folder(TrainConfig(output=tmp_path / "run"))
    assert prepare_folder(TrainConfig(output=tmp_path / "run", resume=True)).begun
    assert (tmp_path / "run/logs/mine.txt").is_file()


def test_a_path_may_be_written_otherwise_on_resuming(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("backbone_weights", "data_root"):
        root = tmp_path / name
        camvid = {"dataset": "camvid", "output": root}
        run_folder(root, TrainConfig(**{"data_root": "d", **camvid, name: "w.pth"}))
        prepare_folder(TrainConfig(**{"data_root": "d", **camvid, name: str(tmp_path / "w.pth")}, resume=True))
        with pytest.raises(ValueError, match=f"{name} was"):
            prepare_folder(TrainConfig(**{"data_root": "d", **camvid, name: "other.pth"}, resume=True))


def test_resuming_by_the_other_command(distill_config, train_config, tmp_path) -> None:
    for begun, other in ((distill_config, train_config), (train_config, distill_config)):
        root = tmp_path / begun().run_name
        folder = run_folder(root, begun(output=root))
        before = folder.config.read_bytes()
        commands = ("distill", "train") if begun is distill_config else ("train", "distill")
        with pytest.raises(ValueError, match="was begun by `fakd {}`, and this is `fakd {}`".format(*commands)):
            prepare_folder(other(output=root, resume=True))
        assert folder.config.read_bytes() == before


@pytest.mark.parametrize("content", ["[]", "", "5", "text", "name: of another program"])
def test_resuming_from_a_config_of_no_run(content: str, tmp_path) -> None:
    folder = run_folder(tmp_path / "run")
    folder.config.write_text(content)
    with pytest.raises(ValueError, match=r"cannot be resumed: its config\.yaml is damaged, or of another program"):
        prepare_folder(TrainConfig(output=folder.root, resume=True))
    assert folder.config.read_text() == content


def test_runs_may_be_moved_before_they_are_resumed(tmp_path) -> None:
    run_folder(tmp_path / "run").root.rename(tmp_path / "elsewhere")
    folder = prepare_folder(TrainConfig(output=tmp_path / "elsewhere", resume=True))
    assert folder.config.is_file()
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_not_trained_again(train_config, monkeypatch, capsys) -> None:
    first = train(train_config(max_steps=1, eval_every=1))
    monkeypatch.setattr("fakd.training.run.open_data", lambda config: pytest.fail("nothing is left to do"))
    capsys.readouterr()
    assert train(train_config(max_steps=1, eval_every=1, resume=True)) == first
    assert "finished already" in capsys.readouterr().out
    with pytest.raises(ValueError, match="seed was 0 and is 5"):
        train(train_config(max_steps=1, eval_every=1, resume=True, seed=5))
    results = train_config().output / "results.json"
    results.write_text("{cut")
    with pytest.raises(ValueError, match=r"results\.json is damaged .*delete it"):
        train(train_config(max_steps=1, eval_every=1, resume=True))


def test_resume_without_a_checkpoint_starts_at_the_first_step(train_config, tmp_path, capsys) -> None:
    assert train(train_config(max_steps=1, eval_every=1, resume=True))["steps"] == 1
    said = f"nothing to resume in {tmp_path}/run: starting anew\n"
    assert capsys.readouterr().out.count(said) == 1
    train(train_config(max_steps=1, eval_every=1, resume=True))
    train(train_config(max_steps=1, eval_every=1, overwrite=True))
    assert "nothing to resume" not in capsys.readouterr().out
