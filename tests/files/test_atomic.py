"""What may be written where."""

import pytest

from fakd.files.atomic import check_free


def test_nothing_is_replaced_unasked(tmp_path) -> None:
    check_free(tmp_path / "new", overwrite=False)
    (tmp_path / "old").touch()
    check_free(tmp_path / "old", overwrite=True)
    with pytest.raises(FileExistsError, match=r"old exists\. Choose another name"):
        check_free(tmp_path / "old", overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_is_no_file(overwrite, tmp_path) -> None:
    with pytest.raises(FileExistsError, match="is a folder: name a file"):
        check_free(tmp_path, overwrite)
