"""One answer: what is asked of the model, and what has come of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from sekft_engine.operators.caching import Scores
from sekft_engine.operators.decoder import Acting, Sampling, Top
from sekft_engine.serve.errors import ApiError
from sekft_engine.serve.text import TextStream

#: Why an answer ended.
Finish = Literal["stop", "length"]


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of the model.

    Attributes:
        model: its name, for the figures.
        acting: the adapter that acts.
        ids: the prompt.
        room: most ids of the answer.
        sampling: how they are chosen.
        seed: of the draws.
        stops: strings before which the text ends.
        score: number of likeliest ids at each place of the prompt, which is scored; None = it is
            not scored.
        stream: pieces are wanted as they come.
    """

    model: str
    acting: Acting
    ids: tuple[int, ...]
    room: int
    sampling: Sampling = Sampling()
    seed: int = 0
    stops: tuple[str, ...] = ()
    score: int | None = None
    stream: bool = False


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an answer.

    Attributes:
        text: that is new.
        ids, logprobs, top: that are new, the id that ends the turn included.
        finish: why the answer ended; None = it goes on.
        stopped: the stop string that ended it.
        scores: of the prompt, with the last piece.
        shared: number of the prompt's ids whose keys and values were there already.
        error: why there is no answer.
    """

    text: str = ""
    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    top: tuple[Top, ...] = ()
    finish: str | None = None
    stopped: str | None = None
    scores: Scores | None = None
    shared: int = 0
    error: ApiError | None = None


class Generation:
    """One answer on its way through the queue and the decoder.

    Args:
        asked: what is asked.
        decode: gives the text of ids.
        give: takes the pieces, on the decoder's thread. Without a stream there is one.
    """

    def __init__(
        self, asked: Asked, decode: Callable[[Sequence[int]], str], give: Callable[[Piece], None]
    ) -> None:
        self.asked = asked
        self.key = ""  #: of its row; empty = it has none
        self.arrived = time.monotonic()
        self.first = 0.0  #: when its first id came
        self.count = 0  #: ids that came
        self._text = TextStream(decode, asked.stops)
        self._give = give
        self._left = threading.Event()
        self._held: list[Piece] = []
        self.over = False
        self.outcome: Literal["stop", "length", "failed"] = "failed"

    def leave(self) -> None:
        """Note that nobody waits for the answer any more. Thread-safe."""
        self._left.set()

    @property
    def is_left(self) -> bool:
        """Whether nobody waits for it."""
        return self._left.is_set()

    def push(
        self,
        ids: Sequence[int],
        logprobs: Sequence[float],
        top: Sequence[Top],
        *,
        stop: int | None = None,
        finish: Finish | None = None,
        scores: Scores | None = None,
        shared: int = 0,
    ) -> None:
        """Take new ids of the answer.

        Args:
            ids: without the id that ends the turn.
            logprobs, top: of all new ids, that id included.
            stop: the id that ends the turn.
            finish: why the turn ended; None = it goes on.
            scores: of the prompt.
            shared: number of the prompt's ids that did not go through the model again.
        """
        if not self.first and (ids or finish):
            self.first = time.monotonic()
        text, used = "", 0
        for token in ids:  # one by one: what follows a stop string is not part of the answer
            text += self._text.push([token])
            used += 1
            if self._text.stopped is not None:
                finish, stop = "stop", None
                break
        if finish is not None:
            text += self._text.finish()
            if self._text.stopped is not None:
                finish = "stop"
        new = tuple(ids[:used]) + (() if stop is None else (stop,))
        self.count += len(new)
        if finish is not None:
            self.over, self.outcome = True, finish
        self._emit(
            Piece(
                text=text,
                ids=new,
                logprobs=tuple(logprobs[: len(new)]),
                top=tuple(top[: len(new)]),
                finish=finish,
                stopped=self._text.stopped,
                scores=scores,
                shared=shared,
            )
        )

    def fail(self, error: ApiError) -> None:
        """End the answer with an error."""
        self.over = True
        self._held.clear()
        self._emit(Piece(error=error))

    def _emit(self, piece: Piece) -> None:
        if self.asked.stream or piece.error is not None:
            self._give(piece)
            return
        self._held.append(piece)
        if self.over:
            self._give(_joined(self._held))


def _joined(pieces: Sequence[Piece]) -> Piece:
    last = pieces[-1]
    return msgspec.structs.replace(
        last,
        text="".join(piece.text for piece in pieces),
        ids=tuple(token for piece in pieces for token in piece.ids),
        logprobs=tuple(value for piece in pieces for value in piece.logprobs),
        top=tuple(top for piece in pieces for top in piece.top),
    )
