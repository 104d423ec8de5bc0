from itertools import islice

import torch
from colour_source import ColourSource
from torch.utils.data import DataLoader

from fakd.data.batches import SegmentationDataset, StepBatchSampler
from fakd.data.cropping import WHOLE_IMAGE, Geometry
from fakd.data.spec import Sample, spread
from fakd.data.transforms import EvalTransform, TrainTransform


def _dataset(seed: int = 0) -> SegmentationDataset:
    return SegmentationDataset(ColourSource(), TrainTransform((48, 64), (32, 32), photometric=True), seed)


def test_augmentation_depends_on_seed_epoch_and_index_alone() -> None:
    first = _dataset()[1, 2]
    torch.manual_seed(99)
    assert torch.equal(first.image, _dataset()[1, 2].image)
    assert torch.equal(first.label, _dataset()[1, 2].label)
    for other in (_dataset()[0, 2], _dataset()[1, 3], _dataset(seed=1)[1, 2]):
        assert not torch.equal(first.image, other.image)


def test_neither_workers_nor_a_start_in_the_middle_change_anything() -> None:
    def steps(start: int, stop: int, workers: int) -> list[Sample]:
        sampler = StepBatchSampler(len(ColourSource()), batch_size=3, seed=7, start_step=start)
        loader = DataLoader(_dataset(), batch_sampler=sampler, num_workers=workers)
        return list(islice(loader, stop - start))

    whole = steps(0, 6, workers=0)
    assert len({image.numpy().tobytes() for batch in whole for image in batch.image}) == 18  # five images, 3.6 epochs
    for resumed in (steps(0, 6, workers=2), steps(4, 6, workers=0), steps(4, 6, workers=2)):
        for batch, due in zip(resumed, whole[-len(resumed) :], strict=True):
            assert batch.name == due.name
            assert all(torch.equal(one, other) for one, other in zip(batch[:2], due[:2], strict=True))
            assert torch.equal(batch.geometry, due.geometry)


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
    assert batch.geometry.shape == (2, len(Geometry._fields))
    whole = next(iter(DataLoader(SegmentationDataset(ColourSource(), EvalTransform((24, 32)), 0), batch_size=2)))
    assert torch.equal(whole.geometry, WHOLE_IMAGE.expand(2, -1))


def test_spread_over_a_source() -> None:
    assert spread(10, 3) == [0, 4, 9]
    assert spread(2, 5) == [0, 1]
    assert spread(0, 5) == []
