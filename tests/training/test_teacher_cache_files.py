"""What is in a teacher cache: nothing wrong is ever read, and what is right is kept."""

import json
import multiprocessing
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import pytest
import torch
import torchvision
from cached_teacher import CPU, files, filled, opened
from PIL import Image

from fakd.data import DataError
from fakd.data.sets.toy_scenes import TOY_SCENES
from fakd.data.teacher_logits import LogitStore
from fakd.models import open_model, save_model
from fakd.training import DistillConfig
from fakd.training import teacher_cache as module_under_test
from fakd.training.run_data import open_data
from fakd.training.teacher_cache import TeacherCache

T = TypeVar("T")


def alone(mine: T) -> T:
    """What a process is told that has no others."""
    return mine


def test_a_build_that_was_stopped_goes_on_to_the_same_files(cached_config, written, tmp_path) -> None:
    class Stop(Exception):
        """What the user's stop raises."""

    whole = filled(cached_config(teacher_cache=tmp_path / "whole")).logits
    del written[:]

    def stop() -> None:
        if len(written) == 3:
            raise Stop

    with pytest.raises(Stop):
        opened(cached_config()).complete(CPU, on_image=stop)
    assert len(files(cached_config())) == 3
    half = opened(cached_config()).folder / ".000007-v00.safetensors.1.tmp"
    half.write_bytes(b"half")
    del written[:]
    again = filled(cached_config())
    assert len(written) == 5
    assert not half.exists()
    assert all(torch.equal(again.logits.read(*view), whole.read(*view)) for view in again.needed([1] * len(again)))


def test_damaged_files_are_computed_anew_and_said(cached_config, written, capsys) -> None:
    config = cached_config(teacher_views=2, max_steps=8)
    store = filled(config).logits
    views = [(view, index) for index in range(8) for view in range(2)]
    good = {view: store.path(*view).read_bytes() for view in views}
    maps = {view: store.read(*view).clone() for view in views}
    store.path(0, 0).write_bytes(good[0, 0][:-3])
    store.path(1, 2).write_bytes(good[1, 2][:-3] + bytes([good[1, 2][-3] ^ 16]) + good[1, 2][-2:])
    store.path(1, 4).write_bytes(good[0, 4])
    del written[:]
    capsys.readouterr()
    filled(config)
    assert sorted(written) == [(0, 0), (1, 2), (1, 4)]
    assert "3 files are damaged, or of images that changed since" in capsys.readouterr().out
    assert all(torch.equal(store.read(*view), maps[view]) for view in views)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_file_that_breaks_while_training_stops_the_run(cached_config, workers) -> None:
    cache = opened(cached_config(workers=workers))
    cache.data.taught = cache.complete(CPU, on_image=lambda: None)
    for path in cache.folder.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="removed, damaged or replaced since the run began"):
        next(iter(cache.data.train_dataloader()))


def test_whatever_a_crop_depends_on_has_a_folder_of_its_own(cached_config, teacher_run, tmp_path, monkeypatch) -> None:
    other = open_model(teacher_run)[0]
    with torch.no_grad():
        other.classifier.weight[0, 0] += 1e-6
    save_model(other, tmp_path / "other.safetensors", {})
    changes = [{}, {"teacher": tmp_path / "other.safetensors"}, {"base_size": (48, 64)}, {"crop_size": (32, 40)}]
    changes += [{"teacher_cache_format": "float16"}, {"scale": (0.5, 1.5)}, {"photometric": True}]
    folders = [opened(cached_config(**change)).folder for change in changes]
    config, cache = cached_config(), opened(cached_config())
    for setting in ({"flip": 0.4}, {"max_class_share": 0.7}):
        data = open_data(config)
        data.train_transform = replace(data.train_transform, **setting)
        folders.append(TeacherCache(cache.root, config, data, cache.teacher).folder)
    for library in (torch, torchvision):
        with monkeypatch.context() as patch:
            patch.setattr(library, "__version__", "99.0")
            folders.append(TeacherCache(cache.root, config, cache.data, cache.teacher).folder)
    assert len(set(folders)) == len(folders) == 11
    shutil.copy(teacher_run / "student.safetensors", tmp_path / "copy.safetensors")
    same = {"teacher": tmp_path / "copy.safetensors", "seed": 3, "method": "fakd", "max_steps": 9, "teacher_views": 5}
    assert opened(cached_config(**same, batch_size=4, workers=1)).folder == folders[0]


def test_images_and_labels_that_changed_are_computed_anew(distill_config, written, tmp_path) -> None:
    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b", "v"):
        Image.new("RGB", (72, 48), (90, 20, 40)).save(root / f"images/{name}.png")
        Image.new("L", (72, 48), 0).save(root / f"masks/{name}.png")
    (root / "val.txt").write_text("v\n")
    (root / "classes.txt").write_text("\n".join(TOY_SCENES.classes))
    config = distill_config(
        dataset="folder", data_root=root, teacher_cache=tmp_path / "cache", method="cwd", teacher_views=1
    )
    before = filled(config).logits
    old = before.read(0, 1)
    assert sorted(written) == [(0, 0), (0, 1)]
    Image.new("RGB", (72, 56), (0, 200, 40)).save(root / "images/b.png")
    Image.new("L", (72, 56), 0).save(root / "masks/b.png")
    again = filled(config).logits
    assert written[2:] == [(0, 1)]
    assert not torch.equal(again.read(0, 1), old)
    assert not before.is_right(0, 1)
    Image.new("L", (72, 48), 1).save(root / "masks/a.png")  # a crop is drawn again where one class fills it
    filled(config)
    assert written[3:] == [(0, 0)]


def test_scores_are_kept_until_a_label_changes(cached_config, monkeypatch) -> None:
    cache = opened(cached_config())
    assert cache.confusion(lambda: torch.tensor([[1, 2], [3, 4]]), alone).tolist() == [[1, 2], [3, 4]]
    assert cache.confusion(lambda: pytest.fail("counted"), alone).tolist() == [[1, 2], [3, 4]]
    assert opened(cached_config(flip=True)).confusion(lambda: torch.tensor([[5]]), alone).tolist() == [[5]]
    cache.data.source("val")._labels[0, 0, 0] ^= 1
    assert cache.confusion(lambda: torch.tensor([[6]]), alone).tolist() == [[6]]
    cache.data.source("val")._labels[0, 0, 0] ^= 1
    (file,) = [path for path in cache.root.glob("*-val-*") if b"\x01\0\0\0\0\0\0\0\x02" in path.read_bytes()]
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    assert cache.confusion(lambda: torch.tensor([[7]]), alone).tolist() == [[7]]


def test_only_the_first_process_looks_whether_scores_are_kept(cached_config, monkeypatch) -> None:
    cache, counted = opened(cached_config()), torch.tensor([[1]])
    monkeypatch.setenv("RANK", "1")
    for told, due in ((None, counted), ({"confusion": torch.tensor([[2]])}, torch.tensor([[2]]))):
        given: list[object] = []

        def broadcast(mine: object, told: object = told, given: list[object] = given) -> object:
            given.append(mine)
            return told

        assert torch.equal(cache.confusion(lambda: counted, broadcast), due)
        assert given == [None]
    assert list(cache.root.glob("*-val-*")) == []
    monkeypatch.setenv("RANK", "0")
    cache.confusion(lambda: counted, alone)
    monkeypatch.setenv("RANK", "1")
    assert cache.confusion(lambda: torch.tensor([[3]]), lambda _: None).tolist() == [[3]]  # whatever it could see


def test_too_little_room_is_said_before_anything_is_computed(cached_config, written, monkeypatch) -> None:
    monkeypatch.setattr(module_under_test.shutil, "disk_usage", lambda _: SimpleNamespace(free=(64 << 20) + 1000))
    with pytest.raises(OSError, match=r"needs 32\.8 kB in .*, where 1\.0 kB are free: make.* fewer --teacher-views"):
        filled(cached_config())
    assert written == []


@pytest.mark.parametrize("form", ["int8", "float16", "top8"])
def test_the_room_foretold_is_what_the_files_take(cached_config, form) -> None:
    config = cached_config(teacher_cache_format=form, crop_size=(70, 90))  # no multiples of the stride
    cache, store = opened(config), filled(config).logits
    taken = sum(-(-path.stat().st_size // 4096) * 4096 for path in cache.folder.glob("*.safetensors"))
    assert taken == cache._room(store, 8, CPU)


def _fill_in_a_process(config: DistillConfig) -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    original = LogitStore.write
    count = 0

    def counting(self, *args):
        nonlocal count
        count += 1
        original(self, *args)

    LogitStore.write = counting  # type: ignore[method-assign]
    filled(config)
    assert config.output is not None
    config.output.parent.joinpath(f"count-{os.getpid()}.json").write_text(json.dumps(count))


@pytest.mark.slow
def test_two_processes_at_once_share_the_work(cached_config, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_fill_in_a_process, args=(cached_config(),)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert sorted(json.loads(path.read_text()) for path in tmp_path.glob("count-*.json")) == [0, 8]
