from itertools import islice

import pytest

from fakd.data.loading import StepBatchSampler


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
