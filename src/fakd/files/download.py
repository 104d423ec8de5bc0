"""One file from the web: resumed where a connection broke, verified, and never seen half-written."""

import errno
import os
import socket
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from ssl import SSLEOFError
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import torch
from filelock import FileLock, Timeout
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from fakd.console import console, is_main_process, say
from fakd.files.checksum import Checksum

_TIMEOUT = 30.0  # seconds of silence after which a connection counts as broken
_RETRIES = 5
_PAUSE = 1.0  # seconds before the first retry; doubles with each
_CHUNK = 1 << 18

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)  # no EDQUOT on Windows


class DownloadError(OSError):
    """A file could not be downloaded; the message says what came instead, and what to do."""


class _BrokenError(Exception):
    """A connection that is worth another try. No OSError, so that a full disk is not mistaken for one."""


@dataclass(frozen=True)
class _Job:
    url: str
    path: Path
    checksum: Checksum | None
    advice: str

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    def received(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def failure(self, what: str, to_do: str) -> DownloadError:
        return DownloadError(f"{self.url}: {what}. {to_do} {self.advice}".rstrip())

    def try_later(self) -> str:
        # Without a checksum the next call starts from zero: see _complete.
        go_on = f" to go on from {decimal(self.received())}" if self.checksum and self.received() else ""
        return (
            f"Run the same command again{go_on}; or, without a network connection, download this address on another "
            f"computer and put the file at {self.path}."
        )


def cache_folder() -> Path:
    """Where downloaded weights are kept: the folder of torch and OpenMMLab, so that what they have is found again."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def download(url: str, path: Path, *, checksum: str | None = None, advice: str = "") -> Path:
    """Have the file of `url` at `path`, complete and right; nothing is asked of the network where it already is.

    What has come of an unfinished file is kept beside it, as NAME.part. Processes that want the same file at the same
    time wait for the first of them.

    Args:
        url: an http or https address.
        path: where to put the file; its folder is made if it does not exist.
        checksum: "sha256:" or "md5:" and the first 8 or more hex digits. Without one only the length is verified, and
            what an earlier call left unfinished is not used, for the file on the server may have changed since.
        advice: a last sentence for the message of every `DownloadError`, such as where else to find the file.

    Returns:
        `path`.

    Raises:
        ValueError: the address is not http or https, or the checksum is malformed.
        DownloadError: the server refused, the connection failed or broke too often, the content is not what the
            checksum says, or the file cannot be written.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected an address that begins with http:// or https://, got {url!r}.")
    job = _Job(url, path, Checksum.parse(checksum), advice)
    try:
        # Before the lock too: a folder that other people keep may be read-only.
        if not _is_right(job):
            path.parent.mkdir(parents=True, exist_ok=True)
            with _alone(path):
                _replace(job)
    except DownloadError:
        raise
    except OSError as error:
        to_do = "Free some space" if error.errno in _DISK_FULL else "Check the permissions"
        raise job.failure(
            f"{path} cannot be read or written ({error})",
            f"{to_do} and run the same command again, or choose another place.",
        ) from error
    return path


def _is_right(job: _Job) -> bool:
    if not job.path.is_file():
        return False
    return job.checksum is None or job.checksum.found_in(job.path) == job.checksum.prefix


def _alone(path: Path) -> AbstractContextManager[object]:
    """Let one process at a time in; the lock's file stays, as deleting it could let in two."""
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        return lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another process that is downloading {path.name}")
        return lock.acquire()


def _replace(job: _Job) -> None:
    if _is_right(job):  # another process had the lock before
        return
    if job.path.is_file():
        say(f"{job.path} is damaged or another file than expected: downloading it again", style="yellow")
    _complete(job)
    with job.part.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(job.part, job.path)


def _complete(job: _Job) -> None:
    """Fill the part until it is the whole, right file."""
    if job.checksum is None:
        job.part.unlink(missing_ok=True)  # nothing would notice if the file on the server had changed since
        _fetch(job)
        return
    if job.part.exists() and job.checksum.found_in(job.part) == job.checksum.prefix:
        return  # stopped just before it was renamed
    resumed = _fetch(job)
    found = job.checksum.found_in(job.part)
    if found != job.checksum.prefix and resumed:
        # The file on the server may have changed between the pieces.
        say(f"the pieces of {job.path.name} do not fit together: starting from zero", style="yellow")
        job.part.unlink()
        _fetch(job)
        found = job.checksum.found_in(job.part)
    if found != job.checksum.prefix:
        job.part.unlink()
        raise job.failure(
            f"what came is not the expected file: its {job.checksum.algorithm} begins with {found}, "
            f"expected {job.checksum.prefix}",
            "The file was removed. Run the same command again; if the message stays, the file on the server has "
            f"changed, or something on the way alters it: put the right one at {job.path} yourself.",
        )


def _fetch(job: _Job) -> bool:
    """Receive what the part lacks, over several connections where they break.

    Returns:
        Whether the last connection went on from an earlier one, or from an earlier call.
    """
    say(f"downloading {job.url}")
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal or not is_main_process(),
    ) as bar:
        bar.add_task(job.path.name, total=None)
        for attempt in range(_RETRIES + 1):
            try:
                return _receive(job, bar, first=attempt == 0)
            except _BrokenError as error:
                broken = str(error)
            if attempt < _RETRIES:
                say(f"{broken}; trying again ({attempt + 1} of {_RETRIES})", style="yellow")
                time.sleep(_PAUSE * 2**attempt)
    raise job.failure(f"{broken}, and {_RETRIES} more attempts did not help", job.try_later())


def _receive(job: _Job, bar: Progress, first: bool) -> bool:
    """Append to the part what one connection gives; tell whether the part was there before."""
    start = job.received()
    with _connect(job, start, first) as response:
        resumed = response.status == 206 and start > 0
        if not resumed:
            start = 0  # the server ignores ranges and sends the whole file
        total = None if response.length is None else start + response.length
        bar.update(bar.task_ids[0], completed=start, total=total)
        with job.part.open("ab" if resumed else "wb") as file:
            for chunk in _chunks(response, start, total):
                file.write(chunk)
                bar.advance(bar.task_ids[0], len(chunk))
    return resumed


def _connect(job: _Job, start: int, first: bool) -> HTTPResponse:
    # Some servers refuse Python-urllib, the name that would be sent otherwise.
    request = Request(job.url, headers={"Accept-Encoding": "identity", "User-Agent": "fakd"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        response: HTTPResponse = urlopen(request, timeout=_TIMEOUT)
    except HTTPError as error:
        error.close()
        answer = f"the server answered {error.code} {error.reason}"
        if error.code == 416 and start:
            job.part.unlink()
            raise _BrokenError("what was left of an earlier download is no piece of the file") from error
        if error.code >= 500:
            raise _BrokenError(answer) from error
        raise job.failure(
            answer, f"Check the address; if you can get the file in another way, put it at {job.path}."
        ) from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        # The name asked for may be a proxy's, which is why it is taken from the request.
        if isinstance(reason, socket.gaierror):
            what = f"no network: the name {request.host} could not be resolved"
        else:
            what = f"no connection to {request.host} ({_in_words(reason)})"
        # Only a network that has worked, or just might, is worth the wait.
        if first and not isinstance(reason, TimeoutError | ConnectionResetError | SSLEOFError):
            raise job.failure(what, job.try_later()) from error
        raise _BrokenError(what) from error
    _check_answer(job, response, start)
    return response


def _check_answer(job: _Job, response: HTTPResponse, start: int) -> None:
    if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        response.close()
        job.part.unlink(missing_ok=True)
        raise _BrokenError("the server sent another range than it was asked for")
    if response.status not in (200, 206):
        response.close()
        raise job.failure(f"the server answered {response.status} {response.reason} and no file", job.try_later())


def _chunks(response: HTTPResponse, start: int, total: int | None) -> Iterator[bytes]:
    """Read to the end, which a closed connection is not, although `read1` then returns nothing, as at the end."""
    size = start
    reason = "closed by the server"
    try:
        # Not read: it would lose what came since its last return when the connection breaks.
        while chunk := response.read1(_CHUNK):
            size += len(chunk)
            yield chunk
        if total is None or size == total:
            return
    except (OSError, HTTPException) as error:
        reason = _in_words(error)
    whole = "an unknown size" if total is None else decimal(total)
    raise _BrokenError(f"the connection broke after {decimal(size)} of {whole} ({reason})")


def _in_words(reason: object) -> str:
    return (reason.strerror if isinstance(reason, OSError) else None) or str(reason) or type(reason).__name__
