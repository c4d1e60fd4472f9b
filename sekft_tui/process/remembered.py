"""What the workbench remembers of one workspace: forms as they were left, pinned runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from sekft_tui.process.settings import State, load_state, update_state

#: Workspaces that are remembered; the one that was left first is forgotten first.
_MOST = 64


class Remembered:
    """The part of the settings that belongs to one workspace, written at every change. Only what
    has changed here is written: another workbench may have the same workspace open.

    Args:
        root: the workspace's folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._forms = dict(load_state().forms.get(self._root, {}))

    def form(self, name: str) -> dict[str, str]:
        """The values of a form that were not its defaults, by field."""
        return dict(self._forms.get(name, {}))

    def keep_form(self, name: str, values: Mapping[str, str]) -> None:
        """Remember the values of a form that are not its defaults."""
        before = self._forms.get(name, {})
        if before == values:
            return
        changed = {field: value for field, value in values.items() if before.get(field) != value}
        dropped = before.keys() - values.keys()
        self._forms[name] = dict(values)

        def merged(state: State) -> State:
            forms = dict(state.forms)
            mine = forms.pop(self._root, {})  # the one that was left last comes last
            stored = {k: v for k, v in mine.get(name, {}).items() if k not in dropped}
            mine = {**mine, name: stored | changed}
            forms[self._root] = {name: form for name, form in mine.items() if form}
            newest = dict(list(forms.items())[-_MOST:])
            return msgspec.structs.replace(state, forms=newest)

        update_state(merged)


def save_rest(before: State, now: State) -> None:
    """Save the settings other than forms, as far as they differ from what they were ``before``."""
    fields: dict[str, Any] = {
        name: getattr(now, name)
        for name in State.__struct_fields__
        if name not in ("forms", "pinned") and getattr(now, name) != getattr(before, name)
    }
    pinned = {k: v for k, v in now.pinned.items() if before.pinned.get(k) != v}
    update_state(
        lambda state: msgspec.structs.replace(state, **fields, pinned=state.pinned | pinned)
    )
