"""What all panes have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from textual.containers import Container, Vertical
from textual.widget import Widget

from sekft_engine.records.jobs import kind_of
from sekft_tui.host import Host
from sekft_tui.input.actions import key_for
from sekft_tui.input.footer import FooterState
from sekft_tui.input.places import Place
from sekft_tui.messages import RedrawPane, Request
from sekft_tui.model.endings import name_of
from sekft_tui.model.job_text import engine_run
from sekft_tui.process.elsewhere import running_elsewhere
from sekft_tui.process.exporting import Writer
from sekft_tui.screens.start import StartScreen
from sekft_tui.text import sentence, visible
from sekft_tui.widgets.line_view import LineView
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_engine.records.events import Event
    from sekft_engine.records.jobs import Job
    from sekft_tui.model.job_size import JobSize
    from sekft_tui.model.reducer import JobView, Shared


#: The name under which it is remembered what a pane shows.
_SHOWN = "shown in {}"
#: Seconds within which another start is a slip.
_TWICE = 1.0


class Part(Vertical):
    """A titled part of a pane; its title is highlighted while the focus is inside."""

    DEFAULT_CSS = """
    Part { height: 1fr; width: 1fr; }
    Part > .head { background: $panel; height: 1; }
    Part:focus-within { width: 1fr; }  /* Textual restyles what has such a rule itself */
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
        self._started: tuple[type[Job] | None, float] = (None, 0.0)
        #: What :meth:`kept` returned in the session before.
        self.before = host.remembered.form(_SHOWN.format(self.place))

    @property
    def narrow(self) -> bool:
        """Whether the terminal has room for one part of the pane at a time."""
        return self.screen.has_class("-narrow")

    def request(self, message: Request) -> None:
        """Ask the app for something; keys pressed meanwhile wait until it is done."""
        if self.post_message(message):
            self.host.expect(message)

    def start(
        self,
        job: Job,
        started: Callable[[], None],
        size: JobSize | None = None,
        *,
        resumes: str = "",
    ) -> None:
        """Submit a job that takes long, say how large it is, and what it waits for; then call
        ``started``. Asks first where it may take very long, where a run is alive elsewhere, or
        where it would load a base that an engine in the background has or may load, too.
        Another of its kind within a moment is taken for a key that was pressed twice.

        Args:
            resumes: the run that the job goes on with; "" = it begins a new one.
        """
        (before, when), now = self._started, time.monotonic()
        self._started = (type(job), now)
        if before is type(job) and now - when < _TWICE:
            self.host.note("just started; press again to start another")
            return

        def submit() -> None:
            self._started = (type(job), time.monotonic())
            with self.host.bridge.shared() as shared:
                running, run = shared.active, engine_run(shared)
            self.host.bridge.submit(job)
            remote = self.host.bridge.remote
            if remote is None or remote.state != "ended":  # else it was refused
                started()
                self._say_started(running, run, size)

        with self.host.bridge.shared() as shared:
            own, idle, loaded = shared.writing, not shared.active, shared.base is not None
        beside = self.host.engine_beside if idle else 0
        elsewhere = running_elsewhere(self.host.workspace.runs, own)
        twice = beside > 0 and not loaded
        if not (elsewhere or twice or (size is not None and size.is_asked)):
            submit()
            return
        facts = [f"{visible(run.id)} is running in another process, on the same machine."
                 for run in elsewhere]  # fmt: skip
        if beside:
            again = ["Here the base is loaded once more."] if twice else []
            facts = [f"An engine in the background (process {beside}) can do it.", *again, *facts]
        if size is not None:
            said = (size.warning, *size.lines) if size.warning else size.lines
            facts += map(sentence, said)
        kind = kind_of(job)
        title = f"start this {'training run' if kind == 'train' else kind}?"
        if resumes:
            title = f"resume {visible(resumes)}?"

        def answered(answer: str | None) -> None:
            if answer == "start":
                submit()
            elif answer == "give":
                self.host.join_engine(submit)
            else:
                self._started = (None, 0.0)

        verb = "resume" if resumes else "start"
        self.host.push_screen(StartScreen(title, facts, verb, engine=beside > 0), answered)

    def _say_started(self, running: JobView | None, run: str, size: JobSize | None) -> None:
        """Say what was started, or what it waits for.

        Args:
            running: the job that was at work before; None = there was none.
            run: its run; "" = it has none yet.
        """
        if running is not None:
            name = visible(run) or name_of(running.kind)
            self.host.note(f"queued behind {name} ({key_for('global.queue')} shows the queue)")
        elif size is not None and size.lines:
            said = "started: "
            self.host.note(said + size.summary(self.screen.size.width - len(said) - 2))

    def redraw(self) -> None:
        """Have the app draw this pane again, even if no event arrived."""
        self.post_message(RedrawPane())

    def draw(self, shared: Shared) -> None:
        """Draw ``shared``; the bridge's lock is held meanwhile, so this must be quick."""

    def engine_event(self, event: Event) -> None:
        """React to an event of the engine, one of :data:`sekft_tui.process.bridge.RARE`."""

    def reload(self) -> None:
        """Read from disk again."""

    def footer(self) -> FooterState:
        """What the pane's keys do now, where that is not what the table says."""
        return FooterState()

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

    def kept(self) -> dict[str, str]:
        """What is shown and how, for the next session; empty texts need not be kept."""
        return {}

    def remember(self) -> None:
        """Keep what is shown, if it has changed."""
        if self.is_mounted:
            kept = {name: value for name, value in self.kept().items() if value}
            self.host.remembered.keep_form(_SHOWN.format(self.place), kept)

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

    def export_name(self) -> str:
        """What the name of an exported file begins with."""
        return f"sekft-{self.place}"

    def exports(self) -> dict[str, Writer]:
        """What ``E`` can write besides text and a picture, by the ending of the file. The writers
        run on a thread, so that what they need of widgets is taken now."""
        return {}

    def ask_export(self) -> bool:
        """Ask for a file in a way of its own; False = the app asks."""
        return False

    def file(self) -> Path | None:
        """The file on disk that the cursor is on, for an editor; None = there is none."""
        return None
