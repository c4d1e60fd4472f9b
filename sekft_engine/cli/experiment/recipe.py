"""Flags for the recipe of commands that have a recipe of their own unless told otherwise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from sekft_engine.data.recipe import RecipeField, recipe_fields

#: Fields that these commands set by themselves.
_OWN = ("seed", "ablation", "limit")
#: Stands before the names of the options, which may be those of a job, too.
_PREFIX = "recipe_"


def _fields() -> list[RecipeField]:
    return [field for field in recipe_fields() if field.name not in _OWN]


def recipe_flags(function: Callable[..., Any]) -> Callable[..., Any]:
    """One flag for each field of the recipe, without a default."""
    for field in reversed(_fields()):
        kind: Any = click.Choice(field.choices) if field.choices else field.type
        function = click.option(
            f"--{field.name.replace('_', '-')}",
            _PREFIX + field.name,
            type=kind,
            default=None,
            help=f"Recipe: {field.help}.",
        )(function)
    return function


def take_recipe(options: dict[str, Any]) -> dict[str, Any]:
    """Take the recipe's fields out of a command's options."""
    return {field.name: options.pop(_PREFIX + field.name) for field in _fields()}


def explicit(recipe: dict[str, Any]) -> dict[str, Any]:
    """The fields that stand on the command line."""
    return {name: value for name, value in recipe.items() if value is not None}
