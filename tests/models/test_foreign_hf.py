"""Every segmentation network of transformers: what it scores, what it asks for, what is refused and why."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from foreign_networks import CLASSES, MASKS, SCORING, SEMANTIC, hf_folder, hf_network
from scipy.special import expit, softmax
from torch.nn.functional import interpolate
from torchvision.transforms.v2.functional import normalize

from fakd.data.transforms import fitted_size
from fakd.evaluation.predictor import base_size_in
from fakd.functional import mask_scores
from fakd.methods import create_method
from fakd.models import create_model, load_model, open_model, save_model
from fakd.models.foreign import ForeignScorer, ForeignSegmentor, scores_alone
from fakd.models.foreign.from_hf import _REFUSED, network_names
from fakd.models.foreign.hf_files import processor_in
from fakd.models.foreign.hf_scores import _SEMANTIC
from fakd.models.inference_copy import inference_copy
from fakd.models.merged_teacher import MergedTeacher
from fakd.types import scores_alone as without_features

IMAGES = torch.rand(2, 3, 64, 64)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
PROCESSORS = {
    "detr": "Detr",
    "eomt": "Eomt",
    "eomt_dinov3": "Eomt",
    "mask2former": "Mask2Former",
    "maskformer": "MaskFormer",
    "oneformer": "OneFormer",
}


@cache
def opened(kind: str) -> Any:
    return open_model(f"hf:{hf_folder(kind)}")[0]


@torch.no_grad()
def theirs(kind: str, images: torch.Tensor) -> Any:
    """What the library's own network returns for images of a size that it takes."""
    named = {
        "pixel_values": normalize(images, [0.5] * 3, [0.5] * 3)
        if kind == "mobilenet_v2"
        else normalize(images, MEAN, STD)
    }
    if kind == "oneformer":
        named["task_inputs"] = torch.tensor([*_SEMANTIC, *[0] * 70]).expand(len(images), -1)
    return type(opened(kind).model).from_pretrained(hf_folder(kind)).eval()(**named)


def test_every_type_of_the_mappings_is_known() -> None:
    """A release of transformers that brings another fails here: look at it, and add it to a list."""
    assert sorted(network_names()) == sorted([*SEMANTIC, *SCORING, *_REFUSED])


@pytest.mark.parametrize("kind", _REFUSED)
def test_what_is_refused_says_why(kind: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    with pytest.raises(ValueError, match=f"transformers' {kind} cannot be used here: {_REFUSED[kind]}"):
        open_model(f"hf:{tmp_path}")


@pytest.mark.parametrize("kind", SEMANTIC)
@torch.no_grad()
def test_the_classifier_is_the_one_of_the_library_s_own_scores(kind: str) -> None:
    network = opened(kind)
    assert isinstance(network, ForeignSegmentor)
    logits = network(IMAGES).logits
    if kind == "dpt":  # which doubles the size of what its classifier gives
        logits = interpolate(logits, scale_factor=2, mode="bilinear", align_corners=True)
    if kind == "upernet":  # which brings it to the size of the images
        logits = interpolate(logits, size=(64, 64), mode="bilinear")
    torch.testing.assert_close(logits, theirs(kind, IMAGES).logits, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", SEMANTIC)
def test_it_learns_and_teaches(kind: str) -> None:
    foreign = create_model(f"hf:{hf_folder(kind)}", num_classes=3)
    ours = create_model("pspnet/test_resnet", num_classes=3, channels=8)
    for student, teacher in ((foreign, ours), (ours, foreign)):
        method = create_method("fakd", student.train(), teacher.eval(), max_steps=2)
        with torch.no_grad():
            taught = teacher(IMAGES)
        term = method(student(IMAGES), taught, torch.randint(3, (2, 64, 64)), step=1)["fakd"]
        assert term.isfinite()
        term.backward()


@pytest.mark.parametrize("kind", MASKS)
@torch.no_grad()
def test_scores_match_numpy_and_the_library_s_post_processing(kind: str) -> None:
    import transformers

    network, found = opened(kind), theirs(kind, IMAGES)
    assert isinstance(network, ForeignScorer)
    classes_name, masks_name = (
        ("logits", "pred_masks") if kind == "detr" else ("class_queries_logits", "masks_queries_logits")
    )
    classes, masks = found[classes_name], found[masks_name]
    shares = softmax(classes.double().numpy(), axis=-1)[..., :-1]
    expected = np.log(np.einsum("bqc,bqhw->bchw", shares, expit(masks.double().numpy())))
    scores = network(IMAGES).logits
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)

    # Mask2Former's enlarges masks to 384x384 first, EoMT's to a size that is given: of that size they stay as they are
    side = 384 if kind == "mask2former" else 64
    found[masks_name] = interpolate(masks, size=(side, side), mode="bilinear")
    processor = getattr(transformers, f"{PROCESSORS[kind]}ImageProcessor")()
    more = {"size": {"shortest_edge": side, "longest_edge": side}} if "eomt" in kind else {}
    labels = torch.stack(list(processor.post_process_semantic_segmentation(found, [(side, side)] * 2, **more)))
    ours = mask_scores(classes, found[masks_name])
    best = ours.topk(2, dim=1).values
    clear = best[:, 0] - best[:, 1] > 1e-5
    assert clear.float().mean() > 0.9
    assert torch.equal(ours.argmax(1)[clear], labels[clear])


@pytest.mark.parametrize("kind", SCORING)
@torch.no_grad()
def test_any_size_saved_and_copied(kind: str, tmp_path: Path) -> None:
    network = opened(kind)
    images = torch.rand(1, 3, 50, 90)
    output = network(images)
    assert output.logits.shape[:2] == (1, CLASSES)
    if kind in MASKS:
        assert output.logits.shape[2:] == (13, 23)
    assert output.features.shape == (1, 0, *output.logits.shape[2:])
    assert without_features(network)
    save_model(network, tmp_path / "m.safetensors")
    assert torch.equal(load_model(tmp_path / "m.safetensors")[0](images).logits, output.logits)
    assert (inference_copy(network)(images).logits - output.logits).abs().max() < 1e-3
    with pytest.raises(ValueError, match=r"images must be float \(B, 3, H, W\)"):
        network(torch.rand(1, 1, 64, 64))


@pytest.mark.parametrize("kind", ["mask2former", "oneformer", "eomt"])
def test_scores_are_in_full_precision_under_autocast_and_without_gradient(kind: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        scores = opened(kind)(IMAGES).logits
    assert scores.dtype == torch.float32
    assert scores.isfinite().all()
    assert not scores.requires_grad


@pytest.mark.parametrize("kind", SCORING)
def test_it_cannot_be_a_student(kind: str) -> None:
    name = f"hf:{hf_folder(kind)}"
    with pytest.raises(ValueError, match=f"is a {kind}, which scores pixels without a classifier .* cannot be trained"):
        create_model(name, num_classes=3)
    with pytest.raises(ValueError, match=r"has no classifier of pixels: leave out @decode_head\.classifier"):
        open_model(f"{name}@decode_head.classifier")
    assert scores_alone("hf", str(hf_folder(kind)))
    assert not opened(kind).train().training
    student = create_model("pspnet/test_resnet", num_classes=CLASSES, channels=8)
    with pytest.raises(ValueError, match="this ForeignScorer gives scores alone"):
        create_method("cirkd", student, opened(kind), max_steps=2)


def test_other_networks_do_more_than_score() -> None:
    assert not scores_alone("hf", str(hf_folder("segformer")))
    assert not scores_alone("smp", "unet/mobilenet_v2")


@torch.no_grad()
def test_positions_of_eomt_are_those_it_learned_or_resampled() -> None:
    learned = opened("eomt").model.embeddings.position_embeddings
    learned.grid = (4, 4)
    assert torch.equal(learned(torch.arange(16))[0], learned.weight)
    learned.grid = (8, 8)
    fine = learned(torch.arange(16)).unflatten(1, (8, 8)).movedim(-1, 1)
    back = interpolate(fine, size=(4, 4), mode="area").flatten(2)[0].T
    assert torch.corrcoef(torch.stack([back.flatten(), learned.weight.flatten()]))[0, 1] > 0.9


@torch.no_grad()
def test_networks_of_one_shape() -> None:
    wide, grey = torch.rand(1, 3, 64, 96), torch.tensor(MEAN).view(1, 3, 1, 1).expand(1, 3, 32, 96)
    square = opened("dpt")(torch.cat([wide, grey], 2)).logits
    torch.testing.assert_close(opened("dpt")(wide).logits, square[:, :, :32], rtol=1e-4, atol=1e-6)
    network = opened("data2vec-vision")
    assert network(torch.rand(1, 3, 40, 50)).logits.shape[2:] == (10, 13)
    with pytest.raises(ValueError, match=r"takes images of 64x64 at most, got 64x96: give --crop-size 64,64"):
        network(wide)


def test_a_backbone_starts_from_no_published_weights(tmp_path: Path) -> None:
    hf_network("detr").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["backbone_config"]["use_pretrained_backbone"] = True
    (tmp_path / "config.json").write_text(json.dumps(config))
    settings = open_model(f"hf:{tmp_path}")[0].config.settings
    assert settings["backbone_config"]["use_pretrained_backbone"] is False


@pytest.mark.parametrize(("ids", "named"), [((0, 1, 2), True), ((1, 2, 3), False)])
def test_names_of_classes_are_taken_over_where_their_ids_are_those_of_the_scores(
    tmp_path: Path, ids: tuple[int, ...], named: bool
) -> None:
    hf_network("mask2former", 3).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["id2label"] = {str(index): name for index, name in zip(ids, ["road", "sky", "person"], strict=True)}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"do_reduce_labels": True, "image_mean": MEAN}))
    notes = open_model(f"hf:{tmp_path}")[1]
    assert notes == {"reduce_labels": "true"} | ({"classes": '["road", "sky", "person"]'} if named else {})


@pytest.mark.parametrize(
    ("kind", "settings", "image"),
    [
        ("Segformer", {"size": {"height": 64, "width": 128}}, (100, 200)),
        ("Segformer", {"size": {"height": 64, "width": 64}}, (100, 100)),
        ("Mask2Former", {"size": {"shortest_edge": 64, "longest_edge": 96}, "size_divisor": 1}, (100, 125)),
        ("Mask2Former", {"size": {"shortest_edge": 64, "longest_edge": 96}, "size_divisor": 1}, (100, 400)),
        ("MobileNetV2", {"size": {"shortest_edge": 64}, "do_center_crop": False}, (100, 250)),
        ("DPT", {"size": {"height": 64, "width": 64}, "do_resize": False}, (50, 70)),
    ],
)
def test_images_are_fitted_as_the_processor_resizes_them(
    tmp_path: Path, kind: str, settings: dict[str, Any], image: tuple[int, int]
) -> None:
    processor = getattr(transformers, f"{kind}ImageProcessor")(**settings)
    processor.save_pretrained(tmp_path)
    base = processor_in(tmp_path).base_size
    found = image if base is None else fitted_size(image, base)
    assert found == tuple(processor(torch.zeros(3, *image), return_tensors="pt")["pixel_values"].shape[-2:])


def test_a_squares_side_is_the_shorter_one(tmp_path: Path) -> None:
    """As ADE20K's protocol has it; an image that is no square keeps its shape."""
    transformers.EomtImageProcessor().save_pretrained(tmp_path)
    hf_network("segformer").save_pretrained(tmp_path)
    assert base_size_in(open_model(f"hf:{tmp_path}")[1], "network") == (640, 2560)


@pytest.mark.parametrize("kind", MASKS)
def test_classes_merge_by_the_sum_of_their_probabilities(kind: str) -> None:
    model = opened(kind)
    with torch.inference_mode():
        apart, together = (
            network(IMAGES).logits.softmax(1) for network in (model, MergedTeacher(model, [[2, 0], [1]]))
        )
    wanted = torch.stack([apart[:, 0] + apart[:, 2], apart[:, 1]], 1)
    torch.testing.assert_close(together, wanted / wanted.sum(1, keepdim=True), rtol=1e-5, atol=1e-7)
