"""A package of somebody else's, as pip leaves it in site-packages."""

import shutil
from pathlib import Path

import torch
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def install(site: Path, entry_points: dict[str, dict[str, str]], *, name: str = "my-package") -> Path:
    """Put the examples and a distribution with these entry points (group -> name -> object) into a folder."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in entries.items())
        for group, entries in entry_points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    for example in EXAMPLES.glob("my_*.py"):
        shutil.copy(example, site)
    return site


def draw_leaves(root: Path) -> Path:
    """Four photographs to train on and two to validate on, with their masks, as examples/my_dataset.py reads them."""
    for split, count in (("train", 4), ("val", 2)):
        for part in ("photos", "masks"):
            (root / part / split).mkdir(parents=True)
        for number in range(count):
            photo, mask = torch.randint(256, (48, 64, 3)), torch.tensor([0, 1, 2, 9])[torch.randint(4, (48, 64))]
            for part, picture in (("photos", photo), ("masks", mask)):
                Image.fromarray(picture.to(torch.uint8).numpy()).save(root / part / split / f"{number}.png")
    return root
