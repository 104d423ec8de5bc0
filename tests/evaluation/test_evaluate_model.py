"""Predictions are compared at the label's own size."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fakd.data import Sample
from fakd.data.spec import SlidingWindow
from fakd.evaluation import Inference, evaluate_model, predict_logits, to_float_images
from fakd.types import SegmentationOutput


class Brightness(nn.Module):
    """Scores four classes by how bright a 4x4 cell is; remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Conv2d(1, 4, 1)
        self.seen: list[tuple[torch.dtype, float, bool]] = []

    def forward(self, images: Tensor) -> SegmentationOutput:
        self.seen.append((images.dtype, images.max().item(), self.training))
        cells = F.avg_pool2d(images.mean(1, keepdim=True), 4)
        return SegmentationOutput(-(cells * 3 - torch.arange(4.0).view(1, 4, 1, 1)).abs(), cells)


def batch(image: tuple[int, int], label: tuple[int, int]) -> Sample:
    labels = torch.randint(4, (1, *label), dtype=torch.uint8)
    labels[0, 0] = 255
    return Sample(torch.randint(256, (1, 3, *image), dtype=torch.uint8), labels, "x")


def test_counts_at_the_labels_size() -> None:
    model = Brightness().train()
    batches = [batch((16, 24), (33, 50)), batch((8, 8), (8, 8)), batch((24, 16), (5, 7))]
    shown: list[int] = []
    counts = evaluate_model(model, batches, 4, on_image=shown.append)
    expected = torch.zeros(4, 4, dtype=torch.long)
    for images, labels in ((sample.image, sample.label) for sample in batches):
        logits = model(images.float() / 255).logits
        scores = F.interpolate(logits, size=labels.shape[1:], mode="bilinear", align_corners=False)
        for truth, guess in zip(labels.flatten().tolist(), scores.argmax(1).flatten().tolist(), strict=True):
            if truth != 255:
                expected[truth, guess] += 1
    assert counts.dtype == torch.int64
    assert torch.equal(counts, expected)
    assert shown == [1, 1, 1]


def test_asks_as_it_is_told() -> None:
    model = Brightness().eval()
    samples = [batch((16, 24), (33, 50)), batch((8, 8), (8, 8))]
    inference = Inference(SlidingWindow((12, 12), (8, 8)), flip=True, scales=(0.5, 1.0))
    counts = evaluate_model(model, samples, 4, inference=inference)
    expected = torch.zeros(4, 4, dtype=torch.long)
    for sample in samples:
        guesses = predict_logits(model, sample.image, sample.label.shape[1:], inference).argmax(1)
        valid = sample.label != 255
        expected.index_put_((sample.label[valid].long(), guesses[valid]), torch.tensor(1), accumulate=True)
    assert torch.equal(counts, expected)
    assert not torch.equal(counts, evaluate_model(model, samples, 4))


def test_model_sees_floats_up_to_1_in_eval_mode() -> None:
    model = Brightness().train()
    evaluate_model(model, [batch((8, 8), (8, 8))], 4)
    (dtype, largest, training) = model.seen[0]
    assert dtype == torch.float32
    assert 0.5 < largest <= 1
    assert not training


def test_predict_logits_keeps_no_graph_and_takes_floats_as_they_are() -> None:
    model = Brightness().eval()
    images = torch.randint(256, (2, 3, 8, 8), dtype=torch.uint8)
    logits = predict_logits(model, images, (5, 3))
    assert logits.shape == (2, 4, 5, 3)
    assert not logits.requires_grad
    assert torch.equal(predict_logits(model, to_float_images(images), (5, 3)), logits)
    torch.testing.assert_close(to_float_images(images), images / 255)
