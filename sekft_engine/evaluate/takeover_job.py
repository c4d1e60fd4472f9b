"""The job in which a model types in a take-over: the same operator as in an eval of one episode,
which goes on from what others have typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sekft_engine import jobs
from sekft_engine.context import Context
from sekft_engine.evaluate.local import LocalOperators
from sekft_engine.evaluate.loop import episode_seed
from sekft_engine.evaluate.subjects import refuse_other_dialect, subjects_of
from sekft_engine.evaluate.takeover import find
from sekft_engine.render import ChatTokenizer
from sekft_engine.render.sampled import as_sampled
from sekft_engine.trajectory import Turn


def run_hand_back(job: jobs.HandBack, context: Context) -> dict[str, Any]:
    """Returns who typed how many turns, and why it stopped before it was asked to."""
    session = find(job.takeover)
    base = context.load_base(job.base, job.load_4bit)
    asked = jobs.Evaluate(
        base=job.base,
        adapters=(job.adapter,) if job.adapter else (),
        with_base=not job.adapter,
        scenarios="",
        exact=True,
        temperature=session.origin.temperature,
        turn_tokens=session.origin.turn_tokens,
    )
    with subjects_of(asked, context, base) as subjects:
        refuse_other_dialect(base, subjects, session.origin.dialect)
        (subject,) = subjects
        operator, _ = LocalOperators(asked, context, base)(subject)
        key = session.id
        operator.open(key, episode_seed(job.seed, session.origin.scenario.id))
        turns = session.view.turns
        if len(turns) > 1:
            before = with_ids(turns[:-1], base.tokenizer)
            operator.recall(key, as_sampled(before, base.tokenizer), len(before))
        shown: str | None = turns[-1].content
        typed, stopped = 0, ""
        while shown is not None and typed < (job.turns or typed + 1):
            context.wait_while_paused()
            if context.cancelled():
                break
            session.model_waits(subject.name)
            said = operator.act({key: shown})[key]
            if said.exhausted:
                stopped = f"the session is too long for {subject.name} to read"
                break
            shown = session.model_types(subject, base.digest, said)
            typed += 1
    return {"subject": subject.name, "adapter": subject.digest, "turns": typed, "stopped": stopped}


def with_ids(turns: Sequence[Turn], tokenizer: ChatTokenizer) -> list[Turn]:
    """``turns`` with ids for the commands that no model sampled: those that their text has
    between what was shown before and what is shown after."""
    out = list(turns)
    for number, turn in enumerate(turns):
        if turn.is_command and turn.ids is None:
            out[number] = msgspec.structs.replace(
                turn, ids=tuple(_written(turns[number - 1], turn, tokenizer))
            )
    return out


def _written(shown: Turn, command: Turn, tokenizer: ChatTokenizer) -> list[int]:
    """The ids of a command as a prompt has them, with its end-of-turn id."""
    after = Turn(role="user", content="x")
    whole = tokenizer.encode_prompt([shown, command, after])
    start = len(tokenizer.encode_prompt([shown]))
    return whole[start : len(whole) - len(tokenizer.bridge(after.content, after=2))]
