"""The command palette: every key of the table, by name, for the pane one is in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from sekft_tui.actions import Key, of, shown

if TYPE_CHECKING:
    from sekft_tui.app import Workbench


class KeyCommands(Provider):
    """Offers the actions of the present pane and those that work everywhere."""

    @property
    def host(self) -> Workbench:
        return cast("Workbench", self.app)

    def _run(self, key: Key) -> Callable[[], Any]:
        if key.place == "global":
            return partial(self.host.run_action, key.action)
        return partial(self.host.action_in_pane, key.action)

    def _keys(self) -> tuple[Key, ...]:
        return tuple(key for key in of(self.host.pane, "global") if key.action != "command_palette")

    async def discover(self) -> Hits:
        for key in self._keys():
            yield DiscoveryHit(_title(key), self._run(key), help=_help(key))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key in self._keys():
            score = matcher.match(key.description)
            if score > 0:
                yield Hit(
                    score, matcher.highlight(key.description), self._run(key), help=_help(key)
                )


def _title(key: Key) -> str:
    return key.description


def _help(key: Key) -> str:
    return "  ".join(shown(name) for name in key.keys)
