"""What the tests of hostile input share: code that must not run, and the memory that a call takes."""

import multiprocessing
import os
import resource
import struct
import sys
import zlib
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="measures memory in a forked process")


class Runs:
    """An object whose unpickling runs a command that leaves a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.trace}'",)


def outcome_and_memory(function: Callable[..., Any], *arguments: Any) -> tuple[str, int]:
    """Call in a process of its own: the error's class and message, and by how many bytes its peak memory grew."""
    context = multiprocessing.get_context("fork")  # has every library already
    ours, theirs = context.Pipe()
    process = context.Process(target=_call, args=(theirs, function, arguments))
    process.start()
    theirs.close()
    try:
        message, growth = ours.recv()
    finally:
        process.join()
    return message, growth


def _call(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        function(*arguments)
        message = "no error"
    except BaseException as error:  # SystemExit of the command line too
        message = f"{type(error).__name__}: {error}"
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    connection.send((message, (after - before) * 1024))


def png(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG of RGB whose header says so, whatever its content holds."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")
