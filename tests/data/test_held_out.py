"""Images that are held out of training: which they are, and that nothing else is looked at."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from colour_source import ColourSource
from tiny import SMALL

from fakd.data import DATASETS, DataError, DatasetSpec, Source
from fakd.data.held_out import chosen, with_held_out
from fakd.data.paired_files import PairedFiles, image_identity, label_table


def names(source: Source) -> list[str]:
    return [source[index].name for index in range(len(source))]


def opened(spec: DatasetSpec) -> tuple[list[str], list[str]]:
    return names(spec.open(None, "train")), names(spec.open(None, "val"))


def test_the_training_images_are_parted(colour_spec) -> None:
    train, val = opened(with_held_out(colour_spec, 0.4))
    whole = names(ColourSource(count=7))
    assert sorted(train + val) == sorted(whole)
    assert train
    assert val
    assert (train, val) == opened(with_held_out(colour_spec, 0.4))


def test_samples_are_those_of_the_whole() -> None:
    part, whole = with_held_out(SMALL, 0.3).open(None, "val"), SMALL.open(None, "train")
    for sample in (part[index] for index in range(len(part))):
        same = whole[int(sample.name.rpartition("/")[2])]
        assert torch.equal(sample.image, same.image)
        assert torch.equal(sample.label, same.label)
    with pytest.raises(IndexError):
        part[len(part)]


def test_files_stay_files(write_pair, tmp_path) -> None:
    for name in "abcdefgh":
        write_pair(f"{name}.png", f"{name}.png")
    table = label_table({index: index for index in range(12)})

    def open_files(root: Path | None, split: str) -> PairedFiles:
        assert split == "train"  # val is not there
        images = sorted((tmp_path / "train").glob("*.png"))
        return PairedFiles(tmp_path, [(path, tmp_path / "trainannot" / path.name) for path in images], table)

    spec = replace(DATASETS["camvid"], open=open_files)
    parts = {split: with_held_out(spec, 0.3).open(tmp_path, split) for split in ("train", "val")}
    assert all(isinstance(part, PairedFiles) for part in parts.values())
    assert sorted(names(parts["train"]) + names(parts["val"])) == [f"train/{name}" for name in "abcdefgh"]
    for part in parts.values():
        part.check()
        assert part.pixels is not None
        assert image_identity(part, 0) in {image_identity(open_files(None, "train"), index) for index in range(8)}
    assert with_held_out(spec, 0.3).counts == {}


def test_a_new_name_moves_no_other() -> None:
    files = [f"{number}.png" for number in range(200)]
    before = {files[place] for place in chosen(files, 0.2)}
    more = sorted([*files, "new.png", "1.jpg"])
    assert {more[place] for place in chosen(more, 0.2)} - {"new.png", "1.jpg"} == before
    assert 20 < len(before) < 60


def test_too_few_images(colour_spec) -> None:
    spec = replace(colour_spec, open=lambda root, split: ColourSource(count=1))
    with pytest.raises(DataError, match="colours has 1 training image, expected two or more"):
        with_held_out(spec, 0.5).open(None, "train")
    both = with_held_out(replace(spec, open=lambda root, split: ColourSource(count=2)), 0.001)
    assert [len(both.open(None, split)) for split in ("train", "val")] == [1, 1]
