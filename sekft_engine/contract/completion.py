"""Reads chat completions in all the forms in which servers write them."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from sekft_engine.contract.http.words import error_in

#: Why an answer ended.
Finish = Literal["stop", "length", "context", "filter", "error", "tools", "unknown"]

#: What servers write as ``finish_reason`` for each; empty = nothing.
_FINISH: dict[str, Finish] = {
    **dict.fromkeys(("", "stop", "eos", "eos_token", "stop_sequence", "end_turn"), "stop"),
    **dict.fromkeys(("end_of_turn", "complete", "completed"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length", "max_output_tokens"), "length"),
    **dict.fromkeys(("model_length", "model_context_window_exceeded"), "context"),
    **dict.fromkeys(("content_filter", "content-filter", "safety", "refusal"), "filter"),
    **dict.fromkeys(("prohibited_content", "blocklist", "recitation", "spii"), "filter"),
    **dict.fromkeys(("error", "abort", "aborted", "cancelled", "canceled", "timeout"), "error"),
    **dict.fromkeys(("insufficient_system_resource", "malformed_function_call"), "error"),
    **dict.fromkeys(("tool_calls", "tool_use", "function_call"), "tools"),
}
#: The fields of a message for reasoning.
_THOUGHTS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
#: The kinds of parts of a content that are text, and that are reasoning.
_WORDS, _THINKING = ("text", "output_text"), ("thinking", "reasoning", "redacted_thinking")


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """The first choice of a completion.

    Attributes:
        text: of the answer.
        finish: why it ended.
        said: the server's own ``finish_reason``.
        thought: there is reasoning besides the text.
        refusal: the text of the field for refusals.
        tools: there are tool calls.
        other: kinds of parts that are no text.
        error: an error in the choice.
        prompt_tokens: number of tokens of the prompt; None = unknown.
        completion_tokens: number of tokens of the answer; None = unknown.
    """

    text: str = ""
    finish: Finish = "stop"
    said: str = ""
    thought: bool = False
    refusal: str = ""
    tools: bool = False
    other: tuple[str, ...] = ()
    error: Any = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class Missing(msgspec.Struct, frozen=True):
    """There is no completion; ``choices`` = there is an empty list for them."""

    choices: bool


def read(body: Any) -> Completion | Missing:
    """The first choice of a parsed answer, in whatever form."""
    if not isinstance(body, dict):
        return Missing(choices=False)
    choices = body.get("choices")
    if not choices and "choices" in body:
        return Missing(choices=True)
    choice = choices[0] if isinstance(choices, list) else None
    if not isinstance(choice, dict):
        return Missing(choices=False)
    message = _message(choice)
    error = error_in(choice)
    if message is None and error is None:
        return Missing(choices=False)
    text, thoughts, other = _content((message or {}).get("content"))
    said, finish = _finish(choice.get("finish_reason"))
    usage = _object(body.get("usage"))
    message = message or {}
    refusal = message.get("refusal")
    return Completion(
        text=text,
        finish=finish,
        said=said,
        thought=thoughts or _thought(message, usage),
        refusal=refusal if isinstance(refusal, str) else "",
        tools=bool(message.get("tool_calls") or message.get("function_call")),
        other=other,
        error=error,
        prompt_tokens=_fed(usage),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _message(choice: dict[str, Any]) -> dict[str, Any] | None:
    """The message; older routes have its text in ``text``, streams in ``delta``."""
    for key in ("message", "delta"):
        if isinstance(choice.get(key), dict):
            found: dict[str, Any] = choice[key]
            return found
    return {"content": choice["text"]} if isinstance(choice.get("text"), str) else None


def _content(content: Any) -> tuple[str, bool, tuple[str, ...]]:
    """The text of a content, whether it has reasoning, and the kinds of its other parts."""
    if content is None or isinstance(content, str):
        return content or "", False, ()
    if not isinstance(content, list):
        return "", False, (type(content).__name__,)
    texts, thoughts, other = [], False, []
    for part in content:
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        words = part.get("text") if isinstance(part, dict) else part
        if kind in _THINKING:
            thoughts = True
        elif kind in _WORDS and isinstance(words, str):
            texts.append(words)
        elif kind == "refusal" and isinstance(part.get("refusal"), str):
            texts.append(part["refusal"])
        else:
            other.append(str(kind)[:40] if isinstance(kind, str) else type(part).__name__)
    return "".join(texts), thoughts, tuple(dict.fromkeys(other))


def _thought(message: dict[str, Any], usage: dict[str, Any]) -> bool:
    if any(_holds(message.get(key)) for key in _THOUGHTS):
        return True
    details = _object(usage.get("completion_tokens_details"))
    return bool(_count(details.get("reasoning_tokens")))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _holds(thoughts: Any) -> bool:
    return bool(thoughts.strip()) if isinstance(thoughts, str) else bool(thoughts)


def _finish(reason: Any) -> tuple[str, Finish]:
    if reason is None:
        return "", "stop"
    if not isinstance(reason, str):
        return type(reason).__name__, "unknown"
    return reason, _FINISH.get(reason.strip().lower(), "unknown")


def _fed(usage: dict[str, Any]) -> int | None:
    """The number of tokens of the prompt.

    Most servers include cached tokens; where there are more of those, they are counted separately.
    """
    count = _count(usage.get("prompt_tokens"))
    cached = _count(_object(usage.get("prompt_tokens_details")).get("cached_tokens"))
    if count and cached and cached > count:
        return count + cached
    return count or None


def _count(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None
