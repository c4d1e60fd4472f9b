"""Changing the engine of a running workbench: when one has ended, and when one is handed over."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

from textual.screen import Screen

from sekft_engine.core.errors import SekftError, in_words
from sekft_engine.engine.attached.remote import RemoteEngine
from sekft_engine.engine.engine import Engine
from sekft_tui.host import Host
from sekft_tui.leaving import broken_off, ending_text
from sekft_tui.messages import EngineState
from sekft_tui.model.reducer import Shared
from sekft_tui.process.attachment import (
    Chosen,
    about,
    cannot_move_out,
    choose_engine,
    end,
    is_idle,
    move_out,
    start_again,
)
from sekft_tui.process.bridge import EngineLike
from sekft_tui.process.workers import Later, run_on_thread
from sekft_tui.screens.busy import BusyScreen
from sekft_tui.screens.engine.gone import EngineGoneScreen

Done = TypeVar("Done")


def handing_over(shared: Shared) -> str:
    """What a handover waits for."""
    return ending_text(shared) or "the engine in the background starts"


class App(Host, Protocol):
    """What is needed of the app."""

    unfit_engine: int

    @property
    def screen_stack(self) -> list[Screen[object]]: ...
    def action_reload(self) -> None: ...
    def redraw_pane(self) -> None: ...
    def leave(self) -> None: ...
    def use_base(self, base: str) -> None: ...


class EngineSwitch:
    """Does it for one app."""

    def __init__(self, app: App) -> None:
        self._app = app
        #: Whether an engine in the background is taking over.
        self.is_moving = False
        self._joining = False
        self._then: list[Callable[[], object]] = []

    def state_changed(self, message: EngineState) -> None:
        """The engine of another process has ended, or is there."""
        app, remote = self._app, self._app.bridge.remote
        if remote is None:
            return
        gone = next((one for one in app.screen_stack if isinstance(one, EngineGoneScreen)), None)
        if message.state == "ended" and gone is None:
            with app.bridge.shared() as shared:
                lost = broken_off(shared, remote.broken_off)
            screen = EngineGoneScreen(message.why, remote.never_begun, lost)
            app.push_screen(screen, self._go_on)
        elif message.state == "silent":
            app.note(message.why, 30)
        elif message.state == "live":
            if gone is not None:
                gone.dismiss("stay")
            app.note(about(remote), 10)
            app.action_reload()

    def join(self, then: Callable[[], object] | None = None) -> None:
        """Leave the engine of this process, which has nothing to do, for the one that is in the
        background of the workspace by now; then call ``then``.

        An engine that cannot do what this workbench is set to is not joined, and not tried again.
        """
        app, own = self._app, self._app.bridge.engine
        if then is not None:
            self._then.append(then)
        if app.bridge.remote is not None and not self.is_moving:  # it was joined a moment ago
            waiting, self._then = self._then, []
            for do in waiting:
                do()
            return
        if self._joining or self.is_moving:
            return
        self._joining = True
        beside = app.engine_beside

        def found(chosen: Chosen) -> None:
            self._joining = False
            waiting, self._then = self._then, []
            if not isinstance(chosen.engine, RemoteEngine):
                app.unfit_engine = beside
                say = app.error if waiting else app.note
                say(chosen.remark or "the engine in the background has ended")
                return
            if app.bridge.engine is not own or not is_idle(own):  # something has begun meanwhile
                chosen.engine.close(0.0)
            else:
                self._use(chosen.engine)
                app.use_base(chosen.base)
                self._in_background(partial(end, own), lambda _: None)
            for do in waiting:
                do()

        def failed() -> None:
            self._joining, self._then = False, []
            app.unfit_engine = beside

        self._in_background(partial(choose_engine, app.workspace, base=app.base), found, failed)

    def move_out(self, *, then_leave: bool) -> None:
        """Hand over from the engine of this process to one in the background, or join that one
        where there is one and nothing is to be handed over."""
        app = self._app
        if self.is_moving or self._joining:
            return
        if app.engine_beside and not then_leave and is_idle(app.bridge.engine):
            self.join()
            return
        if (refused := cannot_move_out(app.bridge.engine)) is not None:
            app.error(str(refused))
            app.note("the engine stays in this workbench", 10)
            return
        self._set_moving(True)
        busy = BusyScreen("handing over", handing_over)
        app.push_screen(busy, lambda answer: app.leave() if answer == "leave" else None)

        def moved(remote: RemoteEngine) -> None:
            self._set_moving(False)
            busy.over()
            self._use(remote)
            if then_leave:
                app.leave()

        def failed() -> None:
            self._set_moving(False)
            busy.over()
            engine = app.bridge.engine
            app.note("the engine stays in this workbench", 10)
            if isinstance(engine, Engine) and engine.ended:  # its jobs are offered again
                self._use(Engine(app.workspace))

        self._in_background(partial(move_out, app.bridge.engine), moved, failed)

    def _set_moving(self, moving: bool) -> None:
        self.is_moving = moving
        with self._app.bridge.shared() as shared:
            shared.handing_over = moving

    def _go_on(self, answer: str | None) -> None:
        app, remote = self._app, self._app.bridge.remote
        if answer == "leave":
            app.leave()
        elif answer == "resident" and remote is not None:
            app.note("starting an engine in the background …")
            self._in_background(partial(start_again, remote), lambda _: None)
        elif answer == "own" and remote is not None:
            remote.close(0.0)
            self._use(Engine(app.workspace))

    def _use(self, engine: EngineLike) -> None:
        """Show another engine from now on."""
        self._app.bridge.use(engine)
        engine.start()
        self._app.redraw_pane()

    def _in_background(
        self,
        do: Callable[[], Done],
        then: Callable[[Done], object],
        failed: Callable[[], object] = lambda: None,
    ) -> None:
        """Do something on a thread, and show its error."""

        async def work() -> None:
            try:
                done = await run_on_thread(do)
            except (SekftError, OSError) as error:
                self._app.error(in_words(error))
                failed()
            else:
                then(done)

        self._app.run_worker(Later(work), group="engine")
