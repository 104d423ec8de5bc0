"""The command that repeats a run."""

import shlex
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import yaml

from fakd.analysis.groups import changed_options
from fakd.training import DistillConfig, TrainConfig
from fakd.training.config import RunConfig


def reproduce(config: Mapping[str, Any]) -> str:
    """The command line of a run, with those options that are not the defaults.

    Args:
        config: what config.yaml holds, of this version or an older one.
    """
    kind = DistillConfig if "method" in config else TrainConfig
    given = _given(kind, config)
    words = ["fakd", "distill" if kind is DistillConfig else "train"]
    for name, value in given.items():
        if name == "options":
            for option, setting in changed_options(config).items():
                words += [f"--options.{option}", _word(setting)]
        else:
            words += [f"--{name.replace('_', '-')}", _word(value)]
    return shlex.join(words)


def _given(kind: type[RunConfig], config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that must be given so that all others come out as they were."""
    known = {item.name: item for item in fields(kind)}
    given = {
        name: value
        for name, value in config.items()
        # An option that this version does not have is shown too: whoever repeats the run should know of it.
        if name not in known or known[name].default is MISSING or value != _plain(known[name].default)
    }
    given = {name: value for name, value in given.items() if name not in ("resume", "overwrite")}
    # What the config worked out itself, as eval_every from max_steps, need not be said.
    for name in [name for name in given if name in known and known[name].default is None]:
        rest = {key: value for key, value in given.items() if key != name and key in known}
        try:
            if kind(**rest).to_dict()[name] == config[name]:
                del given[name]
        except (ValueError, OSError, TypeError):  # as a folder of classes that is not here: then all is said
            continue
    return given


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _word(value: Any) -> str:
    """As the command line reads it back: true, 0.5, 96,96, null."""
    if isinstance(value, (list, tuple)) and all(isinstance(item, (int, float)) for item in value):
        return ",".join(map(str, value)) if len(value) > 1 else f"[{value[0]}]" if value else "[]"
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")
