"""The figures against counts by hand, by hooks on real tensors, and by PyTorch's own memory profiler."""

import copy
import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fakd.models import Segmentor, create_model
from fakd.models.cost import PeakMemory, measure_cost

SMALL = "pspnet/test_resnet.r160_in1k"


def build(name: str = SMALL, channels: int | None = 16, **settings: object) -> Segmentor:
    return create_model(name, num_classes=12, channels=channels, **settings)


def weight_bytes(model: nn.Module) -> int:
    return sum(4 * t.numel() for t in model.parameters()) + sum(t.nbytes for t in model.buffers())


def macs_by_hooks(model: nn.Module, images: Tensor) -> int:
    counts = []

    def on_conv(conv: nn.Conv2d, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        kernel_height, kernel_width = conv.kernel_size
        counts.append(output.numel() * kernel_height * kernel_width * inputs[0].shape[1] // conv.groups)

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(on_conv)
    with torch.no_grad():
        model.eval()(images)
    return sum(counts)


def profiled_peak(model: Segmentor, images: Tensor, labels: Tensor) -> int:
    """Bytes that the CPU's allocator held at most in a forward and backward pass, of what it handed out in it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        output = model(images)
        loss = sum(
            F.cross_entropy(F.interpolate(scores, labels.shape[-2:], mode="bilinear"), labels)
            for scores in (output.logits, output.aux)
        )
        del output
        loss.backward()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = torch.tensor([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]).cumsum(0)
    return int(held.max())


@pytest.mark.parametrize(
    ("name", "size"),
    [
        (SMALL, (64, 96)),
        (SMALL, (65, 97)),
        ("pspnet-r18", (65, 97)),
        ("pspnet/efficientnet_lite0", (65, 97)),
        ("deeplabv3plus/resnet10t", (65, 97)),
    ],
)
def test_macs_and_shapes_are_those_of_a_real_run(name: str, size: tuple[int, int]) -> None:
    model = build(name)
    cost = measure_cost(model, size, 2)
    assert cost.macs == macs_by_hooks(copy.deepcopy(model), torch.rand(1, 3, *size))
    output = model.train()(torch.rand(2, 3, *size))
    assert cost.logits_shape == output.logits.shape[1:]
    assert cost.features_shape == output.features.shape[1:]
    assert cost.aux_shape == output.aux.shape[1:]
    assert cost.stride == (4 if name.startswith("deeplab") else 8)


def test_counts_by_hand() -> None:
    """The presets' counts are fixed in test_networks; here is what one layer more or less changes."""
    narrow, without_aux = (
        measure_cost(build(channels=16), (64, 64)),
        measure_cost(build(channels=16, aux=False), (64, 64)),
    )
    aux = 3 * 3 * 192 * 64 + 2 * 64 + 64 * 12 + 12  # 3x3 convolution, its normalisation, classifier
    assert narrow.parameters - narrow.inference_parameters == aux
    assert narrow.inference_parameters == without_aux.parameters == without_aux.inference_parameters
    assert without_aux.aux_shape is None
    assert without_aux.macs == narrow.macs

    more_classes = measure_cost(create_model(SMALL, num_classes=13, channels=16, aux=False), (64, 64))
    assert more_classes.parameters - without_aux.parameters == 16 + 1
    assert more_classes.macs - without_aux.macs == 16 * 8 * 8


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_stride_is_exact_at_odd_sizes(stride: int) -> None:
    assert measure_cost(build(output_stride=stride), (51, 77), 2).stride == stride


def test_inference_memory_is_the_weights_and_grows_with_the_area() -> None:
    model = build()
    small, large = (measure_cost(model, (side, side), 2).inference_memory - weight_bytes(model) for side in (256, 512))
    assert small > 3 * 256 * 256 * 4
    assert large / small == pytest.approx(4, rel=0.01)


def test_training_memory_grows_with_the_batch() -> None:
    model = build()
    costs = {images: measure_cost(model, (96, 96), images) for images in (2, 4, 6)}
    assert costs[2].inference_memory < costs[2].training_memory
    assert len({cost.inference_memory for cost in costs.values()}) == 1
    steps = [costs[4].training_memory - costs[2].training_memory, costs[6].training_memory - costs[4].training_memory]
    assert steps[1] == pytest.approx(steps[0], rel=0.01)


@pytest.mark.parametrize(
    ("name", "size"), [(SMALL, (128, 128)), (SMALL, (97, 129)), ("pspnet/mobilenetv3_small_050", (97, 129))]
)
def test_training_memory_is_what_the_allocator_hands_out(name: str, size: tuple[int, int]) -> None:
    model = build(name)
    images, labels = torch.rand(4, 3, *size), torch.randint(12, (4, *size))
    momentum = sum(4 * parameter.numel() for parameter in model.parameters())
    real = profiled_peak(model, images, labels) + weight_bytes(model) + momentum + images.nbytes + labels.nbytes
    # kernels take workspaces of their own, how much depends on the processor
    assert 0.98 * real / 1.25 < measure_cost(model, size, 4).training_memory < 1.02 * real


def test_peak_memory_of_two_layers_by_hand() -> None:
    network = nn.Sequential(nn.Linear(100, 50, bias=False), nn.ReLU(), nn.Linear(50, 10, bias=False))
    weights = (100 * 50 + 50 * 10) * 4  # made before, so that only their gradients count
    with PeakMemory() as memory:
        images = torch.rand(8, 100)  # 3200 bytes
        scores = network(images)  # 1600 bytes freed after the ReLU, 1600 saved by it, 320 of scores
        assert memory.peak == 3200 + 1600 + 1600
        assert memory.held == 3200 + 1600 + 320
        scores.sum().backward()
        del scores
    assert memory.held == 3200 + weights
    network.zero_grad()
    assert memory.held == 3200


def test_peak_memory_of_a_convolution_by_hand() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False, device="meta"), nn.ReLU(inplace=True))
    images, maps, weights = 2 * 3 * 10 * 12 * 4, 2 * 8 * 10 * 12 * 4, 8 * 3 * 9 * 4
    with PeakMemory() as memory:
        output = network(torch.empty(2, 3, 10, 12, device="meta"))
        output.flatten(1)[:, ::2].transpose(0, 1)
        assert memory.peak == memory.held == images + maps  # in place and views: nothing more
        output.backward(torch.empty_like(output))
        # the upstream gradient, that of the ReLU's input, that of the weights
        assert memory.peak == images + 3 * maps + weights


def test_model_is_left_as_it_was() -> None:
    model = build().train()
    model.head.eval()
    model.classifier.weight.grad = torch.ones_like(model.classifier.weight)
    model.classifier.bias.requires_grad_(False)
    before, modes = copy.deepcopy(model.state_dict()), [m.training for m in model.modules()]
    random = torch.get_rng_state()
    measure_cost(model, (64, 64))
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert [m.training for m in model.modules()] == modes
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["classifier.weight"]
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["classifier.bias"]
    assert torch.equal(torch.get_rng_state(), random)


def test_frozen_networks_and_callers_without_autograd_cost_the_same() -> None:
    model = build()
    expected = measure_cost(model, (64, 64))
    model.requires_grad_(False)
    with torch.no_grad():
        assert measure_cost(model.eval(), (64, 64)) == expected


@pytest.mark.parametrize(("size", "batch"), [((0, 64), 2), ((64, -1), 2), ((64, 64), 0)])
def test_impossible_sizes(size: tuple[int, int], batch: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        measure_cost(build(), size, batch)


def test_cost_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        measure_cost(build(), (64, 64)).macs = 0
