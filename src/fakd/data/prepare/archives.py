"""Files out of a zip or tar archive: none outside the folder, none half-written, none twice."""

import json
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from rich.filesize import decimal

from fakd.console import progress, say
from fakd.data.spec import DataError
from fakd.files.atomic import write_json, written_at_once

_CHUNK = 1 << 20
_SPARE = 64 << 20  # bytes that stay free, so that a full disk does not stop everything else
_MOST_EXPANDED = 200  # times the archive's own size: photos hardly shrink, label maps tenfold, zeros a thousandfold
_ALWAYS_FINE = 16 << 20  # bytes that any archive may expand to, however small it is
_LONGEST_HEADER = 1 << 20

# What zipfile, tarfile and the decompressors raise for a damaged archive. gzip's own error is an OSError.
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, NotImplementedError)


@dataclass(frozen=True)
class _Member:
    """A file inside an archive."""

    path: str
    """Where it goes, below the folder."""
    size: int
    open: Callable[[], IO[bytes]]


class _TarInfo(tarfile.TarInfo):
    """A header of a tar archive, that refuses the kinds which tarfile reads into memory whole if they are long."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_TarInfo":
        info = super().frombuf(buf, encoding, errors)
        if info.size > _LONGEST_HEADER and not (info.isreg() or info.isdir()):
            raise tarfile.TarError(f"a header that is {decimal(info.size)} long")
        return info


def extract(archive: Path, folder: Path, parts: Sequence[str]) -> None:
    """Write the files of an archive into a folder; those that are there in full size are not written again.

    Bytes are all that is taken from the archive: no links, owners or permissions. Everything is checked before the
    first file is written, and a list of the files is kept in the folder, see `is_extracted`.

    Args:
        archive: A .zip, .tar, .tar.gz or .tgz file.
        folder: Where to write; it is made if it does not exist.
        parts: Which files and folders of the archive to extract, as "VOCdevkit/VOC2012/JPEGImages".

    Raises:
        DataError: The archive is damaged, lacks a part or holds a file that must not be written, or the disk is too
            small. Nothing outside the folder was touched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _reporting_damage(archive), _opened(archive, parts) as members:
        wanted = {member.path: member for member in members}
        _require_parts(archive, wanted, parts)
        _require_inside(archive, folder, wanted)
        _require_plausible(archive, sum(member.size for member in wanted.values()))
        missing = [member for path, member in wanted.items() if not _is_there(folder / path, member.size)]
        needed = sum(member.size for member in missing)
        _require_space(archive, folder, needed)
        record = {"parts": list(parts), "files": {path: member.size for path, member in wanted.items()}}
        write_json(_record(folder, archive.name), record)
        if missing:
            say(f"extracting {len(missing):,} files of {archive.name}, {decimal(needed)}")
        with progress("files") as bar:
            task = bar.add_task(archive.name, total=len(missing), note="")
            for member in missing:
                _write(member, folder / member.path)
                bar.advance(task)


def is_extracted(name: str, folder: Path, parts: Sequence[str]) -> bool | None:
    """Tell whether `extract` has written everything of the archive of that name, which may be deleted by then.

    Returns:
        False where a file is missing or shorter than it should be; None where nothing was extracted.
    """
    try:
        record = json.loads(_record(folder, name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # damaged by something else; extracting writes it anew
        return False
    complete = all(_is_there(folder / path, size) for path, size in record["files"].items())
    return complete and set(parts) <= set(record["parts"])


def _record(folder: Path, name: str) -> Path:
    return folder / f".{name}.extracted.json"


def _is_there(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def _is_part(path: str, parts: Sequence[str]) -> bool:
    return any(path == part or path.startswith(f"{part}/") for part in parts)


def _write(member: _Member, path: Path) -> None:
    with written_at_once(path, synced=False) as temporary:  # sizes are compared later
        with member.open() as source, temporary.open("wb") as target:
            shutil.copyfileobj(source, target, _CHUNK)
        if temporary.stat().st_size != member.size:
            raise EOFError(f"{member.path} ends early")


@contextmanager
def _opened(archive: Path, parts: Sequence[str]) -> Iterator[Iterator[_Member]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            yield _zip_members(archive, zipped, parts)
    else:
        with tarfile.open(archive, tarinfo=_TarInfo) as tarred:
            yield _tar_members(archive, tarred, parts)


def _zip_members(archive: Path, zipped: zipfile.ZipFile, parts: Sequence[str]) -> Iterator[_Member]:
    for info in zipped.infolist():
        path = _safe(archive, info.filename)
        if info.is_dir() or not _is_part(path, parts):
            continue
        if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _refused(archive, info.filename, "is a link or a device")
        if info.flag_bits & 1:
            raise _refused(archive, info.filename, "is encrypted")
        yield _Member(path, info.file_size, partial(zipped.open, info))


def _tar_members(archive: Path, tarred: tarfile.TarFile, parts: Sequence[str]) -> Iterator[_Member]:
    for info in tarred:
        # Before tarfile decompresses its way to the next header.
        _require_plausible(archive, info.offset_data + info.size)
        path = _safe(archive, info.name)
        if info.isdir() or not _is_part(path, parts):
            continue
        if not info.isreg():
            raise _refused(archive, info.name, "is a link or a device")
        yield _Member(path, info.size, partial(tarfile.ExFileObject, tarred, info))


def _safe(archive: Path, name: str) -> str:
    """The path with single slashes; a path that could lead anywhere else, on any system, is refused."""
    path, on_windows = PurePosixPath(name), PureWindowsPath(name)
    if path.is_absolute() or on_windows.drive or on_windows.root or ".." in on_windows.parts or "\0" in name:
        raise _refused(archive, name, "leads out of the folder")
    return path.as_posix()


def _require_inside(archive: Path, folder: Path, paths: dict[str, _Member]) -> None:
    """Refuse to write through links that lie in the folder already."""
    inside = folder.resolve()
    for parent in {Path(path).parent for path in paths}:
        if not (folder / parent).resolve().is_relative_to(inside):
            raise DataError(
                f"{folder / parent}: a link that leads out of {folder}, so {archive.name} is not extracted through it. "
                "Remove the link, or give the folder that it leads to."
            )


def _require_parts(archive: Path, paths: dict[str, _Member], parts: Sequence[str]) -> None:
    if missing := [part for part in parts if not any(_is_part(path, [part]) for path in paths)]:
        raise DataError(
            f"{archive}: {', '.join(missing)} not found in the archive, so it is not the one that was expected. "
            "Delete it and run the same command again, or put the right one in its place."
        )


def _require_plausible(archive: Path, expanded: int) -> None:
    """Refuse decompression bombs."""
    packed = archive.stat().st_size
    if expanded > max(_ALWAYS_FINE, _MOST_EXPANDED * packed):
        raise DataError(
            f"{archive}: not extracted, for its {decimal(packed)} claim to hold {decimal(expanded)} or more, over "
            f"{_MOST_EXPANDED} times as much. No images and labels shrink that far: the archive is not the published "
            "one. Delete it and get it from its authors."
        )


def _require_space(archive: Path, folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free - _SPARE
    if needed > free:
        raise DataError(
            f"{archive}: its files take {decimal(needed)}, but {folder} has {decimal(max(0, free))} free. "
            "Free some space, or choose a folder on another disk."
        )


@contextmanager
def _reporting_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except (*_DAMAGED, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{archive}: not readable as zip or tar archive ({reason}); it is truncated, damaged or of another type. "
            "Delete it and run the same command again, or put a good copy in its place."
        ) from error


def _refused(archive: Path, name: str, why: str) -> DataError:
    return DataError(
        f"{archive}: not extracted, for {name!r} in it {why}. Images and labels need no such thing: the archive is not "
        "the published one. Delete it and get it from its authors."
    )
