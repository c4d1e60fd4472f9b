"""The page of keys in the documents, made from the table: ``sekft keys --markdown``."""

from __future__ import annotations

from collections.abc import Iterable

from sekft_tui.input.actions import KEYS, VERBS, Key, shown
from sekft_tui.input.places import TITLES

_HEAD = """\
# Keys

This page is made from the table of keys in `sekft_tui/input/actions.py` by `sekft keys
--markdown`. In the workbench `?` shows the keys of the pane, the line at the bottom those that do
something now, and `ctrl+p` finds any by name. `^c` is ctrl+c, `␣` is space, `⏎` is enter.

## The same everywhere

A key means one thing in every pane that has it:

"""
_OWN = """\

## Your own keys

Give any of the ids below another key, or several, in `keys.toml` in sekft's configuration folder
(`~/.config/sekft` on Linux; `XDG_CONFIG_HOME` moves it), or in a workspace. The workspace's file
wins.

```toml
"train.start" = "ctrl+r"
"motion.down" = ["j", "down", "ctrl+n"]

[trajectories]
token = "b"  # the same as "trajectories.token"
```

A key is a character as it is typed (`s`, `S`, `?`), or a name: `space`, `enter`, `escape`, `up`,
`pagedown`, `f5`, with `ctrl+` or, for arrows and the like, `shift+` before it. `alt` is not
offered, because many terminals send something else.

- `sekft keys` lists the keys as they are, with the file and line of each that was changed. It
  ends with status 2 where something is wrong in a file: an unknown id, no such key, or one key
  for two things in one place. The workbench opens all the same. It says what is wrong, and uses
  the usual key instead.
- `sekft keys --toml` prints a file to begin with, `--json` the same as data.
- A question shows the keys of its answers itself; those do not change, nor do `tab` and
  `shift+tab`, which go to the next part and the one before. `ctrl+c` can get other keys beside it,
  and stays one.

## Other keyboards

Letters are read by their place where the layout has another alphabet: on a Russian keyboard `ы`
is `s`, and `х` is `[`. Places of Russian, Ukrainian, Belarusian, Bulgarian, Greek and Hebrew are
known. A terminal with the [kitty keyboard
protocol](https://sw.kovidgoyal.net/kitty/keyboard-protocol/) tells those of any other, and of
keys with ctrl. Signs on the row of digits (`!`, `$`) and `/` are those that the keyboard types;
give them other keys where they are hard to reach.

"""


def page() -> str:
    """The page in Markdown; with the keys of the table, whatever the user has chosen."""
    parts = [_HEAD, _table(("key", "is"), ((_code((key,)), what) for key, what in VERBS.items()))]
    parts.append(_OWN.rstrip("\n") + "\n")
    for place, title in TITLES.items():
        keys = [key for key in KEYS if key.place == place]
        parts += [f"\n## {title}\n\n", _table(("key", "does", "id"), map(_row, keys))]
    return "".join(parts)


def _row(key: Key) -> tuple[str, str, str]:
    return _code(key.keys), key.description, f"`{key.id}`"


def _code(names: Iterable[str]) -> str:
    return " ".join(f"`{shown(name)}`" for name in names).replace("|", r"\|")


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
