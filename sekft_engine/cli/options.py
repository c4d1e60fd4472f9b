"""Options and habits that commands share."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import click
import msgspec
from msgspec import NODEFAULT, Meta

from sekft_engine.data.published import DEFAULT_DATASET
from sekft_engine.data.workspace import Workspace, workspace_here
from sekft_engine.records import jobs

Command = TypeVar("Command", bound=Callable[..., Any])


def workspace_option(function: Command) -> Command:
    return click.option(
        "--workspace",
        type=click.Path(path_type=Path),
        help="The workspace [default: $SEKFT_WORKSPACE, else this folder if it has a sekft.toml].",
    )(function)


def json_option(function: Command) -> Command:
    return click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Print one JSON document on stdout, and nothing else.",
    )(function)


def hub_option(function: Command) -> Command:
    return click.option(
        "--hub",
        default="",
        is_flag=False,
        flag_value=DEFAULT_DATASET,
        help="Use a Hub data set; without a name, the published posix-sdc corpus.",
    )(function)


def strict_option(function: Command) -> Command:
    """``--strict`` of commands that read trajectories."""
    described = get_args(jobs.Strict)[1].description
    return click.option("--strict", is_flag=True, help=described)(function)


def data_option(otherwise: str = "the workspace's") -> Callable[[Command], Command]:
    """``--data``; ``otherwise`` is the default named in the help."""
    return click.option(
        "--data",
        default="",
        help="Trajectories: a folder, or a .json, .jsonl, .ndjson or .parquet file "
        f"[default: {otherwise}].",
    )


def base_option(otherwise: str = "the workspace's") -> Callable[[Command], Command]:
    """``--base`` of commands that need only its tokenizer."""
    return click.option(
        "--base",
        default="",
        help="Base whose tokenizer renders the data; no weights are needed "
        f"[default: {otherwise}].",
    )


def data_or_default(data: str, hub: str, place: Workspace | None) -> str:
    """The path that was named, else that of the workspace's own trajectories."""
    if not data and not hub and place is not None and place.trajectories.is_dir():
        return str(place.trajectories)
    return data


def api_key_option(function: Command) -> Command:
    return click.option(
        "--api-key-env",
        metavar="VAR",
        help="Environment variable that holds the API key  [default: OPENAI_API_KEY, which goes to "
        "https:// and to this machine only].",
    )(function)


def timeout_option(default: float) -> Callable[[Command], Command]:
    return click.option(
        "--timeout",
        default=default,
        show_default=True,
        type=click.FloatRange(min=0, min_open=True),
        help="Seconds a server has for each answer.",
    )


def device_option(function: Command) -> Command:
    """``--device`` of commands whose other options are not those of a job."""
    described = get_args(jobs.Device)[1].description
    return click.option(
        "--device", default="auto", show_default=True, metavar="DEVICE", help=described
    )(function)


def no_resident_option(function: Command) -> Command:
    """``--no-resident`` of commands whose job the workspace's engine may do."""
    return click.option(
        "--no-resident",
        is_flag=True,
        help="Load the base here, also where an engine is alive in the workspace (sekft resident).",
    )(function)


def userland_option(function: Command) -> Command:
    """``--userland`` for commands that open worlds."""
    return click.option(
        "--userland",
        default="auto",
        show_default=True,
        help="What is in the worlds: host, debian (sekft worlds build), or an exported one; "
        "auto = host in bubblewrap, debian in containers.",
    )(function)


class ResumingCommand(click.Command):
    """A command whose ``--resume`` takes no value: it says how a run that is named is resumed."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_extra_args = "--resume" in args
        left = super().parse_args(ctx, args)
        if left and not ctx.resilient_parsing:
            way = "name the run's folder with --out"
            if ctx.params.get("sweep") is not None:
                way = "give the sweep's table again, with the same --out if there was one"
            ctx.fail(f"--resume takes no value (got {left[0]!r}); {way}")
        return left


def explicit(options: dict[str, Any]) -> dict[str, Any]:
    """Those of a command's options that the user gave."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    return {
        name: value
        for name, value in options.items()
        if context.get_parameter_source(name) is not default
    }


def find_workspace(named: Path | None) -> Workspace | None:
    """The workspace that was named, or the one this folder is; None = work without."""
    if named is not None:
        return Workspace(named)
    return workspace_here()


# --- options made from structs --------------------------------------------------------------------


def struct_options(struct: type[msgspec.Struct]) -> Callable[[Command], Command]:
    """Options for the fields of ``struct`` (a job, say) that have a description.

    ``step_cap`` becomes ``--step-cap``, a tuple ``adapters`` becomes ``--adapter`` and may be given
    several times, a bool is a flag. Limits and defaults are those of the field. The command gets a
    keyword argument for each, with the field's name, so that ``struct(**options)`` takes them all.

    Args:
        struct: its fields may say in ``Meta(extra=...)`` what their type cannot: ``flag`` (another
            name on the command line), ``metavar``, ``envvar``, and ``folder`` (a path may be one).
    """

    def decorate(function: Command) -> Command:
        for field in reversed(msgspec.structs.fields(struct)):
            meta = _meta(field.type)
            if meta is not None and meta.description:
                function = _option(field, meta)(function)
        return function

    return decorate


def _option(field: msgspec.structs.FieldInfo, meta: Meta) -> Callable[[Command], Command]:
    kind, extra = _plain(field.type), meta.extra or {}
    several = get_origin(kind) is tuple
    stem = field.name.removesuffix("s") if several else field.name
    default = None if field.default is NODEFAULT else field.default
    if kind is str and default is None:
        default = ""
    described = meta.description or ""
    settings: dict[str, Any] = {"help": described, "default": default}
    for name in ("metavar", "envvar"):
        if name in extra:
            settings[name] = extra[name]
    flag = extra.get("flag", f"--{stem.replace('_', '-')}")
    if kind is bool:
        settings["is_flag"] = True
        if field.default is None:  # it can be left open
            flag = f"{flag}/--no-{flag.removeprefix('--')}"
    elif several:
        settings["multiple"] = True
        settings["type"] = _click_type(get_args(kind)[0], meta)
    else:
        settings["type"] = _click_type(kind, meta)
        settings["show_default"] = default not in ("", None) and "[default" not in described
    return click.option(flag, field.name, **settings)


def _meta(kind: Any) -> Meta | None:
    if get_origin(kind) is not Annotated:
        return None
    return next((part for part in get_args(kind)[1:] if isinstance(part, Meta)), None)


def _plain(kind: Any) -> Any:
    """The type of a value that is given: without annotations, and without None."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
    return kind


def _click_type(kind: Any, meta: Meta) -> Any:
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if kind is Path:
        return click.Path(path_type=Path, dir_okay=bool((meta.extra or {}).get("folder")))
    if kind is int and meta.ge is not None:
        return click.IntRange(min=int(meta.ge))
    if kind is float and meta.ge is not None:
        return click.FloatRange(min=meta.ge)
    if kind is float and meta.gt is not None:
        return click.FloatRange(min=meta.gt, min_open=True)
    return kind
