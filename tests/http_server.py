"""An HTTP server on this machine that misbehaves as told."""

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CONTENT = random.Random(0).randbytes(10_000)


class Server(ThreadingHTTPServer):
    """Answers request N by the Nth of `behaviours`, and all later ones by the last."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviours: list[str] = ["good"]
        self.content = CONTENT
        self.ranges: list[str | None] = []  # the Range header of every request
        self.headers: list[dict[str, str]] = []
        self.go_on = threading.Event()  # what hanging and waiting requests wait for
        self.url = f"http://127.0.0.1:{self.server_port}/net-12345678.pth"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        number = len(self.server.ranges)
        asked = self.headers["Range"]
        self.server.ranges.append(asked)
        self.server.headers.append(dict(self.headers))
        behaviour, _, value = self.server.behaviours[min(number, len(self.server.behaviours) - 1)].partition(" ")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and behaviour != "no-ranges" else 0
        if behaviour == "status":
            self.send_error(int(value))
        elif start and start >= len(self.server.content):
            self.send_error(416)
        else:
            self._send(start, behaviour, value)

    def _send(self, start: int, behaviour: str, value: str) -> None:
        body = self.server.content[start:]
        if behaviour == "wait":
            self.server.go_on.wait(5)
        self.send_response(206 if start else 200)
        if start:
            shift = 1 if behaviour == "other-range" else 0
            self.send_header("Content-Range", f"bytes {start + shift}-{start + len(body) - 1}/{start + len(body)}")
        if behaviour != "no-length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: int(value)] if behaviour in ("break", "hang") else body)
        self.wfile.flush()
        if behaviour == "hang":
            self.server.go_on.wait(5)

    def log_message(self, *_: Any) -> None:
        pass
