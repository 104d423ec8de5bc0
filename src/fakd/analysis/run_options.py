"""The options of a run: what differs from the defaults, and how the command line writes and reads them."""

from collections.abc import Mapping
from dataclasses import fields, make_dataclass
from pathlib import Path
from typing import Any

import yaml
from cyclopts import App, CycloptsError
from cyclopts.config import Dict

from fakd.data.unlabelled import UNLABELLED_SET
from fakd.evaluation.inference import InferenceConfig
from fakd.methods import method_options
from fakd.options import plain_value
from fakd.training import DistillConfig, RunConfig, TrainConfig
from fakd.training.recipe import before_recipes


def method_defaults(method: str) -> dict[str, Any]:
    """The options of a method with their defaults; none where there is no such method here, as of another version."""
    try:
        return {name: option.default for name, option in method_options(method).items()}
    except ValueError:
        return {}


def changed_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a run's method that are not its defaults."""
    defaults = method_defaults(config.get("method") or "")
    given = config.get("options") or {}
    return {name: value for name, value in given.items() if name not in defaults or value != defaults[name]}


def with_defaults(config: Mapping[str, Any]) -> dict[str, Any]:
    """A run's options, with today's default for each that its version did not have, and the only recipe of then."""
    kind = _kind(config)
    missing = {item.name: None for item in fields(kind) if item.name not in config}
    return {**missing, **kind.defaults(), **before_recipes(), **config}


def run_config(options: Mapping[str, Any], source: str) -> TrainConfig | DistillConfig:
    """The config of a run from its options, as `to_dict` gives them.

    Args:
        options: plain values, as JSON or YAML has them.
        source: what messages call them.

    Raises:
        ValueError: there is no such option, or it does not take such a value.
    """
    kind = DistillConfig if "teacher" in options else TrainConfig
    given = {name: value for name, value in options.items() if value is not None}  # which is every such default
    return kind(**_typed(kind, given, source))


def run_inference(config: Mapping[str, Any]) -> InferenceConfig:
    """How a run's network was asked when the run was evaluated."""
    options = with_defaults(config)
    given = {item.name: options[item.name] for item in fields(InferenceConfig)}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    return InferenceConfig(**given)


def command_words(config: Mapping[str, Any]) -> list[str]:
    """The command line that repeats a run, with those options that are not the defaults.

    Args:
        config: what config.yaml holds, of this version or an older one.
    """
    given = _given({"recipe": before_recipes()["recipe"], **config})
    if "options" in given:
        given["options"] = changed_options(config)
    command = "distill" if _kind(config) is DistillConfig else "train"
    return ["fakd", command, *(word for name, value in given.items() for word in option_words(name, value))]


def option_words(name: str, value: Any) -> list[str]:
    """An option as it is written on the command line: --crop-size 96,96, or --method-options.cwd.weight 1."""
    if name == "unlabelled":
        return ["--unlabelled", *value]
    if isinstance(value, Mapping):
        return [word for key, inner in value.items() for word in option_words(f"{name}.{key}", inner)]
    if name in ("teacher", "class_map", "teacher_classes") and isinstance(value, list | tuple):
        return [word for one in value for word in option_words(name, "none" if one is None else one)]
    if isinstance(value, list | tuple):
        text = ",".join(map(str, value)) if len(value) > 1 else f"[{', '.join(map(str, value))}]"
    elif isinstance(value, str | Path):
        text = str(value)
    else:
        text = yaml.safe_dump(value).removesuffix("\n").removesuffix("\n...")
    option, dot, key = name.partition(".")
    return [f"--{option.replace('_', '-')}{dot}{key}", text]


def run_values(kind: type[RunConfig], given: Mapping[str, Any], option: str) -> dict[str, Any]:
    """Options of a training command, each of its own type.

    Args:
        kind: the command's config.
        given: by name; values may be words, as "128,128".
        option: what messages call the whole.

    Raises:
        ValueError: there is no such option, or it does not take such a value.
    """
    return _typed(kind, _values(given), option)


def method_values(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a method, each of its own type.

    Args:
        method: its name.
        given: by name; values may be words, as "0.5" or "null".

    Raises:
        ValueError: there is no such method or option, or it does not take such a value.
    """
    known = method_options(method)
    found: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            raise ValueError(f"method {method!r} has no option {name}; it has {', '.join(known) or 'none'}.")
        takes = make_dataclass("Value", [(name, known[name].annotation)], kw_only=True)
        found |= _typed(takes, _values({name: value}), f"option {name} of method {method!r}")
    return found


def _typed(takes: type, given: Mapping[str, Any], option: str) -> dict[str, Any]:
    """The values as the fields of a dataclass take them."""
    app = App(config=Dict(dict(given), source=option), help_flags=(), version_flags=())
    app.default(takes)
    try:
        _, bound, _ = app.parse_args([], exit_on_error=False, print_error=False)
    except CycloptsError as error:
        raise ValueError(str(error)) from None
    return {name: bound.arguments[name] for name in given}


def _values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Words as they are typed, as values."""
    return {name.replace("-", "_"): value_of(value) for name, value in given.items()}


def value_of(word: Any) -> Any:
    """A word of the command line as YAML has it, where commas make a list; anything else as it is."""
    if not isinstance(word, str):
        return word
    value = plain_value(word)
    if isinstance(value, str) and "," in value:
        value = [plain_value(part.strip()) for part in value.strip("[]").split(",")]
    return tuple(value) if isinstance(value, list) else value


def _kind(config: Mapping[str, Any]) -> type[RunConfig]:
    return DistillConfig if "method" in config else TrainConfig


def _given(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that must be given so that all others come out as they were."""
    kind, options = _kind(config), {item.name: item for item in fields(_kind(config))}
    # An option that this version does not have is shown too: whoever repeats the run should know of it.
    given = {
        name: value
        for name, value in config.items()
        if name not in ("resume", "overwrite", "allow_changed_data")
        and (name not in kind.defaults() or value != kind.defaults()[name])
    }
    # What the config worked out itself, as eval_every from max_steps, need not be said. Commands ask for the data set.
    named = () if config.get("dataset") == UNLABELLED_SET else ("dataset",)
    for name in [name for name in given if name in options and options[name].default is None and name not in named]:
        rest = {key: value for key, value in given.items() if key != name and key in options}
        try:
            if kind(**rest).to_dict()[name] == config[name]:
                del given[name]
        except (ValueError, OSError, TypeError):  # as a folder of classes that is not here: then all is said
            continue
    return given
