import json

import pytest

from fakd.data import get_dataset
from fakd.data.class_names import Classes, class_order, hidden_classes, names_in, notes_of_dataset
from fakd.data.spec import DatasetSpec

OURS = ("Traffic light", "road", "sky")


def order(theirs: tuple[str, ...] | None, ours: tuple[str, ...] | None = OURS) -> list[int] | None:
    return class_order("net", Classes(3, theirs), "streets", Classes(3, ours), "Say it by --class-map.")


def test_the_same_names_in_another_order(capsys: pytest.CaptureFixture[str]) -> None:
    for same in (OURS, ("traffic_light", "Road", "SKY"), ("trafficlight", " road", "-sky-")):
        assert order(same) is None
    assert capsys.readouterr().out == ""
    theirs = ("sky", "TRAFFIC-LIGHT", "road")
    found = order(theirs)
    assert found is not None
    assert [theirs[index].lower().replace("-", " ") for index in found] == [name.lower() for name in OURS]
    assert "net has those of streets in another order" in capsys.readouterr().out


def test_others_are_refused_and_unknown_ones_taken_as_they_are() -> None:
    expected = r"net scores 3 classes, as streets has, but others: tram in place of road. Say it by --class-map.$"
    with pytest.raises(ValueError, match=expected):
        order(("traffic light", "tram", "sky"))
    with pytest.raises(ValueError, match=r"net scores 2 classes, but streets has 3. Say it by --class-map.$"):
        class_order("net", Classes(2), "streets", Classes(3, OURS), "Say it by --class-map.")
    assert order(None) is None
    assert order(("a", "b", "c"), None) is None


def test_names_that_differ_by_hyphens_alone_stay_two_classes() -> None:
    assert order(("a b", "ab", "c"), ("ab", "a b", "c")) == [1, 0, 2]


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["a", "b"], ("a", "b")),
        (["class 0", "class 1"], None),
        (["LABEL_0", "LABEL_1"], None),
        (["a"], None),
        (["a", 1], None),
        ("ab", None),
    ],
)
def test_names_in_notes(classes: object, names: tuple[str, ...] | None) -> None:
    assert names_in({"classes": json.dumps(classes)}, 2) == names
    assert names_in({"classes": "{damaged"}, 2) is None
    assert names_in({}, 2) is None


def published(dataset: str, changes: dict[str, str], source: str | None = None) -> list[int] | None:
    """The order in which a network of a published data set is read that calls some classes by other names."""
    spec = get_dataset(dataset)
    names = tuple(changes.get(name, name) for name in spec.classes)
    return class_order("net", Classes(len(names), names, source), dataset, Classes.of_dataset(spec))


# As torchvision, GluonCV and the list that comes with ADE20K have them; of VOC's many spellings those seen most.
VOC = {"background": "__background__", "diningtable": "dining table", "pottedplant": "potted plant", "tvmonitor": "tv"}
ADE = {"building": "building, edifice", "floor": "floor, flooring", "windowpane": "window", "signboard": "sign"}


def test_other_spellings_of_published_data_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert published("voc2012", VOC) is None
    assert "some by other names: 'tv' for 'tvmonitor'" in capsys.readouterr().out
    assert published("ade20k", ADE) is None
    assert "'window' for 'windowpane', 'sign' for 'signboard'" in capsys.readouterr().out
    with pytest.raises(ValueError, match="but others: lorry in place of car"):  # nobody publishes networks for these
        published("toy-scenes", {"car": "lorry"})


def test_changed_places_are_no_other_spelling() -> None:
    with pytest.raises(ValueError, match="tv in place of tvmonitor"):
        published("voc2012", {"cat": "dog", "dog": "cat", "tvmonitor": "tv"})
    places = published("voc2012", {"cat": "dog", "dog": "cat"})
    names = get_dataset("voc2012").classes
    assert places is not None
    assert [names[index] for index in places] == [{"cat": "dog", "dog": "cat"}.get(name, name) for name in names]


def test_a_network_that_names_its_published_data_set_is_trusted(capsys: pytest.CaptureFixture[str]) -> None:
    other = {name: f"klass {place}" for place, name in enumerate(get_dataset("cityscapes").classes)}
    assert published("cityscapes", other, source="cityscapes") is None
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="but others"):
        published("cityscapes", other)


def test_notes_keep_the_network_s_order() -> None:
    spec = DatasetSpec("streets", OURS, ((1, 1, 1), (2, 2, 2), (3, 3, 3)), (8, 8), (8, 8), lambda root, split: [])
    theirs = {"classes": json.dumps(["sky", "traffic light", "road"])}
    notes = notes_of_dataset("net", 3, theirs, spec, (4, 4))
    assert json.loads(notes["classes"]) == ["sky", "Traffic light", "road"]
    assert json.loads(notes["palette"]) == [[3, 3, 3], [1, 1, 1], [2, 2, 2]]
    assert (notes["dataset"], json.loads(notes["base_size"])) == ("streets", [4, 4])
    assert notes_of_dataset("net", 3, {}, spec, None) == spec.notes()


@pytest.mark.parametrize(
    ("hide", "classes", "expected"),
    [
        (None, ("_background_", "cell"), (0,)),
        (None, ("road", "Void", "Background"), (1, 2)),
        (None, ("road", "sky"), ()),
        ("none", ("background", "cell"), ()),
        ("cell, road", ("road", "background", "cell"), (0, 2)),
        (["wall, brick"], ("wall, brick", "background"), (0,)),
    ],
)
def test_classes_without_a_colour(hide, classes, expected) -> None:
    assert hidden_classes(hide, classes) == expected


def test_a_class_to_hide_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="hide has raod, and the classes are road, sky; --hide none shows them all"):
        hidden_classes("raod,sky", ("road", "sky"))
