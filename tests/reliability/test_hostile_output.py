"""What lies where a command would write stays as it is, unless --overwrite is given."""

from pathlib import Path

import pytest

from fakd.cli import main
from fakd.models import create_model, save_model

# Command -> its arguments, with {net} a network, {images} a folder of images and {mine} what must stay.
INTO_FOLDER = {
    "train": "train --dataset toy-scenes --output {mine}",
    "train, overwriting what is no run": "train --dataset toy-scenes --output {mine} --overwrite",
    "distill": "distill --dataset toy-scenes --teacher {net} --output {mine}",
    "distill, overwriting what is no run": "distill --dataset toy-scenes --teacher {net} --output {mine} --overwrite",
    "demo": "demo --output {mine}",
    "demo, overwriting what is no demo": "demo --output {mine} --overwrite",
    "predict": "predict {net} {images} {mine}",
    "analyze": "analyze {net} --output {mine}",
    "report": "report {net} --output {mine}",
}
ONTO_FILE = {
    "train": "train --dataset toy-scenes --output {mine}",
    "demo": "demo --output {mine}",
    "analyze": "analyze {net} --output {mine}",
    "convert": "convert {net} {mine}",
    "evaluate": "evaluate {net} --dataset toy-scenes --output {mine}",
    "report": "report {net} --output {mine}",
    "paper": "paper --output {mine}",
    "data check": "data check toy-scenes --output {mine}",
    "data show": "data show toy-scenes --output {mine}",
}


def refuse(line: str, mine: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Give what the command says in its one line, after it left everything as it was."""
    save_model(create_model("pspnet/test_resnet", num_classes=9, channels=8), folder / "net.safetensors")
    (folder / "images").mkdir()
    (folder / "images/a.png").touch()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    words = [word.format(net=folder / "net.safetensors", images=folder / "images", mine=mine) for word in line.split()]
    assert main(words) == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    return error


@pytest.mark.parametrize("command", INTO_FOLDER)
def test_folders_that_hold_something(command: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/photo.jpg").write_text("what a user made")
    assert str(tmp_path / "mine") in refuse(INTO_FOLDER[command], tmp_path / "mine", tmp_path, capsys)


@pytest.mark.parametrize("command", [name for name in INTO_FOLDER if name.endswith("no run")])
def test_projects_with_a_config_of_their_own(command: str, tmp_path: Path, capsys) -> None:
    mine = tmp_path / "mine"
    (mine / "notebooks").mkdir(parents=True)
    (mine / "notebooks/a.ipynb").write_text("what a user made")
    (mine / "config.yaml").write_text("seed: 1\n")
    assert "holds files but no run" in refuse(
        f"{INTO_FOLDER[command]} --config {mine}/config.yaml", mine, tmp_path, capsys
    )


@pytest.mark.parametrize("command", ONTO_FILE)
def test_files_that_are_there(command: str, tmp_path: Path, capsys) -> None:
    mine = tmp_path / ("mine.png" if command == "data show" else "mine.safetensors")
    mine.write_text("what a user made")
    assert str(mine) in refuse(ONTO_FILE[command], mine, tmp_path, capsys)


@pytest.mark.parametrize("command", ["paper", "data check", "data show"])
@pytest.mark.usefixtures("few_scenes")
def test_files_that_may_go(command: str, tmp_path: Path) -> None:
    mine = tmp_path / "mine.png"
    mine.write_text("what a user made")
    assert main([*ONTO_FILE[command].format(net="", mine=mine).split(), "--overwrite"]) == 0
    assert mine.read_bytes() != b"what a user made"
