from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from scipy.sparse import csc_matrix

from fakd.data.matlab import read_context_mat, read_sbd_mat
from fakd.data.spec import DataError

VALUES = np.arange(12).reshape(3, 4)


def _sbd(segmentation: np.ndarray) -> dict[str, object]:
    """The variable of a file in SBD's folder cls/."""
    boundaries = np.empty((20, 1), dtype=object)
    for row in range(20):
        boundaries[row, 0] = csc_matrix(segmentation == row)
    return {"GTcls": {"Boundaries": boundaries, "Segmentation": segmentation, "CategoriesPresent": np.array([[3]])}}


@pytest.mark.parametrize("shape", [(3, 4), (1, 12), (12, 1), (1, 1)])
def test_context(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.resize(VALUES * 41, shape).astype(np.uint16)
    savemat(tmp_path / "a.mat", {"LabelMap": values}, do_compression=True)
    read = read_context_mat(tmp_path / "a.mat")
    assert read.dtype == np.uint16
    assert np.array_equal(read, values)


@pytest.mark.parametrize("shape", [(3, 4), (1, 12), (1, 1)])
def test_sbd(tmp_path: Path, shape: tuple[int, int]) -> None:
    values = np.resize(VALUES, shape).astype(np.uint8)
    savemat(tmp_path / "a.mat", _sbd(values))
    read = read_sbd_mat(str(tmp_path / "a.mat"))
    assert read.dtype == np.uint8
    assert np.array_equal(read, values)


@pytest.mark.parametrize("read", [read_context_mat, read_sbd_mat])
def test_damaged_files(tmp_path: Path, read) -> None:
    path = tmp_path / "a.mat"
    with pytest.raises(DataError, match=r"a\.mat: no such file"):
        read(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.mat: the file is empty \(0 bytes\)"):
        read(path)
    path.write_text("<html>404</html>" * 50)
    with pytest.raises(DataError, match=r"a\.mat: not readable as a MATLAB file \("):
        read(path)
    noise = np.random.default_rng(0).integers(0, 9, (80, 90)).astype(np.uint16)
    savemat(path, {"LabelMap": noise, **_sbd(noise)}, do_compression=True)
    read(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a\.mat: not readable as a MATLAB file \("):
        read(path)


def test_other_contents(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    savemat(path, _sbd(VALUES))
    with pytest.raises(DataError, match=r"a\.mat: the MATLAB file holds GTcls, expected a variable LabelMap"):
        read_context_mat(path)
    savemat(path, {"GTcls": {"Boundaries": VALUES}})
    with pytest.raises(DataError, match=r"a\.mat: GTcls has no field Segmentation"):
        read_sbd_mat(path)
    savemat(path, {"GTcls": VALUES})
    with pytest.raises(DataError, match=r"a\.mat: GTcls has no field Segmentation"):
        read_sbd_mat(path)
    savemat(path, {"LabelMap": VALUES.astype(np.float64) / 2})
    with pytest.raises(DataError, match=r"LabelMap is an array of float64 of shape \(3, 4\), expected whole numbers"):
        read_context_mat(path)
    savemat(path, {"LabelMap": np.zeros((2, 3, 3), dtype=np.uint8)})
    with pytest.raises(DataError, match=r"shape \(2, 3, 3\), expected whole numbers of shape \(height, width\)"):
        read_context_mat(path)
