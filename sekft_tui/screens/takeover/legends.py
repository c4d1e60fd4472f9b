"""The lines around a take-over: its origin, its status, and its keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.cells import cell_len

from sekft_engine.takeover.view import TakeOverView
from sekft_tui.input.actions import Key, key_for, of, shown
from sekft_tui.input.footer import Item, bar
from sekft_tui.text import Parts, clip, duration, short_path, visible
from sekft_tui.widgets.shell_line import NEW_LINE

#: The keys that the foot shows in each state, most useful first; help and leaving come last.
_FOOT: dict[str, tuple[str, ...]] = {
    "ready": ("type", "step", "hand_back(0)", "who", "undo", "finish", "differences"),
    "over": ("keep", "keep_in", "undo", "differences"),
    "failed": ("undo",),
    "model": ("pause", "step", "take_over"),
    "running": ("type",),
}
#: The keys while text is typed: letters are text then.
_TYPING = (
    Item("⏎", "type"), Item("↑↓", "history"), Item("⇥", "let the model"),
    Item(shown(NEW_LINE), "line break"), Item("^c", "clear"), Item("esc", "keys"),
)  # fmt: skip
#: The same while a command runs, or the world is being made: the line is typed afterwards.
TYPING_AHEAD = (Item("⏎", "type it next"), Item("^c", "interrupt"), Item("esc", "keys"))
#: While a prompt asks for something.
ASKED = (Item("⏎", "accept"), Item("esc", "cancel"))
_INTERRUPT = Item("^c", "interrupt")
#: Why tab did nothing.
HALF_TYPED = "no names are completed here · tab in an empty line lets the model type"
#: What to do about a command that the shell waited for more of.
UNFINISHED = f"unfinished, so interrupted · ↑ brings it back, {shown(NEW_LINE)} breaks the line"


def mode_chip(typing: bool) -> tuple[str, str]:
    """What the keys are now: text for the prompt, or commands."""
    return (" TYPING ", "chip-good") if typing else (" KEYS ", "chip")


def why_not_ended(view: TakeOverView, end: str) -> str:
    """Why the key ``end`` does not end the session now, and the way out; "" = nothing goes on."""
    if view.state == "running":
        return f"{end} ends the session between commands · ^c interrupts this one"
    if view.state == "model":
        return f"{end} ends the session in your turn · {key_for('takeover.take-over')} takes over"
    return ""


def head(view: TakeOverView, engine: tuple[str, str], width: int) -> Parts:
    """The origin of the session, and what the engine is doing."""
    origin = view.origin
    if origin is None:
        return ((" take over", "strong"),)
    name = visible(origin.scenario.id)
    at = f"at turn {view.again + 1}"  # the first that is not typed again
    where = f"{origin.run} · {origin.subject}, {at}" if origin.run else ""
    if not origin.turns:
        where = "from the beginning"
    elif origin.draft:
        where = f"what was typed before, {at}"
    elif not where:
        where = f"{origin.episode}, {at}"
    if origin.heldout:
        where += " · held out"
    state = clip(engine[0], 24)
    room = max(0, width - cell_len(state) - 2)
    text = clip(f" {name}", room)
    about = clip(f"  {visible(where)}", max(0, room - cell_len(text)))
    gap = max(1, width - cell_len(text) - cell_len(about) - cell_len(state) - 1)
    return ((text, "strong"), (about, "quiet"), (" " * gap, ""), (state, engine[1]))


def status(
    view: TakeOverView, typing: bool, waited: float, meanwhile: str, model: str, width: int
) -> Parts:
    """What the keys are now, and whose turn it is, or the result."""
    text, style = _status_text(view, waited, meanwhile, model)
    if view.problem:
        text, style = f"! {view.problem}", "bad"
    chip = mode_chip(typing)
    return chip, (clip(f" {visible(text)}", max(0, width - cell_len(chip[0]))), style)


def _status_text(view: TakeOverView, waited: float, meanwhile: str, model: str) -> tuple[str, str]:
    commands = sum(turn.is_command for turn in view.turns)
    match view.state:
        case "opening":
            again = " and retyping the commands before that turn" if view.retyped else ""
            return f"making a new world{again}", "quiet"
        case "ready":
            return (UNFINISHED, "warn") if view.unfinished else _your_turn(view, commands, model)
        case "running":
            return f"running, {duration(waited)} · ^c interrupts", "accent"
        case "model" if meanwhile and not view.typist:
            return f"handed back: {meanwhile} · {key_for('takeover.take-over')} takes over", "warn"
        case "model":
            typist, doing = view.typist or "the model", phase(view, clock(waited))
            text = f"{typist} {doing} · {key_for('takeover.take-over')} takes over"
            return (f"paused · {text}", "warn") if view.paused else (text, "accent")
        case "judging":
            return f"{view.running or 'judging'} … {duration(waited)}", "quiet"
        case "over":
            return _judged(view)
        case "failed":
            return f"the world is gone; {key_for('takeover.undo')} makes a new one", "bad"
    return "", "quiet"


def _your_turn(view: TakeOverView, commands: int, model: str) -> tuple[str, str]:
    facts = ["your turn", f"{commands} command{'s' * (commands != 1)} so far"]
    origin = view.origin
    stood = origin.turns[len(view.turns) :][:1] if origin is not None else ()
    if stood and len(view.turns) == view.again and stood[0].is_command and origin is not None:
        facts.append(f"{origin.subject or 'someone'} typed here: {stood[0].content}")
    elif model:
        facts.append(f"{model} types when you hand back")
    elif origin is not None and origin.missing:
        facts.append(f"{key_for('takeover.who')} chooses the model for handing back")
    return " · ".join(facts), "text"


def _judged(view: TakeOverView) -> tuple[str, str]:
    if view.kept is not None:
        kept = view.kept
        folder = short_path(str(Path(kept.path).parent))
        text = f"kept, certified, {kept.tokens} tokens, in {folder}"
        if kept.passed_over:
            return f"kept in {folder}, but not trained on: {kept.passed_over}", "warn"
        return text, "good"
    if view.finished is None:
        return "", "quiet"
    why = view.finished.verdict.invalid or view.finished.verdict.why_not_kept
    if why:
        return f"not worth training on: {why} · {key_for('takeover.undo')} goes back", "warn"
    place = "beside the data, since its world is held out" if _heldout(view) else "with the data"
    return f"worth training on · {key_for('takeover.keep')} keeps it {place}", "good"


def _heldout(view: TakeOverView) -> bool:
    return view.origin is not None and view.origin.heldout is True


def clock(seconds: float) -> str:
    """Minutes and seconds: 0:07."""
    whole = max(0, int(seconds))
    return f"{whole // 60}:{whole % 60:02}"


def phase(view: TakeOverView, time: str) -> str:
    """What the model is at: ``thinks 0:07``, ``runs find 0:03``."""
    return runs(view, time) if view.phase == "runs" else f"{view.phase or 'waits'} {time}"


def runs(view: TakeOverView, time: str) -> str:
    """The program that runs, by the first word of the command: ``runs find 0:03``."""
    words = view.running.split()
    program = clip(words[0], 24) if words else "a blank line"
    return f"runs {program} {time}, ^c interrupts"


def foot(view: TakeOverView, typing: bool, width: int) -> Parts:
    """The keys that matter now."""
    if typing:
        return bar(_TYPING if view.state == "ready" else TYPING_AHEAD, (), width).parts
    keys = {key.action: key for key in of("takeover")}
    items = []
    for action in _FOOT.get(view.state, ()):
        if action == "differences" and not view.differences:
            continue
        if action == "keep" and view.kept is not None:
            continue
        label = "resume" if action == "pause" and view.paused else keys[action].label
        items.append(Item(shown(keys[action].keys[0]), label))
    if view.state in ("running", "model"):
        items.append(_INTERRUPT)
    return bar(items, last_of(keys), width).parts


def last_of(keys: Mapping[str, Key]) -> tuple[Item, ...]:
    """Help and leaving, at the right end in every state."""
    leave = keys["back"].keys[-1]
    return Item(shown(keys["help"].keys[0]), "help"), Item(shown(leave), "leave")
