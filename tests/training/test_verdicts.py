"""What a user hears of a run: every verdict provoked, and where it must not come."""

import numpy as np
import pytest
import torch
from folders import write_folder, write_mask

from fakd.analysis.groups import group_runs
from fakd.analysis.report.page import _summary
from fakd.analysis.runs import Run
from fakd.analysis.verdicts import group_verdicts
from fakd.training import distill, outcome, train
from fakd.training.verdicts import data_verdicts, run_verdicts

GOOD = {
    "mIoU": 60.0,
    "chance": 6.4,
    "IoU": {"road": 90.0, "car": 30.0},
    "teacher": {"mIoU": 70.0, "IoU": {"car": 50.0}},
}
FLAT = [1.0 + 0.05 * (-1) ** step for step in range(50)]


def test_a_good_run_hears_nothing() -> None:
    assert run_verdicts(GOOD, FLAT) == {}
    assert run_verdicts({name: value for name, value in GOOD.items() if name not in ("chance", "teacher")}, FLAT) == {}


@pytest.mark.parametrize(("score", "hears"), [(6.41, True), (6.0, True), (8.81, False)])
def test_no_better_than_chance(score, hears) -> None:
    found = run_verdicts({**GOOD, "mIoU": score})
    assert ("nothing" in found) is hears
    if hears:
        assert found["nothing"].startswith(f"learnt nothing: mIoU {score:.2f}, where the most frequent class")
        assert "6.40" in found["nothing"]
        assert "--recipe own" in found["nothing"]


def test_classes_that_are_never_found() -> None:
    never = {**GOOD, "IoU": {"road": 90.0, "car": 0.0, "boat": 0.0, "sky": None}}
    assert run_verdicts(never)["never"].startswith("never finds car, boat. Weigh rare classes")
    blind = {**never, "teacher": {"mIoU": 70.0, "IoU": {"car": 0.0, "boat": 9.0}}}
    assert run_verdicts(blind)["never"].startswith("never finds car, boat (nor does the teacher find car).")
    assert "never" not in run_verdicts({**GOOD, "IoU": {"road": 90.0, "car": 0.1, "sky": None}})


def test_a_teacher_worse_than_its_student() -> None:
    found = run_verdicts({**GOOD, "teacher": {"mIoU": 10.87, "IoU": {}}})
    assert found["teacher"].startswith("the teacher (mIoU 10.87) is worse than its student (60.00).")
    assert "teacher" not in run_verdicts({**GOOD, "teacher": {"mIoU": 60.0, "IoU": {}}})
    several = run_verdicts({**GOOD, "teacher": {"mIoU": 10.87, "IoU": {}}}, teachers=["runs/a", "runs/b"])["teacher"]
    assert several.startswith("the mean of runs/a + runs/b (mIoU 10.87) is worse than its student (60.00). Score each")


def test_a_loss_that_still_falls() -> None:
    falling = [2.0 - 0.03 * step for step in range(50)]
    assert "falls fast, by 31% in the last fifth of the run" in run_verdicts(GOOD, falling)["falling"]
    assert "falling" not in run_verdicts(GOOD, falling[:19])  # too few to judge
    slow = [2.0 - 0.001 * step for step in range(50)]
    assert "falling" not in run_verdicts(GOOD, slow)
    noise = np.random.default_rng(0).normal(1.0, 0.5, 50).tolist()
    noise[-20:] = [2.0, 0.1, *noise[-18:]]
    assert "falling" not in run_verdicts(GOOD, noise)


def test_what_the_labels_are() -> None:
    pixels = torch.zeros(256, dtype=torch.int64)
    pixels[:2], pixels[255] = torch.tensor([60, 22]), 18
    found = data_verdicts({"train": pixels, "val": pixels}, ("road", "car", "boat"))
    assert [line[:21] for line in found] == [
        "never in train: boat.",
        "18% of the pixels in ",
        "never in val: boat. N",
        "18% of the pixels in ",
    ]
    pixels[2], pixels[255] = 5, 5
    assert data_verdicts({"train": pixels}, ("road", "car", "boat")) == []


def test_training_says_what_the_data_lack(train_config, tmp_path, capsys) -> None:
    root = write_folder(tmp_path / "data", ["a", "b", "c", "d"])
    (root / "val.txt").write_text("d\n")  # of class 0 alone
    values = np.full((8, 12), 255, dtype=np.uint8)
    values[:6] = 0
    write_mask(root / "masks/a.png", values)
    train(train_config(dataset="folder", data_root=root, crop_size=(8, 8), batch_size=2, max_steps=2, recipe="own"))
    said = capsys.readouterr().out
    assert "data      never in val: car, sky." in said
    assert "never in train" not in said
    assert "ignored" not in said  # a twelfth


def test_a_run_ends_with_its_verdicts(distill_config, monkeypatch, capsys) -> None:
    monkeypatch.setattr(outcome, "run_verdicts", lambda results, losses, teachers: {"nothing": f"{len(losses)} losses"})
    distill(distill_config())
    assert "verdict   4 losses" in capsys.readouterr().out


def runs(tmp_path, method: str, scores: list[float], **changes) -> list[Run]:
    config = {
        "dataset": "toy-scenes",
        "student": "pspnet-r18",
        "method": method,
        "options": {},
        "teacher": "toy-scenes",
    }
    config |= {"max_steps": 100, "batch_size": 16, **changes}
    results = {**GOOD, "mAcc": 50.0, "aAcc": 90.0, "parameters": 1, "seconds": 9.0, "seconds_per_step": 0.1}
    return [
        Run(tmp_path / f"{method}-{seed}-{changes}", {**config, "seed": seed}, {**results, "mIoU": score}, {})
        for seed, score in enumerate(scores)
    ]


def test_verdicts_of_groups(tmp_path) -> None:
    groups = group_runs([*runs(tmp_path, "none", [60.0, 60.5]), *runs(tmp_path, "cwd", [6.4, 62.0])])
    found = group_verdicts(groups)
    assert len(found) == 1
    assert found[0].startswith("cwd (in 1 of 2 runs): learnt nothing: mIoU 6.40")


def test_seeds_that_all_came_out_the_same(tmp_path) -> None:
    groups = group_runs(runs(tmp_path, "none", [60.0, 60.0, 60.0]))
    assert [line[:51] for line in group_verdicts(groups)] == ["student alone: all 3 runs have the very same mIoU, "]
    assert group_verdicts(group_runs(runs(tmp_path, "none", [60.0]))) == []
    assert group_verdicts(group_runs(runs(tmp_path, "none", [60.0, 60.1]))) == []


def test_unequal_budgets_share_no_gain_and_no_headline(tmp_path) -> None:
    alone = runs(tmp_path, "none", [60.0, 60.5])
    equal = group_runs([*alone, *runs(tmp_path, "cwd", [62.0, 62.5])])
    assert group_verdicts(equal) == []
    assert equal[1].gain("mIoU").mean == pytest.approx(2.0)
    unequal = group_runs(
        [*alone, *runs(tmp_path, "pixel", [61.0, 61.5]), *runs(tmp_path, "cwd", [62.0, 62.5], max_steps=400)]
    )
    found = group_verdicts(unequal)
    assert len(found) == 1
    assert found[0].startswith("unequal budgets, in crops: student alone")
    assert group_verdicts(unequal, equal_time=True) == []
    by_method = {group.method: group for group in unequal}
    assert by_method["cwd"].gain("mIoU") is None
    assert by_method["pixel"].gain("mIoU").mean == pytest.approx(1.0)
    assert _summary(unequal).startswith("Highest mean mIoU of 2 kinds of runs of the same budget: pixel")
