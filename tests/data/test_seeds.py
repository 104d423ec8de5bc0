import torch

from fakd.data.seeds import mixed_seed, permutation, seeded


def test_mixed_seed_separates_its_parts() -> None:
    assert len({mixed_seed(a, b, c) for a in range(5) for b in range(5) for c in range(5)}) == 125
    assert mixed_seed(1) != mixed_seed(1, 0)


def test_the_same_parts_give_the_same_numbers_and_leave_the_generator_alone() -> None:
    before = torch.get_rng_state()
    with seeded(1):
        first = torch.rand(3)
    with seeded(1):
        assert torch.equal(first, torch.rand(3))
    assert torch.equal(before, torch.get_rng_state())


def test_permutations() -> None:
    orders = [tuple(permutation(4, "order", part)) for part in range(400)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(orders)) == 24
    assert orders == [tuple(permutation(4, "order", part)) for part in range(400)]
    generator = torch.Generator().manual_seed(mixed_seed("order", 7))
    assert permutation(9, "order", 7) == torch.randperm(9, generator=generator).tolist()
