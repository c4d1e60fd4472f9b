"""A training run as its events tell it: curves, marks, figures. The panes draw it, nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from sekft_engine import events
from sekft_engine.sft.bound import most_tokens_per_s
from sekft_tui.series import Floats, Series, Table

#: What is known of each step; tokens and seconds are those of all steps so far.
Column = Literal["step", "tokens", "trained", "seconds", "loss", "lr", "norm", "speed"]
COLUMNS: tuple[Column, ...] = (
    "step", "tokens", "trained", "seconds", "loss", "lr", "norm", "speed",
)  # fmt: skip
#: What is known of the machine after a step.
MachineColumn = Literal["step", "busy", "bytes"]
MACHINE_COLUMNS: tuple[MachineColumn, ...] = ("step", "busy", "bytes")
RATES = ("operates", "terminates", "verified", "clean_termination")

MarkKind = Literal["saved", "eval", "sign", "bad"]


class Mark(NamedTuple):
    """Something that happened at a step. ``bad``: a number that is none."""

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
    rates: Table = field(default_factory=lambda: Table(2 + len(RATES)))
    machines: Table = field(default_factory=lambda: Table(len(MACHINE_COLUMNS)))
    marks: list[Mark] = field(default_factory=list)
    #: The batch in training, and what was told of rows by earlier ones.
    batch: events.StepBegan | None = None
    known: dict[str, events.BatchRow] = field(default_factory=dict)
    batches: dict[int, tuple[str, ...]] = field(default_factory=dict)
    bound: events.BoundMeasured | None = None
    machine: events.MachineSeen | None = None
    adapter: str = ""
    saved_step: int = 0

    # --- reading ----------------------------------------------------------------------------

    def column(self, name: Column) -> Floats:
        """One number of every step so far."""
        found: Floats = self.steps.rows()[COLUMNS.index(name)]
        return found

    @property
    def step(self) -> int:
        """The last step done."""
        steps = self.column("step")
        return int(steps[-1]) if len(steps) else 0

    @property
    def total(self) -> int:
        """How many steps the run will have, as far as it is known."""
        if self.last is not None:
            return self.last.steps
        return self.rows.steps if self.rows is not None else 0

    @property
    def nan_step(self) -> int:
        """The first step with a number that is none; 0 = all are finite."""
        return next((mark.step for mark in self.marks if mark.kind == "bad"), 0)

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
        """The trajectories of a step, as far as they were told; of some perhaps only the name."""
        if self.batch is not None and self.batch.step == step:
            return self.batch.batch
        none = events.BatchRow(id="", tokens=0, edges=[])
        return [
            self.known.get(name) or events.BatchRow(id=name, tokens=none.tokens, edges=none.edges)
            for name in self.batches.get(step, ())
        ]

    # --- taking events in -------------------------------------------------------------------

    def began(self, event: events.StepBegan) -> None:
        self.batch = event
        self.known.update((row.id, row) for row in event.batch)

    def did(self, event: events.StepDone) -> None:
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
        wrong = [
            name
            for name, value in (("loss", event.loss), ("gradient", event.grad_norm))
            if not math.isfinite(value)
        ]
        if wrong:
            self.mark(event.step, "bad", f"{wrong[0]} is not finite")

    def measured(self, event: events.HeldoutDone) -> None:
        self.heldout.append(event.step, event.loss)
        if not math.isfinite(event.loss):
            self.mark(event.step, "bad", "held-out loss is not finite")

    def acted(self, event: events.RatesMeasured) -> None:
        """The adapter was tried in worlds."""
        counts = [float(getattr(event, name)) for name in RATES]
        share = [count / event.n if event.n else math.nan for count in counts]
        self.rates.add((event.step, event.n, *share))
        self.mark(event.step, "eval", f"tried in {event.n} worlds")

    def saved(self, event: events.AdapterSaved) -> None:
        self.adapter, self.saved_step = event.path, event.step
        self.mark(event.step, "saved", "checkpoint")

    def signed(self, event: events.SignSeen) -> None:
        """Something happened that a person should know of."""
        kind: MarkKind = "sign" if math.isfinite(event.value) else "bad"
        self.mark(event.step, kind, event.sign)

    def seen(self, event: events.MachineSeen) -> None:
        self.machine = event
        gpu = event.gpu
        busy = gpu.busy if gpu is not None else event.cpu
        self.machines.add((self.step, busy, event.cuda or event.rss))

    def mark(self, step: int, kind: MarkKind, text: str) -> None:
        new = Mark(step, kind, text)
        if new not in self.marks[-8:]:
            self.marks.append(new)

    def went_on(self, after: int) -> None:
        """The run goes on after a step: what was told of later ones happens anew."""
        for table in (self.steps, self.heldout, self.rates, self.machines):
            table.cut(after)
        self.marks = [mark for mark in self.marks if mark.step <= after]
        self.batches = {step: rows for step, rows in self.batches.items() if step <= after}
        self.batch = None
