"""Work on a file's attributes: its size, its time, its existence."""

from __future__ import annotations

from sekft_engine.factory.task import Desk, Task, content, holds


def resize(desk: Desk) -> Task:
    source = desk.path()
    rows = desk.text(3, 5)
    size = desk.rng.randint(4, 12)
    text = desk.pick(
        (
            f"Cut {source} to {size} bytes",
            f"Set the size of {source} to {size} bytes",
            f"The file {source} must have a size of {size} bytes",
            f"Make {source} exactly {size} bytes long",
            f"Keep only the first {size} bytes of {source}",
        )
    )
    beginning = content(rows)[:size]
    return Task(
        text=text,
        look=source,
        acts=(f"truncate -s {size} {source}",),
        files={source: content(rows)},
        checks=(
            f'[ "$(wc -c < {source})" -eq {size} ]',
            f'[ "$(cat {source})" = "$(printf %s {_quoted(beginning)})" ]',
        ),
    )


def stamp(desk: Desk) -> Task:
    source = desk.path()
    rows = desk.text(1, 3)
    year, month, day = (
        desk.rng.randint(2001, 2019),
        desk.rng.randint(1, 12),
        desk.rng.randint(1, 28),
    )
    date = f"{year}-{month:02}-{day:02}"
    text = desk.pick(
        (
            f"Set the date of {source} to {date}",
            f"Change the time stamp of {source} to {date}",
            f"Give {source} the date {date}",
            f"The file {source} must look last changed on {date}",
            f"Date {source} back to {date}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"touch -d {date} {source}",),
        files={source: content(rows)},
        checks=(f'[ "$(date -r {source} +%F)" = {date} ]', holds(source, rows)),
    )


def create(desk: Desk) -> Task:
    folder = desk.folder + desk.names.word()
    name, other = desk.names.file(), desk.names.file()
    text = desk.pick(
        (
            f"In the folder {folder} make an empty file {name}",
            f"Inside {folder} create the empty file {name}",
            f"The folder {folder} needs an empty file {name}",
            f"Below {folder} put an empty file named {name}",
        )
    )
    return Task(
        text=text,
        look=folder,
        acts=(f"touch {folder}/{name}",),
        files={f"{folder}/{other}": content([name])},
        checks=(f"[ -f {folder}/{name} ]", f"[ ! -s {folder}/{name} ]"),
        made=(f"{folder}/{name}",),
    )


def _quoted(text: str) -> str:
    return "'" + text + "'"
