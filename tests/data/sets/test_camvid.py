from pathlib import Path

import pytest
import torch
from PIL import Image
from shared import SHARED

from fakd.data import DATASETS, DataError, get_dataset
from fakd.data.sets.camvid import CAMVID

REAL = SHARED / "data" / "camvid"
needs_files = pytest.mark.skipif(not REAL.is_dir(), reason=f"the CamVid files are not at {REAL}")


def test_description() -> None:
    assert CAMVID.num_classes == 11
    assert CAMVID.classes[0] == "sky"
    assert CAMVID.classes[-1] == "bicyclist"
    assert len(set(CAMVID.palette)) == 11
    assert CAMVID.needs_root
    assert "research" in CAMVID.notice


def test_datasets_by_name() -> None:
    assert get_dataset("camvid") is CAMVID
    assert all(name == spec.name for name, spec in DATASETS.items())
    with pytest.raises(ValueError, match=r"no data set 'camvd'; choose one of .*camvid, .*toy-scenes"):
        get_dataset("camvd")


def test_missing_root_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no root was given; expected a folder that contains train/, trainannot/"):
        CAMVID.open(None, "train")
    with pytest.raises(DataError, match=r"gone: no such folder; for camvid expected .* train/, trainannot/"):
        CAMVID.open(tmp_path / "gone", "train")
    (tmp_path / "val").mkdir()
    with pytest.raises(DataError, match=r"valannot/ missing; for camvid expected .* val/, valannot/"):
        CAMVID.open(tmp_path, "val")
    with pytest.raises(DataError, match="no split 'trian', expected one of train, val, test"):
        CAMVID.open(tmp_path, "trian")


def test_label_12_is_refused(write_pair, tmp_path: Path) -> None:
    _, mask = write_pair()
    torch_values = torch.zeros(8, 12, dtype=torch.uint8)
    torch_values[3, 4] = 12
    Image.fromarray(torch_values.numpy()).save(mask)
    with pytest.raises(DataError, match=r"a\.png: label value 12 outside the classes, expected only 0-11, 255"):
        CAMVID.open(tmp_path, "train").check()


@needs_files
def test_real_files() -> None:
    seen: set[int] = set()
    for split, count in (("train", 367), ("val", 101)):
        source = CAMVID.open(REAL, split)
        assert len(source) == count
        source.check()
        for index in range(0, count, 10):
            image, label, name = source[index][:3]
            assert image.shape == (3, 360, 480)
            assert label.shape == (360, 480)
            assert name.startswith(f"{split}/")
            seen |= set(label.unique().tolist())
    assert seen == {*range(11), 255}
