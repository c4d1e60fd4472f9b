"""What all panes have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.containers import Container, Vertical
from textual.widget import Widget

from sekft_tui.actions import Place
from sekft_tui.widgets.line_view import LineView
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_engine.events import Event
    from sekft_tui.app import Workbench
    from sekft_tui.reducer import Shared


class Part(Vertical):
    """A titled part of a pane; its title is lit while the focus is inside."""

    DEFAULT_CSS = """
    Part { height: 1fr; width: 1fr; }
    Part > .head { background: $panel; height: 1; }
    Part:focus-within > .head { background: $cursor-background; }
    """

    def __init__(self, head: Lines, *content: Widget, id: str) -> None:  # noqa: A002
        head.add_class("head")
        super().__init__(head, *content, id=id)


class Pane(Container):
    """One tab. It draws the shared state when asked to, and never while hidden."""

    place: ClassVar[Place]

    DEFAULT_CSS = "Pane { height: 1fr; width: 1fr; }"

    @property
    def host(self) -> Workbench:
        return cast("Workbench", self.app)

    def draw(self, shared: Shared) -> None:
        """Show ``shared``; called with the bridge's lock held, so it must be quick."""

    def heard(self, event: Event) -> None:
        """A rare event."""

    def reload(self) -> None:
        """Read from disk again."""

    def first_focus(self) -> Widget | None:
        """Where the focus goes when the pane is shown."""
        return next((one for one in self.query(Widget) if isinstance(one, LineView)), None)

    def go_to(self, widget: Widget) -> None:
        """Move the focus at once: the next key may be here already."""
        self.screen.set_focus(widget)

    def is_on(self, widget: Widget) -> bool:
        return self.screen.focused is widget

    def shown(self) -> None:
        """The pane has come to the front."""

    def hidden(self) -> None:
        """Another pane has come to the front: stop every timer."""

    def plain(self) -> str:
        """The focused view's text."""
        focused = self.screen.focused
        return focused.plain() if isinstance(focused, LineView) else ""

    def copied(self) -> tuple[str, str]:
        """What ``y`` copies, and what to call it."""
        return self.place, self.plain()

    def whole(self) -> str:
        """What ``Y`` writes to a file."""
        return self.plain()


class FormPane(Pane):
    """A form, and beside it something to watch. A narrow terminal has room for one of them: the
    form, or with the class ``-no-form`` the other."""

    _watched: Widget | None = None  #: what is watched and had the focus last, not the form

    def watchable(self) -> tuple[Widget, ...]:
        """What can have the focus beside the form."""
        return ()

    def on_descendant_focus(self) -> None:
        self._watched = next((one for one in self.watchable() if self.is_on(one)), None)

    def on_resize(self) -> None:
        """Where one part alone has room now, it is the one that had the focus."""
        if self._watched is not None and self.host.pane == self.place:
            if self.host.narrow:
                self.add_class("-no-form")
            self.call_after_refresh(self._keep, self._watched)

    def _keep(self, widget: Widget) -> None:
        """Hand the focus back if being hidden for a moment has taken it."""
        if self.host.pane == self.place and self.screen.focused is None:
            self.go_to(widget)
