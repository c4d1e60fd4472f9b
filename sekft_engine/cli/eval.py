"""``sekft eval``: let the base and adapters on it act in sandboxed worlds, and judge."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from sekft_engine import events, jobs
from sekft_engine.cli.display import Display
from sekft_engine.cli.options import (
    api_key_option,
    find_workspace,
    json_option,
    print_json,
    timeout_option,
    userland_option,
    workspace_option,
)
from sekft_engine.context import Stopped
from sekft_engine.errors import BadInput, JobFailed
from sekft_engine.events import Event
from sekft_engine.foreground import run_job
from sekft_engine.runs import read_run
from sekft_engine.visible import plain
from sekft_engine.workspace import Workspace

_DEFAULTS = jobs.Evaluate(base="", scenarios="")


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
            from sekft_engine.evaluate.power import what_n_shows

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
    facts = [f"{event.outcome} after {event.steps}"]
    facts += [] if event.clean else ["prose"]
    facts += [] if event.outcome == event.expected else [f"expected {event.expected}"]
    facts += ["verified"] if event.verified else ["not verified"]
    return ("ok: " if event.clean_termination else "") + ", ".join(facts)


@click.command("eval")
@click.option("--base", default="", help="A folder, a .gguf file, a known base, or a Hub id.")
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    help="An adapter's folder, or the folder of its run; may be given several times.",
)
@click.option("--scenarios", default="", help="Folder of bundles [default: the held-out ones].")
@click.option(
    "--n",
    default=_DEFAULTS.n,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many scenarios; 0 = all.",
)
@click.option(
    "--sandbox", default=_DEFAULTS.sandbox, show_default=True, help="Which sandbox runs the worlds."
)
@userland_option
@click.option("--out", default="", help="The run's folder [default: the next in the workspace].")
@click.option("--no-base", is_flag=True, help="Leave the bare base out.")
@click.option(
    "--seed",
    default=_DEFAULTS.seed,
    show_default=True,
    help="Fixes the choice of scenarios and all draws.",
)
@click.option(
    "--temperature",
    default=_DEFAULTS.temperature,
    show_default=True,
    type=click.FloatRange(min=0),
    help="0 = greedy.",
)
@click.option(
    "--step-cap",
    default=_DEFAULTS.step_cap,
    show_default=True,
    type=click.IntRange(min=1),
    help="Commands in one episode.",
)
@click.option(
    "--turn-tokens",
    default=_DEFAULTS.turn_tokens,
    show_default=True,
    type=click.IntRange(min=1),
    help="Tokens in one command.",
)
@click.option(
    "--context",
    default=_DEFAULTS.context,
    type=click.IntRange(min=0),
    help="Most tokens in one episode  [default: what the base holds, up to 4096].",
)
@click.option(
    "--seeds",
    default=_DEFAULTS.seeds,
    show_default=True,
    type=click.IntRange(min=1),
    help="Episodes per world and subject, each with draws of its own (needs a temperature).",
)
@click.option(
    "--until-decided",
    is_flag=True,
    help="Stop as soon as the comparison with the first subject is decided (5 % error).",
)
@click.option(
    "--exact",
    is_flag=True,
    help="One episode at a time: slower, and the same bits whatever else is evaluated.",
)
@click.option(
    "--by",
    default="archetype",
    show_default=True,
    type=click.Choice(["archetype", "channel", "provider", "depth", "difficulty", "terminal"]),
    help="What the table breaks the rates down by (--json has them all).",
)
@click.option("--load-4bit", is_flag=True, help="Hold the base in 4 bits (NF4, double quant).")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    help="Evaluate models of an OpenAI-compatible server; several addresses make a fleet.",
)
@click.option("--model", "models", multiple=True, help="A model of the servers, with --endpoint.")
@click.option(
    "--concurrency",
    default=_DEFAULTS.concurrency,
    show_default=True,
    type=click.IntRange(min=1),
    help="Episodes at once on the servers.",
)
@timeout_option(_DEFAULTS.timeout)
@api_key_option
@click.option(
    "--unchecked",
    is_flag=True,
    help="Do not refuse servers that feed their model something else than training fed.",
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a self-contained HTML page with tables, plots and transcripts.",
)
@click.option("--resume", is_flag=True, help="Go on with an eval that was stopped.")
@click.option("-v", "--verbose", is_flag=True, help="A line for every command typed.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing but errors on stderr.")
@json_option
@workspace_option
def command(
    base: str,
    adapters: tuple[str, ...],
    scenarios: str,
    n: int,
    sandbox: str,
    userland: str,
    out: str,
    no_base: bool,
    seed: int,
    temperature: float,
    step_cap: int,
    turn_tokens: int,
    context: int,
    seeds: int,
    until_decided: bool,
    exact: bool,
    by: str,
    load_4bit: bool,
    endpoints: tuple[str, ...],
    models: tuple[str, ...],
    concurrency: int,
    timeout: float,
    api_key_env: str | None,
    unchecked: bool,
    report: Path | None,
    resume: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    workspace: Path | None,
) -> int:
    """Let the base, and adapters on it, act at the bare prompt of sandboxed worlds.

    All subjects meet the same worlds. Every episode is kept under the run's folder. Ctrl-C keeps
    what is finished; --resume goes on from there.

    With --endpoint the models of running servers act instead; nothing is loaded here.

    Exit status 1 where no episode of a subject counts: there are no rates then.
    """
    place = find_workspace(workspace)
    job = jobs.Evaluate(
        base=base,
        adapters=adapters,
        with_base=not no_base,
        scenarios=scenarios or _held_out(place),
        n=n,
        out=out or _folder_here(place),
        sandbox=sandbox,
        userland=userland,
        seed=seed,
        temperature=temperature,
        step_cap=step_cap,
        turn_tokens=turn_tokens,
        context=context,
        seeds=seeds,
        until_decided=until_decided,
        exact=exact,
        load_4bit=load_4bit,
        endpoints=endpoints,
        models=models,
        concurrency=concurrency,
        timeout=timeout,
        api_key_env=api_key_env,
        unchecked=unchecked,
        resume=resume,
    )
    from sekft_engine.evaluate.caveats import nothing_counted
    from sekft_engine.evaluate.tables import tables

    try:
        with EvalDisplay(quiet=quiet, verbose=verbose) as display:
            result = run_job(job, place, display.show)
    except Stopped as stop:
        if as_json and stop.result:
            print_json(stop.result)
        elif stop.result and not quiet:
            click.echo(plain(tables(stop.result, by)))
        if report is not None and stop.result.get("episodes"):
            _write_report(stop.result, report)
        raise
    if report is not None:
        _write_report(result, report)
    if as_json:
        print_json(result)
    elif not quiet:
        click.echo(plain(tables(result, by)))
        about = result.get("about", {})
        click.echo(f"worlds: {about.get('world', '')}, userland {about.get('userland', '')}")
        click.echo(f"\nepisodes: {Path(result['path']) / 'episodes'}  ({result['seconds']:.0f} s)")
        if report is not None:
            click.echo(f"report: {report}")
    if why := nothing_counted(result):
        raise JobFailed(why, mend=f"mend that, then --resume --out {result['path']}")
    return 0


def _write_report(result: Mapping[str, Any], target: Path) -> None:
    from sekft_engine.evaluate.page import write_page

    write_page(read_run(Path(result["path"])), target.expanduser().absolute())


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
