"""Files that predict, checked on one made by hand: a 1x1 convolution of the image, every second pixel."""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from fakd.console import install_command
from fakd.models import OnnxNetwork, open_any, open_model

NOTES = {
    "fakd.version": "0.1.0",
    "num_classes": "4",
    "mean": json.dumps([0.5, 0.4, 0.3]),
    "std": json.dumps([0.2, 0.2, 0.2]),
    "classes": json.dumps(["a", "b", "c", "d"]),
}
WEIGHT = np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32)


def written(path: Path, notes: Mapping[str, str] = NOTES, labels: bool = False, input_name: str = "images") -> Path:
    nodes = [helper.make_node("Conv", [input_name, "weight"], ["logits"], strides=[2, 2])]
    kind, shape, name = TensorProto.FLOAT, ["batch", 4, "h", "w"], "logits"
    if labels:
        nodes.append(helper.make_node("ArgMax", ["logits"], ["winner"], axis=1, keepdims=0))
        nodes.append(helper.make_node("Cast", ["winner"], ["labels"], to=TensorProto.UINT8))
        kind, shape, name = TensorProto.UINT8, ["batch", "h", "w"], "labels"
    graph = helper.make_graph(
        nodes,
        "made by hand",
        [helper.make_tensor_value_info(input_name, TensorProto.FLOAT, ["batch", 3, "height", "width"])],
        [helper.make_tensor_value_info(name, kind, shape)],
        [numpy_helper.from_array(WEIGHT, "weight")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    helper.set_model_props(model, dict(notes))
    onnx.save(model, path)
    return path


def test_scores_are_those_of_the_graph(tmp_path: Path) -> None:
    network, notes = open_any(written(tmp_path / "a.onnx"))
    images = torch.rand(2, 3, 9, 13)
    output = network(images)
    expected = torch.einsum("ca,bahw->bchw", torch.from_numpy(WEIGHT[:, :, 0, 0]), images[:, :, ::2, ::2])
    torch.testing.assert_close(output.logits, expected)
    assert output.features.shape == (2, 0, 5, 7)
    assert (network.num_classes, network.gives_labels, notes) == (4, False, NOTES)
    assert notes == network.notes
    assert network.mean.flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    torch.testing.assert_close(network.answer(images).argmax(1), expected.argmax(1))


def test_labels_inside_are_scores_of_one_and_zero(tmp_path: Path) -> None:
    scored, labelled = OnnxNetwork(written(tmp_path / "a.onnx")), OnnxNetwork(written(tmp_path / "b.onnx", labels=True))
    images = torch.rand(2, 3, 6, 8)
    assert labelled.gives_labels
    labels = labelled.answer(images)
    assert labels.dtype == torch.uint8
    assert torch.equal(labels, scored(images).logits.argmax(1))
    assert torch.equal(labelled(images).logits.argmax(1), labels)
    assert torch.equal(labelled(images).logits.sum(1), torch.ones(2, 3, 4))


def test_opened_by_its_name(tmp_path: Path) -> None:
    path = written(tmp_path / "a.onnx")
    assert isinstance(open_any(str(path))[0], OnnxNetwork)
    with pytest.raises(ValueError, match="only scores pixels"):
        open_model(path)


def test_images_of_another_kind(tmp_path: Path) -> None:
    network = OnnxNetwork(written(tmp_path / "a.onnx"))
    with pytest.raises(ValueError, match=r"got uint8 \(1, 3, 8, 8\)"):
        network(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"got float32 \(3, 8, 8\)"):
        network(torch.zeros(3, 8, 8))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_name": "x"}, "takes x and gives logits: it was not written by `fakd export`"),
        ({"notes": {**NOTES, "num_classes": "many"}}, "num_classes is 'many', expected 1 to 256"),
        ({"notes": {key: NOTES[key] for key in NOTES if key != "num_classes"}}, "num_classes is None"),
        ({"notes": {**NOTES, "mean": "[1, 2]"}}, r"mean is '\[1, 2\]', expected three numbers"),
        ({"notes": {**NOTES, "std": "{"}}, "std is '{', expected three numbers"),
    ],
)
def test_files_of_others(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_any(written(tmp_path / "a.onnx", **changes))


def test_no_file_and_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no ONNX file at"):
        open_any(tmp_path / "none.onnx")
    whole = written(tmp_path / "a.onnx").read_bytes()
    for count, content in enumerate((b"", b"no protobuf", whole[:100])):
        path = tmp_path / f"{count}.onnx"
        path.write_bytes(content)
        with pytest.raises(ValueError, match="cannot be read as an ONNX file"):
            open_any(path)


def test_without_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=re.escape(install_command("export"))):
        open_any(path)
