"""The facts of one run as lines: its notes, result, recipe, and what decided its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from sekft_tui.input.actions import key_for
from sekft_tui.panes.runs.rows import Row
from sekft_tui.text import Parts, fit, short_path, visible, wrapped

if TYPE_CHECKING:
    from sekft_engine.records.runs import RunInfo

#: Fields of a run's file that are called otherwise on the screen.
_TITLES = {"subjects": "models"}


def facts(row: Row, width: int) -> list[Parts]:
    """The lines below the list, for the row under the cursor."""
    notes = row.notes
    lines: list[Parts] = []
    if notes.title:
        lines.append(_fact("id", visible(row.id)))
    if notes.tags:
        lines.append(_fact("tags", visible("  ".join(f"#{tag}" for tag in notes.tags))))
    for number, line in enumerate(wrapped(notes.note, max(20, width - 19)) if notes.note else []):
        lines.append(_fact("note" if not number else "", line))
    if row.run is None:
        problem = wrapped(row.why, max(20, width - 19))
        lines += [_fact("problem" if not n else "", line) for n, line in enumerate(problem)]
        lines.append(
            _fact(
                "way out",
                f"restore run.json from a copy, or {key_for('runs.delete')} moves the folder away",
            )
        )
        return lines
    lines.append(_fact("result", row.result or "-"))
    return lines + _of_run(row.run)


def _of_run(run: RunInfo) -> list[Parts]:
    lines: list[Parts] = []
    if run.adapter:
        lines.append(_fact("adapter", short_path(run.adapter)))
    recipe = run.about.get("recipe", run.about)
    if isinstance(recipe, dict):
        for name, value in recipe.items():
            lines.append(_fact(str(name), short_value(value)))
    for name, value in msgspec.to_builtins(run.facts).items():
        if text := short_value(value):
            lines.append(_fact(str(name), text))
    return lines


def _fact(name: str, value: str) -> Parts:
    title = _TITLES.get(name, name.replace("_", " "))
    return ((" " + fit(visible(title), 16) + " ", "quiet"), (value, "text"))


def short_value(value: Any) -> str:
    """A fact in a line; of several those that are not empty, for a run does not have them all."""
    if isinstance(value, dict):
        return ", ".join(f"{visible(str(k))} {short_value(v)}" for k, v in value.items() if v)
    if isinstance(value, list | tuple):
        return ", ".join(short_value(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if len(text) >= 32 and all(letter in "0123456789abcdef" for letter in text):
        return text[:12] + "…"
    return short_path(text) if text.startswith("/") else visible(text)
