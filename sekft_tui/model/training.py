"""A training run, made of its events: curves, marks, figures. The panes draw nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, assert_never

import numpy as np

from sekft_engine.episodes.verdict import MEASURES
from sekft_engine.records import events
from sekft_engine.training.run.roofline import most_tokens_per_s
from sekft_tui.model.series import Floats, Series, Table

#: The numbers of each step; tokens and seconds are sums over all steps so far.
Column = Literal["step", "tokens", "trained", "seconds", "loss", "lr", "norm", "speed"]
COLUMNS: tuple[Column, ...] = (
    "step", "tokens", "trained", "seconds", "loss", "lr", "norm", "speed",
)  # fmt: skip
#: The numbers of the machine after a step.
MachineColumn = Literal["step", "busy", "bytes"]
MACHINE_COLUMNS: tuple[MachineColumn, ...] = ("step", "busy", "bytes")
#: The events that change a training run.
TrainEvent = (
    events.RowsReady
    | events.RunResumed
    | events.StepBegan
    | events.StepDone
    | events.HeldoutDone
    | events.RatesMeasured
    | events.SignSeen
    | events.AdapterSaved
    | events.BoundMeasured
    | events.MachineSeen
)

MarkKind = Literal["saved", "eval", "sign", "bad"]


class Mark(NamedTuple):
    """Something that happened at a step. ``bad``: a number is NaN or infinite."""

    step: int
    kind: MarkKind
    text: str


@dataclass
class TrainView:
    """One training run, live or from its journal."""

    job: str = ""
    run: str = ""
    path: str = ""
    about: dict[str, Any] = field(default_factory=dict)
    rows: events.RowsReady | None = None
    last: events.StepDone | None = None
    steps: Table = field(default_factory=lambda: Table(len(COLUMNS)))
    heldout: Series = field(default_factory=Series)
    rates: Table = field(default_factory=lambda: Table(2 + len(MEASURES)))
    machines: Table = field(default_factory=lambda: Table(len(MACHINE_COLUMNS)))
    marks: list[Mark] = field(default_factory=list)
    #: The batch in training, and the trajectories of all batches so far by id.
    batch: events.StepBegan | None = None
    known: dict[str, events.BatchRow] = field(default_factory=dict)
    batches: dict[int, tuple[str, ...]] = field(default_factory=dict)
    bound: events.BoundMeasured | None = None
    machine: events.MachineSeen | None = None
    adapter: str = ""
    saved_step: int = 0
    #: The step after which the run was resumed last; -1 = it never was.
    resumed_after: int = -1
    #: It is about to be resumed: after which of its steps is not known yet.
    resuming: bool = False
    _last_saved: events.StepDone | None = None

    # --- reading ----------------------------------------------------------------------------

    def column(self, name: Column) -> Floats:
        """One number of every step so far, shape (steps,)."""
        found: Floats = self.steps.rows()[COLUMNS.index(name)]
        return found

    @property
    def step(self) -> int:
        """The last step done."""
        steps = self.column("step")
        return int(steps[-1]) if len(steps) else 0

    def unsaved(self) -> tuple[int, float]:
        """The steps since the last save, and the seconds that they took."""
        steps = max(0, self.step - self.saved_step)
        if not steps:
            return 0, 0.0
        seconds = self.column("seconds")
        at = self.column("step").searchsorted(self.saved_step, side="right") - 1
        return steps, float(seconds[-1] - (seconds[at] if at >= 0 else 0.0))

    @property
    def total(self) -> int:
        """How many steps the run will have; 0 = not known yet."""
        if self.last is not None:
            return self.last.steps
        return self.rows.steps if self.rows is not None else 0

    def best_speed(self) -> float:
        """The most tokens per second that the machine could train on; 0 = not known."""
        rows, bound = self.rows, self.bound
        if rows is None or bound is None:
            return 0.0
        tokens, trained = rows.tokens, rows.trained_tokens
        return most_tokens_per_s(bound.rate, bound.layers, bound.head, tokens, trained)

    @property
    def newest_batch(self) -> int:
        """The newest step whose rows are known: the one in training, or the last one done."""
        batch = self.batch
        if batch is not None and (batch.step > self.step or not self.batches.get(self.step)):
            return batch.step
        return self.step

    def batch_of(self, step: int) -> list[events.BatchRow]:
        """The trajectories of a step; of some perhaps only the id is known."""
        if self.batch is not None and self.batch.step == step:
            return self.batch.batch
        none = events.BatchRow(id="", tokens=0, edges=[])
        return [
            self.known.get(name) or events.BatchRow(id=name, tokens=none.tokens, edges=none.edges)
            for name in self.batches.get(step, ())
        ]

    # --- events -----------------------------------------------------------------------------

    def apply(self, event: TrainEvent) -> None:
        """Change the view by what ``event`` says happened."""
        match event:
            case events.StepBegan():
                self.batch = event
                self.known.update((row.id, row) for row in event.batch)
            case events.StepDone():
                self._add_step(event)
            case events.MachineSeen():
                self._add_machine(event)
            case events.RowsReady():
                self.rows = event
            case events.RunResumed():
                self.resumed_after, self.resuming = event.step, False
                self._cut(event.step)
            case events.HeldoutDone():
                self.heldout.append(event.step, event.loss)
                if not math.isfinite(event.loss):
                    self._mark(event.step, "bad", "held-out loss is not finite")
            case events.RatesMeasured():
                self._add_rates(event)
            case events.SignSeen():
                kind: MarkKind = "sign" if math.isfinite(event.value) else "bad"
                self._mark(event.step, kind, event.sign)
            case events.AdapterSaved():
                self.adapter, self.saved_step = event.path, event.step
                self._last_saved = self.last
                self._mark(event.step, "saved", "checkpoint")
            case events.BoundMeasured():
                self.bound = event
            case _:
                assert_never(event)

    def _add_step(self, event: events.StepDone) -> None:
        before = self.steps.rows()
        at = int(np.searchsorted(before[0], event.step)) - 1
        tokens, trained, seconds = before[1:4, at] if at >= 0 else (0.0, 0.0, 0.0)
        self.last = event
        self.batches[event.step] = tuple(event.rows)
        self.steps.add(
            (
                event.step,
                tokens + event.tokens,
                trained + event.trained_tokens,
                seconds + (event.seconds if 0 <= event.seconds < math.inf else 0.0),
                event.loss,
                event.lr,
                event.grad_norm,
                event.tokens_per_s,
            )
        )
        for name, value in (("loss", event.loss), ("gradient", event.grad_norm)):
            if not math.isfinite(value):
                self._mark(event.step, "bad", f"{name} is not finite")
                break

    def _add_rates(self, event: events.RatesMeasured) -> None:
        counts = [float(getattr(event, name)) for name in MEASURES]
        share = [count / event.n if event.n else math.nan for count in counts]
        self.rates.add((event.step, event.n, *share))
        self._mark(event.step, "eval", f"tried in {event.n} worlds")

    def _add_machine(self, event: events.MachineSeen) -> None:
        self.machine = event
        gpu = event.gpu
        busy = gpu.busy if gpu is not None else event.cpu
        self.machines.add((self.step, busy, event.cuda or event.rss))

    def _mark(self, step: int, kind: MarkKind, text: str) -> None:
        new = Mark(step, kind, text)
        if new not in self.marks[-8:]:
            self.marks.append(new)

    def _cut(self, after: int) -> None:
        """Forget all steps beyond ``after``: the resumed run does them again."""
        for table in (self.steps, self.heldout, self.rates, self.machines):
            table.cut(after)
        saved = self._last_saved
        if self.last is not None and self.last.step > after:
            self.last = saved if saved is not None and saved.step == after else None
        self.marks = [mark for mark in self.marks if mark.step <= after]
        self.batches = {step: rows for step, rows in self.batches.items() if step <= after}
        self.batch = None
