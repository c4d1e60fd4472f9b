"""Messages from the library's threads to the pane. Many of a kind that come at once make one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message
from textual.message_pump import MessagePump

from sekft_tui.library import Rendered

if TYPE_CHECKING:
    from sekft_engine.sources import Index


class News(Message):
    """Something changed that is drawn."""

    def can_replace(self, message: Message) -> bool:
        return type(message) is type(self)


class Grew(News):
    """The list is longer, or filtered further."""


class Certified(News):
    """More trajectories are certified."""


class Searched(News):
    """More trajectories were searched."""


class NotReady(News):
    """The base has to be prepared before anything can be rendered."""


class Opened(Message):
    """A trajectory is rendered, or the beginning of it."""

    def __init__(self, source: object, number: int, rendered: Rendered) -> None:
        super().__init__()
        self.source = source
        self.number = number
        self.rendered = rendered


class Ready(Message):
    """The index of the data set is open, or ``error`` says why not."""

    def __init__(self, index: Index | None, error: str = "") -> None:
        super().__init__()
        self.index = index
        self.error = error


class Failed(Message):
    """A thread failed with an unexpected error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Post:
    """A :class:`Listener` that posts messages to a widget; any thread may call it."""

    def __init__(self, to: MessagePump) -> None:
        self._to = to

    def listed(self) -> None:
        self._to.post_message(Grew())

    def certified(self) -> None:
        self._to.post_message(Certified())

    def searched(self) -> None:
        self._to.post_message(Searched())

    def opened(self, number: int, rendered: Rendered) -> None:
        self._to.post_message(Opened(self, number, rendered))

    def not_ready(self) -> None:
        self._to.post_message(NotReady())

    def failed(self, error: Exception) -> None:
        self._to.post_message(Failed(error))
