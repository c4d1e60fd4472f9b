"""Options and habits that commands share."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from sekft_engine.workspace import CONFIG, Workspace

#: The published corpus, which ``--hub`` without a name means.
PUBLISHED = "tiararodney/posix-sdc"

Command = TypeVar("Command", bound=Callable[..., Any])


def workspace_option(function: Command) -> Command:
    return click.option(
        "--workspace",
        type=click.Path(path_type=Path),
        help="The workspace [default: $SEKFT_WORKSPACE, else this folder if it has a sekft.toml].",
    )(function)


def json_option(function: Command) -> Command:
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON document on stdout, nothing else there."
    )(function)


def hub_option(function: Command) -> Command:
    return click.option(
        "--hub",
        default="",
        is_flag=False,
        flag_value=PUBLISHED,
        help="A Hub data set instead; without a name, the published posix-sdc corpus.",
    )(function)


def data_option(otherwise: str = "the workspace's") -> Callable[[Command], Command]:
    """``--data``; ``otherwise`` is what is taken where it is not named."""
    return click.option(
        "--data",
        default="",
        help="Trajectories: a folder of .json, or a .jsonl or .parquet file "
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


def data_or_own(data: str, hub: str, place: Workspace | None) -> str:
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
        help="Seconds that a server has for each answer.",
    )


def userland_option(function: Command) -> Command:
    """``--userland`` for commands that open worlds."""
    return click.option(
        "--userland",
        default="auto",
        show_default=True,
        help="What stands in the worlds: host, debian (sekft worlds build), or one exported; "
        "auto = host in bubblewrap, debian in containers.",
    )(function)


def find_workspace(named: Path | None) -> Workspace | None:
    """The workspace that was named, or the one this folder is; None = work without."""
    if named is not None:
        return Workspace(named)
    from_environment = os.environ.get("SEKFT_WORKSPACE")
    if from_environment:
        return Workspace(from_environment)
    here = Path.cwd()
    return Workspace(here) if (here / CONFIG).is_file() else None


def print_json(document: Any) -> None:
    # json escapes all that is not ASCII; DEL is, and acts all the same.
    text = json.dumps(document, indent=1, allow_nan=False).replace("\x7f", "\\u007f")
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
