"""Build rows in other processes: a program that reads sessions and answers with packed rows.

``python -m sekft_engine.render.bulk.worker`` is started anew, with pipes: nothing is forked
(threads of a tokenizer or of CUDA do not survive that), and no caller's main module is imported
again.
Messages are msgpack behind their length: first the tokenizer, then lists of sessions, each a list
of the normalised turns' contents; the answer to each list is a list of packed rows, with None for
what cannot be packed.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import IO

import msgspec

import sekft_engine
from sekft_engine.data.clock import Clock
from sekft_engine.render.template.tokenizer import ChatTokenizer

_LENGTH = struct.Struct("<Q")


class TokenizerRecipe(msgspec.Struct, frozen=True, kw_only=True):
    """What another process makes a tokenizer from, and the render digest it must then have."""

    description: bytes
    template: str
    tokens: dict[str, str]
    digest: str
    clock: Clock
    stops: tuple[int, ...]


class Worker:
    """A worker process. Not to be used from two threads at once.

    Args:
        tokenizer: the process gets the same.
    """

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        root = str(Path(sekft_engine.__file__).parent.parent)
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        # The processes share the cores already.
        environment = os.environ | {"PYTHONPATH": path, "TOKENIZERS_PARALLELISM": "false"}
        self._process = subprocess.Popen(
            (sys.executable, "-m", "sekft_engine.render.bulk.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,  # a Ctrl-C is the caller's business
        )
        #: Sent with the first sessions; None afterwards.
        self._recipe: TokenizerRecipe | None = TokenizerRecipe(
            description=tokenizer.description,
            template=tokenizer.template.source,
            tokens=tokenizer.tokens,
            digest=tokenizer.render_digest,
            clock=tokenizer.clock,
            stops=tuple(tokenizer.stops),
        )

    def build(self, sessions: list[list[str]]) -> list[bytes | None] | None:
        """The packed row of each session; None if the process failed.

        Args:
            sessions: the contents of the normalised turns of each.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            return None
        try:
            if self._recipe is not None:
                _send(stdin, self._recipe)
                self._recipe = None
            _send(stdin, sessions)
            answer = _receive(stdout)
            return None if answer is None else msgspec.msgpack.decode(answer, type=_ANSWER)
        except (OSError, ValueError, msgspec.MsgspecError):
            return None

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue
        self._process.kill()
        self._process.wait()


_ANSWER = list[bytes | None]


def _send(pipe: IO[bytes], message: object) -> None:
    data = msgspec.msgpack.encode(message)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes | None:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    data = pipe.read(length)
    return data if len(data) == length else None


def _serve(stdin: IO[bytes], stdout: IO[bytes]) -> None:
    from sekft_engine.data.trajectory import Trajectory, Turn
    from sekft_engine.render.bulk.pack import pack
    from sekft_engine.render.rows.build import build_here

    first = _receive(stdin)
    if first is None:
        return
    recipe = msgspec.msgpack.decode(first, type=TokenizerRecipe)
    description = msgspec.json.decode(recipe.description)
    tokenizer = ChatTokenizer(
        description, recipe.template, recipe.tokens, clock=recipe.clock, stops=recipe.stops
    )
    if tokenizer.render_digest != recipe.digest:
        return  # the caller builds by itself
    while (asked := _receive(stdin)) is not None:
        sessions = msgspec.msgpack.decode(asked, type=list[list[str]])
        trajectories = (
            Trajectory(
                id="",
                turns=tuple(
                    Turn(role="assistant" if number % 2 else "user", content=content)
                    for number, content in enumerate(contents)
                ),
            )
            for contents in sessions
        )
        _send(stdout, [pack(row) for row in build_here(trajectories, tokenizer)])


def _main() -> None:
    # Whatever a library prints must not get between the answers.
    stdout = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _serve(sys.stdin.buffer, stdout)


if __name__ == "__main__":
    _main()
