"""Structured distillation (SKDS): each pixel, how pixels resemble each other, and the map as a whole."""

from torch import Tensor

from fakd.functional import pixel_kd, resize_logits
from fakd.functional.skds import pairwise_affinity
from fakd.methods.adversarial import AdversarialTerm, Adversary
from fakd.methods.augmentation import LogitAugmentation
from fakd.methods.method import Method
from fakd.methods.options import check_flags, check_numbers
from fakd.types import SegmentationModel, SegmentationOutput


class SKDS(Method):
    """Match the teacher pixel by pixel, in which places resemble each other, and before a discriminator.

        pixel_weight * pixel_kd(z, q) + pairwise_weight * pairwise_affinity(s, t)
            + adversarial_weight * ( E D(softmax q, image) - E D(softmax z, image) )

    Args:
        student: the network that learns.
        teacher: the frozen network; its features may have other channels, as similarities have none.
        max_steps: T, length of the run in optimizer steps, over which the discriminator's learning rate falls.
        pixel_weight: of `pixel_kd`, the mean over all pixels of the batch.
        pairwise_weight: of `pairwise_affinity`, the mean over images and pairs of nodes.
        adversarial_weight: of `AdversarialTerm`, the mean over images; 0 makes no discriminator.
        adversarial: "hinge", with spectral normalisation, or "wgan-gp", as published.
        discriminator_learning_rate: of the discriminator's own Adam.
        authors_nodes: compare the nodes of the authors' code (see `pairwise_affinity`) rather than the paper's.
        augment_logits: lambda, the strength at which the student's logits are moved as in `FAKDPixel` before the
            pixel-wise term looks at them, see `LogitAugmentation`; 0 leaves them as they are.

    Teacher logits and features of another stride are resized to the student's, bilinearly. A part of weight 0
    is not run. Labels are used by `augment_logits` alone.

    Fidelity: the weights are the authors' 10, 0.5 and 0.1. The paper averages the pixel-wise term over the pixels
    of an image, here over the batch's; the authors' code sums over the batch, so that its 10 at batch 8 would be a
    pixel_weight of 80. It also reads the scores as (B C h w / C, C) without moving the class axis last, so that
    its softmax runs over C neighbouring positions of one class; here it runs over classes, as in the paper. The
    authors train the discriminator with SGD and show it raw scores without the image; here it has Adam, and
    sees class probabilities and image, as in the paper.

    Source: Liu et al., Structured Knowledge Distillation for Semantic Segmentation, CVPR 2019; the same for Dense
    Prediction, 2020.

    Example:
        >>> import torch
        >>> from fakd import SegmentationOutput, create_model
        >>> student = create_model("pspnet/test_resnet.r160_in1k", num_classes=5, channels=8)
        >>> distil = SKDS(student, student, max_steps=100)
        >>> images, labels = torch.rand(2, 3, 32, 32), torch.randint(5, (2, 32, 32))
        >>> output = student(images)
        >>> list(distil(output, output, labels, step=0, images=images))
        ['pixel', 'pairwise', 'adversarial']
    """

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel,
        *,
        max_steps: int,
        pixel_weight: float = 10.0,
        pairwise_weight: float = 0.5,
        adversarial_weight: float = 0.1,
        adversarial: Adversary = "hinge",
        discriminator_learning_rate: float = 4e-4,
        authors_nodes: bool = False,
        augment_logits: float = 0.0,
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        check_numbers(pixel_weight=pixel_weight, pairwise_weight=pairwise_weight, adversarial_weight=adversarial_weight)
        check_flags(authors_nodes=authors_nodes)
        self.pixel_weight, self.pairwise_weight = pixel_weight, pairwise_weight
        self.adversarial_weight, self.authors_nodes = adversarial_weight, authors_nodes
        self.augmentation: LogitAugmentation = LogitAugmentation(
            student, max_steps=max_steps, strength=augment_logits, name="augment_logits"
        )
        self.adversarial = (
            AdversarialTerm(
                student.classifier.out_channels,
                max_steps=max_steps,
                kind=adversarial,
                learning_rate=discriminator_learning_rate,
                in_channels=getattr(student, "in_channels", 3),
            )
            if adversarial_weight
            else None
        )

    @property
    def watched(self) -> dict[str, Tensor]:
        """Values for the log that are no part of the loss: the discriminator's own."""
        own = {} if self.adversarial is None else {"discriminator": self.adversarial.last_loss}
        return {**super().watched, **own}

    def forward(
        self,
        student_output: SegmentationOutput,
        teacher_output: SegmentationOutput,
        labels: Tensor,
        step: int,
        *,
        images: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Three terms: `pixel`, `pairwise` and `adversarial`, which needs the images."""
        terms = {}
        logits = student_output.logits
        teacher_logits = resize_logits(teacher_output.logits, logits.shape[-2:])
        if self.pixel_weight:
            terms["pixel"] = self.pixel_weight * pixel_kd(
                self.augmentation(student_output, teacher_logits, labels, step), teacher_logits
            )
        if self.pairwise_weight:
            terms["pairwise"] = self.pairwise_weight * self._affinity(student_output.features, teacher_output.features)
        if self.adversarial is not None:
            terms["adversarial"] = self.adversarial_weight * self.adversarial(logits, teacher_logits, images, step)
        return terms

    def _affinity(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        height, width = student_features.shape[-2:]
        teacher_features = resize_logits(teacher_features, (height, width))
        if self.authors_nodes:
            patch = max(height // 2, 1), max(width // 2, 1)
            return pairwise_affinity(student_features, teacher_features, patch=patch, pooling="max")
        return pairwise_affinity(student_features, teacher_features)
