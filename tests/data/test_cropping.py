import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

from fakd.data.cropping import Window, resized_label_window, resized_window

FILL = (124, 116, 104)
# The pairs of (height, width) before and after: smaller, larger, upright, odd, and by a single pixel.
SIZES = [
    ((120, 160), (60, 80)),
    ((120, 160), (37, 49)),
    ((120, 160), (240, 320)),
    ((97, 61), (135, 85)),
    ((61, 97), (23, 37)),
    ((101, 67), (102, 68)),
    ((101, 67), (100, 66)),
    ((50, 70), (50, 70)),
    ((80, 50), (80, 77)),
    ((300, 9), (111, 3)),
]


def _noise(size: tuple[int, int], seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator)
    return pixels.permute(2, 0, 1), torch.randint(0, 20, size, dtype=torch.uint8, generator=generator)


def _whole_then_window(
    picture: Tensor, size: tuple[int, int], window: Window, flipped: bool, fill: list[int]
) -> Tensor:
    """Resize everything, pad on all sides, cut: the order that windows replace."""
    if len(picture) == 3:  # torchvision's own rounds elsewhere: 0.21 resizes as float32 where a CPU has AVX-512
        pixels = picture[None].contiguous(memory_format=torch.channels_last)
        resized = interpolate(pixels, size, mode="bilinear", antialias=True)[0]
    else:
        resized = F.resize_image(picture, list(size), interpolation=InterpolationMode.NEAREST_EXACT)
    padding = 2 * max(window.height, window.width)
    padded = F.pad_image(resized, [padding], fill=fill)
    cut = F.crop_image(padded, window.top + padding, window.left + padding, window.height, window.width)
    return cut.flip(-1) if flipped else cut


def _windows(size: tuple[int, int]) -> list[Window]:
    """Windows of 30x40 at each corner, in the middle, and reaching beyond each side where the image is smaller."""
    windows = []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1), (0.5, 0.5), (0.3, 0.8)):
        windows.append(Window(round(down * (size[0] - 30)), round(right * (size[1] - 40)), 30, 40))
    return windows


@pytest.mark.parametrize(("before", "after"), SIZES)
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("planar", [False, True])
def test_window_is_that_of_the_whole_resized_image(
    before: tuple[int, int], after: tuple[int, int], flipped: bool, planar: bool
) -> None:
    image, label = _noise(before, seed=before[0])
    image = image.contiguous() if planar else image
    for window in _windows(after):
        got = resized_window(image, after, window, flipped, FILL)
        due = _whole_then_window(image, after, window, flipped, list(FILL))
        assert got.shape == due.shape == (3, 30, 40)
        difference = (got.int() - due.int()).abs()
        assert difference.max() <= 1  # noise is the hardest image: whatever lies beside its place shows
        assert difference.float().mean() < 0.01
        got_label = resized_label_window(label, after, window, flipped, 255)
        assert torch.equal(got_label, _whole_then_window(label[None], after, window, flipped, [255])[0])


def test_every_size_near_the_own_one() -> None:
    # Torch leaves an axis alone that keeps its size, which a part of the image may do where the whole does not.
    for height in range(20, 90):
        image, label = _noise((height, 8), seed=height)
        for resized in range(height - 3, height + 4):
            for top in (0, resized // 2 - 5, resized - 10):
                window = Window(top, 0, 10, 8)
                got = resized_window(image, (resized, 8), window, False, FILL)
                due = _whole_then_window(image, (resized, 8), window, False, list(FILL))
                assert (got.int() - due.int()).abs().max() <= 1
                got = resized_label_window(label, (resized, 8), window, False, 255)
                assert torch.equal(got, _whole_then_window(label[None], (resized, 8), window, False, [255])[0])


def test_nearest_is_torchs_for_any_pair_of_lengths() -> None:
    lengths = torch.randint(1, 3000, (300, 2), generator=torch.Generator().manual_seed(0)).tolist()
    for length, resized in lengths:
        label = torch.arange(length).remainder(251).to(torch.uint8)[:, None]
        got = resized_label_window(label, (resized, 1), Window(0, 0, resized, 1), False, 255)
        due = F.resize_image(label[None], [resized, 1], interpolation=InterpolationMode.NEAREST_EXACT)[0]
        assert torch.equal(got, due)


def test_source_is_left_as_it_is() -> None:
    image, label = _noise((20, 30), seed=0)
    kept = image.clone(), label.clone()
    for size in ((20, 30), (40, 60)):
        resized_window(image, size, Window(-4, -4, 20, 20), True, FILL)[:] = 0
        resized_label_window(label, size, Window(-4, -4, 20, 20), True, 255)[:] = 0
    assert torch.equal(image, kept[0])
    assert torch.equal(label, kept[1])


def test_only_the_part_towards_the_nearest_corner_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import fakd.data.cropping as cropping

    seen: list[int] = []
    whole = cropping.interpolate

    def noted(source: Tensor, **settings: object) -> Tensor:
        seen.append(source.shape[-2] * source.shape[-1])
        return whole(source, **settings)

    monkeypatch.setattr(cropping, "interpolate", noted)
    image, _ = _noise((200, 400), seed=0)
    for window in (Window(0, 0, 50, 50), Window(350, 750, 50, 50), Window(0, 750, 50, 50)):
        resized_window(image, (400, 800), window, False, FILL)
    assert len(seen) == 3
    assert max(seen) <= 27 * 27  # 25 pixels a side, and what the filter reaches
