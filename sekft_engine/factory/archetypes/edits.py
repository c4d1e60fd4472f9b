"""Edits of a file in its place, and texts that are written anew."""

from __future__ import annotations

from sekft_engine.factory.part import (
    Desk,
    Gap,
    Page,
    Part,
    content,
    holds,
    reading,
    showing,
    work,
)


@work(
    "append",
    "Add the line {word} to the end of {source}",
    "Append {word} to {source}",
    "The file {source} needs a last line {word}, add it",
    "Put {word} as a new line below the others in {source}",
    "Write the line {word} under what {source} holds",
    "{source} must gain a final line {word}",
    page=Page("echo", "add a line to a file", ("echo LINE >> FILE",)),
)
def append(desk: Desk) -> Part:
    source, rows, word = desk.path(), desk.lines(2, 4), desk.word()
    return Part(
        fields={"source": source, "word": word},
        acts=(f"echo {word} >> {source}",),
        files={source: content(rows)},
        checks=(holds(source, (*rows, word)),),
        source=source,
        looks=reading(source),
        verifies=(f"cat {source}", f"tail -n 1 {source}", f"tail {source}"),
    )


@work(
    "prepend",
    "Add the line {word} at the beginning of {source}",
    "Put {word} as a new first line into {source}",
    "The file {source} needs a first line {word}, add it",
    "Insert the line {word} above the others in {source}",
    "Write the line {word} on top of what {source} holds",
    "{source} must gain a leading line {word}",
    page=Page("sed", "add a first line", ("sed -i 1iLINE FILE",)),
)
def prepend(desk: Desk) -> Part:
    source, rows, word = desk.path(), desk.lines(2, 4), desk.word()
    return Part(
        fields={"source": source, "word": word},
        acts=(f"sed -i 1i{word} {source}",),
        files={source: content(rows)},
        checks=(holds(source, (word, *rows)),),
        source=source,
        looks=reading(source),
        verifies=(f"cat {source}", f"head -n 1 {source}", f"head {source}"),
    )


@work(
    "note",
    "Write the word {word} into a new file {target}",
    "Make the file {target} with the one line {word}",
    "A file {target} is needed that says {word}",
    "Create {target} with the text {word}",
    "Put the text {word} into {target}",
    "{target} is to be a file that reads {word}",
    page=Page("echo", "write a line", ("echo LINE > FILE",)),
)
def note(desk: Desk) -> Part:
    target, word = desk.target(), desk.word()
    if desk.rng.random() < 0.4:
        word = f"{word} {desk.word()}"
    return Part(
        fields={"target": target, "word": word},
        acts=(f"echo {word} > {target}",),
        files={},
        checks=(holds(target, [word]),),
        made=(target,),
        verifies=(f"cat {target}", f"wc -l {target}"),
    )


@work(
    "two-lines",
    "Make the file {target} with two lines: {one} and {two}",
    "Write {one} on the first line and {two} on the second line of a new file {target}",
    "A file {target} is needed with the line {one} and below it the line {two}",
    "Create {target}, first line {one}, second line {two}",
    "Put the lines {one} and {two}, in this order, into {target}",
    "{target} is to read {one}, and {two} on the next line",
    page=Page("printf", "write lines", ("printf '%s\\n' LINE LINE > FILE",)),
)
def two_lines(desk: Desk) -> Part:
    target = desk.target()
    one, two = desk.words(2)
    return Part(
        fields={"target": target, "one": one, "two": two},
        acts=(f"printf '%s\\n' {one} {two} > {target}",),
        files={},
        checks=(holds(target, [one, two]),),
        made=(target,),
        verifies=(f"cat {target}", f"cat {target}", f"wc -l {target}"),
        slips=(f"echo {one} {two} > {target}", f"echo {one} > {target}"),
    )


@work(
    "replace",
    "Replace {old} by {new} in {source}",
    "In {source}, change every {old} to {new}",
    "Each {old} in {source} must become {new}",
    "Write {new} instead of {old} throughout {source}",
    "Put {new} in the place of {old} within the file {source}",
    "{source} must say {new} where it says {old}",
    page=Page("sed", "replace a word in a file", ("sed -i s/OLD/NEW/g FILE",)),
    can_lack=True,
)
def replace(desk: Desk) -> Part:
    source = desk.path()
    old, new, *others = desk.words(5)
    rows = [f"{old} {others[0]}", others[1], f"{others[2]} {old}"]
    gap = None
    if desk.lacking:
        rows = others
        gap = Gap(
            desk.rng.choice(((f"grep {old} {source}",), (f"cat {source}",))),
            f"there is no {old} in {source}",
        )
    desk.rng.shuffle(rows)
    return Part(
        fields={"source": source, "old": old, "new": new},
        acts=(f"sed -i s/{old}/{new}/g {source}",),
        files={source: content(rows)},
        checks=(holds(source, [row.replace(old, new) for row in rows]),),
        source=source,
        looks=(f"grep {old} {source}", *reading(source)),
        verifies=(f"cat {source}", f"grep {new} {source}"),
        slips=(f"sed s/{old}/{new}/g {source}",),
        gap=gap,
    )


@work(
    "delete-line",
    "Delete line {n} of {source}",
    "Remove line number {n} from {source}",
    "Line {n} of {source} is wrong, take it out",
    "Take line {n} out of the file {source} and leave the others",
    "The file {source} must lose its line {n}",
    "{source} is to be left without line {n}",
    page=Page("sed", "delete a line of a file", ("sed -i NUMBERd FILE",)),
    can_lack=True,
)
def delete_line(desk: Desk) -> Part:
    source, rows = desk.path(), desk.lines(3, 5)
    number = desk.number(1, len(rows))
    gap = None
    if desk.lacking:
        number = len(rows) + desk.number(2, 9)
        gap = Gap((f"cat {source}",), f"there is no line {number} in {source}")
    return Part(
        fields={"source": source, "n": str(number)},
        acts=(f"sed -i {number}d {source}",),
        files={source: content(rows)},
        checks=(holds(source, [*rows[: number - 1], *rows[number:]]),),
        source=source,
        looks=reading(source),
        verifies=(f"cat {source}", f"wc -l {source}"),
        slips=(f"sed {number}d {source}",),
        gap=gap,
    )


@work(
    "delete-matching",
    "Delete the lines with {word} from {source}",
    "Remove every line of {source} that contains {word}",
    "Lines with {word} are not wanted in {source}, take them out",
    "Take all lines that mention {word} out of the file {source}",
    "The file {source} must lose its lines with {word}",
    "{source} is to be left without {word} lines",
    page=Page("sed", "delete lines with a word", ("sed -i /WORD/d FILE",)),
)
def delete_matching(desk: Desk) -> Part:
    source = desk.path()
    key, *others = desk.words(5)
    rows = [f"{key} {others[0]}", others[1], f"{others[2]} {key}", others[3]]
    desk.rng.shuffle(rows)
    return Part(
        fields={"source": source, "word": key},
        acts=(f"sed -i /{key}/d {source}",),
        files={source: content(rows)},
        checks=(holds(source, [row for row in rows if key not in row]),),
        source=source,
        looks=(f"grep {key} {source}", *reading(source)),
        verifies=(f"cat {source}", f"grep {key} {source}", f"wc -l {source}"),
        slips=(f"grep -v {key} {source}",),
    )


@work(
    "fill",
    "Fill {source} in: write {value} for @{field}@, result in {target}",
    "Make {target} from the form {source} with {value} in the place of @{field}@",
    "The template {source} has a place @{field}@. Put {value} there, output in {target}",
    "Write the template {source} to {target} with @{field}@ replaced by {value}",
    "{source} is a form: its @{field}@ must read {value} in {target}",
    "{target} must be {source} with {value} for the blank @{field}@",
    page=Page("sed", "fill in a form", ("sed s/@FIELD@/VALUE/ FORM > OUT",)),
)
def fill(desk: Desk) -> Part:
    source, target = desk.path("tmpl"), desk.target()
    field = desk.word().upper()
    value, *others = desk.words(4)
    rows = [f"{others[0]} {others[1]}", f"{others[2]}: @{field}@"]
    return Part(
        fields={"source": source, "target": target, "field": field, "value": value},
        acts=(f"sed s/@{field}@/{value}/ {source} > {target}",),
        files={source: content(rows)},
        checks=(
            holds(target, [row.replace(f"@{field}@", value) for row in rows]),
            holds(source, rows),
        ),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=showing(target),
    )


@work(
    "raise",
    "{source} holds a number, make it one higher",
    "Raise the number in {source} by one",
    "Add one to the number that {source} holds",
    "The counter {source} must go up by one",
    "Count {source} up by one",
    "One more is to be noted in the counter {source}",
    page=Page("echo", "add one to a number", ("echo $(($(cat FILE) + 1)) > FILE",)),
)
def raise_number(desk: Desk) -> Part:
    source, number = desk.path(), desk.number(2, 98)
    return Part(
        fields={"source": source},
        acts=(f"echo $(($(cat {source}) + 1)) > {source}",),
        files={source: f"{number}\n"},
        checks=(holds(source, [str(number + 1)]),),
        source=source,
        looks=(f"cat {source}",),
        verifies=(f"cat {source}",),
    )


@work(
    "zeros",
    "Make a file {target} of {size} zero bytes",
    "Fill a new file {target} with {size} bytes of zero",
    "A file {target} of the size {size} is needed, all zeros",
    "Create {target} with {size} zero bytes in it",
    "Put {size} bytes, each of them zero, into {target}",
    "{target} is to consist of {size} zero bytes",
    page=Page("head", "make a file of zeros", ("head -c SIZE /dev/zero > FILE",)),
    can_lack=True,
)
def zeros(desk: Desk) -> Part:
    target, size = desk.target("bin"), str(desk.number(10, 900))
    act = f"head -c {size} /dev/zero > {target}"
    gap = None
    if desk.lacking:
        size = f"{desk.number(20, 90)}M"
        act = f"head -c {size} /dev/zero > {target}"
        gap = Gap((act,), f"{target} is too large")
    return Part(
        fields={"target": target, "size": size},
        acts=(act,),
        files={},
        checks=(f'[ "$(wc -c < {target})" -eq {size} ]',),
        made=() if gap else (target,),
        verifies=(f"wc -c {target}", f"stat -c %s {target}"),
        gap=gap,
    )


ARCHETYPES = (
    append,
    prepend,
    note,
    two_lines,
    replace,
    delete_line,
    delete_matching,
    fill,
    raise_number,
    zeros,
)
