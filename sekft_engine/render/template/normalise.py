"""Normalise turns for a chat template: the same function on the train side and the serve side."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn

#: Part of every render digest: rows made under other rules are not these rows.
NORMALISER_VERSION = "1"

#: What the Mistral vendor's own encoder puts between merged messages.
JOIN = "\n\n"


class Refused(BadInput):
    """A session that cannot be rendered; ``reason`` is the name it is counted under."""

    def __init__(
        self, reason: str, what: str, *, where: str | None = None, mend: str | None = None
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.reason = reason


def normalize_for_template(turns: Sequence[Turn], where: str | None = None) -> tuple[Turn, ...]:
    """Turn any session into strictly alternating ``user``, ``assistant``, ... turns.

    A ``system`` turn counts as environment wherever it stands, and consecutive turns of one role
    merge with a blank line between; so a leading ``system`` turn folds into the first ``user``
    turn, or becomes it. Idempotent. A turn that is merged with nothing is returned as it is.

    Raises:
        Refused: the session is empty, opens with a command, has an empty command, or one that is
            to be trained in part.
    """
    if not turns:
        raise Refused(
            "empty_session", "empty session", where=where, mend="remove it or record it again"
        )
    if turns[0].is_command:
        raise Refused(
            "opens_with_command",
            "the session opens with a command (assistant turn)",
            where=where,
            mend="its first turn must be what the environment shows at login",
        )
    merged: list[Turn] = []
    for number, turn in enumerate(turns):
        if turn.is_command and not turn.content.strip():
            raise Refused(
                "empty_command",
                f"turn {number} is an empty command",
                where=where,
                mend="remove the turn or record the session again",
            )
        role = "assistant" if turn.is_command else "user"
        if merged and merged[-1].role == role:
            last = merged[-1]
            if last.is_command and last.train != turn.train:
                raise Refused(
                    "mixed_weights",
                    f"turn {number} is a command that joins the one before it, and only one of the "
                    "two is to be trained",
                    where=where,
                    mend="give both the same weight, or put what the environment said between them",
                )
            # Tokens as sampled belong to the turns they were sampled for, not to their union.
            merged[-1] = Turn(
                role=last.role,
                content=last.content + JOIN + turn.content,
                t=last.t,
                exit_status=turn.exit_status,
                train=turn.train,
                extra=last.extra | turn.extra,
            )
        else:
            merged.append(turn if turn.role == role else replace(turn, role=role))
    return tuple(merged)


def valid_unicode(text: str, where: str) -> str:
    """``text``, if it is valid Unicode.

    Args:
        text: to be tokenised.
        where: what errors name.

    Raises:
        Refused: it holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Refused(
            "lone_surrogate",
            f"half of a surrogate pair at character {error.start}",
            where=where,
            mend="decode output with errors='replace'",
        ) from error
    return text
