"""A data set for the screen: read, filtered, certified, searched and rendered on threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sekft_tui.library.certifier import Certifier
from sekft_tui.library.opener import Opener
from sekft_tui.library.reader import ListState, Reader
from sekft_tui.library.rendering import Rendered, Renderer
from sekft_tui.library.text_search import TextSearch
from sekft_tui.library.verdicts import dropped
from sekft_tui.process.workers import KeyPriority

if TYPE_CHECKING:
    from sekft_engine.sources import Facts, Index


class Listener(Protocol):
    """Receives news; each method is called on a thread of the library and only posts a message."""

    def listed(self) -> None: ...
    def certified(self) -> None: ...
    def searched(self) -> None: ...
    def opened(self, number: int, rendered: Rendered) -> None: ...
    def not_ready(self) -> None: ...
    def failed(self, error: Exception) -> None: ...


class Library:
    """One index with one base's tokenizer."""

    def __init__(
        self, index: Index, renderer: Renderer, listener: Listener, key_priority: KeyPriority
    ) -> None:
        self.index = index
        self.renderer = renderer
        self.text_search: TextSearch | None = None
        self._listener = listener
        self._key_priority = key_priority
        failed: Callable[[Exception], None] = listener.failed
        self.certifier = Certifier(
            index, renderer, key_priority=key_priority, changed=self._certified, failed=failed
        )
        self.reader = Reader(
            index, self.certifier, key_priority=key_priority, changed=self._listed, failed=failed
        )
        self.opener = Opener(
            index,
            renderer,
            key_priority=key_priority,
            opened=listener.opened,
            not_ready=listener.not_ready,
            failed=failed,
        )

    @property
    def listed(self) -> ListState:
        return self.reader.listed

    def facts(self, number: int) -> Facts | None:
        """The facts of a trajectory; None if the data set has shrunk since the list was made."""
        try:
            return self.index.facts(number)
        except IndexError:
            return None

    def dropped(self) -> dict[str, int]:
        """How many are dropped, by the reason, the most frequent first: what could not be read, and
        what certifying came to so far."""
        return dropped(self.index, self.certifier.verdicts)

    def search(self, needle: str) -> TextSearch | None:
        """Search for ``needle`` from now on; "" = for nothing."""
        if self.text_search is not None:
            self.text_search.stop()
        self.text_search = None
        if needle:
            self.text_search = TextSearch(
                self.index,
                needle.lower(),
                key_priority=self._key_priority,
                changed=self._listener.searched,
                failed=self._listener.failed,
            )
        return self.text_search

    def show(self, visible: bool) -> None:
        """Tell whether the list is on the screen; else nothing is watched, or certified unasked."""
        self.reader.visible = self.certifier.visible = visible
        if visible:
            self.reader.wake()
            self.certifier.wake()

    def ready(self) -> None:
        """The base is ready: start again what waits for it."""
        self.renderer.forget()
        self.certifier.retry()

    def close(self) -> None:
        self.search("")
        for thread in (self.reader, self.certifier, self.opener):
            thread.stop()

    def _listed(self) -> None:
        self.certifier.wake()
        self._listener.listed()

    def _certified(self) -> None:
        if self.reader.listed.waits:
            self.reader.wake()
        self._listener.certified()
