"""IoU and gains by class."""

from itertools import pairwise

import pytest
from drawn import drawn, has_colour, styled, texts

from fakd.analysis.figures.by_class import class_gains, draw_class_gains, draw_class_iou
from fakd.analysis.figures.style import choose_looks
from fakd.analysis.statistics import Spread

ALONE = {"road": 90.0, "car": 40.0, "pole": 10.0, "sky": 80.0, "bus": None}
FAKD = {"road": 89.0, "car": 46.0, "pole": 13.0, "sky": None, "bus": 7.0}
CWD = {"road": 92.0, "car": 40.0, "pole": 8.0, "sky": 81.0, "bus": None}
IOU = {"fakd": FAKD, "alone": ALONE, "cwd": CWD}


def test_gains_by_hand() -> None:
    found = class_gains(IOU, "alone")
    assert found.classes == ("pole", "car", "sky", "road")
    assert found.alone == (10, 40, 80, 90)
    assert found.gains == {"fakd": (3, 6, None, -1), "cwd": (-2, 0, 1, 2)}
    assert found.hard == {"fakd": 4.5, "cwd": -1}
    assert found.easy == {"fakd": -1, "cwd": 1.5}
    assert found.mean["cwd"] == 0.25
    assert found.mean["fakd"] == pytest.approx(8 / 3)


def test_the_middle_of_an_odd_number_is_in_neither_half() -> None:
    found = class_gains({"alone": {"a": 1, "b": 2, "c": 3}, "m": {"a": 2, "b": 102, "c": 6}}, "alone")
    assert (found.hard["m"], found.easy["m"]) == (1, 3)
    one = class_gains({"alone": {"a": 1}, "m": {"a": 2}}, "alone")
    assert (one.hard["m"], one.easy["m"], one.mean["m"]) == (None, None, 1)


def test_gains_are_drawn() -> None:
    looks = choose_looks(list(IOU), ["alone"])
    with styled():
        figure = draw_class_gains(class_gains(IOU, "alone"), looks, "alone")
    picture = drawn(figure)
    assert all(has_colour(picture, looks[name].colour) for name in ("fakd", "cwd"))
    rows = [text.get_text() for text in figure.axes[1].get_yticklabels()]
    assert rows == ["pole  (10.0)", "car  (40.0)", "sky  (80.0)", "road  (90.0)"]
    widths = {bars.get_label(): [bar.get_width() for bar in bars] for bars in figure.axes[1].containers}
    assert widths["cwd"] == [-2, 0, 1, 2]
    assert {"fakd", "cwd", "+4.5", "-1.0"} <= set(texts(figure))


def test_iou_is_drawn_in_the_order_given_and_taller_for_more_classes() -> None:
    iou = {name: {key: Spread(value, 1.0) for key, value in values.items()} for name, values in IOU.items()}
    looks = choose_looks(list(iou), ["alone"])
    with styled():
        figure = draw_class_iou(iou, ["pole", "bus", "road"], looks)
        many = draw_class_iou(
            {"a": {str(i): Spread(i / 2, None) for i in range(150)}},
            list(map(str, range(150))),
            looks | choose_looks(["a"], []),
        )
    picture = drawn(figure)
    assert all(has_colour(picture, look.colour) for look in looks.values())
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["pole", "bus", "road"]
    assert any("standard deviation" in text for text in texts(figure))
    assert not any("standard deviation" in text for text in texts(many))
    labels = [label.get_window_extent() for label in many.axes[0].get_yticklabels()]
    assert not any(upper.overlaps(lower) for upper, lower in pairwise(labels))
