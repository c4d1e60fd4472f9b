"""``sekft demo``: make the demo workspace; ``--run`` proves the effect of training."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import click
import msgspec

from sekft_engine import demo
from sekft_engine.cli.eval import EvalDisplay
from sekft_engine.cli.options import device_option, json_option, no_resident_option
from sekft_engine.cli.show.document import print_json
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.run_job import run_job
from sekft_engine.experiment.proof import Proof, proof_of
from sekft_engine.model.device import choose_device
from sekft_engine.model.imports import import_torch
from sekft_engine.records import jobs
from sekft_engine.records.experiments import ExperimentResult
from sekft_engine.records.results import SetupResult, expect


@click.command("demo")
@click.option("--run", "prove", is_flag=True, help="Then evaluate, train, evaluate and compare.")
@click.option(
    "--workspace",
    default=demo.default_folder,
    show_default=demo.FOLDER,
    type=click.Path(path_type=Path, file_okay=False),
    help="The workspace's folder.",
)
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each command and step.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
@device_option
@no_resident_option
@json_option
def command(
    prove: bool,
    workspace: Path,
    verbose: bool,
    quiet: bool,
    device: str,
    no_resident: bool,
    as_json: bool,
) -> int:
    """Make a workspace to try sekft with: a real small base, real scenarios, real sessions.

    With --run the whole loop follows: the base is evaluated in 16 worlds with kinds of work that
    training never shows, an adapter is trained, and the adapter is evaluated in the same worlds.
    It is the smallest preset of sekft experiment: stopped anywhere, the same command goes on there.
    """
    if prove:  # a wrong device is refused before anything is made
        import_torch()
        choose_device(device)
    place = Workspace(workspace)
    # Made here already, so that the engine can keep its journal there.
    place.create()
    result: Proof | SetupResult
    with EvalDisplay(quiet=quiet, verbose=verbose) as display:
        job = (
            jobs.Experiment(preset="proof", device=device)
            if prove
            else jobs.Setup(workspace=str(place.root))
        )
        done = run_job(job, place, display.show, resident=not no_resident)
    if prove:
        result = proof_of(expect(done, ExperimentResult), place.root)
    else:
        result = expect(done, SetupResult)
    if as_json:
        print_json(result)
    elif isinstance(result, Proof):
        click.echo(_proof(result))
    elif not quiet:
        click.echo(f"workspace: {result.workspace}  ({result.seconds:.0f} s)")
        click.echo(f"next: sekft tui --workspace {workspace}")
    return 0


def _proof(result: Proof) -> str:
    from sekft_engine.evaluation.report.tables import breakdown_table, kinds_table, rates_table

    adapter = msgspec.structs.replace(result.adapter, name="adapter")
    subjects = [result.base, adapter, *result.controls]
    total = sum(result.seconds.values())
    parts = ", ".join(
        f"{part.replace('_', ' ')} {_clock(seconds)}" for part, seconds in result.seconds.items()
    )
    places = f"\nworkspace: {result.workspace}\nreport: {result.report}"
    tables = "\n\n".join(
        (
            rates_table(subjects),
            kinds_table(subjects),
            breakdown_table(subjects),
            f"{_clock(total)} in all: {parts}",
        )
    )
    return tables + places


def _clock(seconds: float) -> str:
    return str(dt.timedelta(seconds=round(seconds))).removeprefix("0:")
