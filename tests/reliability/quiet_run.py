"""Train, distil and predict where every attempt to reach a network ends the process; run by test_hostile_network.py."""

import os
import socket
import sys
from pathlib import Path
from typing import Any

ATTEMPT = 77
"""Exit status after an attempt."""
NETWORK = {f"socket.{name}" for name in ("connect", "bind", "sendto", "sendmsg", "getaddrinfo", "gethostbyname")}


def forbid(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in NETWORK:
        return
    if arguments and isinstance(arguments[0], socket.socket) and arguments[0].family == socket.AF_UNIX:
        return  # between processes of this machine
    print(f"attempt: {event}{arguments[1:]}", file=sys.stderr, flush=True)
    os._exit(ATTEMPT)  # an exception might be caught and passed over


sys.addaudithook(forbid)
if sys.argv[1] == "attempt":
    socket.create_connection(("192.0.2.1", 80), timeout=1)

from PIL import Image  # noqa: E402
from tiny import NETWORK as TINY  # noqa: E402
from tiny import SMALL  # noqa: E402

from fakd.cli import main  # noqa: E402
from fakd.data import DATASETS  # noqa: E402


def run(folder: Path) -> int:
    DATASETS["toy-scenes"] = SMALL  # type: ignore[index]
    options = "--head-channels 8 --max-steps 2 --batch-size 2 --crop-size 32,32 --workers 0 --accelerator cpu"
    common = options.split(" ")
    (folder / "images").mkdir()
    Image.new("RGB", (40, 30)).save(folder / "images/a.png")
    teacher, student = str(folder / "teacher"), str(folder / "student")
    return (
        main(["train", "--dataset", "toy-scenes", "--network", TINY, "--output", teacher, *common])
        or main(
            ["distill", "--teacher", teacher, "--student", TINY, "--output", student, "--allow-bad-teacher", *common]
        )
        or main(["evaluate", student, "--workers", "0", "--device", "cpu"])
        or main(["predict", student, str(folder / "images"), str(folder / "masks"), "--device", "cpu"])
    )


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
