"""Teachers that only score: functions, TorchScript files, and ONNX files that other programs wrote."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from warnings import catch_warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

import fakd
from fakd.models import ScoringTeacher, open_any, open_model
from fakd.models.names import NetworkName

WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def expected(images: Tensor, mean: Sequence[float] = (0, 0, 0), std: Sequence[float] = (1, 1, 1)) -> Tensor:
    """What the files below score: a 1x1 convolution of every second pixel, here as a product in float64."""
    pixels = (images.double().numpy() - np.reshape(mean, (3, 1, 1))) / np.reshape(std, (3, 1, 1))
    return torch.from_numpy(np.einsum("ca,bahw->bchw", WEIGHT[:, :, 0, 0], pixels[:, :, ::2, ::2])).float()


def convolution() -> nn.Conv2d:
    layer = nn.Conv2d(3, 4, 1, stride=2, bias=False)
    layer.weight.data = torch.from_numpy(WEIGHT.copy())
    return layer


@pytest.mark.parametrize("sigmoid", [False, True])
def test_one_score_is_two_classes(tmp_path: Path, sigmoid: bool) -> None:
    layer = nn.Conv2d(3, 1, 1, stride=2, bias=False)
    layer.weight.data = torch.from_numpy(WEIGHT[:1].copy())
    program = nn.Sequential(layer, nn.Sigmoid()) if sigmoid else layer
    torch.jit.save(torch.jit.trace(program, torch.rand(1, 3, 8, 8)), str(tmp_path / "a.pt"))
    images = torch.rand(2, 3, 12, 8)
    score = expected(images)[:, :1].sigmoid()
    for teacher in (
        open_any(f"torchscript:{tmp_path / 'a.pt'}")[0],
        ScoringTeacher(program, 1, probabilities=sigmoid),
    ):
        assert teacher.num_classes == 2
        torch.testing.assert_close(teacher(images).logits.softmax(1), torch.cat([1 - score, score], 1))


def onnx_file(
    path: Path,
    shape: Sequence[Any] = ("batch", 3, "height", "width"),
    kind: int = TensorProto.FLOAT,
    softmax: bool = False,
    outputs: int = 1,
) -> Path:
    nodes = [
        helper.make_node("Cast", ["input.1"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["float", "weight"], ["a"], strides=[2, 2]),
    ]
    names = ["a"]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["a"], ["b"], axis=1))
        names = ["b"]
    if outputs == 2:
        nodes.append(helper.make_node("Relu", ["a"], ["c"]))
        names.append("c")
    if outputs == 0:  # one that says how bright an image is
        nodes.append(helper.make_node("GlobalAveragePool", ["a"], ["d"]))
        nodes.append(helper.make_node("Flatten", ["d"], ["e"]))
        names = ["e"]
    dimensions = [None] * (2 if outputs == 0 else 4)
    graph = helper.make_graph(
        nodes,
        "of another program",
        [helper.make_tensor_value_info("input.1", kind, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dimensions) for name in names],
        [numpy_helper.from_array(WEIGHT, "weight")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def script_file(path: Path) -> Path:
    scripted(convolution()).save(str(path))
    return path


def scripted(module: nn.Module) -> Any:
    with catch_warnings(action="ignore", category=FutureWarning):
        return torch.jit.script(module)


@pytest.fixture(params=["onnx", "torchscript"])
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "onnx":
        return str(onnx_file(tmp_path / "a.onnx"))
    return f"torchscript:{script_file(tmp_path / 'a.pt')}"


def test_files_of_other_programs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    images = torch.rand(3, 3, 10, 14)
    network, notes = open_any(name)
    output = network(images)
    torch.testing.assert_close(output.logits, expected(images))
    assert (network.num_classes, notes) == (4, {})
    assert "gives scores of 4 classes; it is shown images RGB in [0, 1]" in capsys.readouterr().out
    assert output.features.shape[1] == 0
    torch.testing.assert_close(open_any(f"{name}@imagenet")[0](images).logits, expected(images, MEAN, STD))
    assert "normalised by ImageNet's mean and deviation" in capsys.readouterr().out
    with pytest.raises(ValueError, match="after the @ stands how images are normalised, imagenet, or nothing"):
        open_any(f"{name}@coco")
    with pytest.raises(ValueError, match="only scores pixels"):
        open_model(name)


def test_names() -> None:
    asked = NetworkName.parse("torchscript:some/teacher.pt@imagenet")
    assert (asked.kind, asked.network, asked.normalisation) == ("torchscript", "some/teacher.pt", "imagenet")
    assert asked.trained
    assert asked.files == ("some/teacher.pt",)
    assert NetworkName.parse("a.onnx@imagenet").files == ("a.onnx",)


def test_probabilities_become_their_logarithms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = torch.rand(1, 3, 8, 8)
    network, _ = open_any(onnx_file(tmp_path / "a.onnx", softmax=True))
    assert "gives probabilities, of which the logarithm is taken" in capsys.readouterr().out
    torch.testing.assert_close(network(images).logits, expected(images).log_softmax(1))
    given = ScoringTeacher(lambda _: torch.tensor([0.0, 1.0]).view(1, 2, 1, 1), 2, probabilities=True)
    assert given(images).logits.isfinite().all()
    assert given(images).logits.softmax(1).flatten().tolist() == pytest.approx([0, 1])


def test_fixed_sizes(tmp_path: Path) -> None:
    network, _ = open_any(onnx_file(tmp_path / "a.onnx", shape=(1, 3, 16, 24)))
    images = torch.rand(3, 3, 16, 24)
    torch.testing.assert_close(network(images).logits, expected(images))  # one by one
    with pytest.raises(ValueError, match=r"takes images of 16x24 alone, got 16x32: give --crop-size 16,24"):
        network(torch.rand(1, 3, 16, 32))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shape": ("batch", "height", "width", 3)}, "expected one input, float images"),
        ({"shape": (2, 3, "height", "width")}, "expected one input, float images"),
        ({"kind": TensorProto.UINT8}, r"takes input.1 \(uint8\).*expected one input, float images"),
        ({"outputs": 2}, r"gives a \(float\).*, c \(float\).*and one output, scores"),
        ({"outputs": 0}, r"gives float32 \(1, 4\), expected float scores \(B, C, h, w\)"),
    ],
)
def test_onnx_files_that_do_not_fit(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_any(onnx_file(tmp_path / "a.onnx", **changes))


def test_torchscript_files_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no TorchScript file at"):
        open_any(f"torchscript:{tmp_path / 'none.pt'}")
    (tmp_path / "damaged.pt").write_bytes(script_file(tmp_path / "a.pt").read_bytes()[:200])
    with pytest.raises(ValueError, match="cannot be read as a TorchScript file"):
        open_any(f"torchscript:{tmp_path / 'damaged.pt'}")
    scripted(nn.Conv2d(1, 4, 1)).save(str(tmp_path / "grey.pt"))
    with pytest.raises(ValueError, match=r"does not take images \(1, 3, 64, 64\)"):
        open_any(f"torchscript:{tmp_path / 'grey.pt'}")
    scripted(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten())).save(str(tmp_path / "flat.pt"))
    with pytest.raises(ValueError, match=r"gives float32 \(1, 16384\), expected float scores"):
        open_any(f"torchscript:{tmp_path / 'flat.pt'}")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda scores: scores,
        lambda scores: {"out": scores, "aux": scores[:, :1]},
        lambda scores: SimpleNamespace(logits=scores),
        lambda scores: (scores,),
    ],
    ids=["tensor", "torchvision", "transformers", "tuple"],
)
def test_functions_and_what_they_give(wrap: Callable[[Tensor], Any]) -> None:
    layer, images = convolution(), torch.rand(2, 3, 8, 10)
    teacher = fakd.ScoringTeacher(lambda seen: wrap(layer(seen)), 4, mean=MEAN, std=STD)
    torch.testing.assert_close(teacher(images).logits, expected(images, MEAN, STD))


def test_a_module_is_frozen_and_moves_along() -> None:
    layer = nn.Sequential(convolution(), nn.Dropout(0.9))
    teacher = ScoringTeacher(layer, 4)
    assert not any(module.training for module in layer.modules())
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert teacher.double()(torch.rand(1, 3, 8, 8).double()).logits.dtype == torch.float64


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (torch.zeros(1, 3, 4, 4), r"here \(1, 4, h, w\), got float32 \(1, 3, 4, 4\)"),
        (torch.zeros(1, 4, 4), r"got float32 \(1, 4, 4\)"),
        (torch.zeros(1, 4, 4, 4, dtype=torch.int64), r"got int64 \(1, 4, 4, 4\)"),
        ((torch.zeros(1), torch.zeros(1)), "must give one tensor .*, got tuple of 2"),
        (None, "got NoneType"),
    ],
)
def test_functions_that_give_something_else(answer: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ScoringTeacher(lambda _: answer, 4)(torch.rand(1, 3, 8, 8))


def test_settings_and_images_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="num_classes must be 1 or more, got 0"):
        ScoringTeacher(convolution(), 0)
    with pytest.raises(ValueError, match="mean and std must be three numbers each"):
        ScoringTeacher(convolution(), 4, mean=(0.5,))
    with pytest.raises(ValueError, match=r"got uint8 \(1, 3, 8, 8\)"):
        ScoringTeacher(convolution(), 4)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
