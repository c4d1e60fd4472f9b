"""``sekft train``: fine-tune an adapter, or inspect what would be trained."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from sekft_engine.cli.options import (
    ResumingCommand,
    explicit,
    find_workspace,
    hub_option,
    json_option,
    no_resident_option,
    struct_options,
    workspace_option,
)
from sekft_engine.cli.show.display import Display
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import SekftError
from sekft_engine.core.process import ENGINE_THREAD
from sekft_engine.core.text import count, plain
from sekft_engine.data.recipe import Recipe, recipe_fields, recipe_from
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.run_job import run_job
from sekft_engine.records import jobs
from sekft_engine.records.adapter_names import refuse_name
from sekft_engine.records.results import expect
from sekft_engine.records.trainings import FindRateResult, TrainResult
from sekft_engine.work.context import Stopped


def recipe_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """One flag per field of the recipe."""
    for field in reversed(recipe_fields()):
        kind: Any = click.Choice(field.choices) if field.choices else field.type
        function = click.option(
            f"--{field.name.replace('_', '-')}",
            field.name,
            type=kind,
            default=field.default,
            show_default=True,
            help=field.help,
        )(function)
    return function


def led(command: Callable[..., int]) -> Callable[..., int]:
    """Let the first of the processes that torchrun or accelerate started run ``command``; the
    others follow it, and print nothing."""

    @functools.wraps(command)
    def run(**options: Any) -> int:
        if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
            return command(**options)
        from sekft_engine.training.trainer.processes import follows, joined, part

        if options.get("inspect"):  # there is nothing to share
            return 0 if follows() else command(**options)
        joined()
        if follows():
            return _follow()
        try:
            return command(**options)
        finally:
            # An engine that was left at work may be amidst a word of its own.
            if all(thread.name != ENGINE_THREAD for thread in threading.enumerate()):
                part()

    return run


def _follow() -> int:
    from sekft_engine.training.run.follower import follow
    from sekft_engine.training.trainer.processes import part

    # The leader gets these signals as well, saves, and announces the end.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        follow()
    except SekftError as error:  # the leader reports it
        return error.exit_status
    part()
    return 0


@click.command("train", cls=ResumingCommand)
@struct_options(jobs.Train)
@hub_option
@click.option(
    "--sweep",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Train every recipe of a TOML table, one after another on one resident base. The same "
    "table continues an interrupted sweep, with --resume or without.",
)
@click.option(
    "--find-lr",
    is_flag=True,
    help="Only find a learning rate: raise it step by step on the data (60 steps, or --max-steps) "
    "and save no adapter.",
)
@click.option("--inspect", is_flag=True, help="Only report what would be trained; needs no torch.")
@click.option("-v", "--verbose", is_flag=True, help="Print a line for every step.")
@click.option("-q", "--quiet", is_flag=True, help="Print only errors on stderr.")
@no_resident_option
@json_option
@workspace_option
@recipe_options
@led
def command(
    sweep: Path | None,
    find_lr: bool,
    inspect: bool,
    verbose: bool,
    quiet: bool,
    no_resident: bool,
    as_json: bool,
    workspace: Path | None,
    **options: Any,
) -> int:
    """Fine-tune a LoRA adapter on trajectories.

    Ctrl-C stops after the current step and saves the adapter; a second one does not wait. Either
    way, and also after a crash, --resume continues as if the run had never stopped.

    Where an engine is alive in the workspace and holds this base, it does the training, and
    continues it when this terminal is lost.
    """
    place = find_workspace(workspace)
    recipe = {name: options.pop(name) for name in Recipe.__struct_fields__}
    job = jobs.Train(recipe=recipe_from(recipe), **options)
    if job.name and not job.resume:  # a run may be resumed under an older, freer name
        refuse_name(job.name, "--name")
    if sweep is not None:
        from sekft_engine.cli.sweep import run as run_sweep

        display = Display(quiet=quiet, verbose=verbose)
        flags = explicit(recipe)
        return run_sweep(
            job,
            sweep,
            flags,
            place,
            inspect=inspect,
            display=display,
            as_json=as_json,
            resident=not no_resident,
        )
    job = _filled(job, place, explicit(recipe))
    if inspect:
        return _inspect(job, place, as_json)
    if find_lr:
        return _find_rate(job, place, quiet, as_json, resident=not no_resident)
    if place is not None and not job.out:
        place.create()
    display = Display(quiet=quiet, verbose=verbose)
    result = _train(job, place, display, as_json=as_json, resident=not no_resident)
    if not as_json and not quiet:
        click.echo(_summary(result))
    return 0


def _filled(job: jobs.Train, place: Workspace | None, flags: dict[str, Any]) -> jobs.Train:
    """``job`` with what the run that it resumes, or the workspace, says of what was left open."""
    if job.resume:
        from sekft_engine.training.run.resume import completed

        job = completed(job, place, flags)
    if not job.data and not job.hub and place is not None and place.trajectories.is_dir():
        job = msgspec.structs.replace(job, data=str(place.trajectories))
    return job


def _train(
    job: jobs.Train, place: Workspace | None, display: Display, *, as_json: bool, resident: bool
) -> TrainResult:
    try:
        with display:
            result = expect(run_job(job, place, display.show, resident=resident), TrainResult)
    except Stopped as stop:
        if as_json and stop.result:
            print_json(stop.result)
        raise
    except SekftError as error:
        if display.verbose:
            for note in getattr(error, "__notes__", ()):
                click.echo(plain(note), err=True)
        raise
    if as_json:
        print_json(result)
    return result


def _find_rate(
    job: jobs.Train, place: Workspace | None, quiet: bool, as_json: bool, *, resident: bool
) -> int:
    from sekft_engine.cli.show.rate_plot import rate_plot

    find = jobs.FindRate(
        base=job.base,
        data=job.data,
        hub=job.hub,
        recipe=job.recipe,
        load_4bit=job.load_4bit,
        device=job.device,
        strict=job.strict,
    )
    with Display(quiet=quiet) as display:
        result = expect(run_job(find, place, display.show, resident=resident), FindRateResult)
    if as_json:
        print_json(result)
    else:
        if not quiet:
            click.echo(rate_plot(result.curve, result.suggested), err=True)
        click.echo(f"--lr {result.suggested:g}")
    return 0


def _summary(result: TrainResult) -> str:
    loss = result.loss
    heldout = f", held out {loss.heldout:.4f}" if loss.heldout is not None else ""
    losses = f", loss {loss.first:.4f} -> {loss.last:.4f}{heldout}" if loss.first else ""
    return (
        f"run {result.run}: {count(result.steps, 'step')} in {result.seconds:.0f} s{losses}\n"
        f"adapter: {result.adapter} (step {result.adapter_step})\n"
        f"sha256:  {result.adapter_sha256}"
    )


def _about_base(job: jobs.Train, place: Workspace | None) -> dict[str, Any]:
    """What the files of the base say of training it; nothing where they are not here."""
    from sekft_engine.bases import ready_base, refuse_quantised, stored_share

    try:
        folder = ready_base(job.base, place)
    except SekftError:  # a tokenizer without a base is enough to inspect data
        folder = None
    if folder is None or not (folder / "config.json").is_file():
        return {}
    try:
        refuse_quantised(folder)
    except SekftError as error:
        return {"base_problem": str(error)}
    share = stored_share(folder, job.recipe.targets)
    return {} if share is None else {"adapted": share}


def _inspect(job: jobs.Train, place: Workspace | None, as_json: bool) -> int:
    from sekft_engine.bases import ready_base, refuse_unknown_targets
    from sekft_engine.maskview.report import inspect_report
    from sekft_engine.render.template.tokenizer import load_tokenizer
    from sekft_engine.training.trainer.data import read_data

    if folder := ready_base(job.base, place):
        refuse_unknown_targets(folder, job.recipe.targets)
    tokenizer = load_tokenizer(job.base, place)
    report = inspect_report(
        read_data(job.data, job.hub, strict=job.strict),
        tokenizer,
        max_length=job.recipe.max_length,
        limit=job.recipe.limit,
    )
    report = msgspec.structs.replace(report, **_about_base(job, place))
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        from rich.console import Console

        from sekft_engine.cli.show.mask import print_inspect

        print_inspect(report, Console())
    return 0
