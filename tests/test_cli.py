"""What people type, and what they are told."""

import json
import os
import subprocess
import sys
from pathlib import Path
from pkgutil import resolve_name
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from folders import write_folder
from torch.utils.data import DataLoader, Dataset

from fakd import cli
from fakd.commands.data_check import CheckConfig
from fakd.commands.data_prepare import PrepareConfig
from fakd.commands.data_show import ShowConfig
from fakd.commands.evaluate import EvaluateConfig
from fakd.commands.inspect import InspectConfig
from fakd.commands.predict import PredictConfig
from fakd.data import DataError
from fakd.data.batches import SegmentationData
from fakd.training import DistillConfig, TrainConfig
from fakd.training.nonfinite import NonFiniteLossError

CONFIGS = {name: cli.config_class(resolve_name(path)) for name, path in cli.COMMANDS.items()}
every_command = pytest.mark.parametrize("command", CONFIGS)
NETWORK = "pspnet/test_resnet.r160_in1k"
TOY = ("--dataset", "toy-scenes")


@pytest.fixture(autouse=True)
def _keep_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands silence the whole process; other tests still want to hear."""
    monkeypatch.setattr(cli, "quiet_libraries", lambda: None)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def parse():
    """Parse a command line into the config that its command would be given."""
    return lambda *arguments: cli.parse(arguments)[1]


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch):
    """Let a command call another function."""

    def put(command: str, function: Any) -> None:
        function.__annotations__["config"] = CONFIGS[command]
        monkeypatch.setattr(cli.COMMANDS[command].replace(":", "."), function)

    return put


def test_unknown_names_in_a_config_file(tmp_path, capsys) -> None:
    (tmp_path / "c.yaml").write_text("max_steps: 3\nlearning_rat: 1\n")
    with pytest.raises(SystemExit) as stopped:
        cli.main(["train", "--config", str(tmp_path / "c.yaml")])
    assert stopped.value.code == 2
    assert "learning_rat" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--dataset", "ade"], "no data set 'ade'"),
        (["train", "--dataset", "camvid", "--data_root", "/no/such"], "/no/such: no such folder"),
        (["train", *TOY, "--network", "foo"], "unknown network 'foo'; valid presets"),
        (["train", *TOY, "--max_steps", "0"], "--max-steps must be 1 or more"),
        (["distill", *TOY, "--teacher", "/no/such"], "no model file at /no/such"),
        (["distill", *TOY, "--teacher", "t", "--method", "cwd", "--options.strength", "1"], "no option strength"),
        (["evaluate", "/no/such"], "no model file at /no/such"),
        (["predict", "/no/such", "/no/images", "out"], "no image at /no/images"),
        (["inspect", "foo"], "unknown network 'foo'"),
        (["inspect", NETWORK, "--method", "kd"], "there is no method 'kd'"),
    ],
)
def test_users_mistakes_are_one_line_on_stderr(arguments, message, few_scenes, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train --network foo", "unknown network 'foo'"),
        ("train --accelerator mps", "this machine cannot train on accelerator 'mps'"),
        ("distill --teacher /no/such", "no model file at /no/such"),
        ("distill --teacher toy-scenes --student foo", "unknown network 'foo'"),
        ("compare --teacher /no/such", "no model file at /no/such"),
        ("compare --teacher-network pspnet-r18 --students pspnet-r18,foo", "unknown network 'foo'"),
        ("ablate --table 4 --teacher /no/such", "no model file at /no/such"),
        ("tune --teacher /no/such", "no model file at /no/such"),
        ("tune --teacher toy-scenes --student pspnet/foo", "foo"),
    ],
)
def test_what_is_quick_to_check_is_checked_before_every_file(words, said, few_scenes, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SegmentationData, "check", lambda data: pytest.fail("files are opened"))
    assert cli.main([*words.split(), *TOY]) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize(
    "error",
    [DataError("a"), ValueError("b"), NonFiniteLossError("c"), PermissionError(13, "denied"), IsADirectoryError("d")],
)
def test_errors_a_user_can_mend_have_no_traceback(error, instead, monkeypatch, capsys) -> None:
    def fail(config: EvaluateConfig) -> None:
        raise error

    instead("evaluate", fail)
    assert cli.main(["evaluate", "m"]) == 1
    assert capsys.readouterr().err == f"error: {error}\n"
    monkeypatch.setenv("FAKD_TRACEBACK", "1")
    with pytest.raises(type(error)):
        cli.main(["evaluate", "m"])


class Broken(Dataset[int]):
    """Whose only item cannot be read."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> int:
        raise DataError("mask.png: cut short.\nRestore the file.")


def test_errors_of_loader_processes_are_as_short(instead, monkeypatch, capsys) -> None:
    instead("evaluate", lambda config: list(DataLoader(Broken(), num_workers=1)))
    assert cli.main(["evaluate", "m"]) == 1
    assert capsys.readouterr().err == "error: mask.png: cut short.\nRestore the file.\n"


def _memory_error(kind: str) -> Exception:
    if kind == "device":
        return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if kind == "host":
        return MemoryError()
    try:
        torch.empty(1 << 50)
    except RuntimeError as error:
        return error
    raise AssertionError("this machine has a petabyte of memory")


@pytest.mark.parametrize("kind", ["device", "host", "PyTorch's on the CPU"])
@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        (["train", *TOY], "lower --batch-size or --crop-size, or use --precision bf16-mixed"),
        (["train", *TOY, "--precision", "bf16-mixed"], "lower --batch-size or --crop-size"),
        (["evaluate", "m"], "lower --base-size"),
        (["convert", "m", "o"], "end other programs that use it"),
    ],
)
def test_no_memory_is_said_with_what_needs_less(kind, arguments, advice, instead, monkeypatch, capsys) -> None:
    command = arguments[0]

    def fail(config: Any) -> None:
        raise _memory_error(kind)

    instead(command, fail)
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err == f"error: not enough memory: {advice}.\n"
    monkeypatch.setenv("FAKD_TRACEBACK", "1")
    with pytest.raises((RuntimeError, MemoryError)):
        cli.main(arguments)


_NO_ROOM = "unable to allocate shared memory(shm) for file </torch_7_1_0>: No space left on device (28)"


@pytest.mark.parametrize(
    "error",
    [
        f"Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback ...\nRuntimeError: {_NO_ROOM}",
        "unable to write to file </torch_7_1_0>: No space left on device (28)",
        "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's workers are out of "
        "shared memory. Please try to raise your shared memory limit.",
    ],
)
@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_little_shared_memory_is_one_line(command, error, instead, monkeypatch, capsys) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(total={"/dev/shm": 67_108_864}[path]))

    def fail(config: Any) -> None:
        raise RuntimeError(error)

    instead(command, fail)
    words = {"train": [*TOY], "evaluate": ["m"], "predict": ["m", "i", "o"]}[command]
    assert cli.main([command, *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "error: not enough shared memory, in which processes hand over images, of which this machine has 67.1 MB: in a "
        "container give docker run --shm-size 8g; or --workers 0, which needs none."
    )
    assert cli.main([command, *words, "--workers", "0"]) == 1
    assert capsys.readouterr().err.endswith("give docker run --shm-size 8g.\n")


def test_a_loader_process_that_is_killed(instead, capsys) -> None:
    def fail(config: Any) -> None:
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")

    instead("evaluate", fail)
    assert cli.main(["evaluate", "m"]) == 1
    assert capsys.readouterr().err.startswith("error: a process that reads images was ended")


def test_other_errors_of_pytorch_keep_their_traceback(instead, monkeypatch) -> None:
    def fail(config: EvaluateConfig) -> None:
        raise RuntimeError("shapes cannot be multiplied")

    instead("evaluate", fail)
    with pytest.raises(RuntimeError, match="multiplied"):
        cli.main(["evaluate", "m"])


def test_bugs_keep_their_traceback_and_ctrl_c_is_130(instead, monkeypatch) -> None:
    outcomes = iter([TypeError("a bug"), KeyboardInterrupt()])

    def fail(config: EvaluateConfig) -> None:
        raise next(outcomes)

    instead("evaluate", fail)
    with pytest.raises(TypeError):
        cli.main(["evaluate", "m"])
    assert cli.main(["evaluate", "m"]) == 130


def test_missing_accelerator(few_scenes, capsys, monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", *TOY, "--network", NETWORK, "--accelerator", "mps"]) == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--data-root", "d", "--max-steps=7"], {"data_root": Path("d"), "max_steps": 7}),
        (["--data_root", "d", "--max_steps", "7"], {"data_root": Path("d"), "max_steps": 7}),
        (["--max-steps", "7", "--resume", "--no-resume", "--max-steps=9"], {"max_steps": 9, "resume": False}),
        (["--resume"], {"resume": True}),
        (["--resume", "--seed", "3"], {"resume": True, "seed": 3}),
        (["--resume", "false"], {"resume": False}),
        (["--overwrite=true"], {"overwrite": True}),
        (["--check-data", "False", "--photometric", "True"], {"check_data": False, "photometric": True}),
        (["--channels_last", "--seed", "3"], {"channels_last": True, "seed": 3}),
        (["--channels-last", "False"], {"channels_last": False}),
        (["--channels-last=True"], {"channels_last": True}),
        (["--channels-last", "null"], {"channels_last": None}),
        (["--crop_size", "48,64"], {"crop_size": (48, 64)}),
        (["--crop-size=48x64", "--base_size", "96x144"], {"crop_size": (48, 64), "base_size": (96, 144)}),
        (["--crop_size", "[48, 64]"], {"crop_size": (48, 64)}),
        (["--scale", "0.5,1.5"], {"scale": (0.5, 1.5)}),
        (["--output", "3x4"], {"output": Path("3x4")}),  # a name, not a size
        (["--output=3,4", "--seed", "2"], {"output": Path("3,4"), "seed": 2}),
        (["--learning_rate", "1e-3"], {"learning_rate": 1e-3}),
    ],
)
def test_as_people_write(parse, arguments, expected) -> None:
    config = parse("train", *TOY, *arguments)
    assert isinstance(config, TrainConfig)
    assert {name: getattr(config, name) for name in expected} == expected


def test_options_of_methods(parse) -> None:
    config = parse("distill", *TOY, "--teacher", "t", "--options.strength", "0.5", "--options.bound=tight")
    assert isinstance(config, DistillConfig)
    assert config.options == {"strength": 0.5, "bound": "tight"}
    config = parse("distill", *TOY, "--teacher", "t", "--options.detach_classifier", "true", "--options.window", "100")
    assert config.options == {"detach_classifier": True, "window": 100}


def test_required_options_by_place(parse) -> None:
    assert parse("predict", "m", "i", "o", "--overlay").overlay is True
    assert parse("predict", "m", "i", "o") == PredictConfig("m", [Path("i")], Path("o"))
    files = [Path(name) for name in ("a b.jpg", "[c].jpg", "[d]", "1")]
    given = ("predict", "--overlay", "m", *map(str, files), "--batch-size", "2", "o")
    assert parse(*given) == PredictConfig("m", files, Path("o"), overlay=True, batch_size=2)
    assert parse("evaluate", "m", "--base-size", "3x4") == EvaluateConfig("m", base_size=(3, 4))
    assert parse("inspect", "n", "--crop_size", "64x64") == InspectConfig(network="n", crop_size=(64, 64))


def test_flags_after_a_config_file_override_it(parse, tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("max_steps: 30\ncrop_size: [16, 24]\noptions: {strength: 0.2, bound: tight}\n")
    config = parse(
        "distill",
        *TOY,
        "--config",
        str(tmp_path / "c.yaml"),
        "--teacher",
        "t",
        "--max_steps",
        "5",
        "--options.strength",
        "0.4",
    )
    assert (config.max_steps, config.crop_size) == (5, (16, 24))
    assert config.options == {"strength": 0.4, "bound": "tight"}


def test_written_config_gives_the_same_config(parse, tmp_path) -> None:
    config = parse(
        *("distill", *TOY, "--teacher", "t", "--method", "cwd", "--options.weight", "2", "--crop_size", "16x24"),
        *("--scale", "0.5,1.5", "--learning_rate", "0.00003", "--data_root", "d", "--output", str(tmp_path / "run")),
    )
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config.to_dict()))
    assert parse("distill", "--config", str(tmp_path / "c.yaml")) == config


def test_shipped_configs_parse(parse) -> None:
    shipped = sorted((Path(__file__).parents[1] / "configs").glob("*.yaml"))
    assert shipped
    for path in shipped:
        config = parse("distill", "--config", str(path), "--data_root", "d", "--teacher", "t")
        written = yaml.safe_load(path.read_text())
        assert {name: config.to_dict()[name] for name in written} == written


def test_inspect_shows_strides_and_shapes(teacher_run, capsys) -> None:
    assert (
        cli.main(["inspect", NETWORK, "--teacher", str(teacher_run), "--crop_size", "64x96", "--head_channels", "16"])
        == 0
    )
    rows = {}
    for line in capsys.readouterr().out.splitlines():
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        if len(cells) == 3:
            rows[cells[0]] = cells[1:]
    assert rows["stride of the logits"] == ["8", "8"]
    assert rows["logits (C, h, w)"] == ["(12, 8, 12)", "(12, 8, 12)"]  # classes as the teacher's
    assert rows["features (A, h, w)"] == ["(16, 8, 12)", "(8, 8, 12)"]
    assert rows["classifier"][1].endswith("8 -> 12")


@pytest.mark.parametrize("method", ["none", "fakd"])
def test_inspect_shows_the_terms(teacher_run, capsys, method) -> None:
    assert cli.main(["inspect", str(teacher_run), "--teacher", str(teacher_run), "--method", method]) == 0
    said = capsys.readouterr().out
    assert ("term fakd: " in said) is (method == "fakd")
    assert ("has no term" in said) is (method == "none")


@pytest.mark.slow
def test_a_real_process_says_only_what_people_need(tmp_path) -> None:
    command = [sys.executable, "-m", "fakd", "train", *TOY, "--network", NETWORK, "--head_channels", "8"]
    command += ["--crop_size", "32,32", "--batch_size", "2", "--max_steps", "2", "--eval_every", "2", "--workers", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    done = subprocess.run(
        [*command, "--output", "run"], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    starts = ["data ", "network ", "machine   CPU ", "step      2 crops", "step      the recipe has batch_size 16:"]
    starts += ["length    2 steps, 0.0156 passes over 256 images", "step 2/2  val mIoU "]
    starts += ["", " ", " ", f" {NETWORK} ", ""]
    starts += ["took      ", "written to run", "verdict   ", "next:     fakd "]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=False)] == starts
    assert lines[len(starts) :] == ["          fakd report run"]
    assert "1 thread (OMP_NUM_THREADS), 32-true" in done.stdout
    assert json.loads((tmp_path / "run/results.json").read_text())["steps"] == 2


def test_commands_of_two_words(parse) -> None:
    assert parse("data", "check", "camvid", "R") == CheckConfig("camvid", Path("R"))
    assert parse("data", "check", "--workers", "2", "camvid", "R") == CheckConfig("camvid", Path("R"), workers=2)
    assert parse("data", "check", "toy-scenes") == CheckConfig("toy-scenes")
    assert parse("data", "show", "camvid", "--photometric", "R") == ShowConfig("camvid", Path("R"), photometric=True)
    assert parse("data", "prepare", "camvid", "R", "--workers=0") == PrepareConfig("camvid", Path("R"), workers=0)


def test_lists_of_any_length(parse) -> None:
    assert parse("evaluate", "m", "--scales", "0.75,1,1.25").scales == (0.75, 1.0, 1.25)
    assert parse("evaluate", "m", "--scales", "2").scales == (2.0,)
    assert parse("evaluate", "m", "--window", "480x320", "--stride=320,200").window == (480, 320)


@pytest.mark.parametrize(
    "words",
    ["A B -o x", "--runs A B -o x", "--runs=A -o x --runs B", "-o x --runs A B", "A -o x B"],
)
def test_runs_with_and_without_their_name(parse, words) -> None:
    parsed = parse("report", *words.split())
    assert (list(map(str, parsed.runs)), parsed.output) == (["A", "B"], Path("x"))


def test_what_earlier_releases_took_is_taken(parse) -> None:
    """What a page, a script or a config of theirs may say."""
    assert parse("predict", "m", "i", "o", "--overlay", "true") == PredictConfig(
        "m", [Path("i")], Path("o"), overlay=True
    )
    config = parse("distill", *TOY, "--teacher=t", "--allow_bad_teacher=true", "--options.detach-classifier", "true")
    assert (config.allow_bad_teacher, config.options) == (True, {"detach_classifier": True})
    nothing = parse("train", *TOY, "--init", "null", "--data-root=null", "--head_channels", "null", "--eval-every=null")
    assert (nothing.init, nothing.data_root, nothing.head_channels) == (None, None, None)


def test_switches_sizes_and_a_short_name(parse) -> None:
    config = parse("train", *TOY, "--no-check-data", "--crop-size", "360", "-o", "x", "--no-channels-last")
    assert (config.check_data, config.crop_size, config.output) == (False, (360, 360), Path("x"))
    assert config.channels_last is False


def test_config_file_gives_what_goes_by_place(parse, tmp_path) -> None:
    (tmp_path / "c.yaml").write_text("model: m\nimages: [a, b]\noutput: o\nbase_size: 64x96\nflip: true\n")
    given = ("predict", "--config", str(tmp_path / "c.yaml"))
    expected = PredictConfig("m", [Path("a"), Path("b")], Path("o"), base_size=(64, 96), flip=True)
    assert parse(*given) == expected
    assert parse("predict", "n", "i", "p", *given[1:], "--no-flip").flip is False


def test_shells_complete_every_command(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["--install-completion", "--shell", "fish", "-o", str(tmp_path / "fakd.fish")])
    assert stopped.value.code == 0
    script = (tmp_path / "fakd.fish").read_text()
    assert all(word in script for word in ("data-root", "teacher-cache-format", "prepare", "bf16-mixed"))


def test_of_a_list_that_is_given_twice_the_last_one_counts(parse) -> None:
    given = ["compare", *TOY, "--teacher", "t", "--output", "o", "--methods", "none,cwd", "--seeds", "3"]
    config = parse(*given, "--methods", "none,at", "--seeds", "0,4")
    assert (config.methods, config.seeds) == ("none,at", "0,4")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("train", "train pspnet-r18 for 40,000 steps of 16 crops, which take hours on a GPU and days on a CPU"),
        ("train --network pspnet-r101 --max-steps 5000", "train pspnet-r101 for 5,000 steps."),
        ("train --epochs 3", "train pspnet-r18 for 3 passes over the images."),
        ("distill --teacher t --student hrnet-w18s", "train hrnet-w18s for 40,000"),
        ("compare --teacher-network pspnet-r101 --students a,b", "train a,b for 40,000"),
        ("ablate --teacher t", "train pspnet-r18 for 40,000"),
        ("tune --teacher t", "train pspnet-r18 for 40,000"),
    ],
)
def test_without_a_data_set_a_command_says_what_it_would_do(words, said, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: say what to train on:")
    assert said in error
    assert all(option in error for option in ("--data-root FOLDER", "--dataset NAME", "--dataset toy-scenes"))
    assert list(tmp_path.iterdir()) == []


def test_a_data_root_alone_is_a_folder_of_ones_own(parse, tmp_path, capsys) -> None:
    write_folder(tmp_path / "mine", ["a", "b", "c"])
    given = ("--data-root", str(tmp_path / "mine"))
    (tmp_path / "c.yaml").write_text(f"data_root: {tmp_path / 'mine'}\n")
    for words in (given, ("--config", str(tmp_path / "c.yaml"))):
        config = parse("train", *words, "--max-steps", "1")
        assert (config.dataset, config.spec.classes) == ("folder", ("road", "car", "sky"))
    for words in ("distill --teacher t", "compare --teacher t", "train"):
        assert parse(*words.split(), *given, "--max-steps", "1").dataset == "folder"
        assert cli.main([*words.split(), "--data-root", str(tmp_path / "gone")]) == 1
        assert f"{tmp_path / 'gone'}: no such folder" in capsys.readouterr().err


def test_without_a_data_set_the_teachers_is_meant(parse, tmp_path) -> None:
    write_folder(tmp_path / "mine", ["a", "b", "c"])
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher/config.yaml").write_text(f"dataset: folder\ndata_root: {tmp_path / 'mine'}\n")
    for command in ("distill", "compare", "tune"):
        config = parse(command, "--teacher", str(tmp_path / "teacher"), "--max-steps", "1")
        assert (config.dataset, config.data_root) == ("folder", tmp_path / "mine")
        assert parse(command, "--teacher", "toy-scenes").dataset == "toy-scenes"
    assert parse("distill", *TOY, "--teacher", str(tmp_path / "teacher")).dataset == "toy-scenes"


@pytest.mark.parametrize(
    ("command", "name", "typed", "expected"),
    [
        ("train", "output", "--output=~/x", "HOME/x"),
        ("train", "init", "--init=smp:unet/resnet34=~/w.pth", "smp:unet/resnet34=HOME/w.pth"),
        ("train", "backbone_weights", "--backbone-weights=http://host/~me/w.pth", "http://host/~me/w.pth"),
        ("distill", "teacher", "--teacher=torchscript:~/t.pt", "torchscript:HOME/t.pt"),
        ("distill --teacher t --method cwd", "class_map", "--class-map=~/m.yaml", "HOME/m.yaml"),
        ("compare --teacher t", "teacher_cache", "--teacher-cache=~", "HOME"),
        ("evaluate", "model", "--model=~/run", "HOME/run"),
        ("benchmark", "models", "--models=~/a", "['HOME/a']"),
        ("predict m", "images", "--images=~/x/*.jpg --output=o", "[PosixPath('HOME/x/*.jpg')]"),
        ("data check folder", "root", "--root=~/mine", "HOME/mine"),
    ],
)
def test_every_path_may_start_at_home(parse, command, name, typed, expected, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    toy = TOY if command.split()[0] in ("train", "distill", "compare") else ()
    config = parse(*command.split(), *toy, *typed.split())
    assert str(getattr(config, name)) == expected.replace("HOME", str(tmp_path))


def test_paths_in_a_file_may_start_at_home(parse, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text(
        "dataset: toy-scenes\nteacher: [~/a, torchscript:~/b.pt]\nclass_map: [~/m.yaml, null]\nmethod: cwd\n"
        "output: ~/run\nteacher_cache: ~\n"
    )
    config = parse("distill", "--config=~/c.yaml")
    assert config.teacher == [f"{tmp_path}/a", f"torchscript:{tmp_path}/b.pt"]
    assert config.class_map == [tmp_path / "m.yaml", None]
    assert (config.output, config.teacher_cache) == (tmp_path / "run", None)
