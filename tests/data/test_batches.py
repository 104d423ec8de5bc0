from itertools import islice
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fakd.data import DataError, DatasetSpec, get_dataset
from fakd.data.batches import SegmentationData, StepBatchSampler


def test_a_loader_goes_on_at_any_step(colour_spec: DatasetSpec) -> None:
    """And gives its batches only, whatever was asked of it before."""

    def names(first: int, count: int) -> list[list[str]]:
        data = SegmentationData(colour_spec, batch_size=3)
        return [list(batch.name) for batch in islice(data.train_dataloader(first), count)]

    whole = names(0, 6)
    assert whole == names(0, 4) + names(4, 2)
    assert len({name for batch in whole[:2] for name in batch}) == 6


def test_loaders(colour_spec: DatasetSpec) -> None:
    data = SegmentationData(colour_spec, base_size=(24, 32), crop_size=(16, 16), batch_size=4, workers=1)
    train = data.train_dataloader()
    assert train.persistent_workers
    batch = next(iter(train))
    assert batch.image.shape == (4, 3, 16, 16)
    assert batch.image.dtype == batch.label.dtype == torch.uint8
    whole = next(iter(data.val_dataloader()))
    assert whole.image.shape == (1, 3, 24, 32)
    assert whole.label.shape == (1, 48, 64)


def test_loaders_leave_the_global_generator_alone(colour_spec: DatasetSpec) -> None:
    data = SegmentationData(colour_spec, batch_size=2)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    next(iter(data.train_dataloader()))
    list(data.val_dataloader())
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_share_the_work(colour_spec: DatasetSpec) -> None:
    validated: list[str] = []
    trained: list[Tensor] = []
    for rank in range(2):
        data = SegmentationData(colour_spec, batch_size=4)
        data.rank, data.world_size = rank, 2
        validated += [batch.name[0] for batch in data.val_dataloader()]
        trained.append(next(iter(data.train_dataloader())).image)
    assert sorted(validated) == [f"made/{index}" for index in range(5)]
    whole = next(iter(SegmentationData(colour_spec, batch_size=4).train_dataloader())).image
    assert torch.equal(torch.stack(trained, dim=1).flatten(0, 1), whole)


def test_a_rank_without_an_image_counts_none(colour_spec: DatasetSpec) -> None:
    """More ranks than the five images: each image counts once."""
    counted: list[str] = []
    for rank in range(7):
        data = SegmentationData(colour_spec)
        data.rank, data.world_size = rank, 7
        counted += [batch.name[0] for batch in data.val_dataloader()]
    assert counted == [f"made/{index}" for index in range(5)]


def test_source_and_check_name_the_fault(tmp_path: Path, write_pair) -> None:
    with pytest.raises(DataError, match="train/, trainannot/ missing"):
        SegmentationData(get_dataset("camvid"), tmp_path).source("train")
    image, _ = write_pair()
    image.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.jpg: the file is empty"):
        SegmentationData(get_dataset("camvid"), tmp_path).check()


def _steps(count: int, **arguments: int) -> list[list[tuple[int, int]]]:
    return list(islice(StepBatchSampler(**({"length": 10, "batch_size": 4, "seed": 0} | arguments)), count))


def test_every_index_once_per_epoch_in_full_batches() -> None:
    steps = _steps(5)
    assert all(len(step) == 4 for step in steps)
    items = [item for step in steps for item in step]
    assert [epoch for epoch, _ in items] == [0] * 10 + [1] * 10
    assert sorted(items) == [(epoch, index) for epoch in range(2) for index in range(10)]
    assert [index for _, index in items[:10]] != [index for _, index in items[10:]]


@pytest.mark.parametrize("length", [1, 3, 8, 10])
@pytest.mark.parametrize("start", [0, 1, 2, 5, 7])
def test_resume_equals_the_uninterrupted_run(length: int, start: int) -> None:
    assert _steps(6, length=length, start_step=start) == _steps(start + 6, length=length)[start:]


def test_ranks_share_the_global_batch() -> None:
    whole = _steps(6)
    shares = [_steps(6, rank=rank, world_size=2) for rank in range(2)]
    for step, (even, odd) in zip(whole, zip(*shares, strict=True), strict=True):
        assert even == step[::2]
        assert odd == step[1::2]


def test_iterating_again_starts_again() -> None:
    sampler = StepBatchSampler(10, 4, seed=0)
    assert list(islice(sampler, 3)) == list(islice(sampler, 3))
    assert list(islice(sampler, 3)) != _steps(3, seed=1)
    with pytest.raises(TypeError):
        len(sampler)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 5, "world_size": 2}, "multiple of their number, 2; the next possible one is 6"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"length": 0}, "at least one sample"),
        ({"start_step": -1}, "start_step is -1"),
        ({"rank": 2, "world_size": 2}, "rank is 2 of 2"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _steps(1, **arguments)
