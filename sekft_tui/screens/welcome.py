"""What an empty workspace offers: the demo, data from elsewhere, another workspace."""

from __future__ import annotations

from pathlib import Path

from textual.binding import Binding

from sekft_engine.data.workspace import Workspace
from sekft_tui.input.actions import same_key
from sekft_tui.screens.question import QuestionScreen
from sekft_tui.text import sentence, short_path


class WelcomeScreen(QuestionScreen):
    """Answers ``demo``, ``open demo``, ``data``, ``open``, ``leave`` or, to look around, ``""``.

    Args:
        workspace: the empty one.
        begun: what is said of a demo that was begun in it; "" = none was.
        demo: a demo that was made below it: opened in place of making another around it. None =
            there is none.
    """

    BINDINGS = [
        Binding("d", "demo", show=False),
        Binding("i", "answer('data')", show=False),
        Binding("o", "answer('open')", show=False),
        Binding("escape,enter", "answer('')", show=False),
        Binding("q", "answer('leave')", show=False),
        same_key("global.interrupt", "answer('leave')"),
    ]
    WIDTH = 72

    def __init__(
        self, workspace: Workspace, begun: str = "", demo: Workspace | None = None
    ) -> None:
        super().__init__()
        self._workspace = workspace
        self._begun = begun
        self._demo = demo

    def on_mount(self) -> None:
        is_made = self._workspace.config_path.exists()
        begun = f"{sentence(self._begun.partition(';')[0])}.\n" if self._begun else ""
        make = "go on making the demo" if begun else "make the demo"
        what = "There is nothing in" if is_made else "There is no workspace in"
        said = f"{what} {_named(self._workspace.root)} yet."
        demo = f"{make} here: a small model, worlds and sessions (minutes)"
        if self._demo is not None:
            said = f"{said}\nThe demo is here, in the folder {self._demo.root.name}."
            demo = "open the demo"
        self.ask(
            "an empty workspace" if is_made else "no workspace here",
            f"{said}\n{begun}A workspace holds base models, recorded sessions, worlds and runs.",
            (
                ("d", demo),
                ("i", "show sessions that are somewhere else (a folder or a file)"),
                ("o", "open another workspace"),
                ("esc", "look around"),
                ("q", "leave"),
            ),
        )

    def action_demo(self) -> None:
        self.action_answer("demo" if self._demo is None else "open demo")


def _named(root: Path) -> str:
    """The folder as it is named in a sentence."""
    return "this folder" if root == Path.cwd() else short_path(str(root))


def is_empty(workspace_bases: Path, trajectories: Path, runs: Path) -> bool:
    """Whether a workspace has neither bases nor sessions nor runs."""
    return not any(_has_something(folder) for folder in (workspace_bases, trajectories, runs))


def _has_something(folder: Path) -> bool:
    try:
        return any(not path.name.startswith(".") for path in folder.iterdir())
    except OSError:
        return False
