"""Work that only an invented program of the world does: its usage has to be read, then used.

What such a program does, how it is called and what it is called are drawn apart from each other,
so a session can only know by asking.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import msgspec

from sekft_engine.factory.part import (
    Archetype,
    Desk,
    Page,
    Part,
    content,
    holds,
    reading,
)
from sekft_engine.factory.words import Share, wordings

_BIN = "/usr/local/bin"
#: How a tool that reads one file and writes another may be called. ``T`` is the tool, ``V`` a verb.
_CONVERT = (
    "T I O",
    "T -o O I",
    "T --from I --to O",
    "T V I O",
    "T I > O",
    "T -V I > O",
    "T < I > O",
    "T V < I > O",
    "T I -o O",
    "T --V I O",
    "T O I",
    "T --in I --out O",
    "T V -o O I",
    "T -f I -t O",
    "T V I > O",
    "T --file I > O",
)
#: The same with a number or word, ``P``.
_CONVERT_WITH = (
    "T P I O",
    "T -n P I > O",
    "T --with P I O",
    "T V P I > O",
    "T I P > O",
    "T -o O I P",
    "T --V P < I > O",
    "T -p P -o O I",
)
#: How a tool that changes a file may be called.
_CHANGE = ("T F", "T V F", "T -w F", "T --V F", "T --file F", "T -V -f F", "T F V", "T --in F")
_CHANGE_WITH = (
    "T F P",
    "T P F",
    "T V F P",
    "T --with P F",
    "T -m P F",
    "T --V P --file F",
    "T V --to P F",
    "T F --as P",
)
#: What a usage line calls input, output and the file.
_PLACES = (
    ("IN", "OUT", "FILE"),
    ("SOURCE", "TARGET", "FILE"),
    ("FROM", "TO", "NAME"),
    ("INPUT", "OUTPUT", "PATH"),
    ("OLD", "NEW", "FILE"),
    ("SRC", "DST", "DOC"),
)


class Core(msgspec.Struct, frozen=True):
    """What an invented program does.

    Attributes:
        purpose: in its help, such as ``double each line``.
        text: directive, with ``{source}``, ``{target}`` (not where it changes a file), ``{p}``.
        shell: a filter in sh; ``$P`` is its number or word.
        apply: the same on lines, with the number or word.
        param: ``n`` or ``w``: it takes a number or a word; empty = it takes none.
        verbs: words for its flags or subcommands.
    """

    purpose: str
    text: str
    shell: str
    apply: Callable[[list[str], str], list[str]]
    param: str = ""
    verbs: tuple[str, ...] = ("run", "do", "go")

    @property
    def changes(self) -> bool:
        """Whether it changes a file instead of writing another."""
        return "{target}" not in self.text


def _each(change: Callable[[str], str]) -> Callable[[list[str], str], list[str]]:
    return lambda rows, _: [change(row) for row in rows]


_ROT = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")
_VOWELS = str.maketrans("aeiou", ".....")
_TRAINING = (
    Core(
        "double each line",
        "Double each line of {source}, result in {target}",
        "sed p",
        lambda rows, _: [row for row in rows for _ in "ab"],
        verbs=("double", "twice", "dup"),
    ),
    Core(
        "put brackets around lines",
        "Put brackets around the lines of {source}, output in {target}",
        "sed 's/.*/[&]/'",
        _each(lambda row: f"[{row}]"),
        verbs=("wrap", "box", "brackets"),
    ),
    Core(
        "hide the vowels of a text",
        "Hide the vowels of {source} and write that to {target}",
        "tr aeiou .",
        _each(lambda row: row.translate(_VOWELS)),
        verbs=("hide", "mask", "veil"),
    ),
    Core(
        "measure lines",
        "Measure the lines of {source}, numbers in {target}",
        "awk '{print length($0)}'",
        _each(lambda row: str(len(row))),
        verbs=("measure", "len", "size"),
    ),
    Core(
        "make bullet lists",
        "Make a bullet list of {source} as {target}",
        "sed 's/^/- /'",
        _each(lambda row: f"- {row}"),
        verbs=("list", "bullet", "items"),
    ),
    Core(
        "shout a text",
        "Shout the text of {source}, result in {target}",
        "sed 's/$/!/'",
        _each(lambda row: f"{row}!"),
        verbs=("shout", "loud", "cry"),
    ),
    Core(
        "shorten lines to their first letters",
        "Shorten the lines of {source} to their first {p} letters, result in {target}",
        'cut -c-"$P"',
        lambda rows, p: [row[: int(p)] for row in rows],
        "n",
        ("shorten", "cut", "short"),
    ),
    Core(
        "sign each line with a name",
        "Sign each line of {source} with the name {p}, output in {target}",
        'sed "s/$/ ($P)/"',
        lambda rows, p: [f"{row} ({p})" for row in rows],
        "w",
        ("sign", "by", "author"),
    ),
    Core(
        "mark lines with a word",
        "Mark the lines of {source} with the word {p} and write that to {target}",
        'sed "s/^/$P: /"',
        lambda rows, p: [f"{p}: {row}" for row in rows],
        "w",
        ("mark", "tag", "label"),
    ),
    Core(
        "seal a file",
        "Seal the file {source}",
        "cat; echo sealed",
        lambda rows, _: [*rows, "sealed"],
        verbs=("seal", "close", "lock"),
    ),
    Core(
        "give a file its headline",
        "Give {source} the headline {p}",
        'echo "# $P"; cat',
        lambda rows, p: [f"# {p}", *rows],
        "w",
        ("title", "head", "headline"),
    ),
    Core(
        "approve a file in the name of someone",
        "Approve the file {source} in the name of {p}",
        'cat; echo "approved by $P"',
        lambda rows, p: [*rows, f"approved by {p}"],
        "w",
        ("approve", "accept", "pass"),
    ),
    Core(
        "empty a file of all but some lines",
        "Empty the file {source} of all but its first {p} lines",
        'sed "$P"q',
        lambda rows, p: rows[: int(p)],
        "n",
        ("trim", "keep", "limit"),
    ),
)
_VALIDATION = (
    Core(
        "put stars before lines",
        "Put stars before the lines of {source}, result in {target}",
        "sed 's/^/* /'",
        _each(lambda row: f"* {row}"),
        verbs=("star", "stars", "adorn"),
    ),
    Core(
        "archive a file for a year",
        "Archive the file {source} for the year {p}",
        'cat; echo "archived $P"',
        lambda rows, p: [*rows, f"archived {p}"],
        "n",
        ("store", "archive", "shelve"),
    ),
)
_HELD_OUT = (
    Core(
        "encrypt letters by turning the alphabet",
        "Encrypt the letters of {source}, result in {target}",
        "tr a-z n-za-m",
        _each(lambda row: row.translate(_ROT)),
        verbs=("crypt", "turn", "rot"),
    ),
    Core(
        "quote lines as in a mail",
        "Quote the lines of {source} as in a mail, output in {target}",
        "sed 's/^/> /'",
        _each(lambda row: f"> {row}"),
        verbs=("quote", "mail", "reply"),
    ),
    Core(
        "rate each line with points",
        "Rate each line of {source} with {p} points and write that to {target}",
        'sed "s/$/ = $P/"',
        lambda rows, p: [f"{row} = {p}" for row in rows],
        "n",
        ("rate", "points", "grade"),
    ),
    Core(
        "dedicate a file to someone",
        "Dedicate the file {source} to {p}",
        'echo "for $P"; cat',
        lambda rows, p: [f"for {p}", *rows],
        "w",
        ("dedicate", "gift", "present"),
    ),
)
_CORES: dict[Share, tuple[Core, ...]] = {
    "train": _TRAINING,
    "valid": _VALIDATION,
    "holdout": _HELD_OUT,
}


def other_purposes(share: Share) -> list[str]:
    """What other tools of a list may be for."""
    return [core.purpose for core in _CORES[share]]


def _tool(cores: tuple[Core, ...]) -> Callable[[Desk], Part]:
    def make(desk: Desk) -> Part:
        return _part(desk, desk.rng.choice(cores))

    return make


def _part(desk: Desk, core: Core) -> Part:
    name, rows = desk.names.program(), desk.words(desk.number(2, 4))
    source = desk.path()
    target = source if core.changes else desk.target()
    param = {"": "", "n": str(desk.number(1, len(rows) - 1)), "w": desk.word()[:20]}[core.param]
    forms = {
        (False, False): _CONVERT,
        (False, True): _CONVERT_WITH,
        (True, False): _CHANGE,
        (True, True): _CHANGE_WITH,
    }[core.changes, bool(core.param)]
    form = desk.say(forms).replace("V", desk.pick(core.verbs))
    into, out, file = desk.rng.choice(list(wordings(_PLACES, desk.share)))
    shown = {
        "T": name,
        "I": into,
        "O": out,
        "F": file,
        "P": "NUMBER" if core.param == "n" else "WORD",
    }
    typed = {"T": name, "I": source, "O": target, "F": source, "P": param}
    usage = _fill(form, shown)
    page = Page(name, core.purpose, (usage,))
    act = _fill(form, typed)
    guess = f"{name} {source}" if core.changes else f"{name} {source} {target}"
    wanted = core.apply(rows, param)
    return Part(
        fields={},
        text=core.text.format(source=source, target=target, p=param),
        acts=(act,),
        files={source: content(rows)},
        checks=(holds(target, wanted), *([] if core.changes else [holds(source, rows)])),
        source=source,
        made=() if core.changes else (target,),
        looks=reading(source),
        verifies=(f"cat {target}",),
        fails=(guess,) if guess != act and form not in ("T O I", "T P F") else (),
        scripts={f"{_BIN}/{name}": _script(form, core, page)},
        page=page,
    )


def _fill(form: str, values: dict[str, str]) -> str:
    """``form`` with values in place of its single capital letters."""
    return re.sub(r"(?<![\w-])[TIOFP](?!\w)", lambda found: values[found[0]], form)


def _script(form: str, core: Core, page: Page) -> str:
    """The program in sh: it takes its arguments in the order of ``form`` and no other."""
    arguments = [word for word in re.sub(r"[<>] \w", "", form).split() if word != "T"]
    tests = [f"[ $# -eq {len(arguments)} ]"]
    places = {}
    for number, word in enumerate(arguments, 1):
        if word in ("I", "O", "F", "P"):
            places[word] = f'"${number}"'
        else:
            tests.append(f'[ "${number}" = {shlex.quote(word)} ]')
    source = places.get("I") or places.get("F")
    if source:
        tests.append(f"[ -f {source} ]")
    lines = [
        "#!/bin/sh",
        f'if [ "$1" = --help ]; then cat <<"END"\n{page.text()}END\nexit 0; fi',
        f"if ! {{ {' && '.join(tests)}; }}; then",
        f"echo {shlex.quote(f'usage: {page.usage[0]}')} >&2; exit 2; fi",
    ]
    if "P" in places:
        lines.append(f"P={places['P']}")
    begin = f"< {source} " if source else ""
    if core.changes:
        lines.append(f'made="$({{ {core.shell}; }} {begin})"')
        lines.append(f"printf '%s\\n' \"$made\" > {source}")
    else:
        end = f"> {places['O']}" if "O" in places else ""
        lines.append(f"{{ {core.shell}; }} {begin}{end}")
    return "\n".join(lines) + "\n"


def _kind(cores: tuple[Core, ...], share: Share) -> tuple[Archetype, ...]:
    kind = {"train": "tool", "valid": "spare-tool", "holdout": "new-tool"}[share]
    groups: dict[str, list[Core]] = {}
    for core in cores:
        name = f"{kind}-change" if core.changes else f"{kind}-convert"
        groups.setdefault(name + ("-with" if core.param else ""), []).append(core)
    return tuple(
        Archetype(name=name, make=_tool(tuple(group)), share=share)
        for name, group in sorted(groups.items())
    )


ARCHETYPES = _kind(_TRAINING, "train")
VALIDATION = _kind(_VALIDATION, "valid")
HELD_OUT = _kind(_HELD_OUT, "holdout")
