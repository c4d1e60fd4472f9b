"""Take over: a person at the prompt of a world, where a recorded session had come to.

A :class:`TakeOver` types a session's commands into a fresh world again, up to a turn, and then what
it is given. It works on a thread of its own, since a person thinks for minutes and the engine has
other jobs; only while a model types does the engine work for it, as a job like any other.
"""

from __future__ import annotations

import queue
import secrets
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine import events, jobs
from sekft_engine.errors import BadInput, SekftError
from sekft_engine.evaluate.command_turn import excess
from sekft_engine.evaluate.episode import Episode, Said, described
from sekft_engine.evaluate.subjects import Subject
from sekft_engine.evaluate.takeover_difference import against_reference, differences
from sekft_engine.evaluate.takeover_keep import HAND, Draft, Keeper, draft_path, with_provenance
from sekft_engine.evaluate.takeover_origin import Origin, upto
from sekft_engine.evaluate.takeover_view import Asks, State, View
from sekft_engine.events import Event
from sekft_engine.scenario import Scenario
from sekft_engine.trajectory import Turn
from sekft_engine.worlds import World, WorldBroken, open_world

#: Whose session it is, beside the subjects of evals.
SUBJECT = "takeover"
#: Commands in one session: more than an eval allows, for a person may have to clear up first.
STEP_CAP = 40

_living: weakref.WeakValueDictionary[str, TakeOver] = weakref.WeakValueDictionary()


class TakeOver:
    """One person, one world at a time. Methods return at once and may be called from any thread;
    what is not possible at the moment changes nothing, and ``problem`` says so.

    Args:
        find: says where to begin; called on the take-over's thread.
        keeper: certifies and writes what is kept.
        engine: whom to ask for a model's turns; None = nobody but the person types.
        base: the base that types.
        changed: called after every change, on the thread that caused it; must be quick.
        sandbox, userland: other ones than the session was recorded in.
        drafts: the folder where what is typed lies until it is kept or left; None = nowhere.
    """

    def __init__(
        self,
        find: Callable[[], Origin],
        *,
        keeper: Keeper,
        engine: Asks | None = None,
        base: str = "",
        load_4bit: bool = False,
        changed: Callable[[], None] = lambda: None,
        step_cap: int = STEP_CAP,
        sandbox: str = "",
        userland: str = "",
        drafts: Path | None = None,
    ) -> None:
        self.id = secrets.token_hex(4)
        self._find = find
        self._keeper = keeper
        self._engine = engine
        self._base, self._load_4bit = base, load_4bit
        self._changed = changed
        self._step_cap = step_cap
        self._sandbox, self._userland = sandbox, userland
        self._news = threading.Condition()
        self._view = View()
        self._work: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._episode: Episode | None = None
        self._models: dict[str, dict[str, str]] = {}
        self._job = ""
        self._backs = 0
        self._closing = self._discard = False
        self._draft = Draft(draft_path(drafts, self.id) if drafts is not None else None)
        self._unsubscribe = engine.subscribe(self._heard) if engine is not None else lambda: None
        self._thread = threading.Thread(target=self._main, name="sekft-takeover", daemon=True)
        _living[self.id] = self

    # --- what a person asks for -----------------------------------------------------------------

    def start(self) -> TakeOver:
        self._thread.start()
        return self

    @property
    def view(self) -> View:
        return self._view

    @property
    def origin(self) -> Origin:
        """Where it began; there is one as soon as the view has one."""
        if self._view.origin is None:
            raise BadInput("the take-over has not begun")
        return self._view.origin

    def type(self, command: str) -> bool:
        """Type a command turn; False = it is not the person's turn, or there is nothing to type."""
        if not command.strip():
            return False
        if too_long := excess(command):
            self._from("ready", problem=f"not typed, for it is too long: {too_long}")
            return False
        if not self._from("ready", state="running", running=command.strip(), problem=""):
            return False
        self._work.put(lambda: self._typed(Said(text=command, by=HAND)))
        return True

    def interrupt(self) -> bool:
        """End the command that hangs; False = none runs."""
        episode = self._episode
        if episode is None or self._view.state not in ("running", "model"):
            return False
        episode.interrupt()
        return True

    def hand_back(self, adapter: str | None = None, *, turns: int = 0) -> bool:
        """Let a model type.

        Args:
            adapter: its folder, '' = the bare base, None = whoever typed in the recorded session.
            turns: so many; 0 = until the session ends.
        """
        if self._engine is None or not self._base:
            self._update(problem="there is no base to hand back to; name one with --base")
            return False
        if adapter is None:
            if self._view.origin is not None and self._view.origin.missing:
                self._update(problem=f"{self._view.origin.missing}; choose who is to type")
                return False
            adapter = self.origin.adapter
        if not self._from("ready", state="model", running="", typist="", problem=""):
            return False
        self._job = f"hand-back-{self.id}-{self._backs}"
        self._backs += 1
        job = jobs.HandBack(
            id=self._job,
            takeover=self.id,
            base=self._base,
            adapter=adapter,
            turns=turns,
            seed=self._backs - 1,
            load_4bit=self._load_4bit,
        )
        self._engine.submit(job)
        return True

    def take_back(self) -> bool:
        """The person types again, as soon as what the model typed has been answered."""
        if self._engine is None or self._view.state != "model":
            return False
        return self._engine.cancel(self._job)

    def rewind(self, turn: int) -> bool:
        """Fork the world again as it was when turn ``turn`` of this session was typed."""
        turns = upto(self._view.turns, turn)
        if not self._from("ready", "over", "failed", state="opening", problem="", running=""):
            return False
        self._work.put(lambda: self._fork(turns, min(self._view.again, len(turns))))
        return True

    def finish(self) -> bool:
        """End the session here, as a limit would, and judge it."""
        if not self._from("ready", state="judging", problem=""):
            return False
        self._work.put(self._stopped)
        return True

    def keep(self, folder: Path) -> bool:
        """Certify the judged session and write it to ``folder``; ``kept`` or a problem follows."""
        if not self._from("over", state="judging", problem="", running="certifying"):
            return False
        self._work.put(lambda: self._kept(folder))
        return True

    def close(self, *, discard: bool = False) -> None:
        """Leave: end whatever runs, and the world. What is not kept still lies in its draft, or
        is thrown away. Does not wait; see :meth:`join`."""
        self._discard = self._discard or discard
        self.take_back()
        self.interrupt()
        self._work.put(self._closed)

    def join(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left of it."""
        if self._thread.ident is not None:
            self._thread.join(timeout)
        return not self._thread.is_alive()

    def wait(self, *states: State, timeout: float | None = None) -> View:
        """The first view in one of ``states`` (or closed), or the present one after ``timeout``."""
        with self._news:
            self._news.wait_for(lambda: self._view.state in (*states, "closed"), timeout)
            return self._view

    # --- on the take-over's thread --------------------------------------------------------------

    def _main(self) -> None:
        self._guarded(self._began)
        while self._view.state != "closed":
            self._guarded(self._work.get())

    def _guarded(self, do: Callable[[], None]) -> None:
        try:
            do()
        except Exception as error:  # noqa: BLE001 - told to the person; the take-over lives on
            self._fail(described(error))

    def _fail(self, problem: str) -> None:
        """What was asked for has not happened; where there is a session, it stands."""
        judged = self._view.finished is not None
        usable = self._episode is not None and not self._episode.over
        self._update(state="over" if judged else "ready" if usable else "failed", problem=problem)

    def _began(self) -> None:
        origin = self._find()
        self._update(origin=origin)
        if origin.draft:
            self._draft = Draft(Path(origin.draft))
        recorded = origin.recorded
        self._fork(recorded, len(recorded))

    def _fork(self, recorded: Sequence[Turn], again: int) -> None:
        """A fresh world, with the commands of ``recorded`` typed into it."""
        origin = self.origin
        if self._episode is not None:
            self._episode.close()
            self._episode = None
        self._update(
            state="opening",
            again=again,
            differences=(),
            remark="",
            finished=None,
            against=None,
            kept=None,
        )
        episode = Episode(
            origin.scenario, SUBJECT, step_cap=self._step_cap, open_world=self._open_world
        )
        if episode.open() is None:
            episode.close()
            raise WorldBroken(episode.invalid)
        self._episode = episode
        for turn in recorded:
            if turn.is_command and not episode.over:
                episode.type(_said(turn))
        self._update(differences=differences(recorded, episode.turns))
        self._tell()
        self._go_on()

    def _open_world(self, scenario: Scenario) -> World:
        origin = self.origin
        world = open_world(
            scenario,
            sandbox=self._sandbox or origin.sandbox,
            userland=self._userland or origin.userland,
            dialect=origin.dialect,
        )
        recorded, here = str(origin.about.get("userland") or ""), world.userland.label
        if recorded not in ("", here):
            self._update(remark=f"recorded with the programs of {recorded}; these are {here}")
        return world

    def _typed(self, said: Said) -> None:
        self._live.type(said)
        self._tell()
        self._go_on()

    def _go_on(self) -> None:
        """The person's turn, or the verdict."""
        if not self._live.over:
            self._update(state="ready", running="")
            return
        self._update(state="judging", running="the checker")
        finished = self._live.finish()
        finished = with_provenance(finished, self.origin, self._view.again, self._models)
        self._update(state="over", running="", finished=finished)
        if not finished.verdict.verified and not finished.verdict.invalid:
            found = against_reference(self.origin.scenario, finished, self._open_world)
            self._update(against=found)

    def _stopped(self) -> None:
        self._live.stop(HAND)
        self._go_on()

    def _kept(self, folder: Path) -> None:
        if self._view.finished is None:
            return
        kept = self._keeper.keep(self._view.finished, folder)
        self._draft.remove()
        self._update(state="over", running="", kept=kept, unsaved=False)

    def _closed(self) -> None:
        if self._view.state == "model":  # the engine's thread may be in the world
            self._closing = True
            return
        self._unsubscribe()
        problem = self._view.problem
        try:
            if self._episode is not None:
                self._episode.close()
            if self._discard:
                self._draft.remove()
        except Exception as error:  # noqa: BLE001 - who leaves is not held back by it
            problem = described(error)
        self._update(state="closed", running="", problem=problem)

    # --- on the engine's thread, while a model types --------------------------------------------

    def model_types(self, subject: Subject, base_digest: str, said: Said) -> str | None:
        """Type what ``subject`` said; returns what the world answers, None at the end."""
        name = f"{subject.name} (adapter)" if subject.name == HAND else subject.name
        self._models[name] = {"adapter": subject.digest, "base": base_digest}
        self._update(running=said.text.strip())
        answer = self._live.type(msgspec.structs.replace(said, by=name))
        self._update(running="")
        self._tell()
        return answer

    def model_waits(self, name: str) -> None:
        """It is ``name``'s turn."""
        self._update(running="", typist=name)

    def _heard(self, event: Event) -> None:
        """Of the engine: the job is over, however it ended."""
        if event.job != self._job or not isinstance(event, events.ENDINGS):
            return
        problem = event.error if isinstance(event, events.JobFailed) else ""
        if isinstance(event, events.JobDone):
            problem = str(event.result.get("stopped") or "")
        self._work.put(lambda: self._given_back(problem))

    def _given_back(self, problem: str) -> None:
        self._job = ""
        self._update(state="judging", running="", problem=problem)
        if self._closing:
            self._closed()
        else:
            self._go_on()

    # --- the view -------------------------------------------------------------------------------

    @property
    def _live(self) -> Episode:
        if self._episode is None:
            raise BadInput("there is no world")
        return self._episode

    def _tell(self) -> None:
        """The session has more turns; what the person or a model added is not kept yet."""
        turns, again = tuple(self._live.turns), self._view.again
        new = 0 if self.origin.draft else again
        self._update(turns=turns, unsaved=any(turn.is_command for turn in turns[new:]))
        if self._view.unsaved:
            try:
                self._draft.write(self.origin, turns, again)
            except SekftError as error:  # what is typed counts all the same
                self._update(problem=f"it lies nowhere yet: {error}")

    def _from(self, *states: State, **changes: Any) -> bool:
        """Change the view if it is in one of ``states``."""
        with self._news:
            if self._view.state not in states:
                return False
            self._view = msgspec.structs.replace(self._view, **changes)
            self._news.notify_all()
        self._changed()
        return True

    def _update(self, **changes: Any) -> None:
        with self._news:
            self._view = msgspec.structs.replace(self._view, **changes)
            self._news.notify_all()
        self._changed()


def find(takeover: str) -> TakeOver:
    """The take-over of this process that is called so."""
    found = _living.get(takeover)
    if found is None:
        raise BadInput("there is no such take-over in this process", where=takeover)
    return found


def _said(turn: Turn) -> Said:
    """A recorded command turn, to be typed again."""
    return Said(
        text=turn.content,
        ids=turn.ids,
        logprobs=turn.logprobs,
        cut=bool(turn.extra.get("cut")),
        by=str(turn.extra.get("by") or ""),
        too_long=str(turn.extra.get("too_long") or ""),
    )
