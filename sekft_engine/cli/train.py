"""``sekft train``: fine-tune an adapter, or inspect what would be trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec

from sekft_engine import jobs
from sekft_engine.cli.display import Display
from sekft_engine.cli.launched import led
from sekft_engine.cli.options import (
    find_workspace,
    hub_option,
    json_option,
    print_json,
    workspace_option,
)
from sekft_engine.context import Stopped
from sekft_engine.errors import SekftError
from sekft_engine.foreground import run_job
from sekft_engine.recipe import recipe_fields, recipe_from
from sekft_engine.visible import plain
from sekft_engine.workspace import Workspace


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


@click.command("train")
@click.option(
    "--data", default="", help="A folder of .json, a .jsonl file, parquet or Arrow tables."
)
@hub_option
@click.option(
    "--scenarios",
    default="",
    help="Worlds for --eval-every [default: scenarios/train of the workspace].",
)
@click.option("--base", default="", help="A folder, a .gguf file, a known base, or a Hub id.")
@click.option("--out", default="", help="The run's folder [default: the next in the workspace].")
@click.option("--name", default="", help="The adapter's name.")
@click.option("--load-4bit", is_flag=True, help="Hold the base in 4 bits (NF4, double quant).")
@click.option(
    "--shard-base",
    is_flag=True,
    envvar="ACCELERATE_USE_FSDP",
    help="Spread the base over the processes of torchrun or accelerate launch (FSDP).",
)
@click.option(
    "--sweep",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A TOML table of recipes: train them all on one resident base, one after another. Again, "
    "to go on with what is not finished.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the run in --out [default: the workspace's newest unfinished one]; what is "
    "not named is taken from it.",
)
@click.option(
    "--find-lr",
    is_flag=True,
    help="Only find a learning rate: sweep it upwards on the data for some steps [default: 60; "
    "or --max-steps] and keep no adapter.",
)
@click.option("--inspect", is_flag=True, help="Only tell what would be trained; needs no torch.")
@click.option("-v", "--verbose", is_flag=True, help="A line for every step.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing but errors on stderr.")
@json_option
@workspace_option
@recipe_options
@led
def command(
    data: str,
    hub: str,
    scenarios: str,
    base: str,
    out: str,
    name: str,
    load_4bit: bool,
    shard_base: bool,
    sweep: Path | None,
    resume: bool,
    find_lr: bool,
    inspect: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
    workspace: Path | None,
    **recipe: Any,
) -> int:
    """Fine-tune a LoRA adapter on trajectories.

    Ctrl-C ends after the running step and keeps the adapter; a second one does not wait. Either
    way, and also after a crash, --resume goes on as if the run had never stopped.
    """
    place = find_workspace(workspace)
    job = jobs.Train(
        base=base,
        data=data,
        hub=hub,
        scenarios=scenarios,
        out=out,
        name=name,
        recipe=recipe_from(recipe),
        load_4bit=load_4bit,
        shard_base=shard_base,
        resume=resume,
    )
    if sweep is not None:
        from sekft_engine.cli.sweep import run as run_sweep

        display = Display(quiet=quiet, verbose=verbose)
        return run_sweep(
            job, sweep, _given(recipe), place, inspect=inspect, display=display, as_json=as_json
        )
    job = _filled(job, place, _given(recipe))
    if inspect:
        return _inspect(job, place, as_json)
    if find_lr:
        return _find_rate(job, place, quiet, as_json)
    if place is not None and not out:
        place.create()
    return _train(job, place, quiet=quiet, verbose=verbose, as_json=as_json)


def _filled(job: jobs.Train, place: Workspace | None, given: dict[str, Any]) -> jobs.Train:
    """``job`` with what the run that it resumes, or the workspace, says of what was left open."""
    if job.resume:
        from sekft_engine.sft.resume import completed

        job = completed(job, place, given)
    if not job.data and not job.hub and place is not None and place.trajectories.is_dir():
        job = msgspec.structs.replace(job, data=str(place.trajectories))
    return job


def _train(
    job: jobs.Train, place: Workspace | None, *, quiet: bool, verbose: bool, as_json: bool
) -> int:
    try:
        with Display(quiet=quiet, verbose=verbose) as display:
            result = run_job(job, place, display.show)
    except Stopped as stop:
        if as_json and stop.result:
            print_json(stop.result)
        raise
    except SekftError as error:
        if verbose:
            for note in getattr(error, "__notes__", ()):
                click.echo(plain(note), err=True)
        raise
    if as_json:
        print_json(result)
    elif not quiet:
        click.echo(_summary(result))
    return 0


def _given(recipe: dict[str, Any]) -> dict[str, Any]:
    """The recipe's fields that stand on the command line."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    return {
        name: value
        for name, value in recipe.items()
        if context.get_parameter_source(name) is not default
    }


def _find_rate(job: jobs.Train, place: Workspace | None, quiet: bool, as_json: bool) -> int:
    from sekft_engine.cli.rate_plot import rate_plot

    find = jobs.FindRate(
        base=job.base, data=job.data, hub=job.hub, recipe=job.recipe, load_4bit=job.load_4bit
    )
    with Display(quiet=quiet) as display:
        result = run_job(find, place, display.show)
    if as_json:
        print_json(result)
    else:
        if not quiet:
            click.echo(rate_plot(result["curve"], result["suggested"]), err=True)
        click.echo(f"--lr {result['suggested']:g}")
    return 0


def _summary(result: dict[str, Any]) -> str:
    loss = result["loss"]
    heldout = f", held out {loss['heldout']:.4f}" if loss["heldout"] is not None else ""
    return (
        f"run {result['run']}: {result['steps']} steps in {result['seconds']:.0f} s, "
        f"loss {loss['first']:.4f} -> {loss['last']:.4f}{heldout}\n"
        f"adapter: {result['adapter']} (step {result['adapter_step']})\n"
        f"sha256:  {result['adapter_sha256']}"
    )


def _inspect(job: jobs.Train, place: Workspace | None, as_json: bool) -> int:
    from sekft_engine.render.load import load_tokenizer
    from sekft_engine.render.report import inspect_report
    from sekft_engine.sft.data import limited, read_data

    tokenizer = load_tokenizer(job.base, place)
    loaded = limited(read_data(job.data, job.hub), job.recipe.limit)
    report = inspect_report(loaded, tokenizer, max_length=job.recipe.max_length)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        from rich.console import Console

        from sekft_engine.render.show import print_inspect

        print_inspect(report, Console())
    return 0
