"""Trace a chat template: what does it ask about contents, and how far does it look ahead?

Both are found by running the template itself, in an environment that intercepts every operation
(:mod:`~sekft_engine.render.template.taint_environment`):

*Blind to contents*: a run over placeholders (:mod:`~sekft_engine.render.template.taint_string`)
that raises nothing writes the same text around all contents that meet the recorded conditions.

*Streaming*: a run over *n* messages of unknown number
(:mod:`~sekft_engine.render.template.taint_stream`) that raises nothing gives the render of every
shorter session too: what it wrote before it asked for message *t*, and what it wrote after the last
one.

docs/render.md explains the method with a worked example.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import jinja2
import msgspec

from sekft_engine.render.template.sandbox.environment import environment
from sekft_engine.render.template.scaffold import PLACEHOLDER, messages, placeholders
from sekft_engine.render.template.taint_environment import (
    TaintEnvironment,
    untraceable,
)
from sekft_engine.render.template.taint_stream import MessageStream, NotStreamable
from sekft_engine.render.template.taint_string import (
    Condition,
    ContentInspected,
    Placeholder,
    Tainted,
)
from sekft_engine.render.template.template import ChatTemplate


class StreamedRender(msgspec.Struct, frozen=True, kw_only=True):
    """The text of one streaming run, cut at the messages.

    Attributes:
        preamble: written before the first message is asked for.
        heads: per turn, written before its content.
        tails: per turn, written after its content and before the next message is asked for.
        ending: written after the last message.
    """

    preamble: str
    heads: list[str]
    tails: list[str]
    ending: str


class Tracer:
    """Runs one template over placeholders. Safe to call from several threads.

    Attributes:
        conditions: what all runs so far assumed of the contents.
    """

    def __init__(self, template: ChatTemplate) -> None:
        self._template = template
        self.conditions: set[Condition] = set()
        self._lock = threading.Lock()
        self._compiled: jinja2.Template | None = None
        self._environment = environment(TaintEnvironment)
        self._environment.install_hooks()

    def render(self, turns: int, *, prompt: bool) -> str:
        """The render of a session of placeholders.

        Args:
            turns: its length.
            prompt: whether to add the generation prompt.

        Raises:
            ContentInspected: the template inspects contents.
            Exception: it refuses the session, or does not end.
        """
        contents = _messages(turns, self.conditions.add)
        return self._template.run(lambda: "".join(self._run(contents, None, prompt)), turns)

    def stream(self, turns: int, *, prompt: bool) -> StreamedRender:
        """The same, cut at the turns.

        Raises:
            NotStreamable: this run says nothing about shorter sessions.
            ContentInspected, Exception: as :meth:`render`.
        """
        stream = MessageStream(_messages(turns, self.conditions.add))
        pieces: list[str] = []

        def run() -> None:
            for piece in self._run(stream, stream, prompt):
                pieces.append(piece)
                stream.written = len(pieces)

        self._template.run(run, turns)
        if any(len(cuts) != turns + 1 for cuts in stream.loops):
            raise NotStreamable  # a loop that was left early
        # Loops that write nothing collect something; exactly one writes the turns.
        writing = [cuts for cuts in stream.loops if cuts[0] != cuts[-1]]
        if len(writing) != 1:
            raise NotStreamable
        cuts = writing[0]
        heads, tails = [], []
        for turn in range(turns):
            parts = PLACEHOLDER.split("".join(pieces[cuts[turn] : cuts[turn + 1]]))
            if len(parts) != 3 or parts[1] != str(turn):
                raise NotStreamable
            heads.append(parts[0])
            tails.append(parts[2])
        return StreamedRender(
            preamble=_plain(pieces[: cuts[0]]),
            heads=heads,
            tails=tails,
            ending=_plain(pieces[cuts[-1] :]),
        )

    def _run(
        self,
        messages: list[dict[str, str]] | MessageStream,
        stream: MessageStream | None,
        prompt: bool,
    ) -> Iterator[str]:
        with self._lock:
            if self._compiled is None:
                self._compiled = self._compile()
            self._environment.stream = stream
            context = self._compiled.new_context(self._template.variables(messages, prompt))
            yield from self._compiled.root_render_func(context)

    def _compile(self) -> jinja2.Template:
        tree = self._environment.parse(self._template.source)
        if untraceable(tree):
            raise ContentInspected("escaping, blocks, or a loop that is passed on")
        return self._environment.from_string(tree)


def _messages(turns: int, record: Callable[[Condition], None]) -> list[dict[str, str]]:
    texts = enumerate(placeholders(turns))
    return messages([Placeholder.make(text, number % 2, record) for number, text in texts])


def _plain(pieces: list[str]) -> str:
    if any(isinstance(piece, Tainted) for piece in pieces):
        raise NotStreamable
    return "".join(pieces)
