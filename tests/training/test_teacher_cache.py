"""Runs with a teacher cache: the teacher runs once, about exactly the crops that students see."""

import pytest
import torch
import yaml
from cached_teacher import files, filled
from safetensors.torch import load_file
from steps import Crash, crash_at

from fakd.data import DataError, Sample
from fakd.evaluation import to_float_images
from fakd.methods import METHODS
from fakd.models import create_model, open_model
from fakd.training import distill
from fakd.training import teacher_cache as module_under_test
from fakd.training.learner import Learner
from fakd.training.resuming import check_same_options
from fakd.training.run_folder import RunFolder
from fakd.types import SegmentationOutput


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
    assert distill(cached_config(output=cached_config().output.with_name("again")))
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
