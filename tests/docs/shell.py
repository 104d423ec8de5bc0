"""A shell whose `fakd` and `python SCRIPT` run in this process, which has the libraries loaded already."""

import json
import os
import runpy
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_SHIM = """#!{python} -S
import json, os, socket, sys
words = [os.path.basename(sys.argv[0]), *sys.argv[1:]]
if words[0] == "python" and (len(words) < 2 or not words[1].endswith(".py")):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as link:
    link.connect({address!r})
    link.sendall(json.dumps([os.getcwd(), words]).encode() + b"\\n")
    sys.exit(int(link.makefile().readline()))
"""


class Shell:
    """Runs scripts by bash.

    Args:
        home: folder for its own files.
        run: what `fakd` and `python SCRIPT` do: words, the program first, to an exit status.
    """

    def __init__(self, home: Path, run: Callable[[list[str]], int]) -> None:
        self.run = run
        self.programs = home / "bin"
        self.programs.mkdir(parents=True)
        self.address = str(home / "link")
        for name in ("fakd", "python"):
            path = self.programs / name
            path.write_text(_SHIM.format(python=sys.executable, address=self.address))
            path.chmod(0o755)

    def __call__(self, script: str, folder: Path) -> None:
        """Run a script as printed.

        Raises:
            AssertionError: a command of it fails.
        """
        environment = {**os.environ, "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}"}
        with socket.socket(socket.AF_UNIX) as server:
            Path(self.address).unlink(missing_ok=True)
            server.bind(self.address)
            server.listen()
            server.settimeout(0.05)
            bash = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=folder,
                env=environment,
                stderr=subprocess.PIPE,
                text=True,
            )
            try:
                while bash.poll() is None:
                    self._answer(server)
            finally:
                bash.kill()
        assert bash.stderr is not None
        assert bash.returncode == 0, f"{script}\n{bash.stderr.read()}"

    def _answer(self, server: socket.socket) -> None:
        try:
            link, _ = server.accept()
        except TimeoutError:
            return
        with link:
            link.settimeout(None)
            folder, words = json.loads(link.makefile().readline())
            before = Path.cwd()
            os.chdir(folder)
            try:
                status = self.run(words)
            finally:
                os.chdir(before)
            link.sendall(f"{status}\n".encode())


def run_script(path: str, arguments: list[str]) -> int:
    """Run a Python file as a program."""
    before = sys.argv
    sys.argv = [path, *arguments]
    try:
        runpy.run_path(path, run_name="__main__")
    finally:
        sys.argv = before
    return 0
