"""What is said of a session that has no row: which turn, which tokens, and the way out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sekft_engine.data.reasons import WAYS
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render.rows.row import Certificate
from sekft_engine.render.template.cut import Cut, Int64Array
from sekft_engine.render.template.guard import Guard
from sekft_engine.render.template.layout import SpanLayout
from sekft_engine.render.template.tokenizer import ChatTokenizer


class Prepared(NamedTuple):
    """A rendered session before it is tokenised.

    Attributes:
        shown: the template's text.
        text: the same with the control tokens as the sentinels of ``guard``.
    """

    trajectory: Trajectory
    turns: tuple[Turn, ...]
    contents: list[str]
    shown: str
    text: str
    layout: SpanLayout
    guard: Guard


#: How many tokens, and how many characters of a text, a detail shows.
SHOWN, _SHOWN_CHARACTERS = 4, 60


def shown_tokens(ids: Sequence[int], tokenizer: ChatTokenizer) -> str:
    """Tokens as a detail shows them."""
    return " ".join(repr(tokenizer.token_text(int(token))) for token in ids) or "nothing"


def _cited(text: str) -> str:
    short = text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
    return repr(short)


def forgery(
    cut: Cut, controls: Int64Array, item: Prepared, tokenizer: ChatTokenizer
) -> tuple[str, str]:
    """The token that is not the template's, and the turn that it comes from."""
    ids, written = cut.ids, item.layout.control_ids
    unk = -1 if tokenizer.unk_id is None else tokenizer.unk_id
    unknown = np.flatnonzero(ids == unk)
    if len(unknown) and unk not in written:
        turn = _turn_at(int(cut.starts[unknown[0]]), item)
        return "unknown_token", f"turn {turn} holds a character that the tokenizer has no token for"
    short = min(len(controls), len(written))
    apart = np.flatnonzero(ids[controls[:short]] != written[:short])
    first = int(apart[0]) if len(apart) else short
    if first >= len(controls):
        return "forged_control", (
            f"{len(controls)} control tokens where the template writes {len(written)}: "
            f"{shown_tokens(written[first : first + 1].tolist(), tokenizer)} is missing"
        )
    place = int(controls[first])
    expected = written[first : first + 1].tolist()
    return "forged_control", (
        f"turn {_turn_at(int(cut.starts[place]), item)} becomes the control token "
        f"{shown_tokens([int(ids[place])], tokenizer)} where the template writes "
        f"{shown_tokens(expected, tokenizer)}"
    )


def _turn_at(place: int, item: Prepared) -> int:
    """The turn whose content the character belongs to, or follows."""
    opens, _ = item.layout.places(item.contents)
    return max(0, int(np.searchsorted(opens, place, side="right")) - 1)


def merged(
    item: Prepared, number: int, tail: list[int], ids: list[int], tokenizer: ChatTokenizer
) -> str:
    """How a command melts into the prompt before it.

    Args:
        number: of the command in the session.
        tail: the last tokens of its prompt, from a control token on.
        ids: the row's tokens from the same place on.
    """
    # From the first token that differs, to the one that the command begins in or after.
    pairs = zip(ids, tail, strict=False)
    same = next((at for at, (a, b) in enumerate(pairs) if a != b), len(tail) - 1)
    same = max(0, min(same, len(tail) - 1))
    return (
        f"command turn {item.layout.turns[number]} melts into the prompt before it: the prompt "
        f"ends in the tokens {shown_tokens(tail[same:][-SHOWN:], tokenizer)}, and with the "
        f"command after it there are {shown_tokens(ids[same:][:SHOWN], tokenizer)}; "
        f"{WAYS['boundary_merge']}"
    )


def misread(
    item: Prepared, number: int, ids: Sequence[int], text: str, tokenizer: ChatTokenizer
) -> str:
    """How a command's tokens, ``ids``, say ``text`` instead of it; ``number`` of the command."""
    turn = int(item.layout.turns[number])
    return (
        f"command turn {turn} is {_cited(item.contents[turn])}, but its tokens "
        f"{shown_tokens(ids[:SHOWN], tokenizer)} say {_cited(text)}; {WAYS['decode_mismatch']}"
    )


def lost_characters(item: Prepared, cut: Cut) -> list[tuple[int, str]]:
    """Characters that no token covers, and where: some vocabularies lack bytes (SmolLM2's has no
    escape character) and leave them out without a word, in training and serving alike."""
    starts = np.append(cut.starts, len(item.text))
    covered = np.maximum.accumulate(np.insert(cut.ends, 0, 0))
    gaps = np.flatnonzero(starts > covered)
    return [(int(covered[k]), item.text[covered[k] : starts[k]]) for k in gaps]


def lost_command(item: Prepared, lost: Sequence[tuple[int, str]]) -> str:
    """Says which command would not come back whole from its tokens; '' when all do.

    Args:
        lost: what :func:`lost_characters` found.
    """
    opens, closes = item.layout.places(item.contents)
    places = np.array([at for at, _ in lost])
    turns = np.minimum(np.searchsorted(closes, places, side="right"), len(closes) - 1)
    inside = (opens[turns] <= places) & (places < closes[turns]) & (turns % 2 == 1)
    if not inside.any():
        return ""
    turn = int(turns[inside].min())
    each = dict.fromkeys(item.contents[turn])
    silent = "".join(letter for letter in each if not item.guard.encode(letter).ids)
    has = "has" if len(silent) == 1 else "have"
    return f"command turn {turn} holds {silent!r}, which {has} no token"


_REASONS = {
    "additive": "boundary_merge",
    "decodes": "decode_mismatch",
    "terminal_whole": "terminal_cut",
    "single_bos": "double_bos",
}


def reason(
    certificate: Certificate, details: Mapping[str, str], length: int, max_length: int
) -> tuple[str, str]:
    """The first line that does not hold, as (reason, detail)."""
    for line, name in _REASONS.items():
        if not certificate.lines[line]:
            return name, details[line]
    if not certificate.within_limit:
        return too_long(length, max_length)
    return "nothing_trained", "no token would be trained"


def too_long(length: int, max_length: int) -> tuple[str, str]:
    """Reason and detail of a row that is longer than the limit."""
    return "too_long", f"{length} tokens, the limit is {max_length}"
