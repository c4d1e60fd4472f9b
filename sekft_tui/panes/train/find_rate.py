"""The loss over learning rates from far too low to far too high, and the one to take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import numpy as np
from textual.app import ComposeResult
from textual.containers import Vertical

from sekft_engine.core.errors import BadInput
from sekft_engine.records import jobs
from sekft_tui.input.actions import bindings, key_for, same_key
from sekft_tui.input.footer import hints
from sekft_tui.messages import RedrawPane
from sekft_tui.model.job_text import labelled
from sekft_tui.model.rate_search import RateView
from sekft_tui.screens.box import CANCEL, BoxScreen
from sekft_tui.text import Parts, bar, clip, wrapped
from sekft_tui.widgets.chart import Chart
from sekft_tui.widgets.chart.plot import Board, Flag, Line, Plot
from sekft_tui.widgets.chart.view import View
from sekft_tui.widgets.lines import Lines

if TYPE_CHECKING:
    from sekft_tui.host import Host
    from sekft_tui.model.reducer import JobView, Shared
    from sekft_tui.panes.train.recipe import RecipePart
    from sekft_tui.process.bridge import Bridge

#: The default steps of a search, and the fewest that are useful.
STEPS, LEAST = 60, 10
#: Losses are drawn up to this share of the bare base's; higher ones would flatten the curve.
HIGHEST = 1.5


def find(host: Host, form: jobs.Train, left: RecipePart) -> None:
    """Show the running search, or one whose result was not looked at yet; else start one."""

    def taken(rate: float | None) -> None:
        if rate is not None:
            left.put("lr", f"{rate:g}")
            host.note(f"lr {rate:g} is in the form; {key_for('train.start')} starts a run")

    def chosen(text: str) -> None:
        steps = int(text) if text.strip().isdecimal() else 0
        if steps < LEAST:
            raise BadInput(f"enter a whole number of at least {LEAST}")
        recipe = msgspec.structs.replace(form.recipe, max_steps=steps)
        job = host.bridge.submit(
            jobs.FindRate(
                base=form.base,
                data=form.data,
                hub=form.hub,
                recipe=recipe,
                load_4bit=form.load_4bit,
                device=form.device,
            )
        )
        host.push_screen(FindRateScreen(host.bridge, job), taken)

    def checked(text: str) -> None:
        if text.strip() and not text.strip().isdecimal():
            raise BadInput(f"enter a whole number of at least {LEAST}")

    with host.bridge.shared() as shared:
        pending = next((job for job in shared.jobs.values() if _is_open(job, shared)), None)
    if pending is not None:
        host.push_screen(FindRateScreen(host.bridge, pending.id), taken)
    else:
        host.prompt.ask(
            "steps",
            chosen,
            value=str(STEPS),
            hint="the rate grows with each step; more steps are finer",
            changed=checked,
            number=True,
        )


def _is_open(job: JobView, shared: Shared) -> bool:
    """Whether the job is a search that runs, or whose result was not looked at yet."""
    unseen = job.status == "done" and shared.rate.job == job.id and not shared.rate.seen
    return job.kind == "find_rate" and (job.active or unseen)


class FindRateScreen(BoxScreen[float]):
    """The growing curve; Enter answers with the suggested rate, or the one at the cursor."""

    DEFAULT_CSS = """
    FindRateScreen #box { width: 100; height: 94%; }
    FindRateScreen #rate-says { height: 2; }
    FindRateScreen Chart { height: 1fr; background: $surface; }
    """
    PLACE = "rate"
    BINDINGS = [
        *bindings("rate"),
        same_key("train.find-rate", "close"),
        same_key("global.interrupt", "stop"),
    ]

    def __init__(self, bridge: Bridge, job: str) -> None:
        super().__init__()
        self._bridge = bridge
        self._job_id = job
        self._job: JobView | None = None
        self.view = RateView()

    def compose(self) -> ComposeResult:
        self.text = Lines(self._text, id="rate-says")
        self.chart = Chart(self._board, id="rate-chart")
        self.chart.can_focus = False
        self.chart.view = View(metric="rate", axis="rate")
        self.foot = Lines(self._foot, classes="foot")
        box = Vertical(self.text, self.chart, self.foot, id="box")
        box.border_title = "find a learning rate"
        yield box

    def on_mount(self) -> None:
        self.post_message(RedrawPane())

    def draw(self, shared: Shared) -> None:
        self._job = shared.jobs.get(self._job_id)
        if shared.rate.job == self._job_id:
            self.view = shared.rate
            self.view.seen = self.view.seen or bool(self.view.found)
        self.chart.hint = self._hint()
        self.chart.draw()
        self.text.update()
        self.foot.update()

    # --- what is said -----------------------------------------------------------------------

    def _hint(self) -> str:
        job = self._job
        if job is None or job.status == "queued":
            return "waiting for the job before it"
        if job.status == "failed":
            return "\n".join(wrapped(f"✗ {job.error}", max(20, self.chart.size.width - 14)))
        if job.progress is None:
            return "preparing" if job.active else "stopped before a rate was found"
        return f"{labelled(job.progress)}"

    def _text(self, width: int) -> tuple[Parts, ...]:
        job, view = self._job, self.view
        about = clip(" a throwaway adapter is trained at a rising learning rate", width)
        if job is not None and job.status == "failed":
            rows = wrapped(f"✗ {job.error}", max(20, width - 2))
            second = clip(" ".join(rows[1:]), width - 2)
            return ((f" {rows[0]}", "bad"),), ((f" {second}", "bad"),)
        if view.found:
            found = f" {view.found:g}"
            why = " is suggested: a tenth of the rate at which the loss was lowest"
            least = float(np.nanmin(view.rows()[3]))
            fell = clip(f" it fell to {least:.0%} of the base model's loss on the data", width)
            return ((found, "good"), (clip(why, width - len(found)), "text")), ((fell, "quiet"),)
        if job is not None and not job.active:
            return ((" stopped before a rate was found", "warn"),), ()
        if not len(view):
            return (), ((about, "quiet"),)
        done, total = view.step, view.steps
        tail = f" step {done} of at most {total}, rate {10 ** view.rows()[1, -1]:.1e} "
        filled, empty = bar(done / total, max(0, min(40, width - len(tail) - 1)))
        line = ((" ", ""), (filled, "accent"), (empty, "rule"), (tail, "text"))
        return line, ((about, "quiet"),)

    def _foot(self, width: int) -> tuple[Parts, ...]:
        del width
        wanted: list[tuple[str, str]] = []
        if self.rate:
            wanted.append(("rate.take", f"take {self.rate:g}"))
        if len(self.view):
            wanted.append(("rate.cursor-back rate.cursor", "read the curve"))
        if self._job is not None and self._job.active:
            wanted += [("rate.stop", "stop"), ("box.close", "close (keeps running)")]
        else:
            wanted.append(CANCEL)
        return (hints(wanted),)

    def _board(self, view: View) -> Board:
        del view
        return board(self.view)

    @property
    def rate(self) -> float:
        """The rate at the cursor, else the suggested one; 0 = none."""
        cursor = self.chart.view.cursor
        if not cursor:
            return self.view.found
        return float(f"{10 ** self.chart.board.place(cursor):.1e}")

    # --- keys -------------------------------------------------------------------------------

    def action_cursor(self, by: int) -> None:
        self.chart.move_cursor(by)
        self.foot.update()

    def action_take(self) -> None:
        if self.rate:
            self.dismiss(self.rate)

    def action_stop(self) -> None:
        if self._job is not None and self._job.active:
            self._bridge.engine.cancel(self._job_id)


def board(view: RateView) -> Board:
    """The loss as a share of the bare base's over the logarithm of the rate."""
    if not len(view):
        return Board(axis="rate")
    steps, places, share, smooth = view.rows()
    line = Line(
        places, np.minimum(smooth, HIGHEST), "curve", "smoothed", np.minimum(share, HIGHEST)
    )
    flags = []
    if view.found:
        lowest = int(np.nanargmin(smooth))
        flags = [
            Flag(float(places[lowest]), "◆", "curve-heldout", "lowest"),
            Flag(float(np.log10(view.found)), "▲", "good", "suggested"),
        ]
    plot = Plot(
        "rate", "loss", "as a share of the bare base's", lines=(line,), can_log=False, decimals=4
    )
    return Board(
        plots=(plot,),
        axis="rate",
        steps=steps,
        places=places,
        last=float(places[-1]),
        flags=tuple(flags),
    )
