"""Reads the errors of servers in all forms: message, status, and the fields that they blame."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

#: Keys under which servers put an error, and those under which an error has its words.
_ERRORS = ("error", "errors", "detail")
_WORDS = (
    "message",
    "msg",
    "detail",
    "error_msg",
    "error_message",
    "description",
    "reason",
    "error",
)
#: Keys under which they repeat a status.
_STATUS = ("code", "status", "status_code", "statusCode", "http_status")
#: Most errors of a list that are read.
_MOST = 8
#: How servers say that a session exceeds the context: patterns of messages, and names of the error.
_TOO_LONG = re.compile(
    r"context[ _]?(?:length|size|window|limit)|max(?:imum)?[ _]context|max_model_len|max_seq_len"
    r"|max_total_tokens|max_input_len|exceed_context_size|model length|session_len"
    r"|(?:prompt|input|inputs|request|message|messages) (?:is|are|was) too long"
    r"|(?:prompt|input) (?:length|tokens?)\b.{0,40}\b(?:exceeds?|greater|longer|larger)"
    r"|input length exceeds|exceeds the available|reduce the length of the (?:messages|prompt)"
    r"|tokens? (?:count )?.{0,24}exceeds the max|`inputs` tokens \+|`inputs` must have less"
    r"|too many (?:input )?tokens|longer than the maximum",
    re.IGNORECASE,
)
#: How they say that a content filter refused the answer.
_FILTERED = re.compile(
    r"content[ _-]?filter|content management policy|responsible_?ai", re.IGNORECASE
)
#: Messages about rate limits, which name tokens too.
_RATE = re.compile(r"per (?:minute|min|hour|day|second)|rate[ _]limit|\b[RT]P[MD]\b", re.IGNORECASE)


def message(body: Any) -> str:
    """The words of an error as OpenAI, vLLM, llama.cpp, FastAPI, Google and others put them; '' =
    there are none."""
    if not isinstance(body, dict):
        return _first(body) if isinstance(body, list) else ""
    for key in (*_ERRORS, "message", "msg", "error_msg"):
        if words := _first(body.get(key)):
            return words
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return _first(choice.get("error")) if isinstance(choice, dict) else ""


def compact(body: Any, most: int) -> str:
    """The beginning of ``body`` as JSON, for an error that has no words."""
    try:
        return msgspec.json.encode(body)[: 4 * most].decode(errors="replace")[:most]
    except (RecursionError, msgspec.MsgspecError, TypeError, ValueError):
        return ""


def error_in(body: Any) -> Any:
    """The error in an answer of any status; None = there is none."""
    if not isinstance(body, dict):
        return None
    found = body.get("error")
    if found:
        return found
    if body.get("object") == "error" or body.get("type") == "error":
        return body
    return None


def status_in(error: Any) -> int | None:
    """The HTTP status in an error; None = there is none."""
    if isinstance(error, list):
        error = error[0] if error else None
    if not isinstance(error, dict):
        return None
    for key in _STATUS:
        value = error.get(key)
        if isinstance(value, str) and re.fullmatch(r"[1-5]\d\d", value):
            value = int(value)
        if type(value) is int and 400 <= value <= 599:
            return value
    return None


def too_long(words: str) -> bool:
    """Whether an error message says that the session exceeds the context."""
    return bool(_TOO_LONG.search(words)) and not _RATE.search(words)


def filtered(words: str) -> bool:
    """Whether an error message says that a content filter refused the answer."""
    return bool(_FILTERED.search(words))


def labels(body: Any) -> str:
    """The names of an error besides its message, such as ``context_length_exceeded``."""
    error = body.get("error") if isinstance(body, dict) else None
    holders = [holder for holder in (error, body) if isinstance(holder, dict)]
    found = (holder.get(key) for holder in holders for key in ("code", "type"))
    return " ".join(label for label in found if isinstance(label, str))


def blamed(body: Any, sent: Iterable[str]) -> list[str]:
    """The fields of a request that a refusal names, in the order in which it names them.

    Those that it names in a field of their own (OpenAI's ``param``, FastAPI's ``loc``) come alone;
    else all that stand in its words.

    Args:
        sent: the fields to look for.
    """
    wanted = list(sent)
    named = [name for name in _named(body) if name in wanted]
    if named:
        return list(dict.fromkeys(named))
    words = message(body)
    at = {name: _place(name, words) for name in wanted}
    found = [name for name in wanted if at[name] >= 0]
    return sorted(found, key=lambda name: at[name])


def _place(name: str, words: str) -> int:
    found = re.search(rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])", words)
    return found.start() if found else -1


def _named(body: Any) -> Iterator[str]:
    if not isinstance(body, dict):
        return
    error = body.get("error")
    for holder in (body, error):
        if isinstance(holder, dict) and isinstance(holder.get("param"), str):
            # ``body.top_k`` and ``top_k`` are the same to us.
            yield holder["param"].rpartition(".")[2]
    for holder in (body.get("detail"), body.get("errors"), error):
        for item in holder[:_MOST] if isinstance(holder, list) else ():
            loc = item.get("loc") if isinstance(item, dict) else None
            # The name of the field follows the place where it was found.
            parts = [part for part in loc or () if part != "body"] if isinstance(loc, list) else []
            if parts and isinstance(parts[0], str):
                yield parts[0]


def _first(value: Any, depth: int = 3) -> str:
    """The first words in ``value``, a text, an object or a list of them."""
    if isinstance(value, str):
        return value.strip()
    if depth and isinstance(value, list):
        found = (_first(item, depth - 1) for item in value[:_MOST])
        return "; ".join(dict.fromkeys(filter(None, found)))
    if depth and isinstance(value, dict):
        words = next(filter(None, (_first(value.get(key), depth - 1) for key in _WORDS)), "")
        more = value.get("metadata")
        if isinstance(more, dict) and isinstance(more.get("raw"), str):
            words = f"{words}: {more['raw'].strip()}"  # a gateway quotes the error of its server
        loc = value.get("loc")
        if words and isinstance(loc, list):
            place = ".".join(str(part) for part in loc[:_MOST] if isinstance(part, str | int))
            return f"{place}: {words}" if place else words
        return words
    return ""
