"""Times of several calls that take turns in one process, so that whatever else the machine does slows all of them."""

from collections.abc import Callable, Mapping
from time import perf_counter

import torch

Call = Callable[[], object]


def take_turns(
    calls: Mapping[str, Call], rounds: int, device: torch.device, on_round: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Return the seconds of each call, round by round, after one that does not count.

    Args:
        calls: by name.
        rounds: how often each is called.
        device: it is waited for.
        on_round: called after each round, to show progress.
    """
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(_seconds(call, device))
        on_round()
    return times


def _seconds(call: Call, device: torch.device) -> float:
    _wait_for(device)
    start = perf_counter()
    call()
    _wait_for(device)
    return perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
