"""Kernels are held against PyTorch before they are used: right and wrong ones in Triton's interpreter.

`test_triton.py` runs this as it runs `kernels_interpreted.py`.
"""

import os
import warnings
from contextlib import nullcontext

import pytest
import torch
from torch.testing import assert_close

from fakd.functional import fused, fused_check, triton_channel_kernels, triton_pixel_kernels

from .losses import LOSSES, Loss, every

assert os.environ["TRITON_INTERPRET"] == "1"

FUSED = [loss for loss in LOSSES if not loss.full and (loss.over == "channel" or loss.bound != "tight")]
WRONG = [
    (Loss(False, "channel"), "divergence_kernel", "rows"),
    (Loss(True, "channel", "paper"), "divergence_kernel", "rows"),
    (Loss(True, "channel", "tight"), "tight_divergence_kernel", "rows"),
    (Loss(False, "channel"), "gradient_kernel", "of_student"),
    (Loss(True, "channel", "paper"), "gradient_kernel", "of_table"),
    (Loss(True, "channel", "tight"), "gradient_kernel", "of_student"),
    (Loss(False, "pixel"), "pixel_kernel", "values"),
    (Loss(True, "pixel", "paper"), "pixel_kernel", "of_student"),
    (Loss(True, "pixel", "paper"), "pixel_table_kernel", "of_table"),
]


@pytest.fixture(autouse=True)
def a_new_process(monkeypatch):
    monkeypatch.setattr(fused, "_failed", set())
    monkeypatch.setattr(fused_check, "_held", set())


@pytest.fixture
def comparisons(monkeypatch):
    """How many answers the host has waited for."""
    found, original = [], fused_check._compare
    monkeypatch.setattr(fused_check, "_compare", lambda *both: found.append(original(*both)))
    return found


def run(loss, dtype=torch.float32, **options):
    inputs = loss.inputs(dtype=torch.float32, **options).requiring_grad(*loss.differentiable)
    inputs = inputs.map(lambda tensor: tensor.to(dtype))
    value = loss(inputs)
    return [value.detach(), *torch.autograd.grad(value, [getattr(inputs, name) for name in loss.differentiable])]


@every(FUSED)
def test_right_kernels_are_held_once_for_each_kind_of_logits(loss, comparisons):
    state = torch.get_rng_state()
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the Triton kernel")
        for count, options in enumerate([{}, {"dtype": torch.bfloat16}, {"classes": 18}, {"size": (2, 16)}], 1):
            for _ in range(2):
                run(loss, **options)
            assert len(comparisons) == count
    assert torch.equal(torch.get_rng_state(), state)
    assert not fused._failed


class Wrong:
    """A kernel one of whose results is spoiled."""

    def __init__(self, kernel, argument):
        self.kernel, self.argument = kernel, argument

    def __getitem__(self, grid):
        def launch(*args, **options):
            self.kernel[grid](*args, **options)
            result = args[self.kernel.arg_names.index(self.argument)]
            if self.argument in ("rows", "values"):
                result.add_(1e-2)
            elif options.get(self.argument.upper(), True):  # where it is not wanted, something else is in its place
                result.zero_()

        return launch


@pytest.mark.parametrize(("loss", "kernel", "argument"), WRONG, ids=str)
def test_wrong_kernels_give_way_with_one_warning(loss, kernel, argument, monkeypatch):
    monkeypatch.setenv("FAKD_TRITON", "0")
    expected = run(loss)
    monkeypatch.setenv("FAKD_TRITON", "1")
    module = triton_pixel_kernels if loss.over == "pixel" else triton_channel_kernels
    monkeypatch.setattr(module, kernel, Wrong(getattr(module, kernel), argument))
    what = {"of_student": "gradient by the logits", "of_table": "gradient by the table"}.get(argument, "value")
    with pytest.warns(RuntimeWarning, match=f"{loss.over}-wise divergences cannot .* its {what} is off by") as caught:
        found = [run(loss) for _ in range(2)]
    assert_close(found, [expected] * 2, rtol=0, atol=0)
    assert len([warning for warning in caught if "Triton" in str(warning.message)]) == 1
    assert len(fused._failed) == 1


@pytest.mark.parametrize("loss", [Loss(False, "pixel"), Loss(True, "channel", "tight")], ids=str)
@pytest.mark.parametrize(
    "mode", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16), nullcontext]
)
def test_in_any_mode(loss, mode, comparisons):
    with mode(), warnings.catch_warnings():
        warnings.filterwarnings("error", message="the Triton kernel")
        loss(loss.inputs(dtype=torch.float32))
    assert len(comparisons) == 1


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf"), 1.01])
def test_what_is_compared(spoiled):
    right = torch.tensor([1.0, 0.5])
    fused_check._compare((right, None), (right.double(), None))
    with pytest.raises(ArithmeticError, match=r"its gradient by the logits is off by \S+ of the largest"):
        fused_check._compare((right, right * spoiled), (right.double(), right.double()))
