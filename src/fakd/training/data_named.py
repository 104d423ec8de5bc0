"""What a command line trains on where it names no data set: the one of its teacher, or nothing before somebody says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fakd.data.plain_yaml import read_yaml
from fakd.data.unlabelled import UNLABELLED_SET
from fakd.evaluation.ensembles import teacher_names
from fakd.models.shipped import SHIPPED

_SAYING = ("dataset", "data_root", "unlabelled")


class NoDataError(ValueError):
    """Nothing says what to train on."""

    exit_status = 2


def with_data(options: Mapping[str, Any], network: str) -> dict[str, Any]:
    """The typed options of a command that trains, and what they leave to the teacher.

    Args:
        options: by name, as they were typed or stand in a file.
        network: what is trained.

    Raises:
        NoDataError: neither they nor the teacher say a data set.
    """
    if any(options.get(name) for name in _SAYING):
        return dict(options)
    for teacher in teacher_names(options.get("teacher") or ()):
        if found := _trained_on(teacher):
            return {**options, **found}
    raise NoDataError(_ask(options, network))


def _trained_on(teacher: str) -> dict[str, Any]:
    """The data set of a teacher that comes with the package, or of a run, and where it was."""
    file = Path(teacher) / "config.yaml"
    if not file.is_file():
        return {"dataset": teacher} if teacher in SHIPPED else {}
    known = read_yaml(file)
    if not isinstance(known, dict) or known.get("dataset") in (None, UNLABELLED_SET):
        return {}
    root = known.get("data_root")
    return {"dataset": known["dataset"], "data_root": root and Path(root)}


def _ask(options: Mapping[str, Any], network: str) -> str:
    steps, epochs = options.get("max_steps"), options.get("epochs")
    if steps:
        length = f"{steps:,} steps"
    elif epochs:
        length = f"{epochs:g} passes over the images"
    else:
        length = (
            "40,000 steps of 16 crops, which take hours on a GPU and days on a CPU; for images of your own about 60 "
            "passes over them. --max-steps 500 is a first look"
        )
    return (
        "say what to train on:\n"
        "  --data-root FOLDER                 images and masks of your own; look at them first:\n"
        "                                     fakd data check folder FOLDER\n"
        "  --dataset NAME --data-root FOLDER  a published data set, as camvid; fakd data prepare gets it\n"
        "  --dataset toy-scenes               street scenes that are drawn, to try it: nothing to download\n"
        f"It would then train {network} for {length}."
    )
