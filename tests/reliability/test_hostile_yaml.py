"""YAML that would run code, or fill the memory: refused with a message, wherever it is read."""

from pathlib import Path

import pytest
import yaml
from hostile import linux_only, outcome_and_memory
from hypothesis import given
from hypothesis import strategies as st

from fakd.cli import main
from fakd.data.plain_yaml import check_yaml, read_yaml
from fakd.data.spec import DataError
from fakd.data.user.class_file import read_class_list

LAUGHS = "\n".join(
    ["classes: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
)
MERGES = "\n".join(
    ["a0: &a0 {x: 1}"] + [f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}" for i in range(1, 12)]
)
# PyYAML has a limit of its own from 6.0.4 on, which some texts reach first
TOO_DEEP = "nested over 50 levels deep|exceeded maximum nesting depth"
BLOWN_UP = {
    "billion laughs": (LAUGHS, "its aliases blow it up to over 100,000 values"),
    "merged mappings": (MERGES, "its aliases blow it up to over 100,000 values"),
    "a part of itself": ("classes: &a [road, *a]", r"the alias \*a stands for nothing, or for what it is a part of"),
    "deep lists": ("classes: " + "[" * 100_000, TOO_DEEP),
    "deep mappings": ("classes: " + "{a: " * 100_000, TOO_DEEP),
    "two megabytes": ("classes: [" + "x," * (1 << 20) + "]", r"1,048,576 at most"),
    "a long number": ("seed: 1" + "0" * 5000, "4300"),
}


def tags(trace: Path) -> list[str]:
    return [
        f"seed: !!python/object/apply:os.system ['touch {trace}']",
        f"seed: !!python/object/new:os.system ['touch {trace}']",
        "seed: !!python/name:os.system",
        "seed: !!python/module:os",
        "seed: !include other.yaml",
    ]


@linux_only
@pytest.mark.parametrize("case", BLOWN_UP)
def test_files_that_blow_up(case: str, tmp_path: Path) -> None:
    text, message = BLOWN_UP[case]
    (tmp_path / "classes.yaml").write_text(text)
    for read, place in ((read_yaml, tmp_path / "classes.yaml"), (read_class_list, tmp_path)):
        found, memory = outcome_and_memory(read, place)
        assert found.startswith(f"DataError: {tmp_path / 'classes.yaml'}: ")
        with pytest.raises(DataError, match=message):
            read(place)
        assert memory < 32 << 20


@linux_only
@pytest.mark.parametrize("case", BLOWN_UP)
def test_config_that_blows_up(case: str, tmp_path: Path, capfd) -> None:
    (tmp_path / "c.yaml").write_text(BLOWN_UP[case][0])
    found, memory = outcome_and_memory(main, ["train", "--config", str(tmp_path / "c.yaml")])
    assert found == "SystemExit: 2"
    assert memory < 64 << 20
    assert f"error: --config {tmp_path / 'c.yaml'}: " in capfd.readouterr().err


@pytest.mark.parametrize("number", range(5))
def test_tags_are_refused(number: int, tmp_path: Path, capsys) -> None:
    text = tags(tmp_path / "ran")[number]
    (tmp_path / "classes.yaml").write_text(text)
    (tmp_path / "other.yaml").write_text("seed: 1")
    with pytest.raises(DataError, match=r"classes\.yaml: not readable as YAML: could not determine a constructor"):
        read_class_list(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["train", "--config", str(tmp_path / "classes.yaml")])
    assert stop.value.code == 2
    assert "could not determine a constructor for the tag" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


def test_classes_of_a_config_are_not_made(tmp_path: Path, capsys) -> None:
    """Options are plain values, whatever a config names."""
    trace = tmp_path / "ran"
    evil = {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", str(trace)]}}
    config = {
        "dataset": "toy-scenes",
        "teacher": "none",
        "output": str(tmp_path / "run"),
        "options": {"strength": evil},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    assert main(["distill", "--config", str(tmp_path / "c.yaml")]) == 1
    assert capsys.readouterr().err.startswith("error: ")
    assert not trace.exists()


def test_classes_with_names_that_a_terminal_obeys(tmp_path: Path) -> None:
    (tmp_path / "classes.yaml").write_text('classes: ["road", "\\e[2Jcar"]')
    with pytest.raises(DataError, match=r"'\\x1b\[2Jcar' has characters that cannot be printed"):
        read_class_list(tmp_path)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=3), parts, max_size=4),
    max_leaves=20,
)


@given(PLAIN)
def test_what_people_write_passes(value: object) -> None:
    text = yaml.safe_dump([value, value])  # an alias for the second, where it is a list or a mapping
    check_yaml(text)
    assert yaml.safe_load(text) == [value, value]


@given(st.integers(1, 12), st.integers(1, 12))
def test_values_are_counted_as_aliases_repeat_them(levels: int, width: int) -> None:
    lines = [f"- &a0 [{', '.join(['x'] * width)}]"]
    lines += [f"- &a{i} [{', '.join([f'*a{i - 1}'] * width)}]" for i in range(1, levels)]

    sizes = [1 + width]  # by hand: a list and what is in it
    for _ in range(1, levels):
        sizes.append(1 + width * sizes[-1])
    if sum(sizes) + 1 > 100_000:
        with pytest.raises(yaml.YAMLError, match="blow it up"):
            check_yaml("\n".join(lines))
    else:
        check_yaml("\n".join(lines))
