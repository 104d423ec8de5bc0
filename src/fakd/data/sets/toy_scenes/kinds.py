"""The classes of toy-scenes: indices, names and colours."""

from enum import IntEnum


class Kind(IntEnum):
    """What a pixel shows; the value is its class index in the label map."""

    ROAD = 0
    PAVEMENT = 1
    BUILDING = 2
    FENCE = 3
    POLE = 4
    TRAFFIC_SIGN = 5
    TREE = 6
    GRASS = 7
    SKY = 8
    PEDESTRIAN = 9
    BICYCLIST = 10
    CAR = 11
    VOID = 255


CLASSES: tuple[str, ...] = tuple(kind.name.lower().replace("_", " ") for kind in Kind if kind != Kind.VOID)

# The colours Cityscapes gives its nearest class, so that a coloured map reads at a glance.
PALETTE: tuple[tuple[int, int, int], ...] = (
    (128, 64, 128),
    (244, 35, 232),
    (70, 70, 70),
    (190, 153, 153),
    (153, 153, 153),
    (220, 220, 0),
    (107, 142, 35),
    (152, 251, 152),
    (70, 130, 180),
    (220, 20, 60),
    (119, 11, 32),
    (0, 0, 142),
)
