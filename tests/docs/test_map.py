"""The map of the code names files that are there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_map_names_what_is_there() -> None:
    named = re.findall(r"`([\w/]+(?:/|\.py))`", (ROOT / "docs/map.md").read_text())
    assert len(named) > 40
    assert [path for path in named if not (ROOT / "src/fakd" / path).exists() and path != "src/fakd/"] == []


def test_every_room_is_on_the_map() -> None:
    text = (ROOT / "docs/map.md").read_text()
    package = ROOT / "src/fakd"
    rooms = [f"{path.name}/" for path in package.iterdir() if (path / "__init__.py").exists()]
    files = [path.name for path in package.glob("*.py") if not path.name.startswith("__")]
    assert [name for name in rooms + files if f"`{name}`" not in text] == []
