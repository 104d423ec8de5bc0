"""What files and pipes are told of long work."""

import pytest
from rich.progress import Progress

from fakd import console


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    init = Progress.__init__

    def with_clock(self, *columns, **options) -> None:
        init(self, *columns, **options, get_time=lambda: now[0])

    monkeypatch.setattr(Progress, "__init__", with_clock)
    return now


def test_a_line_a_minute_with_the_time_left(clock, capsys) -> None:
    with console.progress("steps") as bar:
        task = bar.add_task("training", total=100, note="")
        for step in range(1, 11):
            clock[0] += 10
            bar.update(task, completed=step, note="ce 1.234")
        for _ in range(5):
            clock[0] += 10
            bar.advance(task)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("  ")[0] for line in lines] == [
        "training  6/100 steps  ce 1.234",
        "training  12/100 steps  ce 1.234",
    ]
    assert lines[1].endswith("  0:14:40 left")  # 88 steps of ten seconds


def test_two_runs_that_end_together_do_not_look_quick(clock, capsys) -> None:
    with console.progress("runs") as bar:
        task = bar.add_task("running", total=6, completed=2, note="")
        for seconds, done in ((390, 3), (10, 4), (60, 4)):
            clock[0] += seconds
            bar.update(task, completed=done)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rpartition("  ")[2] for line in lines] == ["0:19:30 left", "0:06:40 left"]


def test_short_work_is_not_spoken_of(clock, capsys) -> None:
    with console.progress("images") as bar:
        task = bar.add_task("evaluating", total=3, note="")
        clock[0] += 50
        bar.advance(task, 3)
    assert capsys.readouterr().out == ""


def test_other_processes_say_nothing(clock, capsys, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with console.progress("images") as bar:
        task = bar.add_task("evaluating", total=None, note="")
        clock[0] += 500
        bar.advance(task)
    assert capsys.readouterr().out == ""
