"""The command palette: every key of the table, by name, for the visible pane."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from textual.command import CommandList, CommandPalette, DiscoveryHit, Hit, Hits, Provider

from sekft_tui.input.actions import Key, action_of, of, shown
from sekft_tui.widgets.bars import KeyBar


class Palette(CommandPalette):
    """Textual's, which fails where a list is paged through that has no command, or no room."""

    def _action_command_list(self, action: str) -> None:
        commands = self.query_one(CommandList)
        if commands.option_count and commands.scrollable_content_region:
            super()._action_command_list(action)


class KeyCommands(Provider):
    """Offers the actions of the visible pane and those that work everywhere."""

    def _run(self, key: Key) -> Callable[[], Any]:
        return partial(self.app.run_action, action_of(key))

    def _keys(self) -> tuple[Key, ...]:
        pane = self.app.query_one(KeyBar).pane
        return tuple(key for key in of(pane, "global") if key.action != "command_palette")

    async def discover(self) -> Hits:
        for key in self._keys():
            yield DiscoveryHit(_title(key), self._run(key), help=_help(key))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key in self._keys():
            score = matcher.match(_title(key))
            if score > 0:
                yield Hit(score, matcher.highlight(_title(key)), self._run(key), help=_help(key))


def _title(key: Key) -> str:
    """The short name, which the keys' line teaches, and what it does."""
    return f"{key.label}: {key.description}"


def _help(key: Key) -> str:
    return "  ".join(shown(name) for name in key.keys)
