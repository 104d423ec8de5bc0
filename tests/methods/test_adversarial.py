"""The discriminator and the term that trains it beside the student."""

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from fakd.methods.adversarial import AdversarialTerm
from fakd.methods.discriminator import Discriminator, SelfAttention
from fakd.methods.schedules import poly

CLASSES = 5
KINDS = ("hinge", "wgan-gp")
both = pytest.mark.parametrize("kind", KINDS)


def batch(seed=0, size=(4, 6), count=2, classes=CLASSES):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (torch.randn(count, classes, *size, generator=generator) for _ in range(2))
    return student.requires_grad_(), teacher, torch.rand(count, 3, 32, 48, generator=generator)


def term_of(kind, seed=0, **options):
    torch.manual_seed(seed)
    return AdversarialTerm(CLASSES, max_steps=10, kind=kind, **options)


def train(term, steps):
    """The gradient of every step's term."""
    gradients = []
    for step in steps:
        torch.manual_seed(step)
        student, teacher, images = batch(step)
        term(student, teacher, images, step).backward()
        gradients.append(student.grad)
    return gradients


# the network


@pytest.mark.parametrize("size", [(1, 1), (1, 3), (4, 4), (7, 5), (33, 65)])
@pytest.mark.parametrize("classes", [1, 2, 19])
def test_discriminator_rates_maps_of_any_size(size, classes):
    rate = Discriminator(classes, width=8)
    assert rate(torch.rand(3, classes, *size), torch.rand(3, 3, 16, 24)).shape == (3,)


@pytest.mark.parametrize("normalise", [True, False])
def test_each_image_is_rated_by_itself_with_its_image(normalise):
    rate = Discriminator(CLASSES, width=8, normalise=normalise).double().eval()
    maps, images = torch.rand(3, CLASSES, 8, 8).double(), torch.rand(3, 3, 64, 64).double()
    ratings = rate(maps, images)
    assert_close(rate(maps[1:2], images[1:2]), ratings[1:2])
    assert not torch.isclose(rate(maps, images.flip(0)), ratings)[[0, 2]].any()
    assert not torch.isclose(rate(maps.flip(1), images), ratings).any()


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("size", [(1, 1), (4, 4), (9, 8)])
def test_every_layer_can_be_differentiated_twice(normalise, size):
    rate = Discriminator(2, width=2, normalise=normalise).double().eval()
    for layer in rate.modules():
        if isinstance(layer, SelfAttention):
            torch.nn.init.constant_(layer.share, 0.7)  # 0 at the start, which would hide the attention
    maps = torch.rand(1, 2, *size, dtype=torch.float64, requires_grad=True)
    images = torch.rand(1, 3, 8, 8, dtype=torch.float64)
    # along one direction: the whole of the second derivative would be a big table
    direction = torch.randn_like(maps)
    scale = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda a: rate(maps.detach() + a * direction, images), [scale])
    (slope,) = torch.autograd.grad(rate(maps, images).sum(), maps, create_graph=True)
    gradients = torch.autograd.grad(slope.norm(), list(rate.parameters()), allow_unused=True, materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.any() for gradient in gradients)


def test_attention_is_pytorchs():
    layer = SelfAttention(16).double()
    torch.nn.init.constant_(layer.share, 0.7)
    maps = torch.randn(2, 16, 3, 4, dtype=torch.float64)
    query, key, value = (f(maps).flatten(2).mT for f in (layer.query, layer.key, layer.value))
    seen = F.scaled_dot_product_attention(query, key, value, scale=1.0).mT.view_as(maps)
    assert_close(layer(maps), maps + 0.7 * seen)


def test_attention_is_off_at_first():
    maps = torch.randn(2, 8, 3, 4)
    assert torch.equal(SelfAttention(8)(maps), maps)


def test_spectral_norms_are_1():
    rate = Discriminator(CLASSES, width=8).train()
    for _ in range(50):
        rate(torch.rand(1, CLASSES, 4, 4), torch.rand(1, 3, 4, 4))
    weights = [layer.weight for layer in rate.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert len(weights) == 11
    for weight in weights:
        assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.02)


# the term


@both
@pytest.mark.parametrize(("count", "size"), [(2, (4, 6)), (1, (4, 4)), (1, (1, 1)), (2, (1, 5))])
def test_term_is_finite_with_a_gradient_into_the_students_scores_alone(kind, count, size):
    term = term_of(kind)
    student, teacher, images = batch(size=size, count=count)
    teacher.requires_grad_()
    images.requires_grad_()
    for step in range(2):
        value = term(student, teacher, images, step)
    value.backward()
    assert value.shape == ()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert student.grad.any()
    assert teacher.grad is None
    assert images.grad is None
    assert term.last_loss.isfinite()
    assert not term.last_loss.requires_grad
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in term.parameters())


@both
def test_term_is_the_difference_of_the_updated_discriminators_ratings(kind):
    term = term_of(kind)
    student, teacher, images = batch()
    before = copy.deepcopy(term.discriminator)
    value = term(student, teacher, images, 0)
    rate = term.discriminator
    expected = rate(teacher.softmax(1), images).mean() - rate(student.softmax(1), images).mean()
    assert_close(value, expected)
    before.eval()
    assert not torch.isclose(
        value, before(teacher.softmax(1), images).mean() - before(student.softmax(1), images).mean()
    )


@both
def test_discriminator_takes_one_step_of_adam_on_its_papers_loss(kind):
    """Written out again, in float64, from the papers."""
    term = term_of(kind, learning_rate=1e-3).double()
    twin = copy.deepcopy(term.discriminator).train().requires_grad_(True)
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3 * poly(4, 10), betas=(0.0, 0.99))
    student, teacher, images = (tensor.detach().double() for tensor in batch())
    ours, theirs = student.softmax(1), teacher.softmax(1)
    rated = twin(torch.cat([ours, theirs]), images.repeat(2, 1, 1, 1))
    if kind == "hinge":
        loss = sum((1 + r).clamp_min(0) for r in rated[:2]) / 2 + sum((1 - r).clamp_min(0) for r in rated[2:]) / 2
    else:
        loss = rated[:2].mean() - rated[2:].mean()
        torch.manual_seed(7)
        shares = torch.rand(2, dtype=torch.float64)
        for b in range(2):
            between = (shares[b] * theirs[b] + (1 - shares[b]) * ours[b])[None].requires_grad_()
            (slope,) = torch.autograd.grad(twin(between, images[b : b + 1]).sum(), between, create_graph=True)
            loss = loss + 10 * (slope.square().sum().sqrt() - 1) ** 2 / 2
    loss.backward()
    optimizer.step()
    torch.manual_seed(7)
    term(student, teacher, images, 4)
    assert_close(term.last_loss, loss.detach())
    for found, expected in zip(term.discriminator.parameters(), twin.parameters(), strict=True):
        assert_close(found, expected, rtol=0, atol=1e-8)


@both
def test_discriminator_learns_to_tell_them_apart(kind):
    term = term_of(kind, learning_rate=2e-3)
    student, teacher, images = batch(count=4)
    values = [term(student, 3 * teacher, images, 0).item() for _ in range(12)]
    losses = term.last_loss.item()
    assert values[-1] > values[0] + 0.2
    assert losses < 10


@both
def test_agreement_is_0_and_gives_no_gain(kind):
    student, _, images = batch()
    value = term_of(kind)(student, student.detach(), images, 0)
    assert value.item() == 0


@both
def test_eval_mode_leaves_the_discriminator_as_it_is(kind):
    term = term_of(kind).eval()
    student, teacher, images = batch()
    before = copy.deepcopy(term.state_dict())
    first, again = term(student, teacher, images, 3), term(student, teacher, images, 3)
    first.backward()
    assert student.grad.any()
    assert torch.equal(first, again)
    assert_same(before, term.state_dict())


@both
def test_updates_without_gradient_mode_too(kind):
    term, twin = term_of(kind), term_of(kind)
    student, teacher, images = batch()
    torch.manual_seed(0)
    with torch.no_grad():
        value = term(student, teacher, images, 0)
    torch.manual_seed(0)
    assert torch.equal(value, twin(student, teacher, images, 0))
    assert not value.requires_grad


@both
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_and_half_precision_change_nothing(kind, dtype):
    logits, teacher, images = batch()
    logits, teacher = logits.detach().to(dtype), teacher.to(dtype)
    results = []
    for cast in (True, False):
        term = term_of(kind)
        student = (logits if cast else logits.float()).clone().requires_grad_()
        torch.manual_seed(0)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cast):
            value = term(student, teacher if cast else teacher.float(), images, 0)
        value.backward()
        assert value.dtype == torch.float32
        results.append((value, student.grad.to(dtype), term.state_dict()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert_same(results[0][2], results[1][2])


def test_learning_rate_falls():
    rates = []
    for step in (0, 5, 10):
        term = term_of("hinge")
        start = [parameter.clone() for parameter in term.parameters()]
        train_at(term, step)
        moved = max((p - q).abs().max().item() for p, q in zip(term.parameters(), start, strict=True))
        rates.append(moved)  # Adam's first step is the learning rate itself
    assert rates == pytest.approx([4e-4 * poly(step, 10) for step in (0, 5, 10)], rel=1e-2)


def train_at(term, step):
    student, teacher, images = batch()
    return term(student, teacher, images, step)


# state


def assert_same(first, second):
    """Bit by bit, dicts and lists included."""
    if isinstance(first, dict):
        assert list(first) == list(second)
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, list | tuple):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


@both
def test_a_resumed_run_continues_exactly(kind, tmp_path):
    straight = term_of(kind)
    expected = train(straight, range(6))
    first = term_of(kind)
    train(first, range(3))
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second = term_of(kind, seed=99)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for found, wanted in zip(train(second, range(3, 6)), expected[3:], strict=True):
        assert torch.equal(found, wanted)
    assert_same(second.state_dict(), straight.state_dict())
    # and the optimizer's moments matter: without them it goes elsewhere
    bare = term_of(kind, seed=99)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    state["_extra_state"]["state"] = {}
    bare.load_state_dict(state)
    assert not all(torch.equal(f, w) for f, w in zip(train(bare, range(3, 6)), expected[3:], strict=True))


@both
def test_moments_move_with_the_parameters(kind):
    term = term_of(kind)
    train(term, range(2))
    moments = term.get_extra_state()["state"]
    term.double()
    moved = term.get_extra_state()["state"]
    assert len(moved) == len(list(term.parameters()))
    for key, state in moved.items():
        assert state["exp_avg_sq"].dtype == torch.float64
        assert torch.equal(state["exp_avg_sq"], moments[key]["exp_avg_sq"].double())
        assert state["step"] == 2
    train(term, range(2, 3))
    assert term.get_extra_state()["state"][0]["step"] == 3


@both
def test_a_state_dict_may_bring_its_own_tensors(kind):
    expected = train(term_of(kind), range(4))
    first, second = term_of(kind), term_of(kind, seed=99)
    train(first, range(2))
    second.load_state_dict(copy.deepcopy(first.state_dict()), assign=True)
    for found, wanted in zip(train(second, range(2, 4)), expected[2:], strict=True):
        assert torch.equal(found, wanted)


def test_a_copy_goes_its_own_way():
    term = term_of("hinge")
    train(term, range(1))
    twin = copy.deepcopy(term)
    before = copy.deepcopy(term.state_dict())
    train(twin, range(1, 3))
    assert_same(before, term.state_dict())
    train(term, range(1, 3))
    assert_same(twin.state_dict(), term.state_dict())


# several processes


def work(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    term = term_of("hinge", seed=rank)
    student, teacher, images = batch(size=(2, 2))
    mine = slice(rank, rank + 1)
    for step in range(2):
        term(student[mine], teacher[mine], images[mine], step)
    torch.save(term.state_dict(), f"{folder}/{rank}.pt")


@pytest.mark.slow
def test_ranks_hold_one_discriminator_trained_on_the_whole_batch(ranks: Path):
    states = [torch.load(ranks / "test_adversarial" / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert_same(*states)
    alone = term_of("hinge", seed=0)
    student, teacher, images = batch(size=(2, 2))
    for step in range(2):
        alone(student, teacher, images, step)
    for key, found in states[0].items():
        if isinstance(found, torch.Tensor):
            # Adam divides a gradient by its own size, so rounding shows where it is nearly 0
            assert_close(found, alone.state_dict()[key], rtol=1e-3, atol=2e-3 * 4e-4 if "_v" not in key else 1e-4)


# mistakes


@both
def test_mistakes_are_named(kind):
    term = term_of(kind)
    student, teacher, images = batch()
    with pytest.raises(ValueError, match=r"looks at the images.*got None. Without them set its weight to 0"):
        term(student, teacher, None, 0)
    with pytest.raises(ValueError, match=r"images must be .* B = 2 like the scores, got \(1, 3, 32, 48\)"):
        term(student, teacher, images[:1], 0)
    with pytest.raises(ValueError, match="made for 5 classes, got scores of 4"):
        term(student[:, :4], teacher[:, :4], images, 0)
    with pytest.raises(ValueError, match="one shape"):
        term(student, teacher[..., :2], images, 0)


def test_options_are_checked_at_once():
    with pytest.raises(ValueError, match="adversary must be one of hinge, wgan-gp, got 'gan'"):
        term_of("gan")
    with pytest.raises(ValueError, match="learning rate must be a number above 0, got 0"):
        term_of("hinge", learning_rate=0)
