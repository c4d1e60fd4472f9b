"""Do a job's stages as runs of their own: what is done is kept, what was stopped is resumed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from sekft_engine.records import jobs
from sekft_engine.records.results import AnyResult
from sekft_engine.records.runs import Run
from sekft_engine.records.stages import finished_run, stage_folder
from sekft_engine.work.context import Context

#: Jobs that can be stages: they have a folder, and go on where they were stopped.
Stage = jobs.Train | jobs.Evaluate | jobs.Improve


class Stages:
    """The stages of the job that ``context`` does, in the run that it has opened.

    Args:
        context: of the whole job.
        run: of the whole job.
    """

    def __init__(self, context: Context, run: Run) -> None:
        self._context = context
        self._whole = run.folder
        self._runs = context.workspace.runs if context.workspace is not None else None

    def folder(self, name: str) -> Path:
        """Where the run of the stage ``name`` lies."""
        return stage_folder(self._whole, name, self._runs)

    def is_done(self, name: str) -> bool:
        """Whether the stage has come to its end."""
        return finished_run(self.folder(name)) is not None

    def do(self, name: str, job: Stage) -> AnyResult:
        """Do the stage unless it is done, and return its result.

        Adapters that it leaves on the base are dropped: later stages name them by their folders.

        Raises:
            SekftError: what the stage raises.
        """
        folder = self.folder(name)
        done = finished_run(folder)
        if done is not None:
            return done.result
        asked: Stage = msgspec.structs.replace(job, out=str(folder))
        if isinstance(asked, jobs.Train | jobs.Evaluate):
            asked = msgspec.structs.replace(asked, resume=True)
        base = self._context.base
        before = set(base.adapters) if base is not None else set()
        try:
            return self._context.do_part(asked)
        finally:
            base = self._context.base
            if base is not None:
                for left in set(base.adapters) - before:
                    self._context.drop_adapter(left)
