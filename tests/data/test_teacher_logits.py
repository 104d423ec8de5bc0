"""What the store cuts, against the whole maps and against a bilinear computation written out in float64."""

import pickle
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakd.data.batches import SegmentationDataset
from fakd.data.spec import DataError, Sample
from fakd.data.teacher_logits import LogitStore
from fakd.data.transforms import TrainTransform, fitted_size

STRIDE = 8


def _store(folder: Path, size: tuple[int, int], images: int = 1) -> tuple[LogitStore, torch.Tensor]:
    """A store of float16 and what is in it: (maps, C, h, w)."""
    store = LogitStore(folder, [f"map {number}" for number in range(2 * images)], 3, STRIDE, "float16")
    generator = torch.Generator().manual_seed(0)
    maps = torch.randn(2 * images, 3, *(ceil(side / STRIDE) for side in size), generator=generator).half().float()
    for number, logits in enumerate(maps):
        store.write(number, logits, size)
    return store, maps


def _sample(size: tuple[int, int], crop: tuple[int, int], scale: float, flip: float, seed: int) -> Sample:
    torch.manual_seed(seed)
    transform = TrainTransform(size, crop, (scale, scale), flip, max_class_share=1)
    return transform(Sample(torch.zeros(3, *size, dtype=torch.uint8), torch.zeros(size, dtype=torch.uint8), "a"))


def _expected(whole: torch.Tensor, sample: Sample, size: tuple[int, int], scale: float) -> np.ndarray:
    """Cell by cell: its centre in the sample, in the resized image, in the fitted image, in cells of the map."""
    top, left, _, width, flipped = (float(number) for number in sample.geometry)
    high, wide = sample.label.shape
    resized = fitted_size(size, size, scale)
    left = 1 - left - width if flipped else left
    start = round(top * resized[0]), round(left * resized[1])
    maps = whole.double().numpy()
    result = np.empty((len(maps), ceil(high / STRIDE), ceil(wide / STRIDE)))
    for row in range(result.shape[1]):
        for column in range(result.shape[2]):
            at = []
            for axis, number in enumerate((row, column)):
                pixel = start[axis] + (number + 0.5) * STRIDE
                cell = pixel * size[axis] / resized[axis] / STRIDE - 0.5
                at.append(min(max(cell, 0), maps.shape[1 + axis] - 1))
            y, x = floor(at[0]), floor(at[1])
            down, right = at[0] - y, at[1] - x
            below, beside = min(y + 1, maps.shape[1] - 1), min(x + 1, maps.shape[2] - 1)
            result[:, row, column] = (1 - down) * ((1 - right) * maps[:, y, x] + right * maps[:, y, beside])
            result[:, row, column] += down * ((1 - right) * maps[:, below, x] + right * maps[:, below, beside])
    return result


@pytest.mark.parametrize("flipped", [False, True])
def test_an_aligned_crop_is_a_slice_of_the_teachers_map(tmp_path: Path, flipped: bool) -> None:
    size, crop = (64, 96), (32, 40)
    store, maps = _store(tmp_path, size)
    for row, column in ((0, 0), (2, 3), (4, 7)):
        # `column` counts in what is cut: from the right edge of the image where that is mirrored
        left = 96 - 8 * column - crop[1] if flipped else 8 * column
        geometry = torch.tensor([8 * row / 64, left / 96, crop[0] / 64, crop[1] / 96, float(flipped)])
        found = store.cut(0, Sample(torch.zeros(3, *crop), torch.zeros(crop), "", geometry))
        due = maps[int(flipped), :, row : row + 4, column : column + 5]
        assert torch.allclose(found, due, atol=1e-4)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(33, 90), st.integers(33, 90)),
    crop=st.tuples(st.integers(8, 70), st.integers(8, 70)),
    scale=st.sampled_from([0.5, 0.8, 1.0, 1.5, 2.0]),
    flip=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 99),
)
def test_any_crop_is_bilinear(tmp_path: Path, size, crop, scale: float, flip: float, seed: int) -> None:
    store, maps = _store(tmp_path, size)
    sample = _sample(size, crop, scale, flip, seed)
    found = store.cut(0, sample)
    due = _expected(maps[int(flip)], sample, size, scale)
    assert found.shape == due.shape
    assert np.abs(found.numpy() - due).max() < 1e-3


def test_samples_bring_the_logits_of_their_image_and_draw_as_without(tmp_path: Path) -> None:
    class Images:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Sample:
            label = torch.full((40, 56), index, dtype=torch.uint8)
            return Sample(label.expand(3, -1, -1), label, str(index))

        def check(self) -> None: ...

    store, maps = _store(tmp_path, (40, 56), images=3)
    transform = TrainTransform((40, 56), (24, 24), max_class_share=1)
    taught = SegmentationDataset(Images(), transform, 7, pickle.loads(pickle.dumps(store)))  # as spawned workers do
    plain = SegmentationDataset(Images(), transform, 7)
    mirrored = set()
    for index in range(3):
        for epoch in range(4):
            sample, due = taught[(epoch, index)], plain[(epoch, index)]
            assert all(torch.equal(ours, theirs) for ours, theirs in zip(sample[:2], due[:2], strict=True))
            assert torch.equal(sample.geometry, due.geometry)
            assert due.teacher_logits.numel() == 0
            assert torch.equal(sample.teacher_logits, store.cut(index, due))
            side = maps[2 * index + int(due.geometry[-1])]
            assert sample.teacher_logits.amax() <= side.amax() + 1e-5
            mirrored.add(float(due.geometry[-1]))
    assert mirrored == {0.0, 1.0}


def test_a_file_that_is_not_right_is_never_used(tmp_path: Path) -> None:
    store, _ = _store(tmp_path, (16, 16), images=2)
    assert all(store.is_right(number) for number in range(4))
    store.path(1).write_bytes(store.path(1).read_bytes()[:-1])
    store.path(2).unlink()
    store.path(3).write_bytes(store.path(0).read_bytes())  # whole, but of another image
    assert [store.is_right(number) for number in range(4)] == [True, False, False, False]
    for number in (1, 2, 3):
        with pytest.raises(DataError, match=r"safetensors: the cached logits were removed, damaged or replaced"):
            store.read(number)
