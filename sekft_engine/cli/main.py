"""The ``sekft`` command: how a command line is run, and how its errors are printed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from sekft_engine import __version__
from sekft_engine.cli.commands import DEFAULT, LazyGroup
from sekft_engine.core.errors import SekftError
from sekft_engine.core.process import leave
from sekft_engine.core.text import visible


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sekft")
def cli() -> None:
    """A workbench for models that operate a POSIX shell as self-directed citizens."""


def run(arguments: Sequence[str], prog_name: str = "sekft") -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 wrong usage or bad
    input, 130 interrupted. Errors that a person can mend are one line on stderr."""
    words = list(arguments)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, DEFAULT)
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
        from sekft_engine.core.errors import explain_os_error

        explained = explain_os_error(error)
        if explained is None:
            raise
        return _fail(str(explained), explained.exit_status)
    return status if isinstance(status, int) else 0


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
