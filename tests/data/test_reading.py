import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from fakd.data import DataError, read_image
from fakd.data.reading import exif_turns, load_mask, read_mask, upright_size

RGB = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
INDICES = np.random.default_rng(1).integers(0, 11, (8, 12), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.PNG"])
def test_png_is_read_exactly(tmp_path: Path, name: str) -> None:
    Image.fromarray(RGB).save(tmp_path / name, format="PNG")
    image = read_image(tmp_path / name)
    assert image.dtype == torch.uint8
    assert torch.equal(image, torch.from_numpy(RGB).permute(2, 0, 1))


def test_jpeg_is_read_as_rgb(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 30, 90), dtype=np.uint8)
    Image.fromarray(flat).save(tmp_path / "a.JPG", format="JPEG", quality=95)
    image = read_image(str(tmp_path / "a.JPG"))
    assert (image.float().mean((1, 2)) - torch.tensor([200.0, 30.0, 90.0])).abs().max() < 4


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    left_white = np.zeros((16, 32, 3), dtype=np.uint8)
    left_white[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn clockwise by 90 degrees": the left side becomes the top
    Image.fromarray(left_white).save(tmp_path / "a.jpg", exif=exif)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (3, 32, 16)
    assert image[:, :14].min() > 200
    assert image[:, 18:].max() < 50


def test_grey_is_repeated_and_alpha_dropped(tmp_path: Path) -> None:
    Image.fromarray(INDICES).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([RGB, INDICES])).save(tmp_path / "rgba.png")
    assert torch.equal(read_image(tmp_path / "grey.png"), torch.from_numpy(INDICES).expand(3, -1, -1))
    assert torch.equal(read_image(tmp_path / "rgba.png"), torch.from_numpy(RGB).permute(2, 0, 1))


def test_sixteen_bit_image_is_scaled_to_eight(tmp_path: Path) -> None:
    grey = RGB[..., 0]
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    assert torch.equal(read_image(tmp_path / "deep.png")[0], torch.from_numpy(grey))


@pytest.mark.parametrize(("factor", "kind"), [(1 / 255, np.float32), (1, np.float32), (1, np.int32), (257, np.int32)])
def test_ranges_that_are_plain_are_scaled(tmp_path: Path, factor: float, kind: type) -> None:
    grey = RGB[..., 0]
    Image.fromarray((grey * np.float64(factor)).astype(kind)).save(tmp_path / "a.tif")
    assert torch.equal(read_image(tmp_path / "a.tif"), torch.from_numpy(grey).expand(3, -1, -1))


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.float32([[-0.5, 1]]), "fractions from -0.5 to 1, expected 0 to 1 or 0 to 255. Scale them"),
        (np.float32([[0, 256]]), "fractions from 0 to 256, expected"),
        (np.float32([[0, np.nan]]), "fractions from nan to nan, expected"),
        (np.int32([[0, 70000]]), "the pixels go from 0 to 70000, expected 0 to 255, or to 65,535"),
        (np.int32([[-1, 9]]), "the pixels go from -1 to 9, expected"),
        (np.uint16([[0, 4095]]), "an image of 16 bits whose brightest pixel is 4,095"),
    ],
)
def test_other_ranges_are_refused(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=rf"a\.tif: .*{message}"):
        read_image(tmp_path / "a.tif")


def test_twelve_bits_of_colour_in_sixteen(tmp_path: Path) -> None:
    def png(factor: int) -> bytes:
        return _png(
            (RGB.astype(np.uint16) * factor).astype(">u2").view(np.uint8).reshape(len(RGB), -1),
            RGB.shape,
            bits=16,
            kind=2,
        )

    (tmp_path / "a.png").write_bytes(png(257))
    assert torch.equal(read_image(tmp_path / "a.png"), torch.from_numpy(RGB).permute(2, 0, 1))
    (tmp_path / "a.png").write_bytes(png(16))
    with pytest.raises(DataError, match=r"a\.png: an image of 16 bits whose brightest pixel is 3,840, or little more"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("bands", "bits", "kind", "message"),
    [(5, 8, 1, "5 bands of 8-bit whole numbers"), (3, 32, 3, "3 bands of 32-bit fractions")],
)
def test_a_tiff_of_other_bands_is_not_called_damaged(
    tmp_path: Path, bands: int, bits: int, kind: int, message: str
) -> None:
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    layout = {256: 2, 257: 2, 258: (bits,) * bands, 259: 1, 262: 2, 277: bands, 278: 2, 339: (kind,) * bands}
    for tag, value in (layout | {273: 1000, 279: 4 * bands * bits // 8}).items():
        tags[tag] = value
    with (tmp_path / "a.tif").open("wb") as file:
        tags.save(file)
        file.write(b"\0" * 2000)
    for read, what in ((read_image, "image"), (read_mask, "mask")):
        with pytest.raises(DataError, match=rf"a\.tif: a TIFF of {message}, which is not read as {what}. Save it"):
            read(tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("zero.jpg", lambda whole: b"", r"zero\.jpg: the file is empty \(0 bytes\)"),
        ("half.jpg", lambda whole: whole[: len(whole) // 2], r"half\.jpg: not readable as image .*truncated"),
        ("text.png", lambda whole: b"hello", r"text\.png: not readable as image .*another type"),
    ],
)
def test_broken_images(tmp_path: Path, name: str, content, message: str) -> None:
    Image.fromarray(RGB).save(tmp_path / "whole.jpg")
    (tmp_path / name).write_bytes(content((tmp_path / "whole.jpg").read_bytes()))
    with pytest.raises(DataError, match=message):
        read_image(tmp_path / name)


def test_missing_and_animated_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: no such file"):
        read_image(tmp_path / "none.png")
    frames = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="a file of 2 frames or pages, expected one image"):
        read_image(tmp_path / "two.gif")


def test_palette_mask_gives_indices(tmp_path: Path) -> None:
    mask = Image.fromarray(INDICES)
    mask.putpalette(np.random.default_rng(2).integers(0, 256, 768).tolist())
    mask.save(tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").mode == "P"
    assert np.array_equal(read_mask(tmp_path / "a.png"), INDICES)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_grey_mask_of_few_bits_is_not_stretched(tmp_path: Path, bits: int) -> None:
    indices = np.random.default_rng(0).integers(0, 2**bits, (8, 16), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(_grey_png(indices, bits))
    found = read_mask(tmp_path / "a.png")
    assert found.dtype == np.uint8
    assert np.array_equal(found, indices)


def test_sixteen_bit_mask(tmp_path: Path) -> None:
    values = INDICES.astype(np.uint16) * 300
    Image.fromarray(values).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), values)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_mask_of_colours_is_refused(tmp_path: Path, mode: str) -> None:
    Image.fromarray(RGB).convert(mode).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=rf"a\.png: the mask stores colours \(mode {mode}\)"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_mask_of_equal_channels_is_one_channel(tmp_path: Path, mode: str) -> None:
    Image.fromarray(INDICES).convert(mode).save(tmp_path / "a.png")
    assert np.array_equal(read_mask(tmp_path / "a.png"), INDICES)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mask_is_turned_as_its_image(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.repeat(INDICES[..., None], 3, 2)).save(tmp_path / "image.png", exif=exif)
    Image.fromarray(INDICES).save(tmp_path / "mask.png", exif=exif)
    image = read_image(tmp_path / "image.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), image[0])
    assert upright_size(tmp_path / "image.png") == tuple(image.shape[1:]) == ((8, 12) if orientation < 5 else (12, 8))
    assert exif_turns(tmp_path / "image.png") == (orientation >= 5)


def test_colour_mask_keeps_its_colours(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "a.png")
    assert np.array_equal(load_mask(tmp_path / "a.png"), RGB)
    with pytest.raises(DataError, match=r"b\.png: no such file"):
        upright_size(tmp_path / "b.png")
    (tmp_path / "b.png").write_bytes(b"text")
    with pytest.raises(DataError, match=r"b\.png: not readable as image"):
        upright_size(tmp_path / "b.png")


def test_truncated_mask(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.png: not readable as mask .*truncated"):
        read_mask(tmp_path / "a.png")


def _grey_png(values: np.ndarray, bits: int) -> bytes:
    packed = np.packbits(np.unpackbits(values[..., None], axis=-1)[..., 8 - bits :].reshape(len(values), -1), axis=1)
    return _png(packed, values.shape, bits, kind=0)


def _png(rows: np.ndarray, shape: tuple[int, ...], bits: int, kind: int) -> bytes:
    """Write a PNG by hand, as Pillow never writes 2, 4 or, of colours, 16 bits."""
    content = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", shape[1], shape[0], bits, kind, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")
