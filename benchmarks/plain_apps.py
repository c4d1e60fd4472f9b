"""What one would write first with Textual: the peers of benchmarks/tui.py.

minimal: a line of text, to be painted and no more.
list FILE: the ids in a .jsonl of trajectories, read by ``json.loads``, in an ``OptionList``.
log WORKSPACE BASE: the same training on the same engine in its thread, each event written to a
    ``RichLog`` as it comes; ``a`` changes the line below.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Footer, OptionList, RichLog, Static


class Minimal(App[None]):
    def compose(self) -> Iterator[Widget]:
        yield Static("ready")
        yield Footer()


class Listing(App[None]):
    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file = file

    def compose(self) -> Iterator[Widget]:
        with self.file.open("rb") as lines:
            yield OptionList(*(json.loads(line)["id"] for line in lines))


class Log(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("a", "say", "say")]

    def __init__(self, workspace: Path, base: str) -> None:
        super().__init__()
        self.workspace = workspace
        self.base = base
        self.said = 0

    def compose(self) -> Iterator[Widget]:
        yield RichLog()
        yield Static("", id="below")

    def on_mount(self) -> None:
        from sekft_engine.data.workspace import Workspace
        from sekft_engine.demo import RECIPE
        from sekft_engine.engine.engine import Engine
        from sekft_engine.records.events import Event
        from sekft_engine.records.jobs import Train

        engine = Engine(Workspace(self.workspace))
        log = self.query_one(RichLog)

        def heard(event: Event) -> None:
            self.call_from_thread(log.write, event)

        engine.start()
        engine.subscribe(heard)
        data = str(engine.workspace.trajectories) if engine.workspace else ""
        self.set_timer(
            0.1, lambda: engine.submit(Train(base=self.base, data=data, recipe=RECIPE)) and None
        )

    def action_say(self) -> None:
        self.said += 1
        self.query_one("#below", Static).update(f"said {self.said}")


def main(which: str, *words: str) -> None:
    if which == "minimal":
        Minimal().run()
    elif which == "list":
        Listing(Path(words[0])).run()
    else:
        Log(Path(words[0]), words[1]).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
