"""Archives that would fill the disk or the memory, or write elsewhere: refused, and nothing is written."""

import gzip
import io
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hostile import linux_only, outcome_and_memory

from fakd.data.prepare.archives import extract
from fakd.data.spec import DataError

ZEROS = bytes(64 << 20)
MEMORY = 48 << 20


def zip_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/a.png", ZEROS)


def overlapping_zip(path: Path) -> None:
    """A thousand entries that all mean the same 256 KiB of zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/0.png", ZEROS[: 1 << 18])
        first = archive.filelist[0]
        for number in range(1, 1000):
            info = zipfile.ZipInfo(f"set/{number}.png")
            for name in ("compress_type", "CRC", "compress_size", "file_size", "header_offset", "external_attr"):
                setattr(info, name, getattr(first, name))
            archive.filelist.append(info)


def tar_bomb(path: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        info = tarfile.TarInfo("set/a.png")
        info.size = len(ZEROS)
        archive.addfile(info, io.BytesIO(ZEROS))


def sparse_tar(path: Path) -> None:
    """A file of a terabyte, all of it holes."""
    info = tarfile.TarInfo("set/a.png")
    info.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386:482] = bytes(96)
    header[483:495] = tarfile.itn(1 << 40, 12, tarfile.GNU_FORMAT)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(bytes(header) + bytes(1024))


def long_header(path: Path, kind: bytes = tarfile.XHDTYPE) -> None:
    """What tarfile would read into memory before it gives any member."""
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = kind, len(ZEROS)
    with gzip.open(path, "wb") as file:
        file.write(info.tobuf(tarfile.USTAR_FORMAT) + ZEROS + bytes(1024))


def long_name(path: Path) -> None:
    long_header(path, tarfile.GNUTYPE_LONGNAME)


@linux_only
@pytest.mark.parametrize("make", [zip_bomb, overlapping_zip, tar_bomb, sparse_tar, long_header, long_name])
def test_bombs(make, tmp_path: Path) -> None:
    make(tmp_path / "set.zip")
    assert (tmp_path / "set.zip").stat().st_size < 1 << 18
    message, memory = outcome_and_memory(extract, tmp_path / "set.zip", tmp_path / "to", ["set"])
    assert message.startswith("DataError: ")
    assert "set.zip" in message
    expected = "a header that is 67.1 MB long" if make in (long_header, long_name) else "over 200 times as much"
    assert expected in message
    assert memory < MEMORY
    assert not any((tmp_path / "to").iterdir())


def test_a_member_longer_than_its_header_says(tmp_path: Path) -> None:
    """What says 10 bytes and holds megabytes gives no more than 10, and is then refused."""
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/a.png", ZEROS[: 8 << 20])
    raw = (tmp_path / "set.zip").read_bytes()
    (tmp_path / "set.zip").write_bytes(raw.replace(struct.pack("<I", 8 << 20), struct.pack("<I", 10)))
    with pytest.raises(DataError, match=r"set\.zip: not readable as zip or tar archive \(Bad CRC-32"):
        extract(tmp_path / "set.zip", tmp_path / "to", ["set"])
    assert sum(path.stat().st_size for path in (tmp_path / "to").rglob("*.png")) == 0


def test_images_and_label_maps_are_no_bombs(tmp_path: Path) -> None:
    """Label maps of a few large regions shrink nearly a hundredfold and are extracted all the same."""
    rng = np.random.default_rng(0)
    label_map = np.repeat(rng.integers(0, 150, 70_000, dtype=np.uint8), rng.integers(100, 500, 70_000)).tobytes()
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("set/a.png", label_map)
    assert len(label_map) > 16 << 20
    assert len(label_map) / (tmp_path / "set.zip").stat().st_size > 80
    extract(tmp_path / "set.zip", tmp_path / "to", ["set"])
    assert (tmp_path / "to/set/a.png").read_bytes() == label_map


EVIL = {
    "dot dot": ("../evil", tarfile.REGTYPE, "leads out of the folder"),
    "absolute": ("/tmp/evil-of-an-archive", tarfile.REGTYPE, "leads out of the folder"),
    "symlink": ("set/evil", tarfile.SYMTYPE, "is a link or a device"),
    "hard link": ("set/evil", tarfile.LNKTYPE, "is a link or a device"),
    "character device": ("set/evil", tarfile.CHRTYPE, "is a link or a device"),
    "block device": ("set/evil", tarfile.BLKTYPE, "is a link or a device"),
    "pipe": ("set/evil", tarfile.FIFOTYPE, "is a link or a device"),
}


@pytest.mark.parametrize("evil", EVIL)
def test_members_that_are_no_files_of_the_folder(evil: str, tmp_path: Path) -> None:
    name, kind, reason = EVIL[evil]
    with tarfile.open(tmp_path / "set.tar.gz", "w:gz") as archive:
        good = tarfile.TarInfo("set/a.png")
        good.size = 1
        archive.addfile(good, io.BytesIO(b"a"))
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(DataError, match=reason):
        extract(tmp_path / "set.tar.gz", tmp_path / "to", ["set"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set.tar.gz", "to"]
    assert not any((tmp_path / "to").iterdir())
    assert not Path("/tmp/evil-of-an-archive").exists()
