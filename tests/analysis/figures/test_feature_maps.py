"""Features of whole images."""

import pytest
import torch
from drawn import drawn, styled, texts

from fakd.analysis.figures.features import FeatureMap, class_separation, draw_feature_maps, feature_map
from fakd.data import Sample
from fakd.models import create_model


def test_separation_of_known_features() -> None:
    labels = torch.tensor([[0, 0, 1, 255]])
    apart = torch.tensor([[[1.0, 1.0, 5.0, 99.0]], [[0.0, 0.0, 2.0, 99.0]]])
    assert class_separation(apart, labels) == pytest.approx(100)
    mixed = torch.tensor([[[0.0, 4.0, 2.0, 99.0]]])
    assert class_separation(mixed, labels) == pytest.approx(0)


def test_separation_against_a_loop() -> None:
    features, labels = torch.randn(3, 4, 5), torch.randint(0, 3, (4, 5))
    pixels = [(features[:, y, x], labels[y, x].item()) for y in range(4) for x in range(5)]
    centre = torch.stack([point for point, _ in pixels]).mean(0)
    means = {k: torch.stack([point for point, own in pixels if own == k]).mean(0) for k in range(3)}
    total = sum(((point - centre) ** 2).sum() for point, _ in pixels)
    within = sum(((point - means[own]) ** 2).sum() for point, own in pixels)
    assert class_separation(features, labels) == pytest.approx(100 * float(1 - within / total), rel=1e-4)


def test_where_there_is_nothing_to_separate() -> None:
    assert class_separation(torch.randn(2, 1, 3), torch.tensor([[1, 1, 255]])) is None
    assert class_separation(torch.randn(2, 1, 3), torch.full((1, 3), 255)) is None
    assert class_separation(torch.ones(2, 1, 3), torch.tensor([[0, 1, 1]])) is None


def test_a_network_is_asked_and_drawn() -> None:
    model = create_model("pspnet/test_resnet.r160_in1k", num_classes=3, channels=8).eval()
    sample = Sample(torch.randint(0, 256, (3, 32, 48), dtype=torch.uint8), torch.randint(0, 3, (64, 96)).byte(), "a")
    found = feature_map(model, sample.image, sample.label)
    with torch.no_grad():
        expected = model(sample.image[None] / 255).features[0].mean(0)
    torch.testing.assert_close(found.strength, expected)
    assert found.separation is not None
    none = FeatureMap(found.strength * 2, None)
    with styled():
        figure = draw_feature_maps([sample, sample], {"alone": [found, found], "fakd": [none, none]}, [(9, 9, 9)] * 3)
    drawn(figure)
    assert {"image", "truth", "alone", "fakd"} <= set(texts(figure))
    maps = [axes.images[0] for axes in figure.axes if axes.images and axes.images[0].get_array().ndim == 2]
    assert len({picture.get_clim() for picture in maps[:4]}) == 1
