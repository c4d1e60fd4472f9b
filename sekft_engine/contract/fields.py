"""The fields of a chat request that a server may refuse: learnt once, and remembered.

A server applies sampling defaults of its own (of the model's ``generation_config.json``, say) to
whatever a request leaves open, so every value is sent, the neutral ones too. Strict servers refuse
fields that they do not know. Those are left out again, one by one, for as long as what is left is
the same eval.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from sekft_engine.contract.client import Answer
from sekft_engine.contract.words import blamed, status_in
from sekft_engine.errors import BadInput

#: Values at which a sampler does nothing. ``repeat_penalty`` is what llama.cpp calls
#: ``repetition_penalty``.
NEUTRAL: Mapping[str, Any] = {
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
    "repeat_penalty": 1.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
}
#: Those that change what even a greedy model says.
PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
#: The same by another value: some servers know only one of the two.
OTHERWISE: Mapping[str, Any] = {"top_k": -1}
#: A field by another name.
RENAMED: Mapping[str, str] = {"max_tokens": "max_completion_tokens"}
_MENDS = {
    "temperature": "ask for a temperature that it takes with --temperature",
    "seed": "--temperature 0 draws nothing, and needs no seed",
}


class FieldNeeded(BadInput):
    """A server refuses a field that the eval is not the same without."""


class Sent(msgspec.Struct, frozen=True):
    """The fields of one request, and why others were left out (name -> the server's words); a
    value that was given up for another one stands there with its name (``top_k 0``)."""

    fields: dict[str, Any]
    refused: dict[str, str]


class Fields:
    """What one server takes, for one model. For any thread.

    Args:
        needed: fields that the request is not the same without.
        more: fields that may be left out.
    """

    def __init__(self, needed: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        self._needed, self._more = dict(needed), dict(more)
        self._lock = threading.Lock()
        self._now = Sent({**self._needed, **self._more}, {})
        self._taken = False

    @property
    def now(self) -> Sent:
        """What is sent, by all that is known."""
        with self._lock:
            return self._now

    def took(self, sent: Sent) -> None:
        """The server answered this."""
        with self._lock:
            self._taken = True
            # Another thread may have learnt more since: nothing is put back.
            if len(sent.refused) > len(self._now.refused):
                self._now = sent

    def after(self, sent: Sent, answer: Answer) -> Sent | None:
        """What to send after the server refused ``sent``; None = no field was to blame.

        Raises:
            FieldNeeded: it refuses a field that the request is not the same without.
        """
        status = _status(answer)
        if status is None:
            return None
        named = blamed(answer.body, sent.fields)
        extra = [name for name in named if name in self._more]
        if extra:
            return _changed(sent, extra[0], answer) or _without(sent, extra[:1], answer.message)
        if status >= 500:
            return None
        if len(named) == 1:
            return self._needed_field(sent, named[0], answer)
        return self.bare(sent, answer.message)

    def bare(self, sent: Sent, words: str) -> Sent | None:
        """``sent`` without all that may be left out: a server may refuse what it does not know
        without naming it, or hang up over it. None = it took that once, so that is not it."""
        rest = [name for name in sent.fields if name in self._more]
        with self._lock:
            return _without(sent, rest, words) if rest and not self._taken else None

    def _needed_field(self, sent: Sent, name: str, answer: Answer) -> Sent:
        other = RENAMED.get(name)
        if other is not None:
            fields = {other if key == name else key: value for key, value in sent.fields.items()}
            return Sent(fields, sent.refused | {name: answer.message})
        raise FieldNeeded(
            f"the server refuses {name} {sent.fields[name]:g} ({answer.summary})",
            mend=_MENDS.get(name, "give it another number of tokens with --turn-tokens"),
        )


def _changed(sent: Sent, name: str, answer: Answer) -> Sent | None:
    """The other value that means the same; None = there is none that was not tried."""
    value, other = sent.fields[name], OTHERWISE.get(name)
    if other is None or value == other:
        return None
    return Sent(sent.fields | {name: other}, sent.refused | {f"{name} {value}": answer.message})


def _without(sent: Sent, names: list[str], words: str) -> Sent:
    fields = {key: value for key, value in sent.fields.items() if key not in names}
    return Sent(fields, sent.refused | dict.fromkeys(names, words))


def _status(answer: Answer) -> int | None:
    """The status of a refusal that may be about a field; None = it is something else."""
    status: int | None = answer.status
    if answer.ok:
        error = answer.body.get("error") if isinstance(answer.body, dict) else None
        if not error:
            return None
        status = status_in(error) or 400
    if status in (400, 422) or (status is not None and 500 <= status < 600):
        return status
    return None
