"""``sekft improve``: let an adapter learn from what it did rightly itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

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
from sekft_engine.core.text import plain, visible
from sekft_engine.data.recipe import recipe_from
from sekft_engine.data.workspace import Workspace
from sekft_engine.records import jobs
from sekft_engine.records.experiments import ImproveResult


@click.command("improve")
@struct_options(jobs.Improve)
@click.option("-v", "--verbose", is_flag=True, help="Print a line for every command and step.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
@no_resident_option
@json_option
@workspace_option
@recipe_flags
def command(
    verbose: bool,
    quiet: bool,
    no_resident: bool,
    as_json: bool,
    workspace: Path | None,
    **options: Any,
) -> int:
    """Let an adapter act in training worlds, add what it did rightly to the data, and train again.

    In each round the adapter does several sessions in each world at a temperature. Those that are
    verified, clean, ended rightly and certified join the data: none twice, an equal share for each
    kind of work, worlds that are seldom solved first. Then an adapter is trained from the base.

    The recipe is that of the adapter's own run, with the flags that are given. The same command
    continues what was stopped; a larger --rounds adds rounds.
    """
    flags = explicit(take_recipe(options))
    place = find_workspace(workspace)
    job = jobs.Improve(**options)
    recorded = _recipe(job.adapter, place)
    job = msgspec.structs.replace(job, recipe=recipe_from(recorded | flags))
    result = run_stages(
        job,
        place,
        ImproveResult,
        display=EvalDisplay(quiet=quiet, verbose=verbose),
        resident=not no_resident,
        as_json=as_json,
    )
    if not (as_json or quiet):
        click.echo(plain(curve(result)))
        click.echo(visible(f"adapter: {result.adapter}"))
    return 0


def curve(result: ImproveResult) -> str:
    """The rounds, one a line: what was right, what was added, and how the adapter did after it."""
    lines = []
    for each in result.rounds:
        parts = []
        if each.sampled:
            parts.append(
                f"{each.solved}/{each.sampled} sessions right in {each.worlds_solved} of "
                f"{each.worlds} training worlds, {each.added} added"
            )
        facts = each.facts
        if facts is not None and facts.kinds:
            kinds = facts.kinds
            parts.append(
                f"measured: solved {kinds.solved}/{kinds.doable}, rightly given up "
                f"{kinds.rightly_given_up}/{kinds.blocked}, clean {facts.clean_termination}/"
                f"{facts.n}"
            )
        lines.append(f"round {each.round}: {'; '.join(parts) or 'the adapter to begin with'}")
    if result.pairs:
        lines.append(f"{result.pairs} preference pairs")
    return "\n".join(lines)


def _recipe(adapter: str, place: Workspace | None) -> dict[str, Any]:
    """The recipe that the adapter was trained with, where its run says it."""
    from sekft_engine.core.errors import BadInput
    from sekft_engine.records.runs import run_of

    try:
        run = run_of(adapter, place.runs if place is not None else None)
    except BadInput:
        return {}
    recipe = run.about.get("recipe")
    return dict(recipe) if isinstance(recipe, dict) else {}
