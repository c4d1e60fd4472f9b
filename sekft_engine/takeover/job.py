"""The job in which a model types in a take-over.

The operator is that of an eval with one episode; it continues from what others have typed. What it
writes is shown token by token. That is no event: nobody reads an unfinished command in a journal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.operators.local import LocalOperators
from sekft_engine.operators.operator import ModelOperator, Operator, WritesLive
from sekft_engine.operators.runner import episode_seed
from sekft_engine.operators.subjects import Subject, subjects_of
from sekft_engine.records import jobs
from sekft_engine.records.precision import recorded_precision
from sekft_engine.records.results import HandBackResult
from sekft_engine.render import ChatTokenizer
from sekft_engine.render.template.prompt import encode_bridge, encode_prompt, encode_sampled
from sekft_engine.takeover.local_session import find_session
from sekft_engine.takeover.model_session import DistantSession, ModelSession
from sekft_engine.work.context import Context


class Typist(NamedTuple):
    """Who types: the subject, the digest of its base (empty = a server's), and the operator, which
    knows the session so far."""

    subject: Subject
    base: str
    operator: Operator


def run_hand_back(job: jobs.HandBack, context: Context) -> HandBackResult:
    """Let a model type.

    Args:
        job: which model, in which take-over, and how many turns.
        context: of the job.

    Returns:
        Who typed how many turns, and why it stopped before their end, where it did.
    """
    if job.session is None:
        session: ModelSession = find_session(job.takeover)
    else:
        session = DistantSession(job, context)
    found = _behind_a_server if job.endpoint else _on_this_machine
    with found(job, context, session) as typist:
        subject = typist.subject
        shown: str | None = session.turns[-1].content if session.turns else None
        typed, stopped = 0, ""
        while shown is not None and typed < (job.turns or typed + 1):
            context.wait_while_paused()
            turn = _turn(typist, shown, session, context)
            if turn is None:
                break
            if turn.broken:
                stopped = turn.broken
                break
            if turn.exhausted:
                stopped = f"the session is too long for {subject.name} to read"
                break
            shown = session.model_types(subject, typist.base, turn)
            typed += 1
            session.turn_done()
    return HandBackResult(
        subject=subject.name, adapter=subject.digest, turns=typed, stopped=stopped
    )


def _turn(
    typist: Typist, shown: str, session: ModelSession, context: Context
) -> CommandTurn | None:
    """The answer to ``shown``, shown while it is written; None where the job is to stop."""
    key, operator = session.id, typist.operator
    local = isinstance(operator, ModelOperator)
    session.model_waits(typist.subject.name, "thinks" if local else "asks")
    if context.cancelled() or not session.wait_while_paused(context.cancelled):
        return None
    operator.observe({key: shown})
    while not context.cancelled():
        answers = operator.poll()
        if key in answers:
            return None if context.cancelled() else answers[key]
        if isinstance(operator, WritesLive):
            session.model_writes(operator.written(key))
        context.let_guest_work()
        if not session.wait_while_paused(context.cancelled):
            break
    return None


@contextlib.contextmanager
def _on_this_machine(
    job: jobs.HandBack, context: Context, session: ModelSession
) -> Iterator[Typist]:
    """The base, or an adapter on it."""
    adapters = (job.adapter,) if job.adapter else ()
    four_bits = context.four_bits(job.base, job.load_4bit, recorded_precision(adapters))
    base = context.load_base(job.base, four_bits, device=job.device)
    asked = _asked(job, session)
    with subjects_of(asked, context, base, session.facts.dialect) as subjects:
        (subject,) = subjects.acting
        operator, _ = LocalOperators(asked, context, base, subjects.activate)(subject)
        operator.open(session.id, episode_seed(job.seed, session.facts.scenario))
        turns = session.turns
        if len(turns) > 1:
            before = with_ids(turns[:-1], base.tokenizer)
            operator.recall(session.id, encode_sampled(base.tokenizer, before), len(before))
        yield Typist(subject, base.digest, operator)


@contextlib.contextmanager
def _behind_a_server(
    job: jobs.HandBack, context: Context, session: ModelSession
) -> Iterator[Typist]:
    """A model that a server holds."""
    from sekft_engine.operators.remote import RemoteOperators

    with RemoteOperators(_asked(job, session), context, live=lambda: True) as remote:
        subject = remote.subjects[0]
        operator, _ = remote(subject)
        operator.open(session.id, episode_seed(job.seed, session.facts.scenario))
        operator.recall(session.id, session.turns[:-1])
        yield Typist(subject, "", operator)


def _asked(job: jobs.HandBack, session: ModelSession) -> jobs.Evaluate:
    """The eval of one episode that it is like."""
    return jobs.Evaluate(
        base=job.base,
        adapters=(job.adapter,) if job.adapter else (),
        with_base=not job.adapter,
        scenarios="",
        exact=True,
        temperature=session.facts.temperature,
        turn_tokens=session.facts.turn_tokens,
        endpoints=(job.endpoint,) if job.endpoint else (),
        models=(job.model,) if job.model else (),
        api_key_env=job.api_key_env,
        unchecked=job.unchecked,
        concurrency=1,
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
    whole = encode_prompt(tokenizer, [shown, command, after])
    start = len(encode_prompt(tokenizer, [shown]))
    return whole[start : len(whole) - len(encode_bridge(tokenizer, after.content, after=2))]
