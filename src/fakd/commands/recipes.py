"""`fakd recipes`: what a run does where its user says nothing else."""

from dataclasses import dataclass
from typing import Any

from rich.table import Table

from fakd.console import console, say
from fakd.training.recipe import read_recipe, recipe_names


@dataclass
class RecipesConfig:
    """List the recipes of training, and what each sets; any option that is given overrides it."""


def recipes(config: RecipesConfig) -> dict[str, dict[str, Any]]:
    """Print the recipes side by side.

    Returns:
        What each sets, by its name.
    """
    found = [read_recipe(name) for name in recipe_names()]
    settings: dict[str, dict[str, Any]] = {}
    for recipe in found:
        settings[recipe.name] = dict(recipe.options)
        if recipe.passes:
            steps = "{over_the_data} passes, {least_steps:,} to {most_steps:,}".format(**recipe.passes)
            settings[recipe.name]["max_steps"] = steps
        settings[recipe.name].setdefault("learning_rate", "the data set's")
        say(f"{recipe.name:<10}{recipe.about}")
    table = Table("option", *settings)
    for option in dict.fromkeys(name for recipe in settings.values() for name in recipe):
        table.add_row(f"--{option.replace('_', '-')}", *(str(recipe[option]) for recipe in settings.values()))
    console.print(table)
    say("A recipe's warm-up is at most a tenth of the run. Choose one by --recipe NAME.")
    return settings
