import json
from functools import partial
from pathlib import Path

import exports
import numpy as np
import pytest
from exports import HEIGHT, NAMES, TREE, WIDTH, scene, tree
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from fakd.commands.data_import import ImportConfig, import_dataset
from fakd.console import console
from fakd.data import DataError, get_dataset

EXPORTS = {
    "coco": exports.coco,
    "coco packed": partial(exports.coco, segmentation=exports.packed_runs),
    "coco plain": partial(exports.coco, segmentation=exports.plain_runs),
    "labelme": exports.labelme,
    "yolo": exports.yolo,
    "supervisely": exports.supervisely,
    "voc": exports.voc,
    "roboflow": exports.roboflow,
}


def imported(kind: str, source: Path, **options: object) -> tuple[Path, str]:
    """Import a source; the folder, and what was printed."""
    root = source.parent / "made"
    with console.capture() as printed:
        import_dataset(ImportConfig(kind.split()[0], source, root, **options))
    return root, printed.get()


def refused(kind: str, source: Path, **options: object) -> str:
    """What is printed and raised where an import fails; nothing is left then."""
    root = source.parent / "made"
    with console.capture() as printed, pytest.raises((DataError, ValueError)) as error:
        import_dataset(ImportConfig(kind.split()[0], source, root, **options))
    assert [path.name for path in source.parent.iterdir()] == [source.name]
    return printed.get() + str(error.value)


def labels(root: Path, split: str = "train") -> np.ndarray:
    return get_dataset("folder", root).open(root, split)[0].label.numpy()


def edit(path: Path, change: object) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


@pytest.mark.parametrize("kind", EXPORTS)
def test_a_scene_is_the_same_from_every_format(kind: str, tmp_path: Path) -> None:
    source = EXPORTS[kind](tmp_path / "source")

    root, printed = imported(kind, source)

    spec = get_dataset("folder", root)
    assert spec.classes == ("background", *(("car", "tree", "road") if kind == "roboflow" else NAMES))
    values = {name: spec.classes.index(name) for name in NAMES}
    for split in ("train", "val"):
        found, due = labels(root, split), scene("road", "tree", "car", values=values)
        edge = binary_dilation(tree()) & ~binary_erosion(tree())  # an outline that is not along pixels
        assert (found == due)[~edge].all()
        assert (found != due).sum() <= (0 if kind in ("coco packed", "coco plain", "supervisely", "voc") else 12)
        assert (root / "images" / split).joinpath("a.jpg").samefile(next(source.rglob(f"*{split}*/**/a.jpg")))
    assert "1 train, 1 val" in printed
    assert "no faults" in printed


def test_the_colours_of_a_source_are_kept_and_shown_by_the_masks(tmp_path: Path) -> None:
    root, _ = imported("supervisely", exports.supervisely(tmp_path / "source"))

    assert (root / "classes.txt").read_text() == "background #000000\ncar #00008e\nroad #804080\ntree #6b8e23\n"
    shown = np.asarray(Image.open(root / "masks" / "train" / "a.png").convert("RGB"))
    assert np.array_equal(shown[29, 0], (0x80, 0x40, 0x80))


def test_names_that_lines_of_text_would_not_hold(tmp_path: Path) -> None:
    source = exports.coco(tmp_path / "source")
    names = ["car: red", "#808080 road", "tree, 1 2 3"]
    for split in ("train", "val"):
        path = source / "annotations" / f"instances_{split}2017.json"
        edit(
            path, lambda data: [entry.update(name=name) for entry, name in zip(data["categories"], names, strict=True)]
        )

    assert get_dataset("folder", imported("coco", source)[0]).classes == ("background", *names)


@pytest.mark.parametrize(
    ("overlaps", "order"), [("smaller", ("road", "tree", "car")), ("later", ("car", "road", "tree"))]
)
def test_which_of_two_shapes_lies_above(overlaps: str, order: tuple[str, ...], tmp_path: Path) -> None:
    root, _ = imported("coco", exports.coco(tmp_path / "source", exports.packed_runs), overlaps=overlaps)

    assert np.array_equal(labels(root), scene(*order))


def test_a_background_that_is_ignored(tmp_path: Path) -> None:
    root, _ = imported("voc", exports.voc(tmp_path / "a" / "source"), background="ignore")
    drawn, _ = imported("coco", exports.coco(tmp_path / "b" / "source", exports.plain_runs), background="ignore")

    expected = scene("road", "tree", "car", values={"car": 0, "road": 1, "tree": 2})
    expected[scene("road", "tree", "car") == 0] = 255
    assert np.array_equal(labels(root), expected)
    assert np.array_equal(labels(drawn), expected)
    assert get_dataset("folder", drawn).classes == NAMES


def test_another_class_as_the_background(tmp_path: Path) -> None:
    root, _ = imported("coco", exports.coco(tmp_path / "source", exports.packed_runs), background="Road")

    assert get_dataset("folder", root).classes == ("road", "car", "tree")
    assert np.array_equal(labels(root), scene("road", "tree", "car", values={"road": 0, "car": 1, "tree": 2}))


def test_a_share_is_set_aside_where_nothing_is_there_to_validate_on(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for place in range(10):
        exports.image(source / f"{place}.jpg")
        shape = {"label": "car", "points": TREE, "shape_type": "polygon"}
        exports.write_json(source / f"{place}.json", {"imagePath": f"{place}.jpg", "shapes": [shape]})

    assert "--val-share 0.2" in refused("labelme", source)
    root, printed = imported("labelme", source, val_share=0.3)

    counts = {split: len(get_dataset("folder", root).open(root, split)) for split in ("train", "val")}
    assert sum(counts.values()) == 10
    assert counts["val"] in range(1, 6)
    assert f"{counts['train']} train, {counts['val']} val" in printed


def test_a_circle_and_holes(tmp_path: Path) -> None:
    made = {}
    shape = {"label": "sun", "shape_type": "circle", "points": [[20, 15], [20, 25]]}
    labelled = exports.labelme(tmp_path / "a" / "source")
    edit(labelled / "train" / "a.json", lambda data: data.update(shapes=[shape]))
    made["circle"] = labels(imported("labelme", labelled)[0]) > 0
    project = exports.supervisely(tmp_path / "b" / "source")
    points = {"exterior": exports.box(2, 3, 30, 20), "interior": [exports.box(10, 8, 14, 12)]}
    frame = {"classTitle": "car", "geometryType": "polygon", "points": points}
    edit(project / "train" / "ann" / "a.jpg.json", lambda data: data.update(objects=[frame]))
    made["holes"] = labels(imported("supervisely", project)[0]) > 0

    rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    radius = np.hypot(columns - 20, rows - 15)
    assert made["circle"][radius < 9.3].all()
    assert not made["circle"][radius > 10.7].any()
    assert np.array_equal(made["holes"], exports.covered(2, 3, 31, 21) & ~exports.covered(10, 8, 15, 13))


def test_what_labelme_knows_beside_shapes(tmp_path: Path) -> None:
    source = exports.labelme(tmp_path / "source")
    (source / "labels.txt").write_text("__ignore__\n_background_\ntree\nroad\ncar\n")
    exports.image(source / "train" / "nobody_looked.jpg")
    edit(source / "train" / "a.json", lambda data: data["shapes"][0].update(label="__ignore__"))

    root, printed = imported("labelme", source)

    assert get_dataset("folder", root).classes == ("_background_", "tree", "road", "car")
    assert (labels(root)[exports.covered(*exports.CAR)] == 255).all()
    assert "1 images have no JSON file of their own" in printed


def test_lists_and_empty_images_of_yolo(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in "abc":
        exports.image(source / "images" / "all" / f"{name}.jpg")
    (source / "labels" / "all").mkdir(parents=True)
    (source / "labels" / "all" / "a.txt").write_text("3 0 0 1 0 1 1 0 1\n\n")
    (source / "labels" / "classes.txt").write_text("road\n")
    (source / "part.txt").write_text("data/images/all/b.jpg\n./images/all/c.jpg\n")
    (source / "data.yaml").write_text("train: images/all\nval: part.txt\nnames: {3: road}\n")

    root, printed = imported("yolo", source)

    assert (labels(root) == 1).all()
    assert len(get_dataset("folder", root).open(root, "val")) == 2
    assert "2 images have no file of labels" in printed


def test_one_file_of_coco_as_roboflow_writes_it(tmp_path: Path) -> None:
    source = exports.coco(tmp_path / "source")
    for split in ("train2017", "val2017"):
        (source / "annotations" / f"instances_{split}.json").rename(source / split / "_annotations.coco.json")

        def grouped(data: dict) -> None:
            data["categories"] = [{"id": 0, "name": "things", "supercategory": "none"}] + [
                {**entry, "supercategory": "things"} for entry in data["categories"]
            ]

        edit(source / split / "_annotations.coco.json", grouped)

    root, _ = imported("coco", source)

    assert get_dataset("folder", root).classes == ("background", *NAMES)
    assert "no images to validate on" in refused_file(source / "train2017" / "_annotations.coco.json")


def refused_file(path: Path) -> str:
    with pytest.raises(DataError) as error:
        import_dataset(ImportConfig("coco", path, path.parents[2] / "other"))
    return str(error.value)


COCO = "annotations/instances_train2017.json"
JSON = "train/a.json"
OBJECTS = "train/ann/a.jpg.json"
FAULTS = {
    "a polygon outside": ("coco", COCO, lambda data: move(data, 900), "annotation 100 of a.jpg reaches from 905, 910"),
    "a category": (
        "coco",
        COCO,
        lambda data: data["annotations"][1].update(category_id=4),
        "annotation 101 of a.jpg: its category_id 4 is none of the categories, 10, 20, 30",
    ),
    "no such image": (
        "coco",
        COCO,
        lambda data: data["images"][0].update(file_name="b.jpg"),
        "the image b.jpg is missing",
    ),
    "a box": (
        "coco",
        COCO,
        lambda data: data["annotations"][2].update(segmentation=[]),
        "annotation 102 of a.jpg: it has no outline",
    ),
    "a line of COCO": (
        "coco",
        COCO,
        lambda data: data["annotations"][2].update(segmentation=[[1, 2, 3, 4]]),
        "its outline has 2 corners",
    ),
    "words": (
        "coco",
        COCO,
        lambda data: data["annotations"][2].update(segmentation=[["a", 2, 3, 4, 5, 6]]),
        "its points are no pairs of numbers",
    ),
    "another image": (
        "coco",
        COCO,
        lambda data: data["images"][0].update(width=80),
        "drawn on 80x30 pixels (width x height), but",
    ),
    "of no image": (
        "coco",
        COCO,
        lambda data: data["annotations"][0].update(image_id=8),
        "1 annotations of image_id 8, which is none of its images",
    ),
    "a list for an id": (
        "coco",
        COCO,
        lambda data: data["annotations"][0].update(image_id=[7]),
        "1 annotations of image_id [7], which is none of its images",
    ),
    "a number larger than any": (
        "coco",
        COCO,
        lambda data: data["annotations"][2].update(segmentation=[[10**400, 2, 3, 4, 5, 6]]),
        "annotation 102 of a.jpg: int too large",
    ),
    "short runs": (
        "coco packed",
        COCO,
        lambda data: data["annotations"][0]["segmentation"].update(counts="02"),
        "a.jpg: its run lengths do not fill 40x30 pixels",
    ),
    "long runs": (
        "coco plain",
        COCO,
        lambda data: data["annotations"][0]["segmentation"].update(counts=[1199, 2]),
        "its run lengths do not fill 40x30 pixels",
    ),
    "twice": (
        "coco",
        COCO,
        lambda data: data["images"].append({"id": 8, "file_name": "a.jpg"}),
        "a.jpg is annotated 2 times",
    ),
    "a point": (
        "labelme",
        JSON,
        lambda data: data["shapes"][2].update(shape_type="point"),
        "shape 3 (tree): it is a point, which covers no pixels",
    ),
    "a shape without a kind": (
        "labelme",
        JSON,
        lambda data: data["shapes"][2].update(shape_type=["point"]),
        "shape 3 (tree): it is a ['point'], which covers no pixels",
    ),
    "a moved image": (
        "labelme",
        JSON,
        lambda data: data.update(imagePath="c.jpg"),
        "the image c.jpg is missing, expected it below",
    ),
    "a torn mask": (
        "labelme",
        JSON,
        lambda data: data["shapes"][1].update(mask="AAAA"),
        "shape 2 (road): its mask is not readable as a PNG",
    ),
    "a class of no project": (
        "supervisely",
        OBJECTS,
        lambda data: data["objects"][0].update(classTitle="bus"),
        "object 1 (bus): its class is not in meta.json, expected one of car, road, tree",
    ),
    "a line": (
        "supervisely",
        OBJECTS,
        lambda data: data["objects"][0].update(geometryType="line"),
        "object 1 (car): it is of type line",
    ),
    "a torn bitmap": (
        "supervisely",
        OBJECTS,
        lambda data: data["objects"][2]["bitmap"].update(data="eJw="),
        "object 3 (tree): its mask is not readable",
    ),
}


def move(data: dict, by: int) -> None:
    data["annotations"][0]["segmentation"] = [[number + by for number in data["annotations"][0]["segmentation"][0]]]


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_name_their_file(fault: str, tmp_path: Path) -> None:
    kind, file, change, message = FAULTS[fault]
    source = EXPORTS[kind](tmp_path / "source")
    edit(source / file, change)

    said = refused(kind, source)

    assert message in said
    assert f"{source / file}: " in said
    assert "1 fault, listed above: nothing was written" in said or fault == "twice"


LINES = {
    "7 0 0 1 0 1 1": "line 1: class 7 has no name in data.yaml, which names 0, 1, 2",
    "0 0.5 0.5 0.1 0.1": "line 1: a box, which does not say which pixels",
    "0 0 0 1 0 1 1 1": "line 1: 7 numbers behind the class",
    "car 0 0 1 0 1 1": "line 1: 'car 0 0 1 0 1 1' is no row of numbers",
    "0 400 0 500 0 500 100": "line 1 (car) reaches from 16000, 0 to 20000, 3000, outside its image a.jpg of 40x30",
    "0 nan 0 1 0 1 1": "line 1: a corner of its outline is no finite number",
}


@pytest.mark.parametrize("line", LINES)
def test_faults_of_yolo_name_file_and_line(line: str, tmp_path: Path) -> None:
    source = exports.yolo(tmp_path / "source")
    (source / "train" / "labels" / "a.txt").write_text(line)
    (source / "train" / "labels" / "gone.txt").write_text("")

    said = refused("yolo", source)

    assert f"a.txt: {LINES[line]}" in said
    assert "gone.txt: its image is missing" in said
    assert "2 faults" in said


def test_faults_of_masks_name_their_file(tmp_path: Path) -> None:
    source = exports.voc(tmp_path / "a" / "source")
    exports.write_mask(source / "SegmentationClass" / "train" / "a.png", np.full((HEIGHT, WIDTH, 3), 9, np.uint8))
    (source / "ImageSets" / "Segmentation" / "val.txt").write_text("val/a\nval/b\n")
    said = refused("voc", source)
    assert "train/a.png: " in said
    assert "(9, 9, 9) in 1200 pixels" in said
    assert "val/b.png: the image val/b is missing" in said

    source = exports.roboflow(tmp_path / "b" / "source")
    exports.write_mask(source / "train" / "a_mask.png", np.full((HEIGHT, WIDTH), 6, np.uint8))
    exports.image(source / "train" / "b.jpg")
    (source / "valid" / "a.jpg").rename(source / "valid" / "c.jpg")
    said = refused("roboflow", source)
    assert "train/a_mask.png: label value 6 outside the classes, expected only 0, 5, 7, 9, 255" in said
    assert "train/b.jpg: no b_mask.png beside it" in said
    assert "valid/a_mask.png: its image a.jpg is missing" in said
    assert "valid/c.jpg: no c_mask.png beside it" in said


def test_images_with_faults_are_left_out_where_asked(tmp_path: Path) -> None:
    source = exports.coco(tmp_path / "source")
    exports.image(source / "train2017" / "b.jpg")

    def broken(data: dict) -> None:
        data["images"].append({"id": 8, "file_name": "b.jpg"})
        data["annotations"].append({"id": 1, "image_id": 8, "category_id": 99, "segmentation": [[0, 0, 9, 0, 9, 9]]})

    edit(source / COCO, broken)
    root, printed = imported("coco", source, skip_faults=True)

    assert f"left out: {source / COCO}: annotation 1 of b.jpg: its category_id 99" in printed
    assert [path.name for path in sorted((root / "images").rglob("*.jpg"))] == ["a.jpg", "a.jpg"]


def test_what_reaches_over_the_edge_is_cut_and_said(tmp_path: Path) -> None:
    source = exports.coco(tmp_path / "source")
    flat = np.ravel(exports.box(30, 20, 45, 35)).tolist()
    edit(source / COCO, lambda data: data["annotations"][0].update(segmentation=[flat]))

    root, printed = imported("coco", source)

    assert np.array_equal(labels(root) == 1, exports.covered(30, 20, 40, 30))
    assert f"1 shapes are cut at the edge of their image ({source / COCO}, annotation 100 of a.jpg)" in printed


@pytest.mark.parametrize("called", ["../../secret.jpg", "/etc/secret.jpg", "..\\..\\secret.jpg"])
def test_nothing_is_written_beside_the_folder(called: str, tmp_path: Path) -> None:
    source = exports.coco(tmp_path / "deep" / "source")
    exports.image(tmp_path / "secret.jpg")
    edit(source / COCO, lambda data: data["images"][0].update(file_name=called))
    before = sorted(tmp_path.rglob("*"))
    exports.image(source / "train2017" / "secret.jpg")

    root, _ = imported("coco", source)

    made = {path for path in tmp_path.rglob("*") if root not in (path, *path.parents)}
    assert made - {*before} == {source / "train2017" / "secret.jpg"}
    assert [path.name for path in (root / "images" / "train").iterdir()] == ["secret.jpg"]


NOTHING = {
    "coco": "no COCO annotations there",
    "labelme": "no JSON files of LabelMe there",
    "yolo": "no data.yaml there",
    "voc": "no labelmap.txt there",
    "roboflow": "no _classes.csv there",
    "supervisely": "no meta.json there",
}


@pytest.mark.parametrize("kind", NOTHING)
def test_a_source_of_another_format(kind: str, tmp_path: Path) -> None:
    exports.image(tmp_path / "source" / "a.jpg")
    exports.write_json(tmp_path / "source" / "b.json", [])
    assert NOTHING[kind] in refused(kind, tmp_path / "source")


def test_what_is_refused_before_any_work(tmp_path: Path) -> None:
    source = exports.voc(tmp_path / "source")
    assert "val_share must be above 0 and below 1, got 1" in refused("voc", source, val_share=1)
    assert "no class 'sky' for the background, expected one of background, car" in refused(
        "voc", source, background="sky"
    )
    with pytest.raises(DataError, match=r"gone: no such folder, expected the unpacked export there"):
        import_dataset(ImportConfig("voc", tmp_path / "gone", tmp_path / "made"))
    with pytest.raises(FileExistsError, match="is there already, and not empty"):
        import_dataset(ImportConfig("voc", source, source))
    for line, why in (("road:128,64::", "'road:128,64::' is not understood"), ("road", "road has no colour, expected")):
        (source / "labelmap.txt").write_text(f"background:0,0,0::\n{line}\n")
        assert why in refused("voc", source)
