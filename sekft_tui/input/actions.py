"""The one table of keys: bindings, footer, help screen, palette, ``sekft keys`` and the page of
keys in the documents come from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from textual.binding import Binding, BindingType

from sekft_tui.input.places import FIXED, PANES, Place


class Key(msgspec.Struct, frozen=True):
    """One thing a key does. ``show`` is its place in the footer (1 is first); 0 = not there.

    ``action`` is the Textual action without namespace: the app's for ``global``, the focused
    list or text's for ``motion``, the pane's otherwise. ``name`` is the last part of the id where
    the action does not give it.
    """

    place: Place
    keys: tuple[str, ...]
    action: str
    label: str
    description: str
    show: int = 0
    name: str = ""

    @property
    def id(self) -> str:
        """The name under which a file gives it other keys: ``train.start``."""
        return f"{self.place}.{self.name or _name_of(self.action)}"


def _name_of(action: str) -> str:
    """``turn(1)`` is ``turn``, ``turn(-1)`` is ``turn-back``, ``pane('log')`` is ``pane-log``."""
    name, _, rest = action.rstrip(")").partition("(")
    argument = rest.strip("'")
    tail = "" if argument.isdecimal() else "-back" if argument[:1] == "-" else f"-{argument}"
    return name.replace("_", "-") + (tail if argument else "")


def _panes() -> tuple[Key, ...]:
    return tuple(
        Key("global", (str(number),), f"pane('{name}')", title, f"Go to the {title} pane")
        for number, (name, title) in enumerate(PANES, 1)
    )


#: What a key is for wherever it is used, so that a hand that knows one pane knows them all.
#: Screens over the panes may use one otherwise where a shell or vi does.
VERBS: dict[str, str] = {
    "s": "start",
    "x": "stop",
    "p": "pause, or resume what is paused",
    "u": "resume a run; undo",
    "f": "filter",
    "/": "search",
    "n": "next match",
    "N": "previous match",
    "o": "show or hide the side panel",
    "i": "information",
    "E": "export",
    "v": "view: the next one, or what it shows",
    "w": "put another one beside it",
    ".": "one step forward",
    ",": "one step back",
    "]": "next mark",
    "[": "previous mark",
    "P": "pin",
    "F": "follow the newest",
}

KEYS: tuple[Key, ...] = (
    *_panes(),
    Key("global", ("?", "f1"), "help", "help", "Show every key of this pane", 90),
    Key("global", ("ctrl+p",), "command_palette", "palette", "Find a command by name"),
    Key("global", ("y",), "copy", "copy", "Copy what the cursor is on to the clipboard"),
    Key("global", ("Y",), "copy_file", "save text", "Write what is shown to a text file"),
    Key("global", ("z",), "zoom", "zoom", "Give the focused part the whole screen, and back"),
    Key("global", ("T",), "next_theme", "theme", "Next theme (dark, light, colour-blind)"),
    Key("global", ("Q",), "queue", "queue", "The job queue: reorder, hold, remove"),
    Key("global", ("I",), "engine", "engine", "The engine: base, memory, job, queue, adapters"),
    Key("global", ("W",), "demonstrate", "by hand", "Choose a world and type a session by hand"),
    Key(
        "global",
        ("B",),
        "demo_progress",
        "demo",
        "How far the demo is; finish one that was interrupted",
    ),
    Key("global", ("R",), "reload", "reload", "Read the workspace from disk again"),
    Key("global", ("e",), "details", "details", "Show the last error in full"),
    Key("global", ("E",), "export", "export", "Write what is shown to a file: text, picture, data"),
    Key("global", ("|",), "pager", "pager", "Read what the cursor is on in $PAGER"),
    Key("global", ("ctrl+e",), "editor", "editor", "Open what the cursor is on in $EDITOR"),
    Key("global", ("ctrl+o",), "settings", "settings", "Theme, mouse, bell, title, chart glyphs"),
    Key("global", ("ctrl+g",), "tour", "tour", "A tour of the workbench, step by step"),
    Key("global", ("ctrl+x",), "end_tour", "end tour", "End the tour"),
    Key("global", ("ctrl+z",), "suspend", "suspend", "Go to the shell; fg there comes back"),
    Key("global", ("&",), "detach", "detach", "Let the engine run on in the background"),
    Key(
        "global",
        ("ctrl+c",),
        "interrupt",
        "leave",
        "Ask: cancel the job, or leave; twice leaves",
    ),
    Key("global", ("q",), "quit", "quit", "Leave; asks first if something would be lost", 99),
    # Moving in whatever has the focus.
    Key("motion", ("j", "down"), "down", "down", "One line down"),
    Key("motion", ("k", "up"), "up", "up", "One line up"),
    Key("motion", ("ctrl+d", "pagedown"), "page_down", "page down", "Half a page down"),
    Key("motion", ("ctrl+u", "pageup"), "page_up", "page up", "Half a page up"),
    Key("motion", ("g", "home"), "top", "top", "To the first line"),
    Key("motion", ("G", "end"), "bottom", "bottom", "To the last line"),
    Key("motion", ("enter",), "choose", "open", "Open or edit what the cursor is on"),
    # Trajectories.
    Key("trajectories", ("v",), "view(1)", "view", "The next view: edges, ids, labels, …", 1),
    Key("trajectories", ("V",), "view(-1)", "view back", "The view before"),
    Key("trajectories", ("m",), "mask", "mask", "Show all tokens, only trained, only masked", 2),
    Key("trajectories", ("l", "right"), "turn(1)", "turn", "To the next turn"),
    Key("trajectories", ("h", "left"), "turn(-1)", "previous turn", "To the previous turn"),
    Key("trajectories", ("L",), "trajectory(1)", "next", "To the next trajectory"),
    Key("trajectories", ("H",), "trajectory(-1)", "previous", "To the previous trajectory"),
    Key("trajectories", (")",), "trained(1)", "trained", "To the next trained span", 3),
    Key("trajectories", ("(",), "trained(-1)", "trained back", "To the previous trained span"),
    Key("trajectories", ("}",), "boundary(1)", "border", "To the next mask boundary"),
    Key("trajectories", ("{",), "boundary(-1)", "border back", "To the previous mask boundary"),
    Key("trajectories", (".",), "token(1)", "token", "To the next token; its id is shown below"),
    Key("trajectories", (",",), "token(-1)", "token back", "To the previous token"),
    Key("trajectories", ("d",), "dropped(1)", "dropped", "To the next dropped trajectory", 4),
    Key("trajectories", ("D",), "dropped(-1)", "dropped back", "To the previous dropped one"),
    Key("trajectories", ("!",), "failed(1)", "failed", "To the next failed certificate line"),
    Key("trajectories", ("#",), "failed(-1)", "failed back", "To the previous failed line"),
    Key("trajectories", ("f",), "filter", "filter", "Filter the list; syntax in the prompt", 5),
    Key("trajectories", ("/",), "search", "search", "Find text in all trajectories", 6),
    Key("trajectories", ("n",), "match(1)", "next match", "To the next match, here or further on"),
    Key("trajectories", ("N",), "match(-1)", "previous match", "To the previous match"),
    Key(
        "trajectories",
        ("S",),
        "sort",
        "sort",
        "Sort by name, kind of task, end, commands, turns, length",
    ),
    Key("trajectories", ("i",), "statistics", "statistics", "Statistics of what is trained on", 7),
    Key("trajectories", ("space",), "mark", "mark", "Mark this turn, or remove the mark"),
    Key("trajectories", ("]",), "marked(1)", "next mark", "To the next marked turn"),
    Key("trajectories", ("[",), "marked(-1)", "previous mark", "To the previous marked turn"),
    Key("trajectories", ("o",), "side", "list", "Show or hide the list"),
    Key("trajectories", ("O",), "losses", "losses", "Show the token losses of a run"),
    Key("trajectories", ("M",), "measure", "measure", "Measure this trajectory's losses with it"),
    Key("trajectories", ("escape",), "back", "back", "Stop the search; to the list; clear filter"),
    # Train.
    Key("train", ("s",), "start", "start", "Start a run with this recipe", 1),
    Key("train", ("x",), "stop", "stop", "Finish the step, save, and stop", 2),
    Key("train", ("p",), "pause", "pause", "Pause at the next step, or resume", 3),
    Key("train", ("c",), "checkpoint", "save", "Save after this step, and continue", 4),
    Key("train", ("o",), "recipe", "recipe", "Go to the recipe; from it, hide it", 5),
    Key("train", ("v",), "metric(1)", "curve", "The next curve large: loss, behaviour, …", 6),
    Key("train", ("V",), "metric(-1)", "curve back", "The curve before"),
    Key("train", ("r",), "find_rate", "find rate", "Find a learning rate for this base and data"),
    Key("train", ("t",), "sweep", "sweep", "Train a table of recipes, from a TOML file"),
    Key("train", ("b",), "batch", "batch", "The batch in training, or at the cursor's step"),
    Key("train", ("a",), "axis", "x axis", "Over steps, tokens or time"),
    Key("train", ("A",), "log_y", "y axis", "Logarithmic or linear"),
    Key("train", ("S",), "smooth", "smoothing", "More or less smoothing of the curve"),
    Key("train", ("+", "="), "zoom_in", "zoom in", "Show less, around the cursor"),
    Key("train", ("-",), "zoom_out", "zoom out", "Show more"),
    Key("train", ("0",), "reset", "reset", "The whole curve, without a cursor"),
    Key("train", ("L",), "pan(1)", "later", "Move the view to later steps"),
    Key("train", ("H",), "pan(-1)", "earlier", "Move the view to earlier steps"),
    Key("train", ("right", "l"), "cursor(1)", "read", "Read the curves: cursor to the right"),
    Key("train", ("left", "h"), "cursor(-1)", "read back", "Read the curves: cursor to the left"),
    Key("train", ("]",), "mark(1)", "mark", "To the next checkpoint, trial or warning"),
    Key("train", ("[",), "mark(-1)", "mark back", "To the mark before"),
    Key("train", ("w",), "beside", "beside", "Choose runs to show beside this one"),
    Key("train", ("P",), "pin", "pin", "Pin or unpin this run: it stays in the chart"),
    Key("train", ("F",), "follow", "follow", "Follow the newest step"),
    Key("train", ("escape",), "back", "back", "Cancel edit, close batch, clear cursor, leave run"),
    # Eval.
    Key("eval", ("s",), "start", "start", "Evaluate the chosen models", 1),
    Key("eval", ("x",), "stop", "stop", "Stop; finished episodes are kept", 2),
    Key("eval", ("p",), "pause", "pause", "Pause between two turns, or resume", 3),
    Key("eval", ("o",), "setup", "set-up", "Go to the set-up; from it, hide it", 4),
    Key("eval", ("space",), "take", "choose", "Include or exclude this model", 5),
    Key("eval", ("right", "l"), "column(1)", "model", "To the next model's verdicts"),
    Key("eval", ("i",), "figures", "figures", "Rates by archetype, channel, …; endings; pass@k", 6),
    Key("eval", ("left", "h"), "column(-1)", "model back", "To the previous model's verdicts"),
    Key("eval", ("]",), "differing(1)", "differ", "To the next world where the models differ"),
    Key("eval", ("[",), "differing(-1)", "differ back", "To the previous such world"),
    Key("eval", ("/",), "search", "search", "Find a world by its name", 7),
    Key("eval", ("n",), "match(1)", "next match", "To the next world that was searched for"),
    Key("eval", ("N",), "match(-1)", "previous match", "To the previous one"),
    Key("eval", ("escape",), "back", "back", "Back to the set-up"),
    # Replay.
    Key("replay", ("space",), "play", "play", "Play or pause", 1),
    Key("replay", (".",), "step(1)", "step", "One turn forward", 2),
    Key("replay", (",",), "step(-1)", "step back", "One turn back"),
    Key("replay", ("right", "l"), "seek(5)", "+5 s", "Five seconds forward"),
    Key("replay", ("left", "h"), "seek(-5)", "-5 s", "Five seconds back"),
    Key("replay", ("w",), "beside", "beside", "Another model in the same world beside it", 3),
    Key("replay", ("d",), "parting", "part", "To the first turn at which the two differ", 4),
    Key("replay", ("i",), "difference", "world", "What is missing or extra in its final world", 5),
    Key("replay", ("t",), "take_over", "take over", "Type by hand from this turn on", 6),
    Key("replay", ("]",), "marker(1)", "marker", "To the next marker"),
    Key("replay", ("[",), "marker(-1)", "marker back", "To the previous marker"),
    Key("replay", ("0",), "jump('0')", "first", "To the first command", name="first-command"),
    Key(
        "replay", ("!",), "jump('!')", "failure", "To the first command that failed", name="failure"
    ),
    Key("replay", ("$",), "jump('$')", "end", "To where it ends by itself", name="end"),
    Key(
        "replay",
        ("v",),
        "jump('v')",
        "verdict",
        "To the verdict and the checker's output",
        name="verdict",
    ),
    Key("replay", (">",), "speed(1)", "faster", "Play faster"),
    Key("replay", ("<",), "speed(-1)", "slower", "Play slower"),
    Key("replay", ("S",), "idle", "idle limit", "Shorten long waits to two seconds, or not"),
    Key("replay", ("L",), "episode(1)", "next", "To the next episode"),
    Key("replay", ("H",), "episode(-1)", "previous", "To the previous episode"),
    Key("replay", ("o",), "side", "list", "Show or hide the list"),
    Key("replay", ("f",), "filter", "filter", "Filter the episodes", 7),
    Key("replay", ("/",), "search", "search", "Find text in the listed episodes"),
    Key("replay", ("n",), "match(1)", "next match", "To the next episode that has it"),
    Key("replay", ("N",), "match(-1)", "previous match", "To the previous episode that has it"),
    Key("replay", ("escape",), "back", "back", "One player; the list; there, clear the filter"),
    # Runs.
    Key("runs", ("a",), "evaluate", "evaluate", "Choose this run's adapter in Eval", 2),
    Key("runs", ("v",), "episodes", "replay", "Replay this run's episodes", 3),
    Key("runs", ("u",), "resume", "resume", "Resume a run that was stopped or died", 4),
    Key("runs", ("P",), "pin", "pin", "Pin or unpin this run in Train's chart", 5),
    Key("runs", ("f",), "filter", "filter", "Filter the runs: words, kind:, status:, tag:, …", 6),
    Key("runs", ("/",), "search", "search", "Find text in the list", 7),
    Key("runs", ("n",), "match(1)", "next match", "To the next match"),
    Key("runs", ("N",), "match(-1)", "previous match", "To the previous match"),
    Key("runs", ("o",), "side", "facts", "Show or hide the facts of the run", 8),
    Key(
        "runs", ("S",), "sort", "sort", "Sort by time, name, kind, status, loss, clean termination"
    ),
    Key("runs", ("m",), "mark", "mark", "Mark this run, to compare it with others"),
    Key("runs", ("C",), "compare", "compare", "The marked runs side by side"),
    Key("runs", ("r",), "rename", "rename", "Give this run a title"),
    Key("runs", ("c",), "comment", "note", "Write a note about this run"),
    Key("runs", ("t",), "tag", "tags", "Give this run tags"),
    Key("runs", ("d",), "delete", "delete", "Move this run to the workspace's folder trash"),
    Key("runs", ("O",), "shell", "folder", "A shell in this run's folder; exit comes back"),
    Key("runs", ("U",), "undelete", "undelete", "Take back what was deleted last"),
    Key("runs", ("escape",), "back", "back", "Remove the marks; clear the filter"),
    # Log.
    Key("log", ("F",), "follow", "follow", "Follow the newest line", 1),
    Key("log", ("v",), "level", "levels", "Show all, or only warnings and errors", 2),
    Key("log", ("f",), "filter", "filter", "Show only entries with some words", 3),
    Key("log", ("/",), "search", "search", "Find text in the log", 4),
    Key("log", ("n",), "match(1)", "next match", "To the next match", 5),
    Key("log", ("N",), "match(-1)", "previous match", "To the previous match"),
    Key("log", ("escape",), "back", "back", "Show all entries again"),
    # Take over.
    Key("takeover", ("i",), "type", "type", "Back to the prompt; esc leaves it for these keys", 1),
    Key(
        "takeover",
        (".",),
        "step",
        "one turn",
        "Let the model type one turn (tab: in an empty line)",
        2,
    ),
    Key("takeover", ("b",), "hand_back(0)", "hand back", "Let the model type until the end", 3),
    Key("takeover", ("m",), "who", "model", "Choose the model that types when you hand back", 4),
    Key("takeover", ("t",), "take_over", "take over", "Stop the model and type yourself (also ^c)"),
    Key("takeover", ("space", "p"), "pause", "pause", "Pause the model, or let it type on"),
    Key("takeover", ("u",), "undo", "undo", "Fork the world again before the marked command", 5),
    Key("takeover", ("h", "left"), "turn(-1)", "earlier", "Mark the command before"),
    Key("takeover", ("l", "right"), "turn(1)", "later", "Mark the command after"),
    Key("takeover", ("x",), "finish", "end", "End the session here, as a limit would", 6),
    Key("takeover", ("c",), "keep", "keep", "Certify the judged session, and keep it", 7),
    Key("takeover", ("C",), "keep_in", "keep in", "Keep it in a folder that you name"),
    Key("takeover", ("d",), "differences", "differences", "Show what differs from the recording"),
    Key(
        "takeover",
        ("escape", "q"),
        "back",
        "leave",
        "Leave; asks first if something is not kept",
        8,
    ),
    Key("takeover", ("?", "f1"), "help", "help", "Show these keys"),
    # Watch a model.
    Key("shell", ("space", "p"), "pause", "pause", "Pause the model, or let it type on", 1),
    Key("shell", (".",), "step", "one turn", "Let it type one turn, then pause", 2),
    Key("shell", ("t",), "take_over", "take over", "Take the keyboard; the model stops", 3),
    Key("shell", ("b", "h"), "hand_back(0)", "hand back", "Let the model type until the end", 4),
    Key("shell", ("i",), "type", "type", "Back to the prompt; esc leaves it for these keys", 5),
    Key("shell", ("u",), "undo", "undo", "Make the world again before your last command"),
    Key("shell", ("o",), "side", "side", "Show or hide directives, verdict, certificate", 6),
    Key("shell", ("c",), "keep", "keep", "Keep the judged session as training data", 7),
    Key("shell", ("C",), "keep_in", "keep in", "Keep it in a folder that you name"),
    Key(
        "shell", ("x", "Q"), "end", "end", "End the session here, as a limit would, and judge it", 8
    ),
    Key("shell", ("escape",), "escape", "session", "From what stands beside it to the session"),
    Key("shell", ("q",), "back", "leave", "Leave; asks first if you typed and nothing is kept", 9),
    Key("shell", ("?", "f1"), "help", "help", "Show these keys"),
    # Running episodes.
    Key("live", ("l", "right"), "next(1)", "next", "The next running episode (also tab)"),
    Key("live", ("h", "left"), "next(-1)", "previous", "The one before (also shift+tab)"),
    Key("live", ("z",), "zoom", "one or several", "The marked episode alone, or several"),
    Key("live", ("space", "p"), "pause", "pause", "Pause the eval, or let it run on"),
    Key("live", ("escape", "q"), "close", "back", "Back to the verdicts"),
    # Boxes: what all of them have, and what some have.
    Key("box", ("escape", "q"), "close", "close", "Close the box; so does the key that opened it"),
    Key("queue", ("K", "shift+up"), "move(-1)", "move up", "Move a waiting job up"),
    Key("queue", ("J", "shift+down"), "move(1)", "move down", "Move a waiting job down"),
    Key("queue", ("p", "space"), "hold", "hold", "Hold or release a job; pause the running one"),
    Key("queue", ("x",), "cancel", "remove", "Remove a job; the running one stops and saves"),
    Key("engine", ("x",), "drop", "drop", "Drop an adapter from the base; its files stay"),
    Key("compare", ("c",), "dismiss('curves')", "curves", "The curves in one chart", name="curves"),
    Key("rate", ("right", "l"), "cursor(1)", "read", "Read the curve: cursor to the right"),
    Key("rate", ("left", "h"), "cursor(-1)", "read back", "Read the curve: cursor to the left"),
    Key("rate", ("x",), "stop", "stop", "Stop the search"),
    Key("rate", ("enter",), "take", "take", "Take the rate at the cursor, or the suggested one"),
    Key("worlds", ("m",), "model", "model", "Let a model log in to this world"),
    Key("differences", ("escape",), "answer('go on')", "continue", "Continue here", name="go-on"),
    Key("differences", ("u",), "answer('undo')", "undo", "Undo to before it differs", name="undo"),
    Key("differences", ("q",), "answer('leave')", "leave", "Leave the session", name="leave"),
)

#: Keys that a user has chosen instead of those of the table, by id.
_chosen: dict[str, tuple[str, ...]] = {}
#: The table with them, by id.
_table: dict[str, Key] = {key.id: key for key in KEYS}


def remap(chosen: Mapping[str, Sequence[str]]) -> None:
    """Use other keys for some ids from now on, wherever keys are named; the app that is shown has
    to be told, too: :func:`textual_keymap`."""
    _chosen.clear()
    _chosen.update({identity: tuple(keys) for identity, keys in chosen.items()})
    for key in KEYS:
        keys = _chosen.get(key.id, key.keys)
        _table[key.id] = key if keys == key.keys else msgspec.structs.replace(key, keys=keys)


def textual_keymap() -> dict[str, str]:
    """The chosen keys as Textual takes them."""
    return {identity: _textual_keys(keys) for identity, keys in _chosen.items()}


_TEXTUAL_NAMES = {",": "comma"}
_SHOWN_NAMES = {
    "space": "␣", "enter": "⏎", "escape": "esc", "left": "←", "right": "→", "up": "↑", "down": "↓",
    "pagedown": "PgDn", "pageup": "PgUp", "home": "Home", "end": "End", "f1": "F1",
}  # fmt: skip


def bindings(place: Place) -> list[BindingType]:
    """Textual's bindings for one place, before any is remapped."""
    return [_binding(key, key.action) for key in KEYS if key.place == place]


def same_key(identity: str, action: str, *, priority: bool = False) -> Binding:
    """A binding for what a key of another place does here: it has the same key, remapped or not.

    Args:
        identity: the id of that key.
        action: what it runs here.
        priority: also where the focused widget has a use for it.
    """
    return _binding(next(key for key in KEYS if key.id == identity), action, priority)


def _binding(key: Key, action: str, priority: bool = False) -> Binding:
    keys = _textual_keys(key.keys)
    return Binding(keys, action, key.label, show=False, priority=priority, id=key.id)


def fixed_key(name: str, action: str) -> Binding:
    """A binding that nobody can change, of one of the few keys in ``FIXED``."""
    if name not in FIXED:
        raise KeyError(f"{name} belongs into the table of keys")
    return Binding(name, action, show=False, priority=False)


def _textual_keys(keys: Sequence[str]) -> str:
    return ",".join(_TEXTUAL_NAMES.get(name, name) for name in keys)


def action_of(key: Key) -> str:
    """The action as the app runs it, from anywhere: for clicks and the palette."""
    return f"app.{key.action}" if key.place == "global" else f"app.in_pane({key.action!r})"


def shown(name: str) -> str:
    """A key as the footer and the help show it: ``ctrl+d`` becomes ``^d``."""
    return _SHOWN_NAMES.get(name, name.replace("ctrl+", "^"))


def all_keys() -> tuple[Key, ...]:
    """The table with the keys that the user has chosen."""
    return tuple(_table.values())


def of(*places: Place) -> tuple[Key, ...]:
    """The keys of some places, with the user's choices."""
    return tuple(key for key in _table.values() if key.place in places)


def key_for(identity: str) -> str:
    """The key of an id, for a sentence: ``Q`` of ``global.queue``."""
    return shown(_table[identity].keys[0])


def footer(place: Place) -> tuple[Key, ...]:
    """The few keys that the footer of a place shows, in order; help and quit come last."""
    chosen = [key for key in of("global", place) if key.show]
    return tuple(sorted(chosen, key=lambda key: key.show))
