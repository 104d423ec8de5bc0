"""What training changes, what it leaves alone, and what it refuses."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file
from steps import EVALUATION, TRAINING, takes
from torch import Tensor

from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.methods import METHODS
from fakd.models import Segmentor, create_model, load_model, open_model, save_model
from fakd.models.inference_copy import inference_copy
from fakd.models.names import names_trained_model
from fakd.training import TrainConfig, distill, train
from fakd.training import run as run_module
from fakd.training.learner import Learner
from fakd.training.metrics_file import read_metrics
from fakd.training.teacher import Teacher


def weights(root: Path) -> dict[str, Tensor]:
    return load_file(root / "student.safetensors")


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one | other)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_logs_finite_named_terms(distill_config, tmp_path, method) -> None:
    distill(distill_config(method=method, max_steps=2, eval_every=2, precision="bf16-mixed"))
    losses = {name for name in read_metrics(tmp_path / "run") if name.startswith("loss/")}
    own = {
        "none": [],
        "skds": ["pixel", "pairwise", "adversarial"],
        "ifvd": ["pixel", "variation", "adversarial"],
        "cirkd": ["pixel", "cross_image", "memory_pixel", "memory_region"],
    }.get(method, [method])
    assert losses == {f"loss/{name}" for name in ("ce", "aux", "total", *own)}
    watched = {name for name in read_metrics(tmp_path / "run") if name.startswith("watched/")}
    moved = ["offset", "teacher_spread", "variance"]
    other = {"skds": ["discriminator"], "ifvd": ["discriminator"], "fakd": moved, "fakd-pixel": moved}
    assert watched == {f"watched/{name}" for name in other.get(method, [])}
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())


def test_seed_decides_everything(distill_config, tmp_path) -> None:
    for name, seed in [("a", 0), ("b", 0), ("c", 1)]:
        torch.rand(len(name) + seed)  # whatever was drawn before
        distill(distill_config(output=tmp_path / name, seed=seed, dropout=0.5))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert read_metrics(tmp_path / "a") == read_metrics(tmp_path / "b")
    assert not same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_teacher_stays_as_it_is_and_out_of_every_file(distill_config, monkeypatch, tmp_path, teacher_run) -> None:
    seen: list[bool] = []
    teachers: list[Segmentor] = []
    original = Learner._ask_teacher

    def teach(self: Learner, images: Tensor, cached: Tensor) -> object:
        (teacher,) = self.teachers
        teachers.append(teacher)
        seen.append(teacher.training or any(part.training for part in teacher.modules()))
        output = original(self, images, cached)
        assert not output.logits.requires_grad
        return output

    monkeypatch.setattr(Learner, "_ask_teacher", teach)
    distill(distill_config(max_steps=3, eval_every=1))
    assert seen == [False] * 3
    before, _ = load_model(teacher_run)
    assert same(dict(teachers[0].state_dict()), dict(inference_copy(before).state_dict()))
    assert all(p.grad is None for p in teachers[0].parameters())

    student = set(create_model("pspnet/test_resnet.r160_in1k", num_classes=12, channels=8).state_dict())
    assert set(weights(tmp_path / "run")) == student
    for name in ("last", "best"):
        checkpoint = torch.load(tmp_path / f"run/checkpoints/{name}.ckpt", weights_only=True)
        covariance = {
            f"method.augmentation.covariance.{key}" for key in ("count", "mean", "covariance", "mean_rounding")
        }
        assert set(checkpoint["state_dict"]) == {f"student.{key}" for key in student} | covariance
        assert len(checkpoint["optimizer_states"][0]["state"]) == len(list(before.parameters()))


def test_none_runs_no_teacher(distill_config, monkeypatch) -> None:
    monkeypatch.setattr(run_module._Run, "_count", lambda *_: torch.eye(12, dtype=torch.long))
    monkeypatch.setattr(run_module, "load_teacher", lambda *_: Teacher(torch.nn.Module(), "", ""))  # cannot be called
    assert distill(distill_config(method="none"))["steps"] == 4


def test_none_is_training_on_labels(distill_config, train_config, tmp_path) -> None:
    distill(distill_config(method="none", output=tmp_path / "a"))
    train(train_config(output=tmp_path / "b"))
    assert same(weights(tmp_path / "a"), weights(tmp_path / "b"))


def test_student_learns_and_method_matters(distill_config, train_config, tmp_path) -> None:
    train(train_config(output=tmp_path / "alone"))
    distill(distill_config(method="cwd", output=tmp_path / "cwd"))
    distill(distill_config(method="cwd", output=tmp_path / "off", options={"weight": 0}))
    assert same(weights(tmp_path / "alone"), weights(tmp_path / "off"))
    assert not same(weights(tmp_path / "alone"), weights(tmp_path / "cwd"))


@pytest.fixture
def untrained(tmp_path) -> Path:
    model = create_model("pspnet/test_resnet.r160_in1k", num_classes=12, channels=8)
    torch.nn.init.zeros_(model.classifier.weight)
    torch.nn.init.zeros_(model.classifier.bias)
    save_model(model, tmp_path / "untrained.safetensors")
    return tmp_path / "untrained.safetensors"


def test_teacher_no_better_than_chance(distill_config, untrained, teacher_run, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"no better than chance \(\d+\.\d\d\).*--allow-bad-teacher"):
        distill(distill_config(teacher=untrained, allow_bad_teacher=False))
    # the refused start is not in the way of a better one
    distill(distill_config(teacher=teacher_run, allow_bad_teacher=False, max_steps=1, eval_every=1))
    distill(distill_config(teacher=untrained, max_steps=1, eval_every=1, output=tmp_path / "other"))


def test_teachers_that_do_not_fit(distill_config, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="no model file at"):
        distill(distill_config(teacher=tmp_path / "nothing"))
    (tmp_path / "unfinished").mkdir()
    with pytest.raises(FileNotFoundError, match=r"holds no student.safetensors: the run is not finished"):
        distill(distill_config(teacher=tmp_path / "unfinished"))
    save_model(create_model("pspnet/test_resnet", num_classes=5, channels=8), tmp_path / "five.safetensors")
    with pytest.raises(ValueError, match="scores 5 classes, but toy-scenes has 12"):
        distill(distill_config(teacher=tmp_path / "five.safetensors"))
    assert not (tmp_path / "run").exists()


def test_teacher_of_another_stride(distill_config, tmp_path) -> None:
    distill(distill_config(output_stride=16, max_steps=1, eval_every=1))
    assert load_model(tmp_path / "run")[0].config.output_stride == 16


def test_without_auxiliary_head(train_config, tmp_path) -> None:
    train(train_config(aux_weight=0.0, max_steps=2, eval_every=2))
    assert set(read_metrics(tmp_path / "run")) >= {"loss/ce", "loss/total"}
    assert "loss/aux" not in read_metrics(tmp_path / "run")
    assert not any(name.startswith("aux_head") for name in weights(tmp_path / "run"))


def test_a_network_that_has_no_auxiliary_head_says_so(train_config, capsys) -> None:
    train(train_config(network="fcn-concat/test_resnet.r160_in1k", max_steps=1, eval_every=1, overwrite=True))
    assert "M parameters, without an auxiliary head" in capsys.readouterr().out
    train(train_config(max_steps=1, eval_every=1, overwrite=True))
    assert "without" not in capsys.readouterr().out


def test_auxiliary_loss_is_weighted(train_config, tmp_path) -> None:
    for weight in (0.1, 0.4):
        train(train_config(aux_weight=weight, max_steps=1, eval_every=1, output=tmp_path / str(weight)))
    (_, small), (_, large) = (read_metrics(tmp_path / str(weight))["loss/aux"][0] for weight in (0.1, 0.4))
    assert large == pytest.approx(4 * small, rel=1e-5)


def test_batches_without_a_label_train_on(distill_config, monkeypatch, tmp_path) -> None:
    original = Learner.forward

    def ignore_all(self: Learner, batch, step: int) -> dict[str, Tensor]:
        return original(self, batch._replace(label=torch.full_like(batch.label, 255)), step)

    monkeypatch.setattr(Learner, "forward", ignore_all)
    distill(distill_config(method="fakd"))
    metrics = read_metrics(tmp_path / "run")
    assert [value for _, value in metrics["loss/ce"]] == [0.0] * 4
    assert metrics["loss/fakd"][-1][1] > 0
    assert all(tensor.isfinite().all() for tensor in weights(tmp_path / "run").values())


def test_best_checkpoint_is_the_best(train_config, monkeypatch, tmp_path) -> None:
    scores = iter([10.0, 30.0, 20.0, 5.0])
    monkeypatch.setattr(
        "fakd.training.loop.scores_from_confusion",
        lambda *_: SimpleNamespace(mIoU=next(scores), mAcc=0.0, aAcc=0.0),
    )
    train(train_config(eval_every=1))
    assert torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)["global_step"] == 2


def test_a_runs_own_checkpoint_is_a_network(train_config, tmp_path) -> None:
    results = train(train_config())
    last = tmp_path / "run/checkpoints/last.ckpt"
    (model, notes), (same, same_notes) = open_model(last), open_model(tmp_path / "run")
    assert (model.config, notes) == (same.config, same_notes)
    assert all(torch.equal(tensor, same.state_dict()[name]) for name, tensor in model.state_dict().items())
    assert names_trained_model(last)
    assert evaluate(EvaluateConfig(str(last), workers=0))["mIoU"] == pytest.approx(results["mIoU"], abs=1e-9)


def test_starts_from_a_trained_network(train_config, teacher_run, tmp_path) -> None:
    config: TrainConfig = train_config(init=teacher_run, learning_rate=1e-12, max_steps=1, eval_every=1)
    train(config)
    ours, theirs = weights(tmp_path / "run"), weights(teacher_run)
    for name in ours:
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(ours[name], theirs[name], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="do not fit"):
        train(train_config(init=teacher_run, head_channels=16, output=tmp_path / "other"))


def test_seconds_leave_evaluations_out(train_config, monkeypatch) -> None:
    clock = [0.0]
    takes(monkeypatch, clock, TRAINING, 1.0)
    takes(monkeypatch, clock, EVALUATION, 100.0)
    results = train(train_config(eval_every=2))
    assert results["seconds"] == 4.0
    assert results["seconds_per_step"] == 1.0


def test_teacher_of_another_stride_is_said_to_be_resized(
    distill_config, train_config, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    distill(distill_config(max_steps=1, output_stride=16, output=tmp_path / "coarse"))
    text = capsys.readouterr().out
    assert "resizing  the teacher's maps from (4, 4) to the student's (2, 2), bilinearly" in text
    distill(distill_config(max_steps=1, output=tmp_path / "same"))
    assert "resizing" not in capsys.readouterr().out
