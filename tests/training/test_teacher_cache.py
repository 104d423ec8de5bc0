"""Runs with a teacher cache: the teacher runs once, and nothing wrong is ever read."""

import json
import multiprocessing
import os
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import pytest
import torch
import yaml
from safetensors.torch import load_file
from steps import Crash, crash_at

from fakd.data.teacher_logits import LogitStore
from fakd.evaluation import to_float_images
from fakd.methods import METHODS
from fakd.models import Segmentor, create_model, open_model, save_model
from fakd.training import DistillConfig, distill
from fakd.training import teacher_cache as module_under_test
from fakd.training.learner import Learner
from fakd.training.run import _open_data, load_teacher
from fakd.training.run_folder import RunFolder, check_same_options
from fakd.training.teacher_cache import TeacherCache
from fakd.types import SegmentationOutput

CPU = torch.device("cpu")
T = TypeVar("T")


def alone(mine: T) -> T:
    """What a process is told that has no others."""
    return mine


def opened(config: DistillConfig) -> TeacherCache:
    assert config.teacher_cache is not None
    return TeacherCache(config.teacher_cache, config, _open_data(config), load_teacher(config.teacher, config))


def filled(config: DistillConfig) -> tuple[TeacherCache, LogitStore]:
    cache = opened(config)
    return cache, cache.complete(CPU, on_image=lambda: None)


@pytest.fixture
def cached_config(distill_config, tmp_path):
    return lambda **changes: distill_config(**{"method": "cwd", "teacher_cache": tmp_path / "cache", **changes})


@pytest.fixture
def computed(monkeypatch) -> list[int]:
    """Notes the images whose logits are computed, by their number of pixels."""
    pixels: list[int] = []
    original = module_under_test._both_logits

    def noting(teacher, image, device):
        pixels.append(image.shape[-2:].numel())
        return original(teacher, image, device)

    monkeypatch.setattr(module_under_test, "_both_logits", noting)
    return pixels


@pytest.mark.parametrize(("form", "tolerance"), [("float16", 0.02), ("int8", 0.1)])
def test_maps_are_the_teachers_of_the_image_and_its_mirror_image(cached_config, form, tolerance) -> None:
    config = cached_config(teacher_cache_format=form)
    cache, store = filled(config)
    teacher = open_model(config.teacher)[0].eval()
    source = cache.data.source("train")
    for index in (0, 5):
        image = to_float_images(source[index].image)[None]
        for mirrored in (0, 1):
            with torch.no_grad():
                due = teacher(image.flip(-1) if mirrored else image).logits[0]
            found, size = store.read(2 * index + mirrored)
            assert size == (48, 72)
            assert found.shape == due.shape
            assert (found - due).abs().max() < tolerance


def test_the_second_run_neither_evaluates_nor_runs_the_teacher(cached_config, computed, monkeypatch, capsys) -> None:
    first = distill(cached_config())
    assert len(computed) == 8
    assert "computing the teacher's logits of 8 images: 65.5 kB in" in capsys.readouterr().out

    monkeypatch.setattr("fakd.training.run.evaluate_model", lambda *_, **__: pytest.fail("evaluated"))
    with pytest.raises(pytest.fail.Exception, match="evaluated"):  # the student, after its training
        distill(cached_config(output=cached_config().output.with_name("again")))
    assert len(computed) == 8
    assert "computing" not in capsys.readouterr().out
    assert first is not None


def test_training_sees_the_cut_logits_and_no_teacher(cached_config, monkeypatch) -> None:
    seen: list[tuple[int, ...]] = []
    original = Learner._ask_teacher

    def noting(self, images, cached):
        output = original(self, images, cached)
        assert self.teachers == ()
        assert torch.equal(output.logits, cached)
        seen.append((*output.logits.shape, output.features.shape[1]))
        return output

    monkeypatch.setattr(Learner, "_ask_teacher", noting)
    distill(cached_config())
    assert seen == [(2, 12, 4, 4, 0)] * 4


def test_resumed_is_bit_identical(cached_config, monkeypatch, tmp_path) -> None:
    settings = {"method": "fakd", "dropout": 0.5, "max_steps": 6}
    distill(cached_config(**settings, output=tmp_path / "whole"))
    with monkeypatch.context() as patch:
        crash_at(patch, 3)
        with pytest.raises(Crash):
            distill(cached_config(**settings))
    distill(cached_config(**settings, resume=True))
    one, other = (load_file(tmp_path / name / "student.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_build_that_was_killed_goes_on(cached_config, computed, monkeypatch, tmp_path) -> None:
    original = LogitStore.write

    def killed(self, number, *args):
        if number == 6:
            raise KeyboardInterrupt
        original(self, number, *args)

    with monkeypatch.context() as patch:
        patch.setattr(LogitStore, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            filled(cached_config())
    cache = opened(cached_config())
    (cache.folder / ".000007.safetensors.1.tmp").write_bytes(b"half")
    del computed[:]
    filled(cached_config())
    assert len(computed) == 5  # images 3 to 7
    assert not list(cache.folder.glob(".*.tmp"))


def test_damaged_maps_are_computed_anew_and_said(cached_config, computed, capsys) -> None:
    _, store = filled(cached_config())
    good = [store.path(number).read_bytes() for number in range(16)]
    maps = [store.read(number)[0].clone() for number in range(16)]
    store.path(0).write_bytes(good[0][:-3])
    store.path(5).write_bytes(good[5][:-3] + bytes([good[5][-3] ^ 16]) + good[5][-2:])
    store.path(9).write_bytes(good[8])
    del computed[:]
    capsys.readouterr()
    filled(cached_config())
    assert len(computed) == 3
    assert "3 of 16 maps are damaged, or of images that changed since" in capsys.readouterr().out
    assert all(torch.equal(store.read(number)[0], maps[number]) for number in range(16))


def test_another_teacher_size_or_format_has_another_folder(cached_config, teacher_run, tmp_path) -> None:
    other = open_model(teacher_run)[0]
    with torch.no_grad():
        other.classifier.weight[0, 0] += 1e-6
    save_model(other, tmp_path / "other.safetensors", {})
    changes = [{}, {"teacher": tmp_path / "other.safetensors"}, {"base_size": (48, 64)}]
    changes.append({"teacher_cache_format": "float16"})
    assert len({opened(cached_config(**change)).folder for change in changes}) == 4
    shutil.copy(teacher_run / "student.safetensors", tmp_path / "copy.safetensors")
    assert opened(cached_config(teacher=tmp_path / "copy.safetensors")).folder == opened(cached_config()).folder
    assert opened(cached_config(seed=3, method="fakd", max_steps=9)).folder == opened(cached_config()).folder


def test_an_image_that_changed_is_computed_anew(distill_config, computed, tmp_path, teacher_run) -> None:
    from PIL import Image

    root = tmp_path / "data"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for name in ("a", "b", "v"):
        Image.new("RGB", (72, 48), (90, 20, 40)).save(root / f"images/{name}.png")
        Image.new("L", (72, 48), 0).save(root / f"masks/{name}.png")
    (root / "val.txt").write_text("v\n")
    (root / "classes.txt").write_text("\n".join(f"class{number}" for number in range(12)))
    config = distill_config(dataset="folder", data_root=root, teacher_cache=tmp_path / "cache", method="cwd")
    _, store = filled(config)
    assert len(computed) == 2
    before = store.read(2)[0]
    Image.new("RGB", (72, 56), (0, 200, 40)).save(root / "images/b.png")
    Image.new("L", (72, 56), 0).save(root / "masks/b.png")
    with pytest.raises(ValueError, match="removed, damaged or replaced"):
        LogitStore(store.folder, [*store.labels[:2], "x", "y"], 12, store.stride, store.form).read(2)
    _, again = filled(config)
    assert len(computed) == 3
    assert not torch.equal(again.read(2)[0], before)


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


def test_too_little_room_is_said_before_anything_is_computed(cached_config, computed, monkeypatch) -> None:
    monkeypatch.setattr(module_under_test.shutil, "disk_usage", lambda _: SimpleNamespace(free=(64 << 20) + 1000))
    with pytest.raises(OSError, match=r"needs 65\.5 kB in .*, where 1\.0 kB are free: make room"):
        filled(cached_config())
    assert computed == []


def test_the_room_foretold_is_what_the_files_take(cached_config) -> None:
    for form in ("int8", "float16", "top8"):
        cache, store = filled(cached_config(teacher_cache_format=form))
        taken = sum(-(-path.stat().st_size // 4096) * 4096 for path in cache.folder.glob("*.safetensors"))
        assert taken == cache._room(store, list(range(8)))


@pytest.mark.parametrize("method", [name for name in METHODS if name != "none"])
def test_exactly_the_methods_that_read_features_are_refused(distill_config, tmp_path, method) -> None:
    read: set[str] = set()

    class Watched(SegmentationOutput):
        def __getattribute__(self, name):
            if name in SegmentationOutput._fields:
                read.add(name)
            return super().__getattribute__(name)

    student = create_model("pspnet/test_resnet.r160_in1k", num_classes=5, channels=8)
    teacher = create_model("pspnet/test_resnet.r160_in1k", num_classes=5, channels=8).eval()
    images, labels = torch.rand(2, 3, 32, 32), torch.randint(5, (2, 32, 32))
    output = student(images)
    Method = METHODS[method]
    Method(student, teacher, max_steps=9)(output, Watched(*teacher(images)), labels, 3, images=images)
    assert Method.needs == ("logits" if read == {"logits"} else "features")
    if Method.needs == "features":
        with pytest.raises(ValueError, match=rf"{method}.* features, .* choose one of the methods none, pixel, cwd"):
            distill_config(method=method, teacher_cache=tmp_path / "cache")


def test_options_that_do_not_go_together(cached_config, tmp_path) -> None:
    with pytest.raises(ValueError, match="lies in the run folder"):
        cached_config(teacher_cache=tmp_path / "run/cache")
    assert cached_config(teacher_cache=str(tmp_path / "cache")).teacher_cache == tmp_path / "cache"


def test_a_run_from_before_there_were_caches_can_be_resumed(distill_config, tmp_path) -> None:
    config = distill_config(method="cwd", resume=True)
    before = {key: value for key, value in config.to_dict().items() if not key.startswith("teacher_cache")}
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    folder.config.write_text(yaml.safe_dump(before))
    check_same_options(config, folder)
    with pytest.raises(ValueError, match="teacher_cache was None and is"):
        check_same_options(distill_config(method="cwd", resume=True, teacher_cache=tmp_path / "cache"), folder)


def _fill_in_a_process(config: DistillConfig) -> None:
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    original = Segmentor.forward
    count = 0

    def counting(self, images):
        nonlocal count
        count += len(images) == 2
        return original(self, images)

    Segmentor.forward = counting  # type: ignore[method-assign]
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
