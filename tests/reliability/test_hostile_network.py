"""Nothing is sent anywhere, and what is fetched is named first."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import pytest

import fakd.files.download as module
from fakd.files.download import DownloadError, download

HERE = Path(__file__).parent


def quiet_run(argument: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "quiet_run.py"), argument]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_no_command_reaches_for_the_network(tmp_path: Path) -> None:
    done = quiet_run(str(tmp_path))
    assert "attempt:" not in done.stderr
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "masks/labels/a.png").is_file()


@pytest.mark.slow
def test_an_attempt_would_be_seen() -> None:
    done = quiet_run("attempt")
    assert done.returncode == 77
    assert "attempt: socket.getaddrinfo" in done.stderr


def test_a_download_is_named_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    said = []

    def reach(*arguments: object, **options: object) -> None:
        said.append(capsys.readouterr().out)
        raise URLError("no network in this test")

    monkeypatch.setattr(module, "urlopen", reach)
    with pytest.raises(DownloadError, match=r"no connection to weights\.example"):
        download("https://weights.example/net.pth", tmp_path / "net.pth")
    assert said == ["downloading https://weights.example/net.pth\n"]
