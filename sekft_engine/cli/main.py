"""The ``sekft`` command: a thin, lazily loaded table of commands, and how errors are told."""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from sekft_engine import __version__
from sekft_engine.errors import SekftError
from sekft_engine.leaving import leave
from sekft_engine.visible import visible

#: Command name -> (module that exports ``command``, one line for ``sekft --help``). The modules
#: are imported only when called, so that help and start-up stay instant.
COMMANDS = {
    "tui": ("sekft_tui.cli", "Open the workbench (plain `sekft` is the same)."),
    "train": ("sekft_engine.cli.train", "Fine-tune an adapter, or inspect what would be trained."),
    "eval": ("sekft_engine.cli.eval", "Let base and adapters act in sandboxed worlds, and judge."),
    "takeover": ("sekft_engine.cli.takeover", "Go on by hand where a session had come to."),
    "resident": ("sekft_engine.cli.resident", "Keep a base loaded; jobs in, events out."),
    "mask": ("sekft_engine.cli.mask", "Show which tokens are trained, with the certificate."),
    "contract": ("sekft_engine.cli.contract", "Check that a live server feeds what was trained."),
    "base": ("sekft_engine.cli.base", "Add, list and check bases."),
    "factory": ("sekft_engine.cli.factory", "Make scenarios and record trajectories."),
    "worlds": ("sekft_engine.cli.worlds", "Build userlands, and try worlds in every sandbox."),
    "demo": ("sekft_engine.cli.demo", "Make the demo workspace; --run proves the effect."),
    "export": ("sekft_engine.cli.export", "Merge an adapter, or lay it out for GGUF or the Hub."),
    "queue": ("sekft_engine.cli.queue", "List, order and do what waits."),
    "runs": ("sekft_engine.cli.runs", "List, show and export runs."),
    "doctor": ("sekft_engine.cli.doctor", "Say what this machine can do and what is missing."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sekft")
def cli() -> None:
    """A workbench for models that operate a POSIX shell as self-directed citizens."""


def run(arguments: Sequence[str], prog_name: str = "sekft") -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 wrong usage or bad
    input, 130 interrupted. Errors that a person can mend are one line on stderr."""
    words = list(arguments)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, "tui")
    try:
        status = cli.main(args=words, prog_name=prog_name, standalone_mode=False)
    except click.exceptions.Abort:
        return _fail("interrupted", 130)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SekftError as error:
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except BrokenPipeError:
        # The reader of our output left (`sekft mask | head`): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _MENDS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror} ({_MENDS[error.errno]})", 2)
    return status if isinstance(status, int) else 0


_MENDS = {
    errno.ENOSPC: "free some space or choose another disk",
    errno.EDQUOT: "free some space or choose another disk",
    errno.EACCES: "choose a place you may read and write",
    errno.EPERM: "choose a place you may read and write",
    errno.EROFS: "choose a place you may write to",
}


def _fail(line: str, status: int) -> int:
    click.echo(f"sekft: error: {visible(' '.join(line.splitlines()))}", err=True)
    return status


def main() -> NoReturn:
    """Entry point of ``sekft``."""
    leave(run(sys.argv[1:]))


def train_main() -> NoReturn:
    """Entry point of ``sekft-train``, the same as ``sekft train``."""
    leave(run(["train", *sys.argv[1:]]))


def eval_main() -> NoReturn:
    """Entry point of ``sekft-eval``, the same as ``sekft eval``."""
    leave(run(["eval", *sys.argv[1:]]))


def resident_main() -> NoReturn:
    """Entry point of ``sekft-resident``, the same as ``sekft resident``."""
    leave(run(["resident", *sys.argv[1:]]))
