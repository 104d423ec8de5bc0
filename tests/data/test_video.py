"""Frames of videos."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from fakd.console import install_command
from fakd.data.spec import DataError
from fakd.data.video import VIDEO_SUFFIXES, count_frames, read_video

pytest.importorskip("av", reason="PyAV is not installed")
from videos import CODECS, noise, write_video


def fill(found: dict[int, Tensor], path: Path) -> None:
    for number, image in read_video(path):
        found[number] = image


def test_every_pixel_of_every_frame(tmp_path: Path) -> None:
    frames = noise(7)
    for suffix in (".mkv", ".avi", ".mov"):
        path = write_video(tmp_path / f"clip{suffix}", frames)
        numbers, images = zip(*read_video(path), strict=True)
        assert numbers == tuple(range(7))
        assert all(np.array_equal(image, frame.transpose(2, 0, 1)) for image, frame in zip(images, frames, strict=True))


@pytest.mark.parametrize("suffix", CODECS)
def test_every_third_frame(tmp_path: Path, suffix: str) -> None:
    frames = noise(8)
    path = write_video(tmp_path / f"clip{suffix}", frames)
    assert suffix in VIDEO_SUFFIXES
    found = dict(read_video(path, every=3))
    assert list(found) == [0, 3, 6]
    for number, image in found.items():
        assert image.shape == (3, 48, 72)
        assert abs(image.float().mean().item() - frames[number].mean()) < 5  # the last two codecs round
    assert count_frames(path) in (0, 8)


def test_is_turned_as_the_phone_was_held(tmp_path: Path) -> None:
    frames = noise(2)
    path = write_video(tmp_path / "clip.mov", frames)
    one, minus = (1 << 16).to_bytes(4, "big"), (-(1 << 16)).to_bytes(4, "big", signed=True)
    zero, unit = bytes(4), (1 << 30).to_bytes(4, "big")
    upright = one + zero + zero + zero + one + zero + zero + zero + unit
    # the matrix of QuickTime's file format for a quarter turn clockwise
    turned = zero + one + zero + minus + zero + zero + zero + zero + unit
    whole = path.read_bytes()
    track = whole.index(b"tkhd")
    start = whole.index(upright, track)
    path.write_bytes(whole[:start] + turned + whole[start + len(turned) :])
    (_, image), _ = read_video(path)
    assert np.array_equal(image, np.rot90(frames[0], -1).transpose(2, 0, 1))


def test_damage_comes_after_what_is_whole(tmp_path: Path) -> None:
    frames = noise(20)
    path = write_video(tmp_path / "clip.mov", frames)
    whole = bytearray(path.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 300] = bytes(300)
    path.write_bytes(whole)
    found: dict[int, Tensor] = {}
    with pytest.raises(
        DataError, match=r"clip\.mov: 19 frames could be decoded, but not all \(after frame \d+: .*damaged"
    ):
        fill(found, path)
    images = [image.numpy().transpose(1, 2, 0) for image in found.values()]
    assert len(images) == 19
    lost = [frame for frame in frames if not any(np.array_equal(frame, image) for image in images)]
    assert len(lost) == 1


@pytest.mark.parametrize("suffix", [".mkv", ".mov", ".mp4"])
def test_files_that_were_cut_short(tmp_path: Path, suffix: str) -> None:
    path = write_video(tmp_path / f"clip{suffix}", noise(100, (16, 16)))
    whole = path.read_bytes()
    for part in (0, 3, len(whole) // 2, len(whole) * 3 // 4):
        path.write_bytes(whole[:part])
        found: dict[int, Tensor] = {}
        with pytest.raises(DataError, match=rf"clip\{suffix}: .*truncated"):
            fill(found, path)
        assert len(found) < 100


def test_what_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n")
    with pytest.raises(DataError, match=r"list\.mp4: not readable as video"):
        list(read_video(tmp_path / "list.mp4"))
    with pytest.raises(DataError, match=r"no\.mp4: not readable as video"):
        list(read_video(tmp_path / "no.mp4"))
    assert count_frames(tmp_path / "no.mp4") == 0


def test_frames_that_memory_cannot_bear(tmp_path: Path, monkeypatch) -> None:
    path = write_video(tmp_path / "clip.mkv", noise(2))
    monkeypatch.setattr("fakd.data.video.MOST_PIXELS", 48 * 72 - 1)
    with pytest.raises(DataError, match=r"clip\.mkv: "):
        list(read_video(path))


def test_without_av(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape(install_command("video"))):
        next(read_video(tmp_path / "clip.mp4"))
