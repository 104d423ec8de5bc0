"""Views are one and the same in all runs, and each run goes through them in an order of its own."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch
from colour_source import ColourSource
from torch.utils.data import DataLoader

from fakd.data.batches import SegmentationData, StepBatchSampler
from fakd.data.image_cache import CachedSource, image_sizes
from fakd.data.seeds import mixed_seed
from fakd.data.spec import DatasetSpec, Sample
from fakd.data.teacher_logits import LogitStore
from fakd.data.transforms import TrainTransform
from fakd.data.views import TaughtViews, Views

IMAGES = 5


@pytest.fixture
def taught(tmp_path: Path):
    """Make the samples of a run; the logits of a view are its own number and that of its image, everywhere."""

    def make(count: int, seed: int, images: int = IMAGES) -> TaughtViews:
        store = LogitStore(tmp_path, [f"image {index}" for index in range(images)], 2, "float16")
        for view in range(count):
            for index in range(images):
                store.write(view, index, torch.tensor([view, index]).view(2, 1, 1).expand(2, 4, 4))
        transform = TrainTransform((48, 64), (32, 32), photometric=True)
        return TaughtViews(Views(ColourSource(images), transform), store, count, seed)

    return make


def shown(sample: Sample) -> tuple[int, ...]:
    """The view and the image that the logits say they are of."""
    return tuple(sample.teacher_logits[:, 0, 0].int().tolist())


def test_a_view_depends_on_its_number_and_its_image_alone() -> None:
    transform = TrainTransform((48, 64), (32, 32), photometric=True)
    views = Views(ColourSource(), transform)
    first = views[3, 2]
    torch.manual_seed(99)
    again = Views(ColourSource(), TrainTransform((48, 64), (32, 32), photometric=True))[3, 2]
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.label, again.label)
    with torch.random.fork_rng(devices=[]):  # what it is by definition
        torch.manual_seed(mixed_seed("view", 3, 2))
        assert torch.equal(first.image, transform(ColourSource()[2]).image)
    others = (views[2, 2], views[3, 1], views[2, 3])
    assert all(not torch.equal(first.image, other.image) for other in others)


def test_samples_are_the_views_that_their_logits_are_of(taught) -> None:
    data = taught(count=3, seed=7)
    for epoch in range(7):
        for index in range(IMAGES):
            sample = data[epoch, index]
            view, image = shown(sample)
            assert image == index
            assert torch.equal(sample.image, data.views[view, index].image)
            assert torch.equal(sample.label, data.views[view, index].label)


def test_every_view_comes_once_before_any_comes_again(taught) -> None:
    data = taught(count=4, seed=0)
    orders = set()
    for index in range(IMAGES):
        seen = [shown(data[epoch, index])[0] for epoch in range(12)]
        assert sorted(seen[:4]) == [0, 1, 2, 3]
        assert seen == 3 * seen[:4]
        orders.add(tuple(seen[:4]))
    assert len(orders) > 1


def test_orders_depend_on_the_seed_and_use_all_views_alike(taught) -> None:
    data = [taught(count=4, seed=seed) for seed in range(20)]
    first = [tuple(shown(one[0, index])[0] for index in range(IMAGES)) for one in data]
    assert len(set(first)) > 15
    counts = Counter(view for views in first for view in views)
    assert sum((counts[view] - 25) ** 2 / 25 for view in range(4)) < 16.3  # chi squared: beyond it once in 1,000
    assert first[3] == tuple(shown(taught(count=4, seed=3)[0, index])[0] for index in range(IMAGES))


def test_one_view_is_the_same_crop_in_every_epoch(taught) -> None:
    data = taught(count=1, seed=5)
    assert all(torch.equal(data[epoch, 2].image, data[0, 2].image) for epoch in range(4))


@pytest.mark.parametrize("epochs", [1, 3, 4, 9])
def test_what_a_run_needs_is_exactly_what_it_shows(taught, epochs: int) -> None:
    data = taught(count=4, seed=1)
    due = {shown(data[epoch, index]) for epoch in range(epochs) for index in range(IMAGES)}
    needed = data.needed([epochs] * IMAGES)
    assert set(needed) == due
    assert len(needed) == len(due) == IMAGES * min(epochs, 4)
    assert [index for _, index in needed] == sorted(index for _, index in needed)


def test_neither_workers_nor_a_start_in_the_middle_change_anything(taught) -> None:
    def steps(start: int, stop: int, workers: int) -> list[Sample]:
        sampler = StepBatchSampler(IMAGES, batch_size=3, seed=7, start_step=start)
        return list(islice(DataLoader(taught(2, 7), batch_sampler=sampler, num_workers=workers), stop - start))

    whole = steps(0, 6, workers=0)
    for resumed in (steps(0, 6, workers=1), steps(4, 6, workers=0), steps(4, 6, workers=1)):
        for batch, due in zip(resumed, whole[-len(resumed) :], strict=True):
            assert batch.name == due.name
            assert torch.equal(batch.image, due.image)
            assert torch.equal(batch.teacher_logits, due.teacher_logits)


@pytest.mark.parametrize("workers", [0, 1])
def test_loaders(colour_spec: DatasetSpec, taught, workers: int) -> None:
    data = SegmentationData(colour_spec, batch_size=3, workers=workers)
    keys = [(1, 6), (0, 2), (5, 2), (1, 0)]
    batches = list(data.some_views(keys))
    assert [len(batch.image) for batch in batches] == [3, 1]
    images = [image for batch in batches for image in batch.image]
    assert all(torch.equal(image, data.views()[key].image) for image, key in zip(images, keys, strict=True))
    source = data.source("train")
    data.cached = CachedSource(source, image_sizes(source))
    data._sources.clear()  # nothing is read from there any more
    assert torch.equal(next(iter(data.some_views(keys))).image, batches[0].image)

    data.taught = taught(count=2, seed=4, images=7)
    batch = next(iter(data.train_dataloader(start_step=5)))
    assert batch.teacher_logits.shape == (3, 2, 4, 4)
    for place, (view, index) in enumerate(batch.teacher_logits[:, :, 0, 0].int().tolist()):
        assert batch.name[place] == f"made/{index}"
        assert torch.equal(batch.image[place], data.taught.views[view, index].image)
