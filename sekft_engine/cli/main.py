"""The ``sekft`` command: how a command line is run, and how its errors are printed."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NoReturn

import click

from sekft_engine import __version__
from sekft_engine.cli.commands import DEFAULT, LazyGroup
from sekft_engine.cli.show.document import Document
from sekft_engine.core.errors import SekftError, Unexpected, known_error
from sekft_engine.core.process import leave
from sekft_engine.core.streams import forgive_streams
from sekft_engine.core.text import visible

#: Before any command, or behind it: shows the traceback of an unexpected error.
DEBUG = "--debug"


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sekft")
@click.option(
    DEBUG, is_flag=True, help="Show the traceback of an unexpected error; goes with any command."
)
def cli(debug: bool) -> None:
    """A workbench for models that operate a POSIX shell as self-directed citizens."""
    del debug  # taken out of the command line before


def run(arguments: Sequence[str], prog_name: str = "sekft") -> int:
    """Run the command line and return its exit status: 0 done, 1 failed, 2 wrong usage or bad
    input, 130 interrupted. Errors are one line on stderr, and with ``--json`` the document."""
    words, debug = _without_debug(arguments)
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help", "--version")):
        words.insert(0, DEFAULT)
    document = Document.begin(wanted="--json" in _options(words))
    forgive_streams()
    with _threads_reported(words, debug=debug):
        try:
            status = cli.main(args=words, prog_name=prog_name, standalone_mode=False)
            sys.stdout.flush()
        except (click.exceptions.Abort, KeyboardInterrupt):
            return _fail("interrupted", 130, document)
        except click.UsageError as error:
            error.show()
            return _refuse(error, document)
        except click.ClickException as error:
            return _fail(error.format_message(), error.exit_code, document)
        except BrokenPipeError:
            # The reader of our output left (`sekft mask | head`): not an error of ours.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except SekftError as error:
            return _explain(error, words, document, debug=debug)
        except Exception as error:  # noqa: BLE001 - the last resort
            if isinstance(error, OSError):
                _drop_output()
            return _explain(known_error(error), words, document, debug=debug)
    return status if isinstance(status, int) else 0


def _without_debug(arguments: Sequence[str]) -> tuple[list[str], bool]:
    words, debug = list(arguments), bool(os.environ.get("SEKFT_DEBUG"))
    while DEBUG in _options(words):
        words.remove(DEBUG)
        debug = True
    return words, debug


def _options(words: Sequence[str]) -> Sequence[str]:
    """The words up to a ``--``, after which there are no options."""
    return words[: words.index("--")] if "--" in words else words


def _drop_output() -> None:
    """Let no rest of the output fail again when the process ends."""
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: SekftError, words: Sequence[str], document: Document, *, debug: bool) -> int:
    """Print an error in one line; an unexpected one with the place of its report."""
    trace = error.trace if isinstance(error, Unexpected) else ""
    if trace:
        from sekft_engine.core.crash import write_report

        report = write_report(trace, words)
        place = f"a report is in {report}" if report is not None else "no report could be written"
        mend = place if debug else f"{place}; {DEBUG} shows the trace"
        error = Unexpected(f"unexpected {error.what}", where=error.where, mend=mend, trace=trace)
    if debug:
        import traceback

        click.echo(trace or "".join(traceback.format_exception(error)), err=True, nl=False)
    document.fail(error, trace=trace if debug else "")
    return _line(str(error), error.exit_status)


def _refuse(error: click.UsageError, document: Document) -> int:
    place = error.ctx.command_path if error.ctx is not None else "sekft"
    refusal = SekftError(error.format_message(), where=place, mend=f"{place} --help")
    document.fail(refusal, status=error.exit_code)
    return error.exit_code


def _fail(what: str, status: int, document: Document) -> int:
    document.fail(SekftError(what), status=status)
    return _line(what, status)


def _line(text: str, status: int) -> int:
    click.echo(f"sekft: error: {visible(' '.join(text.splitlines()))}", err=True)
    return status


@contextlib.contextmanager
def _threads_reported(words: Sequence[str], *, debug: bool) -> Iterator[None]:
    """Let the unexpected error of a thread be a line and a report, too."""

    stream = sys.stderr  # a display may stand for it when the thread fails

    def report(arguments: threading.ExceptHookArgs) -> None:
        error = arguments.exc_value
        if not isinstance(error, Exception):
            return
        with contextlib.redirect_stderr(stream):
            _explain(known_error(error), words, Document.none(), debug=debug)

    before, threading.excepthook = threading.excepthook, report
    try:
        yield
    finally:
        threading.excepthook = before


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


if __name__ == "__main__":  # `python -m sekft_engine.cli.main` is `sekft` too
    main()
