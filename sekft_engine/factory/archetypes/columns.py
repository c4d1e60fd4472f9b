"""Work across lines: take a field out, put files together."""

from __future__ import annotations

from sekft_engine.factory.task import Desk, Task, content, holds

_SIGNS = {",": "comma", ":": "colon"}


def extract(desk: Desk) -> Task:
    source, target = desk.path("csv"), desk.target()
    sign = desk.pick((",", ":"))
    number = desk.rng.randint(1, 3)
    rows = [desk.names.words(3) for _ in range(desk.rng.randint(2, 4))]
    nth = ("first", "second", "third")[number - 1]
    text = desk.pick(
        (
            f"Cut {source} at each {_SIGNS[sign]} and write the {nth} field to {target}",
            f"A {_SIGNS[sign]} parts the fields of {source}, put field {number} into {target}",
            f"Take column {number} of {source}, cut at each {_SIGNS[sign]}, into {target}",
            f"The {nth} column of {source}, cut at each {_SIGNS[sign]}, belongs into {target}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"cut -d{sign} -f{number} {source} > {target}",),
        files={source: content(sign.join(row) for row in rows)},
        checks=(holds(target, [row[number - 1] for row in rows]),),
        made=(target,),
    )


def merge(desk: Desk) -> Task:
    first, second, target = desk.path(), desk.path(), desk.target()
    upper, lower = desk.text(2, 3), desk.text(2, 3)
    text = desk.pick(
        (
            f"Join {first} and {second} into {target}",
            f"Write {first} and then {second} to {target}",
            f"First {first}, then {second} belong into {target}",
            f"Put {first} and {second} together, in this order, as {target}",
            f"Merge {first} with {second} and save the whole as {target}",
        )
    )
    return Task(
        text=text,
        look=first,
        acts=(f"cat {first} {second} > {target}",),
        files={first: content(upper), second: content(lower)},
        checks=(holds(target, (*upper, *lower)), holds(first, upper), holds(second, lower)),
        made=(target,),
    )
