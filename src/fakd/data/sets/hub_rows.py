"""The rows of a table of `datasets` as labelled images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fakd.data.paired_files import class_indices
from fakd.data.reading import LabelMap, Packed, read_image, upright_size
from fakd.data.spec import DataError, Sample, open_all
from fakd.data.user.masks import ClassList, UserMasks

_MEASURED = 50  # images, for their median size


@dataclass(frozen=True)
class Rows:
    """A `Source` of the rows of one split.

    Args:
        rows: of `datasets`, its pictures not decoded.
        image: the name of the column of images.
        mask: of that of masks.
        classes: what the values or colours of masks stand for.
        called: the data set and the split, for messages.
        split: "train" or "val".
    """

    rows: Any
    image: str
    mask: str
    classes: ClassList
    called: str
    split: str

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        """Read row `index` at its own size.

        Raises:
            DataError: A picture is not there or not readable, the sizes differ, or a mask value is no class.
        """
        row = self.rows[index]
        image = read_image(_picture(row[self.image], f"{self.called}, row {index}, {self.image}"))
        where = f"{self.called}, row {index}, {self.mask}"
        raw = self._raw(row[self.mask], where)
        if raw.shape != image.shape[1:]:
            raise DataError(
                f"{where}: the mask has {raw.shape[1]}x{raw.shape[0]} pixels (width x height), but its image has "
                f"{image.shape[2]}x{image.shape[1]}. Choose another column."
            )
        label = torch.from_numpy(class_indices(raw, self.classes.table, where))
        return Sample(image, label, f"{self.split}/{index:05}")

    def _raw(self, value: Any, where: str) -> LabelMap:
        if value is None or isinstance(value, Mapping):
            return UserMasks(self.classes)(_picture(value, where))
        raw = np.asarray(value)
        if raw.ndim != 2 or raw.dtype.kind not in "iu":
            raise DataError(f"{where}: expected (height, width) whole numbers, got {raw.dtype} of shape {raw.shape}.")
        return raw

    def check(self) -> None:
        """Read every row once; raise `DataError` for the first that is at fault."""
        open_all(self)

    def sizes(self) -> Iterator[tuple[int, int]]:
        """(height, width) of some images, from the first to the last, without decoding them."""
        for index in range(0, len(self), max(1, len(self) // _MEASURED)):
            yield upright_size(_picture(self.rows[index][self.image], f"{self.called}, row {index}, {self.image}"))


def _picture(value: Any, where: str) -> Path | Packed:
    """A picture as `datasets` keeps it: its bytes, or where it is."""
    if not isinstance(value, Mapping) or (value.get("bytes") is None and value.get("path") is None):
        raise DataError(f"{where}: no picture there. Choose another column, or remove the row.")
    return Path(value["path"]) if value.get("bytes") is None else Packed(value["bytes"], where)
