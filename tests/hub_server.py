"""A Hugging Face Hub on this machine: as much of it as uploading a folder and reading a file asks for."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = "c" * 40


class HubServer(ThreadingHTTPServer):
    """Holds one revision of every repository."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.created: list[dict[str, Any]] = []
        self.files: dict[str, dict[str, bytes]] = {}
        self.tokens: set[str | None] = set()
        self.error: str | None = None
        """What downloads are answered by, as the Hub calls it: RepoNotFound, RevisionNotFound or GatedRepo."""
        self.refuse = False
        """Whether uploads are answered as to one who may not write."""


class _Handler(BaseHTTPRequestHandler):
    server: HubServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.tokens.add(self.headers["Authorization"])
        if self.path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif self.server.refuse:
            self._answer({"error": "You don't have the rights"}, 403)
        elif self.path == "/api/repos/create":
            wanted = json.loads(body)
            self.server.created.append(wanted)
            name = f"{wanted['organization']}/{wanted['name']}" if wanted.get("organization") else wanted["name"]
            self.server.files[name] = {}
            self._answer({"url": f"{self.server.url}/{name}", "name": name, "id": "1"})
        elif self.path.endswith("/preupload/main"):
            files = [{"path": file["path"]} for file in json.loads(body)["files"]]
            self._answer({"files": [{**file, "uploadMode": "regular", "shouldIgnore": False} for file in files]})
        elif found := re.fullmatch(r"/api/models/(.+)/commit/main", self.path.partition("?")[0]):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[found[1]][line["value"]["path"]] = content
            self._answer({"commitUrl": f"{self.server.url}/{found[1]}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self.send_error(404)

    def do_GET(self) -> None:
        found = re.fullmatch(r"/(.+)/resolve/[^/]+/([^/]+)", self.path)
        content = self.server.files.get(found[1], {}).get(found[2]) if found else None
        if content is None or self.server.error is not None:
            self.send_response(403 if self.server.error == "GatedRepo" else 404)
            self.send_header("X-Error-Code", self.server.error or "EntryNotFound")
            if self.server.error is None:
                self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass
