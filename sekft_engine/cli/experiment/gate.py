"""``sekft gate``: pass or fail by the bounds of a run's rates, for CI and before publishing."""

from __future__ import annotations

from pathlib import Path

import click

from sekft_engine.cli.options import json_option, workspace_option
from sekft_engine.cli.runs.shared import print_text, runs_root
from sekft_engine.cli.show.document import print_json


@click.command("gate")
@click.argument("identity", metavar="RUN")
@click.option(
    "--min",
    "least",
    multiple=True,
    metavar="MEASURE=RATE",
    help="The lower bound of the measure's 95 % interval is at least this. Repeatable.",
)
@click.option(
    "--max",
    "most",
    multiple=True,
    metavar="MEASURE=RATE",
    help="The upper bound is at most this, as of wrongly_given_up. Repeatable.",
)
@click.option(
    "--subject",
    "subjects",
    multiple=True,
    metavar="MODEL",
    help="Whose rates [default: the adapters of an eval, the adapter of an experiment].",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    help="Of an experiment: in which worlds [default: the held-out ones, each by itself].",
)
@json_option
@workspace_option
def command(
    identity: str,
    least: tuple[str, ...],
    most: tuple[str, ...],
    subjects: tuple[str, ...],
    splits: tuple[str, ...],
    as_json: bool,
    workspace: Path | None,
) -> int:
    """Judge the rates of RUN, an eval or an experiment, by the bounds of their intervals.

    Measures: solved (of doable worlds), rightly_given_up (of blocked ones), wrongly_given_up,
    clean (ends rightly, commands only), operates, terminates, verified, commands_only. A rate of
    few worlds has a wide interval, so that a small eval does not pass by luck.

    Exit status 0 if all bounds hold, 1 if one does not, 2 if there is nothing to judge by.
    """
    from sekft_engine.experiment.gate import bound_of, judge
    from sekft_engine.records.runs import find_run

    bounds = [bound_of(text, "min") for text in least] + [bound_of(text, "max") for text in most]
    if not bounds:
        raise click.UsageError("say what is asked for, such as --min solved=.5")
    info = find_run(runs_root(workspace, identity), identity)
    verdicts = judge(info, bounds, subjects=subjects, splits=splits)
    passed = all(each.holds for each in verdicts)
    if as_json:
        print_json({"run": info.id, "passed": passed, "bounds": verdicts})
    else:
        for each in verdicts:
            print_text(each.in_words)
    return 0 if passed else 1
