"""An app that reads keys by their place, and keeps an unexpected error for whoever runs it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from rich.console import RenderableType
from textual._compositor import ChopsUpdate
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.css.query import NoMatches
from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers.linux_driver import LinuxDriver
from textual.events import Key
from textual.geometry import Region
from textual.message import Message
from textual.messages import TerminalSupportsSynchronizedOutput
from textual.notifications import Notify, SeverityLevel
from textual.screen import Screen
from textual.worker import WorkerFailed

from sekft_tui.input.layouts import by_place, learn
from sekft_tui.process.flow import MAX_FRAMES, Flow
from sekft_tui.text import visible, visible_lines

#: Seconds between two looks whether the terminal can take the next frame.
HOLD_S = 0.03
#: The first part of a key's sequence: its code, that with shift, and that of the standard layout.
_KEY = re.compile(r"\x1b\[(\d+)(?::(\d*))?(?::(\d*))?((?:;[\d:]*)*)u")
#: Asks the terminal to report the standard layout's key, too.
_ALTERNATE_KEYS = linux_driver.KITTY_REPORT_ALTERNATE_KEYS
_PUSH_FLAGS = re.compile(r"\x1b\[>(\d+)u")


class PlacedKeysParser(XTermParser):
    """Reads keys that are pressed together with ctrl or alt by their place on the keyboard."""

    def _sequence_to_key_events(self, sequence: str, alt: bool = False) -> Iterable[Key]:
        try:
            return list(super()._sequence_to_key_events(placed(sequence), alt))
        except (ValueError, OverflowError):  # no key that Unicode knows
            return []


def placed(sequence: str) -> str:
    """The sequence of a key as Textual reads it: without alternate keys, and with that of the
    standard layout in place of a letter of another alphabet where a modifier is held."""
    found = _KEY.fullmatch(sequence)
    if found is None:
        return sequence
    letter = chr(int(found[1]))
    if found[3]:
        learn(letter, chr(int(found[3])))
    parts = found[4].split(";")[1:]
    modifiers = (int(parts[0].partition(":")[0] or 1) if parts else 1) - 1
    place = by_place(letter)
    if modifiers & 0b111110 and place is not None and place.isalpha():  # more than shift
        letter = place
    if parts:
        parts[0] = parts[0].partition(":")[0]
    return f"\x1b[{';'.join([str(ord(letter)), *parts])}u"


class PlacedKeysDriver(LinuxDriver):
    """Textual's driver with :class:`PlacedKeysParser` and a :class:`Flow`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.flow = Flow()
        #: Bytes that were written so far.
        self.written = 0

    def write(self, data: str) -> None:
        self.written += len(data.encode(errors="replace"))
        flags = _PUSH_FLAGS.fullmatch(data)
        super().write(f"\x1b[>{int(flags[1]) | _ALTERNATE_KEYS}u" if flags else data)

    @property
    def is_behind(self) -> bool:
        """Whether the terminal has yet to take what was written for it."""
        writer = self._writer_thread
        waiting = 0 if writer is None else writer._queue.qsize()  # noqa: SLF001
        return self.flow.is_behind or waiting > MAX_FRAMES

    def start_application_mode(self) -> None:
        self.flow.start()
        super().start_application_mode()  # type: ignore[no-untyped-call]

    def disable_input(self) -> None:
        self.flow.settle()
        super().disable_input()

    def process_message(self, message: Message) -> None:
        if isinstance(message, TerminalSupportsSynchronizedOutput) and self.flow.answered():
            return  # the app knows it since the first one
        super().process_message(message)

    def _run_input_thread(self) -> None:
        try:
            self.run_input_thread()
        except Exception as error:  # noqa: BLE001 - reported like one of the app
            self._app.call_later(self._app._handle_exception, error)  # noqa: SLF001

    def run_input_thread(self) -> None:
        # It makes its parser itself.
        vars(linux_driver)["XTermParser"] = PlacedKeysParser
        super().run_input_thread()


class GuardedApp(App[int]):
    """An app that ends at an unexpected error and keeps it, instead of printing its traceback."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        #: What ended the app; None = nothing unexpected.
        self.crash: Exception | None = None
        #: What has changed since frames wait for the line; the whole screen where it is None.
        self._held: set[Region] | None = set()

    def _display(self, screen: Screen[Any], renderable: RenderableType | None) -> None:
        """Write a frame, if the terminal has taken those before."""
        driver = self._driver
        if not isinstance(driver, PlacedKeysDriver) or renderable is None or self._batch_count:
            super()._display(screen, renderable)
        elif driver.is_behind:
            self._hold(renderable)
        else:
            before = driver.written
            super()._display(screen, renderable)
            size = driver.written - before
            if size and (question := driver.flow.sent(size)):
                driver.write(question)

    def _hold(self, renderable: RenderableType) -> None:
        if self._held == set():
            self.set_timer(HOLD_S, self._paint_held)
        if self._held is not None and isinstance(renderable, ChopsUpdate):
            self._held.update(Region(x, y, end - x, 1) for y, x, end in renderable.spans)
        else:
            self._held = None

    def _paint_held(self) -> None:
        driver = self._driver
        if not isinstance(driver, PlacedKeysDriver) or not self.screen_stack:
            return
        if driver.is_behind:
            self.set_timer(HOLD_S, self._paint_held)
            return
        held, self._held = self._held, set()
        self.screen.refresh(*(held or ()))

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,
    ) -> None:
        """Show a message over the screen. It may quote anything: nothing in it acts, and it is
        never read as markup."""
        del markup
        super().notify(
            "\n".join(visible_lines(message)),
            title=visible(title),
            severity=severity,
            timeout=timeout,
            markup=False,
        )

    def _on_notify(self, event: Notify) -> None:
        """One message that is said again takes the place of itself. Textual adds the new one."""
        new = event.notification
        for old in list(self._notifications):
            if (old.title, old.message, old.severity) == (new.title, new.message, new.severity):
                self._unnotify(old, refresh=False)

    def get_driver_class(self) -> type[Driver]:
        found = super().get_driver_class()
        return PlacedKeysDriver if found is LinuxDriver else found

    def _handle_exception(self, error: Exception) -> None:
        """Work in the background that failed is reported, and the app goes on. In tests, which have
        no terminal, it ends the app as any other error does."""
        cause = error.error if isinstance(error, WorkerFailed) else None
        if isinstance(cause, NoMatches) and "CommandPalette" in str(cause):
            return  # the palette was closed while it searched
        if isinstance(cause, Exception) and not self.is_headless:
            self.worker_failed(cause)
        else:
            super()._handle_exception(error)

    def worker_failed(self, error: Exception) -> None:
        """Tell the user that background work failed in a way that nobody foresaw."""
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self.crash = self.crash or self._exception
        self._close_messages_no_wait()

    def panic(self, *renderables: Any) -> None:
        del renderables  # of an error in the driver's thread, which is reported as any other
        self.crash = self.crash or self._exception or RuntimeError("the terminal was lost")
        self._close_messages_no_wait()
