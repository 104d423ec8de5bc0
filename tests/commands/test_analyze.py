"""`fakd analyze` on tiny runs: numbers against independent computations, files, and what is refused."""

import json
import shutil
from pathlib import Path
from statistics import mean, stdev

import pytest
import torch
import yaml
from PIL import Image

from fakd.analysis import cached_counts
from fakd.analysis.cached_counts import CachedCounts
from fakd.analysis.figures.style import STYLE
from fakd.analysis.groups import find_baseline, group_runs
from fakd.analysis.runs import find_runs, read_run
from fakd.commands.analyze import AnalyzeConfig, analyze
from fakd.console import console
from fakd.data import DATASETS
from fakd.evaluation import predict_logits
from fakd.models import load_model
from fakd.training import distill

ALONE = "student alone"
CELLS = {"none-seed0": ("none", 0), "none-seed1": ("none", 1), "cwd-seed0": ("cwd", 0), "fakd-seed0": ("fakd", 0)}
FIGURES = {
    "class-gains",
    "class-iou",
    "rare-classes",
    "boundary",
    "calibration",
    "feature-maps",
    "covariance",
    "covariance-growth",
}
FIGURES |= {"confusion-student-alone", "confusion-cwd", "confusion-fakd"}


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time goes into pixels."""
    monkeypatch.setitem(STYLE, "savefig.dpi", 60)


@pytest.fixture
def cells(distill_config, teacher_run, tmp_path_factory) -> dict[str, Path]:
    """Finished runs by name; made by the first test that asks."""
    root = tmp_path_factory.getbasetemp() / "analysed"
    for name, (method, seed) in CELLS.items():
        assert distill(distill_config(method=method, seed=seed, output=root / name, resume=True, init=teacher_run))
    return {name: root / name for name in CELLS}


@pytest.fixture
def copies(cells, tmp_path) -> dict[str, Path]:
    """The same, to be changed."""
    return {name: Path(shutil.copytree(folder, tmp_path / "copies" / name)) for name, folder in cells.items()}


def change(folder: Path, **options: object) -> None:
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({key: value for key, value in (config | options).items() if value is not ...}))


def config(cells: dict[str, Path], output: Path, **options: object) -> AnalyzeConfig:
    settings = {"images": 2, "workers": 0, "device": "cpu", **options}
    return AnalyzeConfig(list(cells.values()), output=output, **settings)


def results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text())


def no_constant(name: str) -> float:
    raise AssertionError(f"{name} is no JSON")


def test_files_and_numbers(cells, tmp_path) -> None:
    with console.capture() as said:
        numbers = analyze(config({"all": cells["none-seed0"].parent}, tmp_path / "out"))
    written = json.loads((tmp_path / "out/analysis.json").read_text(), parse_constant=no_constant)
    assert written == json.loads(json.dumps(numbers))
    assert set(numbers["files"]) == FIGURES
    for name in numbers["files"].values():
        with Image.open(tmp_path / "out" / name) as picture:
            colours = picture.convert("RGB").getcolors(maxcolors=1 << 24)
            assert min(picture.size) > 150
            assert len(colours) > 20
        assert name in said.get()
    assert numbers["baseline"] == ALONE
    assert numbers["runs"][ALONE] == [str(cells["none-seed0"]), str(cells["none-seed1"])]
    alone = [results(cells[f"none-seed{seed}"]) for seed in (0, 1)]
    assert numbers["mIoU"][ALONE] == {
        "mean": mean(each["mIoU"] for each in alone),
        "sd": stdev(each["mIoU"] for each in alone),
    }
    fakd = results(cells["fakd-seed0"])
    for place, name in enumerate(numbers["class_gains"]["classes"]):
        values = [each["IoU"][name] for each in alone if each["IoU"][name] is not None]
        gained = numbers["class_gains"]["gains"]["fakd"][place]
        assert numbers["class_gains"]["alone"][place] == mean(values)
        assert gained is None or gained == pytest.approx(fakd["IoU"][name] - mean(values))
    assert any(gained for gained in numbers["class_gains"]["gains"]["fakd"])
    assert sum(numbers["rare_classes"]["train_share_percent"].values()) == pytest.approx(100)
    assert numbers["covariance"]["fakd"][0]["channels"] == 8
    assert set(numbers["covariance"]) == {"fakd"}


def test_predictions_against_one_image_after_another(cells, tmp_path) -> None:
    numbers = analyze(config({"fakd": cells["fakd-seed0"]}, tmp_path / "out", bins=5, band=2, images=0))
    spec, (model, _) = DATASETS["toy-scenes"], load_model(cells["fakd-seed0"])
    source = spec.open(None, "val")
    matrix = torch.zeros(spec.num_classes, spec.num_classes, dtype=torch.long)
    right = total = surest = 0
    for index in range(len(source)):
        image, label = source[index].image, source[index].label.long()
        probabilities = predict_logits(model, image[None], label.shape).softmax(1)[0]
        kept = label != 255
        for truth, predicted in zip(label[kept].tolist(), probabilities.argmax(0)[kept].tolist(), strict=True):
            matrix[truth, predicted] += 1
        right += int((probabilities.argmax(0) == label)[kept].sum())
        total += int(kept.sum())
        surest += int((probabilities.amax(0)[kept] > 0.2).sum())
    assert (matrix.sum(0) > 100).sum() > 2  # the network says more than one thing
    assert numbers["confusion"]["fakd"] == matrix.tolist()
    boundary, calibration = numbers["boundary"]["fakd"], numbers["calibration"]["fakd"]
    share = boundary["share"]["mean"] / 100
    parts = share * boundary["boundary_accuracy"]["mean"] + (1 - share) * boundary["interior_accuracy"]["mean"]
    assert 0.01 < share < 0.9
    assert parts == pytest.approx(100 * right / total)
    assert sum(calibration["pixels"]) == total
    assert sum(calibration["pixels"][1:]) == surest
    assert sum(calibration["right"]) == right


def test_one_method_has_no_gains_and_says_so(cells, tmp_path) -> None:
    with console.capture() as said:
        numbers = analyze(config({"cwd": cells["cwd-seed0"]}, tmp_path / "out", format="svg"))
    assert set(numbers["files"]) == {"class-iou", "boundary", "calibration", "feature-maps", "confusion-cwd"}
    assert all((tmp_path / "out" / name).read_text().lstrip().startswith("<?xml") for name in numbers["files"].values())
    assert numbers["baseline"] is None
    assert "no figures of gains" in said.get()


def test_a_second_analysis_counts_nothing_again_and_leaves_no_old_figure(copies, tmp_path, monkeypatch) -> None:
    two = {name: copies[name] for name in ("none-seed0", "cwd-seed0")}
    first = analyze(config(two, tmp_path / "out", images=0))
    counted = []

    def count(model: object, *args: object, **options: object) -> object:
        counted.append(options)
        return measure(model, *args, **options)

    measure = cached_counts.measure
    monkeypatch.setattr(cached_counts, "measure", count)
    monkeypatch.setattr(cached_counts, "class_pixels", lambda *args: 1 / 0)
    one = {"cwd": copies["cwd-seed0"]}
    second = analyze(config(one, tmp_path / "out", images=0, format="pdf"))
    assert counted == []
    assert second["confusion"]["cwd"] == first["confusion"]["cwd"]
    assert not list((tmp_path / "out").glob("*.png"))
    assert (tmp_path / "out/class-iou.pdf").read_bytes().startswith(b"%PDF")
    # another network in the same place
    shutil.copyfile(copies["fakd-seed0"] / "student.safetensors", copies["cwd-seed0"] / "student.safetensors")
    run = read_run(copies["cwd-seed0"])
    given = {"device": torch.device("cpu"), "workers": 0, "band": 3, "bins": 15, "cache": tmp_path / "out/cache"}
    third = CachedCounts([run], None, **given).measured(run)
    assert len(counted) == 1
    assert third.confusion.tolist() != first["confusion"]["cwd"]


@pytest.mark.parametrize("options", [{"band": 5}, {"bins": 3}, {"cache": "other"}])
def test_other_options_are_counted_anew(cells, tmp_path, monkeypatch, options) -> None:
    given = {"device": torch.device("cpu"), "workers": 0, "band": 3, "bins": 15, "cache": tmp_path}
    run = read_run(cells["cwd-seed0"])
    CachedCounts([run], None, **given).measured(run)
    monkeypatch.setattr(cached_counts, "measure", lambda *args, **options: 1 / 0)
    CachedCounts([run], None, **given).measured(run)
    if "cache" in options:
        options = {"cache": tmp_path / "other"}
    with pytest.raises(ZeroDivisionError):
        CachedCounts([run], None, **given | options).measured(run)


def test_scores_unlike_those_of_the_run_are_pointed_out(copies, tmp_path) -> None:
    path = copies["cwd-seed0"] / "results.json"
    path.write_text(json.dumps(results(path.parent) | {"mIoU": 99.0}))
    with console.capture() as said:
        analyze(config({"cwd": copies["cwd-seed0"]}, tmp_path / "out", images=0))
    assert "but was 99.00 at the end of the run" in said.get()


def test_runs_of_an_older_version(copies, tmp_path) -> None:
    for name in ("none-seed0", "fakd-seed0"):
        change(copies[name], mode=..., window=..., stride=..., flip=..., scales=..., photometric=..., ce_average=...)
    groups = group_runs(find_runs([*copies.values()])[0])
    assert [(group.label, len(group.runs)) for group in groups] == [(ALONE, 2), ("cwd", 1), ("fakd", 1)]
    old = {name: copies[name] for name in ("none-seed0", "fakd-seed0")}
    assert analyze(config(old, tmp_path / "out", images=0))["baseline"] == ALONE


def test_names_of_groups(copies, cells, teacher_run) -> None:
    change(copies["fakd-seed0"], options={"strength": 0.5})
    change(copies["none-seed1"], max_steps=9)
    folders = [*copies.values(), cells["fakd-seed0"], cells["fakd-seed0"], teacher_run]
    groups = group_runs(find_runs(folders)[0])
    assert [(group.label, len(group.runs)) for group in groups] == [
        ("teacher", 1),
        (f"{ALONE} max_steps=4", 1),
        (f"{ALONE} max_steps=9", 1),
        ("cwd max_steps=4", 1),
        ("fakd max_steps=4", 1),
        ("fakd strength=0.5 max_steps=4", 1),
    ]
    assert groups[1].slug == "student-alone-max_steps-4"
    assert group_runs(find_runs([teacher_run])[0])[0].label == "labels alone pspnet/test_resnet.r160_in1k"
    with pytest.raises(ValueError, match=r"several kinds of runs have method none.*--baseline"):
        find_baseline(groups, None)
    assert find_baseline(groups, "cwd max_steps=4") is groups[3]
    assert find_baseline(groups, str(copies["none-seed1"])) is groups[2]


def test_baseline_that_is_asked_for(cells, tmp_path) -> None:
    two = {name: cells[name] for name in ("none-seed0", "cwd-seed0")}
    numbers = analyze(config(two, tmp_path / "out", images=0, baseline=str(cells["cwd-seed0"])))
    assert numbers["baseline"] == "cwd"
    assert set(numbers["class_gains"]["gains"]) == {ALONE}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band": 0}, "band must be 1 or more, got 0"),
        ({"bins": 0}, "bins must be 1 or more"),
        ({"images": -1}, "images must be 0 or more"),
        ({"runs": []}, "no run was given"),
        ({"baseline": "student"}, "baseline 'student' is none of the runs"),
    ],
)
def test_options_out_of_range(cells, tmp_path, options, message) -> None:
    given = {"runs": list(cells.values()), "output": tmp_path / "out", **options}
    with pytest.raises(ValueError, match=message):
        analyze(AnalyzeConfig(**given))
    assert not (tmp_path / "out").exists()


def test_runs_that_do_not_belong_together(copies, tmp_path) -> None:
    change(copies["cwd-seed0"], dataset="camvid")
    with pytest.raises(ValueError, match=r"(?s)different data sets, .*one at a time:.* camvid, 12 classes: cwd-seed0"):
        analyze(config(copies, tmp_path / "out"))
    change(copies["cwd-seed0"], dataset="toy-scenes")
    found = results(copies["cwd-seed0"])
    (copies["cwd-seed0"] / "results.json").write_text(json.dumps(found | {"IoU": {"road": 1.0}}))
    with pytest.raises(ValueError, match=r"(?s)or of other classes.* 12 classes: none-seed0, .* 1 classes: cwd-seed0"):
        analyze(config(copies, tmp_path / "out"))
    with pytest.raises(ValueError, match="the runs have 1 classes and toy-scenes has 12"):
        analyze(config({"cwd": copies["cwd-seed0"]}, tmp_path / "out"))


def test_data_that_is_not_there(copies, tmp_path) -> None:
    classes = dict.fromkeys(DATASETS["camvid"].classes, 1.0)
    for name in ("cwd-seed0", "fakd-seed0"):
        change(copies[name], dataset="camvid", data_root=str(tmp_path / name))
        (copies[name] / "results.json").write_text(json.dumps(results(copies[name]) | {"IoU": classes}))
    both = {name: copies[name] for name in ("cwd-seed0", "fakd-seed0")}
    with pytest.raises(ValueError, match=r"trained on different folders: .* --data-root"):
        analyze(config(both, tmp_path / "out"))
    with pytest.raises(ValueError, match=r"no such folder.*--data-root"):
        analyze(config({"cwd": copies["cwd-seed0"]}, tmp_path / "out"))


def test_unfinished_runs_and_foreign_folders(copies, tmp_path, capsys) -> None:
    (copies["cwd-seed0"] / "results.json").unlink()
    fakd = {"fakd": copies["fakd-seed0"]}
    analyze(config({**fakd, "cwd": copies["cwd-seed0"]}, tmp_path / "out"))
    assert f"left out  {copies['cwd-seed0']}: not finished" in capsys.readouterr().out
    with pytest.raises(FileNotFoundError, match="none of these runs is finished"):
        analyze(config({"cwd": copies["cwd-seed0"]}, tmp_path / "out"))
    with pytest.raises(FileExistsError, match="holds no analysis"):
        analyze(config(fakd, copies["none-seed0"]))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError, match="is a file"):
        analyze(config(fakd, tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"
