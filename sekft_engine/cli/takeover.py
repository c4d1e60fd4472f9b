"""``sekft takeover``: go on by hand where a recorded session had come to, in a plain terminal."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
import msgspec

from sekft_engine.cli.options import (
    find_workspace,
    json_option,
    print_json,
    userland_option,
    workspace_option,
)
from sekft_engine.errors import BadInput, Interrupted, JobFailed
from sekft_engine.evaluate.episode import Finished
from sekft_engine.evaluate.store import find_episode
from sekft_engine.evaluate.takeover import STEP_CAP, TakeOver
from sekft_engine.evaluate.takeover_keep import (
    HAND,
    Keeper,
    drafts_folder,
    folder_for,
    why_not_trained,
)
from sekft_engine.evaluate.takeover_origin import origin_of_scenario, origin_of_session
from sekft_engine.evaluate.takeover_view import View
from sekft_engine.runs import run_of
from sekft_engine.visible import plain
from sekft_engine.workspace import Workspace
from sekft_engine.worlds.opening import SANDBOXES

HELP = """\
what you type goes to the world's shell; exit or panic ends the session. Lines that begin with ~:
  ~back [N]      let the model type N turns (1)        ~end       let it type until the end
  ~undo [TURN]   fork the world again before your last command, or before that turn
  ~finish        end it here, as a limit would         ~keep [FOLDER]
  ~lines         several lines as one command, up to a line with ~ alone
  ~leave         throw it away                         ~~...      a command that begins with ~
Ctrl-C interrupts a command, or the model."""
_WORDS = ("back", "end", "undo", "finish", "keep", "lines", "leave", "help")


@click.command("takeover")
@click.argument("run", default="")
@click.argument("episode", default="")
@click.option(
    "--turn",
    type=click.IntRange(min=1),
    help="Go on at this turn, counted from 1 as in `runs replay`: the commands before it are typed"
    " again, the one at it and those after it are not [default: as late as can be].",
)
@click.option("--scenario", default="", help="Begin in the untouched world of this scenario.")
@click.option("--scenarios", default="", help="Where its bundle lies, if not where it was.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the judged session there.")
@click.option("--base", default="", help="Whose model types, and certifies [default: as in eval].")
@click.option("--adapter", help="Who types on ~back; '' = the bare base [default: who did].")
@click.option("--load-4bit", is_flag=True, help="Hold the base in 4 bits (NF4, double quant).")
@click.option("--step-cap", default=STEP_CAP, show_default=True, type=click.IntRange(min=1))
@click.option("--sandbox", default="", help=f"{', '.join(SANDBOXES)} [default: as recorded].")
@userland_option
@click.option("-q", "--quiet", is_flag=True, help="Show the answers only.")
@json_option
@workspace_option
def command(
    run: str,
    episode: str,
    turn: int | None,
    scenario: str,
    scenarios: str,
    keep: Path | None,
    base: str,
    adapter: str | None,
    load_4bit: bool,
    step_cap: int,
    sandbox: str,
    userland: str,
    quiet: bool,
    as_json: bool,
    workspace: Path | None,
) -> int:
    """Take over EPISODE of RUN at a turn: its world is made again, what was typed until then is
    typed again, and you go on by hand.

    RUN alone may be the file of any session. With --scenario you begin in an untouched world. What
    you type is read from standard input; ~help tells the rest.
    """
    from sekft_engine.engine import Engine

    place = find_workspace(workspace)
    base = base or (place.base if place is not None else "")

    if bool(scenario) == bool(run):
        raise BadInput("name a run and its episode, or a --scenario", mend="sekft runs list")
    if scenario:
        origin = origin_of_scenario(scenario, place, scenarios=scenarios)
    else:
        path = _session(run, episode, place)
        at = turn - 1 if turn is not None else None
        origin = origin_of_session(path, at, place, scenarios=scenarios)
    engine = Engine(place, nice=0).start()
    session = TakeOver(
        lambda: origin,
        keeper=Keeper(base, place),
        engine=engine,
        base=base,
        load_4bit=load_4bit,
        step_cap=step_cap,
        sandbox=sandbox,
        userland="" if userland == "auto" else userland,
        drafts=drafts_folder(place),
    ).start()
    loop = Loop(session, place, adapter, keep, quiet=quiet, to_stderr=as_json)
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


class Loop:
    """Reads lines and tells what the world answers, until the session is kept or left."""

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
        self._told: Finished | None = None
        self.refused = ""

    def run(self) -> int:
        """Returns the exit status; raises where there is no world, or the session was left."""
        if self._typed_here:
            import readline  # noqa: F401 - gives input() its history and its keys

        view = self._settled()
        if view.state == "failed":
            raise JobFailed(view.problem)
        self._tell_differences(view)
        if self._typed_here:
            self._say("~help tells what else you can do; exit or panic ends the session")
        while True:
            view = self._settled()
            self._show(view)
            good = view.finished is not None and not why_not_trained(view.finished)
            if self._keep is not None and self._typed_here and good:
                return self._keep_it(self._keep)
            line = self._line(self._prompt)
            if line is None:  # no more is typed: what is not over ends here
                if not self._session.finish():
                    return self._keep_it(self._keep) if self._keep is not None else 0
                continue
            if line.startswith("~") and not line.startswith("~~"):
                status = self._order(line[1:].split())
                if status is not None:
                    return status
            elif view.state == "ready":
                self._session.type(line.removeprefix("~") if line.startswith("~~") else line)
            elif line.strip():
                self._say("the session is over: ~keep, ~undo or ~leave")

    def _line(self, prompt: str) -> str | None:
        """The next line; None at the end of what is typed."""
        if self._typed_here:
            try:
                return input(plain(f"{prompt} "))
            except EOFError:
                return None
            except KeyboardInterrupt:
                self._say("\n~leave leaves")
                return ""
        line = sys.stdin.readline()
        if not line:
            return None
        self._say(f"{prompt} {line}".rstrip("\n"))
        return line.rstrip("\n")

    def _order(self, words: list[str]) -> int | None:
        """Do what a line with a ~ asks; the exit status where that is the end."""
        found = [word for word in _WORDS if words and word.startswith(words[0])]
        order = found[0] if len(found) == 1 or (found and found[0] == words[0]) else ""
        number = int(words[1]) if len(words) > 1 and words[1].isdigit() else None
        session = self._session
        if order == "leave":
            session.close(discard=True)
            raise Interrupted("left; nothing is kept")
        if order == "keep":
            named = Path(words[1]) if len(words) > 1 else self._keep
            folder = named or folder_for(session.origin, self._place)
            return 0 if self._keep_it(folder) == 0 else None
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
            self._say(HELP)
        if not done:
            self._say(session.view.problem or "not now")
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
        self._say(f"undone: {'; '.join(undone) or 'nothing'}")
        self._shown = min(turn, len(turns))
        if self._shown:
            self._last = turns[self._shown - 1].content.rpartition("\n")[2]
        self._settled()
        self._tell_differences(self._session.view)
        return True

    def _keep_it(self, folder: Path) -> int:
        if not self._session.keep(folder.expanduser().absolute()):
            self._say("the session is not over: end it with exit or panic, or ~finish")
            return 1
        view = self._settled()
        if view.kept is None:
            self.refused = view.problem
            self._say(view.problem)
            return 1
        self._say(f"kept: {view.kept.path}  ({view.kept.tokens} tokens, certified)")
        if view.kept.passed_over:
            self._say(f"training passes it over: {view.kept.passed_over}")
        return 0

    def _settled(self) -> View:
        """Wait until something is asked of the person. Ctrl-C takes over from the model, and
        interrupts the command that runs."""
        asked = False
        while True:
            try:
                return self._session.wait("ready", "over", "failed")
            except KeyboardInterrupt:
                if asked or not self._session.take_back():
                    self._session.interrupt()
                asked = True

    def _show(self, view: View) -> None:
        """What came since the last time."""
        turns = view.turns
        self._prompt = "over, ~keep ~undo ~leave>"
        for number in range(self._shown, len(turns)):
            turn = turns[number]
            if turn.is_command:
                if number < view.again or turn.extra.get("by") != HAND:
                    self._say(f"[turn {number + 1}, {turn.extra.get('by')}] {turn.content}")
            elif number + 1 < len(turns):
                self._say(turn.content)
            else:
                text, _, last = turn.content.rpartition("\n")
                if text:
                    self._say(text)
                self._last = last
        self._shown = len(turns)
        if view.state == "ready":
            self._prompt = self._last
        if view.problem:
            self._say(view.problem)
        if view.finished is not None and view.finished is not self._told:
            verdict = view.finished.verdict
            facts = ["verified" if verdict.verified else "not verified"]
            facts += [] if verdict.clean else ["prose"]
            facts += [] if verdict.outcome == verdict.expected else [f"expected {verdict.expected}"]
            facts += [f"invalid: {verdict.invalid}"] if verdict.invalid else []
            self._say(f"{verdict.outcome} after {verdict.steps}: {', '.join(facts)}")
        self._told = view.finished

    def _tell_differences(self, view: View) -> None:
        if view.remark:
            self._say(view.remark)
        for one in view.differences:
            self._say(f"turn {one.turn + 1}: {one.in_words}")
            if one.now is not None and one.now != one.recorded:
                self._say(f"  recorded: {one.recorded!r}\n  now:      {one.now!r}")
        if view.differences and self._typed_here:
            self._say("you may go on in what the world is now, or ~leave")

    def _say(self, text: str) -> None:
        if self._quiet and self._to_stderr:
            return
        click.echo(plain(text.expandtabs()), err=self._to_stderr)


def document(view: View, refused: str) -> dict[str, Any]:
    """What ``--json`` prints."""
    origin, finished = view.origin, view.finished
    return {
        "scenario": origin.scenario.id if origin is not None else "",
        "run": origin.run if origin is not None else "",
        "episode": origin.episode if origin is not None else "",
        "turn": view.again,
        "turns": [turn.to_json() for turn in view.turns],
        "differences": [one.to_json() for one in view.differences],
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
