import math

import pytest
import torch

from fakd.functional import teacher_classes


@pytest.mark.parametrize("confidence", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_classes_are_those_of_a_plain_loop(confidence: float, dtype: torch.dtype) -> None:
    logits = (3 * torch.randn(2, 5, 3, 4)).to(dtype)
    found = teacher_classes(logits, confidence)
    assert found.dtype == torch.int64
    for b in range(2):
        for y in range(3):
            for x in range(4):
                powers = [math.exp(score) for score in logits[b, :, y, x].double().tolist()]
                sure = max(powers) / sum(powers) >= confidence
                assert found[b, y, x] == (powers.index(max(powers)) if sure else 255)


def test_large_logits_are_certain() -> None:
    logits = torch.tensor([1e4, -1e4, 0.0]).view(1, 3, 1, 1)
    assert teacher_classes(logits, 1.0).item() == 0
