"""What the library's threads tell the pane. Each folds into one where many come at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.message import Message
from textual.message_pump import MessagePump

from sekft_tui.library import Rendered

if TYPE_CHECKING:
    from sekft_engine.sources import Index


class News(Message):
    """There is more to draw."""

    def can_replace(self, message: Message) -> bool:
        return type(message) is type(self)


class Grew(News):
    """The list is longer, or filtered further."""


class Certified(News):
    """More trajectories are certified."""


class Searched(News):
    """More trajectories are searched."""


class NotReady(News):
    """The base has to be made ready before anything can be rendered."""


class Opened(Message):
    """A trajectory is rendered, or its beginning is."""

    def __init__(self, source: object, number: int, rendered: Rendered) -> None:
        super().__init__()
        self.source = source
        self.number = number
        self.rendered = rendered


class Ready(Message):
    """The index of the data set is open, or why it is not."""

    def __init__(self, index: Index | None, error: str = "") -> None:
        super().__init__()
        self.index = index
        self.error = error


class Failed(Message):
    """A thread met something unexpected."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Post:
    """The library's :class:`Listener` that posts to a widget; any thread may call it."""

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
