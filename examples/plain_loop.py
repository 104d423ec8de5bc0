"""FAKD in a training loop of one's own, with a student that fakd did not build.

    python examples/plain_loop.py toy-scenes --steps 100

The student has torchvision's MobileNetV3 as its encoder; `ClassifierTap` shows FAKD its features and its classifier.
The data are the toy scenes; the teacher is any network trained on them, such as the one that
comes with the package.
"""

import argparse
from itertools import islice

import torch
import torchvision
from torch.utils.data import DataLoader

import fakd
from fakd.data import get_dataset
from fakd.data.batches import SegmentationDataset, StepBatchSampler
from fakd.data.transforms import TrainTransform
from fakd.evaluation import evaluate_model, scores_from_confusion, to_float_images
from fakd.functional import cross_entropy
from fakd.models import open_model


class SmallSegmenter(torch.nn.Module):
    """Anybody's network: an encoder without weights, a 3x3 convolution, and a 1x1 classifier."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        encoder = torchvision.models.mobilenet_v3_small(weights=None).features
        self.encoder = encoder[:9]  # stride 16, 48 channels
        self.neck = torch.nn.Sequential(
            torch.nn.Conv2d(48, 64, 3, padding=1, bias=False), torch.nn.BatchNorm2d(64), torch.nn.ReLU()
        )
        self.dropout = torch.nn.Dropout2d(0.1)
        self.classifier = torch.nn.Conv2d(64, num_classes, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.dropout(self.neck(self.encoder(images))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("teacher", help="network trained on toy-scenes: toy-scenes, a run folder or a file")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=8)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    spec = get_dataset("toy-scenes")
    source = spec.open(None, "train")
    batches = DataLoader(
        SegmentationDataset(source, TrainTransform(spec.base_size, spec.crop_size), seed=0),
        batch_sampler=StepBatchSampler(len(source), arguments.batch_size, seed=0),
    )

    teacher = open_model(arguments.teacher)[0].to(device).eval()
    # The five lines: wrap the student, make the loss, and in the loop call it, sum it, add it.
    student = fakd.ClassifierTap(SmallSegmenter(spec.num_classes), num_classes=spec.num_classes).to(device)
    distil = fakd.FAKD(student, teacher, max_steps=arguments.steps).to(device)

    optimizer = torch.optim.SGD(student.parameters(), lr=0.02, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, arguments.steps, power=0.9)
    for step, batch in enumerate(islice(batches, arguments.steps)):
        images, labels = to_float_images(batch.image.to(device)), batch.label.to(device).long()
        output = student(images)
        with torch.no_grad():
            taught = teacher(images)
        loss = cross_entropy(output.logits, labels) + sum(distil(output, taught, labels, step).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 0 or step == arguments.steps - 1:
            print(f"step {step}  loss {loss.item():.3f}")

    val = DataLoader(SegmentationDataset(spec.open(None, "val"), lambda sample: sample, seed=0))
    scores = scores_from_confusion(evaluate_model(student, val, spec.num_classes, device=device), spec.classes)
    print(f"mIoU {scores.mIoU:.2f}  mAcc {scores.mAcc:.2f}")


if __name__ == "__main__":
    main()
