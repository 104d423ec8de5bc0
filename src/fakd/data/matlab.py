"""Reading label maps from MATLAB files, the form in which two data sets are published."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fakd.data.spec import DataError

LabelMap = npt.NDArray[np.integer]
"""(H, W) raw label numbers."""


def read_context_mat(path: Path | str) -> LabelMap:
    """Read a label map of Pascal Context: `LabelMap`, with numbers from 1 to 459.

    Returns:
        (H, W), uint16 in the published files.

    Raises:
        DataError: The file is missing, empty, damaged, or holds something else.
    """
    path = Path(path)
    return _label_map(path, _variable(path, "LabelMap"), "LabelMap")


def read_sbd_mat(path: Path | str) -> LabelMap:
    """Read the class map of the Semantic Boundaries Dataset: `GTcls.Segmentation`, with classes from 0 to 20.

    Returns:
        (H, W), uint8 in the published files.

    Raises:
        DataError: The file is missing, empty, damaged, or holds something else.
    """
    path = Path(path)
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

    if not path.is_file():
        raise DataError(f"{path}: no such file. Check the path, or restore the file.")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty (0 bytes). Copy or download it again.")
    try:
        variables = loadmat(path, appendmat=False, variable_names=[name])
        others = [] if name in variables else [other for other, *_ in whosmat(path, appendmat=False)]
    except Exception as error:  # scipy raises ValueError, TypeError, zlib.error and others for broken files
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{path}: not readable as a MATLAB file ({reason}); the file is truncated, damaged or of another "
            "type. Copy or download it again."
        ) from error
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
