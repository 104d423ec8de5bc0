"""One writer at a time: a file that its owner keeps fresh, which holds on network file systems too."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import LeaseCompromise, SoftFileLease, Timeout

from fakd.console import say, say_error

EXPIRES = 30.0
"""Seconds without a sign of life after which an owner is taken for dead, as one whose machine is gone."""
BEAT = 3.0
"""Seconds from one sign of life to the next."""
_LOOK = 0.3


class BusyError(OSError):
    """Somebody else is writing."""

    exit_status = 75
    """What `fakd` ends with: EX_TEMPFAIL, by which a starter knows that the work is being done."""


@contextmanager
def only_writer(path: Path, what: str) -> Iterator[None]:
    """Be the only one that writes, among all processes of all machines that see the same files.

    The file at `path` is made where there is none, which any file system lets one process do alone, and touched every
    `BEAT` seconds. Whoever finds it watches: once it is touched, its owner lives. An owner of this machine that ended
    is replaced at once, any other after `EXPIRES` seconds without a sign of life. No clocks are compared. An owner that
    was asleep for as long, and replaced, ends its process before it writes anything else.

    Args:
        path: of the file, in a folder that exists.
        what: how messages call what is written.

    Raises:
        BusyError: another process is at work on it.
    """
    lease = new_lease(path)
    begun, first = time.monotonic(), None
    while not try_to_own(lease):
        seen = _last_sign(path)
        if first and seen and seen != first:
            raise BusyError(
                f"another process is at work on {what} ({_owner(lease)}): wait for it, or stop it, and start again."
            )
        if begun and time.monotonic() - begun > 2 * BEAT:
            begun = 0.0
            say(f"waiting   {what} is held by {_owner(lease)}, which may be gone: that shows in {EXPIRES:.0f} s")
        first = first or seen
        time.sleep(_LOOK)
    try:
        yield
    finally:
        lease.release()


def new_lease(path: Path) -> SoftFileLease:
    """What `try_to_own` takes; the same one each time, as it remembers since when there was no sign of life."""
    return SoftFileLease(
        path, lease_duration=EXPIRES, heartbeat_interval=BEAT, on_compromise=_end_this_process, thread_local=False
    )


def try_to_own(lease: SoftFileLease) -> bool:
    """Become the owner, unless there is one, or may be; `release` it then."""
    with suppress(Timeout):
        lease.acquire(timeout=0)
        return True
    return False


def is_owned(lease: SoftFileLease) -> bool:
    """Whether there is an owner, or may be: one of another machine that shows no sign of life just now."""
    if not Path(lease.lock_file).exists():
        return False
    if owned := try_to_own(lease):
        lease.release()
    return not owned


def _last_sign(path: Path) -> tuple[int, int] | None:
    """When the file was last touched, and which one it is; None where there is none."""
    try:
        with path.open("rb") as file:  # opened, as network file systems then ask their server
            found = os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_ino


def _owner(lease: SoftFileLease) -> str:
    owner = lease.owner
    return f"process {owner.pid} on {owner.hostname}" if owner else "a process that is gone by now"


def _end_this_process(lost: LeaseCompromise) -> None:
    """Write nothing any more: what is half done, its new owner does again from the last checkpoint."""
    say_error(
        f"{lost.lock_file} is not this process's any more ({lost.reason}): it ends, and leaves the rest to others."
    )
    os._exit(BusyError.exit_status)
