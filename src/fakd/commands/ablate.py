"""`fakd ablate`: what each option of a method does."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from fakd.analysis.run_options import method_defaults, method_values, value_of
from fakd.experiments.grid import Arm, GridConfig, arm_label
from fakd.experiments.run_grid import run_grid
from fakd.options import Options

_TABLE_4 = {"pixel": None, "fakd-pixel": "pixel", "cwd": None, "fakd": "cwd"}
"""The augmented methods of the paper's Table 4, each compared with its plain form."""
_TABLE_5 = {"strength": (0.5, 1.0, 1.5, 2.5)}


@dataclass(kw_only=True)
class AblateConfig(GridConfig):
    """Change the options of a method one at a time, and compare with its defaults.

    Finished runs are not run again, interrupted ones go on, and a run that fails stops no other.
    """

    table: Literal[4, 5] | None = None
    """Table of the paper to repeat: 4, plain against augmented, for pixels and channels; 5, the strength of FAKD."""
    student: str = "pspnet-r18"
    """Student network, named as in `fakd distill`."""
    method: str = "fakd"
    """Method whose options are changed."""
    vary: Options = field(default_factory=dict)
    """Values of an option to try, with commas in between, as --vary.reference none,label --vary.strength 0.5,1,2."""

    @property
    def run_name(self) -> str:
        """Name of the folder below runs/DATASET."""
        return "ablate"

    def arms(self) -> list[Arm]:
        """A row for each value of each option, and one for the defaults.

        Raises:
            ValueError: neither a table nor an option is given, or both; or the method takes no such value.
        """
        if (self.table is None) == (not self.vary):
            raise ValueError("say what to vary: --table 4, --table 5, or options, as --vary.bound paper,tight.")
        if self.table == 4 and self.method != "fakd":
            raise ValueError(f"Table 4 is about {', '.join(_TABLE_4)}; leave out --method, or vary an option of it.")
        if self.table == 4:
            return [self._arm(method, {}, plain) for method, plain in _TABLE_4.items()]
        if self.table == 5 and self.method != "fakd":
            raise ValueError(f"Table 5 is about fakd, not {self.method}; leave out --method, or give --vary.strength.")
        return self._varied(_TABLE_5 if self.table == 5 else self.vary)

    def _varied(self, lists: Mapping[str, Any]) -> list[Arm]:
        """The defaults, and one option changed at a time; a value that is the default is no change."""
        defaults = {**method_defaults(self.method), **self.method_options.get(self.method, {})}
        base = self._arm(self.method, {}, None)
        if len(lists) == 1:  # among the values of one option, the default should be seen as one of them
            base = replace(
                base, label=arm_label(self.method, {**{name: defaults.get(name) for name in lists}, **base.options})
            )
        arms: dict[str, Arm] = {}
        for name, values in lists.items():
            listed = value_of(values)
            for value in listed if isinstance(listed, list | tuple) else (listed,):
                changed = method_values(self.method, {name: value})
                arm = base if changed[name] == defaults[name] else self._arm(self.method, changed, base.name)
                arms.setdefault(arm.name, arm)
        if len(lists) > 1 or base.name not in arms:  # else in the middle of the list, as the paper prints it
            arms = {base.name: base} | arms
        return list(arms.values())

    def _arm(self, method: str, changed: Mapping[str, Any], baseline: str | None) -> Arm:
        options = {**self.method_options.get(method, {}), **changed}
        changes = [f"{name}{_joined(value)}" for name, value in changed.items()]
        name = "-".join([method, *changes])
        return Arm(name, arm_label(method, options), self.student, method, options, baseline)


def ablate(config: AblateConfig) -> dict[str, Any] | None:
    """Run what is not finished yet, print the table, and write ablation.md, .csv, .tex and .json.

    The files of a table of the paper are ablation-table4 and ablation-table5, so that both fit into one folder, also
    that of a comparison, whose runs they share.

    Returns:
        What the JSON file holds, or None if interrupted.

    Raises:
        ValueError: runs failed, and are listed under the table; or the teacher or the data do not fit.
    """
    stem = "ablation" if config.table is None else f"ablation-table{config.table}"
    return run_grid(config, "ablate", f"Ablation on {config.dataset}", stem)


def _joined(value: Any) -> str:
    """A value as it follows its option's name in that of a folder: strength0.5, bound-tight."""
    return f"-{value}" if isinstance(value, str) else str(value)
