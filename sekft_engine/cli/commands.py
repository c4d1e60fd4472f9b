"""The commands there are: those of the engine, and those that packages add to it.

A package adds a command by an entry point of the group ``sekft.commands``, whose name is the
command's and whose value is the :class:`click.Command`. So the screens come, too.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from sekft_engine.core.errors import Unavailable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The group of entry points.
GROUP = "sekft.commands"
#: What ``sekft`` without a command means. It is added to the engine.
DEFAULT = "tui"

#: Command name -> (module that exports ``command``, one line for ``sekft --help``). The modules
#: are imported only when called, so that help and start-up stay instant.
COMMANDS = {
    "train": ("sekft_engine.cli.train", "Fine-tune an adapter, or inspect what would be trained."),
    "eval": ("sekft_engine.cli.eval", "Evaluate base and adapters in sandboxed worlds."),
    "takeover": ("sekft_engine.cli.takeover", "Continue a session by hand from any turn."),
    "resident": ("sekft_engine.cli.resident", "Keep a base loaded: jobs in, events out."),
    "mask": (
        "sekft_engine.cli.mask.command",
        "Show which tokens are trained, with the certificate.",
    ),
    "contract": (
        "sekft_engine.cli.contract",
        "Check that a server feeds its model what training fed.",
    ),
    "base": ("sekft_engine.cli.base", "Add, list and check bases."),
    "factory": ("sekft_engine.cli.factory", "Make scenarios and record trajectories."),
    "worlds": ("sekft_engine.cli.worlds", "Build userlands, and try worlds in every sandbox."),
    "demo": ("sekft_engine.cli.demo", "Make the demo workspace; --run runs the whole loop."),
    "export": ("sekft_engine.cli.export", "Export an adapter: merged, for GGUF, or for the Hub."),
    "queue": ("sekft_engine.cli.queue", "List, reorder and run waiting jobs."),
    "runs": ("sekft_engine.cli.runs.command", "List, show, compare, replay and export runs."),
    "doctor": ("sekft_engine.cli.doctor", "Say what this machine can do and what is missing."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*added_commands(), *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
            return command
        point = added_commands().get(cmd_name)
        if point is not None:
            return _load(point)
        if cmd_name == DEFAULT:
            raise Unavailable(
                f"the installed package does not list the command {DEFAULT!r}",
                mend="install it again: pip install --force-reinstall --no-deps sekft-tui, or in "
                "its source folder: pip install --no-deps -e .",
            )
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        added = [(name, _help_line(point)) for name, point in added_commands().items()]
        with formatter.section("Commands"):
            formatter.write_dl([*added, *((name, line) for name, (_, line) in COMMANDS.items())])


@functools.cache
def added_commands() -> Mapping[str, EntryPoint]:
    """The commands that installed packages add, by name; the engine's own are not replaced."""
    # A tenth of a second that only --help and the added commands themselves have to pay.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP) if point.name not in COMMANDS}


def _load(point: EntryPoint) -> click.Command:
    try:
        command = point.load()
    except (ImportError, AttributeError) as error:
        raise Unavailable(
            f"the command cannot be loaded: {error}",
            where=f"{point.name} ({point.value})",
            mend="install its package again",
        ) from error
    if not isinstance(command, click.Command):
        raise Unavailable(
            "this is no command", where=f"{point.name} ({point.value})", mend="mend its package"
        )
    return command


def _help_line(point: EntryPoint) -> str:
    """The command's line in ``sekft --help``, which a broken package must not spoil."""
    try:
        return _load(point).get_short_help_str(limit=100)
    except Unavailable as error:
        return f"({error.what})"
