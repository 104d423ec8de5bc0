"""Cross-image relational distillation (CIRKD): which pixels of other images each pixel is like."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fakd.functional import pixel_kd, resize_labels, resize_logits
from fakd.functional.cirkd import cross_image_kd, memory_kd
from fakd.functional.inputs import check_choice, full_precision
from fakd.methods.augmentation import LogitAugmentation
from fakd.methods.memory_bank import ClassQueues, PixelQueues, RegionQueues
from fakd.methods.method import Method
from fakd.methods.options import check_counts, check_flags, check_numbers, check_positive
from fakd.types import IGNORE_INDEX, SegmentationModel, SegmentationOutput

BankType = Literal["float32", "float16"]


class CIRKD(Method):
    """Match the teacher's class distributions, and the likeness of pixels across the mini-batch and to a memory.

        pixel_weight * pixel_kd(z, q) + cross_image_weight * cross_image_kd(s, t)
            + memory_pixel_weight * memory_kd(p(s), t, pixels) + memory_region_weight * memory_kd(p(s), t, regions)

    with p a projector (1x1 convolution, batch normalisation, ReLU, 1x1 convolution) from the student's features to the
    teacher's channels. It is used whatever the channels are, as published, is trained with the student and stays
    behind with the method. For every class one queue remembers pixels and one regions (the mean of the class's pixels
    in an image), both in the teacher's feature space; a training batch enters before it is compared.

    Args:
        student: the network that learns.
        teacher: the frozen network.
        max_steps: length of the run in optimizer steps.
        pixel_weight: of `pixel_kd` at temperature 1, the mean over pixels.
        cross_image_weight: of `cross_image_kd`, the mean over pairs of images and anchors.
        memory_pixel_weight: of `memory_kd` with pixels, the mean over anchors.
        memory_region_weight: of `memory_kd` with regions; 0.01 on Pascal VOC in the paper.
        temperature: tau, divides cosines before the softmax.
        anchors: how many pixels per image are compared with others, drawn anew for each term at each step: for the
            mini-batch from all pixels, for the memory from those that are not ignored. The terms are then unbiased
            estimates of those over all pixels, which None computes, as published; so does any number from h * w on.
        pooling: side of the squares over which features are averaged before the cross-image term; 1, the published
            scripts', is none. Their code offers 2, which compares 16 times fewer pairs.
        pixel_queue: the most pixels remembered of each class.
        region_queue: the most regions remembered of each class.
        pixels_per_image: how many pixels of a class an image adds to its queue.
        pixel_contrast: how many remembered pixels anchors are compared with, the same number of every class.
        region_contrast: how many remembered regions.
        bank_gigabytes: the most that both queues of all classes may take (10^9 bytes; every checkpoint holds them
            too). Where C * (pixel_queue + region_queue) * A numbers take more, both are shortened by the same factor;
            None never shortens. 19 classes of 512 channels take 0.86 as published, 150 classes 6.8.
        bank_dtype: "float32", or "float16" for twice the length in the same memory.
        authors_queue: draw the pixels for the queues as the published code does, see `PixelQueues`.
        augment_logits: lambda, the strength at which the student's logits are moved as in `FAKDPixel` before the
            pixel-wise term looks at them, see `LogitAugmentation`; 0 leaves them as they are.

    A part of weight 0 is neither built nor run. The teacher's maps of another stride are resized to the student's,
    bilinearly. In eval mode the queues stay as they are.

    Fidelity: weights, temperatures, sizes, projector and the order (enqueue, then compare) are the authors' code's.
    It differs from the paper and from this class where

    - it queues pixels drawn from the whole image instead of the class (`authors_queue=True` does the same);
    - its queues begin as random vectors, which are compared with as if they were pixels; here a slot is not drawn
      before it is filled;
    - where 16 new pixels would pass the end of a queue, it writes over the last 16 slots and starts again at the first;
      here a queue is a ring;
    - it draws the same slots of every class, 1 + 4096 // C (1 + 1024 // C) of each; here every class has its own
      draw, of the quotient rounded up;
    - it compares all pixels of the batch (`anchors=None`).

    Both compare ignored pixels in the mini-batch term and not in the memory terms, take the mean of unit-length pixels
    for a region, and compare with the mini-batch of one process alone.

    Source: Yang et al., Cross-Image Relational Knowledge Distillation for Semantic Segmentation, CVPR 2022.

    Example:
        >>> import torch
        >>> from fakd import SegmentationOutput, create_model
        >>> from fakd.methods.cirkd import CIRKD
        >>> student = create_model("pspnet/test_resnet.r160_in1k", num_classes=5, channels=8)
        >>> distil = CIRKD(student, student, max_steps=100)
        >>> images, labels = torch.rand(2, 3, 32, 32), torch.randint(5, (2, 32, 32))
        >>> output = student(images)
        >>> list(distil(output, output, labels, step=0))
        ['pixel', 'cross_image', 'memory_pixel', 'memory_region']
    """

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel,
        *,
        max_steps: int,
        pixel_weight: float = 1.0,
        cross_image_weight: float = 1.0,
        memory_pixel_weight: float = 0.1,
        memory_region_weight: float = 0.1,
        temperature: float = 0.1,
        anchors: int | None = 256,
        pooling: int = 1,
        pixel_queue: int = 20_000,
        region_queue: int = 2_000,
        pixels_per_image: int = 16,
        pixel_contrast: int = 4_096,
        region_contrast: int = 1_024,
        bank_gigabytes: float | None = 1.0,
        bank_dtype: BankType = "float32",
        authors_queue: bool = False,
        augment_logits: float = 0.0,
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        check_numbers(
            pixel_weight=pixel_weight,
            cross_image_weight=cross_image_weight,
            memory_pixel_weight=memory_pixel_weight,
            memory_region_weight=memory_region_weight,
        )
        check_positive(temperature=temperature)
        if anchors is not None:
            check_counts(anchors=anchors)
        check_counts(pooling=pooling, pixels_per_image=pixels_per_image)
        check_counts(pixel_queue=pixel_queue, region_queue=region_queue)
        check_counts(pixel_contrast=pixel_contrast, region_contrast=region_contrast)
        if bank_gigabytes is not None:
            check_positive(bank_gigabytes=bank_gigabytes)
        check_choice(BankType, bank_dtype=bank_dtype)
        check_flags(authors_queue=authors_queue)
        self.pixel_weight, self.cross_image_weight = pixel_weight, cross_image_weight
        self.memory_pixel_weight, self.memory_region_weight = memory_pixel_weight, memory_region_weight
        self.temperature, self.anchors, self.pooling = temperature, anchors, pooling
        self.pixel_contrast, self.region_contrast = pixel_contrast, region_contrast
        self.augmentation: LogitAugmentation = LogitAugmentation(
            student, max_steps=max_steps, strength=augment_logits, name="augment_logits"
        )

        ours, theirs = student.classifier.in_channels, teacher.classifier.in_channels
        classes = teacher.classifier.out_channels
        sizes = {"pixels": pixel_queue if memory_pixel_weight else 0}
        sizes["regions"] = region_queue if memory_region_weight else 0
        dtype: torch.dtype = getattr(torch, bank_dtype)
        gigabytes = classes * sum(sizes.values()) * theirs * dtype.itemsize / 1e9
        shrink = 1.0 if bank_gigabytes is None else min(1.0, bank_gigabytes / max(gigabytes, 1e-9))
        sizes = {name: max(1, int(size * shrink)) for name, size in sizes.items() if size}

        self.projector = _projector(ours, theirs) if sizes else None
        self.pixels = self.regions = None
        if memory_pixel_weight:
            self.pixels = PixelQueues(
                classes, theirs, sizes["pixels"], per_image=pixels_per_image, authors_queue=authors_queue, dtype=dtype
            )
        if memory_region_weight:
            self.regions = RegionQueues(classes, theirs, sizes["regions"], dtype=dtype)
        self._notes = _describe(sizes, shrink, gigabytes, ours, theirs)

    @property
    def notes(self) -> tuple[str, ...]:
        """The projector, and what the queues hold and take."""
        return self._notes

    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Four terms: `pixel`, `cross_image`, `memory_pixel` and `memory_region`."""
        student = student_output.features
        teacher = resize_logits(teacher_output.features.detach(), student.shape[-2:])
        terms = {}
        if self.pixel_weight:
            teacher_logits = resize_logits(teacher_output.logits, student_output.logits.shape[-2:])
            logits = self.augmentation(student_output, teacher_logits, labels, step)
            terms["pixel"] = self.pixel_weight * pixel_kd(logits, teacher_logits)
        if self.cross_image_weight:
            terms["cross_image"] = self.cross_image_weight * self._cross_image(student, teacher)
        if self.projector is not None:
            projected, labels = self.projector(full_precision(student)), resize_labels(labels, student.shape[-2:])
            if self.pixels is not None:
                loss = self._memory(self.pixels, self.pixel_contrast, projected, teacher, labels)
                terms["memory_pixel"] = self.memory_pixel_weight * loss
            if self.regions is not None:
                loss = self._memory(self.regions, self.region_contrast, projected, teacher, labels)
                terms["memory_region"] = self.memory_region_weight * loss
        return terms

    def _cross_image(self, student: Tensor, teacher: Tensor) -> Tensor:
        if self.pooling > 1:
            maps = full_precision(student), full_precision(teacher)
            student, teacher = (F.avg_pool2d(side, self.pooling, ceil_mode=True) for side in maps)
        rows = self._draw_anchors(student, torch.ones_like(student[:, 0], dtype=torch.bool))
        return cross_image_kd(student, teacher, temperature=self.temperature, rows=rows)

    def _memory(self, queues: ClassQueues, count: int, student: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        if self.training:
            queues.update(teacher, labels)
        remembered, exist = queues.draw(count)
        rows = self._draw_anchors(student, labels != IGNORE_INDEX)
        return memory_kd(student, teacher, labels, remembered, exist, temperature=self.temperature, rows=rows)

    def _draw_anchors(self, maps: Tensor, eligible: Tensor) -> Tensor | None:
        """Pixels of the batch, eligible ones (B, h, w) first; None where all are wanted."""
        positions = eligible.numel()
        count = positions if self.anchors is None else self.anchors * maps.shape[0]
        if count >= positions:
            return None
        keys = torch.rand(positions, device=maps.device).masked_fill_(~eligible.flatten(), -1.0)
        return keys.topk(count).indices


def _projector(channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, kernel_size=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.Conv2d(out_channels, out_channels, kernel_size=1, bias=False),
    )


def _describe(sizes: dict[str, int], shrink: float, gigabytes: float, ours: int, theirs: int) -> tuple[str, ...]:
    """The projector and the queues, as sentences for the log."""
    if not sizes:
        return ()
    layers = "1x1 convolution, batch normalisation, ReLU and 1x1 convolution"
    projector = f"A projector ({layers}) takes the student's {ours} feature channels to the teacher's {theirs}."
    held = " and ".join(f"{size:,} {name}" for name, size in sizes.items())
    queues = f"The memory holds up to {held} of each class: {1000 * gigabytes * shrink:,.0f} MB, in checkpoints too."
    if shrink < 1:
        queues += (
            f" At the length asked for it would take {1000 * gigabytes:,.0f} MB; bank_gigabytes lifts the limit, "
            "bank_dtype=float16 doubles what fits under it."
        )
    return projector, queues
