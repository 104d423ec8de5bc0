"""What earlier releases have written loads, or it is said which release to use; see old_releases/write.py."""

import gzip
from pathlib import Path

import pytest
import torch
from old_releases.write import image, pattern
from safetensors.torch import load_file
from torch.testing import assert_close

from fakd.cli import main, parse
from fakd.models import load_model
from fakd.training.checkpoints import CheckpointFiles, newest_checkpoint
from fakd.training.run_folder import RunFolder

FOLDER = Path(__file__).parent / "old_releases"
RELEASES = pytest.mark.parametrize("release", sorted(path.parent.name for path in FOLDER.glob("*/config.yaml")))


@pytest.fixture
def run(release: str, tmp_path: Path) -> RunFolder:
    """The run folder of that release, unpacked."""
    folder, old = RunFolder(tmp_path / "runs/run"), FOLDER / release
    folder.checkpoints.mkdir(parents=True)
    folder.student.write_bytes(gzip.decompress((old / "student.safetensors.gz").read_bytes()))
    folder.last.write_bytes(gzip.decompress((old / "last.ckpt.gz").read_bytes()))
    folder.versions.write_bytes((old / "versions.json").read_bytes())
    folder.config.write_bytes((old / "config.yaml").read_bytes())
    return folder


@RELEASES
def test_the_network_answers_as_it_did(run: RunFolder, release: str) -> None:
    model, notes = load_model(run.root)
    assert all(torch.equal(value, pattern(value, name)) for name, value in model.state_dict().items())
    with torch.no_grad():
        logits = model(image()).logits
    assert_close(logits, load_file(FOLDER / release / "logits.safetensors")["logits"], rtol=1e-4, atol=1e-4)
    assert logits.std() > 1e-3
    assert notes["dataset"] == "toy-scenes"


@RELEASES
@pytest.mark.usefixtures("few_scenes")
def test_its_config_makes_a_run(run: RunFolder, teacher_run: Path, tmp_path: Path, monkeypatch) -> None:
    """With a student of its network, and its network as the teacher."""
    monkeypatch.chdir(tmp_path)
    arguments = ["distill", "--config", str(run.config), "--teacher", str(run.student), "--output", "runs/new"]
    options = parse(arguments)[1]
    assert (options.method, options.max_steps, options.scale) == ("fakd", 4, (0.5, 2.0))
    assert main(arguments) == 0


@RELEASES
@pytest.mark.usefixtures("few_scenes")
def test_its_run_is_finished_by_itself(run: RunFolder, release: str, tmp_path: Path, monkeypatch, capsys) -> None:
    """Resumed here it would end otherwise; its checkpoint stays."""
    monkeypatch.chdir(tmp_path)
    run.student.rename(tmp_path / "teacher.safetensors")
    content = run.last.read_bytes()
    arguments = ["distill", "--config", str(run.config), "--teacher", str(tmp_path / "teacher.safetensors")]
    text = run.config.read_text().replace("teacher: runs/teacher", f"teacher: {tmp_path}/teacher.safetensors")
    run.config.write_text(text)
    assert main([*arguments, "--resume"]) == 1
    error = capsys.readouterr().err
    assert f"was written by fakd {release}, which draws other crops" in error
    assert f"pip install fakd=={release}" in error
    assert run.last.read_bytes() == content


def test_of_a_later_release(tmp_path: Path, monkeypatch) -> None:
    folder = RunFolder(tmp_path)
    state = {"state_dict": {}, "optimizer_states": [], "loops": {}}
    with monkeypatch.context() as patch:
        patch.setattr("fakd.training.checkpoints._FORMAT", 4)
        patch.setattr("fakd.training.checkpoints.version", lambda name: "0.9.0")
        CheckpointFiles(folder).save_checkpoint(state, folder.last)
    with pytest.raises(ValueError, match=r"was written by fakd 0\.9\.0.*pip install fakd==0\.9\.0"):
        newest_checkpoint(folder)
