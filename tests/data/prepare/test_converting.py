"""Label maps as PNG: restartable, by several processes, and past damaged files."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fakd.data.paired_files import label_table
from fakd.data.prepare import converting as module
from fakd.data.prepare.converting import convert, translate, write_indices
from fakd.data.reading import read_mask
from fakd.data.spec import DataError

Jobs = list[tuple[Path, Path]]


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    """Twenty small arrays; that of number n holds n in one corner."""
    (tmp_path / "raw").mkdir()
    for number in range(20):
        np.save(tmp_path / "raw" / f"{number:02d}.npy", labels(number))
    return [(path, tmp_path / "png" / f"{path.stem}.png") for path in sorted((tmp_path / "raw").iterdir())]


def labels(number: int) -> npt.NDArray[np.integer]:
    result = np.zeros((4, 5), np.int64)
    result[0, 0], result[3, 4] = number, 255
    return result


def read_array(path: Path) -> npt.NDArray[np.integer]:
    """Read an array, as other processes can, too."""
    try:
        return np.load(path)  # type: ignore[no-any-return]
    except (ValueError, EOFError) as error:
        raise DataError("damaged") from error


def written(jobs: Jobs) -> dict[str, npt.NDArray[np.integer]]:
    return {target.stem: np.asarray(Image.open(target)) for _, target in jobs if target.exists()}


@pytest.mark.parametrize("workers", [0, 1])
def test_every_file_is_converted(jobs: Jobs, workers: int) -> None:
    convert("numbers", jobs, read_array, workers)
    assert {name: values.tolist() for name, values in written(jobs).items()} == {
        f"{number:02d}": labels(number).tolist() for number in range(20)
    }
    with Image.open(jobs[0][1]) as picture:
        assert (picture.mode, picture.format) == ("L", "PNG")


def test_several_processes_do_the_same(jobs: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    jobs[7][0].write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"1 of 20 label maps could not be converted") as error:
        convert("numbers", jobs, read_array, workers=2)
    assert f"{jobs[7][0]}: damaged" in str(error.value)
    assert sorted(written(jobs)) == [f"{number:02d}" for number in range(20) if number != 7]
    assert written(jobs)["19"].tolist() == labels(19).tolist()
    assert "converting 20 label maps: numbers" in capsys.readouterr().out


def test_damaged_files_are_named_and_all_others_converted(jobs: Jobs) -> None:
    for number in (3, 11):
        jobs[number][0].write_bytes(b"nonsense")
    with pytest.raises(DataError) as error:
        convert("numbers", jobs, read_array, workers=1)
    assert str(error.value) == (
        "numbers: 2 of 20 label maps could not be converted, all others were. Delete the damaged files and run the "
        f"same command again to extract them anew:\n  {jobs[3][0]}: damaged\n  {jobs[11][0]}: damaged"
    )
    assert len(written(jobs)) == 18


def test_many_damaged_files_are_not_all_listed(jobs: Jobs) -> None:
    for source, _ in jobs:
        source.write_bytes(b"nonsense")
    with pytest.raises(DataError, match=r"20 of 20") as error:
        convert("numbers", jobs, read_array, workers=1)
    assert len(str(error.value).splitlines()) == 12
    assert str(error.value).endswith("\n  and 10 more")


def test_an_interrupted_conversion_goes_on(jobs: Jobs) -> None:
    read: list[str] = []

    def interrupted(path: Path) -> npt.NDArray[np.integer]:
        if len(read) == 5:
            raise KeyboardInterrupt
        read.append(path.stem)
        return read_array(path)

    def counted(path: Path) -> npt.NDArray[np.integer]:
        read.append(path.stem)
        return read_array(path)

    with pytest.raises(KeyboardInterrupt):
        convert("numbers", jobs, interrupted, workers=1)
    assert sorted(written(jobs)) == read == ["00", "01", "02", "03", "04"]
    convert("numbers", jobs, counted, workers=1)
    assert read == [f"{number:02d}" for number in range(20)]  # none twice
    assert len(written(jobs)) == 20
    convert("numbers", jobs, counted, workers=1)
    assert len(read) == 20


def test_a_png_is_never_seen_half_written(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(picture: Image.Image, path: Path, **_: str) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.Image.Image, "save", broken)
    with pytest.raises(OSError, match="No space"):
        convert("numbers", jobs, read_array, workers=1)
    assert list((jobs[0][1].parent).iterdir()) == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 256]]), r"labels from 0 to 256, expected all in 0-255"),
        (np.array([[-1, 3]], np.int8), r"labels from -1 to 3, expected all in 0-255"),
    ],
)
def test_what_is_no_map_of_indices_is_not_written(
    tmp_path: Path, values: npt.NDArray[np.integer], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        write_indices(tmp_path / "x.png", values)
    assert list(tmp_path.iterdir()) == []


def test_indices_are_read_back_as_they_were_written(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 9))
    write_indices(tmp_path / "new" / "x.png", values)
    assert read_mask(tmp_path / "new" / "x.png").tolist() == values.tolist()


@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int64"])
def test_labels_are_translated(kind: str) -> None:
    table = label_table({0: 255, 1: 7, 200: 2, 300: 3}, size=301)
    assert translate(np.array([[0, 1], [200, 255]]).astype(kind), table).tolist() == [[255, 7], [2, 255]]
    if kind != "uint8":
        assert translate(np.array([[300]]).astype(kind), table).tolist() == [[3]]


@pytest.mark.parametrize("value", [2, -1, 301, 40000])
def test_an_unknown_label_is_refused(value: int) -> None:
    table = label_table({0: 255, 1: 7, 300: 2}, size=301)
    with pytest.raises(DataError, match=f"holds label {value}, which the data set does not have"):
        translate(np.array([[0, value]]), table)


def test_a_message_that_names_the_file_is_left_as_it_is(jobs: Jobs) -> None:
    def read(path: Path) -> npt.NDArray[np.integer]:
        raise DataError(f"{path}: the file is empty")

    with pytest.raises(DataError) as error:
        convert("numbers", jobs[:1], read, workers=1)
    assert str(error.value).count(str(jobs[0][0])) == 1
