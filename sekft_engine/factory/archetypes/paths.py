"""Work on names and places: copy, delete, move, rename, make folders."""

from __future__ import annotations

from sekft_engine.factory.task import Desk, Task, absent, content, holds


def copy(desk: Desk) -> Task:
    source, target = desk.path(), desk.target()
    rows = desk.text(1, 3)
    text = desk.pick(
        (
            f"Copy {source} to {target}",
            f"Make a copy of {source} and name it {target}",
            f"Keep a second copy of {source} as {target}",
            f"A copy of {source} is wanted as {target}",
            f"Back up {source} as {target}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"cp {source} {target}",),
        files={source: content(rows)},
        checks=(holds(target, rows), holds(source, rows), f"[ ! -L {target} ]"),
        made=(target,),
    )


def delete(desk: Desk) -> Task:
    source, other = desk.path(), desk.path()
    rows = desk.text(1, 2)
    if desk.rng.random() < 0.3:
        return _delete_folder(desk, other)
    text = desk.pick(
        (
            f"Delete {source}",
            f"Remove the file {source}",
            f"The file {source} is no longer needed, remove it",
            f"Get rid of {source} and keep the rest",
            f"Clean up: {source} must go",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"rm {source}",),
        files={source: content(rows), other: content(rows)},
        checks=(absent(source), holds(other, rows)),
    )


def _delete_folder(desk: Desk, other: str) -> Task:
    """Delete a folder: the directive does not say that it is one, so plain rm fails first."""
    source = desk.folder + desk.names.word()
    rows = desk.text(1, 2)
    return Task(
        text=desk.pick((f"Delete {source}", f"Get rid of {source} and keep the rest")),
        look=source,
        acts=(f"rm {source}", f"rm -r {source}"),
        files={f"{source}/{desk.names.file()}": content(rows), other: content(rows)},
        checks=(absent(source), holds(other, rows)),
    )


def rename(desk: Desk) -> Task:
    source, target = desk.path(), desk.target()
    rows = desk.text(1, 3)
    text = desk.pick(
        (
            f"Rename {source} to {target}",
            f"Give {source} the new name {target}",
            f"The file {source} must be called {target} from now on",
            f"Change the name of {source} to {target}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"mv {source} {target}",),
        files={source: content(rows)},
        checks=(holds(target, rows), absent(source)),
        made=(target,),
    )


def move(desk: Desk) -> Task:
    source = desk.path()
    folder = desk.folder + desk.names.word()
    rows = desk.text(1, 3)
    name = source.rsplit("/", 1)[-1]
    text = desk.pick(
        (
            f"Move {source} into the folder {folder}",
            f"Put the file {source} itself into the folder {folder}",
            f"The file {source} belongs into the folder {folder}, move it there",
            f"Take {source} and move it to the folder {folder}",
        )
    )
    return Task(
        text=text,
        look=source,
        acts=(f"mv {source} {folder}/",),
        files={source: content(rows), f"{folder}/": ""},
        checks=(holds(f"{folder}/{name}", rows), absent(source)),
        made=(f"{folder}/{name}",),
    )


def tree(desk: Desk) -> Task:
    top = desk.folder + desk.names.word()
    middle, leaf = desk.names.words(2)
    keep = f"{top}/{desk.names.file()}"
    if desk.rng.random() < 0.5:
        text = desk.pick(
            (
                f"In {top} make the folder {middle} and in that the folder {leaf}",
                f"Inside {top} make the folders {middle}/{leaf}",
                f"The folder {top} needs a folder {middle} with a folder {leaf} in it",
                f"Below the folder {top} create the folder {middle}/{leaf}",
            )
        )
        acts, made = f"mkdir -p {top}/{middle}/{leaf}", [f"{top}/{middle}/{leaf}"]
    else:
        text = desk.pick(
            (
                f"In the folder {top} make two folders, {middle} and {leaf}",
                f"Inside {top} make the folders {middle} and {leaf}",
                f"The folder {top} needs the folders {middle} and {leaf}",
                f"Below {top} create the folder {middle} and the folder {leaf}",
            )
        )
        made = [f"{top}/{middle}", f"{top}/{leaf}"]
        acts = f"mkdir {top}/{middle} {top}/{leaf}"
    return Task(
        text=text,
        look=top,
        acts=(acts,),
        files={keep: content([leaf])},
        checks=tuple(f"[ -d {path} ]" for path in made),
        made=tuple(made),
    )
