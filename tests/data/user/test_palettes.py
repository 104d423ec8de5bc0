from pathlib import Path

import pytest

from fakd.data.user.masks import Colour
from fakd.data.user.palettes import Shown, palette_faults

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


@pytest.mark.parametrize(
    ("palettes", "used", "at_fault"),
    [
        ([(RED, GREEN)] * 3, [(0, 1)] * 3, {}),
        ([(RED, GREEN), (RED, GREEN), (RED, BLUE)], [(0, 1)] * 3, {"2": "value 1 is shown in"}),
        ([(RED, GREEN), (RED, GREEN), (RED, BLUE)], [(0, 1), (0, 1), (0,)], {}),  # nobody sees the difference
        ([(RED, GREEN), (RED, GREEN), (BLUE, RED)], [(0,), (0,), (1,)], {"2": "the colour"}),
        ([(RED, RED, BLUE)] * 2, [(0, 2), (1, 2)], {}),  # one colour for two values throughout
    ],
)
def test_masks_unlike_most(palettes: list[tuple[Colour, ...]], used: list[tuple[int, ...]], at_fault: dict) -> None:
    masks = {Path(str(n)): Shown(*pair) for n, pair in enumerate(zip(used, palettes, strict=True))}
    found = palette_faults(masks)
    assert {str(path): text[: len(at_fault.get(str(path), ""))] for path, text in found.items()} == at_fault
