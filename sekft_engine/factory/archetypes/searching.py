"""Search in trees and logs, archives, scripts and their repair, and names that need quotes."""

from __future__ import annotations

from sekft_engine.factory.part import (
    Desk,
    Page,
    Part,
    absent,
    content,
    holds,
    quoted,
    reading,
    showing,
    work,
)


@work(
    "find",
    "Somewhere in {folder} is a file {name}. Write its path to {target}",
    "Find the file {name} below {folder} and put its path into {target}",
    "In which place below {folder} is {name}? Save the path as {target}",
    "The path of {name}, which is somewhere in {folder}, belongs into {target}",
    "Search {folder} for the file {name} and note its path in {target}",
    "{target} must hold where {name} lies within {folder}",
    page=Page("find", "find a file by name", ("find FOLDER -name NAME > OUT",)),
)
def find(desk: Desk) -> Part:
    folder, name, target = desk.subfolder(), desk.names.file(), desk.target()
    places = [desk.names.folder() for _ in range(2)]
    inner = desk.pick(places)
    files = {f"{folder}/{place}/{desk.names.file()}": content(desk.words(1)) for place in places}
    path = f"{folder}/{inner}/{name}"
    return Part(
        fields={"folder": folder, "name": name, "target": target},
        acts=(f"find {folder} -name {name} > {target}",),
        files={**files, path: content(desk.words(1))},
        checks=(holds(target, [path]),),
        source=folder,
        made=(target,),
        looks=(f"ls {folder}",),
        verifies=(f"cat {target}",),
        slips=(f"ls {folder} > {target}",),
    )


@work(
    "which-file",
    "Which files in {folder} contain {word}? Write their names to {target}",
    "Find the files of {folder} with the word {word} and put their names into {target}",
    "{target} gets the names of the files below {folder} that mention {word}",
    "List the files in {folder} in which {word} stands, in {target}",
    "Search the files of {folder} for {word} and save the names as {target}",
    "{target} must name each file of {folder} that has {word} in it",
    page=Page("grep", "name the files with a word", ("grep -l WORD FOLDER/* > OUT",)),
)
def which_file(desk: Desk) -> Part:
    folder, target, key = desk.subfolder(), desk.target(), desk.word()
    names = sorted(f"{folder}/{desk.names.file()}" for _ in range(3))
    hits = sorted(desk.rng.sample(names, desk.number(1, 2)))
    files = {name: content([desk.word(), key] if name in hits else desk.words(2)) for name in names}
    return Part(
        fields={"folder": folder, "word": key, "target": target},
        acts=(f"grep -l {key} {folder}/* > {target}",),
        files=files,
        checks=(holds(target, hits),),
        source=folder,
        made=(target,),
        looks=(f"ls {folder}", f"grep {key} {folder}/*"),
        verifies=(f"cat {target}",),
        slips=(f"grep {key} {folder}/* > {target}",),
    )


_LEVELS = ("ERROR", "WARN", "INFO", "DEBUG")


def _log(desk: Desk) -> tuple[list[str], str]:
    """The lines of a log, and a level that some of them have."""
    level, other = desk.rng.sample(_LEVELS, 2)
    levels = [level, other, level, other]
    desk.rng.shuffle(levels)
    hour = desk.number(10, 22)
    return [
        f"{hour}:{desk.number(10, 59)} {each} {word}"
        for each, word in zip(levels, desk.words(4), strict=True)
    ], level


@work(
    "count-level",
    "How many {level} lines has the log {source}? Write the number to {target}",
    "Count the {level} messages in {source} and put the number into {target}",
    "The number of {level} entries of {source} belongs into {target}",
    "Find out how often {source} says {level}, number in {target}",
    "Write to {target} how many {level} lines the log {source} holds",
    "{target} must hold the count of {level} records in {source}",
    page=Page("grep", "count lines with a word", ("grep -c WORD IN > OUT",)),
)
def count_level(desk: Desk) -> Part:
    source, target = desk.path("log"), desk.target()
    rows, level = _log(desk)
    return Part(
        fields={"source": source, "target": target, "level": level},
        acts=(f"grep -c {level} {source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, [str(sum(level in row for row in rows))]),),
        source=source,
        made=(target,),
        looks=(f"cat {source}", f"grep {level} {source}", f"wc -l {source}"),
        verifies=(f"cat {target}",),
        slips=(f"grep {level} {source} > {target}",),
    )


@work(
    "last-level",
    "Write the last {level} line of the log {source} to {target}",
    "Which {level} message came last in {source}? Put that line into {target}",
    "Find the newest {level} line of {source}, at its end, and save it as {target}",
    "The final {level} entry of {source} belongs into {target}",
    "Of all {level} lines in {source}, only the last one goes to {target}",
    "{target} must hold the most recent {level} record of {source}",
    page=Page("grep", "print the last line with a word", ("grep WORD IN | tail -n 1 > OUT",)),
)
def last_level(desk: Desk) -> Part:
    source, target = desk.path("log"), desk.target()
    rows, level = _log(desk)
    return Part(
        fields={"source": source, "target": target, "level": level},
        acts=(f"grep {level} {source} | tail -n 1 > {target}",),
        files={source: content(rows)},
        checks=(holds(target, [[row for row in rows if level in row][-1]]),),
        source=source,
        made=(target,),
        looks=(f"cat {source}", f"grep {level} {source}"),
        verifies=(f"cat {target}",),
        slips=(f"grep {level} {source} > {target}", f"tail -n 1 {source} > {target}"),
    )


@work(
    "pack",
    "Pack the folder {folder} into the archive {target}",
    "Make a tar archive {target} of the folder {folder}",
    "The folder {folder} belongs into a tar file {target}",
    "Put {folder} with its files into the archive {target}",
    "Archive the folder {folder} as {target}",
    "{target} must be a tar file of the directory {folder}",
    page=Page("tar", "pack a folder", ("tar -cf ARCHIVE FOLDER",)),
)
def pack(desk: Desk) -> Part:
    folder, target = desk.subfolder(), desk.target("tar")
    names = sorted(desk.names.file() for _ in range(2))
    return Part(
        fields={"folder": folder, "target": target},
        acts=(f"tar -cf {target} {folder}",),
        files={f"{folder}/{name}": content(desk.words(1)) for name in names},
        checks=tuple(f"tar -tf {target} | grep -q {name}" for name in names),
        source=folder,
        made=(target,),
        looks=(f"ls {folder}",),
        verifies=(f"tar -tf {target}", f"ls {target}"),
    )


@work(
    "run-script",
    "Run the script {script} with {word} and keep its output in {target}",
    "Start {script} with the argument {word}, output into {target}",
    "Save what the script {script} prints for {word} as {target}",
    "The output of {script} with the argument {word} belongs into {target}",
    "Let sh run {script} with {word} and store what it says in {target}",
    "{target} must hold what {script} answers to {word}",
    page=Page("sh", "run a script", ("sh SCRIPT ARGUMENT > OUT",)),
)
def run_script(desk: Desk) -> Part:
    script, target, word = desk.path("sh"), desk.target(), desk.word()
    first, last = desk.words(2)
    return Part(
        fields={"script": script, "word": word, "target": target},
        acts=(f"sh {script} {word} > {target}",),
        files={script: f"echo {first} $1 {last}\n"},
        checks=(holds(target, [f"{first} {word} {last}"]),),
        source=script,
        made=(target,),
        looks=(f"cat {script}", f"ls {script}"),
        verifies=(f"cat {target}",),
        slips=(f"sh {script} > {target}",),
    )


@work(
    "write-script",
    "Make a script {target} that prints {word} when it is run",
    "Write a small sh script {target}: it must print {word}",
    "A script {target} is needed that echoes {word}",
    "Create the script {target} whose only command prints {word}",
    "Put a command that prints {word} into the new script {target}",
    "{target} is to be a script that says {word}",
    page=Page("echo", "write a script of one line", ("echo 'echo WORD' > SCRIPT",)),
)
def write_script(desk: Desk) -> Part:
    target, word = desk.target("sh"), desk.word()
    return Part(
        fields={"target": target, "word": word},
        acts=(f"echo 'echo {word}' > {target}",),
        files={},
        checks=(f'[ "$(sh {target})" = {word} ]',),
        made=(target,),
        verifies=(f"sh {target}", f"cat {target}"),
        slips=(f"echo {word} > {target}",),
    )


@work(
    "repair-script",
    "The script {script} fails. Find out why, repair that and run it",
    "Run {script}; if something that it needs is missing, make that and run it again",
    "{script} does not work. Run it, do what its error asks for, then run it again",
    "Make {script} run: look at its error and remove the cause",
    "Something stops {script} from working, mend it and let it run",
    "{script} breaks off with an error, get it to finish",
)
def repair_script(desk: Desk) -> Part:
    script, folder, word = desk.path("sh"), desk.subfolder(), desk.word()
    name = desk.names.file()
    acts: tuple[str, ...]
    if desk.rng.random() < 0.5:
        acts = (f"sh {script}", f"mkdir {folder}", f"sh {script}")
        text = f"echo {word} > {folder}/{name}\n"
        made = f"{folder}/{name}"
        files = {script: text}
    else:
        source = desk.path()
        made = desk.path()
        acts = (f"sh {script}", f"cat {script}", f"touch {source}", f"sh {script}")
        files = {script: f"cat {source} && echo {word} > {made}\n"}
    return Part(
        fields={"script": script},
        acts=acts,
        files=files,
        checks=(holds(made, [word]),),
        source=script,
        made=(made,),
        looks=(f"cat {script}",),
        verifies=(f"cat {made}",),
    )


@work(
    "spaced-copy",
    "Copy the file {shown} to {target}",
    "{shown} has a space in its name. Copy it to {target}",
    "Make a copy of {shown} and call it {target}",
    "The file {shown} is needed as {target} too, copy it",
    "Put a copy of {shown} at {target}",
    "{target} must become a twin of the file {shown}",
    page=Page("cp", "copy a file; quote names with spaces", ("cp 'FROM' TO",)),
)
def spaced_copy(desk: Desk) -> Part:
    source = f"{desk.folder}{desk.word()} {desk.names.file()}"
    target, rows = desk.target(), desk.lines(1, 3)
    typed = quoted(source)
    return Part(
        fields={"shown": f'"{source}"', "target": target},
        acts=(f"cp {typed} {target}",),
        files={source: content(rows)},
        checks=(holds(target, rows), holds(source, rows)),
        source=source,
        made=(target,),
        looks=(f"cat {typed}", f"ls {typed}"),
        verifies=(f"cmp {typed} {target}", f"cat {target}"),
        fails=(f"cp {source} {target}",),
    )


@work(
    "spaced-delete",
    "Delete the file {shown}, its name has a space",
    "Remove {shown}",
    "The file {shown} is not needed, delete it",
    "Get rid of the file {shown}",
    "The file {shown} must go",
    "{shown} is to disappear",
    page=Page("rm", "delete a file; quote names with spaces", ("rm 'FILE'",)),
)
def spaced_delete(desk: Desk) -> Part:
    source, keep = f"{desk.folder}{desk.word()} {desk.names.file()}", desk.path()
    typed = quoted(source)
    return Part(
        fields={"shown": f'"{source}"'},
        acts=(f"rm {typed}",),
        files={source: content(desk.words(1)), keep: content(desk.words(1))},
        checks=(absent(source), f"[ -f {keep} ]"),
        source=source,
        looks=("ls", f"ls {typed}"),
        verifies=("ls",),
        fails=(f"rm {source}",),
    )


@work(
    "spaced-note",
    "Make the file {shown} that says {word}",
    "Write {word} into a new file {shown}",
    "A file {shown} is needed with the one line {word}",
    "Create {shown}, with a space in its name, and the text {word}",
    "Put the line {word} into a new file called {shown}",
    "{shown} is to be a file that reads {word}",
    page=Page("echo", "write a line; quote names with spaces", ("echo LINE > 'FILE'",)),
)
def spaced_note(desk: Desk) -> Part:
    target, word = f"{desk.folder}{desk.word()} {desk.names.file()}", desk.word()
    typed = quoted(target)
    return Part(
        fields={"shown": f'"{target}"', "word": word},
        acts=(f"echo {word} > {typed}",),
        files={},
        checks=(holds(target, [word]),),
        made=(target,),
        verifies=(f"cat {typed}", "ls"),
    )


@work(
    "dollar-note",
    "Write the text ${word} with its dollar sign into {target}",
    "Put ${word}, dollar sign and all, into a new file {target}",
    "Make a file {target} that says ${word} exactly, with the $",
    "The text ${word} belongs into {target}, its $ must not be lost",
    "Note ${word} literally in {target}",
    "{target} is to read ${word}, the dollar sign included",
    page=Page("echo", "write text as it stands", ("echo 'TEXT' > FILE",)),
)
def dollar_note(desk: Desk) -> Part:
    target, word = desk.target(), desk.word().upper()
    return Part(
        fields={"target": target, "word": word},
        acts=(f"echo '${word}' > {target}",),
        files={},
        checks=(holds(target, [f"${word}"]),),
        made=(target,),
        verifies=showing(target),
        slips=(f"echo ${word} > {target}",),
    )


@work(
    "total",
    "Add up the numbers in {source} and write the sum to {target}",
    "What is the sum of the numbers of {source}? Put it into {target}",
    "The total of all numbers in {source} belongs into {target}",
    "Sum {source} up and save the total as {target}",
    "Write to {target} what the numbers of {source} make together",
    "{target} must hold the sum over {source}",
    page=Page("awk", "add numbers up", ("awk '{s+=$1} END {print s}' IN > OUT",)),
)
def total(desk: Desk) -> Part:
    source, target = desk.path(), desk.target()
    numbers = [desk.number(1, 99) for _ in range(desk.number(3, 5))]
    return Part(
        fields={"source": source, "target": target},
        acts=(f"awk '{{s+=$1}} END {{print s}}' {source} > {target}",),
        files={source: content(map(str, numbers))},
        checks=(holds(target, [str(sum(numbers))]),),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=(f"cat {target}",),
        slips=(f"wc -l < {source} > {target}",),
    )


ARCHETYPES = (
    find,
    which_file,
    count_level,
    last_level,
    pack,
    run_script,
    write_script,
    repair_script,
    spaced_copy,
    spaced_delete,
    spaced_note,
    dollar_note,
    total,
)
