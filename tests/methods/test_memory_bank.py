"""The queues against one deque per class, filled pixel by pixel."""

from collections import deque

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from fakd.methods.memory_bank import ClassQueues, PixelQueues, RegionQueues

CLASSES, CHANNELS = 4, 3


def batch(seed: int = 0, images: int = 2, size: tuple[int, int] = (3, 4)) -> tuple[Tensor, Tensor]:
    """Class 3 is absent, class 2 has one pixel, about a fifth is ignored."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(images, CHANNELS, *size, generator=generator)
    labels = torch.randint(2, (images, *size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.2] = 255
    labels[0, 1, 2] = 2
    return features, labels


def unit(vector: Tensor) -> Tensor:
    return vector / vector.square().sum().sqrt()


def contents(queues: ClassQueues) -> list[list[Tensor]]:
    """What each class holds, oldest first."""
    held = []
    for c in range(queues.num_classes):
        filled, pointer = int(queues.filled[c]), int(queues.pointer[c])
        start = pointer if filled == queues.size else 0
        held.append([queues.vectors[c, (start + i) % queues.size].clone() for i in range(filled)])
    return held


def assert_holds(queues: ClassQueues, expected: list[deque]) -> None:
    for held, wanted in zip(contents(queues), expected, strict=True):
        assert len(held) == len(wanted)
        for ours, theirs in zip(held, wanted, strict=True):
            assert_close(ours, theirs, rtol=1e-6, atol=1e-7)
    for c, wanted in enumerate(expected):
        assert not queues.vectors[c, len(wanted) :].any()


def chosen_pixels(queues: PixelQueues, features: Tensor, labels: Tensor) -> Tensor:
    """Which pixels the next update will take, (B, C, V), -1 for none: the same draw over their numbers."""
    numbers = torch.arange(labels[0].numel(), dtype=torch.float32).expand(len(labels), -1).unsqueeze(2)
    flat = labels.flatten(1)
    state = torch.get_rng_state()
    chosen, exist = queues.select(numbers, torch.where(flat == 255, CLASSES, flat))
    torch.set_rng_state(state)
    return chosen[..., 0].long().where(exist, -1)


@pytest.mark.parametrize("size", [1, 3, 5, 100])
@pytest.mark.parametrize("per_image", [1, 3, 16])
@pytest.mark.parametrize("authors_queue", [False, True])
def test_pixels_equal_a_deque_per_class_with_the_same_draws(size, per_image, authors_queue):
    torch.manual_seed(0)
    queues = PixelQueues(CLASSES, CHANNELS, size, per_image=per_image, authors_queue=authors_queue)
    expected = [deque(maxlen=size) for _ in range(CLASSES)]
    for seed in range(6):
        features, labels = batch(seed)
        chosen = chosen_pixels(queues, features, labels)
        queues.update(features, labels)
        for b in range(len(labels)):
            for c in range(CLASSES):
                pixels = [p for p in chosen[b, c].tolist() if p >= 0]
                members = (labels[b].flatten() == c).nonzero().flatten().tolist()
                assert len(pixels) == len(set(pixels)) == min(per_image, len(members))
                assert set(pixels) <= (set(range(len(members))) if authors_queue else set(members))
                expected[c].extend(unit(features[b].flatten(1)[:, p]) for p in pixels)
        assert_holds(queues, expected)
    assert [len(held) for held in expected][3] == 0
    assert len(expected[2]) == min(6, size)


@pytest.mark.parametrize("size", [1, 3, 5, 100])
def test_regions_equal_a_deque_per_class(size):
    queues = RegionQueues(CLASSES, CHANNELS, size)
    expected = [deque(maxlen=size) for _ in range(CLASSES)]
    for seed in range(6):
        features, labels = batch(seed)
        queues.update(features, labels)
        for b in range(len(labels)):
            for c in range(CLASSES):
                members = (labels[b].flatten() == c).nonzero().flatten().tolist()
                if members:
                    total = sum(unit(features[b].flatten(1)[:, p]) for p in members)
                    expected[c].append(unit(total / len(members)))
        assert_holds(queues, expected)


@pytest.mark.parametrize("authors_queue", [False, True])
def test_every_pixel_of_a_class_is_as_likely(authors_queue):
    torch.manual_seed(0)
    labels = torch.tensor([0, 1, 1, 0, 255, 1, 1, 1]).expand(3000, -1)
    queues = PixelQueues(2, 1, 1, per_image=2, authors_queue=authors_queue)
    numbers = torch.arange(8.0).expand(3000, -1).unsqueeze(2)
    chosen, _ = queues.select(numbers, labels.where(labels != 255, 2))
    found = torch.bincount(chosen[:, 1].flatten().long(), minlength=8) / 3000
    members = torch.arange(5) if authors_queue else torch.tensor([1, 2, 5, 6, 7])
    expected = torch.zeros(8).index_fill_(0, members, 2 / 5)
    assert_close(found, expected, rtol=0, atol=0.04)


@pytest.mark.parametrize("kind", [PixelQueues, RegionQueues])
def test_ignored_pixels_and_absent_classes_add_nothing(kind):
    queues = kind(CLASSES, CHANNELS, 5)
    features, labels = batch()
    queues.update(features, torch.full_like(labels, 255))
    assert not any(buffer.any() for buffer in queues.buffers())
    queues.update(features, torch.full_like(labels, 255).index_fill_(0, torch.tensor([1]), 2))
    assert queues.filled.bool().tolist() == [False, False, True, False]


@pytest.mark.parametrize("kind", [PixelQueues, RegionQueues])
def test_one_image_of_one_pixel(kind):
    queues = kind(CLASSES, CHANNELS, 5)
    features = torch.tensor([3.0, 0.0, 4.0]).view(1, 3, 1, 1)
    queues.update(features, torch.tensor([[[1]]]))
    assert queues.filled.tolist() == [0, 1, 0, 0]
    assert_close(queues.vectors[1, 0], torch.tensor([0.6, 0.0, 0.8]))


def test_empty_slots_are_never_drawn_and_no_slot_twice():
    torch.manual_seed(0)
    queues = PixelQueues(CLASSES, CHANNELS, 6)
    drawn, exist = queues.draw(8)
    assert drawn.shape == (8, CHANNELS)
    assert not exist.any()
    queues.update(*batch())
    seen = torch.zeros(CLASSES, 6, dtype=torch.int64)
    for _ in range(40):
        drawn, exist = queues.draw(9)  # 3 of each class
        assert exist.view(CLASSES, 3).sum(1).tolist() == queues.filled.clamp_max(3).tolist()
        for c, (vectors, real) in enumerate(zip(drawn.view(CLASSES, 3, -1), exist.view(CLASSES, 3), strict=True)):
            slots = [int((queues.vectors[c] - v).abs().sum(1).argmin()) for v in vectors[real]]
            assert len(slots) == len(set(slots))
            seen[c, slots] += 1
    assert (seen > 0).tolist() == [[slot < filled for slot in range(6)] for filled in queues.filled.tolist()]
    assert queues.draw(10**6)[0].shape == (6 * CLASSES, CHANNELS)


def test_float16_queues_hold_the_rounded_vectors():
    features, labels = batch()
    exact, half = (RegionQueues(CLASSES, CHANNELS, 5, dtype=dtype) for dtype in (torch.float32, torch.float16))
    for queues in (exact, half):
        queues.update(features, labels)
    assert half.vectors.dtype == torch.float16
    assert_close(half.vectors, exact.vectors.half(), rtol=0, atol=0)
    assert half.draw(8)[0].dtype == torch.float32


def test_half_precision_features_layout_and_label_type_do_not_matter():
    features, labels = batch()
    plain, other = RegionQueues(CLASSES, CHANNELS, 5), RegionQueues(CLASSES, CHANNELS, 5)
    plain.update(features.half().float(), labels)
    with torch.autocast("cpu", torch.bfloat16):
        other.update(features.half().requires_grad_().to(memory_format=torch.channels_last), labels.to(torch.uint8))
    assert_close(other.state_dict(), plain.state_dict())
    assert not other.vectors.requires_grad


@pytest.mark.parametrize("kind", [PixelQueues, RegionQueues])
def test_state_is_exact_after_a_round_trip(kind, tmp_path):
    queues, twin = kind(CLASSES, CHANNELS, 4), kind(CLASSES, CHANNELS, 4)
    queues.update(*batch())
    torch.save(queues.state_dict(), tmp_path / "state.pt")
    twin.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for side in (queues, twin):
        torch.manual_seed(7)
        side.update(*batch(1))
    assert_close(twin.state_dict(), queues.state_dict(), rtol=0, atol=0)
    assert set(queues.state_dict()) == {"vectors", "pointer", "filled"}


def test_errors_name_what_is_wrong():
    queues = PixelQueues(CLASSES, CHANNELS, 4)
    features, labels = batch()
    with pytest.raises(ValueError, match=r"features must be .* A = 3, got \(2, 2, 3, 4\)"):
        queues.update(features[:, :2], labels)
    with pytest.raises(ValueError, match=r"labels must be .* = \(2, 3, 4\).*got \(2, 3, 3\).*resize_labels"):
        queues.update(features, labels[..., :3])
    with pytest.raises(ValueError, match=r"values \[4\], expected 0 to 3, or 255"):
        queues.update(features, torch.full_like(labels, 4))
    assert not queues.filled.any()


def work(rank: int, folder: str) -> None:
    states = {}
    for name, make in MADE.items():
        queues = make()
        draws = []
        for step in range(3):
            torch.manual_seed(10 * step + rank)
            features, labels = batch(10 * step + rank)
            draws.append(chosen_pixels(queues, features, labels) if isinstance(queues, PixelQueues) else torch.empty(0))
            queues.update(features, labels)
        states[name] = {"state": queues.state_dict(), "draws": draws}
    torch.save(states, f"{folder}/{rank}.pt")


MADE = {
    "pixels": lambda: PixelQueues(CLASSES, CHANNELS, 7, per_image=3),
    "regions": lambda: RegionQueues(CLASSES, CHANNELS, 4),
    "half": lambda: RegionQueues(CLASSES, CHANNELS, 4, dtype=torch.float16),
}


@pytest.mark.slow
def test_two_processes_hold_the_union_in_the_order_of_ranks(ranks):
    ranks = [torch.load(ranks / "test_memory_bank" / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, make in MADE.items():
        assert_close(ranks[0][name]["state"], ranks[1][name]["state"], rtol=0, atol=0)
        queues = make()
        queues.load_state_dict(ranks[0][name]["state"])
        if name == "half":
            continue
        expected = [deque(maxlen=queues.size) for _ in range(CLASSES)]
        for step in range(3):
            for rank in range(2):
                features, labels = batch(10 * step + rank)
                for b in range(len(labels)):
                    for c in range(CLASSES):
                        vectors = features[b].flatten(1)
                        members = (labels[b].flatten() == c).nonzero().flatten().tolist()
                        if name == "pixels":
                            pixels = [p for p in ranks[rank][name]["draws"][step][b, c].tolist() if p >= 0]
                            assert set(pixels) <= set(members)
                            expected[c].extend(unit(vectors[:, p]) for p in pixels)
                        elif members:
                            expected[c].append(unit(sum(unit(vectors[:, p]) for p in members)))
        assert_holds(queues, expected)
        assert [len(held) for held in expected] == queues.filled.tolist()
