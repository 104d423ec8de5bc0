"""Images and masks that lie in files side by side."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from fakd.data.reading import read_image, read_mask
from fakd.data.spec import DataError, Sample
from fakd.types import IGNORE_INDEX

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
"""File types that are taken for images, in any case."""

LabelTable = npt.NDArray[np.int16]
"""(256,) the class index of every raw mask value; 255 = ignore, -1 = must not occur."""

_INVALID = -1
_CHECK_THREADS = 4
_SHOWN = 5


def label_table(mapping: Mapping[int, int]) -> LabelTable:
    """Build the lookup from raw mask value to class index; raw 255 is ignored unless it is mapped.

    Raises:
        ValueError: A raw value or a class index lies outside 0..255.

    Example:
        >>> table = label_table({0: 0, 1: 1, 11: 255})
        >>> [int(table[value]) for value in (0, 1, 2, 11, 255)]
        [0, 1, -1, 255, 255]
    """
    table = np.full(256, _INVALID, dtype=np.int16)
    table[IGNORE_INDEX] = IGNORE_INDEX
    for raw, index in mapping.items():
        if not (0 <= raw <= 255 and 0 <= index <= 255):
            raise ValueError(f"label table maps {raw} to {index}, expected both in 0..255")
        table[raw] = index
    return table


class PairedFiles:
    """A `Source` of image files and the mask files that belong to them.

    Args:
        root: The folder that names are relative to.
        pairs: (image path, mask path) of every sample, in order.
        table: Class index of every raw mask value, see `label_table`.
    """

    def __init__(self, root: Path, pairs: Sequence[tuple[Path, Path]], table: LabelTable) -> None:
        self.root = root
        self.pairs = list(pairs)
        self.table = table

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        """Read pair `index` at its own size.

        Raises:
            DataError: A file is missing or unreadable, the sizes differ, or a mask value is no class.
        """
        image_path, mask_path = self.pairs[index]
        image = read_image(image_path)
        raw = read_mask(mask_path)
        if image.shape[1:] != raw.shape:
            raise DataError(
                f"{mask_path}: the mask has {raw.shape[1]}x{raw.shape[0]} pixels (width x height), but "
                f"its image {image_path} has {image.shape[2]}x{image.shape[1]} (after EXIF rotation). "
                "Make them the same size; scale masks with nearest neighbour."
            )
        name = image_path.relative_to(self.root).with_suffix("").as_posix()
        return Sample(image, torch.from_numpy(self._classes(raw, mask_path)), name)

    def check(self) -> None:
        """Read every pair once; raise `DataError` for the first that is at fault."""
        # Decoding releases the interpreter lock, so threads are enough.
        with ThreadPoolExecutor(_CHECK_THREADS) as pool:
            for _ in pool.map(self._check_one, range(len(self))):
                pass

    def _check_one(self, index: int) -> None:
        self[index]  # keep no tensors: the whole set need not fit into memory

    def _classes(self, raw: npt.NDArray[np.integer], path: Path) -> npt.NDArray[np.uint8]:
        outside = None if raw.dtype == np.uint8 else (raw < 0) | (raw > 255)
        labels = self.table[raw if outside is None else np.where(outside, 0, raw)]
        invalid = labels == _INVALID if outside is None else outside | (labels == _INVALID)
        if invalid.any():
            found = np.unique(raw[invalid])
            known = np.flatnonzero(self.table != _INVALID)
            raise DataError(
                f"{path}: label value{'s' if len(found) > 1 else ''} {_listed(found.tolist())} outside the "
                f"classes, expected only {_ranges(known.tolist())}. Correct the mask, or the class list."
            )
        return labels.astype(np.uint8)


def pair_folders(images_dir: Path, masks_dir: Path) -> list[tuple[Path, Path]]:
    """Pair the images of one folder with the PNG masks of another by file name without suffix.

    Returns:
        (image path, mask path), sorted by name.

    Raises:
        DataError: A folder is missing or empty, a file has no partner, or a name occurs twice.
    """
    images, masks = _by_stem(images_dir, "images"), _by_stem(masks_dir, "masks")
    lossy = [path.name for path in masks.values() if path.suffix.lower() != ".png"]
    if lossy:
        raise DataError(
            f"{masks_dir}: {len(lossy)} masks are JPEG files ({_listed(lossy)}), expected PNG. JPEG "
            "compression changes pixel values, so class indices are lost; export the masks as PNG."
        )
    _require_partner(images, masks, "image", "mask", masks_dir)
    _require_partner(masks, images, "mask", "image", images_dir)
    return [(images[stem], masks[stem]) for stem in sorted(images)]


def require_folders(dataset: str, root: Path | None, folders: Sequence[str]) -> Path:
    """Return `root` if it holds all `folders`.

    Raises:
        DataError: No root was given, or it or one of the folders does not exist.
    """
    expected = f"expected a folder that contains {', '.join(f'{name}/' for name in folders)}"
    if root is None:
        raise DataError(f"{dataset} needs the path of its files, but no root was given; {expected}.")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; for {dataset} {expected}. Check the path of the root.")
    missing = [f"{name}/" for name in folders if not (root / name).is_dir()]
    if missing:
        raise DataError(f"{root}: {', '.join(missing)} missing; for {dataset} {expected}.")
    return root


def _by_stem(folder: Path, kind: str) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder, expected the {kind} there. Check the path.")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        # A leading dot is a hidden file, such as the "._name.png" that macOS leaves on other disks.
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(
                f"{folder}: {found[path.stem].name} and {path.name} have the same name without suffix, "
                "so it is unclear which one belongs to its partner. Remove or rename one of them."
            )
        found[path.stem] = path
    if not found:
        raise DataError(f"{folder}: no {kind} there, expected files ending in {', '.join(IMAGE_SUFFIXES)}.")
    return found


def _require_partner(ones: dict[str, Path], others: dict[str, Path], one: str, other: str, at: Path) -> None:
    alone = [path.name for stem, path in sorted(ones.items()) if stem not in others]
    if alone:
        raise DataError(
            f"{at}: no {other} for {len(alone)} of {len(ones)} {one}s ({_listed(alone)}). "
            f"Expected a file of the same name without suffix for each; add the {other}s or remove the {one}s."
        )


def _listed(items: Sequence[object]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(str(item) for item in items[:_SHOWN]) + more


def _ranges(values: Sequence[int]) -> str:
    """Write sorted numbers shortly: 0-11, 255."""
    starts = [value for value in values if value - 1 not in values]
    ends = [value for value in values if value + 1 not in values]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))
