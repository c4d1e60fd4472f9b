"""Asks one model on one server for command turns, and classifies each answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from sekft_engine.contract.answers import JudgedAnswer, judge
from sekft_engine.contract.fields import NEUTRAL, FieldNeeded, Fields, SentFields
from sekft_engine.contract.http.client import Answer, Client
from sekft_engine.contract.http.fault import Fault

PATH = "/v1/chat/completions"
#: Most bytes of an answer besides its text: ids, usage, timings.
_ROOM = 64 << 10
#: Most bytes of a token as escaped JSON, thoughts included; and the share of the request that the
#: answer may repeat.
_PER_TOKEN, _ECHO = 1 << 10, 4
#: Answers to a streamed request that may be another one without a stream.
_NO_STREAM = ("refused", "no_completion", "no_choices", "not_there", "server_error")


class Chat:
    """A chat with one model. Thread-safe.

    Args:
        client: of the server.
        model: its name there.
        turn_tokens: most tokens of an answer.
        temperature: 0 = greedy.
    """

    def __init__(self, client: Client, model: str, *, turn_tokens: int, temperature: float) -> None:
        self.client, self.model = client, model
        self._room = turn_tokens
        needed: dict[str, Any] = {"max_tokens": turn_tokens, "temperature": temperature, "seed": 0}
        more = dict(NEUTRAL)
        # The seed has no effect on greedy decoding, and a temperature of 1 is the default.
        for name, neutral in (("seed", temperature == 0), ("temperature", temperature == 1)):
            if neutral:
                more = {name: needed.pop(name)} | more
        self._fields = Fields(needed, more)
        self._lock = threading.Lock()
        self._rows: Counter[str] = Counter()
        self._streams = True

    @property
    def rows(self) -> dict[str, int]:
        """The number of answers by row of :data:`~sekft_engine.contract.answers.ANSWERS`."""
        with self._lock:
            return dict(self._rows)

    @property
    def sent(self) -> SentFields:
        """The fields that are sent besides model, messages and seed."""
        return self._fields.now

    def ask(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        seed: int,
        least: int = 0,
        written: Callable[[str], None] | None = None,
    ) -> JudgedAnswer:
        """Ask for one command turn.

        Args:
            messages: the session so far.
            seed: of the draws.
            least: the fewest tokens that the prompt has; 0 = unknown.
            written: takes the words of the answer so far, as they come; None = it is not streamed.

        Raises:
            FieldNeeded: the server refuses a field without which this would be another eval.
        """
        sent = self._fields.now
        while True:
            streams = written if self._streams else None
            answer = self._post(messages, sent, seed, least, streams)
            judged = judge(answer, room=self._room, least=least)
            if streams is not None and judged.kind in _NO_STREAM:
                self._streams = False  # it may be the stream that the server does not like
                continue
            try:
                following = self._after(sent, answer, judged)
            except FieldNeeded:
                self._count("field_needed")
                raise
            if following is None:
                self._count(judged.kind)
                if judged.decision in ("act", "cap", "invalid"):
                    self._fields.took(sent)
                return judged
            self._count("field_dropped")
            sent = following

    def _post(
        self,
        messages: Sequence[Mapping[str, str]],
        sent: SentFields,
        seed: int,
        least: int,
        written: Callable[[str], None] | None,
    ) -> Answer | Fault:
        body = {"model": self.model, "messages": messages, "stream": False, **sent.fields}
        if written is not None:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if "seed" in body:
            body["seed"] = seed & 0x7FFFFFFF
        size = len(msgspec.json.encode(body))

        def again(answer: Answer) -> bool:
            judged = judge(answer, room=self._room, least=least)
            if judged.decision != "again" or self._blames(sent, answer, judged):
                return False
            self._count(judged.kind)
            return True

        try:
            return self.client.post(
                PATH,
                body,
                limit=_ROOM + _PER_TOKEN * self._room + _ECHO * size,
                again=again,
                written=written,
            )
        except Fault as fault:
            return fault

    def _blames(self, sent: SentFields, answer: Answer, judged: JudgedAnswer) -> bool:
        """Whether an error blames a field, so that asking again does not help."""
        try:
            return self._after(sent, answer, judged) is not None
        except FieldNeeded:
            return True

    def _after(
        self, sent: SentFields, answer: Answer | Fault, judged: JudgedAnswer
    ) -> SentFields | None:
        """The fields to send next; None = the answer is final."""
        if isinstance(answer, Fault):
            return self._fields.bare(sent, answer.what) if answer.kind == "lost" else None
        if judged.decision not in ("again", "elsewhere"):
            return None
        try:
            return self._fields.after(sent, answer)
        except FieldNeeded as refusal:
            raise FieldNeeded(
                refusal.what, where=f"{self.client.endpoint}, {self.model}", mend=refusal.mend
            ) from None

    def _count(self, row: str) -> None:
        with self._lock:
            self._rows[row] += 1
