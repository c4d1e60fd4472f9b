"""``sekft runs``: list, show and export runs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import msgspec

from sekft_engine import events
from sekft_engine.cli.options import json_option, print_json, workspace_option
from sekft_engine.cli.runs_replay import diff, replay
from sekft_engine.cli.runs_shared import runs_root, tell
from sekft_engine.journal import as_it_counts
from sekft_engine.runs import RunInfo, export_run, find_run, list_runs, read_events


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
    found = list_runs(runs_root(workspace))
    if as_json:
        print_json({"runs": msgspec.to_builtins(found)})
        return 0
    width = max((len(info.id) for info in found), default=0)
    for info in found:
        tell(f"{info.id:<{width}}  {info.status:<8}{info.created}  {_gist(info)}")
    return 0


@command.command("show")
@click.argument("identity", metavar="ID")
@json_option
@workspace_option
def show(identity: str, as_json: bool, workspace: Path | None) -> int:
    """Show a run: its manifest, and what its journal tells. ID may be a folder."""
    info = find_run(runs_root(workspace, identity), identity)
    journal = journal_facts(info)
    if as_json:
        print_json(msgspec.to_builtins(info) | {"journal": journal})
        return 0
    tell(f"{info.id}  {info.kind}  {info.status}  {info.created}\n{info.path}")
    for title, table in (
        ("about", info.about),
        ("facts", info.facts),
        ("result", info.result),
        ("journal", journal),
    ):
        if table:
            tell(f"\n{title}")
            for key, value in table.items():
                tell(f"  {key}: {_short(value)}")
    if info.error:
        tell(f"\nerror: {info.error}")
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
        tell(f"{info.id} -> {written}")
    return 0


@command.command("report")
@click.argument("identity", metavar="ID")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@workspace_option
def report(identity: str, target: Path, workspace: Path | None) -> int:
    """Write an eval's report to TARGET, a self-contained HTML page."""
    from sekft_engine.evaluate.page import write_page

    info = find_run(runs_root(workspace, identity), identity)
    tell(f"{info.id} -> {write_page(info, target.expanduser().absolute())}")
    return 0


@command.command("cast")
@click.argument("identity", metavar="ID")
@click.argument("episode")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@workspace_option
def cast(identity: str, episode: str, target: Path, workspace: Path | None) -> int:
    """Write an EPISODE of an eval as an asciicast, which asciinema plays.

    EPISODE is its id, as --json shows it, or a part that no other has.
    """
    from sekft_engine.evaluate.asciicast import asciicast
    from sekft_engine.evaluate.store import find_episode, read_episode
    from sekft_engine.files import write_whole

    info = find_run(runs_root(workspace, identity), identity)
    found = find_episode(Path(info.path) / "episodes", episode)
    write_whole(target.expanduser().absolute(), asciicast(read_episode(found)).encode())
    tell(f"{found.stem} -> {target}")
    return 0


@command.command("compare")
@click.argument("first", metavar="ID")
@click.argument("second", metavar="ID")
@click.option("--anyway", is_flag=True, help="Also where the evals were not of one kind.")
@json_option
@workspace_option
def compare(first: str, second: str, anyway: bool, as_json: bool, workspace: Path | None) -> int:
    """Compare two evals on the worlds that both met, world by world.

    Worlds are the same where their content is, whatever they are called. Refused where other
    programs stood in them, they were sampled otherwise, or the task differed in another way.
    """
    from sekft_engine.evaluate.comparable import compare_runs
    from sekft_engine.evaluate.tables import comparison_line

    a, b = (find_run(runs_root(workspace, name), name) for name in (first, second))
    found = compare_runs(a, b, anyway=anyway)
    if as_json:
        print_json(found)
        return 0
    for reason in found["unlike"]:
        tell(f"NOT OF ONE KIND: {reason}")
    for line in found["notes"]:
        tell(line)
    for pair in found["comparisons"]:
        tell(comparison_line(pair))
    return 0


def journal_facts(info: RunInfo) -> dict[str, Any]:
    """Counts and last values from a run's journal, finite numbers only."""
    read = as_it_counts(read_events(info.events_path))
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
    loss = info.result.get("loss")
    if isinstance(loss, dict) and loss.get("last") is not None:
        return f"{info.result.get('steps')} steps, loss {loss['first']:.3f} -> {loss['last']:.3f}"
    subjects = info.result.get("subjects")
    if isinstance(subjects, list):
        return ", ".join(
            f"{one.get('name')} {one.get('clean_termination')}/{one.get('n')}" for one in subjects
        )
    if isinstance(points := info.result.get("points"), list):
        return (
            f"{info.result.get('finished')} of {len(points)} points, best {info.result.get('best')}"
        )
    return info.error


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 200 else text[:197] + "..."
