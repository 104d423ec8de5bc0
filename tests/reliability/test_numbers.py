"""Numbers stay numbers: whatever the inputs, the labels, the precision and the length of the run."""

from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from numbers_drawn import check
from torch import Tensor, nn

from fakd import ClassCovariance
from fakd.data import Sample
from fakd.functional.moments import Moments
from fakd.methods import METHODS, create_method
from fakd.models import create_model
from fakd.training import distill
from fakd.training.config import TrainConfig
from fakd.training.learner import Learner

CLASSES = 12


@pytest.mark.slow
def test_gradients_of_every_loss() -> None:
    """The 10,000 of the page are those of numbers_drawn.py 10000."""
    check(500)


# covariance over ten billion pixels


@pytest.mark.parametrize("diagonal", [True, False], ids=["diagonal", "full"])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_covariance_over_ten_billion_pixels(diagonal: bool, mean: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 updates by what batches of 5 million pixels, drifting, would give; against float64, merged all at once."""
    updates, pixels, channels = 2000, 5_000_000, 3
    rng = np.random.default_rng(0)
    means = mean + np.linspace(0, 1, updates)[:, None] + 0.1 * rng.standard_normal((updates, channels))
    factors = rng.standard_normal((updates, channels, channels))
    covariances = factors @ factors.transpose(0, 2, 1)
    estimate = ClassCovariance(2, channels, diagonal=diagonal)
    for mu, sigma in zip(means, covariances, strict=True):
        batch = Moments(
            count=torch.tensor([pixels, 0]),  # the second class is never seen
            mean=torch.tensor(np.stack([mu, 0 * mu])),
            covariance=torch.tensor(np.stack([sigma, 0 * sigma]), dtype=torch.float32),
        )
        if diagonal:
            batch = replace(batch, covariance=batch.covariance.diagonal(dim1=1, dim2=2))
        monkeypatch.setattr("fakd.methods.covariance.class_moments", lambda *_, batch=batch, **__: batch)
        estimate.update(torch.zeros(1, channels, 1, 1), torch.zeros(1, 1, 1, dtype=torch.long))
    centred = means - means.mean(0)
    expected = covariances.mean(0) + centred.T @ centred / updates
    expected = np.diag(expected) if diagonal else expected
    assert estimate.count.tolist() == [10_000_000_000, 0]
    np.testing.assert_allclose(estimate.mean[0], means.mean(0), rtol=1e-6)
    np.testing.assert_allclose(estimate.covariance[0], expected, rtol=1e-5, atol=1e-5)
    assert not estimate.covariance[1].any()


# every method on every kind of crop, in every precision


@dataclass(frozen=True)
class Case:
    """What is odd about a batch."""

    labels: int | None = None
    """The one label that all pixels have."""
    image: int | None = None
    """The one value that all pixels have."""
    options: dict[str, Any] = field(default_factory=dict)
    """Of the augmented methods."""


CASES = {
    "as usual": Case(),
    "all ignored": Case(labels=255),
    "one class, the others never seen": Case(labels=3),
    "constant features": Case(image=0, labels=3),
    "strength 50": Case(options={"strength": 50.0, "schedule": "constant"}),
    "strength 50, constant features": Case(image=255, options={"strength": 50.0, "schedule": "constant"}),
    "strength 50, tight, full": Case(
        options={"strength": 50.0, "schedule": "constant", "bound": "tight", "covariance": "full"}
    ),
}
AUGMENTED = ("fakd", "fakd-pixel")
RUNS = [(name, case) for name in METHODS for case in CASES if name in AUGMENTED or not CASES[case].options]


@cache
def networks() -> tuple[nn.Module, nn.Module]:
    student = create_model("pspnet/test_resnet", num_classes=CLASSES, channels=8)
    teacher = create_model("pspnet/test_resnet", num_classes=CLASSES, channels=8, output_stride=16, aux=False)
    return student, teacher


# A CPU takes seconds for a convolution in float16.
IN_FLOAT16 = ("as usual", "strength 50")


@pytest.mark.parametrize(
    ("name", "case", "precision"),
    [
        (name, case, precision)
        for name, case in RUNS
        for precision in (torch.float32, torch.bfloat16, *[torch.float16] * (case in IN_FLOAT16))
    ],
    ids=str,
)
def test_every_method(name: str, case: str, precision: torch.dtype) -> None:
    """Terms, gradients and states are finite; in float32 in a second step too."""
    odd = CASES[case]
    student, teacher = networks()
    method = create_method(name, student, teacher, max_steps=4, options=odd.options)  # type: ignore[arg-type]
    module = Learner(student, method, teacher, TrainConfig()).train()
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(CLASSES, (2, 32, 32), dtype=torch.uint8)
    batch = Sample(
        images if odd.image is None else torch.full_like(images, odd.image),
        labels if odd.labels is None else torch.full_like(labels, odd.labels),
        ["a", "b"],  # type: ignore[arg-type]
    )
    for step in (1, 2) if precision == torch.float32 else (1,):
        module.zero_grad()
        with torch.autocast("cpu", dtype=precision, enabled=precision != torch.float32):
            terms = module(batch, step)
        assert {term: value.item() for term, value in terms.items() if not is_finite(value)} == {}
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        assert [name for name, weight in module.named_parameters() if not is_finite(weight.grad)] == []
    assert [name for name, value in module.state_dict().items() if not is_finite(value)] == []


def is_finite(value: Any) -> bool:
    return not isinstance(value, Tensor) or bool(value.isfinite().all())


@pytest.mark.parametrize("precision", ["16-mixed", "bf16-mixed"])
def test_a_run_in_mixed_precision(distill_config, tmp_path, capsys, precision: str) -> None:
    """A CPU computes in bfloat16 in either case, which is said."""
    results = distill(distill_config(method="fakd", precision=precision, options={"strength": 50.0}))
    assert results is not None
    said = "16-mixed is for GPUs" in capsys.readouterr().out
    assert said is (precision == "16-mixed")
    checkpoint = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in checkpoint["state_dict"].values())
