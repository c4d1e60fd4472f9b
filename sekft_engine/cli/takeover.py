"""``sekft takeover``: continue a recorded session by hand, in a plain terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec
from msgspec import Meta

from sekft_engine.cli.options import (
    find_workspace,
    json_option,
    no_resident_option,
    struct_options,
    workspace_option,
)
from sekft_engine.cli.show.document import print_json
from sekft_engine.core.errors import BadInput, Interrupted, JobFailed
from sekft_engine.core.text import count, plain, visible
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.attached.for_session import engine_for
from sekft_engine.engine.engine import Engine
from sekft_engine.episodes.episode import FinishedEpisode
from sekft_engine.episodes.store import find_episode
from sekft_engine.records import jobs
from sekft_engine.records.runs import run_of
from sekft_engine.takeover.draft_files import drafts_folder
from sekft_engine.takeover.keep import HAND, Keeper, folder_for
from sekft_engine.takeover.origin import CUT_OFF, Origin, origin_of_scenario, origin_of_session
from sekft_engine.takeover.takeover import STEP_CAP, TakeOver
from sekft_engine.takeover.view import TakeOverView
from sekft_engine.worlds.backends import SANDBOXES

HELP = """\
What you type goes to the world's shell; exit or panic ends the session.
Lines that begin with ~ are orders:
  ~back [N]        let the model type N turns (1)
  ~end             let the model type until the end
  ~undo [TURN]     make the world again as it was before your last command, or
                   before that turn
  ~finish          end the session here, as a limit would
  ~keep [FOLDER]   save the judged session
  ~lines           several lines as one command, up to a line with ~ alone
  ~leave           throw the session away
  ~~...            a command that begins with ~
Ctrl-C interrupts a command, or the model."""
_WORDS = ("back", "end", "undo", "finish", "keep", "lines", "leave", "help")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Where to take over, and how."""

    turn: Annotated[
        int | None,
        Meta(
            ge=1,
            description="Continue at this turn, counted from 1 as in `runs replay`: the commands "
            "before it are typed again, the others are not [default: the last possible turn].",
        ),
    ] = None
    scenario: Annotated[str, Meta(description="Begin in the untouched world of this scenario.")] = (
        ""
    )
    scenarios: Annotated[str, Meta(description="The folder of its bundle, if it has moved.")] = ""
    keep: Annotated[
        Path | None,
        Meta(description="Save the judged session in this folder.", extra={"folder": True}),
    ] = None
    base: Annotated[
        str, Meta(description="The base that types and certifies [default: as in the eval].")
    ] = ""
    adapter: Annotated[
        str | None,
        Meta(
            description="The adapter for ~back; '' = the bare base [default: the one that typed]."
        ),
    ] = None
    load_4bit: jobs.Load4bit = None
    device: jobs.Device = "auto"
    step_cap: Annotated[int, Meta(ge=1, description="Most commands in the session.")] = STEP_CAP
    sandbox: Annotated[str, Meta(description=f"{', '.join(SANDBOXES)} [default: as recorded].")] = (
        ""
    )
    userland: jobs.Userland = "auto"


@click.command("takeover")
@click.argument("run", default="")
@click.argument("episode", default="")
@struct_options(Options)
@click.option("-q", "--quiet", is_flag=True, help="Show only the world's answers.")
@no_resident_option
@json_option
@workspace_option
def command(
    run: str,
    episode: str,
    quiet: bool,
    no_resident: bool,
    as_json: bool,
    workspace: Path | None,
    **values: Any,
) -> int:
    """Take over EPISODE of RUN at a turn and continue by hand.

    Its world is made again and the commands before that turn are typed again. RUN alone may be the
    file of any session. With --scenario you begin in an untouched world. What you type is read from
    standard input; ~help lists what else you can do.
    """
    options = Options(**values)
    place = find_workspace(workspace)
    base = options.base or (place.base if place is not None else "")
    origin = _origin(run, episode, options, place)
    job = jobs.HandBack(takeover="", base=base, load_4bit=options.load_4bit, device=options.device)
    engine, base, text = engine_for(job, place, resident=not no_resident)
    if text and not quiet:
        click.echo(f"sekft: info: {visible(text)}", err=True)
    if isinstance(engine, Engine):
        engine.start()
    session = TakeOver(
        lambda: origin,
        keeper=Keeper(base, place),
        engine=engine,
        base=base,
        load_4bit=options.load_4bit,
        device=options.device,
        step_cap=options.step_cap,
        sandbox=options.sandbox,
        userland="" if options.userland == "auto" else options.userland,
        drafts=drafts_folder(place),
    ).start()
    loop = Loop(session, place, options.adapter, options.keep, quiet=quiet, to_stderr=as_json)
    try:
        status = loop.run()
        session.close(discard=not loop.refused)
    finally:
        session.close()
        session.join(30.0)
        engine.close()
    if as_json:
        print_json(document(session.view, loop.refused))
    return status


def _origin(run: str, episode: str, options: Options, place: Workspace | None) -> Origin:
    """The session to continue, or the scenario to begin in."""
    if bool(options.scenario) == bool(run):
        raise BadInput("name a run and its episode, or a --scenario", mend="sekft runs list")
    if options.scenario:
        return origin_of_scenario(options.scenario, place, scenarios=options.scenarios)
    path = _session(run, episode, place)
    at = options.turn - 1 if options.turn is not None else None
    return origin_of_session(path, at, place, scenarios=options.scenarios)


class Loop:
    """Reads lines and shows the world's answers, until the session is saved or discarded."""

    def __init__(
        self,
        session: TakeOver,
        place: Workspace | None,
        adapter: str | None,
        keep: Path | None,
        *,
        quiet: bool,
        to_stderr: bool,
    ) -> None:
        self._session = session
        self._place = place
        self._adapter = adapter
        self._keep = keep
        self._quiet = quiet
        self._to_stderr = to_stderr
        self._typed_here = sys.stdin.isatty()
        self._shown = 0
        self._prompt = self._last = ""
        self._judged: FinishedEpisode | None = None
        self._cut_off = ""
        self.refused = ""

    def run(self) -> int:
        """Returns the exit status; raises where there is no world, or the session was left."""
        if self._typed_here:
            import readline  # noqa: F401 - gives input() its history and its keys

        view = self._settled()
        if view.state == "failed":
            raise JobFailed(view.problem)
        self._show_differences(view)
        self._cut_off = self._session.origin.cut_off
        if self._typed_here:
            self._print("~help lists what else you can do; exit or panic ends the session")
        while True:
            view = self._settled()
            self._show(view)
            good = view.finished is not None and view.finished.verdict.keep
            if self._keep is not None and self._typed_here and good:
                return self._save(self._keep)
            self._offer_cut_off()
            line = self._line(self._prompt)
            if line is None:  # no more is typed: what is not over ends here
                if not self._session.finish():
                    return self._save(self._keep) if self._keep is not None else 0
                continue
            if line.startswith("~") and not line.startswith("~~"):
                status = self._order(line[1:].split())
                if status is not None:
                    return status
            elif view.state == "ready":
                self._session.type(line.removeprefix("~") if line.startswith("~~") else line)
            elif line.strip():
                self._print("the session is over: ~keep, ~undo or ~leave")

    def _offer_cut_off(self) -> None:
        """Name the command that ran when the draft was left, and put it into the prompt."""
        command, self._cut_off = self._cut_off, ""
        if not command:
            return
        self._print(f"{command}: {CUT_OFF}")
        if self._typed_here and command.isprintable():
            import readline

            def insert() -> None:
                readline.insert_text(command)
                readline.set_startup_hook(None)

            readline.set_startup_hook(insert)

    def _line(self, prompt: str) -> str | None:
        """The next line; None at the end of what is typed."""
        if self._typed_here:
            try:
                return input(plain(f"{prompt} "))
            except EOFError:
                return None
            except KeyboardInterrupt:
                self._print("\n~leave leaves")
                return ""
        line = sys.stdin.readline()
        if not line:
            return None
        self._print(f"{prompt} {line}".rstrip("\n"))
        return line.rstrip("\n")

    def _order(self, words: list[str]) -> int | None:
        """Do what a line with a ~ asks; the exit status where that is the end."""
        found = [word for word in _WORDS if words and word.startswith(words[0])]
        order = found[0] if len(found) == 1 or (found and found[0] == words[0]) else ""
        number = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
        session = self._session
        if order == "leave":
            session.close(discard=True)
            raise Interrupted("left; nothing is saved")
        if order == "keep":
            named = Path(words[1]) if len(words) > 1 else self._keep
            folder = named or folder_for(session.origin, self._place)
            return 0 if self._save(folder) == 0 else None
        done = True
        if order in ("back", "end"):
            done = session.hand_back(self._adapter, turns=0 if order == "end" else number or 1)
        elif order == "undo":
            done = self._undo(max(0, number - 1) if number is not None else None)
        elif order == "finish":
            done = session.finish()
        elif order == "lines":
            text: list[str] = []
            while (line := self._line(">")) is not None and line != "~":
                text.append(line)
            done = session.type("\n".join(text))
        else:
            self._print(HELP)
        if not done:
            self._print(session.view.problem or "not now")
        return None

    def _undo(self, turn: int | None) -> bool:
        """Back to before turn ``turn``, counted from 0; None = the last command."""
        turns = self._session.view.turns
        commands = [number for number, each in enumerate(turns) if each.is_command]
        if turn is None:
            turn = commands[-1] if commands else 0
        if not self._session.rewind(turn):
            return False
        undone = [turns[number].content for number in commands if number >= turn]
        self._print(f"undone: {'; '.join(undone) or 'nothing'}")
        self._shown = min(turn, len(turns))
        if self._shown:
            self._last = turns[self._shown - 1].content.rpartition("\n")[2]
        self._settled()
        self._show_differences(self._session.view)
        return True

    def _save(self, folder: Path) -> int:
        if not self._session.keep(folder.expanduser().absolute()):
            self._print("the session is not over: end it with exit or panic, or ~finish")
            return 1
        view = self._settled()
        if view.kept is None:
            self.refused = view.problem
            self._print(view.problem)
            return 1
        self._print(f"kept: {view.kept.path}  ({view.kept.tokens} tokens, certified)")
        if view.kept.passed_over:
            self._print(f"it will not be trained on: {view.kept.passed_over}")
        return 0

    def _settled(self) -> TakeOverView:
        """Wait until something is asked of the person. Ctrl-C takes over from the model, and
        interrupts the command that runs."""
        interrupted = False
        while True:
            try:
                return self._session.wait("ready", "over", "failed")
            except KeyboardInterrupt:
                if interrupted or not self._session.take_back():
                    self._session.interrupt()
                interrupted = True

    def _show(self, view: TakeOverView) -> None:
        """Show what is new since the last call."""
        turns = view.turns
        self._prompt = "over, ~keep ~undo ~leave>"
        for number in range(self._shown, len(turns)):
            turn = turns[number]
            if turn.is_command:
                if number < view.again or turn.extra.get("by") != HAND:
                    self._print(f"[turn {number + 1}, {turn.extra.get('by')}] {turn.content}")
            elif number + 1 < len(turns):
                self._print(turn.content)
            else:
                text, _, last = turn.content.rpartition("\n")
                if text:
                    self._print(text)
                self._last = last
        self._shown = len(turns)
        if view.state == "ready":
            self._prompt = self._last
        if view.problem:
            self._print(view.problem)
        if view.finished is not None and view.finished is not self._judged:
            verdict = view.finished.verdict
            facts = ["verified" if verdict.verified else "not verified"]
            facts += [] if verdict.clean else ["prose"]
            facts += [] if verdict.outcome == verdict.expected else [f"expected {verdict.expected}"]
            facts += [f"invalid: {verdict.invalid}"] if verdict.invalid else []
            typed = count(verdict.steps, "command")
            self._print(f"{verdict.outcome} after {typed}: {', '.join(facts)}")
        self._judged = view.finished

    def _show_differences(self, view: TakeOverView) -> None:
        if view.remark:
            self._print(view.remark)
        for difference in view.differences:
            self._print(f"turn {difference.turn + 1}: {difference.in_words}")
            if difference.now is not None and difference.now != difference.recorded:
                self._print(f"  recorded: {difference.recorded!r}\n  now:      {difference.now!r}")
        if view.differences and self._typed_here:
            self._print("you may continue in the world as it is now, or ~leave")

    def _print(self, text: str) -> None:
        if self._quiet and self._to_stderr:
            return
        click.echo(plain(text.expandtabs()), err=self._to_stderr)


def document(view: TakeOverView, refused: str) -> dict[str, Any]:
    """What ``--json`` prints."""
    origin, finished = view.origin, view.finished
    return {
        "scenario": origin.scenario.id if origin is not None else "",
        "run": origin.run if origin is not None else "",
        "episode": origin.episode if origin is not None else "",
        "turn": view.again,
        "turns": [turn.to_json() for turn in view.turns],
        "differences": [difference.to_json() for difference in view.differences],
        "verdict": msgspec.to_builtins(finished.verdict) if finished is not None else None,
        "kept": msgspec.to_builtins(view.kept) if view.kept is not None else None,
        "refused": refused,
    }


def _session(run: str, episode: str, place: Workspace | None) -> Path:
    """The file of a session: named itself, or as an episode of a run."""
    if not episode and Path(run).is_file():
        return Path(run)
    if not episode:
        raise BadInput("which episode?", where=run, mend="name it, or a part of its name")
    info = run_of(run, place.runs if place is not None else None)
    return find_episode(Path(info.path) / "episodes", episode)
