"""What the invented programs of validation and held-out worlds do, and how that is said.

Those of training are beside it. A program's purpose says nothing about how it is called.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec


class Core(msgspec.Struct, frozen=True):
    """What an invented program does.

    Attributes:
        purpose: in its help, such as ``double each line``.
        texts: directives of one meaning, of which a world has one, with ``{source}``, ``{target}``
            (not where it changes a file) and ``{p}``.
        shell: a filter in sh; ``$P`` is its number or word.
        apply: the same on lines, with the number or word.
        param: ``n`` or ``w``: it takes a number or a word; empty = it takes none.
        verbs: words for its flags or subcommands.
        width: how many words each line of its file has.
    """

    purpose: str
    texts: tuple[str, ...]
    shell: str
    apply: Callable[[list[str], str], list[str]]
    param: str = ""
    verbs: tuple[str, ...] = ("run", "do", "go")
    width: int = 1

    @property
    def changes(self) -> bool:
        """Whether it changes a file instead of writing another."""
        return "{target}" not in self.texts[0]


def each(change: Callable[[str], str]) -> Callable[[list[str], str], list[str]]:
    """What does ``change`` to each line."""
    return lambda rows, _: [change(row) for row in rows]


_ROT = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")
VALIDATION = (
    Core(
        "put stars before lines",
        ("Put stars before the lines of {source}, result in {target}",),
        "sed 's/^/* /'",
        each(lambda row: f"* {row}"),
        verbs=("star", "stars", "adorn"),
    ),
    Core(
        "archive a file for a year",
        ("Archive the file {source} for the year {p}",),
        'cat; echo "archived $P"',
        lambda rows, p: [*rows, f"archived {p}"],
        "n",
        ("store", "archive", "shelve"),
    ),
)
HELD_OUT = (
    Core(
        "encrypt letters by turning the alphabet",
        ("Encrypt the letters of {source}, result in {target}",),
        "tr a-z n-za-m",
        each(lambda row: row.translate(_ROT)),
        verbs=("crypt", "turn", "rot"),
    ),
    Core(
        "quote lines as in a mail",
        ("Quote the lines of {source} as in a mail, output in {target}",),
        "sed 's/^/> /'",
        each(lambda row: f"> {row}"),
        verbs=("quote", "mail", "reply"),
    ),
    Core(
        "rate each line with points",
        ("Rate each line of {source} with {p} points and write that to {target}",),
        'sed "s/$/ = $P/"',
        lambda rows, p: [f"{row} = {p}" for row in rows],
        "n",
        ("rate", "points", "grade"),
    ),
    Core(
        "dedicate a file to someone",
        ("Dedicate the file {source} to {p}",),
        'echo "for $P"; cat',
        lambda rows, p: [f"for {p}", *rows],
        "w",
        ("dedicate", "gift", "present"),
    ),
)
