"""The lines around a model that one watches: who holds the keyboard, what it is at, the keys."""

from __future__ import annotations

from collections.abc import Mapping

from rich.cells import cell_len

from sekft_engine.core.text import count
from sekft_engine.data.scenario import Scenario
from sekft_engine.takeover.view import TakeOverView
from sekft_tui.input.actions import key_for, of, shown
from sekft_tui.input.footer import Item, bar
from sekft_tui.screens.takeover.legends import (
    TYPING_AHEAD,
    UNFINISHED,
    clock,
    last_of,
    mode_chip,
    phase,
    runs,
)
from sekft_tui.text import Parts, clip, short_path, visible, wrapped

#: The keys that the foot shows in each state, most useful first; help and leaving come last.
_FOOT: Mapping[str, tuple[str, ...]] = {
    "model": ("pause", "step", "take_over", "end", "side"),
    "ready": ("type", "hand_back(0)", "undo", "end", "side"),
    "over": ("side", "keep", "keep_in", "undo"),
    "running": ("type",),
}
_TYPING = (
    Item("⏎", "type"), Item("⇥", "hand back one turn"), Item("^c", "clear"),
)  # fmt: skip
_INTERRUPT = Item("^c", "interrupt")


def keyboard(view: TakeOverView, subject: str) -> tuple[str, str]:
    """Who holds the keyboard, and the style of that."""
    if view.state in ("ready", "running"):
        return " keyboard: you ", "chip-good"
    if view.state == "model" or (view.state == "opening" and not view.again):
        return f" keyboard: {clip(visible(view.typist or subject), 24)} ", "chip"
    return " keyboard: nobody ", "quiet"


def head(view: TakeOverView, subject: str, width: int) -> Parts:
    """The world, and who holds the keyboard."""
    holder, style = keyboard(view, subject)
    name = view.origin.scenario.id if view.origin is not None else "opening a world"
    touched = "  touched: not counted in rates" if view.touched else ""
    room = max(0, width - cell_len(holder) - 1)
    text = clip(f" {visible(name)}", room)
    about = clip(touched, max(0, room - cell_len(text)))
    gap = max(1, width - cell_len(text) - cell_len(about) - cell_len(holder))
    return ((text, "strong"), (about, "warn"), (" " * gap, ""), (holder, style))


def status(view: TakeOverView, typing: bool, waited: float, meanwhile: str, width: int) -> Parts:
    """What the keys are now, what happens, and for how long."""
    text, style = _status(view, clock(waited), meanwhile)
    if view.problem:
        text, style = f"! {view.problem}", "bad"
    chip = mode_chip(typing)
    return chip, (clip(f" {visible(text)}", max(0, width - cell_len(chip[0]))), style)


def _status(view: TakeOverView, time: str, meanwhile: str) -> tuple[str, str]:
    commands = sum(turn.is_command for turn in view.turns)
    count = f"{commands} command{'s' * (commands != 1)} so far"
    match view.state:
        case "opening":
            return f"makes the world {time}", "quiet"
        case "model":
            doing = phase(view, time)
            if view.phase == "loads":
                doing = f"{meanwhile or 'loads the base'} {time}"
            elif view.phase == "asks":
                doing = f"asks {view.typist} {time}"
            return (f"paused · {doing}", "warn") if view.paused else (doing, "accent")
        case "ready":
            if view.unfinished:
                return UNFINISHED, "warn"
            return f"your turn {time} · {count}", "text"
        case "running":
            return runs(view, time), "accent"
        case "judging":
            return f"{view.running or 'judges'} {time}", "quiet"
        case "over":
            return _judged(view)
    return "the world is gone", "bad"


def _judged(view: TakeOverView) -> tuple[str, str]:
    if view.kept is not None:
        return f"kept, certified, {view.kept.tokens} tokens: {short_path(view.kept.path)}", "good"
    if view.finished is None:
        return "", "quiet"
    verdict = view.finished.verdict
    facts = [
        f"{verdict.outcome} after {count(verdict.steps, 'command')}",
        "verified" if verdict.verified else "not verified",
    ]
    if view.touched:
        facts.append(f"touched, not counted in rates · {key_for('shell.keep')} keeps it as data")
    if view.recorded:
        facts.append("recorded")
    return " · ".join(facts), "good" if verdict.verified else "warn"


def foot(view: TakeOverView, typing: bool, width: int) -> Parts:
    """The keys that matter now."""
    keys = {key.action: key for key in of("shell")}
    if typing:
        if view.state != "ready":
            return bar(TYPING_AHEAD, (), width).parts
        back = Item("esc", f"keys ({shown(keys['hand_back(0)'].keys[0])} hands back)")
        return bar((*_TYPING, back), (), width).parts
    items = []
    for action in _FOOT.get(view.state, ()):
        if action.startswith("keep") and (view.kept is not None or not view.touched):
            continue
        label = "resume" if action == "pause" and view.paused else keys[action].label
        items.append(Item(shown(keys[action].keys[0]), label))
    if view.state == "running":
        items.append(_INTERRUPT)
    return bar(items, last_of(keys), width).parts


def side(view: TakeOverView, width: int) -> list[Parts]:
    """Directives, and what is known of the judged session beside its verdict."""
    if view.origin is None:
        return []
    scenario = view.origin.scenario
    out = _section("directives", scenario.directives or "(none)", width)
    out += _section("the right end", scenario.terminal, width)
    if view.finished is None:
        return out
    out += _section("checker", _checker(scenario), width)
    out += _section("certificate", _certificate(view), width)
    if view.recorded:
        out += _section("recorded", short_path(view.recorded), width)
    return out


def _section(title: str, text: str, width: int) -> list[Parts]:
    lines: list[Parts] = [((title, "head"),)]
    for row in text.strip("\n").split("\n"):
        lines += [((f"  {piece}", "text"),) for piece in wrapped(visible(row), max(8, width - 4))]
    return [*lines, ()]


def _checker(scenario: Scenario) -> str:
    return scenario.checker.strip() or "(none)"


def _certificate(view: TakeOverView) -> str:
    facts = view.certificate
    if facts is None:
        return f"none: {view.uncertified}" if view.uncertified else "being made …"
    return f"whole: {facts['tokens']} tokens, {facts['trained_tokens']} of them trained"
