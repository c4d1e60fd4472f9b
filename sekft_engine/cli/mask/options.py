"""What ``sekft mask`` is asked for, and where it writes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import msgspec
from msgspec import Meta

from sekft_engine.data.recipe import Recipe
from sekft_engine.records.jobs import Device, Strict

if TYPE_CHECKING:
    from rich.console import Console


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Which trajectories are shown, and what of them. ``data``, ``hub`` and ``base`` say where they
    come from."""

    data: str = ""
    hub: str = ""
    base: str = ""
    only: Annotated[str, Meta(description="Show only this trajectory.", extra={"flag": "--id"})] = (
        ""
    )
    expression: Annotated[
        str,
        Meta(
            description="Only trajectories that match, as in 'archetype:count turns>9 "
            "-outcome:cap tokens<2k dropped:yes'; docs/filters.md lists all fields.",
            extra={"flag": "--filter", "metavar": "EXPR"},
        ),
    ] = ""
    search: Annotated[
        str,
        Meta(
            description="Only trajectories that contain TEXT, in upper or lower case.",
            extra={"metavar": "TEXT"},
        ),
    ] = ""
    everything: Annotated[
        bool, Meta(description="Include raw recordings without `keep`.", extra={"flag": "--all"})
    ] = False
    strict: Strict = False
    device: Device = "auto"
    limit: Annotated[int, Meta(ge=0, description="Only the first N; 0 = all.")] = 0
    max_length: Annotated[
        int, Meta(ge=0, description="Longest trajectory in tokens; 0 = no limit.")
    ] = Recipe().max_length
    target: Annotated[
        Path | None,
        Meta(
            description="Write one trajectory as shown to FILE, a page (.html) or picture (.svg).",
            extra={"flag": "--export", "metavar": "FILE"},
        ),
    ] = None
    view: Annotated[
        str,
        Meta(
            description="With --export: context, edges, ids, marks, labels, loss or certificate "
            "[default: context, with --loss loss].",
            extra={"metavar": "NAME"},
        ),
    ] = ""
    stats: Annotated[bool, Meta(description="Show totals instead of a list.")] = False
    run: Annotated[
        str,
        Meta(
            description="What this run's adapter did to the loss of each trained token: the run's "
            "id, its folder, or its adapter's.",
            extra={"flag": "--loss", "metavar": "RUN"},
        ),
    ] = ""
    measure: Annotated[
        bool,
        Meta(
            description="With --loss: measure what is missing (loads the base); with --id, that "
            "one."
        ),
    ] = False
    no_resident: Annotated[
        bool,
        Meta(
            description="With --measure: load the base here, also where an engine is alive in the "
            "workspace."
        ),
    ] = False

    def refuse_contradictions(self, as_json: bool) -> None:
        """Raise :class:`click.UsageError` where options do not go together."""
        exports = self.target is not None
        wrong = (
            (self.view and not exports, "--view needs --export FILE"),
            (exports and (self.stats or as_json), "--export goes with neither --stats nor --json"),
            (
                (self.expression or self.search) and (self.only or self.run or exports),
                "--filter and --search go with none of --id, --export and --loss",
            ),
            (
                self.run and (self.stats or self.everything),
                "--loss goes with neither --stats nor --all",
            ),
            (self.measure and not self.run, "--measure needs --loss RUN"),
        )
        for found, why in wrong:
            if found:
                raise click.UsageError(why)


def terminal() -> Console:
    """A console on stdout that colours nothing by itself."""
    from rich.console import Console

    return Console(highlight=False)


def write_pieces(pieces: Iterable[bytes]) -> None:
    """Write one JSON document to stdout as it comes."""
    for piece in pieces:
        sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
