"""A data set of one's own: photographs of leaves, and masks that mark their sick spots."""

from pathlib import Path

from fakd.data import DatasetSpec, Source
from fakd.data.paired_files import PairedFiles, label_table, pair_folders, require_folders


def open_leaves(root: Path | None, split: str) -> Source:
    """The photographs in ROOT/photos/SPLIT with the masks of the same names in ROOT/masks/SPLIT."""
    folders = f"photos/{split}", f"masks/{split}"
    root = require_folders("leaves", root, folders)
    pairs = pair_folders(*(root / folder for folder in folders))
    # a mask's 0, 1, 2 are the three classes; 9, where nobody could tell, is ignored
    return PairedFiles(root, pairs, label_table({0: 0, 1: 1, 2: 2, 9: 255}))


LEAVES = DatasetSpec(
    name="leaves",
    classes=("background", "leaf", "spot"),
    palette=((0, 0, 0), (60, 160, 60), (200, 120, 40)),
    base_size=(480, 640),
    crop_size=(320, 320),
    open=open_leaves,
)
