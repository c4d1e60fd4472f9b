"""``sekft experiment``: from worlds to a report, in one command that can be stopped anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from sekft_engine import demo
from sekft_engine.cli.eval import EvalDisplay
from sekft_engine.cli.experiment.recipe import explicit, recipe_flags, take_recipe
from sekft_engine.cli.experiment.running import run_stages
from sekft_engine.cli.options import (
    find_workspace,
    json_option,
    no_resident_option,
    struct_options,
    workspace_option,
)
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.text import plain, visible
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import jobs
from sekft_engine.records.experiments import ExperimentResult

#: The workspace of experiments where none is named.
FOLDER = "experiment"


@click.command("experiment")
@struct_options(jobs.Experiment)
@click.option("--list", "list_presets", is_flag=True, help="List the presets, and do nothing.")
@click.option("-v", "--verbose", is_flag=True, help="Print a line for every command and step.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
@no_resident_option
@json_option
@workspace_option
@recipe_flags
def command(
    list_presets: bool,
    verbose: bool,
    quiet: bool,
    no_resident: bool,
    as_json: bool,
    workspace: Path | None,
    **options: Any,
) -> int:
    """Make worlds and sessions, evaluate the base, train with several seeds, evaluate adapters and
    controls in the same worlds, leave parts out, and write a report.

    Stop it whenever you like, also with kill -9, and give the same command again: what is done is
    kept, and what was being done goes on where it was. The report is report.html and experiment.md
    in the run's folder; every line of it names the runs that it comes from.

    Exit status 1 if a stage that the experiment cannot do without has failed.
    """
    if list_presets:
        _list(as_json)
        return 0
    flags = explicit(take_recipe(options))
    job = jobs.Experiment(flags=flags, **options)
    place = find_workspace(workspace)
    if place is None and not job.out:
        place = Workspace(demo.FOLDER if job.preset == "proof" else FOLDER)
    if place is not None:
        place.create()
    result = run_stages(
        job,
        place,
        ExperimentResult,
        display=EvalDisplay(quiet=quiet, verbose=verbose),
        resident=not no_resident,
        as_json=as_json,
    )
    if not (as_json or quiet):
        click.echo(plain(text_of(result)))
    return 0 if result.finished else 1


def text_of(result: ExperimentResult) -> str:
    """The results as plain text: the rates of each split, and where the report is."""
    from sekft_engine.evaluation.report.tables import kinds_table, rates_table

    parts = []
    for split in dict.fromkeys(row.split for row in result.rows):
        rows = [row for row in result.rows if row.split == split]
        named = [_named(row.facts, row.kind, row.name) for row in rows]
        parts += [f"== {split}", rates_table(named), kinds_table(named)]
        parts += [
            f"{row.name} against {each.a}, {each.pairs} worlds: solved more often in "
            f"{each.only_b}, less often in {each.only_a}, p = {each.p:.3g}"
            for row in rows
            for each in row.against
            if each.measure == "solved" and row.kind in ("adapter", "round")
        ]
    left_out = [stage for stage in result.stages if stage.status in ("skipped", "failed")]
    parts += [visible(f"{stage.name} {stage.status}: {stage.why}") for stage in left_out]
    files = "\n".join(f"{kind}: {path}" for kind, path in result.files.items())
    minutes = result.seconds / 60
    return "\n\n".join([*parts, f"{result.experiment}: {minutes:.0f} minutes\n{files}".rstrip()])


def _named(facts: Any, kind: str, name: str) -> Any:
    import msgspec

    shown = f"without {name}" if kind == "ablation" else name
    return msgspec.structs.replace(facts, name=shown)


def _list(as_json: bool) -> None:
    import msgspec

    from sekft_engine.experiment.presets import presets

    if as_json:
        print_json({"presets": msgspec.to_builtins([*presets().values()])})
        return
    for preset in presets().values():
        worlds = ", ".join(f"{count} {split}" for split, count in preset.worlds.items())
        click.echo(
            f"{preset.name}: {preset.base}, {preset.sessions} sessions, {preset.seeds} seeds, "
            f"{preset.rounds} rounds, {len(preset.ablations)} ablations, {worlds} worlds\n"
            f"  {preset.about}"
        )
