"""Networks of other channels than three: trained, kept, scored, exported, asked."""

import json
import shutil

import numpy as np
import pytest
import torch
from rasters import noise, rasterio, write_raster
from tiny import NETWORK, SETTINGS

from fakd.commands.evaluate import EvaluateConfig, evaluate
from fakd.commands.export import ExportConfig, export
from fakd.commands.predict import PredictConfig, predict
from fakd.models import create_model, load_model
from fakd.models.backbone_weights import load_backbone_weights
from fakd.models.encoder import Encoder
from fakd.training import DistillConfig, TrainConfig, distill, train

OPTIONS = {
    "dataset": "folder",
    "bands": (4, 2, 1, 3),
    "value_range": (0, 2550),
    "base_size": (48, 64),
    "recipe": "paper",
}


@pytest.fixture
def land(tmp_path):
    for split, seed in (("train", 0), ("val", 1)):
        image = noise(4, 60, 80, seed).astype(np.uint16) * 10
        write_raster(tmp_path / f"land/images/{split}/a.tif", image)
        write_raster(tmp_path / f"land/masks/{split}/a.tif", (image[:1] > 1500).astype(np.uint8))
    (tmp_path / "land/classes.txt").write_text("low\nhigh\n")
    return tmp_path / "land"


def test_from_training_to_masks(land, tmp_path) -> None:
    given = {**SETTINGS, **OPTIONS, "data_root": land, "max_steps": 2, "eval_every": 2, "crop_size": (32, 32)}
    results = train(TrainConfig(**given, network=NETWORK, output=tmp_path / "teacher"))
    model, notes = load_model(tmp_path / "teacher")
    assert model.in_channels == model.config.in_channels == 4
    assert (notes["bands"], notes["value_range"]) == ("[4, 2, 1, 3]", "[0, 2550]")
    again = {"student": NETWORK, "output": tmp_path / "run", "method": "skds", "allow_bad_teacher": True}
    distill(DistillConfig(**given, **again, teacher=tmp_path / "teacher"))

    asked = {"dataset": "folder", "data_root": land, "workers": 0, "device": "cpu"}
    assert evaluate(EvaluateConfig(str(tmp_path / "teacher"), **asked))["mIoU"] == pytest.approx(results["mIoU"])

    export(ExportConfig(str(tmp_path / "teacher"), tmp_path / "a.onnx"))
    shutil.copytree(land / "images/val", tmp_path / "new")
    masks = []
    for name in ("teacher", "a.onnx"):
        out = tmp_path / f"masks-{name}"
        (path,) = predict(PredictConfig(str(tmp_path / name), tmp_path / "new", out, workers=0, device="cpu"))
        with rasterio.open(path) as mask:
            masks.append(mask.read(1))
    assert (masks[0] != masks[1]).mean() < 1e-3
    assert masks[0].max() < 2

    with pytest.raises(ValueError, match=r"the teacher .* takes images of 4 channels, and 3 bands are read"):
        distill(DistillConfig(**{**given, **again, "bands": (1, 2, 3)}, overwrite=True, teacher=tmp_path / "teacher"))


def test_weights_for_rgb_are_spread_over_the_bands(tmp_path) -> None:
    plain, wide = Encoder("test_resnet"), Encoder("test_resnet", in_channels=6)
    torch.save(plain.body.state_dict(), tmp_path / "w.pth")
    load_backbone_weights(wide, "test_resnet", str(tmp_path / "w.pth"))
    image = torch.rand(1, 3, 32, 48)
    with torch.no_grad():  # the same image twice looks as it does once
        ours, theirs = wide.body.eval()(torch.cat([image, image], 1)), plain.body.eval()(image)
    assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(ours, theirs, strict=True))
    assert wide.image_mean.flatten().tolist() == pytest.approx([plain.image_mean.mean().item()] * 6)


@pytest.mark.parametrize("backbone", ["test_vit", "test_efficientnet"])
def test_encoders_take_other_channels(backbone) -> None:
    head = "linear" if "vit" in backbone else "pspnet"
    model = create_model(f"{head}/{backbone}", num_classes=3, in_channels=6).eval()
    with torch.no_grad():
        assert model(torch.rand(1, 6, 64, 96)).logits.shape[:2] == (1, 3)
    with pytest.raises(ValueError, match=r"images must be float \(B, 6, H, W\) with values in"):
        model(torch.rand(1, 3, 64, 96))
    assert json.loads(model.config.to_json())["in_channels"] == 6


def test_other_libraries_take_rgb() -> None:
    with pytest.raises(ValueError, match="torchvision:fcn_resnet50 takes RGB images alone, and 4 bands are read"):
        create_model("torchvision:fcn_resnet50", num_classes=2, in_channels=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"photometric": True}, "photometric varies colours"),
        ({"dataset": "toy-scenes", "data_root": None}, "are for --dataset folder, not for toy-scenes"),
        ({"bands": (0,)}, "counted from 1"),
    ],
)
def test_options_that_do_not_go_with_bands(options, message, land, tmp_path) -> None:
    given = {**SETTINGS, **OPTIONS, "data_root": land, "max_steps": 2, "eval_every": 2, "crop_size": (32, 32)}
    with pytest.raises(ValueError, match=message):
        TrainConfig(**{**given, **options}, network=NETWORK, output=tmp_path / "run")
