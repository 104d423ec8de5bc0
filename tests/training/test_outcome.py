"""What is said when a run is over."""

from pathlib import Path

import pytest
from tiny import NETWORK

from fakd.training import DistillConfig, TrainConfig
from fakd.training.outcome import next_commands, say_outcome
from fakd.training.run_folder import RunFolder

RESULTS = {
    **{"mIoU": 51.234, "mAcc": 60.0, "aAcc": 81.5, "chance": 4.0, "parameters": 1234567, "peak_memory": 2_300_000_000},
    **{"wall_seconds": 200.0, "evaluation_share": 0.12, "seconds_per_step": 0.5, "steps": 352},
}
TEACHER = {"mIoU": 66.6, "mAcc": 70.0, "aAcc": 90.0}


@pytest.mark.parametrize("method", ["fakd", None])
def test_the_end_is_a_table_the_time_and_what_comes_next(method, tmp_path, capsys) -> None:
    output = tmp_path / "a run"
    if method is None:
        config, results = TrainConfig(network=NETWORK, output=output), RESULTS
    else:
        config = DistillConfig(teacher="toy-scenes", student=NETWORK, method=method, output=output)
        results = {**RESULTS, "teacher": TEACHER}
    say_outcome(config, RunFolder(output), results)
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [NETWORK, "51.23", "60.00", "81.50", "1,234,567"] in lines
    assert (["teacher", "66.60", "70.00", "90.00"] in lines) is (method is not None)
    took = "took      3 min for 352 steps of 0.5 s, 12% of it evaluating; 2.3 GB at most"
    assert took.split() in lines
    first, second = lines[-2:]
    quoted = f"'{output}'".split()
    if method is None:
        assert first == ["next:", "fakd", "distill", "--teacher", *quoted]
        assert second == ["fakd", "predict", *quoted, "photos/", "masks/", "--overlay"]
    else:
        assert first == ["next:", "fakd", "predict", *quoted, "photos/", "masks/", "--overlay"]
        assert second == ["fakd", "export", *quoted, "student.onnx"]


def test_a_run_that_learnt_nothing_is_looked_at(tmp_path, capsys) -> None:
    say_outcome(TrainConfig(network=NETWORK, output=tmp_path), RunFolder(tmp_path), {**RESULTS, "mIoU": 4.1})
    said = capsys.readouterr().out
    assert "verdict   learnt nothing" in said
    assert said.endswith(f"next:     fakd data show toy-scenes\n          fakd report {tmp_path}\n")


def test_data_of_ones_own_is_named_again() -> None:
    config = TrainConfig(dataset="camvid", data_root=Path("my data"), max_steps=1)
    assert (
        next_commands(config, "r", failed=False)[0] == "fakd distill --teacher r --dataset camvid --data-root 'my data'"
    )
    assert next_commands(config, "r", failed=True) == ["fakd data show camvid 'my data'", "fakd report r"]
