"""Work that one thread takes over on a crowded CPU: errors, gradient modes, forks, and the same numbers to the bit."""

import os
from dataclasses import replace
from signal import alarm
from threading import Thread, get_ident
from time import sleep

import pytest
import torch
from torch.testing import assert_close
from torch.utils.data import DataLoader, Dataset

from fakd import ClassCovariance
from fakd.functional import augmented_channel, augmented_pixel, threads
from fakd.functional.threads import shared_out

from .losses import AUGMENTED, LOSSES, every


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch):
    """Other processes on this machine change nothing here."""
    monkeypatch.setattr(threads, "_CROWD", threads.Crowd())
    monkeypatch.setattr(threads._CROWD, "is_here", lambda: False)


@pytest.fixture
def crowded(monkeypatch, nobody_else):
    """Others want the cores."""
    monkeypatch.setattr(threads._CROWD, "is_here", lambda: True)


@pytest.fixture
def three_threads(monkeypatch):
    """Three threads, for tensors of any size."""
    monkeypatch.setattr(threads, "WORTH_IT", 0)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


LARGE = torch.zeros(2**20)


def test_one_thread_where_it_is_crowded(three_threads, crowded):
    def work():
        return get_ident(), torch.get_num_threads()

    ident, count = shared_out(LARGE, work)
    assert ident != get_ident()
    assert count == 1
    assert shared_out(LARGE, work) == (ident, 1)
    assert torch.get_num_threads() == 3


def test_this_thread_elsewhere(three_threads, monkeypatch):
    assert shared_out(LARGE, get_ident) == get_ident()
    monkeypatch.setattr(threads._CROWD, "is_here", lambda: True)
    assert shared_out(torch.empty(2**20, device="meta"), get_ident) == get_ident()
    monkeypatch.setattr(threads, "WORTH_IT", 2**14)
    assert shared_out(torch.zeros(10), get_ident) == get_ident()
    torch.set_num_threads(1)
    assert shared_out(LARGE, get_ident) == get_ident()


def test_an_error_comes_through(three_threads, crowded):
    def work():
        raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        shared_out(LARGE, work)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_no_gradient_is_recorded_whatever_the_callers_mode(mode, three_threads, crowded):
    with mode():
        total = torch.zeros(2)
        shared_out(LARGE, lambda: total.add_(torch.ones((), requires_grad=True)))
    assert not total.requires_grad
    assert total.tolist() == [1, 1]


def test_a_forked_process_has_a_thread_of_its_own(three_threads, crowded):
    loss = AUGMENTED[0]
    inputs = loss.inputs().requiring_grad("student")
    value = loss(inputs)
    child = os.fork()
    if child == 0:
        alarm(60)  # ends it where it hangs
        again = loss(inputs)
        again.backward()
        os._exit(7 if again == value else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


class Values(Dataset):
    """The value of a loss, wherever it is asked for."""

    def __init__(self, loss):
        self.loss, self.inputs = loss, loss.inputs()

    def __len__(self):
        return 2

    def __getitem__(self, index):
        torch.set_num_threads(index + 2)
        return self.loss(self.inputs)


def test_a_workers_process_of_a_loader(three_threads, crowded):
    values = Values(AUGMENTED[0])
    here = values[1]
    there = torch.cat(list(DataLoader(values, num_workers=1, multiprocessing_context="fork", timeout=60)))
    assert_close(there, here.expand(2))


def value_and_gradients(loss, inputs):
    inputs = inputs.requiring_grad(*loss.differentiable)
    value = loss(inputs)
    return [value.detach(), *torch.autograd.grad(value, [getattr(inputs, name) for name in loss.differentiable])]


@every(LOSSES)
def test_several_callers_at_once(loss, three_threads, crowded):
    """They wait for the same thread. None may wait for another's end."""
    inputs, found = loss.inputs(classes=5, size=(9, 7)), {}
    expected = value_and_gradients(loss, inputs)

    def call(number):
        torch.set_num_threads(3)  # of this thread
        for _ in range(5):
            found[number] = value_and_gradients(loss, inputs)

    callers = [Thread(target=call, args=(number,), daemon=True) for number in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert len(found) == 4
    for number in range(4):
        assert not callers[number].is_alive()
        assert_close(found[number], expected, rtol=0, atol=0)


@every(LOSSES)
def test_from_within_a_backward_pass(loss, three_threads, crowded):
    """A loss may be computed wherever autograd happens to be."""
    inputs = loss.inputs(classes=5, size=(9, 7))
    expected, found = value_and_gradients(loss, inputs), []

    class WithinBackward(torch.autograd.Function):
        @staticmethod
        def forward(ctx, one):
            return one.clone()

        @staticmethod
        def backward(ctx, grad):
            with torch.enable_grad():
                found.append(value_and_gradients(loss, inputs))
            return grad

    WithinBackward.apply(torch.ones((), requires_grad=True)).backward()
    assert_close(found[0], expected, rtol=0, atol=0)


@every(LOSSES)
def test_a_crowd_changes_rounding_at_most(loss, three_threads, monkeypatch):
    inputs = loss.inputs(batch=2, classes=40, size=(33, 31), dtype=torch.float32)
    expected = value_and_gradients(loss, inputs)
    monkeypatch.setattr(threads._CROWD, "is_here", lambda: True)
    assert_close(value_and_gradients(loss, inputs), expected, rtol=1e-5, atol=1e-7)


def test_a_run_takes_no_notice_of_a_crowd():
    crowd = threads.Crowd()
    crowd.learn(ran=0.1, took=1.0)
    assert crowd.is_here()
    with threads.exactly():
        assert not crowd.is_here()
    assert crowd.is_here()


def test_a_crowd_changes_rounding_of_a_covariance_at_most(three_threads, monkeypatch):
    features, labels = torch.randn(2, 70, 25, 26), torch.randint(4, (2, 25, 26))
    covariances = []
    for crowd in (False, True):
        monkeypatch.setattr(threads._CROWD, "is_here", lambda crowd=crowd: crowd)
        state = ClassCovariance(4, 70)
        state.update(features, labels)
        covariances.append(state.covariance)
    assert_close(*covariances, rtol=1e-5, atol=1e-7)


@every(LOSSES)
def test_losses_in_threads(loss, three_threads):
    inputs = loss.inputs(classes=5, size=(9, 7)).requiring_grad(*loss.differentiable)
    tensors = [getattr(inputs, name) for name in loss.differentiable]
    value = loss(inputs)
    assert_close(value.item(), loss.naive(inputs), rtol=1e-9, atol=0)
    found = torch.autograd.grad(value, tensors)
    again = torch.autograd.grad(loss(inputs), tensors)
    assert_close(again, found, rtol=0, atol=0)  # in a fixed order, whichever thread does what
    torch.set_num_threads(1)
    assert_close(torch.autograd.grad(loss(inputs), tensors), found)


@every(LOSSES)
def test_losses_in_threads_under_inference_mode(loss, three_threads):
    inputs = loss.inputs(classes=5, size=(9, 7))
    with torch.inference_mode():
        inputs = replace(inputs, student=inputs.student.clone())
        assert_close(loss(inputs).item(), loss.naive(inputs), rtol=1e-9, atol=0)


def test_covariance_in_threads(three_threads):
    features, labels = torch.randn(2, 70, 5, 6, dtype=torch.float64), torch.randint(4, (2, 5, 6))
    state = ClassCovariance(4, 70).double()
    state.update(features, labels)
    rows = features.permute(0, 2, 3, 1)
    for c in range(4):
        assert_close(state.covariance[c], rows[labels == c].var(0, correction=0))


def test_where_threads_only_wait_one_works_alone(three_threads, monkeypatch):
    crowd = threads.Crowd()
    monkeypatch.setattr(threads, "_CROWD", crowd)

    def ident():
        sleep(0.11)  # to wait is not to run
        return get_ident()

    assert shared_out(LARGE, ident) == get_ident()
    assert shared_out(LARGE, ident) != get_ident()
    crowd.until = 0.0
    assert crowd.pause == 2.0  # the next time longer
    assert shared_out(LARGE, ident) == get_ident()
    assert crowd.pause == 4.0


def test_the_pause_doubles_up_to_a_minute_and_begins_anew_when_the_crowd_left():
    crowd, pauses = threads.Crowd(), []
    for _ in range(8):
        crowd.learn(ran=0.1, took=1.0)
        pauses.append(crowd.pause)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60]
    crowd.learn(ran=0.9, took=1.0)
    assert crowd.pause == 1


def test_a_short_wait_now_and_then_is_no_crowd():
    crowd = threads.Crowd()
    for _ in range(9):
        crowd.learn(ran=0.02, took=0.06)
        crowd.learn(ran=0.02, took=0.06)
        crowd.learn(ran=0.02, took=0.021)
    assert crowd.until == 0
    for _ in range(3):
        crowd.learn(ran=0.02, took=0.06)
    assert crowd.until > 0


@every(AUGMENTED)
def test_tables_are_made_in_one_thread(loss, three_threads, crowded, monkeypatch):
    """And so are their gradients, twice if need be, but for second derivatives."""
    counts = []
    variances = "logit_variances" if loss.over == "channel" else "contrast_variances"
    module = augmented_channel if loss.over == "channel" else augmented_pixel
    if loss.over == "pixel" and loss.bound == "tight":
        pytest.skip("it makes its tables tile by tile")
    original = getattr(module, variances)

    def counted(weight, covariance):
        counts.append(torch.get_num_threads())
        weight.register_hook(lambda _: counts.append(torch.get_num_threads()))
        return original(weight, covariance)

    monkeypatch.setattr(module, variances, counted)
    inputs = loss.inputs().requiring_grad("weight")
    value = loss(inputs)
    first = torch.autograd.grad(value, inputs.weight, retain_graph=True)
    again = torch.autograd.grad(value, inputs.weight)
    assert_close(again, first, rtol=0, atol=0)
    assert counts == [1, 1, 1]
