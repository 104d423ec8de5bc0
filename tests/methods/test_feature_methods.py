"""The methods that compare features: IFVD, CWD on features, AT and FitNet, between unlike networks."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from fakd.functional import channel_kd, pixel_kd
from fakd.functional.at import attention_kd
from fakd.functional.ifvd import intra_class_kd
from fakd.methods.at import AttentionTransfer
from fakd.methods.cwd import FeatureChannelKD
from fakd.methods.fitnet import FitNet
from fakd.methods.ifvd import IFVD
from fakd.types import SegmentationOutput

CLASSES, OURS, THEIRS = 5, 6, 11
EVERY = pytest.mark.parametrize("kind", [IFVD, FeatureChannelKD, AttentionTransfer, FitNet])
PROJECTING = pytest.mark.parametrize("kind", [FeatureChannelKD, FitNet])
WEIGHTS = {IFVD: "variation_weight", FeatureChannelKD: "weight", AttentionTransfer: "weight", FitNet: "weight"}


class Network(nn.Module):
    """All that a method sees of a network."""

    def __init__(self, channels: int, classes: int = CLASSES) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(channels, classes, 1)


@dataclass
class Batch:
    """A student of stride 8 and 6 channels, a teacher of stride 16 and 11."""

    size: int = 2
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        self.student, self.teacher = Network(OURS), Network(THEIRS)
        self.images = torch.rand(self.size, 3, 32, 48)
        self.labels = torch.randint(CLASSES, (self.size, 32, 48)).masked_fill(torch.rand(self.size, 32, 48) < 0.2, 255)
        self.learnt, self.taught = self.output(OURS, 4, 6), self.output(THEIRS, 2, 3)
        for part in self.learnt[:2]:
            part.requires_grad_()

    def output(self, channels: int, height: int, width: int) -> SegmentationOutput:
        scores, features = (torch.randn(self.size, c, height, width).to(self.dtype) for c in (CLASSES, channels))
        return SegmentationOutput(scores, features.relu())

    def make(self, kind: type, **options: Any) -> Any:
        return kind(self.student, self.teacher, max_steps=10, **options)

    def terms(self, method: Any) -> dict[str, Tensor]:
        return method(self.learnt, self.taught, self.labels, 3, images=self.images)

    @property
    def resized(self) -> SegmentationOutput:
        maps = (F.interpolate(part, (4, 6), mode="bilinear", align_corners=False) for part in self.taught[:2])
        return SegmentationOutput(*maps)


@pytest.fixture
def batch() -> Batch:
    return Batch()


# values


def test_ifvd_is_the_sum_of_its_formulas(batch) -> None:
    terms = batch.terms(batch.make(IFVD))
    assert list(terms) == ["pixel", "variation", "adversarial"]
    assert_close(terms["pixel"], 10 / CLASSES * pixel_kd(batch.learnt.logits, batch.resized.logits))
    of_elements = F.kl_div(batch.learnt.logits.log_softmax(1), batch.resized.logits.softmax(1), reduction="none").mean()
    assert_close(terms["pixel"], 10 * of_elements)  # the published reduction
    small_labels = batch.labels[:, 4::8, 4::8]
    variation = intra_class_kd(batch.learnt.features, batch.resized.features, small_labels, num_classes=CLASSES)
    assert_close(terms["variation"], 200 * variation)
    changed = batch.make(IFVD, pixel_weight=2.0, variation_weight=3.0, adversarial_weight=0)
    terms = batch.terms(changed)
    assert_close(terms["pixel"], 2 * pixel_kd(batch.learnt.logits, batch.resized.logits))
    assert_close(terms["variation"], 3 * variation)


def test_ifvds_adversary_has_the_published_weight(batch) -> None:
    once, method = batch.make(IFVD), batch.make(IFVD, adversarial_weight=1.0)
    method.load_state_dict(once.state_dict())
    term, unweighted = (batch.terms(m.eval())["adversarial"] for m in (once, method))
    assert_close(term, 0.001 * unweighted)


def test_cwd_on_features_is_channel_kd_of_projected_features(batch) -> None:
    method = batch.make(FeatureChannelKD)
    terms = batch.terms(method)
    assert list(terms) == ["cwd-features"]
    convolution, norm, relu = method.projector
    assert isinstance(relu, nn.ReLU)
    projected = torch.einsum("bahw,ca->bchw", batch.learnt.features, convolution.weight[:, :, 0, 0])
    projected = F.batch_norm(projected, None, None, norm.weight, norm.bias, training=True).relu()
    assert_close(terms["cwd-features"], 50 * channel_kd(projected, batch.resized.features, temperature=4.0))


def test_attention_transfer_is_its_formula(batch) -> None:
    terms = batch.terms(batch.make(AttentionTransfer))
    assert list(terms) == ["at"]
    assert_close(terms["at"], 1e4 / 64**2 * attention_kd(batch.learnt.features, batch.resized.features))


def test_attention_transfer_may_add_the_encoders_maps(batch) -> None:
    shapes = [(4, 8, 12), (7, 4, 6)]
    ours, theirs = ([torch.rand(2, c + extra, h, w) for c, h, w in shapes] for extra in (0, 3))
    batch.learnt, batch.taught = batch.learnt._replace(stages=ours), batch.taught._replace(stages=theirs)
    expected = 1e4 / 64**2 * sum(attention_kd(a, b) for a, b in zip(ours, theirs, strict=True))
    assert_close(batch.terms(batch.make(AttentionTransfer, maps="stages"))["at"], expected)
    batch.taught = batch.taught._replace(stages=())
    with pytest.raises(ValueError, match="as many encoder maps of the student as of the teacher, got 2 and 0"):
        batch.terms(batch.make(AttentionTransfer, maps="stages"))
    with pytest.raises(ValueError, match="maps must be one of features, stages, got 'all'"):
        batch.make(AttentionTransfer, maps="all")


def test_fitnet_is_the_mean_squared_error_of_regressed_features(batch) -> None:
    method = batch.make(FitNet)
    terms = batch.terms(method)
    assert list(terms) == ["fitnet"]
    (convolution,) = method.projector
    regressed = torch.einsum("bahw,ca->bchw", batch.learnt.features, convolution.weight[:, :, 0, 0])
    assert_close(terms["fitnet"], 10 * F.mse_loss(regressed, batch.resized.features))


# what all of them do


@EVERY
@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_trains_unlike_networks_in_any_precision(kind, size, autocast, dtype) -> None:
    batch = Batch(size, dtype)
    method = batch.make(kind)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        terms = batch.terms(method)
    assert all(term.shape == () and term.dtype == torch.float32 and term.isfinite() for term in terms.values())
    sum(terms.values()).backward()
    assert batch.learnt.features.grad.isfinite().all()
    assert batch.learnt.features.grad.any()
    for parameter in method.parameters():
        assert not parameter.requires_grad or parameter.grad.any()


@EVERY
def test_nothing_labelled_is_finite(kind, batch) -> None:
    batch.labels.fill_(255)
    terms = batch.terms(batch.make(kind))
    sum(terms.values()).backward()
    assert batch.learnt.features.grad is None or batch.learnt.features.grad.isfinite().all()
    if kind is IFVD:
        assert terms["variation"].item() == 0


@EVERY
def test_no_gradient_into_the_teacher(kind, batch) -> None:
    for part in batch.taught[:2]:
        part.requires_grad_()
    sum(batch.terms(batch.make(kind)).values()).backward()
    assert [part.grad for part in batch.taught[:2]] == [None, None]


@EVERY
@pytest.mark.parametrize("weight", [-1, float("nan"), "much"])
def test_weights_are_checked_at_once(kind, weight, batch) -> None:
    with pytest.raises(ValueError, match=f"{WEIGHTS[kind]} must be a number, 0 or more, got"):
        batch.make(kind, **{WEIGHTS[kind]: weight})


@EVERY
def test_networks_must_fit(kind, batch) -> None:
    with pytest.raises(ValueError, match="the student has 5, the teacher 7"):
        kind(batch.student, Network(THEIRS, classes=7), max_steps=1)
    with pytest.raises(ValueError, match=f"{kind.__name__} needs a teacher, got None"):
        kind(batch.student, None, max_steps=1)


# projectors


@PROJECTING
def test_the_projector_is_the_methods_own_and_says_what_it_does(kind, batch) -> None:
    method = batch.make(kind)
    assert method.state_dict()["projector.0.weight"].shape == (THEIRS, OURS, 1, 1)
    assert not any("classifier" in key for key in method.state_dict())
    (note,) = method.notes
    assert note.endswith("takes the student's 6 feature channels to the teacher's 11.")
    assert ("batch normalisation" in note) == (kind is FeatureChannelKD)


@PROJECTING
def test_a_resumed_projector_goes_on_as_it_was(kind, batch) -> None:
    method, resumed = batch.make(kind), batch.make(kind)
    batch.terms(method)  # moves the statistics of the batch normalisation
    resumed.load_state_dict(method.state_dict())
    assert_close(batch.terms(resumed.eval()), batch.terms(method.eval()), rtol=0, atol=0)


@pytest.mark.parametrize("kind", [IFVD, AttentionTransfer])
def test_the_others_need_no_projector(kind, batch) -> None:
    method = batch.make(kind, **({"adversarial_weight": 0} if kind is IFVD else {}))
    assert method.notes == ()
    assert method.state_dict() == {}


# IFVD's parts


def test_parts_of_weight_zero_are_neither_built_nor_run(batch) -> None:
    method = batch.make(IFVD, pixel_weight=0, adversarial_weight=0)
    assert list(method.modules()) == [method, method.augmentation]
    assert method.watched == {}
    assert list(method(batch.learnt, batch.taught, batch.labels, 3)) == ["variation"]  # without images
    assert list(batch.terms(batch.make(IFVD, variation_weight=0))) == ["pixel", "adversarial"]


def test_ifvd_says_that_it_needs_images(batch) -> None:
    with pytest.raises(ValueError, match="looks at the images"):
        batch.make(IFVD)(batch.learnt, batch.taught, batch.labels, 3)


def test_ifvd_resumes_with_its_discriminator(batch, tmp_path) -> None:
    method, resumed = batch.make(IFVD), batch.make(IFVD)
    batch.terms(method)
    torch.save(method.state_dict(), tmp_path / "method.ckpt")
    resumed.load_state_dict(torch.load(tmp_path / "method.ckpt", weights_only=True))
    assert_close(batch.terms(resumed), batch.terms(method), rtol=0, atol=0)
    assert_close(resumed.watched, method.watched, rtol=0, atol=0)
