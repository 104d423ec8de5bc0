"""How many threads are safe, and what the device is called."""

import os
from types import SimpleNamespace

import psutil
import pytest
import torch

from fakd import machine


@pytest.fixture
def threads(monkeypatch):
    """PyTorch with eight threads, on eight cores of which so many are busy, in percent of each."""
    set_to = []

    def on(*busy: float, mine: tuple[int, ...] = tuple(range(8))) -> list[int]:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(mine), raising=False)
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: [*busy, *[0.0] * (8 - len(busy))])
        monkeypatch.setattr(torch, "get_num_threads", lambda: set_to[-1] if set_to else 8)
        monkeypatch.setattr(torch, "set_num_threads", set_to.append)
        return set_to

    return on


@pytest.mark.parametrize(
    ("busy", "mine", "free"),
    [
        ((), range(8), 8),
        ((100.0, 100.0), range(8), 6),
        ((30.0,), range(8), 8),
        ((60.0,), range(8), 7),
        ((100.0,) * 8, range(8), 1),
        ((100.0, 3.0), (0, 1), 1),  # those that this process may use
        ((3.0, 3.0, 100.0), (0, 1), 2),
    ],
)
def test_threads_are_as_many_as_cores_are_idle(threads, busy, mine, free) -> None:
    found = threads(*busy, mine=tuple(mine))
    assert machine.free_cores() == free
    machine.use_free_cores()
    assert found == [free]


def test_threads_that_are_said_stay(threads, monkeypatch) -> None:
    found = threads(100.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    machine.use_free_cores()
    assert found == []
    assert machine.described(torch.device("cpu")).endswith("8 threads (OMP_NUM_THREADS)")


def test_fewer_threads_are_said(threads, monkeypatch) -> None:
    threads(100.0, 100.0)
    machine.use_free_cores()
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    said = machine.described(torch.device("cpu"))
    assert said.startswith("CPU ")
    assert said.endswith(", 8 cores, 6 threads, as many as cores are free; OMP_NUM_THREADS sets it")


def test_gpus_are_named(monkeypatch) -> None:
    found = SimpleNamespace(name="NVIDIA H200", total_memory=150e9)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: found)
    assert machine.described(torch.device("cuda", 0)) == "GPU NVIDIA H200, 150 GB"
