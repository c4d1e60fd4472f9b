"""Keys in their order: what one is bound to is done before the next is looked at."""

from __future__ import annotations

from abc import abstractmethod

from textual.app import App
from textual.events import Event, Key, Paste
from textual.widgets import Input

from sekft_tui.background import Courtesy
from sekft_tui.widgets.line_edit import Typist


class OrderedKeys(App[int]):
    """An app that runs bindings at once.

    Textual lets a key travel to the focused widget and back before it looks for bindings, so in a
    burst of keys (a slow link delivers them so) the second would arrive before the first had
    opened a prompt or moved the focus.
    """

    #: Work beside the screen gives way to keys.
    courtesy: Courtesy

    @abstractmethod
    def typist(self) -> Typist | None:
        """What is being typed into, if anything."""

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key) and not event.is_forwarded:
            self.courtesy.key()
            if await self._key(event):
                return
        if isinstance(event, Paste) and not event.is_forwarded and (typist := self.typist()):
            typist.type_text(event.text)
            return
        await super().on_event(event)

    async def _key(self, event: Key) -> bool:
        """Do what the key means; False = let Textual find out."""
        typist = self.typist()
        if typist is not None and typist.type_key(event.key, event.character):
            return True
        if isinstance(self.focused, Input):  # the command palette's
            return False
        if event.key == "escape" and self.screen.maximized is not None:
            return False
        bound = self.screen.active_bindings.get(event.key)
        if bound is None or not bound.enabled:
            return False
        return await self.run_action(bound.binding.action, bound.node)
