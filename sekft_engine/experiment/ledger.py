"""The ledger of an experiment: which stages are done, how long they took, and what was left out."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from sekft_engine.core.errors import Interrupted, SekftError
from sekft_engine.records import jobs
from sekft_engine.records.experiments import StageFacts, StageStatus
from sekft_engine.records.runs import Run
from sekft_engine.work.context import Context, Stopped
from sekft_engine.work.stages import Stages


class Ledger:
    """Does each stage once, and writes down in the experiment's manifest how it stands.

    Args:
        context: of the experiment.
        run: of the experiment.
        stages: where the stages' runs lie.

    Attributes:
        records: the stages so far, by name.
    """

    def __init__(self, context: Context, run: Run, stages: Stages) -> None:
        self._context = context
        self._run = run
        self._stages = stages
        self.records: dict[str, StageFacts] = {
            each.name: each for each in _stored(run.info.about.get("stages"))
        }

    def run(
        self,
        name: str,
        job: jobs.Train | jobs.Evaluate | jobs.Improve,
        *,
        optional: bool = False,
    ) -> bool:
        """Do a stage that has a run of its own; as :meth:`do`."""
        kind = "train" if isinstance(job, jobs.Train) else "eval"
        kind = "improve" if isinstance(job, jobs.Improve) else kind
        return self.do(
            name, kind, lambda: self._stages.do(name, job), optional=optional, has_run=True
        )

    def do(
        self,
        name: str,
        kind: str,
        work: Callable[[], object],
        *,
        optional: bool = False,
        has_run: bool = False,
    ) -> bool:
        """Do a stage unless it is done.

        Args:
            name: of the stage.
            kind: of its run.
            work: does it, from where it was stopped.
            optional: whether it may fail.
            has_run: whether it has a run of its own, which says whether it is done.

        Returns:
            Whether it is done.

        Raises:
            SekftError: what ``work`` raises, unless the stage is optional.
        """
        facts = self.records.get(name) or StageFacts(name=name, kind=kind, optional=optional)
        run = self._stages.folder(name).name if has_run else ""
        done = self._stages.is_done(name) if has_run else facts.status == "done"
        if done:
            if facts.status != "done":  # it ended just before this was written down
                self._record(msgspec.structs.replace(facts, run=run, status="done", why=""))
            return True
        if self._context.cancelled():
            raise Stopped(f"stopped before {name}")
        self._context.log(f"stage {name}")
        self._context.progress(f"stage {name}", len(self.records))
        self._record(msgspec.structs.replace(facts, run=run, status="running", why=""))
        began = time.monotonic()

        def ended(status: StageStatus, why: str = "") -> None:
            seconds = round(facts.seconds + time.monotonic() - began, 2)
            self._record(
                msgspec.structs.replace(facts, run=run, status=status, why=why, seconds=seconds)
            )

        try:
            work()
        except Interrupted:
            ended("waiting")
            raise
        except SekftError as error:
            ended("failed", str(error))
            if not optional:
                raise
            self._context.log(f"{name} failed, and the experiment goes on: {error}", "warning")
            return False
        ended("done")
        return True

    def skip(self, name: str, kind: str, why: str) -> None:
        """Leave an optional stage out for good."""
        self._context.log(f"{name} is left out: {why}", "warning")
        self._record(StageFacts(name=name, kind=kind, status="skipped", why=why, optional=True))

    def is_skipped(self, name: str) -> bool:
        """Whether the stage was left out."""
        found = self.records.get(name)
        return found is not None and found.status == "skipped"

    def _record(self, facts: StageFacts) -> None:
        self.records[facts.name] = facts
        about = self._run.info.about | {"stages": msgspec.to_builtins([*self.records.values()])}
        self._run.write(about=about)

    # --- time ---------------------------------------------------------------------------------

    @property
    def spent_s(self) -> float:
        """Seconds of all stages so far."""
        return sum(each.seconds for each in self.records.values())

    def lacks_time(self, budget_s: float, seconds: float) -> bool:
        """Whether a stage of so many seconds would exceed the budget; 0 = there is none."""
        return bool(budget_s) and self.spent_s + seconds > budget_s

    def total(self, kind: str, begins: str) -> float:
        """Seconds of all stages of this kind whose names begin so."""
        return sum(
            each.seconds
            for each in self.records.values()
            if each.kind == kind and each.name.startswith(begins)
        )

    def longest(self, kind: str) -> float:
        """Seconds of the longest stage of this kind."""
        return max((each.seconds for each in self.records.values() if each.kind == kind), default=0)


def _stored(raw: object) -> list[StageFacts]:
    try:
        return msgspec.convert(raw or [], list[StageFacts])
    except msgspec.ValidationError:  # of another version
        return []
