"""Classifies the answers of servers: whether an answer is the model's, and what to do about others.

A server's fault, a limit, or a prompt that was cut is never taken for the model's answer. Every
answer, and every failure to answer, belongs to exactly one row of :data:`ANSWERS`, which
:func:`judge` finds. ``docs/contract.md`` has the same table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from sekft_engine.contract.completion import Completion, Missing, read
from sekft_engine.contract.http.client import Answer, passes
from sekft_engine.contract.http.fault import Fault
from sekft_engine.contract.http.words import (
    error_in,
    filtered,
    labels,
    status_in,
    too_long,
)

#: What is done about an answer:
#: ``act``: it is the model's, and is typed.
#: ``cap``: a limit ended the session there; nothing is typed.
#: ``again``: the same server is asked again after a pause, then another one; else invalid.
#: ``elsewhere``: another server of the fleet is asked; else invalid.
#: ``invalid``: the episode does not count. Another server of the same model would answer the same.
#: ``without``: the server is asked again without the field that it refused.
#: ``stop``: the eval ends.
Decision = Literal["act", "cap", "again", "elsewhere", "invalid", "without", "stop"]


class AnswerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table.

    Attributes:
        when: which answers belong to it.
        decision: what is done about them.
        mend: what the user can do.
        rests: the server fails, so that a fleet leaves it alone for a while.
    """

    when: str
    decision: Decision
    mend: str = ""
    rests: bool = False


_LOG = "look at the server's log"
_LONGER = "serve with a longer context: num_ctx in Ollama, -c in llama.cpp, --max-model-len in vLLM"
_NO_THINKING = (
    "give it more --turn-tokens, or switch thinking off where it is served, with "
    "enable_thinking false in chat_template_kwargs"
)

#: Name -> row; the first that fits applies.
ANSWERS: Mapping[str, AnswerRow] = {
    # --- no answer
    "timed_out": AnswerRow(
        when="no whole answer within `--timeout`",
        decision="elsewhere",
        mend="give it longer with --timeout, or ask for less at once with --concurrency",
        rests=True,
    ),
    "too_large": AnswerRow(
        when="more bytes than the tokens of a turn can have",
        decision="elsewhere",
        mend="is this the model server's address?",
        rests=True,
    ),
    "lost": AnswerRow(
        when="the connection broke, or what came is no HTTP",
        decision="again",
        mend=_LOG,
        rests=True,
    ),
    "unreachable": AnswerRow(
        when="nothing listens there, or no way leads there",
        decision="again",
        mend="start the server, or give its address with --endpoint",
        rests=True,
    ),
    "no_server": AnswerRow(
        when="no such host, TLS fails, or the proxy refuses",
        decision="elsewhere",
        mend="give its address with --endpoint",
        rests=True,
    ),
    # --- an error: by its words, its HTTP status, or the status that it repeats inside a 200
    "context_full": AnswerRow(
        when="an error whose words say that the session does not fit into the context, or a "
        "`finish_reason` that says so; before the first command it is invalid",
        decision="cap",
        mend=_LONGER,
    ),
    "field_dropped": AnswerRow(
        when="an error that blames a field which may be left out (a neutral sampling value; the "
        "seed of a greedy eval), or `max_tokens` where `max_completion_tokens` is taken",
        decision="without",
    ),
    "field_needed": AnswerRow(
        when="an error that blames `temperature`, `seed` or both names of the tokens of a turn, "
        "where another value makes another eval",
        decision="stop",
    ),
    "wrong_key": AnswerRow(
        when="status 401, 403 or 407",
        decision="elsewhere",
        mend="name the environment variable that holds its key with --api-key-env",
        rests=True,
    ),
    "busy": AnswerRow(
        when="status 408, 425 or 429",
        decision="again",
        mend="ask for less at once with --concurrency",
        rests=True,
    ),
    "server_error": AnswerRow(
        when="any other status of 500 to 599, but 501, 505 and 511",
        decision="again",
        mend=_LOG,
        rests=True,
    ),
    "refused": AnswerRow(
        when="status 400, 413 or 422", decision="elsewhere", mend="see its own words, and its log"
    ),
    "not_there": AnswerRow(
        when="any other status that is no 2xx: no such route, no such model, a redirect",
        decision="elsewhere",
        mend="is it the right --endpoint and --model?",
        rests=True,
    ),
    "error_inside": AnswerRow(
        when="an error inside a 200 that repeats no status", decision="again", mend=_LOG, rests=True
    ),
    # --- a 200 without a completion
    "no_choices": AnswerRow(
        when="`choices` is empty or null", decision="again", mend=_LOG, rests=True
    ),
    "no_completion": AnswerRow(
        when="JSON of another shape, JSON that is cut off or too deep, what cannot be unpacked, "
        "HTML, nothing",
        decision="elsewhere",
        mend="is this the address of an OpenAI-compatible server?",
        rests=True,
    ),
    # --- a completion that is not the model's, or not all of it
    "finish_error": AnswerRow(
        when="`finish_reason` error or abort, or an error inside the choice",
        decision="again",
        mend=_LOG,
        rests=True,
    ),
    "content_filter": AnswerRow(
        when="`finish_reason` content_filter or safety, or a 400 or 422 that speaks of a filter",
        decision="invalid",
        mend="switch the provider's filter off, or serve the model yourself",
    ),
    "tool_calls": AnswerRow(
        when="tool calls in place of words, or beside them",
        decision="invalid",
        mend="serve without a tool parser, in vLLM without --enable-auto-tool-choice",
    ),
    "other_parts": AnswerRow(
        when="content with parts that are no text (image, audio)",
        decision="invalid",
        mend="serve a model that answers in text",
    ),
    "unknown_finish": AnswerRow(
        when="an unknown `finish_reason`: the turn may not be complete",
        decision="invalid",
        mend="report the `finish_reason`, so that it can be added",
    ),
    "prompt_cut": AnswerRow(
        when="`usage.prompt_tokens` is smaller than the session is",
        decision="invalid",
        mend=_LONGER,
    ),
    "room_cut": AnswerRow(
        when="`finish_reason` length before the tokens of a turn were used: the server's own limit",
        decision="cap",
        mend=_LONGER,
    ),
    "thinking": AnswerRow(
        when="no words, but the model's thinking beside them, or tokens counted for it",
        decision="invalid",
        mend=_NO_THINKING,
    ),
    # --- the model's own
    "refusal": AnswerRow(when="words in `refusal` and none in `content`", decision="act"),
    "cut_turn": AnswerRow(
        when="`finish_reason` length, the tokens of a turn used: typed as it stands", decision="act"
    ),
    "blank": AnswerRow(when="no words, and no sign of any: a blank line is typed", decision="act"),
    "words": AnswerRow(
        when="a text, or text parts, which are joined; `<think>` in a text is text", decision="act"
    ),
}  # fmt: skip

_FAULTS = {
    "timed out": "timed_out",
    "too large": "too_large",
    "packed": "no_completion",
    "lost": "lost",
    "unreachable": "unreachable",
    "no server": "no_server",
}
#: Most tokens of a turn that is closed at once.
_FEW = 8
#: Some servers count the end-of-turn token, others do not.
_SLACK = 1


class JudgedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer with its row.

    Attributes:
        kind: the name of its row in :data:`ANSWERS`.
        text: the model's text, where it is typed.
        why: the reason, in a few words.
        mend: what the user can do, where it is more than the row's.
        thought: there was reasoning besides the text.
        unseen: number of tokens that were counted but not shown; 0 where text is shown.
        prompt_tokens: the server's count of the prompt; None = it gives none.
    """

    kind: str
    text: str = ""
    why: str = ""
    mend: str = ""
    thought: bool = False
    unseen: int = 0
    prompt_tokens: int | None = None

    @property
    def decision(self) -> Decision:
        return ANSWERS[self.kind].decision

    @property
    def cut(self) -> bool:
        """Whether the limit on tokens ended the turn."""
        return self.kind == "cut_turn"


def judge(answer: Answer | Fault, *, room: int, least: int = 0) -> JudgedAnswer:
    """The row of an answer.

    The rows about refused fields depend on what was sent, see :mod:`sekft_engine.contract.chat`.

    Args:
        answer: of the server, or why there is none.
        room: most tokens of the turn.
        least: the fewest tokens that the prompt has; 0 = unknown.
    """
    if isinstance(answer, Fault):
        return JudgedAnswer(kind=_FAULTS[answer.kind], why=answer.what, mend=answer.mend or "")
    if not 200 <= answer.status < 300:
        return JudgedAnswer(kind=_of_status(answer.status, _message(answer)), why=answer.summary)
    if answer.fault:
        return JudgedAnswer(kind="no_completion", why=answer.summary)
    if (error := error_in(answer.body)) is not None:
        return _error(error, answer, "error_inside")
    found = read(answer.body)
    if isinstance(found, Missing):
        kind = "no_choices" if found.choices else "no_completion"
        said = f": {answer.message}" if answer.message else ""
        return JudgedAnswer(kind=kind, why=f"an answer without a completion{said}")
    if found.error is not None:
        return _error(found.error, answer, "finish_error")
    return _judge(found, room, least)


def invalid_name(why: str) -> str:
    """The row that an invalid episode names; empty = it was no server's fault (a sandbox, say)."""
    name, colon, _ = why.partition(":")
    return name if colon and name in ANSWERS else ""


def _of_status(status: int, words: str) -> str:
    if status in (401, 403, 407):
        return "wrong_key"
    if status in (408, 425, 429):
        return "busy"
    if status >= 400 and status != 404 and too_long(words):
        return "context_full"
    if status in (400, 422) and filtered(words):
        return "content_filter"
    if passes(status):
        return "server_error"
    return "refused" if status in (400, 413, 422) else "not_there"


def _message(answer: Answer) -> str:
    return f"{answer.words} {labels(answer.body)}".strip()


def _error(error: object, answer: Answer, otherwise: str) -> JudgedAnswer:
    """An error inside a 200."""
    words = f"{_message(answer)} {labels({'error': error})}".strip() or str(error)
    status = status_in(error)
    if status is not None:
        kind = _of_status(status, words)
    else:
        kind = "context_full" if too_long(words) else otherwise
    number = f" {status}" if status is not None else ""
    said = f": {answer.message}" if answer.message else ""
    return JudgedAnswer(kind=kind, why=f"an error{number} inside HTTP {answer.status}{said}")


def _judge(found: Completion, room: int, least: int) -> JudgedAnswer:
    """The row of a completion."""
    kind, why = _row(found, room, least)
    text = found.refusal if kind == "refusal" else found.text
    said = found.completion_tokens or 0
    return JudgedAnswer(
        kind=kind,
        text=text if ANSWERS[kind].decision == "act" else "",
        why=why,
        thought=found.thought,
        unseen=said if not text.strip() and said > _FEW else 0,
        prompt_tokens=found.prompt_tokens,
    )


def _row(found: Completion, room: int, least: int) -> tuple[str, str]:
    """The name of a completion's row, and why."""
    finish = f"finish_reason {found.said[:40]!r}"
    for kind, holds, why in (
        ("finish_error", found.finish == "error", finish),
        ("content_filter", found.finish == "filter", finish),
        ("context_full", found.finish == "context", finish),
        ("tool_calls", found.tools or found.finish == "tools", "tool calls instead of words"),
        ("other_parts", bool(found.other), f"content of kind {', '.join(found.other)[:80]}"),
        ("unknown_finish", found.finish == "unknown", finish),
    ):
        if holds:
            return kind, why
    fed, said = found.prompt_tokens, found.completion_tokens
    if fed is not None and fed < least:
        return "prompt_cut", f"it was fed {fed} tokens of a session that has {least} or more"
    if found.finish == "length" and said and said < room - _SLACK:
        return "room_cut", f"it ended the turn after {said} of {room} tokens"
    silent = not found.text.strip()
    if silent and found.refusal.strip():
        return "refusal", ""
    if silent and found.thought:
        return "thinking", "all that it said was thinking"
    if found.finish == "length":
        return "cut_turn", ""
    return ("blank" if silent else "words"), ""
