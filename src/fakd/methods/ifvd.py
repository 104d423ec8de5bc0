"""IFVD: how pixels vary within their class, beside pixel-wise distillation and an adversary."""

from torch import Tensor

from fakd.functional import pixel_kd, resize_labels, resize_logits
from fakd.functional.ifvd import intra_class_kd
from fakd.methods.adversarial import AdversarialTerm, Adversary
from fakd.methods.augmentation import LogitAugmentation
from fakd.methods.method import Method
from fakd.methods.options import check_numbers
from fakd.types import SegmentationModel, SegmentationOutput


class IFVD(Method):
    """Match how far each pixel is from its class centre, and the teacher pixel by pixel and before a discriminator.

        pixel_weight * pixel_kd(z, q) + variation_weight * intra_class_kd(s, t, y)
            + adversarial_weight * ( E D(softmax q, image) - E D(softmax z, image) )

    Args:
        student: the network that learns.
        teacher: the frozen network.
        max_steps: T, length of the run in optimizer steps, over which the discriminator's learning rate falls.
        pixel_weight: of `pixel_kd`, the mean over all pixels of the batch; None is 10 / C, the authors' 10 on the mean
            over all B * C * h * w elements.
        variation_weight: of the squared difference of the two cosine maps, averaged over the labelled pixels; 200.
        adversarial_weight: of `AdversarialTerm`, the mean over images; 0.001.
        adversarial: "hinge", with spectral normalisation, or "wgan-gp", as published.
        discriminator_learning_rate: of the discriminator's own Adam.
        augment_logits: lambda, the strength at which the student's logits are moved as in `FAKDPixel` before the
            pixel-wise term looks at them, see `LogitAugmentation`; 0 leaves them as they are.

    Teacher maps of another stride are resized to the student's, bilinearly. Numbers of channels may differ: each
    network's features are compared with that network's own centres. A part of weight 0 is not run.

    Fidelity: the authors' discriminator looks at scores alone, is updated after the student, and its loss is
    multiplied by 0.1, which its Adam undoes; here it is the one of SKDS, see `AdversarialTerm`. Their features have
    passed the dropout before the classifier; these have not. Of their normalisers see `intra_class_kd`.

    Source: Wang et al., Intra-class Feature Variation Distillation for Semantic Segmentation, ECCV 2020.

    Example:
        >>> import torch
        >>> from fakd import create_model
        >>> student = create_model("pspnet/test_resnet.r160_in1k", num_classes=5, channels=8)
        >>> distil = IFVD(student, student, max_steps=100)
        >>> images, labels = torch.rand(2, 3, 32, 32), torch.randint(5, (2, 32, 32))
        >>> output = student(images)
        >>> list(distil(output, output, labels, step=0, images=images))
        ['pixel', 'variation', 'adversarial']
    """

    def __init__(
        self,
        student: SegmentationModel,
        teacher: SegmentationModel,
        *,
        max_steps: int,
        pixel_weight: float | None = None,
        variation_weight: float = 200.0,
        adversarial_weight: float = 0.001,
        adversarial: Adversary = "hinge",
        discriminator_learning_rate: float = 4e-4,
        augment_logits: float = 0.0,
    ) -> None:
        super().__init__(student, teacher, max_steps=max_steps)
        self.num_classes = student.classifier.out_channels
        pixel_weight = 10 / self.num_classes if pixel_weight is None else pixel_weight
        check_numbers(
            pixel_weight=pixel_weight, variation_weight=variation_weight, adversarial_weight=adversarial_weight
        )
        self.pixel_weight, self.variation_weight = pixel_weight, variation_weight
        self.adversarial_weight = adversarial_weight
        self.augmentation: LogitAugmentation = LogitAugmentation(
            student, max_steps=max_steps, strength=augment_logits, name="augment_logits"
        )
        self.adversarial = (
            AdversarialTerm(
                self.num_classes,
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
        """Three terms: `pixel`, `variation` and `adversarial`, which needs the images."""
        terms = {}
        logits, features = student_output.logits, student_output.features
        teacher_logits = resize_logits(teacher_output.logits, logits.shape[-2:])
        if self.pixel_weight:
            terms["pixel"] = self.pixel_weight * pixel_kd(
                self.augmentation(student_output, teacher_logits, labels, step), teacher_logits
            )
        if self.variation_weight:
            size = features.shape[-2:]
            teacher_features, labels = resize_logits(teacher_output.features, size), resize_labels(labels, size)
            variation = intra_class_kd(features, teacher_features, labels, num_classes=self.num_classes)
            terms["variation"] = self.variation_weight * variation
        if self.adversarial is not None:
            terms["adversarial"] = self.adversarial_weight * self.adversarial(logits, teacher_logits, images, step)
        return terms
