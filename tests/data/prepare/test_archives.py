"""Archives of every kind, whole, damaged and hostile; nothing may appear outside the folder."""

import io
import itertools
import os
import random
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

from fakd.data.prepare import archives as module
from fakd.data.prepare.archives import extract, is_extracted
from fakd.data.spec import DataError

FILES = {
    "set/images/a.jpg": random.Random(1).randbytes(3000),
    "set/images/b/ü c.jpg": random.Random(2).randbytes(2000),
    "set/masks/a.png": random.Random(3).randbytes(1000),
    "set/readme.txt": b"not needed",
    "set/images2/x.jpg": b"its name begins as that of a part",
}
PARTS = ("set/images", "set/masks/a.png")
WANTED = {path: content for path, content in FILES.items() if path.split("/")[1] in ("images", "masks")}

Make = Callable[[Path, dict[str, bytes]], Path]


def make_zip(folder: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(folder / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/", b"")
        for path, content in files.items():
            archive.writestr(path, content)
    return folder / "set.zip"


def make_tar(folder: Path, files: dict[str, bytes], mode: str = "w", name: str = "set.tar") -> Path:
    with tarfile.open(folder / name, mode) as archive:  # type: ignore[call-overload]
        archive.addfile(tarfile.TarInfo("./set"))
        archive.members[-1].type = tarfile.DIRTYPE
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            info.mode = 0o4000  # set-user-id and unreadable: not to be taken over
            archive.addfile(info, io.BytesIO(content))
    return folder / name


def make_tgz(folder: Path, files: dict[str, bytes]) -> Path:
    return make_tar(folder, files, "w:gz", "set.tgz")


def tree(folder: Path) -> dict[str, bytes]:
    """Every file that is not hidden; links are not followed."""
    paths = (path for path in folder.rglob("*") if not path.name.startswith(".") and not path.is_dir())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(params=[make_zip, make_tar, make_tgz])
def make(request: pytest.FixtureRequest) -> Make:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "place" / "target"


# What goes well.


def test_the_wanted_parts_are_extracted(make: Make, tmp_path: Path, target: Path) -> None:
    archive = make(tmp_path, FILES)
    assert is_extracted(archive.name, target, PARTS) is None
    extract(archive, target, PARTS)
    assert tree(target) == WANTED
    assert is_extracted(archive.name, target, PARTS) is True
    assert all(os.access(path, os.R_OK) and not path.stat().st_mode & stat.S_ISUID for path in target.rglob("*.jpg"))


def test_a_leading_dot_is_no_part_of_a_name(tmp_path: Path, target: Path) -> None:
    extract(make_tar(tmp_path, {f"./{path}": content for path, content in FILES.items()}), target, PARTS)
    assert tree(target) == WANTED


def test_the_archive_is_not_needed_to_know_what_is_missing(tmp_path: Path, target: Path) -> None:
    archive = make_zip(tmp_path, FILES)
    extract(archive, target, PARTS)
    archive.unlink()
    assert is_extracted("set.zip", target, PARTS) is True
    assert is_extracted("set.zip", target, ["set/images"]) is True
    assert is_extracted("set.zip", target, [*PARTS, "set/readme.txt"]) is False
    (target / "set/masks/a.png").write_bytes(b"short")
    assert is_extracted("set.zip", target, PARTS) is False


def test_what_is_there_is_not_written_again(make: Make, tmp_path: Path, target: Path) -> None:
    archive = make(tmp_path, FILES)
    extract(archive, target, PARTS)
    kept, damaged, lost = target / "set/images/a.jpg", target / "set/masks/a.png", target / "set/images/b/ü c.jpg"
    os.utime(kept, (1, 1))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    lost.unlink()
    extract(archive, target, PARTS)
    assert tree(target) == WANTED
    assert kept.stat().st_mtime == 1


def test_an_interrupted_extraction_goes_on(
    make: Make, tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(tmp_path, FILES)
    calls, real = itertools.count(), shutil.copyfileobj

    def interrupted(source: IO[bytes], to: IO[bytes], length: int) -> None:
        if next(calls) == 1:
            to.write(source.read(700))
            raise KeyboardInterrupt
        real(source, to, length)

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copyfileobj", interrupted)
        with pytest.raises(KeyboardInterrupt):
            extract(archive, target, PARTS)
    assert list(tree(target)) == ["set/images/a.jpg"]  # the second is not there, not even in part
    assert not list(target.rglob(".*.tmp"))
    assert is_extracted(archive.name, target, PARTS) is False
    os.utime(target / "set/images/a.jpg", (1, 1))
    extract(archive, target, PARTS)
    assert tree(target) == WANTED
    assert (target / "set/images/a.jpg").stat().st_mtime == 1


def test_a_damaged_record_is_written_anew(tmp_path: Path, target: Path) -> None:
    archive = make_zip(tmp_path, FILES)
    extract(archive, target, PARTS)
    (record,) = target.glob(".set.zip*")
    record.write_text("{")
    assert is_extracted("set.zip", target, PARTS) is False
    extract(archive, target, PARTS)
    assert is_extracted("set.zip", target, PARTS) is True


# What is refused.

OUTSIDE = ["../evil", "set/images/../../../evil", "/tmp/evil", "set/images/..\\..\\..\\evil", "C:\\evil", "\\evil"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_path_that_leads_out_is_refused(make: Make, tmp_path: Path, target: Path, name: str) -> None:
    archive = make(tmp_path, {**FILES, name: b"evil"})
    target.mkdir(parents=True)
    before = tree(tmp_path)
    with pytest.raises(DataError, match=r"not extracted, for .*evil' in it leads out of the folder\..*published one"):
        extract(archive, target, PARTS)
    assert tree(tmp_path) == before
    assert not Path("/tmp/evil").exists()


def link(name: str, to: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path, target: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "set.tar", "w") as archive:
        archive.addfile(link("set/images", "/tmp", kind))
        info = tarfile.TarInfo("set/images/evil")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    with pytest.raises(DataError, match="'set/images' in it is a link or a device"):
        extract(tmp_path / "set.tar", target, ["set/images"])
    assert tree(target) == {}
    assert not Path("/tmp/evil").exists()


def test_a_link_in_a_zip_is_refused(tmp_path: Path, target: Path) -> None:
    info = zipfile.ZipInfo("set/images/link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("set/images/a.jpg", b"a")
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(DataError, match="'set/images/link' in it is a link or a device"):
        extract(tmp_path / "set.zip", target, ["set/images"])
    assert tree(target) == {}


def test_a_link_that_is_not_wanted_is_passed_over(tmp_path: Path, target: Path) -> None:
    with tarfile.open(make_tar(tmp_path, FILES), "a") as archive:
        archive.addfile(link("set/other", "/etc", tarfile.SYMTYPE))
    extract(tmp_path / "set.tar", target, PARTS)
    assert tree(target) == WANTED
    assert not (target / "set/other").is_symlink()


def test_a_link_in_the_folder_is_not_written_through(make: Make, tmp_path: Path, target: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (target / "set").mkdir(parents=True)
    (target / "set/images").symlink_to(elsewhere)
    with pytest.raises(DataError, match=r"set/images.*: a link that leads out of .*target"):
        extract(make(tmp_path, FILES), target, PARTS)
    assert tree(elsewhere) == {}


def test_a_linked_file_is_replaced_not_followed(tmp_path: Path, target: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (target / "set/masks").mkdir(parents=True)
    (target / "set/masks/a.png").symlink_to(tmp_path / "precious")
    extract(make_zip(tmp_path, FILES), target, PARTS)
    assert tree(target) == WANTED
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_folder_that_is_a_link_itself_is_fine(tmp_path: Path, target: Path) -> None:
    target.mkdir(parents=True)
    (tmp_path / "short").symlink_to(target)
    extract(make_zip(tmp_path, FILES), tmp_path / "short", PARTS)
    assert tree(target) == WANTED


def test_files_that_do_not_fit_on_the_disk(
    make: Make, tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make(tmp_path, FILES)
    free = 64 * 2**20 + 5999  # 6,000 bytes are wanted
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**12, 0, free))
    with pytest.raises(DataError, match=r"its files take 6\.0 kB, but .*target has 6\.0 kB free"):
        extract(archive, target, PARTS)
    assert tree(target) == {}
    free += 1
    extract(archive, target, PARTS)
    assert tree(target) == WANTED


def test_an_encrypted_zip(tmp_path: Path, target: Path) -> None:
    archive = make_zip(tmp_path, {"set/images/a.jpg": b"a"})
    content = bytearray(archive.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="is encrypted"):
        extract(archive, target, ["set/images"])


# What is damaged.


def test_a_truncated_archive(make: Make, tmp_path: Path, target: Path) -> None:
    archive = make(tmp_path, FILES)
    archive.write_bytes(archive.read_bytes()[:3500])
    with pytest.raises(
        DataError, match=r"set\.\w+: (not readable as zip or tar archive \(.+\)|set/masks/a.png not fo)"
    ):
        extract(archive, target, PARTS)
    assert is_extracted(archive.name, target, PARTS) is not True


def test_a_zip_whose_content_is_damaged(tmp_path: Path, target: Path) -> None:
    archive = make_zip(tmp_path, FILES)
    content = archive.read_bytes()
    middle = content.index(b"a.jpg") + 1500
    archive.write_bytes(content[:middle] + bytes(20) + content[middle + 20 :])
    with pytest.raises(DataError, match=r"not readable as zip or tar archive .*Delete it"):
        extract(archive, target, PARTS)
    assert "set/images/a.jpg" not in tree(target)


@pytest.mark.parametrize("content", [b"", b"<html>503 try later</html>" * 50])
def test_a_file_that_is_no_archive(tmp_path: Path, target: Path, content: bytes) -> None:
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"set.zip: not readable as zip or tar archive .*Delete it and run"):
        extract(tmp_path / "set.zip", target, PARTS)


def test_an_archive_of_something_else(make: Make, tmp_path: Path, target: Path) -> None:
    archive = make(tmp_path, {"other/x": b"x"})
    with pytest.raises(DataError, match=r"set/images, set/masks/a\.png not found in the archive"):
        extract(archive, target, PARTS)
    assert tree(target) == {}
