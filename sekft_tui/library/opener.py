"""Renders the trajectory under the cursor on a thread; outdated requests are dropped."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sekft_tui.library.rendering import LONG, NotReady, Rendered, Renderer
from sekft_tui.process.workers import Background, KeyPriority

if TYPE_CHECKING:
    from sekft_engine.sources import Index

#: A long trajectory is rendered whole once the cursor rests on it for this long.
REST_S = 0.25


class Opener:
    """Renders one trajectory at a time, always the one requested last.

    Args:
        opened: called with each result; of a long trajectory the beginning comes first.
        not_ready: called when the base has to be prepared before anything can be rendered.
    """

    def __init__(
        self,
        index: Index,
        renderer: Renderer,
        *,
        key_priority: KeyPriority,
        opened: Callable[[int, Rendered], None],
        not_ready: Callable[[], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._index = index
        self._renderer = renderer
        self._key_priority = key_priority
        self._opened = opened
        self._not_ready = not_ready
        self._wanted = -1
        self._since = 0.0
        self._done = -1
        self._whole = Background("sekft-render-long", self._render_long, failed=failed).start()
        self._quick = Background("sekft-render", self._render, failed=failed).start()

    def open(self, number: int) -> None:
        """Render trajectory ``number``; -1 = none."""
        self._wanted, self._since, self._done = number, time.monotonic(), -1
        self._quick.wake()

    def stop(self) -> None:
        self._quick.stop()
        self._whole.stop()

    def _render(self) -> float | None:
        number = self._wanted
        if number < 0 or number == self._done or number >= len(self._index):
            return None
        try:
            found = self._renderer.known(number)
            if found is None:
                with self._key_priority.waited_for():  # the first one loads the tokenizer
                    found = self._rendered(number)
        except NotReady:
            self._done = number
            self._not_ready()
            return 0
        self._done = number
        if found is not None:
            self._report(number, found)
        if found is None or not found.whole:
            self._whole.wake()
        return 0

    def _rendered(self, number: int) -> Rendered | None:
        if self._index.facts(number).characters > LONG:
            return self._renderer.beginning(number, self._index.trajectory)
        return self._renderer.render(number, self._index.trajectory)

    def _render_long(self) -> float | None:
        number = self._wanted
        if number < 0 or number >= len(self._index):
            return None
        if self._index.facts(number).characters <= LONG or self._renderer.known(number):
            return None
        rest = self._since + REST_S - time.monotonic()
        if rest > 0:
            return rest
        try:
            self._report(number, self._renderer.render(number, self._index.trajectory))
        except NotReady:
            self._not_ready()
        return 0

    def _report(self, number: int, found: Rendered) -> None:
        if number == self._wanted:
            self._opened(number, found)
