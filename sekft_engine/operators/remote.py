"""Operators behind OpenAI-compatible servers: one server, or a fleet with the same models."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from typing import Any, TypeVar

from sekft_engine.contract import ContractReport, check_endpoint, key_from
from sekft_engine.contract.answers import ANSWERS, JudgedAnswer
from sekft_engine.contract.chat import Chat
from sekft_engine.contract.fields import NEUTRAL, FieldNeeded
from sekft_engine.contract.http.client import Client
from sekft_engine.contract.prompt_size import PromptSize
from sekft_engine.contract.routes import list_models
from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.core.text import visible
from sekft_engine.data.trajectory import Turn
from sekft_engine.episodes.command_turn import CommandTurn
from sekft_engine.episodes.episode import described
from sekft_engine.operators.endpoints import Fleet, Member
from sekft_engine.operators.served import served_facts
from sekft_engine.operators.subjects import Subject
from sekft_engine.records.evals import ServedFacts
from sekft_engine.records.jobs import Evaluate
from sekft_engine.render import ChatTokenizer, normalize_for_template
from sekft_engine.render.template.tokenizer import load_tokenizer
from sekft_engine.work.context import Context

#: The cause of a difference that does not stop an eval, see :mod:`sekft_engine.contract.causes`.
FORGED = "forged_control_token"
#: How long :meth:`RemoteOperator.poll` waits for an answer before it lets worlds continue.
POLL_S = 0.02
#: The longest ``Retry-After`` of a busy server that is obeyed.
PATIENCE_S = 120.0

T = TypeVar("T")


class RemoteOperators:
    """Makes the operator of each model; a context manager that owns the connections.

    Called with a subject it returns the operator and the most episodes at a time.

    Args:
        job: the eval.
        context: of the job.
        live: whether answers are wanted word by word; None = while someone watches.

    Raises:
        DigestMismatch: a server does not feed its model what training fed.
        Unavailable: a server does not answer, or does not hold a model.
        BadInput: no address, or no key where one was promised.
    """

    def __init__(
        self, job: Evaluate, context: Context, live: Callable[[], bool] | None = None
    ) -> None:
        self._job, self._context = job, context
        self._live = live or (lambda: context.board.watched)
        self._clients: list[Client] = []
        self._closing = threading.Event()
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
                    sleep=self._closing.wait,
                )
                self._clients.append(client)
            self._models = self._resolve_models(self._asked(list_models))
            tokenizer = load_tokenizer(job.base, context.workspace) if job.base else None
            for note in tokenizer.notes if tokenizer is not None else ():
                context.log(note, "warning")
            contract = self._check_contract(tokenizer)
            undo.pop_all()
        self._size = PromptSize(tokenizer, checked=not job.unchecked) if tokenizer else None
        self._fleet = Fleet(self._clients)
        self._chats = {
            (client.endpoint, model): Chat(
                client, model, turn_tokens=job.turn_tokens, temperature=job.temperature
            )
            for client in self._clients
            for model in self._models
        }
        self.subjects = [Subject(name=model) for model in self._models]
        self.about: dict[str, Any] = {
            "endpoints": [client.endpoint for client in self._clients],
            "subjects": dict.fromkeys(self._models, ""),
            "contract": contract,
            "sampling": dict(NEUTRAL),
        }

    def __enter__(self) -> RemoteOperators:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        self._closing.set()  # ends all waiting for busy servers
        for client in self._clients:
            client.close()

    def __call__(self, subject: Subject) -> tuple[RemoteOperator, int]:
        chats = {
            endpoint: chat
            for (endpoint, model), chat in self._chats.items()
            if model == subject.name
        }
        operator = RemoteOperator(
            chats,
            self._fleet,
            self._context.log,
            size=self._size,
            checked=not self._job.unchecked,
            live=self._live,
        )
        return operator, self._job.concurrency

    def served(self) -> list[ServedFacts]:
        """What was learnt of the servers while they were asked, for the eval's document."""
        return served_facts(self._chats.values(), self._job.temperature)

    def _asked(self, ask: Callable[[Client], T]) -> list[T]:
        """Each server's answer; servers that do not answer are left out as long as one does."""
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
            self._context.log(f"{why}; the eval continues without it", "warning")
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

    def _check_contract(self, tokenizer: ChatTokenizer | None) -> str:
        """Compare every server's prompts with training's; the outcome, for the run's facts."""
        job, context = self._job, self._context
        if job.unchecked:
            context.log("the servers' prompts are not compared with the training render", "warning")
            return "unchecked"
        if tokenizer is None:
            raise BadInput(
                "it is unknown whether the server feeds what training fed",
                where="--endpoint",
                mend="name the base that was trained with --base, or give --unchecked",
            )

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
        """Raise unless the prompts are equal.

        On most servers a turn that quotes control tokens forges them. That gives a warning only:
        worlds seldom print any.
        """
        forged = [each for each in report.differing if each.cause == FORGED]
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
        chats: the chat with each server, by its address.
        fleet: the servers.
        log: shows users a text at a level, such as a server's failure.
        size: the least size of prompts; None = unknown, prompts are only compared with each other.
        checked: the servers' prompts were compared with training's, and are equal.
        live: whether answers are wanted word by word.
    """

    def __init__(
        self,
        chats: Mapping[str, Chat],
        fleet: Fleet,
        log: Callable[[str, str], None],
        *,
        size: PromptSize | None,
        checked: bool,
        live: Callable[[], bool] = lambda: False,
    ) -> None:
        self._chats, self._fleet, self._log = chats, fleet, log
        self._size, self._checked = size, checked
        self._live = live
        self._written: dict[str, str] = {}
        self._turns: dict[str, list[Turn]] = {}
        self._seeds: dict[str, int] = {}
        #: The server that answered last, and the number of tokens that it counted for the prompt.
        self._fed: dict[str, tuple[str, int]] = {}
        self._asked: dict[Future[CommandTurn], str] = {}

    def open(self, key: str, seed: int) -> None:
        self._turns[key] = []
        self._seeds[key] = seed

    def recall(self, key: str, turns: Sequence[Turn]) -> None:
        """Continue an episode of these turns, of which the last is a command."""
        self._turns[key] = [Turn(role=turn.role, content=turn.content) for turn in turns]

    def observe(self, shown: Mapping[str, str]) -> None:
        """Ask for one command turn of each episode, in parallel."""
        for key, text in shown.items():
            self._turns[key].append(Turn(role="user", content=text))
            self._asked[_in_thread(partial(self._ask, key))] = key

    def poll(self) -> dict[str, CommandTurn]:
        """The answers that have come; waits for :data:`POLL_S` at most where there are none.

        Raises:
            FieldNeeded: a server refuses what the eval is not the same without.
        """
        done, _ = wait(self._asked, POLL_S, return_when=FIRST_COMPLETED)
        for text in self._fleet.news():
            self._log(text, "warning")
        answers = {self._asked.pop(answer): _result(answer) for answer in done}
        for key, turn in answers.items():
            if not turn.broken and not turn.exhausted:
                self._turns[key].append(Turn(role="assistant", content=turn.text))
        return answers

    def written(self, key: str) -> str:
        """What is written of the open turn of ``key`` so far, where answers are streamed."""
        return self._written.get(key, "")

    def close(self, keys: Sequence[str]) -> None:
        self._fleet.leave(keys)
        for key in keys:
            self._turns.pop(key, None)
            self._seeds.pop(key, None)
            self._fed.pop(key, None)
            self._written.pop(key, None)

    def _ask(self, key: str) -> CommandTurn:
        turns: Sequence[Turn] = self._turns[key]
        # A blank line cannot be rendered for training, but a server takes it.
        with contextlib.suppress(BadInput):
            turns = normalize_for_template(turns)
        messages = [{"role": turn.role, "content": turn.content} for turn in turns]
        least = self._size.least(turns) if self._size else 0
        why = ""
        written = partial(self._written.__setitem__, key) if self._live() else None
        for member in self._fleet.order(key):
            self._written.pop(key, None)
            chat = self._chats[member.client.endpoint]
            judged = chat.ask(
                messages,
                seed=self._seeds[key],
                least=self._least(key, chat, turns, least),
                written=written,
            )
            row = ANSWERS[judged.kind]
            why = _why(judged, member)
            if row.rests:
                self._fleet.failed(member, why)
            else:
                self._fleet.served(key, member)  # it works, even if it refused this request
            if row.decision not in ("again", "elsewhere"):
                return self._command_turn(key, judged, member, turns, least, why)
        return CommandTurn(text="", broken=why)

    def _least(self, key: str, chat: Chat, turns: Sequence[Turn], least: int) -> int:
        """The least number of tokens that one server should count for the prompt.

        Where the prompts were not compared, the first one, which is short, shows whether the base
        that was named is the one that is served. Without a base it is only known that a session
        grows.
        """
        where, fed = self._fed.get(key, ("", 0))
        grown = fed + 1 if where == chat.client.endpoint else 0
        if self._size is None:
            return grown
        if self._checked:
            return least
        return max(least, grown) if len(turns) > 1 else 0

    def _command_turn(
        self,
        key: str,
        judged: JudgedAnswer,
        member: Member,
        turns: Sequence[Turn],
        least: int,
        why: str,
    ) -> CommandTurn:
        """The command turn that follows from an answer, where no other server is to be asked."""
        self._notice(key, judged, member, turns, least)
        if judged.decision == "cap" and any(turn.is_command for turn in turns):
            self._fleet.warn(judged.kind, f"{why}; the session ends there, by its context")
            return CommandTurn(text="", exhausted=True)
        if judged.decision != "act":
            self._fleet.warn(judged.kind, f"{why}; its episodes do not count")
            return CommandTurn(text="", broken=why)
        return CommandTurn(text=judged.text, cut=judged.cut)

    def _notice(
        self, key: str, judged: JudgedAnswer, member: Member, turns: Sequence[Turn], least: int
    ) -> None:
        """Record the server's count of prompt tokens, and warn once of anything unusual."""
        fed = judged.prompt_tokens
        if fed is not None:
            self._fed[key] = (member.client.endpoint, fed)
            if not self._checked and len(turns) == 1 and fed < least:
                self._size = None
                self._fleet.warn(
                    "base",
                    f"{member.client.endpoint}: it counts {fed} tokens where the base that was "
                    f"named has {least} or more, so its prompts are not held against that base",
                )
        if judged.thought and judged.decision == "act":
            self._fleet.warn(
                "thought",
                f"{member.client.endpoint}: the model thinks before it types. Its thoughts are "
                "neither typed nor shown to it again, and use up tokens of its turns",
            )
        if judged.unseen:
            self._fleet.warn(
                "unseen",
                f"{member.client.endpoint}: it counts {judged.unseen} tokens and shows no words of "
                "them, so a blank line is typed. Control tokens have none; if they are thoughts, "
                "switch thinking off where it is served",
            )


def _result(answer: Future[CommandTurn]) -> CommandTurn:
    """The result of a request; an error makes only this episode invalid."""
    try:
        return answer.result()
    except FieldNeeded:
        raise
    except Exception as error:  # noqa: BLE001
        return CommandTurn(text="", broken=described(error))


def _why(judged: JudgedAnswer, member: Member) -> str:
    """Why an episode does not count; begins with the name of the row in the table of answers."""
    mend = judged.mend or ANSWERS[judged.kind].mend
    return f"{judged.kind}: {member.client.endpoint}: {judged.why}" + (f" ({mend})" if mend else "")


def _in_thread(work: Callable[[], T]) -> Future[T]:
    """Do ``work`` on a daemon thread, which holds up no exit: a server may hang for minutes."""
    done: Future[T] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            done.set_exception(error)

    threading.Thread(target=run, name="asking", daemon=True).start()
    return done
