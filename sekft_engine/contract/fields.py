"""The fields of a chat request, and which of them a server refuses.

Servers have sampling defaults of their own (from the model's ``generation_config.json``, say) for
fields that a request leaves out, so every value is sent, neutral ones too. Strict servers refuse
fields that they do not know. Those are then left out, one by one, as long as the eval remains the
same.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from sekft_engine.contract.http.client import Answer
from sekft_engine.contract.http.words import blamed, status_in
from sekft_engine.core.errors import BadInput

#: Values at which a sampler has no effect. ``repeat_penalty`` is what llama.cpp calls
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
#: Those that have an effect on greedy decoding too.
PENALTIES = ("repetition_penalty", "presence_penalty", "frequency_penalty")
#: Other values of the same meaning, since some servers know only one of the two.
OTHERWISE: Mapping[str, Any] = {"top_k": -1}
#: Other names of fields.
RENAMED: Mapping[str, str] = {"max_tokens": "max_completion_tokens"}
_MENDS = {
    "temperature": "ask for a temperature that it takes with --temperature",
    "seed": "--temperature 0 draws nothing, and needs no seed",
}


class FieldNeeded(BadInput):
    """A server refuses a field without which it would be another eval."""


class SentFields(msgspec.Struct, frozen=True):
    """The fields of a request.

    Attributes:
        fields: name -> value.
        refused: name -> the server's message, of those left out; a value that was replaced is there
            with its name (``top_k 0``).
    """

    fields: dict[str, Any]
    refused: dict[str, str]


class Fields:
    """The fields that one server accepts for one model. Thread-safe.

    Args:
        needed: fields without which the request would be another one.
        more: fields that may be left out.
    """

    def __init__(self, needed: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        self._needed, self._more = dict(needed), dict(more)
        self._lock = threading.Lock()
        self._now = SentFields({**self._needed, **self._more}, {})
        self._taken = False

    @property
    def now(self) -> SentFields:
        """The fields to send."""
        with self._lock:
            return self._now

    def took(self, sent: SentFields) -> None:
        """Record that the server accepted these fields."""
        with self._lock:
            self._taken = True
            # Another thread may have found more refused fields meanwhile, which stay out.
            if len(sent.refused) > len(self._now.refused):
                self._now = sent

    def after(self, sent: SentFields, answer: Answer) -> SentFields | None:
        """The fields to send after an answer to ``sent``; None = no field was to blame.

        Raises:
            FieldNeeded: the server refuses a field without which the request would be another one.
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

    def bare(self, sent: SentFields, words: str) -> SentFields | None:
        """``sent`` without all fields that may be left out.

        A server may refuse an unknown field without naming it, or close the connection. None where
        it has accepted these fields before, so that they are not to blame.
        """
        rest = [name for name in sent.fields if name in self._more]
        with self._lock:
            return _without(sent, rest, words) if rest and not self._taken else None

    def _needed_field(self, sent: SentFields, name: str, answer: Answer) -> SentFields:
        other = RENAMED.get(name)
        if other is not None:
            fields = {other if key == name else key: value for key, value in sent.fields.items()}
            return SentFields(fields, sent.refused | {name: answer.message})
        raise FieldNeeded(
            f"the server refuses {name} {sent.fields[name]:g} ({answer.summary})",
            mend=_MENDS.get(name, "give it another number of tokens with --turn-tokens"),
        )


def _changed(sent: SentFields, name: str, answer: Answer) -> SentFields | None:
    """The fields with another value of the same meaning; None = there is none left to try."""
    value, other = sent.fields[name], OTHERWISE.get(name)
    if other is None or value == other:
        return None
    return SentFields(
        sent.fields | {name: other}, sent.refused | {f"{name} {value}": answer.message}
    )


def _without(sent: SentFields, names: list[str], words: str) -> SentFields:
    fields = {key: value for key, value in sent.fields.items() if key not in names}
    return SentFields(fields, sent.refused | dict.fromkeys(names, words))


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
