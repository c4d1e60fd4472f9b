"""The sweep job: a run for each point of a table, one after another on the same resident base."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.bases import base_digest, refuse_unknown_targets
from sekft_engine.core.errors import BadInput, DigestMismatch, Interrupted, JobFailed
from sekft_engine.data.clock import Clock
from sekft_engine.records import jobs
from sekft_engine.records.results import SweepResult
from sekft_engine.records.runs import MANIFEST, Run, RunFacts, RunInfo, read_run
from sekft_engine.records.stages import key_of, same_run
from sekft_engine.render import ChatTokenizer
from sekft_engine.sweep.results import (
    KIND,
    PlannedPoint,
    document,
    eval_folder,
    point_folder,
    point_runs,
)
from sekft_engine.sweep.table import Point, Table, read_table
from sekft_engine.training.run.resume import recorded_clock
from sekft_engine.training.trainer.data import load_data, refuse_nothing
from sekft_engine.work.context import Context, Stopped


def run_sweep(job: jobs.Sweep, context: Context) -> SweepResult:
    """Train what is not finished yet; a wrong table is refused before anything is loaded."""
    table = read_table(Path(job.file), job.flags)
    sweep = _Sweep(job, context, table)
    sweep.open()
    return sweep.run_points()


class _Sweep:
    def __init__(self, job: jobs.Sweep, context: Context, table: Table) -> None:
        self.context = context
        self.table = table
        self.began = time.monotonic()
        self.trained = 0
        place = context.workspace
        self.folder = context.find_base(job.base or table.base)
        for targets in sorted({point.recipe.targets for point in table.points}):
            refuse_unknown_targets(self.folder, targets)
        named = bool(job.data or job.hub)
        data, hub = (job.data, job.hub) if named else (table.data, table.hub)
        if not data and not hub and place is not None:
            data = str(place.trajectories)
        refuse_nothing(data, hub)
        four_bits = context.four_bits(str(self.folder), job.load_4bit)
        context.device(str(self.folder), job.device)  # a wrong one is refused before data is read
        self.job = msgspec.structs.replace(job, data=data, hub=hub, load_4bit=four_bits)
        self.evaluation = self._evaluation()
        self.about = self._about()

    def _evaluation(self) -> dict[str, Any] | None:
        """The options of the evals, once it is known that there are worlds for them."""
        if self.table.evaluation is None:
            return None
        from sekft_engine.sources import load_scenarios

        if self.job.shard_base:
            raise BadInput(
                "a base that is spread over processes cannot act in worlds",
                where=f"{self.table.file}: eval",
                mend="leave [eval] out, and use sekft eval on the adapters",
            )
        options = dict(self.table.evaluation)
        place = self.context.workspace
        if not options.get("scenarios"):
            if place is None:
                raise BadInput(
                    "eval: no scenarios are named",
                    where=self.table.file,
                    mend="name their folder under [eval]",
                )
            options["scenarios"] = str(place.holdout_scenarios)
        load_scenarios(options["scenarios"])
        return options

    def _about(self) -> dict[str, Any]:
        """What identifies this sweep; it is resumed only if all of it is the same."""
        job = self.job
        what = {
            "fields": list(self.table.fields),
            "recipes": [msgspec.to_builtins(point.recipe) for point in self.table.points],
            "base": base_digest(self.folder),
            "load_4bit": job.load_4bit,
            "data": job.hub or str(Path(job.data).expanduser().absolute()),
            "eval": self.evaluation,
        }
        key = key_of(what)
        return {key: what[key] for key in ("fields", "data", "eval")} | {
            "key": key,
            "base": str(self.folder),
            "file": self.table.file,
        }

    # --- the record ---------------------------------------------------------------------------

    def open(self) -> None:
        """Resume the same sweep if there is one, else begin it."""
        context, earlier = self.context, self._earlier()
        if earlier is None:
            stem = Path(self.table.file).stem
            name = "" if stem == KIND else stem
            self.run: Run = context.open_run(KIND, about=self.about, out=self.job.out, name=name)
        else:
            self.run = context.reopen_run(Path(earlier.path))
        runs = context.workspace.runs if context.workspace is not None else None
        self.places = [
            point_folder(self.run.folder, number, runs)
            for number, _ in enumerate(self.table.points, 1)
        ]
        points = [
            PlannedPoint(
                run=place.name,
                changes=point.changes,
                values={name: getattr(point.recipe, name) for name in self.table.fields},
            )
            for place, point in zip(self.places, self.table.points, strict=True)
        ]
        self.run.write(about=self.about | {"points": msgspec.to_builtins(points)})

    def _earlier(self) -> RunInfo | None:
        workspace = self.context.workspace
        if not self.job.out:
            runs = workspace.runs if workspace is not None else None
            return same_run(runs, KIND, self.about["key"])
        folder = Path(self.job.out).expanduser().absolute()
        if not (folder / MANIFEST).is_file():
            return None
        info = read_run(folder)
        if info.kind != KIND or info.about.get("key") != self.about["key"]:
            raise DigestMismatch(
                "this folder holds a sweep of another table, base or data"
                if info.kind == KIND
                else f"this folder holds a run of {info.kind}",
                where=str(folder),
                mend="choose another --out",
            )
        return info

    # --- the points ---------------------------------------------------------------------------

    def run_points(self) -> SweepResult:
        self._refuse_changed_data()
        total = len(self.table.points)
        try:
            for number, (point, place) in enumerate(
                zip(self.table.points, self.places, strict=True), 1
            ):
                if self.context.cancelled():
                    raise Stopped(f"stopped before point {number} of {total}")
                self._do(number, point, place)
                self.run.write(result=self.result())
        except Interrupted as stop:
            raise Stopped(
                f"{stop.what}; give the same table again to continue", result=self.result()
            ) from stop
        return self.result()

    def result(self) -> SweepResult:
        return document(self.run.info, seconds=time.monotonic() - self.began, done_now=self.trained)

    def _do(self, number: int, point: Point, place: Path) -> None:
        head = f"point {number} of {len(self.table.points)}: {point.title}"
        before = set(self.context.base.adapters) if self.context.base is not None else set()
        try:
            if _is_done(place):
                self.context.log(f"{head}: finished before")
            else:
                self.context.log(head)
                self.trained += 1
                self.context.do_part(self._training(point, place))
            if self.evaluation is not None and not _is_done(eval_folder(place)):
                self.context.do_part(self._evaluating(place))
        except JobFailed as error:  # a diverging point is a result; the sweep continues
            self.context.log(f"{head}: {error}", "warning")
        finally:
            base = self.context.base
            if base is not None:
                for name in set(base.adapters) - before:
                    self.context.drop_adapter(name)

    def _training(self, point: Point, place: Path) -> jobs.Train:
        return jobs.Train(
            base=str(self.folder),
            data=self.job.data,
            hub=self.job.hub,
            out=str(place),
            recipe=point.recipe,
            load_4bit=self.job.load_4bit,
            device=self.job.device,
            shard_base=self.job.shard_base,
            resume=True,
            strict=self.job.strict,
        )

    def _evaluating(self, place: Path) -> jobs.Evaluate:
        return msgspec.convert(
            (self.evaluation or {})
            | {
                "job": "eval",
                "base": str(self.folder),
                "adapters": [str(place)],
                "with_base": False,
                "out": str(eval_folder(place)),
                "load_4bit": self.job.load_4bit,
                "device": self.job.device,
                "resume": True,
            },
            jobs.Evaluate,
        )

    def _refuse_changed_data(self) -> None:
        """Refuse to continue with other data than the finished points were trained on."""
        digests: dict[tuple[int, int, Clock | None], str] = {}
        tokenizer = None
        for point, (planned, run) in zip(self.table.points, point_runs(self.run.info), strict=True):
            if run is None or run.facts == RunFacts():
                continue
            clock = recorded_clock(run)
            key = point.recipe.limit, point.recipe.max_length, clock
            if key not in digests:
                tokenizer = tokenizer or ChatTokenizer.load(self.folder)
                rendered = tokenizer if clock is None else tokenizer.with_clock(clock)
                data = load_data(
                    self.job.data, self.job.hub, rendered, point.recipe, strict=self.job.strict
                )
                digests[key] = data.digest
            if run.facts.data.sha256 != digests[key]:
                raise DigestMismatch(
                    f"the data is not what {planned.run} was trained on any more",
                    where=self.run.info.path,
                    mend="begin the sweep anew with --out",
                )


def _is_done(folder: Path) -> bool:
    return (folder / MANIFEST).is_file() and read_run(folder).status == "done"
