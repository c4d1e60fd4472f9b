"""One model on one server, asked for command turns: each answer judged by the one table."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sekft_engine.contract.answers import Judged, judge
from sekft_engine.contract.client import Answer, Client, Fault
from sekft_engine.contract.fields import NEUTRAL, FieldNeeded, Fields, Sent

PATH = "/v1/chat/completions"
#: What an answer may have beside its words: ids, usage, timings.
_ROOM = 64 << 10
#: No token is longer, escaped as JSON and with its thoughts; what was sent may come back.
_PER_TOKEN, _ECHO = 1 << 10, 4


class Chat:
    """Asks ``model`` of the server that ``client`` talks to. For any thread.

    Args:
        turn_tokens: most tokens of an answer.
        temperature: 0 = greedy.
    """

    def __init__(self, client: Client, model: str, *, turn_tokens: int, temperature: float) -> None:
        self.client, self.model = client, model
        self._room = turn_tokens
        needed: dict[str, Any] = {"max_tokens": turn_tokens, "temperature": temperature, "seed": 0}
        more = dict(NEUTRAL)
        # A greedy model draws nothing, and at 1 a sampler does nothing: then these are neutral.
        for name, neutral in (("seed", temperature == 0), ("temperature", temperature == 1)):
            if neutral:
                more = {name: needed.pop(name)} | more
        self._fields = Fields(needed, more)
        self._lock = threading.Lock()
        self._rows: Counter[str] = Counter()

    @property
    def rows(self) -> dict[str, int]:
        """How many answers fell into which row of the table of
        :mod:`~sekft_engine.contract.answers`."""
        with self._lock:
            return dict(self._rows)

    @property
    def sent(self) -> Sent:
        """What is sent beside model, messages and seed, by all that was learnt."""
        return self._fields.now

    def ask(self, messages: Sequence[Mapping[str, str]], *, seed: int, least: int = 0) -> Judged:
        """One turn.

        Args:
            seed: for its draws.
            least: the prompt has at least so many tokens; 0 = not known.

        Raises:
            FieldNeeded: the server refuses what the eval is not the same without.
        """
        sent = self._fields.now
        while True:
            answer = self._post(messages, sent, seed, least)
            judged = judge(answer, room=self._room, least=least)
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
        self, messages: Sequence[Mapping[str, str]], sent: Sent, seed: int, least: int
    ) -> Answer | Fault:
        body = {"model": self.model, "messages": messages, "stream": False, **sent.fields}
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
                PATH, body, limit=_ROOM + _PER_TOKEN * self._room + _ECHO * size, again=again
            )
        except Fault as fault:
            return fault

    def _blames(self, sent: Sent, answer: Answer, judged: Judged) -> bool:
        """Whether an error is about a field, so that it does not pass by itself."""
        try:
            return self._after(sent, answer, judged) is not None
        except FieldNeeded:
            return True

    def _after(self, sent: Sent, answer: Answer | Fault, judged: Judged) -> Sent | None:
        """What to send next; None = the answer stands."""
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
