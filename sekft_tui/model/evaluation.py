"""An eval, made of its events: cells, and tallies that each event brings up to date.

There may be thousands of cells: nothing here, and nothing that draws them, visits all of them for
one event.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal, assert_never

from sekft_engine.episodes.verdict import KINDS, MEASURES, fulfils
from sekft_engine.evaluation.statistics.intervals import wilson_clustered
from sekft_engine.evaluation.statistics.paired import Comparison, compare, settled
from sekft_engine.records import events

CellStatus = Literal["waiting", "running", "done"]
#: The events that change an eval.
EvalEvent = events.EvalStarted | events.EpisodeStarted | events.TurnDone | events.EpisodeDone


@dataclass
class Cell:
    """One episode of the verdict grid."""

    status: CellStatus = "waiting"
    turns: int = 0
    seconds: float = 0.0
    verdict: events.EpisodeDone | None = None
    turn_events: list[events.TurnDone] = field(default_factory=list)


@dataclass
class Tally:
    """Sums over the episodes of one subject.

    ``n`` finished episodes count, ``invalid`` do not. ``first`` and ``last`` are the times at which
    its first episode began and its last ended, in seconds since the epoch. ``turns`` are those of
    all episodes, ``judged_turns`` those of finished ones. ``worlds`` holds, for each world, the
    episodes that count, in all and by the terminal that is right there, and the successes by
    measure.
    """

    n: int = 0
    invalid: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*MEASURES, *KINDS), 0))
    terminals: Counter[str] = field(default_factory=Counter)
    first: float = 0.0
    last: float = 0.0
    turns: int = 0
    judged_turns: int = 0
    worlds: dict[str, Counter[str]] = field(default_factory=dict)
    _intervals: dict[str, tuple[float, float]] = field(default_factory=dict, compare=False)

    @property
    def done(self) -> int:
        return self.n + self.invalid

    def add(self, verdict: events.EpisodeDone, world: str, by: int = 1) -> None:
        self.judged_turns += by * verdict.turns
        if verdict.invalid:
            self.invalid += by
            return
        self.n += by
        here = self.worlds.setdefault(world, Counter())
        here["n"] += by
        here[verdict.expected] += by
        self.terminals[verdict.expected] += by
        for measure in self.counts:
            held = fulfils(verdict, measure) if measure in KINDS else getattr(verdict, measure)
            self.counts[measure] += by * bool(held)
            here[measure] += by * bool(held)
        self._intervals.clear()

    def of(self, measure: str) -> int:
        """In how many episodes the measure could be fulfilled: ``solved`` only in doable worlds."""
        return self.terminals[KINDS[measure].terminal] if measure in KINDS else self.n

    def interval(self, measure: str) -> tuple[float, float]:
        """The 95 % interval of a rate, clustered by world as in ``sekft eval``: several episodes in
        one world say less than as many worlds."""
        if measure not in self._intervals:
            worlds = self.worlds.values()
            counted = KINDS[measure].terminal if measure in KINDS else "n"
            self._intervals[measure] = wilson_clustered(
                [world[measure] for world in worlds], [world[counted] for world in worlds]
            )
        return self._intervals[measure]


@dataclass
class EvalView:
    """One eval run: scenarios by subjects, each scenario ``seeds`` times in a row.

    ``controls`` are the subjects behind which there is no model; they stand last.
    ``touched`` names the cells in the order in which they changed: only those need to be drawn
    again.
    """

    job: str = ""
    run: str = ""
    path: str = ""
    subjects: list[str] = field(default_factory=list)
    controls: list[str] = field(default_factory=list)
    scenarios: list[str] = field(default_factory=list)
    archetypes: list[str] = field(default_factory=list)
    cells: dict[tuple[str, str], Cell] = field(default_factory=dict)
    tallies: dict[str, Tally] = field(default_factory=dict)
    touched: list[tuple[str, str]] = field(default_factory=list)
    running: set[tuple[str, str]] = field(default_factory=set)
    #: How many episodes were running when the job ended.
    cut: int = 0
    seeds: int = 1
    until_decided: bool = False
    _at: float = 0.0  # the time of the newest event
    _world: dict[str, str] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """The subjects that are no controls."""
        return self.subjects[: len(self.subjects) - len(self.controls)]

    @property
    def total(self) -> int:
        return len(self.subjects) * len(self.scenarios)

    @property
    def done(self) -> int:
        return sum(tally.done for tally in self.tallies.values())

    @property
    def in_play(self) -> int:
        """How many episodes have no verdict yet, or got none before the job ended."""
        return len(self.running) + self.cut

    def cell(self, subject: str, scenario: str) -> Cell:
        return self.cells.setdefault((subject, scenario), Cell())

    def tally(self, subject: str) -> Tally:
        return self.tallies.setdefault(subject, Tally())

    # --- events -----------------------------------------------------------------------------

    def apply(self, event: EvalEvent) -> None:
        """Change the view by what ``event`` says happened."""
        if isinstance(event, events.EvalStarted) and self._at:
            self._pass_over(event.t - self._at)
        self._at = max(self._at, event.t)
        match event:
            case events.TurnDone():
                self._add_turn(event)
            case events.EpisodeStarted():
                self._start_episode(event)
            case events.EpisodeDone():
                self._add_verdict(event)
            case events.EvalStarted():
                self._start(event)
            case _:
                assert_never(event)

    def _pass_over(self, seconds: float) -> None:
        """So long nothing was at work, before an eval was resumed: it counts for no pace."""
        for tally in self.tallies.values():
            if tally.first:
                tally.first += max(0.0, seconds)
                tally.last += max(0.0, seconds)

    def _start(self, event: events.EvalStarted) -> None:
        self.cut = 0
        named = frozenset(event.controls)
        self.controls = [name for name in event.subjects if name in named]
        models = [name for name in event.subjects if name not in named]
        self.subjects = [*models, *self.controls]
        self.scenarios = list(event.scenarios)
        self.archetypes = list(event.archetypes)
        self.seeds, self.until_decided = max(1, event.seeds), event.until_decided
        self._world = {
            trial: self.scenarios[y - y % self.seeds] for y, trial in enumerate(self.scenarios)
        }

    def _start_episode(self, event: events.EpisodeStarted) -> None:
        key = event.subject, event.scenario
        self._uncount(key)
        self.cells[key] = Cell(status="running")
        self.touched.append(key)
        self.running.add(key)
        tally = self.tally(event.subject)
        tally.first = tally.first or event.t

    def _add_turn(self, event: events.TurnDone) -> None:
        cell = self.cell(event.subject, event.scenario)
        cell.turns = max(cell.turns, event.number + 1)
        cell.seconds = event.at
        cell.turn_events.append(event)
        self.tally(event.subject).turns += 1
        self.touched.append((event.subject, event.scenario))

    def _add_verdict(self, event: events.EpisodeDone) -> None:
        key = event.subject, event.scenario
        self._uncount(key)
        cell = self.cell(*key)
        cell.status, cell.verdict = "done", event
        cell.turns, cell.seconds = event.turns, event.seconds
        tally = self.tally(event.subject)
        tally.add(event, self.world_of(event.scenario))
        tally.last = event.t
        self.touched.append(key)
        self.running.discard(key)

    def stop(self) -> None:
        """The job is over: an episode without a verdict has to begin again."""
        self.cut += len(self.running)
        for key in self.running:
            self.cells[key] = Cell()
            self.touched.append(key)
        self.running.clear()

    def _uncount(self, key: tuple[str, str]) -> None:
        """An episode that is run again counts once."""
        before = self.cells.get(key)
        if before is not None and before.verdict is not None:
            self.tally(key[0]).add(before.verdict, self.world_of(key[1]), -1)

    def world_of(self, trial: str) -> str:
        """The world of an episode; several episodes may be in one world."""
        return self._world.get(trial, trial)

    # --- sums ------------------------------------------------------------------------------

    def eta(self, now: float) -> float | None:
        """Seconds that the rest will take at the pace so far; None = not known yet.

        Counted in turns, because many episodes run at once and the short ones end first. A model
        that has not begun is assumed to be as fast as the others are on average, and a control as
        the other controls: there is no model behind it, so it takes next to no time.
        """
        left = 0.0
        each: dict[bool, list[float]] = {True: [], False: []}
        waiting = {name: len(self.scenarios) - self.tally(name).done for name in self.subjects}
        for name, tally in self.tallies.items():
            if not (tally.done and tally.turns and tally.first and name in waiting):
                continue
            mean = tally.judged_turns / tally.done
            running = [self.cells[key].turns for key in self.running if key[0] == name]
            ahead = (waiting.pop(name) - len(running)) * mean
            ahead += sum(max(1.0, mean - turns) for turns in running)
            end = now if running else tally.last
            pace = max(0.0, end - tally.first) / tally.turns
            left += max(0.0, ahead) * pace
            each[name in self.controls].append(mean * pace)
        for name, episodes in waiting.items():
            known = each[name in self.controls]
            if known:
                left += episodes * sum(known) / len(known)
            elif name not in self.controls:
                return None
        return left

    @property
    def pace(self) -> tuple[float, int]:
        """The seconds from the first episode's begin to the last one's end, and how many ended."""
        spans = [tally for tally in self.tallies.values() if tally.done and tally.first]
        if not spans:
            return 0.0, 0
        seconds = max(each.last for each in spans) - min(each.first for each in spans)
        return seconds, sum(each.done for each in spans)

    def pairs(self, first: str, other: str) -> Comparison:
        """Clean terminations of ``other`` against ``first`` in the worlds where both are judged.

        Until every episode is judged only worlds before the first open one are used, and p is valid
        at any time; so it is where the eval stops as soon as it is decided.
        """
        whole = self.done >= self.total
        met = [self._both(first, other, trial) for trial in self.scenarios]
        worlds = [self.world_of(trial) for trial in self.scenarios]
        ended = (both is not None for both in met)
        fair = None if whole else settled(zip(worlds, ended, strict=True))
        by_world: dict[str, int] = {}
        for world, both in zip(worlds, met, strict=True):
            if both is None or (fair is not None and world not in fair):
                continue
            a, b = both
            if not a.invalid and not b.invalid:
                gain = b.clean_termination - a.clean_termination
                by_world[world] = by_world.get(world, 0) + gain
        return compare([*by_world.values()], any_time=self.until_decided or not whole)

    def _both(
        self, first: str, other: str, trial: str
    ) -> tuple[events.EpisodeDone, events.EpisodeDone] | None:
        """The verdicts of both in one trial; None if one of them is still open."""
        a, b = (self.cells.get((name, trial)) for name in (first, other))
        if a is None or b is None or a.verdict is None or b.verdict is None:
            return None
        return a.verdict, b.verdict
