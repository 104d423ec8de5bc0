from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from fakd.data import DataError, DatasetSpec, get_dataset
from fakd.data.batches import SegmentationData, StepBatchSampler
from fakd.data.unlabelled import UnlabelledImages
from fakd.types import IGNORE_INDEX, UNLABELLED


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


@pytest.fixture
def half_labelled(colour_spec: DatasetSpec, tmp_path: Path) -> Callable[..., SegmentationData]:
    """Seven images of the data set, and three of 20x30 that nobody labelled."""
    files = [(tmp_path / f"{index}.png", f"own {index}") for index in range(3)]
    for path, _ in files:
        Image.new("RGB", (30, 20), (200, 0, 0)).save(path)

    def make(rank: int = 0, world_size: int = 1, seed: int = 0) -> SegmentationData:
        data = SegmentationData(colour_spec, base_size=(24, 32), crop_size=(40, 40), batch_size=2, seed=seed)
        data.rank, data.world_size = rank, world_size
        data.unlabelled, data.unlabelled_batch = UnlabelledImages(files), 4
        return data

    return make


def test_unlabelled_crops_come_last_and_every_image_once_an_epoch(half_labelled) -> None:
    batches = list(islice(half_labelled().train_dataloader(), 12))
    own = [name for batch in batches for name in batch.name[2:]]
    assert all(name.startswith("made/") for batch in batches for name in batch.name[:2])
    assert [sorted(own[at : at + 3]) for at in range(0, 48, 3)] == [["own 0", "own 1", "own 2"]] * 16
    for batch in batches:
        assert UNLABELLED not in batch.label[:2]
        assert set(batch.label[2:].unique().tolist()) <= {UNLABELLED, IGNORE_INDEX}  # crops may reach beyond the image
    labelled = list(islice(_plain(half_labelled()).train_dataloader(), 12))
    assert [batch.name[:2] for batch in batches] == [batch.name for batch in labelled]


def _plain(data: SegmentationData) -> SegmentationData:
    data.unlabelled = None
    return data


def test_orders_of_unlabelled_crops_resume_and_are_shared(half_labelled) -> None:
    def names(first: int, count: int, **share: int) -> list[list[str]]:
        return [list(batch.name) for batch in islice(half_labelled(**share).train_dataloader(first), count)]

    whole = names(0, 6)
    assert whole[4:] == names(4, 2)
    assert whole != names(0, 6, seed=1)
    ours, theirs = (names(0, 6, rank=rank, world_size=2) for rank in range(2))
    for step, one, other in zip(whole, ours, theirs, strict=True):
        assert one == [step[0], step[2], step[4]]
        assert other == [step[1], step[3], step[5]]


def test_epochs_of_either_part(half_labelled) -> None:
    """Five steps show 10 of the 7 labelled and 20 of the 3 others."""
    assert half_labelled().passes(5) == [2] * 7 + [7] * 3
    assert _plain(half_labelled()).passes(5) == [2] * 7


def test_an_unlabelled_image_that_cannot_be_read(half_labelled) -> None:
    data = half_labelled()
    data.unlabelled.files[1][0].write_bytes(b"")
    with pytest.raises(DataError, match=r"1\.png: the file is empty"):
        data.check()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 5, "world_size": 2}, "multiple of their number, 2; the next possible one is 6"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"length": 0}, "at least one sample"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _steps(1, **arguments)
