"""``sekft contract``: does a live server feed its model what training fed?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sekft_engine.cli.options import (
    api_key_option,
    base_option,
    data_option,
    data_or_default,
    find_workspace,
    hub_option,
    json_option,
    strict_option,
    timeout_option,
    workspace_option,
)
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput
from sekft_engine.data.published import refuse_two_sources

if TYPE_CHECKING:
    from sekft_engine.data.trajectory import Trajectory


@click.group("contract")
def command() -> None:
    """Train equals serve, checked against a live server."""


@command.command("check")
@data_option()
@hub_option
@base_option()
@click.option("--endpoint", required=True, help="The server's address: http://host:8000")
@click.option("--model", default="", help="The model's name there  [default: the server's first].")
@click.option(
    "--samples",
    default=8,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many sessions of the data to compare, the hardest first.",
)
@click.option("--data-only", is_flag=True, help="Leave out the built-in hard sessions.")
@strict_option
@api_key_option
@timeout_option(30.0)
@json_option
@workspace_option
def check(
    data: str,
    hub: str,
    base: str,
    endpoint: str,
    model: str,
    samples: int,
    data_only: bool,
    api_key_env: str | None,
    timeout: float,
    strict: bool,
    as_json: bool,
    workspace: Path | None,
) -> int:
    """Compare token for token what a server feeds its model with what training fed.

    Compares the prompts before the first, middle and last command of some sessions and of
    built-in hard ones, by the most exact route that the server has. Exit status 0: equal
    everywhere; 1: something differs; 2: no usable server.
    """
    from sekft_engine.cli.show.display import Display
    from sekft_engine.contract import Client, check_endpoint, key_from
    from sekft_engine.render.template.tokenizer import load_tokenizer

    place = find_workspace(workspace)
    data = data_or_default(data, hub, place)
    _refuse_unnamed(data, hub)
    key = key_from(api_key_env, endpoint)
    with (
        Client(endpoint, api_key=key, timeout=timeout) as client,
        Display(quiet=as_json) as display,
    ):
        sessions = list(_sessions(data, hub, strict=strict))  # before a server is asked
        report = check_endpoint(
            client,
            load_tokenizer(base, place),
            sessions,
            model=model,
            samples=samples,
            hostile=not data_only,
            progress=display.progress,
        )
    if as_json:
        print_json(report.document())
    else:
        from rich.console import Console

        from sekft_engine.cli.show.contract import print_report

        print_report(report, Console(highlight=False))
    return 0 if report.equal else 1


def _refuse_unnamed(data: str, hub: str) -> None:
    refuse_two_sources(data, hub)
    if not data and not hub:
        raise BadInput("no trajectories named", mend="name a file or folder with --data")


def _sessions(data: str, hub: str, *, strict: bool) -> Iterator[Trajectory]:
    """The first sessions that training would take; what comes after them is not read."""
    from sekft_engine.contract.samples import LOOKED_AT
    from sekft_engine.sources import open_index
    from sekft_engine.sources.index.sessions import refuse_unusable

    index = open_index(hub=hub) if hub else open_index(data, keep_only=True)
    while len(index) < LOOKED_AT and index.advance():
        pass
    if index.complete or strict:
        refuse_unusable(index, strict=strict)
    if not len(index) and index.skipped:
        raise BadInput(
            f"none of {index.skipped} recordings is kept",
            where=data,
            mend="record sessions that reach their goal, or give curated ones",
        )
    yield from map(index.trajectory, range(min(len(index), LOOKED_AT)))
