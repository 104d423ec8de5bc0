"""Runs with a teacher cache: the teacher runs once, and nothing wrong is ever read."""

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
import yaml
from PIL import Image
from safetensors.torch import load_file
from steps import Crash, crash_at

from fakd.data import DataError, Sample
from fakd.data.teacher_logits import LogitStore
from fakd.data.views import TaughtViews, View
from fakd.evaluation import to_float_images
from fakd.methods import METHODS
from fakd.models import create_model, open_model, save_model
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


def filled(config: DistillConfig) -> TaughtViews:
    return opened(config).complete(CPU, on_image=lambda: None)


def files(config: DistillConfig) -> dict[str, int]:
    """When each file of logits was written."""
    return {path.name: path.stat().st_mtime_ns for path in opened(config).folder.glob("*.safetensors")}


@pytest.fixture
def cached_config(distill_config, tmp_path):
    return lambda **changes: distill_config(**{"method": "cwd", "teacher_cache": tmp_path / "cache", **changes})


@pytest.fixture
def written(monkeypatch) -> list[View]:
    """Notes the views whose logits are written."""
    views: list[View] = []
    original = LogitStore.write

    def noting(self, view, index, logits):
        original(self, view, index, logits)
        views.append((view, index))

    monkeypatch.setattr(LogitStore, "write", noting)
    return views


@pytest.fixture
def trained_on(monkeypatch) -> list[Sample]:
    """Notes the batches that a student is trained on."""
    batches: list[Sample] = []
    original = Learner.forward

    def noting(self, batch, step):
        assert self.teachers == ()
        batches.append(batch)
        return original(self, batch, step)

    monkeypatch.setattr(Learner, "forward", noting)
    return batches


@pytest.mark.parametrize(
    ("form", "photometric", "workers"),
    [("float16", False, 0), ("float16", True, 1), ("int8", True, 0), ("int8", False, 1)],
)
def test_logits_are_the_teachers_of_exactly_the_crop(
    cached_config, trained_on, monkeypatch, form, photometric, workers
) -> None:
    config = {"teacher_cache_format": form, "photometric": photometric, "workers": workers, "crop_size": (56, 40)}
    config |= {"teacher_views": 3, "max_steps": 14}
    with monkeypatch.context() as patch:
        crash_at(patch, 9)
        with pytest.raises(Crash):
            distill(cached_config(**config))
    distill(cached_config(**config, resume=True))
    assert len(trained_on) == 9 + 6  # from the checkpoint after step 8 on
    teacher = open_model(cached_config().teacher)[0].eval()
    for batch in trained_on:
        with torch.no_grad():
            due = teacher(to_float_images(batch.image)).logits
        if form == "float16":
            torch.testing.assert_close(batch.teacher_logits, due, rtol=1e-3, atol=1e-4)
        else:
            half_step = (due.amax((2, 3), keepdim=True) - due.amin((2, 3), keepdim=True)) / 510
            assert ((batch.teacher_logits - due).abs() <= half_step + 1e-4).all()
    top, _, height, _, flipped = torch.cat([batch.geometry for batch in trained_on]).unbind(-1)
    assert set(flipped.tolist()) == {0, 1}
    assert ((top < 0) | (top + height > 1)).any()  # padded
    assert ((top >= 0) & (top + height <= 1)).any()


def test_the_second_run_neither_evaluates_nor_asks_the_teacher(cached_config, written, monkeypatch, capsys) -> None:
    first = distill(cached_config())
    assert first is not None
    assert len(written) == 8
    output = capsys.readouterr().out
    assert "asking the teacher about 8 crops: 32.8 kB in" in output
    assert "the teacher's logits of 1 crops of each of 8 images" in output

    monkeypatch.setattr("fakd.training.run.evaluate_model", lambda *_, **__: pytest.fail("evaluated"))
    monkeypatch.setattr(module_under_test, "_logits", lambda *_: pytest.fail("asked"))
    monkeypatch.setattr(module_under_test, "_alone", lambda _: pytest.fail("locked, which a reader's folder is not"))
    with pytest.raises(pytest.fail.Exception, match="evaluated"):  # the student, after its training
        distill(cached_config(output=cached_config().output.with_name("again")))
    assert "asking" not in capsys.readouterr().out


def test_runs_of_other_seeds_methods_and_fewer_views_share_the_files(cached_config, written) -> None:
    enough = {"teacher_views": 3, "max_steps": 12}
    filled(cached_config(**enough))
    assert len(written) == 24
    before = files(cached_config())
    assert sorted(before) == [f"{index:06d}-v{view:02d}.safetensors" for index in range(8) for view in range(3)]
    orders = set()
    for seed in range(3):
        taught = filled(cached_config(seed=seed, method="fakd", **{**enough, "max_steps": 40}))
        first = [taught[0, index] for index in range(8)]
        orders.add(tuple(tuple(sample.geometry.tolist()) for sample in first))
    filled(cached_config(teacher_views=2, max_steps=12))
    assert len(orders) == 3
    assert files(cached_config()) == before


def test_more_views_keep_those_that_are_there(cached_config, written) -> None:
    filled(cached_config(teacher_views=8, max_steps=64))
    assert sorted(written) == [(view, index) for view in range(8) for index in range(8)]
    before = files(cached_config())
    del written[:]
    filled(cached_config(teacher_views=16, max_steps=64))
    assert sorted(written) == [(view, index) for view in range(8, 16) for index in range(8)]
    after = files(cached_config())
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize(("steps", "passes"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (100, 4)])
def test_a_run_of_few_passes_computes_what_it_shows(cached_config, written, steps, passes) -> None:
    taught = filled(cached_config(teacher_views=4, max_steps=steps))
    assert len(written) == len(set(written)) == 8 * passes
    assert all(sum(index == image for _, index in written) == passes for image in range(8))
    for epoch in range(passes):
        assert all(taught[epoch, index].teacher_logits.ndim == 3 for index in range(8))
    if passes < 4:
        with pytest.raises(DataError):
            taught[passes, 0]


def test_one_view_is_the_same_crop_in_every_pass(cached_config, trained_on, written) -> None:
    distill(cached_config(teacher_views=1, max_steps=8))
    assert len(written) == 8
    shown: dict[str, list[torch.Tensor]] = {}
    for batch in trained_on:
        for name, image in zip(batch.name, batch.image, strict=True):
            shown.setdefault(name, []).append(image)
    assert len(shown) == 8
    assert all(torch.equal(first, second) for first, second in shown.values())


def test_training_sees_the_logits_alone(cached_config, monkeypatch) -> None:
    seen: list[tuple[int, ...]] = []
    original = Learner._ask_teacher

    def noting(self, images, cached):
        output = original(self, images, cached)
        assert torch.equal(output.logits, cached)
        seen.append((*output.logits.shape, output.features.shape[1]))
        return output

    monkeypatch.setattr(Learner, "_ask_teacher", noting)
    distill(cached_config())
    assert seen == [(2, 12, 4, 4, 0)] * 4


def test_size_and_time_are_said_first(cached_config, capsys, monkeypatch) -> None:
    clock = iter([0.0, 50.0, 90.0])  # at the start, after the first batch and after the second
    monkeypatch.setattr(module_under_test, "monotonic", lambda: next(clock))
    filled(cached_config())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("cache")]
    assert "asking the teacher about 8 crops: 32.8 kB in" in lines[0]
    assert lines[1] == "cache     about 2 minutes for the other 4 crops"


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
    assert all(torch.equal(again.logits.read(*view), whole.read(*view)) for view in again.needed(1))


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
        data = _open_data(config)
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
    (root / "classes.txt").write_text("\n".join(f"class{number}" for number in range(12)))
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
    later = {"teacher_cache", "teacher_cache_format", "teacher_views"}
    before = {key: value for key, value in config.to_dict().items() if key not in later}
    (tmp_path / "run").mkdir()
    folder = RunFolder(tmp_path / "run")
    folder.config.write_text(yaml.safe_dump(before))
    check_same_options(config, folder)
    with pytest.raises(ValueError, match="teacher_cache was None and is"):
        check_same_options(distill_config(method="cwd", resume=True, teacher_cache=tmp_path / "cache"), folder)


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
