"""Every data set, in the layout in which it is published, trains two steps and is evaluated by the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from published_files import write_image, write_list, write_mask
from scipy.io import savemat

from fakd.cli import main
from fakd.data import get_dataset

TRAIN, VAL = ["a_000001", "b_000002", "c_000003"], ["d_000004", "e_000005"]
SPLITS = {"train": TRAIN, "val": VAL}
SIZE = (48, 40)  # width, height


def mask_of(values: list[int]) -> np.ndarray:
    return np.random.default_rng(0).choice(values, (SIZE[1], SIZE[0]))


def ade20k(root: Path) -> Path:
    for split, folder in (("train", "training"), ("val", "validation")):
        for name in SPLITS[split]:
            write_image(root / "ADEChallengeData2016" / "images" / folder / f"{name}.jpg", SIZE)
            write_mask(root / "ADEChallengeData2016" / "annotations" / folder / f"{name}.png", mask_of([0, 1, 77, 150]))
    return root


def cityscapes(root: Path) -> Path:
    for split, names in SPLITS.items():
        for name in names:
            write_image(root / "leftImg8bit" / split / "aachen" / f"{name}_leftImg8bit.png", SIZE)
            write_mask(root / "gtFine" / split / "aachen" / f"{name}_gtFine_labelIds.png", mask_of([0, 7, 26, 33]))
    return root


def voc2012(root: Path) -> Path:
    voc = root / "VOCdevkit" / "VOC2012"
    for split, names in SPLITS.items():
        write_list(voc / "ImageSets" / "Segmentation" / ("trainaug.txt" if split == "train" else "val.txt"), names)
        for name in names:
            folder = "SegmentationClassAug" if split == "train" else "SegmentationClass"
            write_image(voc / "JPEGImages" / f"{name}.jpg", SIZE)
            write_mask(voc / folder / f"{name}.png", mask_of([0, 5, 20, 255]), palette=split == "val")
    return voc


def pascal_context_png(root: Path) -> Path:
    voc = root / "VOCdevkit" / "VOC2010"
    for split, names in SPLITS.items():
        write_list(voc / "ImageSets" / "SegmentationContext" / f"{split}.txt", names)
        for name in names:
            write_image(voc / "JPEGImages" / f"{name}.jpg", SIZE)
            write_mask(voc / "SegmentationClassContext" / f"{name}.png", mask_of([0, 1, 59]))
    return voc


def pascal_context_mat(root: Path) -> Path:
    voc = root / "VOCdevkit" / "VOC2010"
    (voc / "trainval").mkdir(parents=True)
    for split, names in SPLITS.items():
        write_list(voc / "ImageSets" / "Main" / f"{split}.txt", names)
        for name in names:
            write_image(voc / "JPEGImages" / f"{name}.jpg", SIZE)
            savemat(voc / "trainval" / f"{name}.mat", {"LabelMap": mask_of([2, 9, 100, 458]).astype(np.uint16)})
    return voc


def camvid(root: Path) -> Path:
    for split, names in SPLITS.items():
        for name in names:
            write_image(root / split / f"{name}.png", SIZE)
            write_mask(root / f"{split}annot" / f"{name}.png", mask_of([0, 3, 10, 11]))
    return root


def folder(root: Path) -> Path:
    (root / "classes.txt").parent.mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("road\nroof\nplant\n")
    write_list(root / "val.txt", VAL)
    for name in (*TRAIN, *VAL):
        write_image(root / "images" / f"{name}.jpg", SIZE)
        write_mask(root / "masks" / f"{name}.png", mask_of([0, 1, 2, 255]))
    return root


@pytest.mark.parametrize(
    ("dataset", "build"),
    [
        ("ade20k", ade20k),
        ("cityscapes", cityscapes),
        ("voc2012", voc2012),
        ("pascal-context", pascal_context_png),
        ("pascal-context", pascal_context_mat),
        ("camvid", camvid),
        ("folder", folder),
    ],
)
def test_trains_and_evaluates(
    dataset: str, build: Callable[[Path], Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, run = build(tmp_path / "data"), tmp_path / "run"
    small = ["--base-size", "40x48", "--crop-size", "32x32", "--batch-size", "2", "--workers", "0"]
    data = ["--dataset", dataset, "--data-root", str(root)]
    train = ["--network", "pspnet/test_resnet", "--head-channels", "8", "--max-steps", "2", "--output", str(run)]
    assert main(["train", *data, *small, *train, "--accelerator", "cpu"]) == 0, capfd.readouterr().err

    scores = tmp_path / "scores.json"
    evaluate = ["evaluate", str(run), "--data-root", str(root), "--workers", "0", "--output", str(scores)]
    assert main([*evaluate, "--device", "cpu"]) == 0, capfd.readouterr().err
    spec = get_dataset(dataset, root)
    found = json.loads(scores.read_text())
    results = json.loads((run / "results.json").read_text())
    assert list(found["IoU"]) == list(spec.classes)
    assert found["mIoU"] == pytest.approx(results["mIoU"], abs=1e-9)
    seen = [name for name, value in found["acc"].items() if value is not None]
    assert 2 <= len(seen) <= 4  # the classes of mask_of in the validation images
