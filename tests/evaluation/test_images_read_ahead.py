"""Images that are read in the background and grouped by size."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fakd.evaluation.images import Frame, Frames, by_size, find_sources, in_background
from fakd.evaluation.scores import class_frequencies


def frame(name: str, height: int, width: int, fitted: int = 8) -> Frame:
    image = torch.empty(1, 1, 1, dtype=torch.uint8).expand(3, height, width)
    return Frame(name, Path(name), image, torch.empty(3, fitted, fitted, dtype=torch.uint8))


def names(groups) -> list[str]:
    return ["".join(one.title for one in group) for group in groups]


def test_groups_of_one_size() -> None:
    frames = [frame("a", 4, 6), frame("b", 6, 4), frame("c", 4, 6), frame("d", 4, 6), frame("e", 6, 4)]
    assert names(by_size(frames, 2, 10**9)) == ["ac", "be", "d"]
    assert names(by_size(frames, 1, 10**9)) == ["a", "b", "c", "d", "e"]
    assert names(by_size(frames, 9, 10**9)) == ["acd", "be"]
    # 24 pixels each
    assert names(by_size(frames, 9, 48)) == ["ac", "be", "d"]
    assert names(by_size(frames, 9, 10)) == ["a", "b", "c", "d", "e"]
    assert names(by_size([frame("a", 4, 6, 8), frame("b", 4, 6, 9)], 2, 10**9)) == ["a", "b"]


def test_few_wait_for_others_of_their_size() -> None:
    taken = []

    def frames():
        for index in range(300):
            taken.append(index)
            yield frame(str(index), index + 1, 1)

    seen = 0
    for group in by_size(frames(), 8, 10**9):
        assert len(taken) - seen <= 8 + 32 + 1
        seen += len(group)
    assert seen == 300
    # 86 MB each: the fourth makes the first go
    large = [frame(str(index), 3200 + index, 9000) for index in range(4)]
    groups = by_size(large, 8, 10**9)
    assert next(groups)[0].title == "0"


@pytest.mark.parametrize("workers", [0, 2])
def test_everything_is_read_once(tmp_path: Path, workers: int) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    from videos import noise, write_video

    for index in range(5):
        Image.new("RGB", (20 + index, 10), (index, 0, 0)).save(tmp_path / f"{index}.png")
    (tmp_path / "bad.png").write_bytes(b"nothing")
    write_video(tmp_path / "clip.mkv", noise(4))
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    sources = find_sources([tmp_path / "*"], tmp_path / "out")
    found = list(in_background(Frames(sources, (5, 10), every=2), workers))
    whole = {one.place.as_posix(): one for one in found if not one.fault}
    assert sorted(whole) == ["0", "1", "2", "3", "4", "clip/000000", "clip/000002"]
    assert whole["3"].image is not None
    assert whole["3"].image[:, 0, 0].tolist() == [3, 0, 0]
    assert whole["3"].image.shape == (3, 10, 23)
    assert whole["0"].fitted.shape == (3, 5, 10)
    assert np.array_equal(whole["clip/000002"].image, noise(4)[2].transpose(2, 0, 1))
    assert whole["clip/000002"].title == f"{tmp_path}/clip.mkv:2"
    faults = Counter(one.title for one in found if one.fault)
    assert faults == {f"{tmp_path}/bad.png": 1, f"{tmp_path}/bad.mp4": 1}


def test_shares() -> None:
    labels = np.random.default_rng(0).choice([0, 1, 3, 255], (30, 41), p=[0.5, 0.2, 0.2, 0.1])
    expected = [(labels == index).mean() for index in range(5)]
    assert class_frequencies(torch.from_numpy(labels), 5).tolist() == pytest.approx(expected, abs=1e-12)
    assert class_frequencies(torch.zeros(2, 2, dtype=torch.uint8), 3).tolist() == [1, 0, 0]


def test_too_little_shared_memory_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue between processes would print it, and be waited for without end."""
    Image.new("RGB", (20, 10)).save(tmp_path / "a.png")

    def fail(tensor: torch.Tensor) -> None:
        raise RuntimeError(
            "unable to allocate shared memory(shm) for file </torch_7_1_0>: No space left on device (28)"
        )

    monkeypatch.setattr(torch.Tensor, "share_memory_", fail)
    with pytest.raises(RuntimeError, match="unable to allocate shared memory"):
        list(in_background(Frames(find_sources([tmp_path])), 1))
    assert len(list(in_background(Frames(find_sources([tmp_path])), 0))) == 1
