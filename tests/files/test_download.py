"""Downloads from a server on this machine that misbehaves as told."""

import errno
import hashlib
import random
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from http_server import CONTENT, Server

from fakd.files import download as module
from fakd.files.checksum import checksum_in_name
from fakd.files.download import DownloadError, cache_folder, download

OLDER = random.Random(1).randbytes(10_000)
CHECKSUM = "sha256:" + hashlib.sha256(CONTENT).hexdigest()[:8]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited."""
    waited: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    return waited


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "net-12345678.pth"


def leave_part(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.with_name(path.name + ".part").write_bytes(content)


def visible(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.iterdir() if not file.name.startswith("."))


# What goes well.


@pytest.mark.parametrize(
    "checksum", [None, CHECKSUM, CHECKSUM.upper().replace("SHA", "sha"), "md5:" + hashlib.md5(CONTENT).hexdigest()]
)
def test_a_file_is_downloaded_into_a_new_folder(server: Server, path: Path, checksum: str | None) -> None:
    assert download(server.url, path, checksum=checksum) == path
    assert path.read_bytes() == CONTENT
    assert visible(path) == [path.name]
    assert server.ranges == [None]
    assert server.headers[0]["Accept-Encoding"] == "identity"


def test_a_file_whose_length_is_not_announced_is_downloaded(server: Server, path: Path) -> None:
    server.behaviours = ["no-length"]
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT


@pytest.mark.parametrize("checksum", [None, CHECKSUM])
def test_a_file_that_is_there_needs_no_network(path: Path, checksum: str | None) -> None:
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    download("http://127.0.0.1:1/", path, checksum=checksum)
    assert visible(path) == [path.name]
    assert not list(path.parent.glob(".*"))  # no lock either: the folder may be read-only


def test_a_damaged_file_is_replaced(server: Server, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.parent.mkdir()
    path.write_bytes(CONTENT[:-1])
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert f"{path} is damaged or another file than expected: downloading it again" in capsys.readouterr().out


def test_two_at_the_same_time_download_once(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def say(message: str) -> None:
        said.append(message)
        if "waiting" in message:
            server.go_on.set()

    monkeypatch.setattr(module, "say", say)
    server.behaviours = ["wait"]
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(download, server.url, path, checksum=CHECKSUM) for _ in range(2)]
        assert [done.result(10) for done in both] == [path, path]
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None]
    assert sorted(said) == [
        f"downloading {server.url}",
        f"waiting for another process that is downloading {path.name}",
    ]


# What breaks and is mended.


def test_a_broken_connection_is_resumed(
    server: Server, path: Path, pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    server.behaviours = ["break 4096", "break 1000", "good"]
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=4096-", "bytes=5096-"]
    assert pauses == [1, 2]
    said = capsys.readouterr().out
    assert "the connection broke after 4.1 kB of 10.0 kB (closed by the server); trying again (1 of 5)" in said
    assert "after 5.1 kB of 10.0 kB (closed by the server); trying again (2 of 5)" in said


def test_without_a_checksum_it_is_resumed_within_the_call(server: Server, path: Path) -> None:
    server.behaviours = ["break 4096", "good"]
    assert download(server.url, path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=4096-"]


def test_silence_is_a_broken_connection(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_TIMEOUT", 0.5)
    server.behaviours = ["hang 4096", "good"]
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=4096-"]


def test_a_server_without_ranges_sends_all_again(server: Server, path: Path) -> None:
    server.behaviours = ["break 4096", "no-ranges"]
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=4096-"]


def test_a_server_that_sends_another_range_is_asked_for_all(server: Server, path: Path) -> None:
    server.behaviours = ["break 4096", "other-range", "good"]
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=4096-", None]


def test_a_server_error_is_tried_again(server: Server, path: Path) -> None:
    server.behaviours = ["status 500", "good"]
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.ranges == [None, None]


def test_the_part_of_an_earlier_process_is_resumed(server: Server, path: Path) -> None:
    leave_part(path, CONTENT[:4096])
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.ranges == ["bytes=4096-"]
    assert visible(path) == [path.name]


def test_a_part_that_nothing_can_verify_is_not_used(server: Server, path: Path) -> None:
    leave_part(path, OLDER[:4096])
    assert download(server.url, path).read_bytes() == CONTENT
    assert server.ranges == [None]


def test_a_whole_part_only_wants_its_name(path: Path) -> None:
    leave_part(path, CONTENT)
    assert download("http://127.0.0.1:1/", path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert visible(path) == [path.name]


def test_the_part_of_an_older_version_is_dropped(
    server: Server, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave_part(path, OLDER[:4096])
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.ranges == ["bytes=4096-", None]
    assert f"the pieces of {path.name} do not fit together: starting from zero" in capsys.readouterr().out


@pytest.mark.parametrize("part", [OLDER, OLDER + CONTENT])
def test_a_part_that_the_server_has_nothing_to_add_to_is_dropped(server: Server, path: Path, part: bytes) -> None:
    leave_part(path, part)
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(part)}-", None]


# What fails, and what the message says.


def test_a_connection_that_always_breaks(server: Server, path: Path, pauses: list[float]) -> None:
    server.behaviours = ["break 1000"]
    with pytest.raises(DownloadError) as error:
        download(server.url, path, checksum=CHECKSUM, advice="See the handbook.")
    assert str(error.value) == (
        f"{server.url}: the connection broke after 6.0 kB of 10.0 kB (closed by the server), and 5 more attempts did "
        "not help. Run the same command again to go on from 6.0 kB; or, without a network connection, download this "
        f"address on another computer and put the file at {path}. See the handbook."
    )
    assert pauses == [1, 2, 4, 8, 16]
    assert visible(path) == [path.name + ".part"]
    server.behaviours = ["good"]
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=6000-"


def test_no_going_on_is_promised_without_a_checksum(server: Server, path: Path) -> None:
    server.behaviours = ["break 1000"]
    with pytest.raises(DownloadError, match="Run the same command again; or, without"):
        download(server.url, path)


@pytest.mark.parametrize(("status", "reason"), [(404, "Not Found"), (403, "Forbidden"), (401, "Unauthorized")])
def test_a_refusal_is_final(server: Server, path: Path, status: int, reason: str) -> None:
    server.behaviours = [f"status {status}"]
    with pytest.raises(DownloadError) as error:
        download(server.url, path, advice="See the handbook.")
    assert str(error.value) == (
        f"{server.url}: the server answered {status} {reason}. Check the address; if you can get the file in another "
        f"way, put it at {path}. See the handbook."
    )
    assert server.ranges == [None]


def test_a_server_error_that_stays(server: Server, path: Path) -> None:
    server.behaviours = ["status 503"]
    with pytest.raises(DownloadError, match="the server answered 503 Service Unavailable, and 5 more attempts"):
        download(server.url, path)
    assert len(server.ranges) == 6


def test_an_answer_without_a_file(server: Server, path: Path) -> None:
    server.behaviours = ["status 204"]
    with pytest.raises(DownloadError, match="the server answered 204 No Content and no file"):
        download(server.url, path)
    assert visible(path) == []


def test_another_content_than_expected(server: Server, path: Path) -> None:
    server.content = OLDER
    with pytest.raises(DownloadError) as error:
        download(server.url, path, checksum=CHECKSUM)
    found = hashlib.sha256(OLDER).hexdigest()[:8]
    expected = CHECKSUM.removeprefix("sha256:")
    assert f"what came is not the expected file: its sha256 begins with {found}, expected {expected}. The file was" in (
        str(error.value)
    )
    assert f"put the right one at {path} yourself." in str(error.value)
    assert server.ranges == [None]
    assert visible(path) == []


def test_resumed_and_wrong_is_tried_once_more_and_no_more(server: Server, path: Path) -> None:
    server.content = OLDER
    server.behaviours = ["break 4096", "good", "break 4096", "good"]
    with pytest.raises(DownloadError, match="not the expected file"):
        download(server.url, path, checksum=CHECKSUM)
    assert server.ranges == [None, "bytes=4096-", None, "bytes=4096-"]
    assert visible(path) == []


def test_no_connection(server: Server, path: Path, pauses: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(DownloadError) as error:
        download(f"http://127.0.0.1:{port}/net.pth", path)
    assert str(error.value) == (
        f"http://127.0.0.1:{port}/net.pth: no connection to 127.0.0.1:{port} (Connection refused). Run the same "
        "command again; or, without a network connection, download this address on another computer and put the file "
        f"at {path}."
    )
    assert pauses == []  # who is offline need not wait


def test_no_name_service(path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setenv("no_proxy", "*")
    leave_part(path, CONTENT[:4096])
    with pytest.raises(DownloadError) as error:
        download("https://example.org/net.pth", path, checksum=CHECKSUM)
    assert "net.pth: no network: the name example.org could not be resolved. Run the same command again to go on " in (
        str(error.value)
    )
    assert "from 4.1 kB; or, without a network" in str(error.value)
    assert pauses == []


def test_a_network_that_goes_away_meanwhile_is_waited_for(
    server: Server, path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    server.behaviours = ["break 4096", "good"]
    real, calls = module.urlopen, []

    def urlopen(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) in (2, 3):
            raise URLError(OSError(errno.ENETUNREACH, "Network is unreachable"))
        return real(*arguments, **options)

    monkeypatch.setattr(module, "urlopen", urlopen)
    assert download(server.url, path, checksum=CHECKSUM).read_bytes() == CONTENT
    assert pauses == [1, 2, 4]


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "net.pth"
    with pytest.raises(DownloadError) as error:
        download(server.url, path, advice="See the handbook.")
    assert f"{path} cannot be read or written (" in str(error.value)
    assert str(error.value).endswith(
        "Check the permissions and run the same command again, or choose another place. See the handbook."
    )
    assert server.ranges == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a file that is always full")
def test_a_full_disk_is_no_broken_connection(server: Server, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.open
    monkeypatch.setattr(
        Path, "open", lambda self, mode="r": real(Path("/dev/full") if self.suffix == ".part" else self, mode)
    )
    with pytest.raises(DownloadError, match=r"No space left on device.*Free some space and run the same command again"):
        download(server.url, path)
    assert server.ranges == [None]


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x.pth", "file:///x.pth", "x.pth", "http://"])
def test_other_addresses_are_refused(path: Path, url: str) -> None:
    with pytest.raises(ValueError, match="expected an address that begins with http:// or https://, got"):
        download(url, path)


@pytest.mark.parametrize(
    "checksum", ["", "967c316f", "sha256:967c31", "sha1:967c316f", "md5:" + 33 * "0", "md5:xyzxyzxyz"]
)
def test_malformed_checksums_are_refused(path: Path, checksum: str) -> None:
    with pytest.raises(ValueError, match="8 or more hex digits as checksum, got"):
        download("http://127.0.0.1:1/", path, checksum=checksum)


# Names and places.


@pytest.mark.parametrize(
    ("name", "checksum"),
    [
        ("x-967c316f.pth", "sha256:967c316f"),
        ("fcn_r50-d8_40k_20200604_192608-efe53f0d.pth", "sha256:efe53f0d"),
        ("x-967c316f.pth.tar", "sha256:967c316f"),
        ("x-967c316f00.pth", "sha256:967c316f00"),
        ("x-967c31.pth", None),
        ("x-967c316f-best.pth", None),
        ("x967c316f.pth", None),
        ("r50-d8_40k_deadbeef.pth", None),
        ("x-967c316f", None),
    ],
)
def test_the_checksum_in_a_name(name: str, checksum: str | None) -> None:
    assert checksum_in_name(name) == checksum


def test_the_cache_is_that_of_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "hub" / "checkpoints"
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "torch" / "hub" / "checkpoints"
