"""Work on columns and on two files: take a field, sort by one, change separators, join files."""

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

_SIGNS = {",": "comma", ":": "colon", ";": "semicolon"}
_NTH = ("first", "second", "third")


def _table(desk: Desk, columns: int = 3) -> list[list[str]]:
    return [desk.words(columns) for _ in range(desk.number(3, 4))]


@work(
    "column",
    "Cut {source} at each {sign} and write field {n} to {target}",
    "A {sign} parts the fields of {source}, put the {nth} field into {target}",
    "Take column {n} of {source}, cut at each {sign}, into {target}",
    "The {nth} column of {source}, parted by a {sign}, belongs into {target}",
    "Of {source} with its {sign} between fields, save column {n} as {target}",
    "{target} must hold field {n} of each line of {source}, split at the {sign}",
    page=Page("cut", "take a column", ("cut -dSIGN -fNUMBER IN > OUT",)),
    can_lack=True,
)
def column(desk: Desk) -> Part:
    source, target = desk.path("csv"), desk.target()
    sign, name = desk.rng.choice([*_SIGNS.items()])
    rows = _table(desk)
    number = desk.number(1, 3)
    gap, out = None, [row[number - 1] for row in rows]
    nth = _NTH[number - 1]
    if desk.lacking:
        number, nth, out = 7, "seventh", []
        gap = Gap((f"cat {source}",), f"there is no column 7 in {source}")
    typed = f"'{sign}'" if sign == ";" else sign
    return Part(
        fields={"source": source, "target": target, "sign": name, "n": str(number), "nth": nth},
        acts=(f"cut -d{typed} -f{number} {source} > {target}",),
        files={source: content(sign.join(row) for row in rows)},
        checks=(holds(target, out),),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=showing(target),
        slips=(f"cut -d{typed} -f{number % 3 + 1} {source} > {target}",),
        gap=gap,
    )


@work(
    "word-column",
    "Write word {n} of each line of {source} to {target}",
    "Put the {nth} word of every line of {source} into {target}",
    "From each line of {source} take the {nth} word, result in {target}",
    "The {nth} words of the lines of {source} belong into {target}",
    "Blanks part the words of {source}: save word {n} of all lines as {target}",
    "{target} must list the {nth} word of each {source} line",
    page=Page("awk", "take a word of each line", ("awk '{print $NUMBER}' IN > OUT",)),
)
def word_column(desk: Desk) -> Part:
    source, target = desk.path(), desk.target()
    rows = _table(desk)
    number = desk.number(1, 3)
    return Part(
        fields={"source": source, "target": target, "n": str(number), "nth": _NTH[number - 1]},
        acts=(f"awk '{{print ${number}}}' {source} > {target}",),
        files={source: content(" ".join(row) for row in rows)},
        checks=(holds(target, [row[number - 1] for row in rows]),),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=showing(target),
        slips=(f"awk '{{print ${number % 3 + 1}}}' {source} > {target}",),
    )


@work(
    "sort-column",
    "Sort {source} by its {nth} field, cut at each {sign}, into {target}",
    "Put the lines of {source} in order of column {n}, parted by a {sign}, as {target}",
    "Order {source} by field {n} with a {sign} between fields, output in {target}",
    "The lines of {source} belong into {target}, sorted by column {n} at each {sign}",
    "Let column {n} of {source}, split at the {sign}, decide the order of {target}",
    "{target} must hold {source} ordered on field {n}, the {sign} parting fields",
    page=Page("sort", "sort by a column", ("sort -tSIGN -kNUMBER IN > OUT",)),
)
def sort_column(desk: Desk) -> Part:
    source, target = desk.path("csv"), desk.target()
    sign = desk.pick((",", ":"))
    rows = _table(desk)
    number = desk.number(2, 3)
    ordered = sorted(rows, key=lambda row: row[number - 1 :])
    return Part(
        fields={
            "source": source,
            "target": target,
            "sign": _SIGNS[sign],
            "n": str(number),
            "nth": _NTH[number - 1],
        },
        acts=(f"sort -t{sign} -k{number} {source} > {target}",),
        files={source: content(sign.join(row) for row in rows)},
        checks=(holds(target, [sign.join(row) for row in ordered]),),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=showing(target),
        slips=(f"sort {source} > {target}",),
    )


@work(
    "separator",
    "Change each {old} of {source} to a {new} and write that to {target}",
    "Write {source} to {target} with a {new} for each {old}",
    "In {target}, {source} must have a {new} where it has a {old}",
    "Turn every {old} in {source} into a {new}, output in {target}",
    "Save {source} as {target}, its {old} signs made {new} signs",
    "{target} must hold {source}, each {old} swapped for a {new}",
    page=Page("tr", "exchange signs", ("tr OLD NEW < IN > OUT",)),
)
def separator(desk: Desk) -> Part:
    source, target = desk.path("csv"), desk.target()
    signs = {",": "comma", ":": "colon", "+": "plus", "_": "underscore"}
    old, new = desk.rng.sample([*signs], 2)
    rows = [old.join(row) for row in _table(desk, 2)]
    return Part(
        fields={"source": source, "target": target, "old": signs[old], "new": signs[new]},
        acts=(f"tr {old} {new} < {source} > {target}",),
        files={source: content(rows)},
        checks=(holds(target, [row.replace(old, new) for row in rows]), holds(source, rows)),
        source=source,
        made=(target,),
        looks=reading(source),
        verifies=showing(target),
        slips=(f"tr {new} {old} < {source} > {target}",),
    )


@work(
    "merge",
    "Join {first} and {second} into {target}",
    "Write {first} and then {second} to {target}",
    "First {first}, then {second} belong into {target}",
    "Put {first} and {second} together, in this order, as {target}",
    "Merge {first} with {second} and save the whole as {target}",
    "{target} must hold {first} followed by {second}",
    page=Page("cat", "put files together", ("cat FIRST SECOND > OUT",)),
)
def merge(desk: Desk) -> Part:
    first, second, target = desk.path(), desk.path(), desk.target()
    upper, lower = desk.lines(2, 3), desk.lines(2, 3)
    return Part(
        fields={"first": first, "second": second, "target": target},
        acts=(f"cat {first} {second} > {target}",),
        files={first: content(upper), second: content(lower)},
        checks=(holds(target, (*upper, *lower)), holds(first, upper), holds(second, lower)),
        source=second,
        made=(target,),
        looks=(f"ls {first} {second}", f"cat {first}", f"wc -l {first} {second}"),
        verifies=showing(target),
        slips=(f"cat {first} > {target}", f"cat {second} {first} > {target}"),
    )


@work(
    "compare",
    "Are {first} and {second} equal? Write yes or no to {target}",
    "Compare {first} with {second}: {target} gets yes where they are the same, else no",
    "Put yes into {target} if {first} and {second} hold the same, and no if not",
    "Find out whether {first} equals {second} and write yes or no into {target}",
    "Does {second} hold what {first} holds? Answer yes or no in {target}",
    "{target} must say yes or no: is {first} identical to {second}",
    page=Page("cmp", "compare files", ("cmp -s FIRST SECOND && echo yes > OUT || echo no > OUT",)),
)
def compare(desk: Desk) -> Part:
    first, second, target = desk.path(), desk.path(), desk.target()
    rows = desk.lines(2, 3)
    same = desk.rng.random() < 0.5
    others = rows if same else [*rows[:-1], desk.word()]
    return Part(
        fields={"first": first, "second": second, "target": target},
        acts=(f"cmp -s {first} {second} && echo yes > {target} || echo no > {target}",),
        files={first: content(rows), second: content(others)},
        checks=(holds(target, ["yes" if same else "no"]),),
        source=second,
        made=(target,),
        looks=(f"ls {first} {second}", f"cat {first}"),
        verifies=(f"cat {target}",),
    )


@work(
    "common",
    "Write the lines that {first} and {second} share to {target}",
    "Which lines are in {first} and in {second}? Put them into {target}",
    "{target} gets the lines of {second} that {first} has too",
    "Find the lines common to {first} and {second}, result in {target}",
    "Lines in both {first} and {second} belong into {target}",
    "{target} must list what {second} has in common with {first}",
    page=Page("grep", "print common lines", ("grep -xFf FIRST SECOND > OUT",)),
)
def common(desk: Desk) -> Part:
    first, second, target = desk.path(), desk.path(), desk.target()
    rows, others = desk.words(3), desk.words(2)
    shared = [rows[0], rows[2]]
    mixed = [*others, *shared]
    desk.rng.shuffle(mixed)
    return Part(
        fields={"first": first, "second": second, "target": target},
        acts=(f"grep -xFf {first} {second} > {target}",),
        files={first: content(rows), second: content(mixed)},
        checks=(holds(target, [row for row in mixed if row in rows]),),
        source=second,
        made=(target,),
        looks=(f"cat {first} {second}", f"ls {first} {second}", f"wc -l {first} {second}"),
        verifies=showing(target),
        slips=(f"grep -vxFf {first} {second} > {target}",),
    )


ARCHETYPES = (column, word_column, sort_column, separator, merge, compare, common)
