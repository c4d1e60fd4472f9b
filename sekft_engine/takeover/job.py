"""The job in which a model types in a take-over.

The operator is that of an eval with one episode; it continues from what others have typed.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sekft_engine.data.trajectory import Turn
from sekft_engine.operators.local import LocalOperators
from sekft_engine.operators.runner import episode_seed
from sekft_engine.operators.subjects import subjects_of
from sekft_engine.records import jobs
from sekft_engine.records.precision import recorded_precision
from sekft_engine.records.results import HandBackResult
from sekft_engine.render import ChatTokenizer
from sekft_engine.takeover.takeover import find_takeover
from sekft_engine.work.context import Context


def run_hand_back(job: jobs.HandBack, context: Context) -> HandBackResult:
    """Let a model type.

    Args:
        job: which model, in which take-over, and how many turns.
        context: of the job.

    Returns:
        Who typed how many turns, and why it stopped before their end, where it did.
    """
    session = find_takeover(job.takeover)
    adapters = (job.adapter,) if job.adapter else ()
    four_bits = context.four_bits(job.base, job.load_4bit, recorded_precision(adapters))
    base = context.load_base(job.base, four_bits, device=job.device)
    asked = jobs.Evaluate(
        base=job.base,
        adapters=adapters,
        with_base=not job.adapter,
        scenarios="",
        exact=True,
        temperature=session.origin.temperature,
        turn_tokens=session.origin.turn_tokens,
    )
    with subjects_of(asked, context, base, session.origin.dialect) as subjects:
        (subject,) = subjects.acting
        operator, _ = LocalOperators(asked, context, base, subjects.activate)(subject)
        key = session.id
        operator.open(key, episode_seed(job.seed, session.origin.scenario.id))
        turns = session.view.turns
        if len(turns) > 1:
            before = with_ids(turns[:-1], base.tokenizer)
            operator.recall(key, base.tokenizer.encode_sampled(before), len(before))
        shown: str | None = turns[-1].content
        typed, stopped = 0, ""
        while shown is not None and typed < (job.turns or typed + 1):
            context.wait_while_paused()
            if context.cancelled():
                break
            session.model_waits(subject.name)
            turn = operator.act({key: shown})[key]
            if turn.exhausted:
                stopped = f"the session is too long for {subject.name} to read"
                break
            shown = session.model_types(subject, base.digest, turn)
            typed += 1
    return HandBackResult(
        subject=subject.name, adapter=subject.digest, turns=typed, stopped=stopped
    )


def with_ids(turns: Sequence[Turn], tokenizer: ChatTokenizer) -> list[Turn]:
    """``turns`` with ids for the commands that no model sampled.

    They are the ids of the command in the render of the turn before, the command, and a turn after.
    """
    out = list(turns)
    for number, turn in enumerate(turns):
        if turn.is_command and turn.ids is None:
            out[number] = msgspec.structs.replace(
                turn, ids=tuple(_rendered_ids(turns[number - 1], turn, tokenizer))
            )
    return out


def _rendered_ids(shown: Turn, command: Turn, tokenizer: ChatTokenizer) -> list[int]:
    """The ids of a command in a prompt, with its end-of-turn id."""
    after = Turn(role="user", content="x")
    whole = tokenizer.encode_prompt([shown, command, after])
    start = len(tokenizer.encode_prompt([shown]))
    return whole[start : len(whole) - len(tokenizer.bridge(after.content, after=2))]
