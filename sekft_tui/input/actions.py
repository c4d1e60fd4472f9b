"""The one table of keys: bindings, footer, help screen and command palette come from it."""

from __future__ import annotations

from typing import Literal

import msgspec
from textual.binding import Binding, BindingType

Place = Literal[
    "global",
    "motion",
    "trajectories",
    "train",
    "eval",
    "replay",
    "runs",
    "log",
    "takeover",
    "shell",
]

#: The panes in tab order, with the title their tab shows.
PANES: tuple[tuple[Place, str], ...] = (
    ("trajectories", "Trajectories"),
    ("train", "Train"),
    ("eval", "Eval"),
    ("replay", "Replay"),
    ("runs", "Runs"),
    ("log", "Log"),
)
#: Screens with keys of their own, with their titles.
SCREENS: tuple[tuple[Place, str], ...] = (("takeover", "Take over"), ("shell", "Watch a model"))


class Key(msgspec.Struct, frozen=True):
    """One thing a key does. ``show`` is its place in the footer (1 is first); 0 = not there.

    ``action`` is the Textual action without namespace: the app's for ``global``, the focused
    list or text's for ``motion``, the pane's otherwise.
    """

    place: Place
    keys: tuple[str, ...]
    action: str
    label: str
    description: str
    show: int = 0

    @property
    def id(self) -> str:
        return f"{self.place}.{self.action}"


def _panes() -> tuple[Key, ...]:
    return tuple(
        Key("global", (str(number),), f"pane('{name}')", title, f"Go to the {title} pane")
        for number, (name, title) in enumerate(PANES, 1)
    )


KEYS: tuple[Key, ...] = (
    *_panes(),
    Key("global", ("?", "f1"), "help", "help", "Show every key of this pane", 90),
    Key("global", ("ctrl+p",), "command_palette", "palette", "Find a command by name"),
    Key("global", ("y",), "copy", "copy", "Copy what the cursor is on to the clipboard"),
    Key("global", ("Y",), "copy_file", "save text", "Write what is shown to a text file"),
    Key("global", ("z",), "zoom", "zoom", "Give the focused part the whole screen, and back"),
    Key("global", ("T",), "next_theme", "theme", "Next theme: dark, light, colour-blind"),
    Key("global", ("Q",), "queue", "queue", "The job queue: reorder, hold, remove"),
    Key("global", ("I",), "engine", "engine", "The engine: base, memory, job, queue, adapters"),
    Key("global", ("W",), "demonstrate", "by hand", "Choose a world and type a session by hand"),
    Key("global", ("R",), "reload", "reload", "Read the workspace from disk again"),
    Key("global", ("e",), "details", "details", "Show the last error in full"),
    Key("global", ("E",), "export", "export", "Write what is shown to a file: text, picture, data"),
    Key("global", ("|",), "pager", "pager", "Read what the cursor is on in $PAGER"),
    Key("global", ("ctrl+e",), "editor", "editor", "Open what the cursor is on in $EDITOR"),
    Key("global", ("ctrl+o",), "settings", "settings", "Theme, mouse, bell, title, chart glyphs"),
    Key("global", ("ctrl+g",), "tour", "tour", "A tour of the workbench, step by step"),
    Key("global", ("ctrl+x",), "end_tour", "end tour", "End the tour"),
    Key("global", ("ctrl+z",), "suspend", "suspend", "Back to the shell; fg returns here"),
    Key("global", ("&",), "detach", "detach", "Let the engine go on in the background"),
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
    Key("trajectories", ("{",), "boundary(-1)", "boundary back", "To the previous mask boundary"),
    Key("trajectories", ("w",), "token(1)", "token", "To the next token; its id is shown below"),
    Key("trajectories", ("b",), "token(-1)", "token back", "To the previous token"),
    Key("trajectories", ("d",), "dropped(1)", "dropped", "To the next dropped trajectory", 4),
    Key("trajectories", ("D",), "dropped(-1)", "dropped back", "To the previous dropped one"),
    Key("trajectories", ("x",), "failed(1)", "failed", "To the next failed certificate line"),
    Key("trajectories", ("X",), "failed(-1)", "failed back", "To the previous failed line"),
    Key("trajectories", ("f",), "filter", "filter", "Filter the list; the prompt says how", 5),
    Key("trajectories", ("/",), "search", "search", "Find text in all trajectories", 6),
    Key(
        "trajectories",
        ("n",),
        "match(1)",
        "next match",
        "To the next match, in this or a later one",
    ),
    Key("trajectories", ("N",), "match(-1)", "previous match", "To the previous match"),
    Key(
        "trajectories", ("s",), "statistics", "statistics", "Statistics of what would be trained on"
    ),
    Key("trajectories", ("space",), "mark", "mark", "Mark this turn, or remove the mark"),
    Key("trajectories", ("]",), "marked(1)", "next mark", "To the next marked turn"),
    Key("trajectories", ("[",), "marked(-1)", "previous mark", "To the previous marked turn"),
    Key("trajectories", ("o",), "losses", "losses", "Show the token losses of a run"),
    Key("trajectories", ("M",), "measure", "measure", "Measure this trajectory's losses with it"),
    Key("trajectories", ("escape",), "back", "back", "Stop the search; to the list; clear filter"),
    # Train.
    Key("train", ("s",), "start", "start", "Start a run with this recipe", 1),
    Key("train", ("x",), "stop", "stop", "Finish the step, save, and stop", 2),
    Key("train", ("p",), "pause", "pause", "Pause at the next step, or continue", 3),
    Key("train", ("c",), "checkpoint", "save", "Save after this step, and continue", 4),
    Key("train", ("f",), "find_rate", "find lr", "Find a learning rate for this base and data"),
    Key("train", ("t",), "sweep", "sweep", "Train a table of recipes, from a TOML file"),
    Key("train", ("o",), "recipe", "recipe", "Show or hide the recipe", 5),
    Key("train", ("m",), "metric(1)", "curve", "The next curve large: loss, behaviour, …", 6),
    Key("train", ("M",), "metric(-1)", "curve back", "The curve before"),
    Key("train", ("b",), "batch", "batch", "The batch in training, or at the cursor's step"),
    Key("train", ("v",), "log_y", "log", "Logarithmic or linear axis"),
    Key("train", ("a",), "axis", "x axis", "Over steps, tokens or time"),
    Key("train", ("S",), "smooth", "smoothing", "More or less smoothing of the curve"),
    Key("train", ("+", "="), "zoom_in", "zoom in", "Show less, around the cursor"),
    Key("train", ("-",), "zoom_out", "zoom out", "Show more"),
    Key("train", ("L",), "pan(1)", "pan", "Move the view to later steps"),
    Key("train", ("H",), "pan(-1)", "pan back", "Move the view to earlier steps"),
    Key("train", ("right", "l"), "cursor(1)", "read", "Read the curves: cursor to the right"),
    Key("train", ("left", "h"), "cursor(-1)", "read", "Read the curves: cursor to the left"),
    Key("train", ("]",), "mark(1)", "mark", "To the next checkpoint, trial or warning"),
    Key("train", ("[",), "mark(-1)", "mark back", "To the mark before"),
    Key("train", ("w",), "beside", "with", "Choose runs to show beside this one"),
    Key("train", ("P",), "pin", "pin", "Pin or unpin this run: it stays in the chart"),
    Key("train", ("F",), "follow", "follow", "Follow the newest step"),
    Key("train", ("r",), "reset", "reset view", "Whole curve, no cursor"),
    Key("train", ("escape",), "back", "back", "Close the edit; then batch, cursor, run"),
    # Eval.
    Key("eval", ("s",), "start", "start", "Evaluate the chosen subjects", 1),
    Key("eval", ("x",), "stop", "stop", "Stop; finished episodes are kept", 2),
    Key("eval", ("o",), "setup", "set-up", "Show or hide the set-up", 3),
    Key("eval", ("space",), "take", "choose", "Include this subject, or leave it out", 4),
    Key("eval", ("right", "l"), "column(1)", "subject", "To the next subject's verdicts", 5),
    Key("eval", ("f",), "figures", "figures", "Rates by archetype, channel, …; endings; pass@k", 6),
    Key("eval", ("left", "h"), "column(-1)", "subject back", "To the previous subject's verdicts"),
    Key("eval", ("]",), "differing(1)", "differ", "To the next world in which subjects differ"),
    Key("eval", ("[",), "differing(-1)", "differ back", "To the previous such world"),
    Key("eval", ("escape",), "back", "back", "From the verdicts to the set-up"),
    # Replay.
    Key("replay", ("space",), "play", "play", "Play or pause", 1),
    Key("replay", (".",), "step(1)", "step", "One turn forward", 2),
    Key("replay", (",",), "step(-1)", "step back", "One turn back"),
    Key("replay", ("right", "l"), "seek(5)", "+5 s", "Five seconds forward"),
    Key("replay", ("left", "h"), "seek(-5)", "-5 s", "Five seconds back"),
    Key("replay", ("s",), "beside", "beside", "Another subject in the same world beside it", 3),
    Key("replay", ("p",), "parting", "part", "To the first turn at which the two differ", 4),
    Key("replay", ("d",), "difference", "world", "What differs in its final world", 5),
    Key(
        "replay",
        ("t",),
        "take_over",
        "take over",
        "Type by hand from this turn on",
        6,
    ),
    Key("replay", ("]",), "marker(1)", "marker", "To the next marker"),
    Key("replay", ("[",), "marker(-1)", "marker back", "To the previous marker"),
    Key("replay", ("c",), "jump('c')", "first", "To the first command"),
    Key("replay", ("x",), "jump('x')", "failure", "To the first command that failed"),
    Key("replay", ("$",), "jump('$')", "end", "To where it ends by itself"),
    Key("replay", ("v",), "jump('v')", "verdict", "To the verdict and the checker's output"),
    Key("replay", (">",), "speed(1)", "faster", "Play faster"),
    Key("replay", ("<",), "speed(-1)", "slower", "Play slower"),
    Key("replay", ("i",), "idle", "idle limit", "Shorten long waits to two seconds, or not"),
    Key("replay", ("L",), "episode(1)", "next", "To the next episode"),
    Key("replay", ("H",), "episode(-1)", "previous", "To the previous episode"),
    Key("replay", ("f",), "filter", "filter", "Filter the episodes"),
    Key("replay", ("escape",), "back", "back", "One player; the list; there, clear the filter"),
    # Runs.
    Key("runs", ("o",), "open", "show", "Show this run in Train or Eval", 1),
    Key("runs", ("a",), "evaluate", "evaluate", "Choose this run's adapter in Eval", 2),
    Key("runs", ("p",), "episodes", "replay", "Replay this run's episodes", 3),
    Key("runs", ("u",), "resume", "resume", "Resume a run that was stopped or died", 4),
    Key("runs", ("space",), "pin", "pin", "Pin or unpin this run in Train's chart", 5),
    Key("runs", ("f",), "filter", "filter", "Filter the runs: words, kind:, status:, tag:, …", 6),
    Key("runs", ("/",), "search", "search", "Find a run by words"),
    Key("runs", ("n",), "match(1)", "next match", "To the next run that is found"),
    Key("runs", ("N",), "match(-1)", "previous match", "To the previous run that is found"),
    Key("runs", ("S",), "sort", "sort", "Sort by time, name, kind, status, loss, clean end"),
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
    Key("log", ("escape",), "back", "back", "Show all entries again"),
    # Take over.
    Key("takeover", ("i",), "type", "type", "Back to the prompt; esc leaves it for these keys", 1),
    Key("takeover", ("b",), "hand_back(1)", "one turn", "Let the model type one turn (tab)", 2),
    Key("takeover", ("B",), "hand_back(0)", "to the end", "Let the model type until the end", 3),
    Key("takeover", ("m",), "who", "who", "Choose who types when you hand back", 4),
    Key("takeover", ("t",), "take_over", "take over", "Stop the model and type yourself (also ^c)"),
    Key("takeover", ("space",), "pause", "pause", "Pause the model where it is, or let it go on"),
    Key("takeover", (".",), "step", "one turn", "Let it type one turn, and pause then"),
    Key("takeover", ("u",), "undo", "undo", "Fork the world again before the marked command", 5),
    Key("takeover", ("h", "left"), "turn(-1)", "earlier", "Mark the command before"),
    Key("takeover", ("l", "right"), "turn(1)", "later", "Mark the command after"),
    Key("takeover", ("f",), "finish", "finish", "End the session here, as a limit would", 6),
    Key("takeover", ("s",), "keep", "keep", "Certify the judged session, and keep it", 7),
    Key("takeover", ("S",), "keep_in", "keep in", "Keep it in a folder that you name"),
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
    Key("shell", ("space",), "pause", "pause", "Pause the model where it is, or let it go on", 1),
    Key("shell", (".",), "step", "one turn", "Let it type one turn, and pause then", 2),
    Key("shell", ("t",), "take_over", "take the keyboard", "Type yourself; it stops writing", 3),
    Key("shell", ("h",), "hand_back(0)", "hand back", "Let the model type on, to the end", 4),
    Key("shell", ("i",), "type", "type", "Back to the prompt; esc leaves it for these keys", 5),
    Key("shell", ("u",), "undo", "undo", "Make the world again before your last command"),
    Key("shell", ("d",), "side", "directives", "Show or hide directives, verdict, certificate", 6),
    Key("shell", ("s",), "keep", "keep", "Keep the judged session as training data", 7),
    Key("shell", ("S",), "keep_in", "keep in", "Keep it in a folder that you name"),
    Key("shell", ("Q",), "end", "end", "End the session here, as a limit would, and judge it", 8),
    Key("shell", ("q",), "back", "leave", "Leave; asks first if you typed and nothing is kept", 9),
    Key("shell", ("?", "f1"), "help", "help", "Show these keys"),
)

_TEXTUAL_NAMES = {",": "comma", "$": "dollar_sign", "|": "vertical_line"}
_SHOWN_NAMES = {
    "space": "␣", "enter": "⏎", "escape": "esc", "left": "←", "right": "→", "up": "↑", "down": "↓",
    "pagedown": "PgDn", "pageup": "PgUp", "home": "Home", "end": "End", "f1": "F1",
}  # fmt: skip


def bindings(place: Place) -> list[BindingType]:
    """Textual's bindings for one place."""
    return [
        Binding(
            ",".join(_TEXTUAL_NAMES.get(name, name) for name in key.keys),
            key.action,
            key.label,
            show=False,
            id=key.id,
        )
        for key in KEYS
        if key.place == place
    ]


def action_of(key: Key) -> str:
    """The action as the app runs it, from anywhere: for clicks and the palette."""
    return f"app.{key.action}" if key.place == "global" else f"app.in_pane({key.action!r})"


def shown(name: str) -> str:
    """A key as the footer and the help show it: ``ctrl+d`` becomes ``^d``."""
    return _SHOWN_NAMES.get(name, name.replace("ctrl+", "^"))


def of(*places: Place) -> tuple[Key, ...]:
    return tuple(key for key in KEYS if key.place in places)


def footer(place: Place) -> tuple[Key, ...]:
    """The few keys that the footer of a place shows, in order."""
    chosen = [key for key in of("global", place) if key.show]
    return tuple(sorted(chosen, key=lambda key: key.show))
