"""What all panes have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.containers import Container, Vertical
from textual.widget import Widget

from sekft_tui.host import Host
from sekft_tui.input.actions import Place
from sekft_tui.messages import RedrawPane, Request
from sekft_tui.widgets.line_view import LineView
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_engine.records.events import Event
    from sekft_tui.model.reducer import Shared


class Part(Vertical):
    """A titled part of a pane; its title is highlighted while the focus is inside."""

    DEFAULT_CSS = """
    Part { height: 1fr; width: 1fr; }
    Part > .head { background: $panel; height: 1; }
    Part:focus-within > .head { background: $cursor-background; }
    """

    def __init__(self, head: Lines, *content: Widget, id: str) -> None:  # noqa: A002
        head.add_class("head")
        super().__init__(head, *content, id=id)


class Pane(Container):
    """One tab. It draws the shared state when the app tells it to, never while hidden."""

    place: ClassVar[Place]

    DEFAULT_CSS = "Pane { height: 1fr; width: 1fr; }"

    def __init__(self, host: Host) -> None:
        super().__init__(id=self.place)
        self.host = host

    @property
    def narrow(self) -> bool:
        """Whether the terminal has room for one part of the pane at a time."""
        return self.screen.has_class("-narrow")

    def request(self, message: Request) -> None:
        """Ask the app for something; keys pressed meanwhile wait until it is done."""
        if self.post_message(message):
            self.host.expect(message)

    def redraw(self) -> None:
        """Have the app draw this pane again, even if no event arrived."""
        self.post_message(RedrawPane())

    def draw(self, shared: Shared) -> None:
        """Draw ``shared``; the bridge's lock is held meanwhile, so this must be quick."""

    def engine_event(self, event: Event) -> None:
        """React to an event of the engine, one of :data:`sekft_tui.process.bridge.RARE`."""

    def reload(self) -> None:
        """Read from disk again."""

    def first_focus(self) -> Widget | None:
        """The widget that gets the focus when the pane is shown."""
        return next((view for view in self.query(Widget) if isinstance(view, LineView)), None)

    def go_to(self, widget: Widget) -> None:
        """Move the focus at once: the next key may be here already."""
        self.screen.set_focus(widget)

    def is_on(self, widget: Widget) -> bool:
        return self.screen.focused is widget

    def shown(self) -> None:
        """The pane is visible now."""

    def hidden(self) -> None:
        """Another pane is visible now: stop every timer."""

    def plain(self) -> str:
        """The focused view's text."""
        focused = self.screen.focused
        return focused.plain() if isinstance(focused, LineView) else ""

    def copied(self) -> tuple[str, str]:
        """What ``y`` copies: a name for it, and the text."""
        return self.place, self.plain()

    def whole(self) -> str:
        """The text that ``Y`` writes to a file."""
        return self.plain()
