"""Label maps in MATLAB files, as two data sets publish them; SciPy reads them."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fakd.data.reading import LabelMap, existing, unreadable
from fakd.data.spec import DataError


def read_context_mat(path: Path | str) -> LabelMap:
    """Read a label map of Pascal Context: `LabelMap`, with numbers from 1 to 459.

    Returns:
        (H, W), uint16 in the published files.

    Raises:
        DataError: The file is missing, empty, damaged, or holds something else.
    """
    path = existing(path)
    return _label_map(path, _variable(path, "LabelMap"), "LabelMap")


def read_sbd_mat(path: Path | str) -> LabelMap:
    """Read the class map of the Semantic Boundaries Dataset: `GTcls.Segmentation`, with classes from 0 to 20.

    Returns:
        (H, W), uint8 in the published files.

    Raises:
        DataError: The file is missing, empty, damaged, or holds something else.
    """
    path = existing(path)
    truth = _variable(path, "GTcls")
    fields = truth.dtype.names or ()
    if "Segmentation" not in fields or truth.size != 1:
        raise DataError(
            f"{path}: GTcls has no field Segmentation, expected the class maps of the Semantic Boundaries "
            "Dataset. Take the files of its folder cls/."
        )
    return _label_map(path, truth["Segmentation"].item(), "GTcls.Segmentation")


def _variable(path: Path, name: str) -> Any:
    from scipy.io import loadmat, whosmat  # a fifth of a second, which few runs need

    try:
        variables = loadmat(path, appendmat=False, variable_names=[name])
        others = [] if name in variables else [other for other, *_ in whosmat(path, appendmat=False)]
    except Exception as error:  # scipy raises ValueError, TypeError, zlib.error and others for broken files
        raise unreadable(path, "a MATLAB file", error) from error
    if name not in variables:
        raise DataError(f"{path}: the MATLAB file holds {', '.join(others) or 'nothing'}, expected a variable {name}.")
    return variables[name]


def _label_map(path: Path, variable: Any, name: str) -> LabelMap:
    values: npt.NDArray[Any] = np.asarray(variable)
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer):
        raise DataError(
            f"{path}: {name} is an array of {values.dtype} of shape {values.shape}, expected whole numbers of "
            "shape (height, width). Copy or download it again."
        )
    return values
