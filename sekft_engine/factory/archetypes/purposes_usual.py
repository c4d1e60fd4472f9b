"""What the usual invented programs of training do, and how that is said.

Worlds of held-out and validation pairs have these too, each with its first text only. A change of
their number, order or first texts changes such worlds, so new ones go to the other files.
"""

from __future__ import annotations

from sekft_engine.factory.archetypes.purposes import Core, each

_VOWELS = str.maketrans("aeiou", ".....")
USUAL = (
    Core(
        "double each line",
        (
            "Double each line of {source}, result in {target}",
            "Every line from {source} twice in a row, please, in {target}",
            "{target} should have the lines from {source} doubled",
            "Repeat all that {source} says line by line, saved as {target}",
        ),
        "sed p",
        lambda rows, _: [row for row in rows for _ in "ab"],
        verbs=("double", "twice", "dup"),
    ),
    Core(
        "put brackets around lines",
        (
            "Put brackets around the lines of {source}, output in {target}",
            "Lines in brackets are needed: take {source}, make {target}",
            "{target} should show the text from {source} with brackets on both sides",
            "Set every line from {source} in brackets, stored under {target}",
        ),
        "sed 's/.*/[&]/'",
        each(lambda row: f"[{row}]"),
        verbs=("wrap", "box", "brackets"),
    ),
    Core(
        "hide the vowels of a text",
        (
            "Hide the vowels of {source} and write that to {target}",
            "Make the vowels in {source} unreadable, written into {target}",
            "Nobody may see the vowels in {source}: put a veiled copy at {target}",
            "{target} should be {source} with hidden vowels",
        ),
        "tr aeiou .",
        each(lambda row: row.translate(_VOWELS)),
        verbs=("hide", "mask", "veil"),
    ),
    Core(
        "measure lines",
        (
            "Measure the lines of {source}, numbers in {target}",
            "How long are the lines in {source}? Save the answer as {target}",
            "{target} should tell the length of all lines in {source}",
            "Find out line by line how long {source} is, for {target}",
        ),
        "awk '{print length($0)}'",
        each(lambda row: str(len(row))),
        verbs=("measure", "len", "size"),
    ),
    Core(
        "make bullet lists",
        (
            "Make a bullet list of {source} as {target}",
            "Show {source} as bullets, kept as {target}",
            "Bullets are wanted: the items come from {source}, the list goes to {target}",
            "{target} should be a bulleted version of {source}",
        ),
        "sed 's/^/- /'",
        each(lambda row: f"- {row}"),
        verbs=("list", "bullet", "items"),
    ),
    Core(
        "shout a text",
        (
            "Shout the text of {source}, result in {target}",
            "Say everything in {source} loudly, saved as {target}",
            "A shouted version of {source} belongs in {target}",
            "{target} should cry out what {source} says",
        ),
        "sed 's/$/!/'",
        each(lambda row: f"{row}!"),
        verbs=("shout", "loud", "cry"),
    ),
    Core(
        "shorten lines to their first letters",
        (
            "Shorten the lines of {source} to their first {p} letters, result in {target}",
            "Keep just {p} letters at the start of every line in {source}, put down in {target}",
            "{target} should have short forms of {source}: {p} letters a line",
            "Abbreviate what is in {source} to {p} letters per line, for {target}",
        ),
        'cut -c-"$P"',
        lambda rows, p: [row[: int(p)] for row in rows],
        "n",
        ("shorten", "cut", "short"),
    ),
    Core(
        "sign each line with a name",
        (
            "Sign each line of {source} with the name {p}, output in {target}",
            "{p} signs everything in {source}, line by line; that goes to {target}",
            "Every line in {source} needs the signature {p}, with the outcome in {target}",
            "{target} should have the lines from {source}, signed by {p}",
        ),
        'sed "s/$/ ($P)/"',
        lambda rows, p: [f"{row} ({p})" for row in rows],
        "w",
        ("sign", "by", "author"),
    ),
    Core(
        "mark lines with a word",
        (
            "Mark the lines of {source} with the word {p} and write that to {target}",
            "Tag all lines from {source} as {p}, saved as {target}",
            "The label {p} belongs on every line in {source}; store that under {target}",
            "{target} should have the lines from {source} marked {p}",
        ),
        'sed "s/^/$P: /"',
        lambda rows, p: [f"{p}: {row}" for row in rows],
        "w",
        ("mark", "tag", "label"),
    ),
    Core(
        "seal a file",
        (
            "Seal the file {source}",
            "{source} needs a seal",
            "Close {source} with a seal",
            "Please see that {source} gets sealed",
        ),
        "cat; echo sealed",
        lambda rows, _: [*rows, "sealed"],
        verbs=("seal", "close", "lock"),
    ),
    Core(
        "give a file its headline",
        (
            "Give {source} the headline {p}",
            "{source} lacks a headline: it should be {p}",
            "Let {p} be the title over {source}",
            "Write {p} as a heading over what is in {source}",
        ),
        'echo "# $P"; cat',
        lambda rows, p: [f"# {p}", *rows],
        "w",
        ("title", "head", "headline"),
    ),
    Core(
        "approve a file in the name of someone",
        (
            "Approve the file {source} in the name of {p}",
            "{p} approves {source}: note that in it",
            "Let {source} pass, approved by {p}",
            "{source} needs the approval that {p} has given",
        ),
        'cat; echo "approved by $P"',
        lambda rows, p: [*rows, f"approved by {p}"],
        "w",
        ("approve", "accept", "pass"),
    ),
    Core(
        "empty a file of all but some lines",
        (
            "Empty the file {source} of all but its first {p} lines",
            "Only {p} lines may stay at the start in {source}",
            "Trim {source} so that {p} lines are left at the top",
            "Throw everything after line {p} out of {source}",
        ),
        'sed "$P"q',
        lambda rows, p: rows[: int(p)],
        "n",
        ("trim", "keep", "limit"),
    ),
)
