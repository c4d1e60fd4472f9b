"""Subjects behind OpenAI-compatible servers: one machine or a fleet that holds the same models."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import Any, TypeVar

import msgspec

from sekft_engine.context import Context
from sekft_engine.contract import ContractReport, check_endpoint, key_from
from sekft_engine.contract.causes import too_long
from sekft_engine.contract.client import Answer, Client
from sekft_engine.contract.routes import list_models
from sekft_engine.errors import BadInput, SekftError, Unavailable
from sekft_engine.evaluate.episode import Said
from sekft_engine.evaluate.fleet import Fleet
from sekft_engine.evaluate.subjects import Subject
from sekft_engine.jobs import Evaluate
from sekft_engine.render import normalize_for_template
from sekft_engine.render.load import load_tokenizer
from sekft_engine.trajectory import Turn
from sekft_engine.visible import visible

#: The cause that an eval passes over, see :mod:`sekft_engine.contract.causes`.
FORGED = "forged_control_token"
#: Answers of worlds wait at most so long while none comes from a server.
MOMENT_S = 0.02
#: A server that is busy may ask to be left alone for so long; longer is not waited.
PATIENCE_S = 120.0
#: Statuses that say something of what was asked, and nothing of the server.
_ASKED_WRONGLY = frozenset({400, 413, 422})

T = TypeVar("T")


class RemoteOperators:
    """Makes the operator of each model; a context manager that owns the connections.

    Raises:
        DigestMismatch: a server does not feed its model what training fed.
        Unavailable: a server does not answer, or does not hold a model.
        BadInput: no address, or no key where one was promised.
    """

    def __init__(self, job: Evaluate, context: Context) -> None:
        self._job, self._context = job, context
        self._clients: list[Client] = []
        self._left = threading.Event()
        with contextlib.ExitStack() as undo:
            undo.callback(self._close)
            for endpoint in job.endpoints:
                key = key_from(job.api_key_env, endpoint)
                client = Client(
                    endpoint,
                    api_key=key,
                    timeout=job.timeout,
                    patience=PATIENCE_S,
                    connections=job.concurrency,
                    sleep=self._left.wait,
                )
                self._clients.append(client)
            self._models = self._resolve_models(self._asked(list_models))
            contract = self._check_contract()
            undo.pop_all()
        self._fleet = Fleet(self._clients)
        self.subjects = [Subject(name=model) for model in self._models]
        self.about: dict[str, Any] = {
            "endpoints": [client.endpoint for client in self._clients],
            "subjects": dict.fromkeys(self._models, ""),
            "contract": contract,
        }

    def __enter__(self) -> RemoteOperators:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self._left.set()  # who waits for a busy server waits no more
        for client in self._clients:
            client.close()

    def __call__(self, subject: Subject) -> tuple[RemoteOperator, int]:
        operator = RemoteOperator(self._job, subject.name, self._fleet, self._context.log)
        return operator, self._job.concurrency

    def _asked(self, ask: Callable[[Client], T]) -> list[T]:
        """What each server answers. Those that cannot be asked are done without, while one can."""
        answers, lost = [], []
        for client in self._clients:
            try:
                answers.append(ask(client))
            except Unavailable as error:
                lost.append((client, error))
        if not answers:
            raise lost[0][1]
        for client, why in lost:
            self._clients.remove(client)
            client.close()
            self._context.log(f"{why}; the eval goes on without it", "warning")
        return answers

    def _resolve_models(self, known: Sequence[tuple[str, ...]]) -> list[str]:
        """The models that were asked for, else the first that the servers name."""
        wanted = list(dict.fromkeys(self._job.models))
        for client, there in zip(self._clients, known, strict=True):
            if not wanted and there:
                wanted = [there[0]]
            missing = [model for model in wanted if there and model not in there]
            if missing:
                raise BadInput(
                    f"the server has no model {missing[0]!r}",
                    where=client.endpoint,
                    mend=f"name one of its own: {', '.join(map(visible, there[:6]))}",
                )
        if not wanted:
            raise BadInput(
                "the server names no models",
                where=self._clients[0].endpoint,
                mend="say which one with --model",
            )
        return wanted

    def _check_contract(self) -> str:
        """Hold every server to the training render; what is told of it in the run's facts."""
        job, context = self._job, self._context
        if job.unchecked:
            context.log("the servers' prompts are not compared with the training render", "warning")
            return "unchecked"
        if not job.base:
            raise BadInput(
                "it cannot be told whether the server feeds what training fed",
                where="--endpoint",
                mend="name the base that was trained with --base, or give --unchecked",
            )
        tokenizer = load_tokenizer(job.base, context.workspace)

        def check(client: Client) -> list[ContractReport]:
            return [
                check_endpoint(client, tokenizer, (), model=model, progress=context.progress)
                for model in self._models
            ]

        weakest = []
        for report in itertools.chain(*self._asked(check)):
            self._require_equal(report)
            weakest.append(report.strength)
        order = ("counts", "text", "tokens")
        return f"equal in {min(weakest, key=order.index)}"

    def _require_equal(self, report: ContractReport) -> None:
        """Most servers let a turn forge control tokens by quoting them. That is told, and no reason
        to refuse: the worlds of an eval seldom quote any."""
        forged = [one for one in report.differing if one.cause == FORGED]
        fed_alike = report.chat is None or report.chat.equal
        if forged and fed_alike and len(forged) == len(report.differing):
            self._context.log(
                f"{report.endpoint}: a turn that quotes a control token forges it there", "warning"
            )
            return
        report.require_equal()


class RemoteOperator:
    """A model behind a fleet of servers.

    Args:
        log: tells a person how the servers fare: a text and its level.
    """

    def __init__(
        self, job: Evaluate, model: str, fleet: Fleet, log: Callable[[str, str], None]
    ) -> None:
        self._job, self._model, self._fleet, self._log = job, model, fleet, log
        self._turns: dict[str, list[Turn]] = {}
        self._seeds: dict[str, int] = {}
        self._asked: dict[Future[Said], str] = {}

    def open(self, key: str, seed: int) -> None:
        self._turns[key] = []
        self._seeds[key] = seed

    def hear(self, shown: Mapping[str, str]) -> None:
        """Ask for one command turn of each episode, side by side."""
        for key, text in shown.items():
            self._turns[key].append(Turn(role="user", content=text))
            self._asked[_beside(partial(self._ask, key))] = key

    def say(self) -> dict[str, Said]:
        """The answers that are there; waits a moment where there are none."""
        done, _ = wait(self._asked, MOMENT_S, return_when=FIRST_COMPLETED)
        for text in self._fleet.news():
            self._log(text, "warning")
        said = {self._asked.pop(answer): answer.result() for answer in done}
        for key, one in said.items():
            if not one.broken and not one.exhausted:
                self._turns[key].append(Turn(role="assistant", content=one.text))
        return said

    def close(self, keys: Sequence[str]) -> None:
        self._fleet.leave(keys)
        for key in keys:
            self._turns.pop(key, None)
            self._seeds.pop(key, None)

    def _ask(self, key: str) -> Said:
        job = self._job
        try:
            turns = normalize_for_template(self._turns[key])
        except BadInput:  # a blank line was typed: no training render has one, but a server may
            turns = tuple(self._turns[key])
        body = {
            "model": self._model,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
            "max_tokens": job.turn_tokens,
            "temperature": job.temperature,
            "seed": self._seeds[key] & 0x7FFFFFFF,
            "stream": False,
        }
        why = ""
        for member in self._fleet.order(key):
            answer: Answer | None = None
            try:
                answer = member.client.post("/v1/chat/completions", body)
                said = _said(answer, member.client.endpoint)
            except SekftError as error:
                why = str(error)
                if answer is not None and answer.status in _ASKED_WRONGLY:
                    self._fleet.served(key, member)  # it is well; another may take what it refused
                else:
                    self._fleet.failed(member, why)
            else:
                self._fleet.served(key, member)
                return said
        return Said(text="", broken=why)


def _beside(work: Callable[[], T]) -> Future[T]:
    """Do it on a thread that nobody waits for who leaves: a server may hang for minutes."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            done.set_exception(error)

    threading.Thread(target=run, name="asking", daemon=True).start()
    return done


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: list[_Choice]


def _said(answer: Answer, where: str) -> Said:
    """What the model said, from a chat completion.

    Raises:
        Unavailable: the server refused, or answered with something else.
    """
    if not answer.ok:
        if answer.status == 400 and too_long(answer.message):
            return Said(text="", exhausted=True)
        raise Unavailable(f"no completion: {answer.summary}", where=where)
    try:
        (choice, *_) = msgspec.convert(answer.body, _Completion).choices
    except (msgspec.ValidationError, ValueError):
        raise Unavailable("an answer that is no chat completion", where=where) from None
    return Said(text=choice.message.content or "", cut=choice.finish_reason == "length")
