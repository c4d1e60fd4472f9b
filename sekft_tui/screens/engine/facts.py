"""``I``: the engine and what it holds and does, from every pane."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from textual import work

from sekft_engine.core import machine
from sekft_engine.core.errors import SekftError
from sekft_engine.records import jobs
from sekft_tui.input.actions import bindings, same_key
from sekft_tui.messages import RedrawPane
from sekft_tui.model.endings import name_of, release_of
from sekft_tui.model.job_text import engine_text, queued_text
from sekft_tui.process.bridge import loaded_by
from sekft_tui.process.workers import run_on_thread
from sekft_tui.screens.box import CLOSE, BoxScreen
from sekft_tui.screens.choose import Choice, ChooseScreen
from sekft_tui.text import (
    Parts,
    clip,
    duration,
    fit,
    memory_text,
    short_number,
    short_path,
    visible,
    wrapped,
)

if TYPE_CHECKING:
    from sekft_engine.engine.attached.remote import RemoteEngine
    from sekft_engine.records.runs import RunInfo
    from sekft_tui.model.reducer import Shared
    from sekft_tui.process.bridge import Bridge

#: Seconds between two looks at the memory.
_PAUSE = 2.0
#: The width of the names of facts.
NAMES = 11
_ELSEWHERE = "the engine's sessions, runs and episodes are in"
_WORDS = {
    "reading": "its history is being read",
    "silent": "without a sign of life",
    "lost": "not connected",
    "ended": "ended",
}


class EngineScreen(BoxScreen[None]):
    """One line for each fact.

    Args:
        bridge: the way to the engine.
        workspace: the folder that the engine works in.
        elsewhere: tells which run another process writes.
    """

    TITLE_TEXT = "engine"
    PLACE = "engine"
    BINDINGS = [*bindings("engine"), same_key("global.engine", "close")]
    HINTS = (("engine.drop", "drop an adapter"), CLOSE)

    def __init__(
        self, bridge: Bridge, workspace: Path, elsewhere: Callable[[], RunInfo | None]
    ) -> None:
        super().__init__()
        self._bridge = bridge
        self._elsewhere = elsewhere
        self._workspace = workspace
        self._memory = 0
        self._clients = 0
        self._server = ""

    def on_mount(self) -> None:
        self.post_message(RedrawPane())
        self._look()
        self.set_interval(_PAUSE, self._look)

    @work(exclusive=True, group="engine-status")
    async def _look(self) -> None:
        """Measure, on a thread: asking another process can take its time."""
        remote = self._bridge.remote
        self._memory, self._clients, self._server = await run_on_thread(lambda: _measured(remote))
        self.post_message(RedrawPane())

    def draw(self, shared: Shared) -> None:
        width = max(20, min(80, int(self.app.size.width * 0.96) - 6))
        facts = [*self._engine(width), *self._base(shared), *self._work(shared, width)]
        lines = (line for name, value in facts for line in _lines(name, value, width))
        self.put(tuple(_line(name, value, width) for name, value in lines))

    def _engine(self, width: int) -> Iterator[tuple[str, str]]:
        remote = self._bridge.remote
        if remote is None:
            yield "engine", f"in this workbench (process {os.getpid()}): it ends with it"
        else:
            said = remote.greeting
            since = time.strftime("%d %b %H:%M", time.localtime(said.started))
            yield "engine", f"process {said.pid} since {since}, {visible(said.engine)}"
            state = _WORDS.get(remote.state, "connected")
            if remote.state in _WORDS and remote.why:
                state = f"{state}: {visible(remote.why)}"
            yield from _lines("state", state, width)
        here = self._workspace.resolve()
        yield "workspace", visible(str(here)) if here == Path.cwd() else short_path(str(here))
        if remote is not None and (path := remote.where.socket_path):
            yield "socket", visible(path)
        if remote is not None and remote.where.is_away:
            there = visible(remote.greeting.workspace)
            text = f"{_ELSEWHERE} {there} and not on this machine; those here are of this workspace"
            yield from _lines("files", text, width)
        if self._clients:
            yield "clients", f"open connections: {self._clients}, with this workbench's"
        if self._memory:
            yield "memory", memory_text(self._memory, machine.memory_total())

    def _base(self, shared: Shared) -> Iterator[tuple[str, str]]:
        held, said = loaded_by(self._bridge.engine), shared.base
        if held is None or not held.base:
            yield "base", "none is loaded; the first job loads it"
            return
        precision = "4 bits" if held.quantised else held.dtype
        size = f", {short_number(said.parameters)} weights" if said is not None else ""
        loading = f", loaded in {duration(said.seconds)}" if said is not None else ""
        name = visible(Path(held.base).name)
        yield "base", f"{name} in {precision} on {visible(held.device)}{size}{loading}"
        for adapter, digest in held.adapters.items():
            called = held.called(adapter)
            active = ", active" if adapter == held.active else ""
            here = f", {visible(adapter)} on the base" if called != adapter else ""
            yield "adapter", f"{visible(called)} ({digest[:12]}{active}{here})"
        if self._server:
            yield "served", f"at {visible(self._server)}"

    def _work(self, shared: Shared, width: int) -> Iterator[tuple[str, str]]:
        job, other = shared.active, self._elsewhere()
        if job is None and other is not None:
            yield "job", f"none here; {visible(other.id)} is running in another process"
        elif job is None:
            yield "job", "none"
        else:
            spent = f", for {duration(time.time() - job.started)}" if job.started else ""
            detail = visible(job.progress.detail) if job.progress is not None else ""
            doing = f"{engine_text(shared)[0]}{spent}" + (f": {detail}" if detail else "")
            yield from _lines("job", doing, width)
        held = loaded_by(self._bridge.engine)
        for waiting in shared.queue.waiting if shared.queue is not None else ():
            why = f"held: {release_of(1)}" if waiting.held else "waits"
            what = queued_text(waiting, held, active=False)
            yield "waiting", f"{visible(name_of(waiting.kind))} {what} ({why})"

    def action_drop(self) -> None:
        """Ask which adapter is to leave the base. Its files stay."""
        held = loaded_by(self._bridge.engine)
        if held is None or not held.adapters:
            self.notify("no adapter is on the base")
            return
        choices = tuple(
            Choice(name, held.called(name), f"{digest[:12]}{', active' * (name == held.active)}")
            for name, digest in held.adapters.items()
        )
        title = "drop which adapter? its files stay"
        self.app.push_screen(ChooseScreen(title, choices, held.active or ""), self._drop)

    def _drop(self, name: str | None) -> None:
        if name is not None:
            self._bridge.submit(jobs.Drop(name=name))


def _measured(remote: RemoteEngine | None) -> tuple[int, int, str]:
    """Bytes of the engine's process, and its clients; 0 = unknown. The address at which its base is
    served; empty = nowhere."""
    if remote is None:
        return machine.memory_used(), 0, ""
    try:
        with remote.where.connect() as client:
            said = client.call("status")
            clients = int(said["clients"])
            server = str((said["resident"] or {}).get("server") or "")
    except (SekftError, KeyError, TypeError, ValueError, AttributeError):
        return 0, 0, ""
    here = not remote.where.is_away
    # Asking is being a client for a moment.
    memory = machine.process_memory(remote.greeting.pid) if here else 0
    return memory, max(0, clients - 1), server


def _lines(name: str, value: str, width: int) -> Iterator[tuple[str, str]]:
    """A fact that may need several lines."""
    for number, line in enumerate(wrapped(value, width - NAMES)):
        yield "" if number else name, line


def _line(name: str, value: str, width: int) -> Parts:
    return ((fit(name, NAMES), "quiet"), (clip(value, width - NAMES), "text"))
