"""A data set as the screen uses it: read, filtered, certified, searched, rendered beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from sekft_tui.background import Courtesy
from sekft_tui.library.certifier import Certifier
from sekft_tui.library.finder import Finder
from sekft_tui.library.opener import Opener
from sekft_tui.library.reader import Listed, Reader
from sekft_tui.library.rendering import Rendered, Renderer

if TYPE_CHECKING:
    from sekft_engine.sources import Facts, Index


class Listener(Protocol):
    """Who is told; each method is called on threads of the library and only posts a message."""

    def listed(self) -> None: ...
    def certified(self) -> None: ...
    def searched(self) -> None: ...
    def opened(self, number: int, rendered: Rendered) -> None: ...
    def not_ready(self) -> None: ...
    def failed(self, error: Exception) -> None: ...


class Library:
    """One index with one base's tokenizer."""

    def __init__(
        self, index: Index, renderer: Renderer, listener: Listener, courtesy: Courtesy
    ) -> None:
        self.index = index
        self.renderer = renderer
        self.finder: Finder | None = None
        self._listener = listener
        self._courtesy = courtesy
        failed: Callable[[Exception], None] = listener.failed
        self.certifier = Certifier(
            index, renderer, courtesy=courtesy, changed=self._certified, failed=failed
        )
        self.reader = Reader(
            index, self.certifier, courtesy=courtesy, tell=self._listed, failed=failed
        )
        self.opener = Opener(
            index,
            renderer,
            opened=listener.opened,
            not_ready=listener.not_ready,
            failed=failed,
        )

    @property
    def listed(self) -> Listed:
        return self.reader.listed

    def facts(self, number: int) -> Facts | None:
        """None where the data set has shrunk under the list, which will hear of it."""
        try:
            return self.index.facts(number)
        except IndexError:
            return None

    def search(self, needle: str) -> Finder | None:
        """Look for ``needle`` from now on; '' = for nothing."""
        if self.finder is not None:
            self.finder.stop()
        self.finder = None
        if needle:
            self.finder = Finder(
                self.index,
                needle.lower(),
                courtesy=self._courtesy,
                changed=self._listener.searched,
                failed=self._listener.failed,
            )
        return self.finder

    def show(self, visible: bool) -> None:
        """Whether someone looks: else nothing is watched or certified unasked."""
        self.reader.visible = self.certifier.visible = visible
        if visible:
            self.reader.wake()
            self.certifier.wake()

    def ready(self) -> None:
        """The base is there: begin again with what waits for it."""
        self.renderer.forget()
        self.certifier.again()

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
