"""What the workbench remembers of one workspace: forms as they were left, pinned runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from sekft_tui.process.settings import State, load_state, save_state

#: Workspaces that are remembered; the one that was left first is forgotten first.
_MOST = 64


class Remembered:
    """The part of the settings that belongs to one workspace, written at every change.

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
        if self._forms.get(name, {}) == values:
            return
        self._forms[name] = dict(values)
        # Read again: another workbench may have written for its own workspace since.
        state = load_state()
        forms = {root: state.forms[root] for root in state.forms if root != self._root}
        forms[self._root] = {name: form for name, form in self._forms.items() if form}
        newest = dict(list(forms.items())[-_MOST:])
        save_state(msgspec.structs.replace(state, forms=newest))


def save_rest(state: State) -> None:
    """Save the settings other than forms, which are on disk already."""
    save_state(msgspec.structs.replace(state, forms=load_state().forms))
