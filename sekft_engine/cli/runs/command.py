"""``sekft runs``: list, show and export runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import msgspec

from sekft_engine.cli.options import json_option, workspace_option
from sekft_engine.cli.runs.replay import diff, replay
from sekft_engine.cli.runs.shared import print_text, runs_root
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.text import count
from sekft_engine.records import events
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.experiments import ExperimentResult, ImproveResult
from sekft_engine.records.journal import effective_events
from sekft_engine.records.results import ShellResult, SweepResult
from sekft_engine.records.runs import (
    RunInfo,
    find_run,
    read_events,
    survey_runs,
)
from sekft_engine.records.trainings import Losses, TrainResult
from sekft_engine.records.upkeep.copy import export_run
from sekft_engine.records.upkeep.run_notes import RunNotes, read_notes, tags_in, write_notes
from sekft_engine.records.upkeep.trash import discard
from sekft_engine.records.upkeep.trash import restore as take_back


@click.group("runs")
def command() -> None:
    """Runs: what was trained and evaluated."""


command.add_command(replay)
command.add_command(diff)


@command.command("list")
@json_option
@workspace_option
def list_(as_json: bool, workspace: Path | None) -> int:
    """List the workspace's runs, oldest first."""
    found, broken = survey_runs(runs_root(workspace))
    notes = {info.id: read_notes(Path(info.path)) for info in found}
    if as_json:
        runs = [
            msgspec.to_builtins(info) | {"notes": msgspec.to_builtins(notes[info.id])}
            for info in found
        ]
        unreadable = [{"path": str(folder), "why": why} for folder, why in broken]
        print_json({"runs": runs, "unreadable": unreadable})
        return 0
    width = max((len(info.id) for info in found), default=0)
    for info in found:
        said = notes[info.id]
        more = [f'"{said.title}"'] if said.title else []
        more += [f"#{tag}" for tag in said.tags]
        line = f"{info.id:<{width}}  {info.status:<8}{info.created}  {_gist(info)}"
        print_text("  ".join([line, *more]))
    for folder, why in broken:
        print_text(f"{folder.name}: cannot be read as a run: {why}")
    return 0


@command.command("note")
@click.argument("identity", metavar="ID")
@click.option("--title", default=None, help="What lists show in place of the id; empty removes it.")
@click.option("--note", default=None, help="A few words about the run; empty removes them.")
@click.option("--tags", default=None, help="Tags, with commas between; empty removes them.")
@json_option
@workspace_option
def note(
    identity: str,
    title: str | None,
    note: str | None,
    tags: str | None,
    as_json: bool,
    workspace: Path | None,
) -> int:
    """Write a title, a note or tags to a run, or show them."""
    info = find_run(runs_root(workspace, identity), identity)
    said = read_notes(Path(info.path))
    new = RunNotes(
        said.title if title is None else title.strip(),
        said.note if note is None else note.strip(),
        said.tags if tags is None else tags_in(tags),
    )
    if new != said:
        write_notes(Path(info.path), new)
    if as_json:
        print_json({"run": info.id, "title": new.title, "note": new.note, "tags": list(new.tags)})
        return 0
    for name, value in (("title", new.title), ("note", new.note), ("tags", ", ".join(new.tags))):
        print_text(f"{name:<6} {value or '-'}")
    return 0


@command.command("delete")
@click.argument("identity", metavar="ID")
@json_option
@workspace_option
def delete(identity: str, as_json: bool, workspace: Path | None) -> int:
    """Move a run into the workspace's folder trash, from where `sekft runs restore` takes it."""
    info = find_run(runs_root(workspace, identity), identity)
    place = discard(Path(info.path))
    if as_json:
        print_json({"run": info.id, "path": str(place)})
    else:
        print_text(f"{info.id} is in {place}; sekft runs restore {info.id} takes it back")
    return 0


@command.command("restore")
@click.argument("name", metavar="ID")
@json_option
@workspace_option
def restore(name: str, as_json: bool, workspace: Path | None) -> int:
    """Take a deleted run back out of the trash."""
    place = take_back(name, runs_root(workspace))
    if as_json:
        print_json({"run": place.name, "path": str(place)})
    else:
        print_text(f"{place.name} is among the runs again: {place}")
    return 0


@command.command("show")
@click.argument("identity", metavar="ID")
@json_option
@workspace_option
def show(identity: str, as_json: bool, workspace: Path | None) -> int:
    """Show a run: its manifest and a summary of its journal. ID may be a folder."""
    info = find_run(runs_root(workspace, identity), identity)
    journal = journal_facts(info)
    if as_json:
        print_json(msgspec.to_builtins(info) | {"journal": journal})
        return 0
    print_text(f"{info.id}  {info.kind}  {info.status}  {info.created}\n{info.path}")
    for title, table in (
        ("about", info.about),
        ("facts", msgspec.to_builtins(info.facts)),
        ("result", msgspec.to_builtins(info.result)),
        ("journal", journal),
    ):
        if table:
            print_text(f"\n{title}")
            for key, value in table.items():
                print_text(f"  {key}: {_short(value)}")
    if info.error:
        print_text(f"\nerror: {info.error}")
    return 0


@command.command("export")
@click.argument("identity", metavar="ID")
@click.argument("target", type=click.Path(path_type=Path))
@json_option
@workspace_option
def export(identity: str, target: Path, as_json: bool, workspace: Path | None) -> int:
    """Copy a run's manifest, journal, adapter and episodes to TARGET, a folder or a .tar.gz."""
    info = find_run(runs_root(workspace, identity), identity)
    written = export_run(info, target.expanduser().absolute())
    if as_json:
        print_json({"run": info.id, "target": str(written)})
    else:
        print_text(f"{info.id} -> {written}")
    return 0


@command.command("report")
@click.argument("identity", metavar="ID")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@workspace_option
def report(identity: str, target: Path, workspace: Path | None) -> int:
    """Write the report of an eval or an experiment to TARGET, a self-contained HTML page."""
    from sekft_engine.evaluation.report.page import write_page

    info = find_run(runs_root(workspace, identity), identity)
    if isinstance(info.result, ExperimentResult):
        from sekft_engine.core.files import write_whole
        from sekft_engine.experiment.report.write import html_of

        path = target.expanduser().absolute()
        write_whole(path, html_of(info, info.result, path.parent).encode())
        print_text(f"{info.id} -> {path}")
        return 0
    print_text(f"{info.id} -> {write_page(info, target.expanduser().absolute())}")
    return 0


@command.command("cast")
@click.argument("identity", metavar="ID")
@click.argument("episode")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@workspace_option
def cast(identity: str, episode: str, target: Path, workspace: Path | None) -> int:
    """Write an EPISODE of an eval as an asciicast (version 2), which asciinema of any age plays.

    EPISODE is an id, as --json shows it, or a part of one that is unique.
    """
    from sekft_engine.core.files import write_whole
    from sekft_engine.episodes.asciicast import asciicast
    from sekft_engine.episodes.store import find_episode, read_episode

    info = find_run(runs_root(workspace, identity), identity)
    found = find_episode(Path(info.path) / "episodes", episode)
    write_whole(target.expanduser().absolute(), asciicast(read_episode(found)).encode())
    print_text(f"{found.stem} -> {target}")
    return 0


@command.command("compare")
@click.argument("first", metavar="ID")
@click.argument("second", metavar="ID")
@click.option("--anyway", is_flag=True, help="Compare evals of different kinds too.")
@json_option
@workspace_option
def compare(first: str, second: str, anyway: bool, as_json: bool, workspace: Path | None) -> int:
    """Compare two evals in the worlds that both have, world by world.

    Worlds are the same if their content is, whatever their names. Evals that differ in userland,
    sampling or task are refused.
    """
    from sekft_engine.evaluation.comparable import compare_runs
    from sekft_engine.evaluation.report.tables import comparison_line

    a, b = (find_run(runs_root(workspace, name), name) for name in (first, second))
    found = compare_runs(a, b, anyway=anyway)
    if as_json:
        print_json(found)
        return 0
    for reason in found.unlike:
        print_text(f"NOT OF ONE KIND: {reason}")
    for line in found.notes:
        print_text(line)
    for pair in found.comparisons:
        print_text(comparison_line(pair))
    return 0


def journal_facts(info: RunInfo) -> dict[str, Any]:
    """Counts and last values from a run's journal, finite numbers only."""
    read = effective_events(read_events(info.events_path))
    steps = [event for event in read if isinstance(event, events.StepDone)]
    heldout = [event for event in read if isinstance(event, events.HeldoutDone)]
    episodes = [event for event in read if isinstance(event, events.EpisodeDone)]
    facts: dict[str, Any] = {"events": len(read)}
    if steps:
        facts |= {"steps": steps[-1].step, "of": steps[-1].steps, "loss": _finite(steps[-1].loss)}
        facts["losses"] = [_finite(step.loss) for step in steps]
    if heldout:
        facts["heldout"] = [[event.step, _finite(event.loss)] for event in heldout]
    if episodes:
        facts["episodes"] = len(episodes)
    return facts


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _gist(info: RunInfo) -> str:
    match info.result:
        case TrainResult(steps=steps, loss=Losses(first=float(first), last=float(last))):
            return f"{count(steps, 'step')}, loss {first:.3f} -> {last:.3f}"
        case EvalResult(subjects=subjects):
            ends = (f"{each.name} {each.clean_termination}/{each.n}" for each in subjects if each.n)
            said = ", ".join(ends)
            return f"clean end: {said}" if said else "no episode judged"
        case SweepResult(points=points, finished=finished, best=best):
            return f"{finished} of {len(points)} points, best {best}"
        case ShellResult() | ExperimentResult() | ImproveResult():
            return info.result.in_words
        case _:
            return info.error


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else text[:197] + "..."
