"""Run tests with the oldest releases of everything that pyproject.toml asks for, in an environment of their own.

python tests/reliability/oldest.py VENV tests/functional -x
"""

import argparse
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
TOOLS = ("dev", "docs")
"""Extras of those who work on the package: their newest releases will do."""


def lower_bounds(pyproject: Path) -> list[str]:
    """What pyproject.toml asks for, each at the oldest release that it allows, as lines for pip."""
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project["optional-dependencies"]
    needed = [*project["dependencies"], *(line for name in extras if name not in TOOLS for line in extras[name])]
    lines = []
    for requirement in map(Requirement, needed):
        lines += [f"{requirement.name}=={bound.version}" for bound in requirement.specifier if bound.operator == ">="]
    return lines


def main() -> int:
    """Install what is not there yet, and hand the other arguments to pytest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("venv", type=Path, help="folder of the environment, made where it is missing")
    arguments, of_pytest = parser.parse_known_args()
    python = arguments.venv / "bin/python"
    constraints = arguments.venv / "oldest.txt"
    lines = "\n".join(lower_bounds(ROOT / "pyproject.toml")) + "\n"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", arguments.venv], check=True)
    if not constraints.exists() or constraints.read_text() != lines:
        wanted = arguments.venv / "wanted.txt"
        wanted.write_text(lines)
        install = [python, "-m", "pip", "install", "--constraint", wanted, "--editable", f"{ROOT}[dev]"]
        subprocess.run(install, check=True)
        wanted.rename(constraints)
    return subprocess.run([python, "-m", "pytest", *of_pytest], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
