"""The form of a recipe: every hyperparameter, checked while it is typed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sekft_engine.errors import SekftError
from sekft_engine.recipe import Recipe, RecipeField, recipe_fields, recipe_from
from sekft_tui.panes.pane import Part
from sekft_tui.text import Parts, clip, short_path, visible
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.recipe_form import Field, RecipeForm

if TYPE_CHECKING:
    from sekft_tui.app import Workbench


class RecipePart(Part):
    """Head, form, help.

    Args:
        host: whose recipe it is.
        start: what the button does.
    """

    DEFAULT_CSS = "RecipePart > #train-help { height: 2; }"

    def __init__(self, host: Callable[[], Workbench], start: Callable[[], None]) -> None:
        self._host = host
        self.values: dict[str, str] = {}
        self._told: tuple[str, bool] = ("", False)
        self.form = RecipeForm(
            check=self._check,
            changed=self._changed,
            pressed=lambda _: start(),
            told=self._tell,
            id="train-form",
        )
        self.help = Lines(self._help, id="train-help")
        head = Lines(lambda _: (((" Recipe", "strong"),),))
        super().__init__(head, self.form, self.help, id="train-left")

    def on_mount(self) -> None:
        self.values = {field.name: shown(value) for field, value in self._defaults()}
        self.fill()

    def _defaults(self) -> list[tuple[RecipeField, Any]]:
        recipe = self._host().recipe
        return [(field, getattr(recipe, field.name)) for field in recipe_fields()]

    def recipe(self) -> Recipe:
        """Raises SekftError where a value is wrong."""
        return recipe_from(self.values)

    def fill(self) -> None:
        """Show what is there now."""
        host = self._host()
        base = host.base
        facts = [
            Field("base", short_path(base) if base else "none here",
                  base or "no base in this workspace: sekft base add smollm2-135m", "fact"),
            Field("data", host.data.name, host.data.name, "fact"),
        ]  # fmt: skip
        fields = [
            Field(
                field.name,
                self.values[field.name],
                f"{field.help} (default {shown(field.default)})",
                choices=field.choices,
                changed=self.values[field.name] != shown(field.default),
            )
            for field in recipe_fields()
        ]
        start = Field("start", "", "train an adapter on the base with this recipe", "button",
                      label="▸ start the run")  # fmt: skip
        self.form.set_fields((*facts, *fields, start))

    def _check(self, name: str, value: str) -> str:
        try:
            recipe_from(self.values | {name: value})
        except SekftError as error:
            return _complaint(error.what)
        return ""

    def _changed(self, name: str, value: str) -> None:
        self.values[name] = value
        self._host().recipe = recipe_from(self.values)
        self.fill()

    def _tell(self, text: str, wrong: bool) -> None:
        self._told = (text, wrong)
        self.help.update()

    def _help(self, width: int) -> tuple[Parts, ...]:
        text, wrong = self._told
        style = "bad" if wrong else "quiet"
        room = max(10, width - 4)
        cut = text.rfind(" ", 0, room) if len(text) > room else len(text)
        cut = cut if cut > 0 else room
        mark = ("✗ " if wrong else "  ", "bad")
        second = clip(visible(text[cut:].strip()), room)
        return (mark, (visible(text[:cut]), style)), (("  ", ""), (second, style))


def shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _complaint(what: str) -> str:
    """msgspec's message in the words of a form."""
    text = what.split(" - at ")[0].replace("`", "")
    wanted = re.fullmatch(r"Expected (int|float)(, got \w+)?( [<>=]+ \S+)?", text)
    if wanted is None:
        return text
    kind = "a whole number" if wanted[1] == "int" else "a number"
    return f"{kind}{wanted[3] or ''} is wanted"
