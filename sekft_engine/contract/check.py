"""Check whether a server feeds its model the prompts that training fed, prompt by prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from sekft_engine.contract.causes import CAUSES, refusal_cause
from sekft_engine.contract.compare import Case, Comparer, PromptComparison
from sekft_engine.contract.faults import Simulator
from sekft_engine.contract.http.client import Client, key_from
from sekft_engine.contract.routes import (
    ChatRoute,
    Refusal,
    Route,
    ServedPrompt,
    Strength,
    Unusable,
    find_route,
    list_models,
    messages_of,
)
from sekft_engine.contract.samples import SAMPLES, Sample, built_in, choose
from sekft_engine.core.errors import BadInput, DigestMismatch, SekftError, Unavailable
from sekft_engine.core.text import visible
from sekft_engine.data.dropped import Dropped
from sekft_engine.data.reasons import as_shown
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.render.template.normalise import Refused
from sekft_engine.render.template.tokenizer import ChatTokenizer

#: Number of prompts that are sent again with their turns as recorded.
RAW = 4


class RawTurns(msgspec.Struct, frozen=True, kw_only=True):
    """Prompts whose turns training normalises (with a system turn, say), sent as recorded.

    They show whether the server treats such turns as training does. That is for information only.

    Attributes:
        asked, equal, refused: number of prompts sent, treated alike, and refused.
        cause, said: of the first refusal: its cause, and the server's message.
    """

    asked: int
    equal: int
    refused: int
    cause: str = ""
    said: str = ""


class ChatCount(msgspec.Struct, frozen=True, kw_only=True):
    """The number of tokens of one prompt on the chat route, and on the route that was compared.

    Where they differ, the server answers from other prompts than it shows.

    Attributes:
        shown: on the route that was compared.
        fed: on the chat route.
    """

    shown: int
    fed: int

    @property
    def equal(self) -> bool:
        return self.shown == self.fed


class ContractReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the check of one model on one server.

    Attributes:
        endpoint, model: the server's address, and the name of the model there.
        route: the API that was compared.
        strength: what was compared: tokens, texts, or counts of tokens.
        render: the digest of the training render.
        equal: whether all prompts are equal, and the chat route agrees.
        sessions: the comparison of each prompt.
        skipped: sessions that training refuses.
        raw: about turns as recorded.
        chat: about the chat route.
        note: further remarks.
    """

    endpoint: str
    model: str
    route: str
    strength: Strength
    render: str
    equal: bool
    sessions: tuple[PromptComparison, ...]
    skipped: tuple[Dropped, ...]
    raw: RawTurns | None
    chat: ChatCount | None
    note: str

    @property
    def differing(self) -> tuple[PromptComparison, ...]:
        return tuple(verdict for verdict in self.sessions if not verdict.equal)

    def summary(self) -> str:
        """The result in a few words."""
        total, wrong = len(self.sessions), self.differing
        if not wrong and self.chat is not None and not self.chat.equal:
            return (
                f"its chat route feeds {self.chat.fed} tokens where {self.route} "
                f"shows {self.chat.shown}"
            )
        if not wrong:
            return f"all {total} prompts are equal in {_UNITS[self.strength]}"
        titles = dict.fromkeys(CAUSES[verdict.cause].title for verdict in wrong)
        verb = "differs" if len(wrong) == 1 else "differ"
        return f"{len(wrong)} of {total} prompts {verb}: {', '.join(titles)}"

    def require_equal(self) -> None:
        """Raise :class:`DigestMismatch` unless the server feeds what training fed."""
        if not self.equal:
            raise DigestMismatch(
                f"the server does not feed its model what training fed ({self.summary()})",
                where=self.endpoint,
                mend="sekft contract check shows where and why",
            )

    def document(self) -> dict[str, Any]:
        """The report for ``--json``."""
        out: dict[str, Any] = msgspec.to_builtins(self)
        return out | {"causes": sorted({verdict.cause for verdict in self.differing})}


_UNITS = {"tokens": "every token", "text": "their whole text", "counts": "their number of tokens"}


def check_endpoint(
    endpoint: str | Client,
    tokenizer: ChatTokenizer,
    sessions: Iterable[Trajectory],
    *,
    model: str = "",
    samples: int = SAMPLES,
    hostile: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> ContractReport:
    """Compare what the server at ``endpoint`` feeds its model with what training feeds.

    Args:
        endpoint: its address, or a client for it.
        tokenizer: of the base that was trained.
        sessions: prompts are taken from these, see :func:`sekft_engine.contract.samples.choose`.
        model: its name on the server; empty = the server's first.
        samples: number of ``sessions`` to take prompts from.
        hostile: use the built-in difficult sessions too.
        progress: called with (label, done, total).

    Raises:
        BadInput: no session gives a prompt, or ``endpoint`` is no address.
        Unavailable: there is no server, the key is wrong, or none of its routes shows prompts.
    """
    marks = set(tokenizer.guard.literals.values())
    prompts = choose(sessions, marks, samples) + (built_in(tokenizer) if hostile else [])
    report = progress or (lambda *_: None)
    if isinstance(endpoint, Client):
        return _check(endpoint, tokenizer, prompts, model, report)
    with Client(endpoint, api_key=key_from(None, endpoint)) as client:
        return _check(client, tokenizer, prompts, model, report)


def _check(
    client: Client,
    tokenizer: ChatTokenizer,
    prompts: Sequence[Sample],
    model: str,
    progress: Callable[[str, int, int], None],
) -> ContractReport:
    models = list_models(client)
    named = model or (models[0] if models else "")
    route = _find(client, named, models)
    comparer = Comparer(Simulator(tokenizer), route)
    cases: list[Case] = []
    skipped: list[Dropped] = []
    for number, sample in enumerate(prompts):
        progress("asking", number, len(prompts))
        try:
            cases.append(comparer.ask(sample))
        except Refused as refusal:
            skipped.append(Dropped(sample.id, refusal.reason, refusal.what))
        except Unusable as reason:
            raise Unavailable(
                f"{route.name} stopped answering: {reason}",
                where=client.endpoint,
                mend="look at the server's log",
            ) from None
    if not cases:
        raise BadInput(
            "no session gives a prompt"
            + (f": {skipped[0].id}: {as_shown(skipped[0].detail)}" if skipped else ""),
            where="--data",
            mend="give sessions with at least one command",
        )
    verdicts = tuple(comparer.judge(cases))
    chat = _chat(client, named, route, cases)
    notes = []
    if not model and len(models) > 1:
        others = ", ".join(visible(name) for name in models[1:4])
        notes.append(f"the server's first model was asked; it also has {others}")
    notes += tokenizer.notes
    if route.strength == "counts":
        notes.append("only the numbers of tokens were compared, not the tokens")
    if route.strength == "text":
        notes.append("only texts were compared, not BOS and tokenisation")
    return ContractReport(
        endpoint=client.endpoint,
        model=visible(named),
        route=route.name,
        strength=route.strength,
        render=tokenizer.render_digest,
        equal=all(verdict.equal for verdict in verdicts) and (chat is None or chat.equal),
        sessions=verdicts,
        skipped=tuple(skipped),
        raw=_raw(route, cases),
        chat=chat,
        note="; ".join(notes),
    )


def _find(client: Client, model: str, models: Sequence[str]) -> Route:
    try:
        return find_route(client, model, [{"role": "user", "content": "$"}])
    except Unavailable as error:
        if model and models and model not in models:
            has = ", ".join(visible(name) for name in models[:6])
            raise BadInput(
                f"the server has no model {model!r}",
                where=client.endpoint,
                mend=f"name one of its own: {has}",
            ) from error
        raise


def _chat(client: Client, model: str, route: Route, cases: Sequence[Case]) -> ChatCount | None:
    """Compare the shortest prompt with the chat route; None where that gives no count."""
    if isinstance(route, ChatRoute) or route.strength != "tokens":
        return None
    counted = [
        (case.answer.count, case)
        for case in cases
        if isinstance(case.answer, ServedPrompt) and case.answer.count is not None
    ]
    if not counted:
        return None
    shown, case = min(counted, key=lambda pair: pair[0])
    try:
        fed = ChatRoute(client, model).probe(messages_of(case.turns))
    except (Unusable, SekftError):
        return None
    if isinstance(fed, Refusal) or fed.count is None:
        return None
    return ChatCount(shown=shown, fed=fed.count)


def _raw(route: Route, cases: Sequence[Case]) -> RawTurns | None:
    """Send turns as recorded, where training normalises them."""
    changed = [case for case in cases if messages_of(case.sample.turns) != messages_of(case.turns)]
    asked = equal = 0
    refusals: list[tuple[str, str]] = []
    for case in changed[:RAW]:
        try:
            answer = route.ask(messages_of(case.sample.turns))
        except (Unusable, SekftError):  # for information only
            continue
        asked += 1
        if isinstance(answer, Refusal):
            roles = [turn.role for turn in case.sample.turns]
            said = f"HTTP {answer.status}: {answer.message}".rstrip(": ")
            refusals.append((refusal_cause(answer.message, roles), said))
        elif isinstance(case.answer, ServedPrompt):
            equal += answer == case.answer
    if not asked:
        return None
    cause, said = refusals[0] if refusals else ("", "")
    return RawTurns(asked=asked, equal=equal, refused=len(refusals), cause=cause, said=said)
