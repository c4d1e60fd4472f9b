"""Work on the text of a file: add a line, write a note, replace a word, change the case."""

from __future__ import annotations

from sekft_engine.factory.task import Desk, Task, content, holds


def append(desk: Desk) -> Task:
    source = desk.path()
    rows = desk.text(2, 4)
    word = desk.names.word()
    text = desk.pick(
        (
            f"Add the line {word} to the end of {source}",
            f"Append {word} to {source}",
            f"The file {source} needs a last line {word}, add it",
            f"Put {word} as a new line below the others in {source}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"echo {word} >> {source}",),
        files={source: content(rows)},
        checks=(holds(source, (*rows, word)),),
    )


def note(desk: Desk) -> Task:
    folder = desk.folder + desk.names.word()
    word = desk.names.word()
    name = desk.names.file("txt")
    target = f"{folder}/{name}"
    keep = f"{folder}/{desk.names.file()}"
    text = desk.pick(
        (
            f"In the folder {folder} write the word {word} into a new file {name}",
            f"Inside {folder} make the file {name} with the one line {word}",
            f"The folder {folder} needs a file {name} that says {word}",
            f"Below {folder} create {name} with the text {word}",
        )
    )
    return Task(
        text=text,
        look=folder,
        acts=(f"echo {word} > {target}",),
        files={keep: content([word])},
        checks=(holds(target, [word]), holds(keep, [word])),
        made=(target,),
    )


def replace(desk: Desk) -> Task:
    source = desk.path()
    old, new, *others = desk.names.words(5)
    rows = [f"{old} {others[0]}", others[1], f"{others[2]} {old}"]
    desk.rng.shuffle(rows)
    changed = [row.replace(old, new) for row in rows]
    text = desk.pick(
        (
            f"Replace {old} by {new} in {source}",
            f"In {source}, change every {old} to {new}",
            f"Each {old} in {source} must become {new}",
            f"Write {new} instead of {old} throughout {source}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"sed -i s/{old}/{new}/g {source}",),
        files={source: content(rows)},
        checks=(holds(source, changed),),
    )


def upper(desk: Desk) -> Task:
    source, target = desk.path(), desk.target()
    rows = desk.text(2, 4)
    if desk.rng.random() < 0.6:
        sets, given, wanted, case = "a-z A-Z", rows, [row.upper() for row in rows], "upper"
    else:
        given = tuple(row.upper() for row in rows)
        sets, wanted, case = "A-Z a-z", list(rows), "lower"
    text = desk.pick(
        (
            f"Write {source} in {case} case to {target}",
            f"Turn the letters of {source} into {case} case and save them as {target}",
            f"The text of {source} belongs into {target}, in {case} case",
            f"Put a copy of {source} into {target}, all in {case} case letters",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"tr {sets} < {source} > {target}",),
        files={source: content(given)},
        checks=(holds(target, wanted), holds(source, given)),
        made=(target,),
    )
