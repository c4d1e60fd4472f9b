"""Keys in their order: the action of a key is done before the next key is handled."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable

from textual import on
from textual.events import Event, Key, Paste
from textual.keys import _character_to_key
from textual.widget import AwaitMount
from textual.widgets import Input

from sekft_tui.input.actions import of
from sekft_tui.input.layouts import by_place
from sekft_tui.messages import Request
from sekft_tui.process.guarded_app import GuardedApp
from sekft_tui.process.workers import KeyPriority, Later
from sekft_tui.widgets.line_edit import TypingTarget

#: The id of the key that always acts at once.
LEAVES = "global.interrupt"


class OrderedKeys(GuardedApp):
    """An app that runs bindings at once.

    Textual lets a key travel to the focused widget and back before it looks for bindings, so in a
    burst of keys (a slow link delivers them so) the second would arrive before the first had
    opened a prompt or moved the focus.
    """

    #: Tells background work when to pause for keys.
    key_priority: KeyPriority

    def __init__(self) -> None:
        super().__init__()
        self._expected: set[Request] = set()
        self._waiting: list[Key | Paste] = []
        self._reading = 0  # how many screens are to open once something was read

    def expect(self, request: Request) -> None:
        """``request`` is on its way here: keys wait until it is done."""
        self._expected.add(request)

    @on(Request)
    async def _request_done(self, request: Request) -> None:
        """Runs after the app's own handler of ``request``, which is that of a subclass."""
        self._expected.discard(request)
        if self._waiting and not self._expected:
            await self.on_event(self._waiting.pop(0))
        if self._waiting and not self._expected:  # one at a time: what it calls comes before those
            following = Request()
            self.expect(following)
            self.post_message(following)

    def open_after(self, work: Awaitable[None]) -> None:
        """Do ``work``, which reads something and then opens a screen, beside everything else. Keys
        pressed meanwhile wait for that screen, except the one that leaves."""
        request = Request()
        self.expect(request)
        self._reading += 1

        async def first() -> None:
            try:
                await work
            finally:
                self._reading -= 1
                self.post_message(request)

        self.run_worker(Later(first), group="opening")

    def _overtakes(self, event: Key | Paste) -> bool:
        """Whether this is the key that leaves, while a screen is about to open."""
        if not self._reading or not isinstance(event, Key):
            return False
        return any(key.id == LEAVES and event.key in key.keys for key in of("global"))

    async def _screen_is_there(self) -> None:
        """Wait until a screen that is being opened has what its keys act on."""
        screen = self.screen
        if not screen.is_mounted:
            await AwaitMount(screen, (screen,))

    @abstractmethod
    def typing_target(self) -> TypingTarget | None:
        """What text is being typed into; None = nothing."""

    def key_done(self) -> None:
        """A key has done what it does: what the keys do may be something else now."""

    @property
    def is_leaving(self) -> bool:
        """Whether the app has been told to end: its panes may be gone already."""
        return self.return_code is not None or not self.screen_stack

    async def on_event(self, event: Event) -> None:
        if isinstance(event, Key | Paste) and self.is_leaving:
            return
        if isinstance(event, Key | Paste) and not event.is_forwarded:
            if self._expected and not self._overtakes(event):
                self._waiting.append(event)
                return
            await self._screen_is_there()
        if isinstance(event, Key) and not event.is_forwarded:
            self.key_priority.key_pressed()
            if await self._key(event):
                self.key_done()
                return
        if isinstance(event, Paste) and not event.is_forwarded and (target := self.typing_target()):
            target.type_text(event.text)
            self.key_done()
            return
        await super().on_event(event)

    async def _key(self, event: Key) -> bool:
        """Run the key's action; False = leave the key to Textual."""
        target = self.typing_target()
        if target is not None and target.type_key(event.key, event.character):
            return True
        if isinstance(self.focused, Input):  # the command palette's
            return False
        if event.key == "escape" and self.screen.maximized is not None:
            return False
        bindings = self.screen.active_bindings
        # On a keyboard of another alphabet, the key at the place of the letter.
        place = by_place(event.key)
        bound = bindings.get(event.key) or bindings.get(_character_to_key(place) if place else "")
        if bound is None or not bound.enabled:
            return False
        return await self.run_action(bound.binding.action, bound.node)
