"""Copies of trained networks that only predict, and do so as fast as they can."""

from collections import Counter
from copy import deepcopy
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from fakd.models.network import Network
from fakd.types import SegmentationOutput


def inference_copy(model: Network) -> Network:
    """Copy a network for inference: the answers of eval mode, sooner.

    Every batch normalisation that directly follows a convolution is folded into it, weights are channels-last,
    parameters ask for no gradient, and the auxiliary head is gone. Which layers belong together is found by running
    one small image, so any encoder will do; what cannot be folded stays. If the folded network then answers that
    image differently, as one that uses a convolution's output twice would, the copy is left unfolded.

    Never save the copy: its state_dict has other names and values than its config promises. Keep it in eval mode,
    as `train` would bring dropout back. Hooks are copied with their layers, but for those of folded layers, and the
    small image runs them.

    Args:
        model: the network, in any mode, on any device. It and all random states are left as they are.

    Returns:
        A network in eval mode, on the device and in the type of `model`, whose logits, features and stages equal
        `model.eval()`'s up to rounding. They may be strided channels-last; images may come in any memory format.
    """
    network = _frozen(model)
    if not _fold(network):
        network = _frozen(model)
    return network.to(model.mean.device, model.mean.dtype).to(memory_format=torch.channels_last)


def _frozen(model: Network) -> Network:
    """Return a copy in eval mode without gradients and auxiliary head, in float64 on the CPU.

    There, rounding (and TF32, and a caller's autocast) can neither hide a wrong answer nor look like one. Every
    smaller type survives the way there and back bit for bit.
    """
    network = deepcopy(model).eval().requires_grad_(False).to("cpu", torch.float64)
    network.drop_aux()
    return network


def _fold(network: Network) -> bool:
    """Fold batch normalisations into convolutions and return whether the network still gives the same answer."""
    # A generator of its own leaves the caller's random numbers alone.
    generator = torch.Generator("cpu").manual_seed(0)
    probe = torch.rand(1, network.in_channels, 64, 64, dtype=torch.float64, device="cpu", generator=generator)
    with torch.no_grad():
        pairs, expected = _pairs(network, probe)
        for conv, norm in pairs:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            # In place rather than by a new convolution, since subclasses of Conv2d do more, such as padding.
            conv.weight, conv.bias = fuse_conv_bn_weights(
                conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
            )
        # timm has batch normalisations that go on with an activation; others leave nothing to do.
        rest = {norm: getattr(norm, "act", nn.Identity().eval()) for _, norm in pairs}
        for parent in list(network.modules()):
            for name, child in parent.named_children():
                if child in rest:
                    setattr(parent, name, rest[child])
        return _agree(network(probe), expected)


_Norm = nn.BatchNorm2d | nn.SyncBatchNorm


def _pairs(network: Network, probe: Tensor) -> tuple[list[tuple[nn.Conv2d, _Norm]], SegmentationOutput]:
    """Run `probe` and return which convolution each foldable batch normalisation reads, and the network's output."""
    runs: Counter[nn.Module] = Counter()
    # Convolution, output and the output's readers by the identity of the output, which is kept alive here because
    # a new tensor could otherwise get the same identity.
    made: dict[int, tuple[nn.Conv2d, Tensor, list[nn.Module]]] = {}

    def watch(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        runs[module] += 1
        for tensor in inputs:
            if id(tensor) in made:
                made[id(tensor)][2].append(module)
        if isinstance(module, nn.Conv2d):
            made[id(output)] = (module, output, [])

    # A container is given what its first layer is given, and an identity gives on what it got: neither is a reader.
    watched = [m for m in network.modules() if isinstance(m, nn.Conv2d | _Norm) or not any(m.children())]
    handles = [m.register_forward_hook(watch) for m in watched if not isinstance(m, nn.Identity)]
    try:
        output = network(probe)
    finally:
        for handle in handles:
            handle.remove()
    found = [(conv, readers[0]) for conv, _, readers in made.values() if len(readers) == 1]
    return [(c, n) for c, n in found if runs[c] == runs[n] == 1 and _has_weight(c) and _is_affine(n)], output


def _is_affine(module: nn.Module) -> TypeGuard[_Norm]:
    """Whether this is a batch normalisation that, in eval mode, scales and shifts by numbers it tracked."""
    return isinstance(module, _Norm) and module.running_mean is not None and module.running_var is not None


def _has_weight(conv: nn.Conv2d) -> bool:
    """Whether the weight can be set: one that is computed from others (weight normalisation) cannot."""
    return any(name == "weight" for name, _ in conv.named_parameters(recurse=False))


def _agree(output: SegmentationOutput, expected: SegmentationOutput) -> bool:
    """Whether every map is the same up to float64 rounding."""
    pairs = zip((*output[:2], *output.stages), (*expected[:2], *expected.stages), strict=True)
    # a network that only scores has features without a channel
    return all(bool((ours - theirs).abs().max() <= 1e-9 * theirs.abs().max()) for ours, theirs in pairs if len(ours[0]))
