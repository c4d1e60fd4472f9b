"""``sekft eval``: let the base and adapters on it act in sandboxed worlds, and judge."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec

from sekft_engine.cli.options import (
    ResumingCommand,
    api_key_option,
    explicit,
    find_workspace,
    json_option,
    no_resident_option,
    struct_options,
    workspace_option,
)
from sekft_engine.cli.show.display import Display
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput, JobFailed
from sekft_engine.core.text import count, plain
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.run_job import run_job
from sekft_engine.records import events, jobs
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.events import Event
from sekft_engine.records.results import expect
from sekft_engine.records.runs import read_run
from sekft_engine.work.context import Stopped


class EvalDisplay(Display):
    """A line per finished episode, and the running count of clean terminations per subject."""

    def __init__(self, *, quiet: bool = False, verbose: bool = False) -> None:
        super().__init__(quiet=quiet, verbose=verbose)
        self._total = 0
        self._done: Counter[str] = Counter()
        self._clean: Counter[str] = Counter()

    def show(self, event: Event) -> None:
        super().show(event)
        if self._quiet:
            return
        if isinstance(event, events.EvalStarted):
            from sekft_engine.evaluation.statistics.power import what_n_shows

            self._total = len(event.scenarios)
            worlds = self._total // event.seeds
            plural = "" if worlds == 1 else "s"
            draws = f", {event.seeds} times in each" if event.seeds > 1 else ""
            self.line(f"{', '.join(event.subjects)} on {worlds} world{plural}{draws}")
            self.line(
                what_n_shows(
                    worlds,
                    draws=event.seeds,
                    until_decided=event.until_decided,
                    others=len(event.subjects) - 1,
                )
            )
        elif isinstance(event, events.TurnDone) and self._verbose and event.role == "assistant":
            self.line(f"  {event.subject} {event.scenario}: {event.content!r}")
        elif isinstance(event, events.EpisodeDone):
            self._episode(event)

    def _episode(self, event: events.EpisodeDone) -> None:
        self._done[event.subject] += 1
        self._clean[event.subject] += event.clean_termination
        done, clean = self._done[event.subject], self._clean[event.subject]
        if not event.kept:
            where = f"{done:>4}/{self._total}  {event.subject}  {event.scenario}"
            self.line(f"{where}: {_ending(event)}")
        self.progress(event.subject, done, self._total, f"clean termination {clean}/{done}")


def _ending(event: events.EpisodeDone) -> str:
    if event.invalid:
        return f"invalid ({event.invalid})"
    facts = [f"{event.outcome} after {count(event.steps, 'command')}"]
    facts += [] if event.clean else ["prose"]
    facts += [] if event.outcome == event.expected else [f"expected {event.expected}"]
    facts += ["verified"] if event.verified else ["not verified"]
    return ("ok: " if event.clean_termination else "") + ", ".join(facts)


@click.command("eval", cls=ResumingCommand)
@struct_options(jobs.Evaluate)
@click.option("--no-base", is_flag=True, help="Leave the bare base out.")
@click.option(
    "--by",
    default="archetype",
    show_default=True,
    type=click.Choice(
        [
            *("archetype", "channel", "provider", "depth", "difficulty", "terminal"),
            *("split", "obstacle"),
        ]
    ),
    help="Break the table's rates down by this (--json has all breakdowns).",
)
@api_key_option
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a self-contained HTML page with tables, plots and transcripts.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print a line for every command typed.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
@no_resident_option
@json_option
@workspace_option
def command(
    no_base: bool,
    by: str,
    report: Path | None,
    verbose: bool,
    quiet: bool,
    no_resident: bool,
    as_json: bool,
    workspace: Path | None,
    **options: Any,
) -> int:
    """Evaluate the base, and adapters on it, at the bare prompt of sandboxed worlds.

    All models act in the same worlds. Every episode is saved in the run's folder. Ctrl-C keeps
    the finished ones; --resume continues from there, and takes what is not given from the run.

    Where an engine is alive in the workspace and holds this base, it does the eval.

    With --endpoint, the models of running servers act instead, and nothing is loaded here.

    Exit status 1 if no episode of a model counts, so that there are no rates, and if an adapter
    could not act, while the others could.
    """
    place = find_workspace(workspace)
    job = jobs.Evaluate(with_base=not no_base, **options)
    job = _filled(job, {*explicit(options), *(["with_base"] if no_base else [])}, place)
    from sekft_engine.evaluation.report.caveats import nothing_counted, refused
    from sekft_engine.evaluation.report.tables import tables

    try:
        with EvalDisplay(quiet=quiet, verbose=verbose) as display:
            done = run_job(job, place, display.show, resident=not no_resident)
            result = expect(done, EvalResult)
    except Stopped as stop:
        if isinstance(stop.result, EvalResult):
            if as_json:
                print_json(stop.result)
            elif not quiet:
                click.echo(plain(tables(stop.result, by)))
            if report is not None and stop.result.episodes:
                _write_report(stop.result, report)
        raise
    if report is not None:
        _write_report(result, report)
    if as_json:
        print_json(result)
    elif not quiet:
        click.echo(plain(tables(result, by)))
        about = result.about
        click.echo(f"worlds: {about.get('world', '')}, userland {about.get('userland', '')}")
        click.echo(f"\nepisodes: {Path(result.path) / 'episodes'}  ({result.seconds:.0f} s)")
        if report is not None:
            click.echo(f"report: {report}")
    if why := nothing_counted(result):
        raise JobFailed(why, mend=f"mend that, then --resume --out {result.path}")
    if why := refused(result):
        raise JobFailed(why)
    return 0


def _filled(job: jobs.Evaluate, given: set[str], place: Workspace | None) -> jobs.Evaluate:
    """``job`` with what the run that it resumes, or the workspace, says of what was left open."""
    if job.resume:
        from sekft_engine.evaluation.resume import completed

        job = completed(job, given, place)
    return msgspec.structs.replace(
        job,
        scenarios=job.scenarios or _held_out(place),
        out=job.out or _folder_here(place),
    )


def _write_report(result: EvalResult, target: Path) -> None:
    from sekft_engine.evaluation.report.page import write_page

    write_page(read_run(Path(result.path)), target.expanduser().absolute())


def _held_out(place: Workspace | None) -> str:
    if place is None or not place.holdout_scenarios.is_dir():
        raise BadInput("no scenarios are named", where="--scenarios", mend="name their folder")
    return str(place.holdout_scenarios)


def _folder_here(place: Workspace | None) -> str:
    """Without a workspace the runs gather in this folder, numbered."""
    if place is not None:
        return ""
    number = 1
    while (folder := Path("runs") / f"{number:03d}-eval").exists():
        number += 1
    return str(folder)
