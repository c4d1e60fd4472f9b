"""Work on the lines of a file: count, sort, filter, cut off, drop repeats."""

from __future__ import annotations

from sekft_engine.factory.task import Desk, Task, content, holds


def count(desk: Desk) -> Task:
    source, target = desk.path(), desk.target()
    rows = desk.text()
    text = desk.pick(
        (
            f"Count the lines of {source} and put the number into {target}",
            f"How many lines has {source}? Write the number to {target}",
            f"Write the number of lines in {source} to {target}",
            f"The line count of {source} belongs into {target}",
            f"Find out how many lines {source} has and save that as {target}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"wc -l < {source} > {target}",),
        files={source: content(rows)},
        checks=(f'[ "$(tr -d " " < {target})" = {len(rows)} ]', holds(source, rows)),
        made=(target,),
    )


def sort(desk: Desk) -> Task:
    source, target = desk.path(), desk.target()
    rows = desk.text()
    if desk.rng.random() < 0.3:
        order, flag = sorted(rows, reverse=True), "-r "
        text = desk.pick(
            (
                f"Sort {source} in reverse order into {target}",
                f"Sort the lines of {source} from z to a and write them to {target}",
                f"The lines of {source} belong into {target} in reverse order of the alphabet",
                f"Reverse sort {source} and save it as {target}",
            )
        )
    else:
        order, flag = sorted(rows), ""
        text = desk.pick(
            (
                f"Sort the lines of {source} into {target}",
                f"Write {source} to {target} in sorted order",
                f"The lines of {source} belong into {target}, sorted from a to z",
                f"Put the lines of {source} in order and save them as {target}",
                f"Bring the lines of {source} into order and keep the result in {target}",
            )
        )
    return Task(
        text=text,
        look=source,
        acts=(f"sort {flag}{source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, order), holds(source, rows)),
        made=(target,),
    )


def keep_matching(desk: Desk) -> Task:
    source, target = desk.path(), desk.target()
    key, *others = desk.names.words(4)
    rows = [f"{key} {others[0]}", f"{others[1]} {others[2]}", f"{others[1]} {key}", others[0]]
    desk.rng.shuffle(rows)
    text = desk.pick(
        (
            f"Copy the lines with {key} from {source} to {target}",
            f"Find the lines of {source} that contain {key} and put them into {target}",
            f"Of {source}, only the lines that mention {key} belong into {target}",
            f"Search {source} for {key} and save the lines in {target}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"grep {key} {source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, [row for row in rows if key in row.split()]), holds(source, rows)),
        made=(target,),
    )


def head(desk: Desk) -> Task:
    source, target = desk.path(), desk.target()
    rows = desk.text(5, 7)
    number = desk.rng.randint(2, 4)
    first = desk.rng.random() < 0.5
    end, program = ("first", "head") if first else ("last", "tail")
    text = desk.pick(
        (
            f"Put the {end} {number} lines of {source} into {target}",
            f"Save the {end} {number} lines of {source} as {target}",
            f"From {source}, only the {end} {number} lines belong into {target}",
            f"Take the {end} {number} lines of {source} and write them to {target}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"{program} -n {number} {source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, rows[:number] if first else rows[-number:]), holds(source, rows)),
        made=(target,),
    )


def unique(desk: Desk) -> Task:
    source, target = desk.path(), desk.target()
    rows = list(desk.text(3, 4))
    rows += desk.rng.sample(rows, 2)
    desk.rng.shuffle(rows)
    text = desk.pick(
        (
            f"Write each line of {source} once and sorted into {target}",
            f"Sort {source} into {target} without repeated lines",
            f"The sorted lines of {source} belong into {target}, no line twice",
            f"Drop the double lines of {source}, sort the rest and save it as {target}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"sort -u {source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, sorted(set(rows))), holds(source, rows)),
        made=(target,),
    )
