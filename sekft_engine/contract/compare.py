"""Compare one prompt: what training feeds, what a server feeds, where they part, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from sekft_engine.contract import causes
from sekft_engine.contract.faults import Simulator
from sekft_engine.contract.routes import Prompt, Refusal, Route, messages_of
from sekft_engine.contract.samples import Sample
from sekft_engine.render.difference import first_difference
from sekft_engine.render.normalise import normalize_for_template
from sekft_engine.render.scaffold import messages
from sekft_engine.trajectory import Turn
from sekft_engine.visible import visible

#: How many tokens (or a text of how many characters) are shown around a difference.
CONTEXT, TEXT_CONTEXT = 4, 24


class Apart(msgspec.Struct, frozen=True, kw_only=True):
    """The first difference: the last pieces that both have, and how each goes on.

    All of it is safe for a terminal. An empty tuple is a side that ends there. ``index`` counts
    tokens, or characters where only texts are known.
    """

    unit: Literal["token", "character"]
    index: int
    before: tuple[str, ...]
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt. ``ours`` and ``theirs`` are numbers of tokens (None = the server does not tell);
    ``cause`` is a name of :data:`sekft_engine.contract.causes.CAUSES`, '' when equal."""

    id: str
    turn: int
    command: int
    commands: int
    equal: bool
    ours: int
    theirs: int | None = None
    difference: Apart | None = None
    cause: str = ""
    #: Whether the cause was shown by doing it, and is not merely likely.
    certain: bool = False
    #: The server's own words, when it refused.
    said: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt and the server's answer to it."""

    sample: Sample
    turns: tuple[Turn, ...]
    ours: tuple[int, ...]
    answer: Prompt | Refusal


class Comparer:
    """Compares answers of ``route`` with what ``simulator``'s tokenizer was trained on."""

    def __init__(self, simulator: Simulator, route: Route) -> None:
        self._simulator, self._route = simulator, route
        self._tokenizer = simulator.tokenizer

    def ask(self, sample: Sample) -> Case:
        """Put the prompt to the server, its turns normalised.

        Raises:
            Refused: training refuses such a session.
        """
        turns = normalize_for_template(sample.turns, sample.id)
        ours = tuple(self._tokenizer.encode_prompt(turns))
        return Case(
            sample=sample, turns=turns, ours=ours, answer=self._route.ask(messages_of(turns))
        )

    def judge(self, cases: Sequence[Case]) -> list[Verdict]:
        """The verdicts, in order. Causes of counts are weighed over all of them."""
        verdicts = [self._judge(case) for case in cases]
        open_ends = [
            number
            for number, verdict in enumerate(verdicts)
            if not verdict.equal and not verdict.cause
        ]
        some_equal = any(verdict.equal for verdict in verdicts)
        candidates, surplus = [], []
        for number in open_ends:
            case, count = cases[number], verdicts[number].theirs or 0
            feeds = self._simulator.feeds(case.turns, case.ours)
            candidates.append({cause for cause, ids in feeds if len(ids) == count})
            surplus.append(count - len(case.ours))
        for number, cause in zip(
            open_ends, causes.common_cause(candidates, surplus, some_equal), strict=True
        ):
            verdicts[number] = msgspec.structs.replace(verdicts[number], cause=cause)
        return verdicts

    def _judge(self, case: Case) -> Verdict:
        answer = case.answer
        if isinstance(answer, Refusal):
            roles = [turn.role for turn in case.turns]
            return _verdict(
                case,
                equal=False,
                cause=causes.refusal_cause(answer.message, roles),
                said=f"HTTP {answer.status}: {answer.message}".rstrip(": "),
            )
        if answer.ids is not None:
            return self._judge_ids(case, answer, answer.ids)
        if answer.text is not None:
            return self._judge_text(case, answer, answer.text)
        return _verdict(case, equal=answer.count == len(case.ours), theirs=answer.count)

    # --- ids --------------------------------------------------------------------------------------

    def _judge_ids(self, case: Case, answer: Prompt, theirs: tuple[int, ...]) -> Verdict:
        found = first_difference(case.ours, theirs, self._tokenizer, CONTEXT)
        if found is None:
            return _verdict(case, equal=True, theirs=len(theirs))
        cause, certain = self._cause(case, answer, theirs, found.index)
        there = found.theirs
        if cause == "other_vocabulary":
            names = answer.pieces or tuple(f"<id {token}>" for token in theirs)
            there = names[found.index : found.index + CONTEXT]
        return _verdict(
            case,
            equal=False,
            theirs=len(theirs),
            cause=cause,
            certain=certain,
            difference=_apart("token", found.index, found.before, found.ours, there),
        )

    def _cause(
        self, case: Case, answer: Prompt, theirs: tuple[int, ...], index: int
    ) -> tuple[str, bool]:
        """The cause of a difference in ids, and whether it is certain."""
        ours, tokenizer = case.ours, self._tokenizer
        if causes.other_vocabulary(theirs, answer.pieces, self._simulator.names):
            return "other_vocabulary", True
        feeds = self._simulator.feeds(case.turns, ours)
        exact = next((cause for cause, ids in feeds if tuple(ids) == theirs), "")
        if exact:
            return exact, True
        asked = tokenizer.tail_ids(
            tokenizer.guard,
            tokenizer.guard.mark(self._simulator.generation_prompt(len(case.turns))),
        )
        for cause, holds in (
            ("double_bos", causes.two_bos(ours, theirs, tokenizer.bos_id)),
            ("missing_bos", causes.lost_bos(ours, theirs, tokenizer.bos_id)),
            ("no_generation_prompt", causes.stops_early(ours, theirs, asked)),
            ("longer_generation_prompt", causes.goes_on(ours, theirs)),
        ):
            if holds:
                return cause, True
        mine, other = self._texts(case, answer, theirs)
        contents = [turn.content for turn in case.turns]
        if cause := self._text_cause(case, mine, other):
            return cause, False
        if causes.forged(ours, theirs, index, tokenizer.guard.literals, contents):
            return "forged_control_token", False
        if not causes.same_words(mine, other):
            return _wrapped(other, contents), False
        # Decoders put spaces as they like. Let the server cut our text, and see who differs.
        text = self._rendered(case, mine)
        cut = self._route.cut(text)
        if cut is not None and cut != theirs and [*cut] == self._simulator.naive(text):
            return _wrapped(other, contents), True
        return "other_tokenizer", cut == theirs

    def _texts(self, case: Case, answer: Prompt, theirs: tuple[int, ...]) -> tuple[str, str]:
        """What both sides say, made in the same way, so that they can be compared."""
        if answer.text is not None:
            return self._rendered(case, answer.text), answer.text
        mine, other = self._route.text(case.ours), self._route.text(theirs)
        if mine is None or other is None:
            return self._tokenizer.decode(case.ours), self._tokenizer.decode(theirs)
        return mine, other

    def _text_cause(self, case: Case, mine: str, other: str) -> str:
        if causes.other_day(mine, other):
            return "date_in_template"
        first = case.turns[0].content.strip()
        head = mine.find(first) if first else -1
        if head < 0:
            head = len(self._tokenizer.scaffolds.get(len(case.turns), prompt=True).parts[0])
        literals = self._tokenizer.guard.literals.values()
        return causes.preamble_cause(mine, other, head, literals)

    # --- text -------------------------------------------------------------------------------------

    def _judge_text(self, case: Case, answer: Prompt, theirs: str) -> Verdict:
        mine = self._rendered(case, theirs)
        if mine == theirs:
            return _verdict(case, equal=True)
        index = next(
            (number for number, (a, b) in enumerate(zip(mine, theirs, strict=False)) if a != b),
            min(len(mine), len(theirs)),
        )
        cut = slice(index, index + TEXT_CONTEXT)
        return _verdict(
            case,
            equal=False,
            cause=self._cause_of_text(case, mine, theirs),
            difference=_apart(
                "character",
                index,
                _piece(mine[max(0, index - TEXT_CONTEXT) : index]),
                _piece(mine[cut]),
                _piece(theirs[cut]),
            ),
        )

    def _cause_of_text(self, case: Case, mine: str, theirs: str) -> str:
        bos = self._tokenizer.tokens.get("bos_token", "")
        if bos and theirs == bos + mine:
            return "double_bos"
        asked = self._simulator.generation_prompt(len(case.turns))
        if asked and theirs + asked == mine:
            return "no_generation_prompt"
        if theirs.startswith(mine):
            return "longer_generation_prompt"
        for cause, text in self._simulator.texts(case.turns):
            if theirs in (text, text.removeprefix(bos)):
                return cause
        contents = [turn.content for turn in case.turns]
        return self._text_cause(case, mine, theirs) or _wrapped(theirs, contents)

    def _rendered(self, case: Case, theirs: str) -> str:
        """Our text, without the BOS that this kind of server puts before it later."""
        text = self._tokenizer.template.render(
            messages([turn.content for turn in case.turns]), add_generation_prompt=True
        )
        bos = self._tokenizer.tokens.get("bos_token", "")
        if bos and text.startswith(bos) and not theirs.startswith(bos):
            return text[len(bos) :]
        return text


def _wrapped(theirs: str, contents: Sequence[str]) -> str:
    """What differs when the scaffold or the content does."""
    return "other_template" if causes.holds_all(theirs, contents) else "content_rewritten"


def _verdict(case: Case, **fields: object) -> Verdict:
    sample = case.sample
    base: dict[str, object] = {
        "id": sample.id,
        "turn": sample.turn,
        "command": sample.command,
        "commands": sample.commands,
        "ours": len(case.ours),
    }
    return Verdict(**(base | fields))  # type: ignore[arg-type]


def _apart(
    unit: Literal["token", "character"],
    index: int,
    before: Sequence[str],
    ours: Sequence[str],
    theirs: Sequence[str],
) -> Apart:
    shown = [tuple(visible(piece) for piece in pieces) for pieces in (before, ours, theirs)]
    return Apart(unit=unit, index=index, before=shown[0], ours=shown[1], theirs=shown[2])


def _piece(text: str) -> tuple[str, ...]:
    return (text,) if text else ()
