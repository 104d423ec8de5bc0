"""What a network costs, found by running it on tensors that have a shape and no content."""

import copy
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from fakd.functional import cross_entropy
from fakd.models.network import Network
from fakd.types import SegmentationOutput, scores_alone

# Every usual stride divides it, 14 too; of another image, the ratio to its rounded-up logits would not be the stride.
_ALIGNED_SIZE = (448, 448)


@dataclass(frozen=True)
class Cost:
    """The size of a network, and what one image and one training step take."""

    parameters: int
    """Learned numbers, those of the auxiliary head included."""
    inference_parameters: int
    """Learned numbers without the auxiliary head, which only runs in training."""
    macs: int
    """Multiply-accumulates of the convolutions and matrix products for one image in eval mode."""
    stride: float
    """Image pixels per position of the logits, along each side."""
    logits_shape: tuple[int, ...]
    """(C, h, w)."""
    features_shape: tuple[int, ...]
    """(A, h, w); (0, h, w) of a network that only scores."""
    aux_shape: tuple[int, ...] | None
    """(C, h', w') of the auxiliary scores; None without an auxiliary head."""
    inference_memory: int
    """Peak bytes of one image in eval mode without autograd, see `measure_cost`."""
    training_memory: int | None
    """Peak bytes of one training step, see `measure_cost`; None of a network that cannot be trained."""


def measure_cost(model: Network, image_size: tuple[int, int], batch_size: int = 16) -> Cost:
    """Measure a network without computing anything: a copy of it runs on PyTorch's meta device.

    Networks that only score look at their own values on the way, so that a copy of them really runs, on the CPU.

    The memory is what tensors of float32 hold at once, at the worst moment:

    - inference: weights, one image, and the activations that are still needed;
    - training: weights, gradients, SGD's momentum, the images and labels of a batch, what is saved for the
      backward pass, and what that pass adds, through the cross-entropy of the upsampled logits and of the auxiliary
      ones, with every parameter trained.

    What else a device holds is not counted: what a kernel takes while it runs (the workspaces of cuDNN), the
    allocator's rounding and fragments, the CUDA context, a teacher and the terms of a method.

    Args:
        model: the network, on any device; neither its mode nor its weights nor its gradients change.
        image_size: height and width in pixels, of the image as of the training crops.
        batch_size: crops per training step.

    Returns:
        The network's figures; shapes and `macs` are those of one image.

    Raises:
        ValueError: a size is below 1, or the network cannot be trained on so few images (the pyramid head's
            batch normalisation needs two).
    """
    if min(*image_size, batch_size) < 1:
        raise ValueError(f"image_size and batch_size must be at least 1, got {image_size} and {batch_size}")
    output, macs, inference_memory = _run_inference(model, image_size)
    one = getattr(model, "size", None)  # of a network that takes no other
    aligned_size = _ALIGNED_SIZE if one is None else (one, one)
    aligned = output if image_size == aligned_size else _run_inference(model, aligned_size)[0]
    trained = None if scores_alone(model) else _run_training(model, image_size, batch_size)
    aux_shape, training_memory = trained or (None, None)
    return Cost(
        parameters=_count(model),
        inference_parameters=_count(model) - (0 if model.aux_head is None else _count(model.aux_head)),
        macs=macs,
        stride=aligned_size[0] / aligned.logits.shape[-2],
        logits_shape=tuple(output.logits.shape[1:]),
        features_shape=tuple(output.features.shape[1:]),
        aux_shape=aux_shape,
        inference_memory=inference_memory,
        training_memory=training_memory,
    )


def inference_cost(model: Network, image_size: tuple[int, int]) -> tuple[int, int]:
    """Count the learned numbers without the auxiliary head, and the multiply-accumulates of one image in eval mode.

    Args:
        model: the network, on any device, the meta device included; it is left as it is.
        image_size: height and width in pixels.
    """
    _, macs, _ = _run_inference(model, image_size)
    return _count(model) - (0 if model.aux_head is None else _count(model.aux_head)), macs


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operations make while it is entered, until they are freed.

    A storage counts once, however many tensors view it; one that was made before does not count.

    Example:
        >>> with PeakMemory() as memory:
        ...     kept = torch.zeros(100)
        ...     kept += torch.ones(100)
        >>> memory.peak, memory.held
        (800, 400)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.held = 0
        """Bytes held now."""
        self.peak = 0
        """The most that were held at once."""
        self._storages: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        # What an operation takes and was not made here is older: a view of it that is returned is nothing new.
        self._storages.update(_storages((args, kwargs)))
        result = func(*args, **(kwargs or {}))
        for storage in _storages(result):
            if storage not in self._storages:
                self._hold(storage)
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        # PyTorch keeps one Python object per storage, which lives as long as anything uses it, autograd included.
        self._storages.add(storage)
        self.held += storage.nbytes()
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._release, storage.nbytes())

    def _release(self, size: int) -> None:
        self.held -= size


def _storages(values: Any) -> list[torch.UntypedStorage]:
    return [value.untyped_storage() for value in tree_leaves(values) if isinstance(value, Tensor)]


def _run_inference(model: Network, image_size: tuple[int, int]) -> tuple[SegmentationOutput, int, int]:
    """Return the output for one image, its multiply-accumulates, and the peak bytes."""
    with torch.no_grad(), PeakMemory() as memory, FlopCounterMode(display=False) as counter:
        if scores_alone(model):
            # the counter's hooks take what asks for a gradient for what has one
            real = copy.deepcopy(model).to("cpu").requires_grad_(False)
            output = real(torch.zeros(1, model.in_channels, *image_size))
        else:
            output = _without_content(model).eval()(torch.empty(1, model.in_channels, *image_size, device="meta"))
    return output, counter.get_total_flops() // 2, memory.peak


def _run_training(model: Network, image_size: tuple[int, int], batch_size: int) -> tuple[tuple[int, ...] | None, int]:
    """Return the shape of one image's auxiliary logits, and the peak bytes of a step."""
    with torch.enable_grad(), PeakMemory() as memory:
        network = _without_content(model).train()
        momentum = [torch.empty_like(parameter) for parameter in network.parameters()]
        images = torch.empty(batch_size, model.in_channels, *image_size, device="meta")
        labels = torch.empty(batch_size, *image_size, dtype=torch.int64, device="meta")
        loss, aux_shape = _supervised_loss(network, images, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        del momentum  # it was only there to be counted
    return aux_shape, memory.peak


def _supervised_loss(network: Network, images: Tensor, labels: Tensor) -> tuple[Tensor, tuple[int, ...] | None]:
    # A function of its own, as the training step is: it lets go of the outputs before the backward pass.
    output: SegmentationOutput = network(images)
    loss = cross_entropy(output.logits, labels)
    if output.aux is None:
        return loss, None
    return loss + cross_entropy(output.aux, labels), tuple(output.aux.shape[1:])


def _without_content(model: Network) -> Network:
    """Copy the network to the meta device, without ever copying its weights, all of them to be trained."""
    known: dict[int, Any] = {id(buffer): torch.empty_like(buffer, device="meta") for buffer in model.buffers()}
    for parameter in model.parameters():
        known[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"))
    return copy.deepcopy(model, known)


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
