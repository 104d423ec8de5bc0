from pathlib import Path

import pytest
import torch
from PIL import Image

from fakd.data.palette import colorize, overlay, write_label_png
from fakd.data.reading import read_mask

PALETTE = [(10, 20, 30), (200, 100, 0)]
LABELS = torch.tensor([[0, 1, 255]])


def test_colorize() -> None:
    for dtype in (torch.uint8, torch.int64):
        picture = colorize(LABELS.to(dtype), PALETTE)
        assert picture.dtype == torch.uint8
        assert picture.tolist() == [[[10, 20, 30], [200, 100, 0], [0, 0, 0]]]


def test_overlay() -> None:
    image = torch.full((3, 1, 3), 100, dtype=torch.uint8)
    assert overlay(image, LABELS, PALETTE, opacity=0.5).tolist() == [[[55, 60, 65], [150, 100, 50], [100] * 3]]
    assert overlay(image, LABELS, PALETTE, opacity=0).unique().tolist() == [100]
    for labels in (LABELS, LABELS.to(torch.uint8)):
        assert overlay(image, labels, PALETTE, hide=(0,)).tolist() == [[[100] * 3, [150, 100, 50], [100] * 3]]


def test_written_mask_keeps_indices_and_shows_colours(tmp_path: Path) -> None:
    write_label_png(tmp_path / "a.png", LABELS, PALETTE)
    assert read_mask(tmp_path / "a.png").tolist() == LABELS.tolist()
    shown = Image.open(tmp_path / "a.png").convert("RGB")
    assert [shown.getpixel((x, 0)) for x in range(3)] == [*PALETTE, (0, 0, 0)]


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"labels hold \[2\], expected 0-1 for 2 colours, or 255"):
        colorize(torch.tensor([[2]]), PALETTE)
    with pytest.raises(ValueError, match=r"labels are \(1, 1, 1\), expected \(H, W\)"):
        colorize(torch.zeros(1, 1, 1, dtype=torch.uint8), PALETTE)
    with pytest.raises(ValueError, match="expected \\(3, H, W\\) and \\(H, W\\)"):
        overlay(torch.zeros(3, 2, 2, dtype=torch.uint8), LABELS, PALETTE)
    with pytest.raises(ValueError, match="opacity is 2"):
        overlay(torch.zeros(3, 1, 3, dtype=torch.uint8), LABELS, PALETTE, opacity=2)
