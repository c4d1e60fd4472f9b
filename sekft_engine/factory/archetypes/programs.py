"""Work that one program does by itself, from one file into another."""

from __future__ import annotations

import base64

from sekft_engine.factory.task import Desk, Task, content, holds


def number(desk: Desk) -> Task:
    rows = desk.text(3, 5)
    wanted = tuple(f"{number:6}\t{row}" for number, row in enumerate(rows, 1))
    return _through(
        desk,
        "nl",
        rows,
        wanted,
        (
            "Number the lines of {source} and write that to {target}",
            "{target} must hold {source} with a number before each line",
            "Write {source} with its lines numbered to {target}",
            "Make a numbered copy of {source} as {target}",
        ),
    )


def reverse(desk: Desk) -> Task:
    rows = desk.text(3, 5)
    return _through(
        desk,
        "tac",
        rows,
        rows[::-1],
        (
            "Write the lines of {source} to {target}, the last one first",
            "{target} must hold {source} upside down, last line first",
            "Turn the order of the lines of {source} around, result in {target}",
            "Put {source} backwards, line by line, into {target}",
        ),
    )


def encode(desk: Desk) -> Task:
    rows = desk.text(2, 4)
    return _through(
        desk,
        "base64",
        rows,
        (base64.b64encode(content(rows).encode()).decode(),),
        (
            "Encode {source} as base64 into {target}",
            "Write the base64 form of {source} to {target}",
            "{target} must hold {source} in base64",
            "Make a base64 copy of {source}, output in {target}",
        ),
    )


def run(desk: Desk) -> Task:
    rows = desk.text(3, 5)
    program, wanted = desk.rng.choice(
        [
            ("tac", rows[::-1]),
            ("nl", tuple(f"{number:6}\t{row}" for number, row in enumerate(rows, 1))),
            ("base64", (base64.b64encode(content(rows).encode()).decode(),)),
            ("fmt", (" ".join(rows),)),
            ("paste -s", ("\t".join(rows),)),
            ("sort", tuple(sorted(rows))),
            ("uniq", rows),
        ]
    )
    texts = (
        f"Run {program} on {{source}} and keep the output in {{target}}",
        f"Send {{source}} through {program} into {{target}}",
        f"Use {program} on {{source}}, its output belongs into {{target}}",
        f"Save what {program} makes of {{source}} as {{target}}",
        f"Write the {program} output for {{source}} to {{target}}",
    )
    return _through(desk, program, rows, wanted, texts)


def _through(
    desk: Desk,
    program: str,
    rows: tuple[str, ...],
    wanted: tuple[str, ...],
    texts: tuple[str, ...],
) -> Task:
    """A task where ``program`` turns a file with ``rows`` into ``wanted``."""
    source, target = desk.path(), desk.target()
    return Task(
        text=desk.pick(texts).format(source=source, target=target),
        look=source,
        acts=(f"{program} {source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, wanted), holds(source, rows)),
        made=(target,),
    )
