"""The page as a file: what is in it, against the runs' own files."""

import base64
import hashlib
import json
import re
import shlex
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from report_runs import CELLS, ODD, SPEC, odd_names  # noqa: F401

from fakd.analysis.groups import group_runs
from fakd.analysis.paper_rows import PaperRow, group_row, paper_rows
from fakd.analysis.report.networks import Layer
from fakd.analysis.report.page import render
from fakd.analysis.report.page_tables import confusion_table
from fakd.analysis.report.pictures import Confusion, Gallery, _choose, _Seen, image_uri, mask_uri, shrink
from fakd.analysis.report.plots import curves
from fakd.analysis.run_options import command_words, with_defaults
from fakd.analysis.runs import Run, find_runs
from fakd.cli import parse
from fakd.commands.report import ReportConfig, report
from fakd.data import Sample
from fakd.evaluation import ConfusionMatrix, predict_logits, scores_from_confusion
from fakd.models import load_model
from fakd.models.cost import measure_cost
from fakd.models.mmseg.published import published_teachers


class Reader(HTMLParser):
    """Elements with their attributes, the text of tables by id, and the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[tuple[str, str]]]] = {}
        self.scripts: list[str] = []
        self.texts: list[str] = []
        self._table, self._inside = "", ""
        self.feed(html)

    def handle_starttag(self, tag, attrs) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else self._inside
        if tag == "table":
            self._table = dict(attrs)["id"]
            self.tables[self._table] = []
        elif tag == "tr":
            self.tables[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append((dict(attrs).get("data-value", ""), ""))

    def handle_endtag(self, tag) -> None:
        self._table = "" if tag == "table" else self._table
        self._inside = "" if tag == self._inside else self._inside

    def handle_data(self, data) -> None:
        if self._inside == "script":
            self.scripts.append(data)
        elif not self._inside:
            self.texts.append(data)
        if self._table and self.tables[self._table] and self.tables[self._table][-1]:
            row = self.tables[self._table][-1]
            row[-1] = (row[-1][0], (row[-1][1] + data).strip())

    def rows(self, name: str) -> dict[str, dict[str, tuple[str, str]]]:
        """By the first cell of the row and the heading: (value, text)."""
        head, *body = self.tables[name]
        return {row[0][1]: {title: cell for (_, title), cell in zip(head, row, strict=True)} for row in body}


@pytest.fixture(scope="module")
def read(page) -> Reader:
    return Reader(page.read_text())


def gallery(reader: Reader) -> dict:
    return json.loads(reader.scripts[0])["gallery"]


def picture(uri: str) -> Image.Image:
    return Image.open(BytesIO(base64.b64decode(uri.partition(",")[2])))


def test_nothing_is_loaded_from_elsewhere(page, read) -> None:
    for tag, attributes in read.elements:
        for name in ("src", "href", "srcset", "action", "poster"):
            if value := attributes.get(name):
                assert value.startswith(("#", "data:")), (tag, name, value[:80])
    style = re.search(r"<style>(.*?)</style>", page.read_text(), re.S)[1]
    assert "url(" not in style
    assert "@import" not in style
    assert page.stat().st_size < 10e6


def test_policy_allows_just_the_scripts_that_are_there(read) -> None:
    policy = next(a["content"] for tag, a in read.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    assert "unsafe-eval" not in policy
    allowed = re.findall(r"'sha256-([^']+)'", policy)
    runnable = read.scripts[1:]  # the first one is data
    assert allowed == [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in runnable]
    assert sum("plotly.js" in text[:200] for text in runnable) == 1


def test_names_are_text(read) -> None:
    tags = {tag for tag, _ in read.elements}
    assert not tags & {"b", "i"}
    assert ODD in read.rows("classes")
    assert "A <i>title</i> & more" in read.texts
    # Plotly takes tags for markup, so it gets the name escaped.
    assert any("&lt;b&gt;" in str(trace["y"]) for trace in json.loads(read.scripts[0])["plots"]["gains"]["data"])


def test_numbers_are_those_of_the_runs(read, comparison) -> None:
    rows = read.rows("runs")
    assert set(rows) == {"teacher", *(f"{method}-seed{seed}" for method, seed in CELLS)}
    for name, row in rows.items():
        results = json.loads((comparison / name / "results.json").read_text())
        for key in ("mIoU", "mAcc", "aAcc"):
            assert float(row[f"{key} %"][0]) == results[key]
            assert row[f"{key} %"][1] == f"{results[key]:.2f}"
        assert row["parameters"] == (str(results["parameters"]), f"{results['parameters']:,}")
        assert float(row["s / step"][0]) == results["seconds_per_step"]
        assert float(row["time"][0]) == results["seconds"]
        assert float(row["peak memory"][0]) == results["peak_memory"]


def test_means_over_seeds_and_differences_of_pairs(read, comparison) -> None:
    miou = {
        (method, seed): json.loads((comparison / f"{method}-seed{seed}" / "results.json").read_text())["mIoU"]
        for method, seed in CELLS
    }
    rows = read.rows("groups")
    assert list(rows) == ["teacher", "student alone", "cwd", "fakd strength=0.5"]
    cwd = [miou["cwd", 0], miou["cwd", 1]]
    assert rows["cwd"]["mIoU %"][1] == f"{mean(cwd):.2f} ± {stdev(cwd):.2f}"
    pairs = [miou["cwd", seed] - miou["none", seed] for seed in (0, 1)]
    assert float(rows["cwd"]["Δ mIoU"][0]) == pytest.approx(mean(pairs))
    reach = 12.7062 * stdev(pairs) / 2**0.5  # Student's t of one degree of freedom
    student = load_model(comparison / "cwd-seed0")[0]
    config = yaml.safe_load((comparison / "cwd-seed0" / "config.yaml").read_text())
    macs = measure_cost(student, tuple(config["crop_size"])).macs
    assert float(rows["cwd"]["GMACs"][0]) == macs / 1e9 > 0
    interval = f"[{mean(pairs) - reach:+.2f}, {mean(pairs) + reach:+.2f}]".replace("-", "\N{MINUS SIGN}")
    assert rows["cwd"]["Δ mIoU"][1].endswith(interval)
    # one seed: against the student alone of that seed, not against its mean
    assert float(rows["fakd strength=0.5"]["Δ mIoU"][0]) == pytest.approx(miou["fakd", 0] - miou["none", 0])
    assert rows["student alone"]["Δ mIoU"] == ("", "\N{EN DASH}")


def test_iou_of_classes(read, comparison) -> None:
    runs = [json.loads((comparison / f"cwd-seed{seed}" / "results.json").read_text()) for seed in (0, 1)]
    for name, row in read.rows("classes").items():
        assert float(row["cwd"][0]) == pytest.approx(mean(run["IoU"][name] for run in runs))


def test_unfinished_runs_are_named(read) -> None:
    assert any("Not finished" in text for text in read.texts)
    assert any(text.endswith("pixel-seed0") for text in read.texts)
    assert "pixel-seed0" not in read.rows("runs")


def test_pictures_show_what_the_networks_say(read, comparison) -> None:
    found = gallery(read)
    labels = [layer["label"] for layer in found["layers"]]
    assert labels == ["teacher", "student alone", "cwd", "fakd strength=0.5", "truth"]
    assert len(found["pictures"]) == 6
    source = SPEC.open(None, "val")
    samples = {source[index].name: source[index] for index in range(len(source))}
    shown = found["pictures"][0]
    sample, model = samples[shown["name"]], load_model(comparison / "cwd-seed0")[0]
    prediction = predict_logits(model, sample.image[None], sample.label.shape).argmax(1)[0]
    layer = labels.index("cwd")
    mask = np.asarray(picture(shown["masks"][layer]))
    assert (mask == prediction.numpy()).mean() > 0.999  # folded layers round differently
    matrix = ConfusionMatrix(SPEC.num_classes)
    matrix.update(prediction, sample.label.long())
    assert shown["miou"][layer] == pytest.approx(scores_from_confusion(matrix.compute(), SPEC.classes).mIoU, abs=0.2)
    truth = np.asarray(picture(shown["masks"][-1]))
    expected = np.where(sample.label == 255, SPEC.num_classes, sample.label)
    assert (truth == expected).all()
    assert shown["classes"] == sorted(set(sample.label.unique().tolist()) - {255})
    assert picture(shown["image"]).format == "JPEG"


def test_half_of_the_pictures_are_the_worst() -> None:
    order = [5, 3, 8, 1, 9, 0, 2, 7, 6, 4]  # mIoU of the student; the teacher's do not count
    seen = [_Seen(Sample(None, None, str(rank)), miou=[90.0 - rank, float(rank)]) for rank in order]
    chosen = _choose(seen, [Layer("t", "teacher"), Layer("s", "student")], 5)
    assert [one.sample.name for one in chosen] == ["0", "1", "2", "3", "9"]
    assert len(_choose(seen, [Layer("s", "student")], 20)) == 10


def test_commands_repeat_the_runs(read, comparison) -> None:
    config = yaml.safe_load((comparison / "fakd-seed0" / "config.yaml").read_text())
    command = shlex.join(command_words(config))
    assert command in read.texts
    assert "--eval-every 2" in command  # not what max_steps gives
    assert "--learning-rate" not in command  # what the data set gives
    assert "--crop-size 32,32" in command
    assert parse(shlex.split(command)[1:])[1].to_dict() == config


def test_how_a_run_was_carried_out_makes_no_other_group(comparison) -> None:
    ((run,), _) = find_runs([comparison / "cwd-seed0"])
    carried_out = {"seed": 1, "keep_checkpoints": 5, "channels_last": True, "compile": True, "workers": 3}
    other = replace(run, config=run.config | carried_out)
    assert len(group_runs([run, other])) == 1
    assert len(group_runs([run, replace(run, config=run.config | {"batch_size": 3})])) == 2


def test_old_runs_lack_newer_options(tmp_path, comparison) -> None:
    folders = []
    for name in ("none-seed0", "cwd-seed0"):
        shutil.copytree(comparison / name, tmp_path / name)
        config = yaml.safe_load((tmp_path / name / "config.yaml").read_text())
        for new in ("mode", "window", "stride", "flip", "scales", "init", "photometric", "data_root"):
            del config[new]
        (tmp_path / name / "config.yaml").write_text(yaml.safe_dump(config))
        results = json.loads((tmp_path / name / "results.json").read_text())
        del results["peak_memory"]
        (tmp_path / name / "results.json").write_text(json.dumps(results))
        (tmp_path / name / "versions.json").unlink()
        folders.append(tmp_path / name)
    file = report(ReportConfig(folders, output=tmp_path / "out" / "page.html", images=2, search=2, device="cpu"))
    rows = Reader(file.read_text()).rows("runs")
    assert "peak memory" not in rows["cwd-seed0"]  # nothing is known of any
    old, new = (find_runs([root / "cwd-seed0"])[0] for root in (tmp_path, comparison))
    assert len(group_runs([*old, *new])) == 1


def test_teacher_that_is_gone(tmp_path, comparison, capsys) -> None:
    shutil.copytree(comparison / "cwd-seed0", tmp_path / "cwd-seed0")
    file = tmp_path / "cwd-seed0" / "config.yaml"
    config = yaml.safe_load(file.read_text()) | {"teacher": str(tmp_path / "gone")}
    file.write_text(yaml.safe_dump(config))
    output = report(
        ReportConfig([tmp_path / "cwd-seed0"], output=tmp_path / "page.html", images=2, search=2, device="cpu")
    )
    reader = Reader(output.read_text())
    assert [layer["label"] for layer in gallery(reader)["layers"]] == ["cwd", "truth"]
    assert any("gone" in text and "truth is shown in its place" in text for text in reader.texts)
    assert "truth is shown in its place" in capsys.readouterr().out
    taught = json.loads((tmp_path / "cwd-seed0" / "results.json").read_text())["teacher"]
    assert float(reader.rows("groups")["teacher"]["mIoU %"][0]) == taught["mIoU"]
    assert float(reader.rows("classes")[ODD]["teacher"][0]) == taught["IoU"][ODD]


def test_teacher_that_moved_with_its_students(tmp_path, comparison) -> None:
    shutil.copytree(comparison, tmp_path / "moved")
    for file in (tmp_path / "moved").glob("*/config.yaml"):
        config = yaml.safe_load(file.read_text())
        file.write_text(yaml.safe_dump(config | ({"teacher": "/nowhere/teacher"} if "teacher" in config else {})))
    output = report(ReportConfig([tmp_path / "moved" / "cwd-seed0"], output=tmp_path / "page.html", images=1, search=1))
    assert [layer["label"] for layer in gallery(Reader(output.read_text()))["layers"]] == ["teacher", "cwd", "truth"]


def test_no_pictures(tmp_path, comparison) -> None:
    file = report(ReportConfig([comparison / "cwd-seed0"], output=tmp_path / "page.html", images=0))
    reader = Reader(file.read_text())
    assert gallery(reader)["pictures"] == []
    assert "None were asked for." in reader.texts


def test_data_that_is_gone(tmp_path, comparison) -> None:
    shutil.copytree(comparison / "cwd-seed0", tmp_path / "run")
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    config |= {"dataset": "camvid", "data_root": str(tmp_path / "gone")}
    (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
    file = report(ReportConfig([tmp_path / "run"], output=tmp_path / "page.html"))
    assert any(text.startswith("no pictures:") and "--data-root" in text for text in Reader(file.read_text()).texts)
    with pytest.raises(ValueError, match="classes of camvid are not those of the run"):
        report(ReportConfig([tmp_path / "run"], output=tmp_path / "page.html", data_root=tmp_path, overwrite=True))


def test_paper_rows_stand_beside_their_runs(tmp_path, comparison) -> None:
    row = next(r for r in paper_rows() if r.table == 1 and r.method == "cwd" and r.student == "pspnet-r18")
    teachers = [t for t in published_teachers().values() if (t.network, t.dataset) == (row.teacher, row.dataset)]
    for method in ("cwd", "none"):
        shutil.copytree(comparison / f"{method}-seed0", tmp_path / method)
        config = yaml.safe_load((tmp_path / method / "config.yaml").read_text())
        config |= {"dataset": row.dataset, "student": row.student, "teacher": f"mmseg:{teachers[0].name}"}
        config |= {"backbone_weights": None if row.scratch else "imagenet"}
        (tmp_path / method / "config.yaml").write_text(yaml.safe_dump(config))
    file = report(ReportConfig([tmp_path], output=tmp_path / "page.html", images=0))
    reader = Reader(file.read_text())
    ours = json.loads((tmp_path / "cwd" / "results.json").read_text())
    for table, name in (("runs", "cwd"), ("groups", "cwd")):
        cells = reader.rows(table)[name]
        assert float(cells["paper mIoU %"][0]) == row.mIoU
        assert float(cells["paper mAcc %"][0]) == row.mAcc
        assert float(cells["Δ paper mIoU"][0]) == pytest.approx(ours["mIoU"] - row.mIoU)
    alone = next(r for r in paper_rows() if r.method == "none" and r.heading == row.heading)
    assert float(reader.rows("runs")["none"]["paper mIoU %"][0]) == alone.mIoU
    teacher = next(r for r in paper_rows() if r.method == "teacher" and r.heading == row.heading)
    assert float(reader.rows("groups")["teacher"]["paper mIoU %"][0]) == teacher.mIoU


def test_other_options_are_no_row_of_the_paper(comparison) -> None:
    def row(**changes) -> PaperRow | None:
        config = yaml.safe_load((comparison / "fakd-seed0" / "config.yaml").read_text())
        config |= {"dataset": "ade20k", "student": "pspnet-r18", "backbone_weights": "imagenet", **changes}
        teacher = Run(Path("t"), {"network": "pspnet-r101"}, {}, {})
        return group_row(group_runs([Run(Path("r"), config, {}, {})])[0], teacher)

    assert row(options={}).method == "fakd"
    assert row(options={"strength": 0.5}).strength == 0.5
    assert row(options={"strength": 0.7}) is None
    assert row(options={"weight": 9.0}) is None
    assert row(options={}, student="pspnet/resnet18_v1c") is None


def test_runs_that_differ_in_more_than_the_seed(comparison) -> None:
    runs, _ = find_runs([comparison])

    def changed(name: str, **changes) -> Run:
        run = next(run for run in runs if run.folder.name == name)
        return Run(Path(f"{name}{changes}"), run.config | changes, run.results, {})

    more = [
        *runs,
        changed("cwd-seed0", max_steps=8),
        changed("none-seed0", max_steps=8),
        changed("cwd-seed0", workers=9),
    ]
    groups = {group.label: group for group in group_runs(more)}
    assert {"cwd max_steps=4", "cwd max_steps=8", "student alone max_steps=8"} <= set(groups)
    assert len(groups["cwd max_steps=4"].runs) == 3
    assert groups["cwd max_steps=8"].baseline is groups["student alone max_steps=8"]


def test_runs_of_other_networks_do_not_lengthen_names(comparison) -> None:
    runs, _ = find_runs([comparison])
    cwd = next(run for run in runs if run.folder.name == "cwd-seed0")
    other = Run(
        Path("other"), cwd.config | {"student": "hrnet-w18s", "max_steps": 9, "batch_size": 32}, cwd.results, {}
    )
    labels = {group.label for group in group_runs([cwd, other])}
    assert labels == {f"cwd {cwd.config['student']}", "cwd hrnet-w18s"}


def made_page(score: float) -> Reader:
    """The page of one run with that mIoU, where chance is 10."""
    config = with_defaults({"method": "cwd", "seed": 0, "dataset": "folder", "student": "s", "teacher": "t"})
    results = {"mIoU": score, "mAcc": score, "aAcc": score, "IoU": {"a": score, "b": 1.0, "c": 1.0}, "chance": 10.0}
    layers = [Layer("cwd", "student"), Layer("truth", "truth")]
    matrix = torch.tensor([[6, 2, 0], [9, 1, 0], [0, 0, 0]])
    gallery = Gallery(layers=layers, confusions=[Confusion("cwd", matrix, 7)])
    return Reader(render(group_runs([Run(Path("r"), config, results, {})]), [], {}, gallery, "title"))


@pytest.mark.parametrize("score", [10.1, 50.0])
def test_confusion_stands_first_where_nothing_was_learnt(score) -> None:
    reader = made_page(score)
    order = [name for name in reader.tables if name != "runs"]
    assert order == (["confusion-0", "groups", "classes"] if score < 11 else ["groups", "classes", "confusion-0"])
    rows = reader.rows("confusion-0")
    assert {name: [text for _, text in row.values()][1:] for name, row in rows.items()} == {
        "a": ["75.0", "25.0"],
        "b": ["90.0", "10.0"],
    }
    assert list(rows["a"]) == ["truth", "a", "b"]


def test_data_of_ones_own_has_no_columns_that_say_nothing() -> None:
    heads = [title for _, title in made_page(50.0).tables["groups"][0]]
    assert heads == ["method", "mIoU %", "mAcc %", "aAcc %", "seeds", "network"]


def test_many_classes_are_summed_up() -> None:
    names = [f"c{index}" for index in range(20)]
    table = confusion_table("x", Confusion("n", torch.ones(20, 20, dtype=torch.long), 1), names)
    assert [column.title for column in table.columns][-1] == "others"
    assert len(table.columns) == 14
    assert [cell.text for cell in table.rows[0]][1:] == ["5.0"] * 12 + ["40.0"]


def test_long_curves_are_thinned() -> None:
    points = [(step, float(step)) for step in range(1001)]
    config = with_defaults({"method": "cwd", "seed": 0, "dataset": "toy-scenes", "student": "s", "teacher": "t"})
    run = Run(Path("r"), config, {"IoU": {}}, {"loss/ce": points})
    trace = curves(group_runs([run]))["data"][0]
    assert len(trace["x"]) <= 200
    assert trace["x"][-1] == 1001  # steps done
    assert trace["y"][0] == mean(range(6))


def test_pictures_in_the_page_are_small() -> None:
    image = shrink(torch.randint(0, 256, (3, 400, 1000), dtype=torch.uint8))
    assert picture(image_uri(image)).size == (480, 192)
    mask = shrink(torch.tensor([[0, 1, 255]], dtype=torch.uint8).repeat(300, 400))
    shown = picture(mask_uri(mask, [(9, 8, 7), (1, 2, 3)])).convert("RGBA")
    assert shown.size == (480, 120)
    assert {colour for _, colour in shown.getcolors()} == {(9, 8, 7, 255), (1, 2, 3, 255), (0, 0, 0, 0)}
    shown = picture(mask_uri(mask, [(9, 8, 7), (1, 2, 3)], hide=(0,))).convert("RGBA")
    assert {colour for _, colour in shown.getcolors()} == {(1, 2, 3, 255), (0, 0, 0, 0)}
    assert mask.max() == 255  # left as it was


def broken(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("results.json", "{", "cannot be read, one of its files is damaged"),
        ("results.json", '{"mIoU": 1}', r"results.json has no mAcc, aAcc"),
        ("config.yaml", "a: [", "config.yaml: not readable as YAML"),
        ("config.yaml", "", "config.yaml has no dataset, seed"),
    ],
)
def test_damaged_runs(tmp_path, comparison, name, text, message) -> None:
    shutil.copytree(comparison / "cwd-seed0", tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        report(ReportConfig([broken(tmp_path / "run", name, text)], output=tmp_path / "page.html"))


def test_mistakes(tmp_path, comparison) -> None:
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        report(ReportConfig([tmp_path / "none"]))
    with pytest.raises(FileNotFoundError, match="is no run and holds none"):
        report(ReportConfig([tmp_path]))
    with pytest.raises(FileNotFoundError, match="none of these runs is finished"):
        report(ReportConfig([comparison / "pixel-seed0"]))
    shutil.copytree(comparison / "cwd-seed0", tmp_path / "run")
    file = tmp_path / "run" / "config.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"dataset": "camvid"}))
    with pytest.raises(
        ValueError, match="different data sets, or of other classes; take those of one at a time:\n  toy-scenes"
    ):
        report(ReportConfig([comparison, tmp_path / "run"]))
    for options, message in (
        ({"runs": []}, "no run is named"),
        ({"images": -1}, "images must be 0 or more, got -1"),
        ({"images": 8, "search": 7}, r"search must be at least as many as images \(8\), got 7"),
        ({"output": tmp_path}, "is a folder; give a file"),
    ):
        with pytest.raises(ValueError, match=message):
            ReportConfig(**{"runs": [comparison], **options})
