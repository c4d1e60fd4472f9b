"""What the app does for a screen that has these methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from sekft_engine.records.events import Event
    from sekft_tui.model.reducer import Shared
    from sekft_tui.widgets.line_edit import TypingTarget


@runtime_checkable
class DrawsState(Protocol):
    """A screen that shows the shared state."""

    def draw(self, shared: Shared) -> None:
        """Draw ``shared``; the bridge's lock is held meanwhile, so this must be quick. It is called
        once the screen is mounted; one that has something to show by then posts ``RedrawPane``."""


@runtime_checkable
class HearsEngine(Protocol):
    """A screen that reacts to events of the engine, and does not only draw what follows."""

    def engine_event(self, event: Event) -> None:
        """One of the bridge's rare events arrived."""


@runtime_checkable
class HasTypingTarget(Protocol):
    """A screen with something to type into."""

    @property
    def typing_target(self) -> TypingTarget | None:
        """What the keys are typed into now; None = they are commands."""
