"""Recipes: files of options that belong together, which a run has where its user says nothing else."""

from collections.abc import Mapping
from functools import cache
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple

from fakd.console import did_you_mean
from fakd.data.plain_yaml import read_yaml
from fakd.data.sets.hub import HUB
from fakd.data.unlabelled import UNLABELLED_SET
from fakd.data.user.folder import FOLDER
from fakd.training.unlabelled import find_unlabelled, set_aside

_FOLDER = Path(__file__).parent / "recipes"
# Of optimizers that adapt each weight's step, where a recipe has none for them.
_ADAPTIVE_RATE, _ADAPTIVE_DECAY = 1e-4, 0.01
_SGD_DECAY = 5e-4


class Recipe(NamedTuple):
    """What a file of recipes/ says."""

    name: str
    about: str
    """For whom, as sentences."""
    options: Mapping[str, Any]
    """By the name of the option."""
    passes: Mapping[str, int] | None = None
    """Where the number of steps follows from the data: passes over_the_data, least_steps and most_steps."""

    def steps(self, images: int, batch_size: int) -> int:
        """How many steps a run on so many images gets."""
        assert self.passes is not None
        steps = steps_of(self.passes["over_the_data"], images, batch_size)
        return min(max(steps, self.passes["least_steps"]), self.passes["most_steps"])


def recipe_names() -> list[str]:
    """Those that there are, the papers' first."""
    return sorted((path.stem for path in _FOLDER.glob("*.yaml")), key=lambda name: (name != "paper", name))


@cache
def read_recipe(name: str) -> Recipe:
    """Read the recipe of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in (names := recipe_names()):
        meant = did_you_mean(name, names)
        raise ValueError(f"there is no recipe {name!r}; choose one of {', '.join(names)}, see `fakd recipes`.{meant}")
    return Recipe(name, **read_yaml(_FOLDER / f"{name}.yaml"))


def before_recipes() -> dict[str, Any]:
    """What runs did that do not say their recipe, as they are from before there was any."""
    return {"recipe": "paper", **read_recipe("paper").options}


def follow_recipe(config: Any) -> None:
    """Give those options of a `RunConfig` their values that its user has not.

    Raises:
        ValueError: there is no such recipe, or both epochs and max_steps are given.
        DataError: the number of steps follows from the data, which are not there.
    """
    own = config.dataset in (FOLDER, UNLABELLED_SET) or config.dataset.startswith(HUB)
    config.recipe = config.recipe or ("own" if own else "paper")
    recipe = read_recipe(config.recipe)
    options = dict(recipe.options)
    if config.dataset == UNLABELLED_SET:
        options["class_weights"] = "none"  # no label is there to count
    if config.epochs is not None and config.max_steps is not None:
        raise ValueError(
            f"epochs {config.epochs:g} and max_steps {config.max_steps} both say how long the run is: give one of them."
        )
    if config.max_steps is None and (config.epochs is not None or recipe.passes is not None):
        images, crops = _one_pass(config)
        config.max_steps = (
            recipe.steps(images, crops) if config.epochs is None else steps_of(config.epochs, images, crops)
        )
    config.epochs = None  # said in steps from here on
    if config.optimizer not in (None, options["optimizer"]):  # whose rates are of another size
        options.pop("learning_rate", None)
        del options["weight_decay"]
    if config.warmup_steps is None:
        length = config.max_steps or options["max_steps"]
        config.warmup_steps = min(options["warmup_steps"], length // 10)
    for name, value in options.items():
        if getattr(config, name) is None:
            setattr(config, name, value)
    if config.learning_rate is None:
        config.learning_rate = config.spec.learning_rate if config.optimizer == "sgd" else _ADAPTIVE_RATE
    if config.weight_decay is None:
        config.weight_decay = _SGD_DECAY if config.optimizer == "sgd" else _ADAPTIVE_DECAY


def _one_pass(config: Any) -> tuple[int, int]:
    """Images that a pass shows, and how many crops of them a step has: labelled ones, if there are any."""
    if config.dataset == UNLABELLED_SET:
        return len(set_aside(find_unlabelled(config.unlabelled), config.val_share)[0]), config.unlabelled_batch
    return len(config.spec.open(config.data_root, "train")), config.batch_size


def steps_of(epochs: float, images: int, batch_size: int) -> int:
    """How many steps so many passes over the images take, at least one."""
    return max(1, ceil(epochs * images / batch_size))
