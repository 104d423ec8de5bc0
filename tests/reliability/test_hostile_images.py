"""Pictures that lie, explode or run something: one message each, and bounded memory."""

import os
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hostile import linux_only, outcome_and_memory, png
from PIL import Image

from fakd.data.reading import MOST_PIXELS, read_image, read_mask, upright_size
from fakd.data.spec import DataError

READERS = (read_image, read_mask, upright_size)
SCENE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def encoded(kind: str, **options) -> bytes:
    buffer = BytesIO()
    Image.fromarray(SCENE).save(buffer, kind, **options)
    return buffer.getvalue()


@linux_only
@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("size", [(10_000, 10_000), (30_000, 30_000), (MOST_PIXELS + 1, 1), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels(read, size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "huge.png").write_bytes(png(*size))
    message, memory = outcome_and_memory(read, tmp_path / "huge.png")
    assert message.startswith("DataError: ")
    assert "huge.png: too large as" in message
    assert "expected 89,478,485 pixels at most. Scale it down" in message
    assert str(size[0] * size[1]) in message
    assert memory < 16 << 20


@linux_only
@pytest.mark.parametrize("read", [read_image, read_mask])
def test_a_header_that_lies(read, tmp_path: Path) -> None:
    """A hundred bytes that claim 81 megapixels: what is decoded before they end is all that takes memory."""
    (tmp_path / "lie.png").write_bytes(png(9000, 9000, bytes(1000)))
    message, memory = outcome_and_memory(read, tmp_path / "lie.png")
    assert "lie.png: not readable as" in message
    assert memory < 512 << 20


@pytest.mark.slow
@linux_only
def test_the_largest_image_that_is_read(tmp_path: Path) -> None:
    width = 9000
    (tmp_path / "large.png").write_bytes(png(width, 9000, bytes((1 + 3 * width) * 9000)))
    message, memory = outcome_and_memory(read_image, tmp_path / "large.png")
    assert message == "no error"
    assert memory < 1 << 30


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, about TIFF
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "GIF"])
def test_truncated_and_flipped(kind: str, tmp_path: Path) -> None:
    """Whatever the damage, the answer is an image of bounded size or a DataError that names the file."""
    whole, rng, messages = encoded(kind), np.random.default_rng(1), []
    damaged = [whole[: int(len(whole) * part)] for part in (0, 0.01, 0.1, 0.5, 0.9)]
    for _ in range(40):
        flipped = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 400), 3):
            flipped[place] ^= 1 << int(rng.integers(8))
        damaged.append(bytes(flipped))
    for content in damaged:
        (tmp_path / "x.png").write_bytes(content)
        for read in READERS:
            try:
                read(tmp_path / "x.png")
            except DataError as error:
                messages.append(str(error))
    assert all(message.startswith(f"{tmp_path / 'x.png'}: ") for message in messages)
    assert len(messages) >= 9  # three readers, and at least the parts of 0, 1 and 10 %


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF"])
def test_animations(kind: str, tmp_path: Path) -> None:
    frames = [Image.fromarray(SCENE), Image.fromarray(SCENE[::-1].copy())]
    frames[0].save(tmp_path / "x.png", kind, save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="a file of 2 frames or pages, expected one image"):
        read_image(tmp_path / "x.png")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "F"])
def test_every_mode_is_read_or_refused(mode: str, tmp_path: Path) -> None:
    # Pillow 12.3 writes YCbCr as a TIFF that it cannot read
    Image.fromarray(SCENE).convert(mode).save(tmp_path / "x.tif", "JPEG" if mode == "YCbCr" else "TIFF")
    assert read_image(tmp_path / "x.tif").shape == (3, 60, 80)
    if mode in ("RGB", "RGBA", "CMYK", "F"):
        with pytest.raises(DataError, match=r"the mask stores (colours|fractions)"):
            read_mask(tmp_path / "x.tif")


@pytest.mark.skipif(os.name != "posix", reason="needs a program that is a shell script")
def test_postscript_starts_no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands what is PostScript to Ghostscript, whatever the file's name ends in."""
    (tmp_path / "bin").mkdir()
    for name in ("gs", "gsbin"):
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    Image.fromarray(SCENE).save(tmp_path / "x.png", "EPS")
    for read in READERS:
        with pytest.raises(DataError, match=r"x\.png: not readable as"):
            read(tmp_path / "x.png")
    assert not (tmp_path / "ran").exists()
