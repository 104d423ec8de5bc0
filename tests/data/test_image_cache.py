"""Cached images are those of the source, in every kind of worker, and never more than the memory holds."""

from itertools import islice
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from colour_source import ColourSource
from torch import Tensor
from torch.utils.data import DataLoader

from fakd.data import DataError, get_dataset, image_cache
from fakd.data.batches import SegmentationData, SegmentationDataset, StepBatchSampler
from fakd.data.image_cache import CachedSource, cached_bytes, check_fits, image_sizes
from fakd.data.spec import Sample, Source
from fakd.data.transforms import TrainTransform


class OnceOnly(ColourSource):
    """Images of different sizes, each of which may be asked for once after `counting` is set."""

    counting = False

    def __getitem__(self, index: int) -> Sample:
        assert not self.counting, "asked again"
        sample = super().__getitem__(index)
        return sample._replace(image=sample.image[:, : 20 + index], label=sample.label[: 20 + index])


def crops(source: Source, **loading: object) -> list[tuple[Tensor, ...]]:
    """Three batches, with every augmentation on."""
    dataset = SegmentationDataset(source, TrainTransform((48, 64), (32, 32), photometric=True), seed=0)
    batches = StepBatchSampler(len(source), batch_size=4, seed=1)
    loader = DataLoader(dataset, batch_sampler=batches, **loading)
    return [(batch.image, batch.label, batch.geometry) for batch in islice(loader, 3)]


def equal(ones: list[tuple[Tensor, ...]], others: list[tuple[Tensor, ...]]) -> bool:
    return all(
        torch.equal(a, b) for one, other in zip(ones, others, strict=True) for a, b in zip(one, other, strict=True)
    )


def test_samples_are_the_same_and_the_source_is_not_asked_again() -> None:
    source = OnceOnly()
    sizes = image_sizes(source)
    assert sizes == [(20 + index, 64) for index in range(5)]
    seen: list[int] = []
    cached = CachedSource(source, sizes, on_image=lambda: seen.append(1))
    assert len(seen) == len(cached) == 5
    assert len(cached.block) == cached_bytes(sizes) == 4 * 64 * (20 + 21 + 22 + 23 + 24)
    due, whole = crops(source), [source[index] for index in range(5)]
    source.counting = True
    assert equal(crops(cached), due)
    for index, sample in enumerate(whole):
        kept = cached[index]
        assert torch.equal(kept.image, sample.image)
        assert torch.equal(kept.label, sample.label)
        assert kept.name == sample.name
        kept.image.zero_()  # a transform that works in place
        assert torch.equal(cached[index].image, sample.image)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_block_of_the_parent(method: str) -> None:
    source = ColourSource()
    cached = CachedSource(source, image_sizes(source))
    assert cached.block.is_shared()
    due = crops(source)
    assert equal(crops(cached, num_workers=1, multiprocessing_context=get_context(method)), due)


def test_files(write_pair, tmp_path, monkeypatch) -> None:
    for index in range(3):
        values = np.full((20 + index, 40), index, dtype=np.uint8)
        write_pair(f"{index}.png", f"{index}.png", size=(40, 20 + index), values=values)
    source = get_dataset("camvid").open(tmp_path, "train")
    reads: list[int] = []
    original = type(source).__getitem__
    monkeypatch.setattr(type(source), "__getitem__", lambda self, i: reads.append(i) or original(self, i))
    sizes = image_sizes(source)
    assert sizes == [(20, 40), (21, 40), (22, 40)]
    assert reads == []  # nothing is decoded before the size is known
    cached = CachedSource(source, sizes)
    assert sorted(reads) == [0, 1, 2]
    assert equal(crops(cached), crops(source))


def test_a_broken_file_is_named(write_pair, tmp_path) -> None:
    image, _ = write_pair("a.png", "a.png")
    source = get_dataset("camvid").open(tmp_path, "train")
    sizes = image_sizes(source)
    image.write_bytes(image.read_bytes()[:200])
    with pytest.raises(DataError, match=r"a\.png: not readable as image"):
        CachedSource(source, sizes)


def test_the_loader_takes_cached_images(colour_spec) -> None:
    plain, data = (SegmentationData(colour_spec, batch_size=3) for _ in range(2))
    source = OnceOnly()
    data.cached = CachedSource(data.source("train"), image_sizes(data.source("train")))
    data._sources["train"] = source
    source.count, source.counting = 7, True
    for one, other in zip(islice(plain.train_dataloader(), 3), islice(data.train_dataloader(), 3), strict=True):
        assert torch.equal(one.image, other.image)
        assert one.name == other.name


def test_too_large_for_the_memory(monkeypatch) -> None:
    check_fits(1000)
    monkeypatch.setattr(image_cache, "_free_memory", lambda: {"memory": 3_000_000_000, "shared memory": 2_000_000_000})
    check_fits(2_000_000_000)
    with pytest.raises(ValueError, match=r"take 2\.50 GB, but 2\.00 GB of shared memory is free.*--cache-images"):
        check_fits(2_500_000_000)
    with pytest.raises(ValueError, match=r"take 1\.60 GB in each of 2 processes, but 3\.00 GB of memory is free"):
        check_fits(1_600_000_000, copies=2)


def test_free_memory_is_read_from_the_system(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(image_cache.psutil, "virtual_memory", lambda: SimpleNamespace(available=2_048_000))
    monkeypatch.setattr(image_cache, "_SHARED_MEMORY", tmp_path / "none")
    monkeypatch.setattr(image_cache, "_CGROUP", tmp_path)
    assert image_cache._free_memory() == {"memory": 2_048_000}
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("1200\n")
    (tmp_path / "memory.stat").write_text("anon 500\ninactive_file 200\nactive_file 300\n")
    assert image_cache._free_memory()["this container's memory"] == 4000
    (tmp_path / "memory.max").write_text("max\n")
    assert image_cache._free_memory() == {"memory": 2_048_000}
