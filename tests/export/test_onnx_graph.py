"""Exported networks beside the networks themselves, run by onnxruntime at sizes that no stride divides."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from settled import TINY, settled
from torch import Tensor, nn
from torch.nn import functional as F

from fakd.export.onnx_check import LIMIT, SIZES, check_graph, require_equal
from fakd.export.onnx_graph import Deployed, GridAverage, replace_adaptive_averages, write_graph
from fakd.types import SegmentationOutput

LARGE = "pspnet-r101"
NAMES = (LARGE, "pspnet-r18", "hrnet-w18s", "deeplabv3plus-mv2", "isanet-r18")
"""Every head and every kind of encoder; the paper's other networks differ from these in width alone."""
NOTES = {"fakd.version": "0", "num_classes": "7", "mean": "[0, 0, 0]", "std": "[1, 1, 1]"}


def answer(path: Path, images: Tensor) -> Any:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images.numpy()})[0]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == LARGE else ()) for n in NAMES])
def test_the_papers_networks(name: str, tmp_path: Path) -> None:
    network = settled(name)
    write_graph(Deployed(network), tmp_path / "a.onnx", NOTES)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    for batch, size in zip((2, 1, 1, 1), SIZES, strict=True):
        images = torch.rand(batch, 3, *size)
        with torch.no_grad():
            expected = network(images).logits.numpy()
        found = session.run(None, {"images": images.numpy()})[0]
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()
        assert expected.std() > 0.1 * np.abs(expected).max() > 0  # no constant, for which anything would do


def test_scores_and_labels_at_the_images_size(tmp_path: Path) -> None:
    network = settled(TINY, channels=8)
    images = torch.rand(2, 3, 61, 83)
    with torch.no_grad():
        scores = F.interpolate(network(images).logits, size=(61, 83), mode="bilinear")
    write_graph(Deployed(network, upsample=True), tmp_path / "scores.onnx", NOTES)
    np.testing.assert_allclose(answer(tmp_path / "scores.onnx", images), scores, rtol=0, atol=1e-4)
    write_graph(Deployed(network, argmax=True), tmp_path / "labels.onnx", NOTES)
    labels = answer(tmp_path / "labels.onnx", images)
    assert labels.dtype == np.uint8
    assert len(np.unique(labels)) > 1
    assert (labels == scores.argmax(1).numpy()).mean() > 0.999


def test_names_sizes_and_notes(tmp_path: Path) -> None:
    network = settled(TINY, channels=8)
    for argmax, shape in ((False, ["batch", 7, "score_height", "score_width"]), (True, ["batch", "height", "width"])):
        write_graph(Deployed(network, argmax=argmax), tmp_path / "a.onnx", NOTES, opset=17)
        model = onnx.load(tmp_path / "a.onnx")
        onnx.checker.check_model(model)
        sides = [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim]
        assert sides == shape
        sides = [d.dim_param or d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
        assert sides == ["batch", 3, "height", "width"]
        assert {entry.key: entry.value for entry in model.metadata_props} == NOTES
        assert model.opset_import[0].version == 17
        assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert isinstance(network.head.pools[1][0], nn.AdaptiveAvgPool2d)  # the network itself is left as it was


@pytest.mark.slow
def test_the_other_exporter(tmp_path: Path) -> None:
    deployed = Deployed(settled(TINY, channels=8))
    write_graph(deployed, tmp_path / "a.onnx", NOTES, exporter="dynamo")
    require_equal(check_graph(deployed, tmp_path / "a.onnx"), "a.onnx")


@pytest.mark.parametrize("name", ["torchvision:lraspp_mobilenet_v3_large", "smp:unet/mobilenet_v2"])
def test_networks_of_other_libraries(name: str, tmp_path: Path) -> None:
    pytest.importorskip("segmentation_models_pytorch")
    deployed = Deployed(settled(name))
    write_graph(deployed, tmp_path / "a.onnx", NOTES)
    checks = check_graph(deployed, tmp_path / "a.onnx")
    assert [check.size for check in checks] == list(SIZES)
    assert max(check.error for check in checks) <= LIMIT


class Unwritable(nn.Module):
    def forward(self, images: Tensor) -> SegmentationOutput:
        scores = torch.linalg.svdvals(images).unsqueeze(-1)
        return SegmentationOutput(scores, scores)


def test_what_no_exporter_can_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot write this network as ONNX: .*\nTry --exporter dynamo"):
        write_graph(Deployed(Unwritable()), tmp_path / "a.onnx", NOTES)


class FixedSize(nn.Module):
    """Writes the size of the images that it was traced with into the graph."""

    def forward(self, images: Tensor) -> SegmentationOutput:
        scores = images * torch.ones(int(images.shape[-2]), int(images.shape[-1]))
        return SegmentationOutput(scores, scores)


class Scaled(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> SegmentationOutput:
        scores = images[:, :, ::2, ::2] * torch.tensor([1.0, self.factor, 1.0]).view(1, 3, 1, 1)
        return SegmentationOutput(scores, scores)


class Picky(Scaled):
    def forward(self, images: Tensor) -> SegmentationOutput:
        if images.shape[-1] % 32:
            raise RuntimeError("sides must divide by 32")
        return super().forward(images)


@pytest.mark.parametrize("argmax", [False, True])
def test_files_that_say_something_else_are_refused(tmp_path: Path, argmax: bool) -> None:
    notes = NOTES | {"num_classes": "3"}
    write_graph(Deployed(Scaled(1.01), argmax=argmax), tmp_path / "a.onnx", notes)
    other = check_graph(Deployed(Scaled(1.0), argmax=argmax), tmp_path / "a.onnx")
    assert all(1e-3 < check.error < 0.0101 for check in other)
    assert all((check.differing or 0) > 0.001 for check in other) == argmax
    with pytest.raises(ValueError, match=r"a.onnx is not written: .* at 64x96, .* at 200x136; at most 1e-04"):
        require_equal(other, "a.onnx")
    same = check_graph(Deployed(Scaled(1.01), argmax=argmax), tmp_path / "a.onnx")
    assert [check.error for check in same] == [0, 0, 0, 0]
    require_equal(same, "a.onnx")


def test_a_file_for_one_size_is_refused(tmp_path: Path) -> None:
    write_graph(Deployed(FixedSize()), tmp_path / "a.onnx", NOTES | {"num_classes": "3"})
    checks = check_graph(Deployed(FixedSize()), tmp_path / "a.onnx")
    assert checks[0].error == 0
    assert all(check.error == float("inf") for check in checks[1:])


def test_a_network_that_takes_multiples_alone(tmp_path: Path) -> None:
    write_graph(Deployed(Picky(2.0)), tmp_path / "a.onnx", NOTES | {"num_classes": "3"})
    checks = check_graph(Deployed(Picky(2.0)), tmp_path / "a.onnx")
    assert [check.size for check in checks] == [(64, 96), (96, 128), (128, 64), (224, 160)]
    assert max(check.error for check in checks) == 0


@pytest.mark.parametrize("grid", [(1, 1), (2, 2), (3, 3), (6, 6), (2, 5)])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (6, 6), (7, 13), (25, 17), (64, 5)])
def test_equals_the_adaptive_average(grid: tuple[int, int], size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    torch.testing.assert_close(GridAverage(*grid)(x), F.adaptive_avg_pool2d(x, grid), rtol=1e-12, atol=1e-12)


def test_takes_the_place_of_grids_alone() -> None:
    network = nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Sequential(nn.AdaptiveAvgPool2d(3)), nn.AdaptiveAvgPool2d((None, 2))
    )
    replace_adaptive_averages(network)
    assert [type(m).__name__ for m in network.modules()] == [
        "Sequential", "AdaptiveAvgPool2d", "Sequential", "GridAverage", "AdaptiveAvgPool2d",
    ]  # fmt: skip
