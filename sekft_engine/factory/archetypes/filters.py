"""Work on the lines of a file, from one file into another: each by itself, and two in a pipeline.

A filter is what one stage of a pipeline does: a command, and the lines that come out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import msgspec

from sekft_engine.factory.part import (
    Archetype,
    Desk,
    Gap,
    Page,
    Part,
    content,
    holds,
    reading,
    showing,
)


class Stage(msgspec.Struct, frozen=True):
    """What a filter does with given lines.

    Attributes:
        command: without its input and output.
        out: the lines that come out.
        fields: values for the wordings.
        slip: a command that a beginner might type instead; empty = none.
        lacks: why it is impossible with these lines; empty = it is possible.
    """

    command: str
    out: list[str]
    fields: dict[str, str] = {}
    slip: str = ""
    lacks: str = ""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter: its stage, whole directives, and phrases for it in a pipeline.

    Attributes:
        name: of the archetype.
        stage: what it does with lines.
        rows: fixtures; None = plain lines.
        say: directives with ``{source}`` and ``{target}``.
        clause: imperative phrases about "the lines", for pipelines; empty = it is in none.
        stdin: the program reads its standard input only.
        page: of its program.
        can_lack: whether its input may lack what is asked for.
    """

    name: str
    stage: Callable[[Desk, list[str]], Stage]
    say: tuple[str, ...]
    clause: tuple[str, ...] = ()
    rows: Callable[[Desk], list[str]] | None = None
    stdin: bool = False
    page: Page | None = None
    can_lack: bool = False

    def archetype(self) -> Archetype:
        return Archetype(
            name=self.name,
            make=self._part,
            wordings=self.say,
            page=self.page,
            can_lack=self.can_lack,
        )

    def _part(self, desk: Desk) -> Part:
        rows = (self.rows or _plain)(desk)
        stage = self.stage(desk, rows)
        source, target = desk.path(), desk.target()
        begin = "< " if self.stdin else ""
        slips = [f"cat {source} > {target}"] if stage.out != rows else []
        if stage.slip:
            slips.append(f"{stage.slip} {begin}{source} > {target}")
        gap = Gap((f"cat {source}",), f"{stage.lacks} in {source}") if stage.lacks else None
        return Part(
            fields={"source": source, "target": target, **stage.fields},
            acts=(f"{stage.command} {begin}{source} > {target}",),
            files={source: content(rows)},
            checks=(holds(target, stage.out), holds(source, rows)),
            source=source,
            made=(target,),
            looks=reading(source),
            verifies=showing(target),
            slips=tuple(slips),
            gap=gap,
        )


def chain(first: Filter, second: Filter) -> Archetype:
    """Two filters in one pipeline, described in one sentence."""

    def make(desk: Desk) -> Part:
        rows = (first.rows or _plain)(desk)
        one = first.stage(desk, rows)
        two = second.stage(desk, one.out)
        source, target = desk.path(), desk.target()
        clauses = [
            desk.say(each.clause).format(**stage.fields)
            for each, stage in ((first, one), (second, two))
        ]
        begin = "< " if first.stdin else ""
        text = desk.say(_CHAINS).format(
            source=source, target=target, one=clauses[0], two=clauses[1]
        )
        slips = [f"{one.command} {begin}{source} > {target}"] if one.out != two.out else []
        return Part(
            fields={},
            acts=(f"{one.command} {begin}{source} | {two.command} > {target}",),
            files={source: content(rows)},
            checks=(holds(target, two.out), holds(source, rows)),
            source=source,
            made=(target,),
            looks=reading(source),
            verifies=showing(target),
            slips=tuple(slips),
            text=text,
        )

    return Archetype(name=f"{first.name}+{second.name}", make=make)


_CHAINS = (
    "Of {source}, {one}, then {two}; the result belongs into {target}",
    "Take {source}, {one}, {two}, and write that to {target}",
    "From {source} make {target}: {one}, then {two}",
    "{target} is made from {source}: first {one}, then {two}",
    "With the text of {source}, {one} and after that {two}; save it as {target}",
    "Read {source}, {one}; next {two}. Result in {target}",
    "Two steps for {source}: {one}, and {two}. Keep the outcome as {target}",
    "Produce {target} out of {source}. Step one: {one}. Step two: {two}",
)


def _plain(desk: Desk) -> list[str]:
    return desk.lines()


def _sort(_: Desk, rows: list[str]) -> Stage:
    return Stage("sort", sorted(rows), slip="sort -r")


def _sort_reverse(_: Desk, rows: list[str]) -> Stage:
    return Stage("sort -r", sorted(rows, reverse=True), slip="sort")


def _numbers(desk: Desk) -> list[str]:
    count = desk.number(4, 6)
    return [str(number) for number in desk.rng.sample(range(2, 400), count)]


def _sort_numbers(_: Desk, rows: list[str]) -> Stage:
    return Stage("sort -n", sorted(rows, key=int), slip="sort")


def _repeated(desk: Desk) -> list[str]:
    rows = desk.words(desk.number(3, 4))
    rows += desk.rng.sample(rows, 2)
    desk.rng.shuffle(rows)
    return rows


def _unique(_: Desk, rows: list[str]) -> Stage:
    return Stage("sort -u", sorted(set(rows)), slip="sort")


def _head(desk: Desk, rows: list[str]) -> Stage:
    number = desk.number(1, max(1, min(4, len(rows) - 1)))
    return Stage(f"head -n {number}", rows[:number], {"n": str(number)}, f"tail -n {number}")


def _tail(desk: Desk, rows: list[str]) -> Stage:
    number = desk.number(1, max(1, min(4, len(rows) - 1)))
    return Stage(f"tail -n {number}", rows[-number:], {"n": str(number)}, f"head -n {number}")


def _nth(desk: Desk, rows: list[str]) -> Stage:
    if desk.lacking:
        number = len(rows) + desk.number(2, 9)
        return Stage(
            f"sed -n {number}p", [], {"n": str(number)}, lacks=f"there is no line {number}"
        )
    number = desk.number(1, len(rows))
    return Stage(f"sed -n {number}p", [rows[number - 1]], {"n": str(number)}, f"head -n {number}")


def _mixed(desk: Desk) -> list[str]:
    """Lines of two words, of which one word is in two lines and not in the others."""
    key, *others = desk.words(6)
    rows = [f"{key} {others[0]}", f"{others[1]} {others[2]}", f"{others[3]} {key}", others[4]]
    desk.rng.shuffle(rows)
    return rows


def _key(desk: Desk, rows: list[str]) -> str:
    """A word of ``rows``, if possible one that is not in all of them."""
    words = [word for row in rows for word in row.split() if word.isalpha()]
    some = [word for word in words if words.count(word) > 1 and not all(word in r for r in rows)]
    return desk.pick(sorted(set(some or words)))


def _with(desk: Desk, rows: list[str]) -> Stage:
    if desk.lacking:
        key = desk.word()
        return Stage(f"grep {key}", [], {"word": key}, lacks=f"there is no {key}")
    key = _key(desk, rows)
    return Stage(f"grep {key}", [r for r in rows if key in r], {"word": key}, f"grep -v {key}")


def _without(desk: Desk, rows: list[str]) -> Stage:
    key = _key(desk, rows)
    return Stage(f"grep -v {key}", [r for r in rows if key not in r], {"word": key}, f"grep {key}")


def _count(_: Desk, rows: list[str]) -> Stage:
    return Stage("wc -l", [str(len(rows))], slip="wc -w")


def _count_words(_: Desk, rows: list[str]) -> Stage:
    return Stage("wc -w", [str(sum(len(row.split()) for row in rows))], slip="wc -c")


def _count_with(desk: Desk, rows: list[str]) -> Stage:
    key = _key(desk, rows)
    out = str(sum(key in row for row in rows))
    return Stage(f"grep -c {key}", [out], {"word": key}, f"grep {key}")


def _upper(_: Desk, rows: list[str]) -> Stage:
    return Stage("tr a-z A-Z", [row.upper() for row in rows], slip="tr A-Z a-z")


def _shouting(desk: Desk) -> list[str]:
    return [row.upper() for row in desk.lines()]


def _lower(_: Desk, rows: list[str]) -> Stage:
    return Stage("tr A-Z a-z", [row.lower() for row in rows], slip="tr a-z A-Z")


def _reverse(_: Desk, rows: list[str]) -> Stage:
    return Stage("tac", rows[::-1], slip="sort -r")


def _number(_: Desk, rows: list[str]) -> Stage:
    return Stage("cat -n", [f"{at:6}\t{row}" for at, row in enumerate(rows, 1)])


def _begin(desk: Desk, rows: list[str]) -> Stage:
    word = desk.word()
    return Stage(
        f"sed s/^/{word}/", [word + row for row in rows], {"word": word}, f"sed s/$/{word}/"
    )


def _end(desk: Desk, rows: list[str]) -> Stage:
    word = desk.word()
    return Stage(
        f"sed s/$/{word}/", [row + word for row in rows], {"word": word}, f"sed s/^/{word}/"
    )


def _exchange(desk: Desk, rows: list[str]) -> Stage:
    old, new = _key(desk, rows), desk.word()
    out = [row.replace(old, new) for row in rows]
    return Stage(f"sed s/{old}/{new}/g", out, {"old": old, "new": new}, f"sed s/{new}/{old}/g")


def _join(desk: Desk, rows: list[str]) -> Stage:
    sign, name = desk.rng.choice(((",", "commas"), (":", "colons"), ("+", "plus signs")))
    return Stage(f"paste -s -d{sign}", [sign.join(rows)], {"name": name})


def _few(desk: Desk) -> list[str]:
    """So few that their base64 form is one line."""
    return desk.words(desk.number(2, 3))


def _encode(_: Desk, rows: list[str]) -> Stage:
    return Stage("base64", [base64.b64encode(content(rows).encode()).decode()])


def _drop_letter(desk: Desk, rows: list[str]) -> Stage:
    letter = desk.pick(sorted({char for row in rows for char in row if char.isalpha()} or {"a"}))
    return Stage(f"tr -d {letter}", [row.replace(letter, "") for row in rows], {"letter": letter})


FILTERS: tuple[Filter, ...] = (
    Filter(
        name="sort",
        stage=_sort,
        say=(
            "Sort the lines of {source} into {target}",
            "Write {source} to {target} in sorted order",
            "The lines of {source} belong into {target}, sorted from a to z",
            "Put the lines of {source} in order and save them as {target}",
            "Bring {source} into alphabetical order, result in {target}",
            "{target} must hold the lines of {source} ordered by the alphabet",
        ),
        clause=("sort the lines", "sort them from a to z", "put the lines in order", "order them"),
        page=Page("sort", "sort lines", ("sort IN > OUT",)),
    ),
    Filter(
        name="sort-reverse",
        stage=_sort_reverse,
        say=(
            "Sort {source} in reverse order into {target}",
            "Sort the lines of {source} from z to a and write them to {target}",
            "The lines of {source} belong into {target}, sorted backwards from z to a",
            "Reverse sort {source} and save it as {target}",
            "Put {source} in order from z down to a, output in {target}",
            "{target} must hold {source} in descending order",
        ),
        clause=(
            "sort the lines in reverse order",
            "sort them from z to a",
            "reverse sort them",
            "sort in descending order",
        ),
        page=Page("sort", "sort lines", ("sort -r IN > OUT",)),
    ),
    Filter(
        name="sort-numbers",
        stage=_sort_numbers,
        rows=_numbers,
        say=(
            "Sort the numbers of {source} by size into {target}",
            "Write the numbers in {source} to {target}, smallest first",
            "The numbers of {source} belong into {target} in numeric order",
            "Order {source} by its numbers and save it as {target}",
            "Put the smallest number of {source} first and the largest last, in {target}",
            "{target} must list the numbers of {source} in rising order",
        ),
        page=Page("sort", "sort numbers", ("sort -n IN > OUT",)),
    ),
    Filter(
        name="unique",
        stage=_unique,
        rows=_repeated,
        say=(
            "Write each line of {source} once and sorted into {target}",
            "Sort {source} into {target} without repeated lines",
            "The sorted lines of {source} belong into {target}, no line twice",
            "Drop the double lines of {source}, sort the rest and save it as {target}",
            "Sort {source} and keep one of each line, result in {target}",
            "{target} must hold the distinct lines of {source} in order",
        ),
        clause=(
            "sort the lines and drop double ones",
            "sort them with no line twice",
            "keep each line once, sorted",
            "sort them without duplicates",
        ),
        page=Page("sort", "sort lines, each once", ("sort -u IN > OUT",)),
    ),
    Filter(
        name="head",
        stage=_head,
        say=(
            "Put the first {n} lines of {source} into {target}",
            "Save the first {n} lines of {source} as {target}",
            "From {source}, only the first {n} lines belong into {target}",
            "Take the first {n} lines of {source} and write them to {target}",
            "The beginning of {source}, {n} lines of it, goes to {target}",
            "{target} must hold the top {n} lines of {source}",
        ),
        clause=(
            "keep the first {n} lines",
            "take the first {n} of them",
            "keep only {n} lines from the beginning",
            "leave the top {n} lines",
        ),
        page=Page("head", "print the first lines", ("head -n COUNT IN > OUT",)),
    ),
    Filter(
        name="tail",
        stage=_tail,
        say=(
            "Put the last {n} lines of {source} into {target}",
            "Save the last {n} lines of {source} as {target}",
            "From {source}, only the last {n} lines belong into {target}",
            "Take the last {n} lines of {source} and write them to {target}",
            "The end of {source}, {n} lines of it, goes to {target}",
            "{target} must hold the bottom {n} lines of {source}",
        ),
        clause=(
            "keep the last {n} lines",
            "take the last {n} of them",
            "keep only {n} lines from the end",
            "leave the bottom {n} lines",
        ),
        page=Page("tail", "print the last lines", ("tail -n COUNT IN > OUT",)),
    ),
    Filter(
        name="line",
        stage=_nth,
        can_lack=True,
        say=(
            "Write line {n} of {source} to {target}",
            "Put only line number {n} of {source} into {target}",
            "Take line {n} out of {source} and save it as {target}",
            "Line {n} of {source} belongs into {target}",
            "Of {source}, {target} gets line {n} and no other",
            "{target} must hold just line {n} of {source}",
        ),
        page=Page("sed", "print one line", ("sed -n NUMBERp IN > OUT",)),
    ),
    Filter(
        name="grep",
        stage=_with,
        rows=_mixed,
        can_lack=True,
        say=(
            "Copy the lines with {word} from {source} to {target}",
            "Find the lines of {source} that contain {word} and put them into {target}",
            "Of {source}, only the lines that mention {word} belong into {target}",
            "Search {source} for {word} and save the lines in {target}",
            "Every line of {source} in which {word} stands goes to {target}",
            "{target} must hold the {word} lines of {source}",
        ),
        clause=(
            "keep the lines with {word}",
            "take the lines that contain {word}",
            "keep only lines that mention {word}",
            "select the {word} lines",
        ),
        page=Page("grep", "print lines with a word", ("grep WORD IN > OUT",)),
    ),
    Filter(
        name="grep-not",
        stage=_without,
        rows=_mixed,
        say=(
            "Copy the lines without {word} from {source} to {target}",
            "Find the lines of {source} that do not contain {word} and put them into {target}",
            "Of {source}, all lines except those with {word} belong into {target}",
            "Write {source} to {target} but leave out every line with {word}",
            "Lines of {source} with {word} are not wanted, the others go to {target}",
            "{target} must hold {source} less its {word} lines",
        ),
        clause=(
            "drop the lines with {word}",
            "leave out lines that contain {word}",
            "keep the lines without {word}",
            "discard the {word} lines",
        ),
        page=Page("grep", "print lines without a word", ("grep -v WORD IN > OUT",)),
    ),
    Filter(
        name="count",
        stage=_count,
        stdin=True,
        say=(
            "Count the lines of {source} and put the number into {target}",
            "How many lines has {source}? Write the number to {target}",
            "Write the number of lines in {source} to {target}",
            "The line count of {source} belongs into {target}",
            "Find out how many lines {source} has and save that as {target}",
            "{target} must hold how many lines there are in {source}",
        ),
        clause=("count the lines", "count them", "count what is left", "give their number"),
        page=Page("wc", "count lines", ("wc -l < IN > OUT",)),
    ),
    Filter(
        name="count-words",
        stage=_count_words,
        stdin=True,
        say=(
            "Count the words of {source} and put the number into {target}",
            "How many words has {source}? Write the number to {target}",
            "Write the number of words in {source} to {target}",
            "The word count of {source} belongs into {target}",
            "Find out how many words {source} has and save that as {target}",
            "{target} must hold how many words there are in {source}",
        ),
        clause=("count the words", "count all words", "count the words in them", "tally the words"),
        page=Page("wc", "count words", ("wc -w < IN > OUT",)),
    ),
    Filter(
        name="count-with",
        stage=_count_with,
        rows=_mixed,
        say=(
            "How many lines of {source} contain {word}? Write the number to {target}",
            "Count the lines with {word} in {source} and put the number into {target}",
            "Write to {target} in how many lines of {source} the word {word} stands",
            "The number of lines with {word} in {source} belongs into {target}",
            "Find out how many lines of {source} mention {word}, number in {target}",
            "{target} must hold the count of {word} lines in {source}",
        ),
        page=Page("grep", "count lines with a word", ("grep -c WORD IN > OUT",)),
    ),
    Filter(
        name="upper",
        stage=_upper,
        stdin=True,
        say=(
            "Write {source} in upper case to {target}",
            "Turn the letters of {source} into upper case and save them as {target}",
            "The text of {source} belongs into {target}, in upper case",
            "Put a copy of {source} into {target}, all in upper case letters",
            "Make all letters of {source} large, output in {target}",
            "{target} must hold {source} in capitals",
        ),
        clause=(
            "turn the letters into upper case",
            "write all in upper case",
            "make the letters large",
            "put everything in capitals",
        ),
        page=Page("tr", "change letters to upper case", ("tr a-z A-Z < IN > OUT",)),
    ),
    Filter(
        name="lower",
        stage=_lower,
        rows=_shouting,
        stdin=True,
        say=(
            "Write {source} in lower case to {target}",
            "Turn the letters of {source} into lower case and save them as {target}",
            "The text of {source} belongs into {target}, in lower case",
            "Put a copy of {source} into {target}, all in lower case letters",
            "Make all letters of {source} small, output in {target}",
            "{target} must hold {source} with no capitals",
        ),
        page=Page("tr", "change letters to lower case", ("tr A-Z a-z < IN > OUT",)),
    ),
    Filter(
        name="reverse",
        stage=_reverse,
        say=(
            "Write the lines of {source} to {target}, the last one first",
            "{target} must hold {source} upside down, last line first",
            "Turn the order of the lines of {source} around, result in {target}",
            "Put {source} backwards, line by line, into {target}",
            "Flip {source} so that its last line comes first, in {target}",
            "Save {source} as {target} from bottom to top",
        ),
        clause=(
            "turn their order around",
            "put the last line first",
            "reverse the order of the lines",
            "flip them bottom to top",
        ),
        page=Page("tac", "print the last line first", ("tac IN > OUT",)),
    ),
    Filter(
        name="number",
        stage=_number,
        say=(
            "Number the lines of {source} and write that to {target}",
            "{target} must hold {source} with a number before each line",
            "Write {source} with its lines numbered to {target}",
            "Make a numbered copy of {source} as {target}",
            "Put line numbers before the lines of {source}, in {target}",
            "Save {source} with line numbers as {target}",
        ),
        clause=(
            "number the lines",
            "put a number before each line",
            "number them",
            "add line numbers",
        ),
        page=Page("cat", "number lines", ("cat -n IN > OUT",)),
    ),
    Filter(
        name="begin",
        stage=_begin,
        say=(
            "Put {word} before each line of {source}, result in {target}",
            "Write {source} to {target} with {word} at the start of every line",
            "Each line of {source} must begin with {word} in {target}",
            "Save {source} as {target} and begin all lines with {word}",
            "Set {word} in front of all lines of {source}, output in {target}",
            "{target} must hold {source}, each line led by {word}",
        ),
        clause=(
            "put {word} before each line",
            "begin each line with {word}",
            "set {word} at the start of every line",
            "lead each line with {word}",
        ),
        page=Page("sed", "put a word before each line", ("sed s/^/WORD/ IN > OUT",)),
    ),
    Filter(
        name="end",
        stage=_end,
        say=(
            "Put {word} after each line of {source}, result in {target}",
            "Write {source} to {target} with {word} at the end of every line",
            "Each line of {source} must end with {word} in {target}",
            "Save {source} as {target} and end all lines with {word}",
            "Set {word} behind all lines of {source}, output in {target}",
            "{target} must hold {source}, each line closed by {word}",
        ),
        clause=(
            "put {word} after each line",
            "end each line with {word}",
            "set {word} at the end of every line",
            "close each line with {word}",
        ),
        page=Page("sed", "put a word after each line", ("sed s/$/WORD/ IN > OUT",)),
    ),
    Filter(
        name="exchange",
        stage=_exchange,
        rows=_mixed,
        say=(
            "Write {source} to {target} with {new} instead of {old}",
            "Make a copy of {source} as {target} in which each {old} is {new}",
            "{target} must hold {source} with every {old} changed to {new}",
            "Save {source} as {target}, but replace {old} by {new}",
            "Let {new} stand for {old} in a copy of {source}, called {target}",
            "Copy {source} to {target} and swap each {old} for {new}",
        ),
        clause=(
            "replace {old} by {new}",
            "change each {old} to {new}",
            "write {new} instead of {old}",
            "swap {old} for {new}",
        ),
        page=Page("sed", "replace a word", ("sed s/OLD/NEW/g IN > OUT",)),
    ),
    Filter(
        name="join-lines",
        stage=_join,
        say=(
            "Write all lines of {source} as one line with {name} between into {target}",
            "Join the lines of {source} by {name}, result in {target}",
            "{target} must hold {source} on a single line, parted by {name}",
            "Put the lines of {source} side by side with {name} between, in {target}",
            "Make one line of {source}, with {name} between the pieces, as {target}",
            "Collect {source} into a row separated with {name}, saved as {target}",
        ),
        clause=(
            "join the lines by {name}",
            "make one line with {name} between",
            "put them on one line parted by {name}",
            "collect them in a row separated with {name}",
        ),
        page=Page("paste", "join lines", ("paste -s -dSIGN IN > OUT",)),
    ),
    Filter(
        name="encode",
        stage=_encode,
        rows=_few,
        say=(
            "Encode {source} as base64 into {target}",
            "Write the base64 form of {source} to {target}",
            "{target} must hold {source} in base64",
            "Make a base64 copy of {source}, output in {target}",
            "Put {source} into {target}, as base64 text",
            "Save a base64 encoding of {source} as {target}",
        ),
        page=Page("base64", "encode a file", ("base64 IN > OUT",)),
    ),
    Filter(
        name="drop-letter",
        stage=_drop_letter,
        stdin=True,
        say=(
            "Remove every letter {letter} from {source}, result in {target}",
            "Write {source} to {target} without the letter {letter}",
            "{target} must hold {source} with each {letter} taken out",
            "Delete all {letter} characters of {source} and save it as {target}",
            "Strip the letter {letter} out of {source}, output in {target}",
            "Save {source} as {target} with no {letter} in it",
        ),
        clause=(
            "remove every letter {letter}",
            "take out each {letter}",
            "delete the letter {letter}",
            "strip all {letter} characters",
        ),
        page=Page("tr", "delete a letter", ("tr -d LETTER < IN > OUT",)),
    ),
)
#: Those that can stand in a pipeline.
STAGES = tuple(each for each in FILTERS if each.clause)
ARCHETYPES = tuple(each.archetype() for each in FILTERS)
