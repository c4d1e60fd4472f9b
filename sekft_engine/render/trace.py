"""Watch a chat template at work: what it asks about contents, and how far it looks ahead.

Two things are found out by running the template itself, in an environment that follows every
operation in it (:mod:`sekft_engine.render.watch`):

*Blind* to contents: a run over placeholders (:mod:`sekft_engine.render.opaque`) that raised
nothing renders all contents that meet the noted conditions alike, but for the contents.

*Streaming*: a run over *n* messages that raised nothing though it was not told how many there are
(:mod:`sekft_engine.render.stream`) shows the render of every shorter session too: what it wrote
until it asked for message *t*, and what it wrote after the last one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import jinja2
import msgspec

from sekft_engine.render.opaque import Condition, Inspected, Opaque, Tainted
from sekft_engine.render.scaffold import PLACEHOLDER, messages, placeholders
from sekft_engine.render.stream import Stream, Unstreamable
from sekft_engine.render.template import ChatTemplate, environment
from sekft_engine.render.watch import WatchedEnvironment, unwatchable


class Streamed(msgspec.Struct, frozen=True, kw_only=True):
    """One run over some number of turns: what is written before all turns, around the content of
    each, and when there is no further turn."""

    preamble: str
    heads: list[str]
    tails: list[str]
    ending: str


class Tracer:
    """Runs one template over placeholders. Safe to call from several threads.

    ``conditions`` grows with what the runs took for granted of the contents.
    """

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self.conditions: set[Condition] = set()
        self._lock = threading.Lock()
        self._compiled: jinja2.Template | None = None
        self._environment = environment(WatchedEnvironment)
        self._environment.watch()

    def render(self, turns: int, *, prompt: bool) -> str:
        """The render of so many placeholders.

        Raises:
            Inspected: the template looks at contents.
            jinja2.TemplateError, TypeError, ValueError, LookupError: it refuses the session.
        """
        return "".join(self._run(_messages(turns, self.conditions.add), None, prompt))

    def stream(self, turns: int, *, prompt: bool) -> Streamed:
        """The same, told apart by turns.

        Raises:
            Unstreamable: this run says nothing about shorter sessions.
            Inspected, jinja2.TemplateError, ...: as :meth:`render`.
        """
        stream = Stream(_messages(turns, self.conditions.add))
        pieces: list[str] = []
        for piece in self._run(stream, stream, prompt):
            pieces.append(piece)
            stream.written = len(pieces)
        if any(len(cuts) != turns + 1 for cuts in stream.passes):
            raise Unstreamable  # a pass that was broken off
        # Passes that wrote nothing collected something; one wrote the turns.
        wrote = [cuts for cuts in stream.passes if cuts[0] != cuts[-1]]
        if len(wrote) != 1:
            raise Unstreamable
        cuts = wrote[0]
        heads, tails = [], []
        for turn in range(turns):
            parts = PLACEHOLDER.split("".join(pieces[cuts[turn] : cuts[turn + 1]]))
            if len(parts) != 3 or parts[1] != str(turn):
                raise Unstreamable
            heads.append(parts[0])
            tails.append(parts[2])
        return Streamed(
            preamble=_plain(pieces[: cuts[0]]),
            heads=heads,
            tails=tails,
            ending=_plain(pieces[cuts[-1] :]),
        )

    def _run(
        self, given: list[dict[str, str]] | Stream, stream: Stream | None, prompt: bool
    ) -> Iterator[str]:
        with self._lock:
            if self._compiled is None:
                self._compiled = self._compile()
            self._environment.stream = stream
            context = self._compiled.new_context(self._template.variables(given, prompt))
            yield from self._compiled.root_render_func(context)

    def _compile(self) -> jinja2.Template:
        tree = self._environment.parse(self._template.source)
        if unwatchable(tree):
            raise Inspected("escapes, blocks, or a loop that is handed on")
        return self._environment.from_string(tree)


def _messages(turns: int, note: Callable[[Condition], None]) -> list[dict[str, str]]:
    names = enumerate(placeholders(turns))
    return messages([Opaque.make(name, n % 2, note) for n, name in names])


def _plain(pieces: list[str]) -> str:
    if any(isinstance(piece, Tainted) for piece in pieces):
        raise Unstreamable
    return "".join(pieces)
