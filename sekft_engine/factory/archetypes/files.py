"""Work on files and folders by name: copy, move, rename, delete, make, and in bulk."""

from __future__ import annotations

from sekft_engine.factory.part import (
    Desk,
    Page,
    Part,
    absent,
    content,
    holds,
    reading,
    showing,
    work,
)


@work(
    "copy",
    "Copy {source} to {target}",
    "Make a copy of {source} and name it {target}",
    "{source} is needed a second time, as {target}",
    "Keep {source} and put a copy of it at {target}",
    "Duplicate {source} under the name {target}",
    "{target} must become a twin of {source}",
    page=Page("cp", "copy a file", ("cp FROM TO",)),
)
def copy(desk: Desk) -> Part:
    source, target = desk.path(), desk.target()
    rows = desk.lines(1, 3)
    return Part(
        fields={"source": source, "target": target},
        acts=(f"cp {source} {target}",),
        files={source: content(rows)},
        checks=(holds(target, rows), holds(source, rows)),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=(f"cmp {source} {target}", f"cat {target}", f"ls {source} {target}"),
    )


@work(
    "rename",
    "Rename {source} to {target}",
    "{source} has the wrong name, it must be called {target}",
    "Change the name of {source} to {target}",
    "Give {source} the new name {target}",
    "The file {source} is to be known as {target} from now on",
    "{source} must carry the name {target}",
    page=Page("mv", "rename a file", ("mv OLD NEW",)),
)
def rename(desk: Desk) -> Part:
    source, target = desk.path(), desk.target()
    rows = desk.lines(1, 3)
    return Part(
        fields={"source": source, "target": target},
        acts=(f"mv {source} {target}",),
        files={source: content(rows)},
        checks=(holds(target, rows), absent(source)),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=(f"ls {target}", f"cat {target}", f"ls {source} {target}"),
    )


@work(
    "move",
    "Move {source} into the folder {folder}",
    "{source} belongs into the folder {folder}, put it there",
    "Put {source} away into {folder}",
    "Take {source} and move it to the folder {folder}",
    "The right place of {source} is the folder {folder}, move it",
    "{folder} must receive the file {source}",
    page=Page("mv", "move a file", ("mv FILE FOLDER",)),
)
def move(desk: Desk) -> Part:
    source, folder = desk.path(), desk.subfolder()
    rows = desk.lines(1, 3)
    moved = f"{folder}/{source.rpartition('/')[2]}"
    return Part(
        fields={"source": source, "folder": folder},
        acts=(f"mv {source} {folder}",),
        files={source: content(rows), f"{folder}/": ""},
        checks=(holds(moved, rows), absent(source)),
        source=source,
        made=(moved,),
        looks=(f"ls {source} {folder}", *reading(source)),
        verifies=(f"ls {folder}", f"cat {moved}"),
    )


@work(
    "delete",
    "Delete {source}",
    "Remove the file {source}",
    "{source} is not needed any more, delete it",
    "Get rid of {source}",
    "The file {source} must go",
    "{source} is to disappear",
    page=Page("rm", "delete a file", ("rm FILE",)),
)
def delete(desk: Desk) -> Part:
    source, keep = desk.path(), desk.path()
    rows = desk.lines(1, 2)
    return Part(
        fields={"source": source},
        acts=(f"rm {source}",),
        files={source: content(rows), keep: content(rows)},
        checks=(absent(source), holds(keep, rows)),
        source=source,
        looks=(f"ls {source}", "ls", f"cat {source}"),
        verifies=("ls",),
    )


@work(
    "delete-folder",
    "Delete the folder {folder} with everything in it",
    "Remove the whole folder {folder}",
    "The folder {folder} and its files are not needed, delete them",
    "Get rid of the folder {folder}",
    "Folder {folder} must go, and what is in it",
    "The directory {folder} is to disappear with its content",
    page=Page("rm", "delete a folder", ("rm -r FOLDER",)),
)
def delete_folder(desk: Desk) -> Part:
    folder = desk.subfolder()
    return Part(
        fields={"folder": folder},
        acts=(f"rm -r {folder}",),
        files={f"{folder}/{desk.names.file()}": content(desk.words(1)) for _ in range(2)},
        checks=(absent(folder),),
        source=folder,
        looks=(f"ls {folder}", "ls"),
        verifies=("ls",),
        fails=(f"rm {folder}",),
    )


@work(
    "copy-folder",
    "Copy the folder {folder} with its files to {target}",
    "Make a copy of the whole folder {folder} and call it {target}",
    "The folder {folder} is needed twice, the second one as {target}",
    "Keep the folder {folder} and put a copy of it at {target}",
    "Duplicate the folder {folder} under the name {target}",
    "{target} must become a full twin of the directory {folder}",
    page=Page("cp", "copy a folder", ("cp -r FROM TO",)),
)
def copy_folder(desk: Desk) -> Part:
    folder, target = desk.subfolder(), desk.subfolder()
    name, rows = desk.names.file(), desk.words(2)
    return Part(
        fields={"folder": folder, "target": target},
        acts=(f"cp -r {folder} {target}",),
        files={f"{folder}/{name}": content(rows)},
        checks=(holds(f"{target}/{name}", rows), holds(f"{folder}/{name}", rows)),
        source=folder,
        made=(target,),
        looks=(f"ls {folder}",),
        verifies=(f"ls {target}", f"ls {folder} {target}"),
        fails=(f"cp {folder} {target}",),
    )


@work(
    "make-folder",
    "Make the folder {folder}",
    "Create a folder named {folder}",
    "A folder {folder} is needed, make it",
    "Set up the new folder {folder}",
    "There must be a folder {folder}, create it",
    "The directory {folder} is to exist",
    page=Page("mkdir", "make a folder", ("mkdir -p FOLDER",)),
)
def make_folder(desk: Desk) -> Part:
    folder = desk.subfolder()
    if desk.rng.random() < 0.5:
        folder += f"/{desk.names.folder()}"
    return Part(
        fields={"folder": folder},
        acts=(f"mkdir -p {folder}",),
        files={},
        checks=(f"[ -d {folder} ]",),
        made=(folder,),
        verifies=(f"ls {folder}", f"stat -c %F {folder}", "ls"),
    )


@work(
    "create",
    "In the folder {folder} make an empty file {name}",
    "Inside {folder} create the empty file {name}",
    "The folder {folder} needs an empty file {name}",
    "Below {folder} put an empty file named {name}",
    "Create {name}, empty, in the folder {folder}",
    "An empty {name} is to stand in {folder}",
    page=Page("touch", "make an empty file", ("touch FILE",)),
)
def create(desk: Desk) -> Part:
    folder, name, other = desk.subfolder(), desk.names.file(), desk.names.file()
    target = f"{folder}/{name}"
    return Part(
        fields={"folder": folder, "name": name},
        acts=(f"touch {target}",),
        files={f"{folder}/{other}": content([name])},
        checks=(f"[ -f {target} ]", f"[ ! -s {target} ]"),
        source=folder,
        made=(target,),
        looks=(f"ls {folder}",),
        verifies=(f"ls {folder}", f"wc -c {target}", f"ls {target}"),
    )


def _pile(desk: Desk) -> tuple[str, str, list[str], str]:
    """A folder with three files of one kind and one of another: folder, kind, names, other."""
    kind, odd = desk.rng.sample(["txt", "log", "tmp", "csv", "bak", "dat"], 2)
    return desk.subfolder(), kind, [desk.names.file(kind) for _ in range(3)], desk.names.file(odd)


@work(
    "delete-kind",
    "Delete all .{kind} files in {folder}",
    "Remove every file of {folder} that ends in .{kind}",
    "The .{kind} files in the folder {folder} are not needed, delete them",
    "Clear {folder} of its .{kind} files and leave the others",
    "No .{kind} file may stay in {folder}, the others must",
    "What ends in .{kind} is to disappear from {folder}",
    page=Page("rm", "delete files of a kind", ("rm FOLDER/*.KIND",)),
)
def delete_kind(desk: Desk) -> Part:
    folder, kind, names, other = _pile(desk)
    files = {f"{folder}/{name}": content(desk.words(1)) for name in (*names, other)}
    return Part(
        fields={"folder": folder, "kind": kind},
        acts=(f"rm {folder}/*.{kind}",),
        files=files,
        checks=(f'[ "$(ls {folder})" = {other} ]',),
        source=folder,
        looks=(f"ls {folder}",),
        verifies=(f"ls {folder}",),
        slips=(f"rm {folder}/{names[0]}",),
    )


@work(
    "move-kind",
    "Move all .{kind} files of {folder} into {target}",
    "Put every file of {folder} that ends in .{kind} into the folder {target}",
    "The .{kind} files in {folder} belong into {target}, move them",
    "Take the .{kind} files out of {folder} and put them into {target}",
    "Folder {target} gets all .{kind} files that are in {folder} now",
    "What ends in .{kind} is to leave {folder} for {target}",
    page=Page("mv", "move files of a kind", ("mv FOLDER/*.KIND OTHER",)),
)
def move_kind(desk: Desk) -> Part:
    folder, kind, names, other = _pile(desk)
    target = desk.subfolder()
    files = {f"{folder}/{name}": content(desk.words(1)) for name in (*names, other)}
    return Part(
        fields={"folder": folder, "kind": kind, "target": target},
        acts=(f"mv {folder}/*.{kind} {target}",),
        files={**files, f"{target}/": ""},
        checks=(
            f'[ "$(ls {folder})" = {other} ]',
            *(f"[ -f {target}/{name} ]" for name in names),
        ),
        source=folder,
        looks=(f"ls {folder}", f"ls {folder} {target}"),
        verifies=(f"ls {folder} {target}", f"ls {target}", f"ls {folder}"),
        slips=(f"mv {folder}/{names[0]} {target}",),
    )


@work(
    "copy-kind",
    "Copy all .{kind} files of {folder} into {target}",
    "Put a copy of every .{kind} file of {folder} into the folder {target}",
    "The .{kind} files in {folder} are needed in {target} as well, copy them",
    "Copy what ends in .{kind} from {folder} to the folder {target}",
    "Folder {target} gets copies of all .{kind} files in {folder}",
    "{target} must hold a twin of each .{kind} file of {folder}",
    page=Page("cp", "copy files of a kind", ("cp FOLDER/*.KIND OTHER",)),
)
def copy_kind(desk: Desk) -> Part:
    folder, kind, names, other = _pile(desk)
    target = desk.subfolder()
    files = {f"{folder}/{name}": content(desk.words(1)) for name in (*names, other)}
    return Part(
        fields={"folder": folder, "kind": kind, "target": target},
        acts=(f"cp {folder}/*.{kind} {target}",),
        files={**files, f"{target}/": ""},
        checks=(
            *(f"cmp -s {folder}/{name} {target}/{name}" for name in names),
            absent(f"{target}/{other}"),
        ),
        source=folder,
        looks=(f"ls {folder}", f"ls {folder} {target}"),
        verifies=(f"ls {target}",),
        slips=(f"cp {folder}/{names[0]} {target}",),
    )


@work(
    "rename-kind",
    "Rename all .{kind} files in {folder} to .{new}",
    "Give every .{kind} file of {folder} the ending .{new}",
    "The .{kind} files in {folder} must end in .{new}, rename them",
    "In {folder}, change the ending .{kind} to .{new} for all files",
    "Files of {folder} that end in .{kind} are to end in .{new}",
    "Each .{kind} name in {folder} must become a .{new} name",
    page=Page(
        "mv",
        "rename files of a kind",
        ('for f in FOLDER/*.KIND; do mv "$f" "${f%.KIND}.NEW"; done',),
    ),
)
def rename_kind(desk: Desk) -> Part:
    folder, kind, names, other = _pile(desk)
    new = desk.pick(("old", "text", "out", "data"))
    files = {f"{folder}/{name}": content(desk.words(1)) for name in (*names, other)}
    stems = [name.rpartition(".")[0] for name in names]
    return Part(
        fields={"folder": folder, "kind": kind, "new": new},
        acts=(f'for f in {folder}/*.{kind}; do mv "$f" "${{f%.{kind}}}.{new}"; done',),
        files=files,
        checks=(
            *(f"[ -f {folder}/{stem}.{new} ]" for stem in stems),
            *(absent(f"{folder}/{name}") for name in names),
        ),
        source=folder,
        looks=(f"ls {folder}",),
        verifies=(f"ls {folder}",),
        slips=(f"mv {folder}/{names[0]} {folder}/{stems[0]}.{new}",),
    )


@work(
    "list",
    "Write the names of the files in {folder} to {target}",
    "List the folder {folder} into the file {target}",
    "Which files are in {folder}? Put their names into {target}",
    "{target} gets a list of what is in {folder}",
    "Save a listing of {folder} as {target}",
    "{target} must name all files of {folder}",
    page=Page("ls", "list a folder", ("ls FOLDER > OUT",)),
)
def list_folder(desk: Desk) -> Part:
    folder, _, names, other = _pile(desk)
    target = desk.target()
    files = {f"{folder}/{name}": content(desk.words(1)) for name in (*names, other)}
    return Part(
        fields={"folder": folder, "target": target},
        acts=(f"ls {folder} > {target}",),
        files=files,
        checks=(holds(target, sorted((*names, other))),),
        source=folder,
        made=(target,),
        looks=(f"ls {folder}",),
        verifies=showing(target),
        slips=(f"ls > {target}",),
    )


@work(
    "count-files",
    "How many files are in {folder}? Write the number to {target}",
    "Count the files of the folder {folder} and put the number into {target}",
    "The number of files in {folder} belongs into {target}",
    "Find out how many files {folder} has, number in {target}",
    "Write to {target} how many files there are in {folder}",
    "{target} must hold the count of files of {folder}",
    page=Page("ls", "count files", ("ls FOLDER | wc -l > OUT",)),
)
def count_files(desk: Desk) -> Part:
    folder, target = desk.subfolder(), desk.target()
    names = [desk.names.file() for _ in range(desk.number(2, 5))]
    return Part(
        fields={"folder": folder, "target": target},
        acts=(f"ls {folder} | wc -l > {target}",),
        files={f"{folder}/{name}": "x\n" for name in names},
        checks=(holds(target, [str(len(names))]),),
        source=folder,
        made=(target,),
        looks=(f"ls {folder}",),
        verifies=(f"cat {target}",),
        slips=(f"ls {folder} > {target}",),
    )


ARCHETYPES = (
    copy,
    rename,
    move,
    delete,
    delete_folder,
    copy_folder,
    make_folder,
    create,
    delete_kind,
    move_kind,
    copy_kind,
    rename_kind,
    list_folder,
    count_files,
)
