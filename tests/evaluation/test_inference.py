"""Windows, flips and scales against loops that follow their definition pixel by pixel."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from fakd.data.spec import SlidingWindow
from fakd.evaluation.inference import Inference, InferenceConfig, predict_logits, to_float_images, window_starts
from fakd.types import SegmentationOutput

CLASSES = 3


class Convolved(nn.Module):
    """Scores that depend on a neighbourhood and on the whole input's mean, at stride 4; remembers its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 5, 5, stride=4, padding=2)
        self.classifier = nn.Conv2d(5, CLASSES, 1)
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> SegmentationOutput:
        self.seen.append(images)
        features = self.layer(images - 0.5)
        features = features + features.mean((2, 3), keepdim=True)
        return SegmentationOutput(5 * self.classifier(features.relu()), features)


@pytest.fixture
def model() -> Convolved:
    return Convolved().eval()


def resized(scores: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(scores, size=size, mode="bilinear", align_corners=False)


def brute_force_starts(length: int, window: int, stride: int) -> list[int]:
    """Walk on until the end is seen, then step back so far that the window lies inside."""
    starts, start = [], 0
    while True:
        starts.append(min(start, length - window))
        if start + window >= length:
            return starts
        start += stride


def slid(model: Convolved, images: Tensor, window: tuple[int, int], stride: tuple[int, int]) -> Tensor:
    """Every pixel's mean over the windows it lies in, summed in float64."""
    (height, width), classes = images.shape[-2:], CLASSES
    sums, seen = np.zeros((len(images), classes, height, width)), np.zeros((height, width))
    for top in brute_force_starts(height, window[0], stride[0]):
        for left in brute_force_starts(width, window[1], stride[1]):
            crop = images[:, :, top : top + window[0], left : left + window[1]]
            with torch.no_grad():
                scores = resized(model(crop).logits, window).numpy()
            for row in range(window[0]):
                for column in range(window[1]):
                    sums[:, :, top + row, left + column] += scores[:, :, row, column]
                    seen[top + row, left + column] += 1
    assert seen.min() >= 1
    return torch.from_numpy(sums / seen).float()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_windows_start_where_a_walk_puts_them(length, window, stride) -> None:
    length, window = max(length, window), min(length, window)
    stride = min(stride, window)
    starts = window_starts(length, window, stride)
    assert starts == brute_force_starts(length, window, stride)
    assert {pixel for start in starts for pixel in range(start, start + window)} == set(range(length))


@pytest.mark.parametrize(
    ("size", "window", "stride"),
    [
        ((20, 28), (12, 12), (8, 8)),  # fits exactly
        ((21, 30), (12, 16), (8, 10)),  # the last window of either side is shifted back
        ((21, 30), (12, 16), (12, 16)),  # no overlap but that of the last
        ((13, 40), (13, 40), (5, 7)),  # one window
    ],
)
def test_windows_are_averaged_where_they_overlap(model, size, window, stride) -> None:
    images = torch.rand(2, 3, *size)
    ours = predict_logits(model, images, (33, 47), Inference(SlidingWindow(window, stride)))
    assert all(seen.shape[-2:] == window for seen in model.seen)
    torch.testing.assert_close(ours, resized(slid(model, images, window, stride), (33, 47)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("size", [(9, 40), (30, 11), (9, 11)])
def test_small_images_are_filled_up_with_the_mean_colour(model, size) -> None:
    images = torch.rand(1, 3, *size)
    colour = torch.tensor([0.1, 0.2, 0.3])
    model.register_buffer("mean", colour.view(1, 3, 1, 1))
    padded = colour.view(1, 3, 1, 1).expand(1, 3, max(20, size[0]), max(20, size[1])).clone()
    padded[:, :, : size[0], : size[1]] = images
    ours = predict_logits(model, images, size, Inference(SlidingWindow((20, 20), (10, 10))))
    assert torch.equal(model.seen[0], padded[:, :, :20, :20])
    expected = slid(model, padded, (20, 20), (10, 10))[:, :, : size[0], : size[1]]
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)


def test_a_model_without_a_mean_gets_that_of_imagenet(model) -> None:
    predict_logits(model, torch.zeros(1, 3, 4, 8), (4, 8), Inference(SlidingWindow((8, 8), (8, 8))))
    assert model.seen[0][0, :, 4:].flatten(1).unique(dim=1).flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])


def test_one_window_over_everything_is_the_whole_image(model) -> None:
    images = torch.rand(2, 3, 16, 24)
    window = Inference(SlidingWindow((16, 24), (16, 24)))
    torch.testing.assert_close(predict_logits(model, images, (16, 24), window), predict_logits(model, images, (16, 24)))


@pytest.mark.parametrize("window", [None, SlidingWindow((12, 12), (8, 8))])
def test_flip_and_scales_average_probabilities(model, window) -> None:
    images, size = torch.rand(2, 3, 20, 26), (31, 45)
    sizes = {0.5: (10, 13), 1.0: (20, 26), 1.3: (26, 34)}
    views = []
    for scale, of_image in sizes.items():
        scaled = images
        if scale != 1:
            scaled = F.interpolate(images, size=of_image, mode="bilinear", antialias=True, align_corners=False)
        for mirrored in (False, True):
            shown = scaled.flip(-1) if mirrored else scaled
            scores = predict_logits(model, shown, size, Inference(window))
            views.append((scores.flip(-1) if mirrored else scores).softmax(1))
    expected = torch.stack(views).mean(0)
    ours = predict_logits(model, images, size, Inference(window, flip=True, scales=tuple(sizes)))
    torch.testing.assert_close(ours.exp(), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(ours.softmax(1), expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(ours.argmax(1), expected.argmax(1))


@pytest.mark.parametrize("window", [None, SlidingWindow((12, 12), (8, 8))])
def test_mirrored_images_get_mirrored_scores_with_flip(model, window) -> None:
    images = torch.rand(1, 3, 20, 26)
    inference = Inference(window, flip=True)
    scores, mirrored = (predict_logits(model, shown, (20, 26), inference) for shown in (images, images.flip(-1)))
    torch.testing.assert_close(mirrored.flip(-1), scores, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(scores.softmax(1), predict_logits(model, images, (20, 26)).softmax(1), atol=1e-3)


def test_certain_networks_stay_finite(model) -> None:
    nn.init.constant_(model.classifier.bias, 0)
    with torch.no_grad():
        model.classifier.bias[1] = 1e4
    scores = predict_logits(model, torch.rand(1, 3, 8, 8), (8, 8), Inference(flip=True, scales=(0.5, 1.0)))
    assert scores.isfinite().all()
    assert (scores.argmax(1) == 1).all()


def test_bytes_are_the_floats_they_stand_for_and_there_is_no_graph(model) -> None:
    images = torch.randint(256, (1, 3, 20, 26), dtype=torch.uint8)
    inference = Inference(SlidingWindow((12, 12), (8, 8)), flip=True, scales=(0.5, 1.0))
    scores = predict_logits(model, images, (20, 26), inference)
    assert torch.equal(scores, predict_logits(model, to_float_images(images), (20, 26), inference))
    assert not scores.requires_grad


def test_half_precision_networks_are_averaged_in_float32(model) -> None:
    images = torch.rand(1, 3, 20, 26)
    inference = Inference(SlidingWindow((12, 12), (4, 4)), flip=True)
    exact = predict_logits(model, images, (20, 26), inference)
    with torch.autocast("cpu", torch.bfloat16):
        scores = predict_logits(model, images, (20, 26), inference)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, exact, atol=0.1, rtol=0.1)


@pytest.mark.parametrize("scales", [(), (0.0,), (1.0, -1.0), (float("nan"),), (float("inf"),)])
def test_scales_are_checked(scales) -> None:
    with pytest.raises(ValueError, match="scales must be one or more factors above 0, got"):
        Inference(scales=scales)


THEIRS = SlidingWindow((480, 480), (320, 320))


@pytest.mark.parametrize(
    ("options", "default", "expected"),
    [
        ({}, None, None),
        ({}, THEIRS, THEIRS),
        ({"mode": "whole"}, THEIRS, None),
        ({"mode": "slide"}, THEIRS, THEIRS),
        ({"stride": (240, 160)}, THEIRS, SlidingWindow((480, 480), (240, 160))),
        ({"window": (769, 480)}, None, SlidingWindow((769, 480), (513, 320))),
        ({"window": (96, 60)}, THEIRS, SlidingWindow((96, 60), (64, 40))),
        ({"mode": "slide", "window": (8, 9), "stride": (8, 3)}, None, SlidingWindow((8, 9), (8, 3))),
        ({"window": (1, 1)}, None, SlidingWindow((1, 1), (1, 1))),
    ],
)
def test_options_and_the_data_set_make_the_window(options, default, expected) -> None:
    assert InferenceConfig(**options).inference(default) == Inference(expected)


def test_options_pass_flip_and_scales_on() -> None:
    assert InferenceConfig(flip=True, scales=[0.5, 1]).inference(None) == Inference(None, True, (0.5, 1))  # as YAML


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "whole", "window": (8, 8)}, "mode 'whole' has no windows: leave out --window and --stride"),
        ({"mode": "whole", "stride": (8, 8)}, "mode 'whole' has no windows"),
        ({"mode": "slide"}, "the data set names no window to slide: say its size with --window HEIGHT,WIDTH"),
        ({"stride": (8, 8)}, "the data set names no window to slide"),
        ({"window": (8, 8), "stride": (9, 8)}, r"a stride of \(9, 8\) leaves gaps between windows of \(8, 8\)"),
        ({"window": (0, 8)}, "at least 1 pixel"),
        ({"scales": ()}, "scales must be one or more factors"),
    ],
)
def test_options_that_make_no_sense(options, message) -> None:
    with pytest.raises(ValueError, match=message):
        InferenceConfig(**options).inference(None)
