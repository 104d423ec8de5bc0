"""What is meant by images."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from fakd.evaluation.images import find_sources

OUT = Path("out")


@pytest.fixture
def touch(tmp_path: Path, monkeypatch) -> Callable[..., None]:
    monkeypatch.chdir(tmp_path)

    def make(*names: str) -> None:
        for name in names:
            path = Path(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()

    return make


def places(*given: str) -> dict[str, str]:
    sources = find_sources(map(Path, given), OUT)
    return {str(source.path): source.place.as_posix() for source in sources}


def test_files_folders_and_patterns(touch) -> None:
    touch("a/1.jpg", "a/deep/2.PNG", "a/notes.txt", "a/.hidden.png", "a/clip.mp4", "b/1.jpg", "b/3.tif")
    assert places("a/1.jpg") == {"a/1.jpg": "1"}
    assert places("a/notes.txt") == {"a/notes.txt": "notes"}  # named, so meant
    assert places("a") == {"a/1.jpg": "1", "a/deep/2.PNG": "deep/2"}
    assert places("a/*") == {"a/1.jpg": "1", "a/clip.mp4": "clip"}
    assert places("a/**/*.[pP]*") == {"a/deep/2.PNG": "deep/2"}
    assert places("**/*.jpg") == {"a/1.jpg": "a/1", "b/1.jpg": "b/1"}
    assert places("b/3.tif", "b/1.jpg") == {"b/3.tif": "3", "b/1.jpg": "1"}  # in the order given
    # what the shell made of */*.jpg, twice
    assert places("a/1.jpg", "b/1.jpg", "a/1.jpg") == {"a/1.jpg": "a/1", "b/1.jpg": "b/1"}
    assert places("b", "a/clip.mp4") == {"b/1.jpg": "b/1", "b/3.tif": "b/3", "a/clip.mp4": "a/clip"}
    assert places(os.path.abspath("a/1.jpg"), "b/../a/1.jpg") == {os.path.abspath("a/1.jpg"): "1"}


def test_folders_are_walked_as_for_training(touch, monkeypatch) -> None:
    touch("in/a.jpg", "in/.ipynb_checkpoints/a-checkpoint.jpg", "store/b.jpg")
    Path("in/linked").symlink_to(Path("store").absolute())
    Path("in/loop").symlink_to(Path("in").absolute())
    assert places("in") == {"in/a.jpg": "a", "in/linked/b.jpg": "linked/b"}

    def refuse(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError, match="Permission denied: 'in'"):
        places("in")


def test_names_that_look_like_patterns(touch) -> None:
    touch("[a].jpg", "a.jpg", "[b]/1.jpg")
    assert places("[a].jpg") == {"[a].jpg": "[a]"}
    assert places("[a]*") == {"a.jpg": "a"}
    assert places("[b]") == {"[b]/1.jpg": "1"}


def test_suffixes_stay_where_names_would_collide(touch) -> None:
    touch("in/x.jpg", "in/x.png", "in/y.jpg", "in/clip.mp4", "in/clip/000001.jpg", "in/b.c.png", "in/b.png")
    assert places("in/*", "in") == {
        "in/b.c.png": "b.c",
        "in/b.png": "b",
        "in/clip.mp4": "clip.mp4",  # as clip/ is a folder of images
        "in/x.jpg": "x.jpg",
        "in/x.png": "x.png",
        "in/y.jpg": "y",
        "in/clip/000001.jpg": "clip/000001",
    }


def test_masks_are_no_images(touch) -> None:
    touch("in/x.jpg", "in/out/labels/x.png")
    sources = find_sources([Path("in")], Path("in/out"))
    assert [source.path for source in sources] == [Path("in/x.jpg")]


@pytest.mark.parametrize("given", ["nowhere", "in/*.png", "in", "*"])
def test_nothing_there(touch, given: str) -> None:
    touch("in/notes.txt", "x.jpg")
    with pytest.raises(FileNotFoundError, match=r"no image at .*: expected a file, a folder"):
        places("x.jpg", given if given != "*" else "in/**/*")
