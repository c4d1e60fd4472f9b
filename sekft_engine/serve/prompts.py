"""From messages to the ids of a prompt: the render of training, for all that a client may send."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from sekft_engine.data.trajectory import Turn
from sekft_engine.render import ChatTokenizer, Refused, normalize_for_template
from sekft_engine.render.template.prompt import encode_bridge, encode_prompt, encode_sampled
from sekft_engine.serve.errors import ApiError, not_supported

#: Turns to the ids of a prompt.
Render = Callable[[ChatTokenizer, Sequence[Turn]], list[int]]

#: Roles of messages. What a newer client calls ``developer`` is a system turn.
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
#: Fields of a message that are read.
_READ = frozenset({"role", "content"})
#: Marks a command that may be blank: letters for private use, which no shell prints so.
_BLANK = "\ue000\uf8ff\ue000"


def certified(tokenizer: ChatTokenizer, turns: Sequence[Turn]) -> list[int]:
    """The prompt that training fed: turns are normalised, and content cannot forge tokens.

    Training refuses a session with a blank command, but a model may type nothing, and its episode
    goes on. Such a prompt is put together turn by turn, as an eval on this machine does it.

    Raises:
        BadInput, Refused: the template or the normaliser refuses the session.
    """
    try:
        return encode_prompt(tokenizer, turns)
    except Refused as refusal:
        if refusal.reason != "empty_command":
            raise
    marked = [
        replace(turn, content=_BLANK + turn.content) if turn.is_command else turn for turn in turns
    ]
    normal = normalize_for_template(marked)
    encode_prompt(tokenizer, normal)  # whatever else is wrong with it
    sampled = []
    for turn in normal:
        if turn.is_command:
            said = turn.content.replace(_BLANK, "")
            guard = tokenizer.guard_for([said])
            ids = tuple(int(token) for token in guard.ids(guard.encode(said)).tolist())
            sampled.append(replace(turn, content=said, ids=ids))
        else:
            sampled.append(turn)
    before = encode_sampled(tokenizer, sampled)
    return before + encode_bridge(tokenizer, normal[-1].content, after=len(normal) - 1)


def turn_of(message: dict[str, Any], number: int) -> Turn:
    """A message as a turn.

    Raises:
        ApiError: it has a role or a content that is not supported.
    """
    place = f"messages[{number}]"
    role = _ROLES.get(str(message.get("role")))
    if role is None:
        shown = repr(message.get("role"))[:60]
        raise ApiError(
            400,
            f"{place}.role {shown}: this server knows system, developer, user and assistant",
            param=f"{place}.role",
            code="invalid_value",
        )
    for name, value in message.items():
        if name not in _READ and value not in (None, [], {}, ""):
            raise not_supported(f"{place}.{name}"[:100], value)
    return Turn(role=role, content=_text(message.get("content"), f"{place}.content"))  # type: ignore[arg-type]


def _text(content: Any, place: str) -> str:
    """The text of a content, which may come in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ApiError(400, f"{place} must be text", param=place, code="invalid_value")
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            kind = part.get("type") if isinstance(part, dict) else part
            raise ApiError(
                400,
                f"{place}: this server reads parts of type 'text', not {repr(kind)[:60]}",
                param=place,
                code="unsupported_parameter",
            )
        if not isinstance(part.get("text"), str):
            raise ApiError(400, f"{place} must be text", param=place, code="invalid_value")
        texts.append(part["text"])
    return "\n".join(texts)
