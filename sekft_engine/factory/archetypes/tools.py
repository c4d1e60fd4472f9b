"""Work that only an invented program of the world does: its usage has to be read, then used.

What such a program does, how it is called and what it is called are drawn apart from each other,
so a session can only know by asking.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

import msgspec

from sekft_engine.factory.archetypes import purposes
from sekft_engine.factory.archetypes.purposes import Core
from sekft_engine.factory.archetypes.purposes_changing import CHANGING, CHANGING_WITH
from sekft_engine.factory.archetypes.purposes_usual import USUAL
from sekft_engine.factory.archetypes.purposes_writing import WRITING
from sekft_engine.factory.archetypes.purposes_writing_with import WRITING_WITH
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


#: The training purposes that worlds of held-out and validation pairs have, with one text each: as
#: training gets more, such worlds stay as they are.
_PAIRED = tuple(msgspec.structs.replace(core, texts=core.texts[:1]) for core in USUAL)
TRAINING_PURPOSES = (*USUAL, *WRITING, *WRITING_WITH, *CHANGING, *CHANGING_WITH)
_CORES: dict[Share, tuple[Core, ...]] = {
    "train": TRAINING_PURPOSES,
    "valid": purposes.VALIDATION,
    "holdout": purposes.HELD_OUT,
}


def other_purposes(share: Share) -> list[str]:
    """What other tools of a list may be for."""
    return [core.purpose for core in _CORES[share]]


def _tool(cores: Sequence[Core], elsewhere: Sequence[Core]) -> Callable[[Desk], Part]:
    """Makes parts of ``cores``; in worlds that are not training's, of ``elsewhere``."""

    def make(desk: Desk) -> Part:
        return _part(desk, desk.rng.choice(cores if desk.share == "train" else elsewhere))

    return make


def _part(desk: Desk, core: Core) -> Part:
    name, rows = desk.names.program(), _rows(desk, core)
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
    text = core.texts[0] if len(core.texts) == 1 else desk.pick(core.texts)
    return Part(
        fields={},
        text=text.format(source=source, target=target, p=param),
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


def _rows(desk: Desk, core: Core) -> list[str]:
    words = desk.words(desk.number(2, 4) * core.width)
    return [" ".join(words[at : at + core.width]) for at in range(0, len(words), core.width)]


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


def _grouped(cores: Sequence[Core]) -> dict[str, list[Core]]:
    """Purposes by the kind of work they are, without the share's word before it."""
    groups: dict[str, list[Core]] = {}
    for core in cores:
        name = "change" if core.changes else "convert"
        groups.setdefault(name + ("-with" if core.param else ""), []).append(core)
    return groups


def _kind(cores: Sequence[Core], share: Share, elsewhere: Sequence[Core]) -> tuple[Archetype, ...]:
    kind = {"train": "tool", "valid": "spare-tool", "holdout": "new-tool"}[share]
    others = _grouped(elsewhere)
    return tuple(
        Archetype(name=f"{kind}-{name}", make=_tool(group, others[name]), share=share)
        for name, group in sorted(_grouped(cores).items())
    )


ARCHETYPES = _kind(TRAINING_PURPOSES, "train", _PAIRED)
VALIDATION = _kind(purposes.VALIDATION, "valid", purposes.VALIDATION)
HELD_OUT = _kind(purposes.HELD_OUT, "holdout", purposes.HELD_OUT)
