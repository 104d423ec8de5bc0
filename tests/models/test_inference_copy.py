from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fakd.models import Segmentor, create_model
from fakd.models.inference_copy import inference_copy
from fakd.types import SegmentationOutput

NAMES = ["pspnet-r18", "pspnet/test_resnet", "pspnet/mobilenetv3_small_050", "pspnet/efficientnet_lite0"]
SMALL = "pspnet/test_resnet"


def trained(name: str, **settings: object) -> Segmentor:
    """A network in training mode with nothing left at its first value."""
    model = create_model(name, num_classes=5, **settings)
    with torch.no_grad():
        for norm in batch_norms(model):
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.3, 2.0)
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
    return model


def batch_norms(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d | nn.SyncBatchNorm)]


def maps(output: SegmentationOutput) -> tuple[Tensor, ...]:
    assert output.aux is None
    return (output.logits, output.features, *output.stages)


@torch.no_grad()
def largest_error(copy: Segmentor, model: Segmentor, images: Tensor) -> float:
    """Of any value of any map, relative to the largest value of that map."""
    answers = zip(maps(copy(images)), maps(deepcopy(model).eval()(images)), strict=True)
    return max(((ours - theirs).abs().max() / theirs.abs().max()).item() for ours, theirs in answers)


@pytest.mark.parametrize("name", NAMES)
def test_same_answers_without_batch_norms(name: str) -> None:
    model = trained(name)
    assert batch_norms(model)
    copy = inference_copy(model)
    assert batch_norms(copy) == []
    assert largest_error(copy, model, torch.rand(2, 3, 75, 101)) < 1e-5
    assert largest_error(copy, model, torch.rand(1, 3, 64, 64).to(memory_format=torch.channels_last)) < 1e-5


def test_copy_is_as_near_the_truth_as_the_network() -> None:
    model, images = trained("pspnet-r18"), torch.rand(1, 3, 64, 64)
    truth = deepcopy(model).double().eval()(images.double()).logits
    ours, plain = (m(images).logits for m in (inference_copy(model), deepcopy(model).eval()))
    assert (ours - truth).abs().max() < 4 * (plain - truth).abs().max()


@pytest.mark.parametrize("training", [True, False])
def test_original_and_random_state_are_untouched(training: bool) -> None:
    model = trained(SMALL).train(training)
    before, random = deepcopy(model.state_dict()), torch.get_rng_state()
    copy = inference_copy(model)
    assert torch.equal(torch.get_rng_state(), random)
    assert model.training is training
    assert all(m.training is training for m in model.modules())
    assert all(p.requires_grad and p.is_contiguous() for p in model.parameters())
    assert not any(m._forward_hooks for network in (model, copy) for m in network.modules())
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    theirs = {p.data_ptr() for p in model.parameters()}
    assert not any(p.data_ptr() in theirs for p in copy.parameters())


def test_copy_only_predicts() -> None:
    copy = inference_copy(trained(SMALL))
    assert not any(m.training for m in copy.modules())
    assert not any(p.requires_grad for p in copy.parameters())
    assert copy.aux_head is None
    assert not copy(torch.rand(1, 3, 32, 32)).logits.requires_grad
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in copy.parameters() if p.ndim == 4)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_keeps_the_type(dtype: torch.dtype) -> None:
    copy = inference_copy(trained(SMALL).to(dtype))
    assert {p.dtype for p in copy.parameters()} == {dtype}
    assert copy(torch.rand(1, 3, 32, 32, dtype=dtype)).logits.dtype == dtype


def test_copy_of_a_copy_and_of_synchronised_batch_norms() -> None:
    model, images = trained(SMALL), torch.rand(1, 3, 40, 56)
    assert largest_error(inference_copy(inference_copy(model)), model, images) < 1e-5
    copy = inference_copy(nn.SyncBatchNorm.convert_sync_batchnorm(deepcopy(model)))
    assert batch_norms(copy) == []
    assert largest_error(copy, model, images) < 1e-5


def test_works_under_autocast() -> None:
    model, images = trained(SMALL), torch.rand(2, 3, 65, 97)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        copy = inference_copy(model)
        logits = copy(images).logits
    assert largest_error(copy, model, images) < 1e-5
    expected = deepcopy(model).eval()(images).logits
    # bfloat16 has 8 bits of precision; measured: 1e-2.
    assert (logits - expected).abs().max() < 5e-2 * expected.abs().max()


class Odd(nn.Module):
    """Replaces a head's last convolution and batch normalisation."""

    def __init__(self, forward: Callable[["Odd", Tensor], Tensor], channels: int, norms: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(norms))
        self.run = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def again_as_function(odd: Odd, x: Tensor) -> Tensor:
    raw = odd.conv(x)
    return odd.norms[0](raw) + raw.sigmoid()


def two_norms(odd: Odd, x: Tensor) -> Tensor:
    raw = odd.conv(x)
    return odd.norms[0](raw) + odd.norms[1](raw)


def conv_runs_twice(odd: Odd, x: Tensor) -> Tensor:
    return odd.norms[0](odd.conv(x)) + odd.conv(x.flip(3))


def norm_runs_twice(odd: Odd, x: Tensor) -> Tensor:
    return odd.norms[0](odd.conv(x)) + odd.norms[0](x)


def activation_in_place_between(odd: Odd, x: Tensor) -> Tensor:
    return odd.norms[0](F.relu(odd.conv(x), inplace=True))


@pytest.mark.parametrize(
    ("forward", "norms", "folds_the_rest"),
    [
        (again_as_function, 1, False),
        (two_norms, 2, True),
        (conv_runs_twice, 1, True),
        (norm_runs_twice, 1, True),
        (activation_in_place_between, 1, False),
    ],
)
def test_never_folds_wrongly(forward: Callable[[Odd, Tensor], Tensor], norms: int, folds_the_rest: bool) -> None:
    model = create_model(SMALL, num_classes=5)
    model.head = nn.Sequential(model.head, Odd(forward, model.config.channels, norms))
    with torch.no_grad():
        for norm in batch_norms(model):
            norm.running_mean.uniform_(-0.5, 0.5)
            norm.running_var.uniform_(0.3, 2.0)
    copy = inference_copy(model)
    left = norms if folds_the_rest else len(batch_norms(model)) - len(batch_norms(model.aux_head))
    assert len(batch_norms(copy)) == left
    assert largest_error(copy, model, torch.rand(1, 3, 40, 56)) < 1e-5


def test_keeps_a_batch_norm_without_running_statistics_and_a_computed_weight() -> None:
    model = trained(SMALL)
    channels = model.config.channels
    loose = nn.Sequential(nn.Conv2d(channels, channels, 1), nn.BatchNorm2d(channels, track_running_stats=False))
    computed = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv2d(channels, channels, 1)), nn.BatchNorm2d(channels)
    )
    model.head = nn.Sequential(model.head, loose, computed)
    copy = inference_copy(model)
    assert len(batch_norms(copy)) == 2
    assert largest_error(copy, model, torch.rand(1, 3, 40, 56)) < 1e-5
