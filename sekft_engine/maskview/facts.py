"""What there is to say of a document besides its tokens: figures, certificate, losses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np

from sekft_engine.core.text import count
from sekft_engine.data.reasons import LINES, MEANINGS, WAYS, as_shown, line_of
from sekft_engine.maskview.cells import shown
from sekft_engine.maskview.document import Document

Verdict = Literal["holds", "fails", "says"]


class Clause(NamedTuple):
    """A line of the certificate: does it hold, what it means, what was counted."""

    name: str
    verdict: Verdict
    meaning: str
    counted: str = ""


class Figures(NamedTuple):
    """The figures of one document. ``share``: of the tokens, trained; ``full``: of the limit."""

    tokens: int
    trained: int
    share: float
    turns: int
    commands: int
    terminal: str
    limit: int
    full: float


def figures(doc: Document) -> Figures:
    tokens = len(doc) if doc.tokenised else 0
    return Figures(
        tokens=tokens,
        trained=doc.trained,
        share=doc.trained / tokens if tokens else 0.0,
        turns=doc.turn_count,
        commands=sum(turn.is_command for turn in doc.said),
        terminal=doc.terminal,
        limit=doc.limit,
        full=tokens / doc.limit if doc.limit else 0.0,
    )


_MEANINGS = {
    "additive": "What the model sees before each command is the same in training as when it is "
    "asked for that command.",
    "decodes": "The trained tokens say exactly the commands and the token that ends each turn, "
    "nothing more and nothing less.",
    "terminal_whole": "The last command is there to its end, so the model learns how to stop.",
    "no_forged_control": "Every control token was written by the chat template; none comes from "
    "what a program printed or a person typed.",
    "single_bos": "The text opens with at most one token for its beginning.",
    "template_faithful": "The chat template shows every turn as it was said, neither trimmed nor "
    "rewritten.",
    "within_limit": "It fits the limit as it is; nothing is ever cut to fit.",
    "trained_tokens": "There is something to learn.",
}


def certificate(doc: Document) -> Iterator[Clause]:
    """The certificate, clause by clause, those that fail first; for a dropped trajectory why it has
    none, and which line does not hold."""
    if doc.reason or doc.detail:
        meaning = MEANINGS.get(doc.reason, "Nothing of this trajectory is trained on.")
        detail = shown(as_shown(doc.detail))
        yield Clause(shown(doc.reason) or "dropped", "fails", meaning, detail)
        if line := line_of(doc.reason):
            yield Clause(line, "fails", "This line of the certificate does not hold.")
        if way := WAYS.get(doc.reason):
            yield Clause("way out", "says", f"{way[:1].upper()}{way[1:]}.")
        yield Clause("where", "says", _place(doc))
        return
    if doc.certificate is None:
        yield Clause("not rendered", "says", "There is no certificate without a rendered row.")
        return
    yield from sorted(_lines(doc), key=lambda clause: clause.verdict != "fails")
    if doc.lost:
        yield Clause(
            "lost",
            "says",
            "Characters of the environment that this vocabulary has no token for are left out, in "
            "training and in use alike.",
            count(doc.lost, "character"),
        )
    if doc.clock is not None:
        yield Clause(
            "clock",
            "says",
            "The chat template prints the date: this is what was served at that time, and what is "
            "served changes daily. sekft train --inspect shows the line that pins it.",
            str(doc.clock),
        )
    for name, digest in doc.digest.items():
        yield Clause(f"{name} digest", "says", _DIGESTS.get(name, ""), shown(digest))


_DIGESTS = {
    "tokenizer": "Names the tokenizer that made these ids.",
    "template": "Names the chat template that wrote what stands between the turns.",
    "normaliser": "The version of the rules that fold turns before the template sees them.",
    "render": "Names the three together: rows of another digest are not these rows.",
}


def _lines(doc: Document) -> Iterator[Clause]:
    """The lines of the certificate of a row."""
    if doc.certificate is None:
        return
    counted = _counted(doc)
    trained = doc.certificate.trained_tokens
    for name, holds in (doc.certificate.lines | {"trained_tokens": trained > 0}).items():
        meaning = _MEANINGS.get(name, "") if holds else _failing(name)
        yield Clause(name, "holds" if holds else "fails", meaning, counted.get(name, ""))


def _failing(line: str) -> str:
    """What it means that ``line`` does not hold."""
    return next(MEANINGS[reason] for reason, own in LINES.items() if own == line)


def _counted(doc: Document) -> dict[str, str]:
    commands = sum(turn.is_command for turn in doc.said)
    characters = sum(len(turn.content) for turn in doc.said)
    controls = int(np.count_nonzero(doc.control))
    last = doc.spans[-1] if doc.spans else None
    untrained = doc.certificate.untrained_commands if doc.certificate is not None else 0
    besides = f", {untrained:,} not to be trained" if untrained else ""
    return {
        "additive": f"{count(commands, 'command')}, each with the turns before it",
        "decodes": f"{count(len(doc.spans), 'trained span')} against {count(commands, 'command')}"
        + besides,
        "terminal_whole": f"tokens {last.start:,} to {last.end - 1:,}" if last else "no span",
        "no_forged_control": f"{count(controls, 'control token')}, {len(doc) - controls:,} others",
        "single_bos": f"opens with {shown(doc.piece(0))!r}" if len(doc) else "empty",
        "template_faithful": f"{count(characters, 'character')} in {count(len(doc.said), 'turn')}",
        "within_limit": f"{count(len(doc), 'token')}, "
        + (f"the limit is {doc.limit:,}" if doc.limit else "no limit set"),
        "trained_tokens": f"{count(doc.trained, 'token')} in {count(len(doc.spans), 'span')}",
    }


def _place(doc: Document) -> str:
    spot = doc.blamed
    if spot is None:
        return "No single place in the text is to blame, or it is not known."
    turn = int(doc.turn[doc.token_at(spot.start)])
    line = doc.text.count("\n", doc.start(int(doc.turn_starts[turn])), spot.start) + 1
    return f"In turn {turn + 1}, line {line}; it is marked in the text."


# --- losses ----------------------------------------------------------------------------------

#: Losses from which on each block is drawn, in nats. The steps are the same for every document.
STEPS = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
BLOCKS = "▁▂▃▄▅▆▇█"
#: Nats by which a loss has to grow to be called worse.
WORSE = 0.05


def level(loss: float) -> int | None:
    """The step of a loss, 0 to 7; None where it is not known."""
    if math.isnan(loss):
        return None
    return max(0, sum(loss >= step for step in STEPS) - 1)


class LossFigures(NamedTuple):
    """Means over the trained tokens that have a loss, in nats; ``worse``: how many grew."""

    tokens: int
    before: float
    after: float
    worse: int


def loss_figures(doc: Document) -> LossFigures | None:
    if doc.losses is None:
        return None
    before, after = doc.losses.before, doc.losses.after
    known = ~(np.isnan(before) | np.isnan(after))
    count = int(np.count_nonzero(known))
    if not count:
        return LossFigures(0, math.nan, math.nan, 0)
    worse = int(np.count_nonzero(after[known] > before[known] + WORSE))
    return LossFigures(count, float(before[known].mean()), float(after[known].mean()), worse)


class Reading(NamedTuple):
    """One token read out. ``label`` is None where it is masked or there are no labels."""

    token: int
    text: str
    id: int | None
    trained: bool
    turn: int
    control: bool
    before: float
    after: float


def reading(doc: Document, token: int) -> Reading:
    losses = doc.losses
    return Reading(
        token=token,
        text=doc.piece(token),
        id=int(doc.ids[token]) if doc.ids is not None else None,
        trained=bool(doc.mask[token]),
        turn=int(doc.turn[token]),
        control=bool(doc.control[token]),
        before=float(losses.before[token]) if losses is not None else math.nan,
        after=float(losses.after[token]) if losses is not None else math.nan,
    )
