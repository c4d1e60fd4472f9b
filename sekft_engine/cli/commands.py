"""The commands there are: those of the engine, and those that packages add to it.

A package adds a command by an entry point of the group ``sekft.commands``, whose name is the
command's and whose value is the :class:`click.Command`. So the screens come, too.
"""

from __future__ import annotations

import contextlib
import difflib
import functools
import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sekft_engine.core.errors import Unavailable

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

#: The group of entry points.
GROUP = "sekft.commands"
#: The group of screens for commands that work without one, too: the name is the command's.
SCREENS = "sekft.screens"
#: What ``sekft`` without a command means. It is added to the engine.
DEFAULT = "tui"

#: Command name -> (module that exports ``command``, one line for ``sekft --help``). The modules
#: are imported only when called, so that help and start-up stay instant.
COMMANDS = {
    "train": ("sekft_engine.cli.train", "Fine-tune an adapter, or inspect what would be trained."),
    "plan": ("sekft_engine.cli.plan.command", "Say whether a run fits into memory, and how fast."),
    "eval": ("sekft_engine.cli.eval", "Evaluate base and adapters in sandboxed worlds."),
    "shell": ("sekft_engine.cli.shell.command", "Watch a model log in, live; take the keyboard."),
    "takeover": ("sekft_engine.cli.takeover", "Continue a session by hand from any turn."),
    "resident": ("sekft_engine.cli.resident", "Keep a base loaded: jobs in, events out."),
    "serve": (
        "sekft_engine.cli.serve.command",
        "Serve a base and adapters as OpenAI's API.",
    ),
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
    "experiment": (
        "sekft_engine.cli.experiment.command",
        "Run the whole experiment, its controls, ablations and report.",
    ),
    "improve": (
        "sekft_engine.cli.experiment.improve",
        "Let an adapter learn from what it did rightly.",
    ),
    "pairs": (
        "sekft_engine.cli.experiment.pairs",
        "Write preference pairs of an eval's sessions, for DPO.",
    ),
    "gate": (
        "sekft_engine.cli.experiment.gate",
        "Pass or fail by the bounds of a run's rates, for CI.",
    ),
    "export": ("sekft_engine.cli.export", "Export an adapter: merged, for GGUF, or for the Hub."),
    "queue": ("sekft_engine.cli.queue", "List, reorder and run waiting jobs."),
    "runs": ("sekft_engine.cli.runs.command", "List, show, compare, replay and export runs."),
    "doctor": ("sekft_engine.cli.doctor", "Say what this machine can do and what is missing."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*listed_commands(), *COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in COMMANDS:
            command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
            return command
        point = added_commands().get(cmd_name)
        if point is not None:
            return _load(point.name, point.value)
        if cmd_name == DEFAULT:
            raise Unavailable(
                f"the installed package does not list the command {DEFAULT!r}",
                mend="install it again: pip install --force-reinstall --no-deps sekft-tui, or in "
                "its source folder: pip install --no-deps -e .",
            )
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown command is refused with those that it may be a slip for."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], [*COMMANDS, *added_commands()])
            if not near or args[0] in near:
                raise
            meant = " or ".join(repr(name) for name in near)
            what = f"No such command {args[0]!r}. Did you mean {meant}?"
            raise click.UsageError(what, ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        added = [(name, _help_line(name, value)) for name, value in listed_commands().items()]
        with formatter.section("Commands"):
            formatter.write_dl([*added, *((name, line) for name, (_, line) in COMMANDS.items())])


@functools.cache
def added_commands() -> Mapping[str, EntryPoint]:
    """The commands that installed packages add, by name; the engine's own are not replaced."""
    # A tenth of a second that only the added commands themselves have to pay.
    from importlib.metadata import entry_points

    return {point.name: point for point in entry_points(group=GROUP) if point.name not in COMMANDS}


def screen_point(name: str) -> str | None:
    """The screen of the command ``name`` as ``module:attribute``; None = no package has one."""
    from importlib.metadata import entry_points

    return next((point.value for point in entry_points(group=SCREENS, name=name)), None)


@functools.cache
def listed_commands() -> Mapping[str, str]:
    """The commands that installed packages add, as ``--help`` lists them: name -> value of the
    entry point.

    The files are read as importlib.metadata reads them, which takes longer to import than all else
    that ``--help`` does.
    """
    found: dict[str, str] = {}
    for folder in map(Path, sys.path):
        for file in sorted(folder.glob("*.dist-info/entry_points.txt")):
            with contextlib.suppress(OSError, UnicodeDecodeError):
                for name, value in _entries(file.read_text(encoding="utf-8")):
                    if name not in COMMANDS:
                        found.setdefault(name, value)
    return found


def _entries(text: str) -> Iterator[tuple[str, str]]:
    """The entries of our group in a file of entry points."""
    group = ""
    for line in map(str.strip, text.splitlines() if GROUP in text else ()):
        if line.startswith("["):
            group = line.strip("[] ")
        elif group == GROUP and "=" in line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _load(name: str, value: str) -> click.Command:
    """The command that an entry point names as ``module:attribute``."""
    module, _, attribute = value.partition(":")
    try:
        command = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise Unavailable(
            f"the command cannot be loaded: {error}",
            where=f"{name} ({value})",
            mend="install its package again",
        ) from error
    if not isinstance(command, click.Command):
        raise Unavailable("this is no command", where=f"{name} ({value})", mend="mend its package")
    return command


def _help_line(name: str, value: str) -> str:
    """The command's line in ``sekft --help``, which a broken package must not spoil."""
    try:
        return _load(name, value).get_short_help_str(limit=100)
    except Unavailable as error:
        return f"({error.what})"
