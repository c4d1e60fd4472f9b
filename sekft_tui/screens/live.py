"""What a screen over the panes may be, besides something to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from sekft_tui.reducer import Shared
    from sekft_tui.widgets.line_edit import Typist


@runtime_checkable
class Drawn(Protocol):
    """It shows what the engine does."""

    def draw(self, shared: Shared) -> None:
        """Called with the bridge's lock held, so it must be quick."""


@runtime_checkable
class TypedInto(Protocol):
    """One types at it."""

    @property
    def typist(self) -> Typist | None:
        """What takes the keys now; None = they are commands."""
