import torch
from colour_source import ColourSource
from torch.utils.data import DataLoader

from fakd.data.dataset import SegmentationDataset
from fakd.data.seeding import mixed_seed, seeded
from fakd.data.transforms import EvalTransform, TrainTransform

KEYS = [(epoch, index) for epoch in range(2) for index in range(5)]


def _dataset(seed: int = 0) -> SegmentationDataset:
    return SegmentationDataset(ColourSource(), TrainTransform((48, 64), (32, 32), photometric=True), seed)


def test_augmentation_depends_on_seed_epoch_and_index_alone() -> None:
    first = _dataset()[1, 2]
    torch.manual_seed(99)
    assert torch.equal(first.image, _dataset()[1, 2].image)
    assert torch.equal(first.label, _dataset()[1, 2].label)
    for other in (_dataset()[0, 2], _dataset()[1, 3], _dataset(seed=1)[1, 2]):
        assert not torch.equal(first.image, other.image)


def test_workers_change_nothing() -> None:
    loaded = [
        torch.cat([batch.image for batch in DataLoader(_dataset(), sampler=KEYS, num_workers=workers)])
        for workers in (0, 2)
    ]
    assert torch.equal(*loaded)


def test_global_random_state_is_untouched() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    _dataset()[0, 0]
    assert torch.equal(before, torch.get_rng_state())


def test_gpu_generator_is_not_seeded(monkeypatch) -> None:
    seeded_devices: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded_devices.append)
    _dataset()[0, 0]
    assert seeded_devices == []


def test_plain_index_is_epoch_zero() -> None:
    assert torch.equal(_dataset()[3].image, _dataset()[0, 3].image)
    assert torch.equal(
        SegmentationDataset(ColourSource(), EvalTransform((48, 64)), 0)[3].image, ColourSource()[3].image
    )


def test_batches_are_samples() -> None:
    batch = next(iter(DataLoader(_dataset(), batch_sampler=[[(0, 1), (0, 2)]])))
    assert batch.image.shape == (2, 3, 32, 32)
    assert batch.label.shape == (2, 32, 32)
    assert list(batch.name) == ["made/1", "made/2"]


def test_mixed_seed_separates_its_parts() -> None:
    assert len({mixed_seed(a, b, c) for a in range(5) for b in range(5) for c in range(5)}) == 125
    assert mixed_seed(1) != mixed_seed(1, 0)
    with seeded(1):
        first = torch.rand(3)
    with seeded(1):
        assert torch.equal(first, torch.rand(3))
