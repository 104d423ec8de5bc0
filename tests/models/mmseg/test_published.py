import csv
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from http_server import Server
from shared import SHARED

from fakd.cli import main
from fakd.files import download as download_module
from fakd.files.checksum import checksum_in_name
from fakd.files.download import DownloadError
from fakd.models import PRESETS, create_model, open_model, save_mmseg
from fakd.models.mmseg import published as zoo
from fakd.models.mmseg.published import fetch_teacher, find_teacher, published_teachers
from fakd.models.names import names_trained_model

DESIGN = SHARED / "design" / "mmseg_teachers.csv"
NAME = "fcn_hr48_4xb4-160k_ade20k-512x512"


def test_the_table() -> None:
    teachers = published_teachers()
    assert len(teachers) == 15
    assert (
        {teacher.network for teacher in teachers.values()}
        == {
            "pspnet-r101",
            "hrnet-w48",
            "deeplabv3plus-r101",
            "isanet-r101",
        }
        <= set(PRESETS)
    )
    for teacher in teachers.values():
        assert teacher.url.startswith("https://download.openmmlab.com/mmsegmentation/")
        assert checksum_in_name(teacher.cached.name) is not None
        assert 40 < teacher.paper_miou < 85
    assert len({teacher.cached for teacher in teachers.values()}) == 15


def test_the_table_is_the_published_one() -> None:
    if not DESIGN.is_file():
        pytest.skip(f"needs {DESIGN}, which is not part of the project")
    with DESIGN.open() as file:
        rows = {row["mmseg_config"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(published_teachers())
    for name, teacher in published_teachers().items():
        assert (teacher.url, teacher.network) == (rows[name]["checkpoint_url"], rows[name]["network"])


def test_unknown_names_list_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"no published teacher 'fcn_hr48_ade20k'; did you mean fcn_hr48"):
        find_teacher("mmseg:fcn_hr48_ade20k")
    with pytest.raises(ValueError, match="no published teacher 'x'; there are:") as caught:
        find_teacher("mmseg:x")
    assert str(caught.value).count("\n  mmseg:") == 15
    assert f"mmseg:{NAME}  (hrnet-w48, ade20k, mIoU 42.02; 42.02 in the paper)" in str(caught.value)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("published") / "m.pth"
    save_mmseg(create_model("hrnet-w18s", num_classes=3), path)
    return path.read_bytes()


@pytest.fixture
def published(
    server: Server, checkpoint: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Path]]:
    """Let the server publish a small network under a name of the table; gives the path that it will be cached at."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download_module.time, "sleep", lambda seconds: None)
    server.content = checkpoint
    original = published_teachers()

    def publish(*behaviours: str, checksum: str = hashlib.sha256(checkpoint).hexdigest()[:8]) -> Path:
        server.behaviours = list(behaviours)
        url = server.url.replace("net-12345678", f"net-{checksum}")
        row = replace(original[NAME], url=url)
        monkeypatch.setattr(zoo, "published_teachers", lambda: {**original, NAME: row})
        return row.cached

    return publish


def test_downloads_once_and_loads(server: Server, published: Callable[..., Path]) -> None:
    path = published("good")
    for _ in range(2):
        model, _ = open_model(f"mmseg:{NAME}")
        assert model.num_classes == 3
        assert model.config.backbone == "hrnetv2_w18_small"
    assert path.is_file()
    assert len(server.ranges) == 1


def test_goes_on_where_the_connection_broke(server: Server, published: Callable[..., Path], checkpoint: bytes) -> None:
    path = published("break 1000000", "break 2000000", "good")
    assert fetch_teacher(NAME) == path
    assert path.read_bytes() == checkpoint
    assert server.ranges == [None, "bytes=1000000-", "bytes=3000000-"]


def test_goes_on_in_another_process(server: Server, published: Callable[..., Path], checkpoint: bytes) -> None:
    path = published("good")
    path.parent.mkdir(parents=True)
    path.with_name(path.name + ".part").write_bytes(checkpoint[:500_000])
    fetch_teacher(NAME)
    assert path.read_bytes() == checkpoint
    assert server.ranges == ["bytes=500000-"]


def test_wrong_hash(server: Server, published: Callable[..., Path]) -> None:
    path = published("good", checksum="00000000")
    with pytest.raises(DownloadError, match="00000000"):
        fetch_teacher(NAME)
    assert not path.exists()


@pytest.mark.parametrize(
    ("behaviour", "message"), [("status 404", "404"), ("break 1000", "again"), ("refuse", "put the file at")]
)
def test_the_command_says_what_to_do(
    behaviour: str,
    message: str,
    server: Server,
    published: Callable[..., Path],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = published(behaviour)
    if behaviour == "refuse":
        server.shutdown()
        server.server_close()
    assert main(["convert", f"mmseg:{NAME}", str(tmp_path / "out.safetensors")]) == 1
    text = capfd.readouterr().err
    assert text.startswith("error: ")
    assert message in text
    assert "Traceback" not in text
    assert behaviour.startswith("status") or str(path) in text
    assert not (tmp_path / "out.safetensors").exists()


def test_distill_knows_the_names_before_it_opens_anything(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["distill", "--dataset", "toy-scenes", "--teacher", "mmseg:nothing", "--output", str(tmp_path / "run")])
        == 1
    )
    assert "no published teacher 'nothing'" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


def test_what_names_a_trained_network(tmp_path: Path) -> None:
    assert names_trained_model(f"mmseg:{NAME}")
    assert names_trained_model("teacher.pth")
    assert names_trained_model("teacher.safetensors")
    assert not names_trained_model("pspnet-r18")
    assert not names_trained_model("pspnet/resnet18")
