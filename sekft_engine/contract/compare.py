"""Compare a prompt of training with that of a server: the first difference, and its cause."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from sekft_engine.contract import causes
from sekft_engine.contract.faults import Simulator
from sekft_engine.contract.routes import Refusal, Route, ServedPrompt, messages_of
from sekft_engine.contract.samples import Sample
from sekft_engine.core.text import visible
from sekft_engine.data.trajectory import Turn
from sekft_engine.render.rows.difference import first_difference
from sekft_engine.render.template.normalise import normalize_for_template
from sekft_engine.render.template.prompt import encode_prompt
from sekft_engine.render.template.scaffold import messages

#: Number of tokens, or of characters, that are shown around a difference.
CONTEXT, TEXT_CONTEXT = 4, 24


class PromptDifference(msgspec.Struct, frozen=True, kw_only=True):
    """The first difference of two prompts. All texts are safe for a terminal.

    Attributes:
        unit: of ``index``; characters where only texts are known.
        index: the position of the difference.
        before: the last tokens, or the last text, before it.
        ours, theirs: how each side continues; empty = it ends there.
    """

    unit: Literal["token", "character"]
    index: int
    before: tuple[str, ...]
    ours: tuple[str, ...]
    theirs: tuple[str, ...]


class PromptComparison(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of one prompt.

    Attributes:
        id, turn, command, commands: see :class:`~sekft_engine.contract.samples.Sample`.
        equal: whether both sides are equal.
        ours, theirs: number of tokens; None = the server does not give it.
        difference: the first one, where it is known.
        cause: a name of :data:`~sekft_engine.contract.causes.CAUSES`; empty = equal.
        certain: the cause was reproduced; else it is only likely.
        said: the server's message, where it refused.
    """

    id: str
    turn: int
    command: int
    commands: int
    equal: bool
    ours: int
    theirs: int | None = None
    difference: PromptDifference | None = None
    cause: str = ""
    certain: bool = False
    said: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt and the server's answer to it."""

    sample: Sample
    turns: tuple[Turn, ...]
    ours: tuple[int, ...]
    answer: ServedPrompt | Refusal


class Comparer:
    """Compares the prompts of a server with those of training.

    Args:
        simulator: of faulty servers, with the tokenizer of the base that was trained.
        route: to the server.
    """

    def __init__(self, simulator: Simulator, route: Route) -> None:
        self._simulator, self._route = simulator, route
        self._tokenizer = simulator.tokenizer

    def ask(self, sample: Sample) -> Case:
        """Ask the server for its prompt for the normalised turns.

        Raises:
            Refused: training refuses such a session.
        """
        turns = normalize_for_template(sample.turns, sample.id)
        ours = tuple(encode_prompt(self._tokenizer, turns))
        return Case(
            sample=sample, turns=turns, ours=ours, answer=self._route.ask(messages_of(turns))
        )

    def judge(self, cases: Sequence[Case]) -> list[PromptComparison]:
        """The comparisons, in order. Causes of other counts are found from all of them together."""
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

    def _judge(self, case: Case) -> PromptComparison:
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

    def _judge_ids(
        self, case: Case, answer: ServedPrompt, theirs: tuple[int, ...]
    ) -> PromptComparison:
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
        self, case: Case, answer: ServedPrompt, theirs: tuple[int, ...], index: int
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
        # Decoders change spaces. Let the server tokenise our text, and see which side differs.
        text = self._rendered(case, mine)
        cut = self._route.cut(text)
        if cut is not None and cut != theirs and [*cut] == self._simulator.naive(text):
            return _wrapped(other, contents), True
        return "other_tokenizer", cut == theirs

    def _texts(self, case: Case, answer: ServedPrompt, theirs: tuple[int, ...]) -> tuple[str, str]:
        """The texts of both sides, decoded in the same way."""
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

    def _judge_text(self, case: Case, answer: ServedPrompt, theirs: str) -> PromptComparison:
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
        """Training's text, without the BOS where the server adds it only when it tokenises."""
        text = self._tokenizer.template.render(
            messages([turn.content for turn in case.turns]), add_generation_prompt=True
        )
        bos = self._tokenizer.tokens.get("bos_token", "")
        if bos and text.startswith(bos) and not theirs.startswith(bos):
            return text[len(bos) :]
        return text


def _wrapped(theirs: str, contents: Sequence[str]) -> str:
    """Whether the template or the content differs, as a cause."""
    return "other_template" if causes.holds_all(theirs, contents) else "content_rewritten"


def _verdict(case: Case, **fields: object) -> PromptComparison:
    sample = case.sample
    base: dict[str, object] = {
        "id": sample.id,
        "turn": sample.turn,
        "command": sample.command,
        "commands": sample.commands,
        "ours": len(case.ours),
    }
    return PromptComparison(**(base | fields))  # type: ignore[arg-type]


def _apart(
    unit: Literal["token", "character"],
    index: int,
    before: Sequence[str],
    ours: Sequence[str],
    theirs: Sequence[str],
) -> PromptDifference:
    shown = [tuple(visible(piece) for piece in pieces) for pieces in (before, ours, theirs)]
    return PromptDifference(unit=unit, index=index, before=shown[0], ours=shown[1], theirs=shown[2])


def _piece(text: str) -> tuple[str, ...]:
    return (text,) if text else ()
