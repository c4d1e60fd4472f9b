"""``sekft factory``: make scenarios, try bundles at the gate, record reference sessions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from sekft_engine.cli.options import json_option, userland_option
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.text import plain, visible
from sekft_engine.worlds.backends import SANDBOXES

if TYPE_CHECKING:
    from sekft_engine.data.scenario import Scenario
    from sekft_engine.factory.splits import Split
    from sekft_engine.worlds import CommandResult


def _sandbox_option(function: Any) -> Any:
    named = click.option(
        "--sandbox", default="auto", show_default=True, help=f"{', '.join(SANDBOXES)}."
    )
    return named(userland_option(function))


def _split_counts(
    _context: click.Context, _option: click.Parameter, values: tuple[str, ...]
) -> dict[str, int]:
    """Numbers of scenarios by split, from ``NAME=N``."""
    from sekft_engine.factory.making import NAMED_SPLITS

    counts: dict[str, int] = {}
    for value in values:
        name, _, count = value.partition("=")
        if name not in NAMED_SPLITS or not count.isdecimal():
            raise click.BadParameter(
                f"{value!r} is not NAME=N with a name of {', '.join(NAMED_SPLITS)}"
            )
        counts[name] = int(count)
    return counts


@click.group("factory")
def command() -> None:
    """Make scenarios and record trajectories in real worlds."""


@command.command("make")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The folder to write to."
)
@click.option(
    "--train",
    default=240,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many training scenarios.",
)
@click.option(
    "--holdout",
    default=48,
    show_default=True,
    type=click.IntRange(min=0),
    help="How many held-out scenarios.",
)
@click.option(
    "--split",
    "splits",
    multiple=True,
    metavar="NAME=N",
    callback=_split_counts,
    help="Also write scenarios/NAME: seen, valid, compositions or primitives. Repeatable.",
)
@click.option("--core", is_flag=True, help="Only the 29 most usual kinds of work for training.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option(
    "--workers",
    default=2,
    show_default=True,
    type=click.IntRange(1, 64),
    help="How many worlds run at once.",
)
@_sandbox_option
@json_option
def make_command(
    out: Path,
    train: int,
    holdout: int,
    splits: dict[str, int],
    core: bool,
    seed: int,
    workers: int,
    sandbox: str,
    userland: str,
    as_json: bool,
) -> None:
    """Write scenarios/train, scenarios/holdout and trajectories below --out.

    Every bundle first passes its reference gate in a real world. Sessions are recorded in the
    training scenarios. Half of the held-out ones combine kinds of work in pairs that training
    never shows, half have kinds of work that it never shows. Splits: seen = fresh worlds of
    training's kinds, valid = for choosing a recipe, compositions and primitives = the two halves.
    """
    import msgspec

    from sekft_engine.cli.show.display import Display
    from sekft_engine.factory import make

    with Display(quiet=as_json) as display:
        report = make(
            out,
            train=train,
            holdout=holdout,
            seed=seed,
            core=core,
            splits=cast("dict[Split, int]", splits),
            workers=workers,
            sandbox=sandbox,
            userland=userland,
            progress=display.report,
        )
    if as_json:
        print_json(msgspec.to_builtins(report))
        return
    click.echo(f"{report.train} training and {report.holdout} held-out scenarios in {report.out}")
    click.echo(f"{report.trajectories} recorded sessions in {Path(report.out) / 'trajectories'}")
    for label, counts in (
        ("archetypes", report.by_archetype),
        ("channels", report.by_channel),
        ("terminals", report.by_terminal),
        ("obstacles", report.by_obstacle),
    ):
        click.echo(f"{label}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


@command.command("admit")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@_sandbox_option
@json_option
def admit_command(folder: Path, sandbox: str, userland: str, as_json: bool) -> None:
    """Try each bundle in DIR at the reference gate: does its own solution prove it?

    A bundle is admitted if its solution ends with the right terminal and passes its checker, and
    the checker fails on the untouched world. Exit status 1 if any is refused.
    """
    from sekft_engine.cli.show.display import Display
    from sekft_engine.factory.gate import admit_one
    from sekft_engine.sources import load_scenarios

    bundles = load_scenarios(folder)
    admissions = []
    with Display(quiet=as_json) as display:
        for bundle in bundles:
            admissions.append(admit_one(bundle, sandbox=sandbox, userland=userland))
            display.progress("at the gate", len(admissions), len(bundles))
    refused = [each for each in admissions if not each.admitted]
    if as_json:
        print_json(
            {
                "admitted": [each.scenario for each in admissions if each.admitted],
                "refused": [{"scenario": each.scenario, "reason": each.reason} for each in refused],
            }
        )
    else:
        for each in refused:
            click.echo(visible(f"refused {each.scenario}: {each.reason}"))
        click.echo(f"{len(admissions) - len(refused)} of {len(admissions)} bundles admitted")
    if refused:
        click.get_current_context().exit(1)


@command.command("rollout")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@_sandbox_option
@json_option
def rollout_command(folder: Path, sandbox: str, userland: str, as_json: bool) -> None:
    """Type each bundle's reference solution into its real world and show what happened."""
    from sekft_engine.sources import load_scenarios

    rollouts = [
        _rollout(bundle, sandbox, userland, quiet=as_json) for bundle in load_scenarios(folder)
    ]
    if as_json:
        print_json({"rollouts": rollouts})


def _rollout(bundle: Scenario, sandbox: str, userland: str, *, quiet: bool) -> dict[str, Any]:
    from sekft_engine.factory import rollout
    from sekft_engine.worlds import WorldBroken

    try:
        trajectory, transcript = rollout(bundle, sandbox=sandbox, userland=userland)
    except WorldBroken as error:  # says nothing about the bundle, and the others continue
        click.echo(visible(f"{bundle.id}: {error}"), err=True)
        return {
            "scenario": bundle.id,
            "outcome": "error",
            "verified": False,
            "clean": False,
            "keep": False,
            "invalid": str(error),
            "transcript": [],
        }
    if not quiet:
        verdict = "kept" if trajectory.keep else "not kept"
        verified = "verified" if trajectory.verified else "not verified"
        click.echo(f"== {visible(bundle.id)}: {trajectory.outcome}, {verified}, {verdict}")
        for result in transcript:
            click.echo(f"$ {plain(result.command)}")
            shown = plain(result.output)
            click.echo(shown, nl=bool(shown) and not shown.endswith("\n"))
    return {
        "scenario": bundle.id,
        "outcome": trajectory.outcome,
        "verified": trajectory.verified,
        "clean": trajectory.clean,
        "keep": trajectory.keep,
        "transcript": [_line(result) for result in transcript],
    }


def _line(result: CommandResult) -> dict[str, Any]:
    return {
        "command": result.command,
        "output": result.output,
        "status": result.status,
        "seconds": round(result.seconds, 6),
    }


@command.command("leakage")
@click.argument("training", metavar="TRAINING", type=click.Path(path_type=Path))
@click.argument("held_out", metavar="HELD_OUT", type=click.Path(path_type=Path))
@json_option
def leakage_command(training: Path, held_out: Path, as_json: bool) -> None:
    """How much of the scenarios in HELD_OUT is in those of TRAINING?

    Directives and commands are compared whole and by n-grams, without case, numbers and spacing.
    The control is the held-out set with one world in ten replaced by a training world. Exit status
    1 if a directive is in both sets.
    """
    import msgspec

    from sekft_engine.factory.leakage import COMMAND_WORDS, DIRECTIVE_WORDS, leakage
    from sekft_engine.sources import load_scenarios

    report = leakage(load_scenarios(training), load_scenarios(held_out))
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        click.echo(f"{report.training} training worlds, {report.held_out.worlds} held-out worlds")
        for label, found in (
            ("held out", report.held_out),
            (f"control, {report.contaminated} training worlds in it", report.control),
        ):
            click.echo(f"{label}:")
            for name, size, overlap in (
                ("directives", DIRECTIVE_WORDS, found.directives),
                ("commands", COMMAND_WORDS, found.commands),
            ):
                click.echo(
                    f"  {name}: {overlap.exact} of {overlap.texts} are in the training data; "
                    f"{overlap.shared} of {overlap.ngrams} {size}-grams, "
                    f"in {overlap.touched} of them"
                )
        for example in report.held_out.directives.examples:
            click.echo(visible(f"in both: {example}"))
    if report.held_out.directives.exact:
        click.get_current_context().exit(1)


@command.command("convert")
@click.argument("source")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="The folder to write to."
)
@click.option("--hub", is_flag=True, help="SOURCE is a Hub data set, or a folder of one.")
@click.option("--split", default="train", show_default=True, help="Of the data set.")
@json_option
def convert_command(source: str, out: Path, hub: bool, split: str, as_json: bool) -> None:
    """Convert scenarios and trajectories of posix-sdc into sekft's form, below --out.

    SOURCE is a folder with scenarios/, trajectories/ or both, a file, or with --hub a data set,
    whose configs are all read. The report says for each field in how many records it was present,
    was derived from others, or is absent. Fields that nobody knows are kept.

    Exit status 1 if a record could not be read.
    """
    import msgspec

    from sekft_engine.factory.sdc import convert

    report = convert(source, out, hub=hub, split=split)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        click.echo(f"{report.scenarios} scenarios and {report.trajectories} trajectories in {out}")
        width = max(len(each.field) for each in report.fields)
        for kind in dict.fromkeys(each.kind for each in report.fields):
            click.echo(f"{kind}: {'field':<{width}}  present  derived  absent")
            for each in report.fields:
                if each.kind == kind:
                    counts = f"{each.present:>7}  {each.derived:>7}  {each.absent:>6}"
                    click.echo(f"{'':{len(kind) + 2}}{each.field:<{width}}  {counts}")
        for kind, unknown in report.unknown.items():
            listed = ", ".join(f"{name} {count}" for name, count in unknown.items())
            click.echo(visible(f"kept, but not known, in {kind}: {listed}"))
        for what, count in report.lacking.items():
            click.echo(f"{count} scenarios lack {what}: no world can be made of them and judged")
        for reason, count in report.refused.items():
            click.echo(visible(f"{count} refused: {reason}"))
        for example in report.examples:
            click.echo(f"  {example}")
    if report.refused:
        click.get_current_context().exit(1)
