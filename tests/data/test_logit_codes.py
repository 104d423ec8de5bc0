import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fakd.data.teacher_logits import LogitFormat, coded_bytes, decode_logits, encode_logits

maps = st.tuples(st.integers(1, 20), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99), st.floats(-3, 3))


def _made(shape: tuple[int, int, int, int, float]) -> torch.Tensor:
    *size, seed, exponent = shape
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed)) * 10**exponent


@given(maps)
def test_int8_is_off_by_half_a_step_of_the_class(shape: tuple[int, int, int, int, float]) -> None:
    logits = _made(shape)
    found = decode_logits(encode_logits(logits, "int8"), len(logits)).double().numpy()
    due = logits.double().numpy()
    step = (due.max((1, 2)) - due.min((1, 2))) / 255
    assert (np.abs(found - due).max((1, 2)) <= 0.501 * step + 1e-6 * np.abs(due).max()).all()


@given(maps)
def test_float16_is_as_numpys(shape: tuple[int, int, int, int, float]) -> None:
    logits = _made(shape)
    found = decode_logits(encode_logits(logits, "float16"), len(logits))
    assert found.dtype == torch.float32
    assert np.array_equal(found.numpy(), logits.numpy().astype(np.float16).astype(np.float32))


def test_top8_keeps_the_best_and_the_others_share_of_the_softmax() -> None:
    logits = torch.randn(30, 4, 5) * 4
    found = decode_logits(encode_logits(logits, "top8"), 30).double()
    due = torch.softmax(logits.double(), 0)
    probabilities = torch.softmax(found, 0)
    for row in range(4):
        for column in range(5):
            order = np.argsort(-logits[:, row, column].numpy())
            here, there = probabilities[order, row, column], due[order, row, column]
            assert torch.allclose(here[:8], there[:8], atol=0, rtol=0.01)
            assert here[8:].std() < 1e-7  # one level
            assert float(here[8:].sum()) == pytest.approx(float(there[8:].sum()), rel=0.02)


@pytest.mark.parametrize("form", ["float16", "int8", "top8"])
@pytest.mark.parametrize("size", [(9, 1, 1), (150, 5, 7)])
def test_bytes_are_as_foretold(form: LogitFormat, size: tuple[int, int, int]) -> None:
    coded = encode_logits(torch.randn(size), form)
    assert sum(tensor.nbytes for tensor in coded.values()) == coded_bytes(form, *size)


def test_constant_and_extreme_maps() -> None:
    constant = torch.full((2, 3, 3), -7.25)
    for form in ("float16", "int8"):
        assert torch.equal(decode_logits(encode_logits(constant, form), 2), constant)
    large = torch.tensor([[[-1e30, 0.0, 1e30]]])
    assert torch.allclose(decode_logits(encode_logits(large, "int8"), 1), large, rtol=0, atol=5e27)
    tiny = torch.tensor([[[0.0, 3e-44]]])
    assert decode_logits(encode_logits(tiny, "int8"), 1).abs().max() < 1e-43


@pytest.mark.parametrize(
    ("logits", "form", "message"),
    [
        (torch.tensor([[[torch.nan]]]), "int8", "infinite or NaN"),
        (torch.tensor([[[0.0, torch.inf]]]), "float16", "infinite or NaN"),
        (torch.tensor([[[0.0, 7e4]]]), "float16", "up to 70000 are too large for float16: choose int8"),
        (torch.zeros(8, 2, 2), "top8", "more than 8 classes, and there are 8: choose int8"),
    ],
)
def test_what_cannot_be_kept_is_refused(logits: torch.Tensor, form: LogitFormat, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_logits(logits, form)
