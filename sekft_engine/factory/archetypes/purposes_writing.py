"""What invented programs of training do that take no parameter and write another file."""

from __future__ import annotations

from sekft_engine.factory.archetypes.purposes import Core, each

_CONSONANTS = str.maketrans("bcdfghjklmnpqrstvwxyz", "#" * 21)
_DIGITS = str.maketrans("aeiou", "43105")
_NO_VOWELS = str.maketrans("", "", "aeiou")


def _pairs(rows: list[str]) -> list[str]:
    return [f"{row}+{after}" for row, after in zip(rows[::2], [*rows[1::2], ""], strict=False)]


WRITING = (
    Core(
        "number lines in brackets",
        (
            "Give all lines in {source} a number in brackets, kept under {target}",
            "{target} should have the lines from {source}, counted up with brackets",
            "Number {source} line by line, bracketed, for {target}",
        ),
        'awk \'{print "(" NR ") " $0}\'',
        lambda rows, _: [f"({at}) {row}" for at, row in enumerate(rows, 1)],
        verbs=("number", "enum", "index"),
    ),
    Core(
        "give lines a countdown",
        (
            "Count the lines in {source} down to one, written into {target}",
            "A countdown before all lines in {source} is wanted; put it at {target}",
            "{target} should be {source} with falling numbers up front",
            "Number {source} downwards and keep the countdown under {target}",
        ),
        "awk '{a[NR] = $0} END {for (i = 1; i <= NR; i++) print NR - i + 1 \": \" a[i]}'",
        lambda rows, _: [f"{len(rows) - at}: {row}" for at, row in enumerate(rows)],
        verbs=("down", "launch", "falling"),
    ),
    Core(
        "begin lines with a capital",
        (
            "All lines in {source} should begin with a capital, kept as {target}",
            "Write the first letter big on every line in {source}, for {target}",
            "{target} should have the lines from {source} as if they began a sentence",
        ),
        "awk '{print toupper(substr($0, 1, 1)) substr($0, 2)}'",
        each(lambda row: row[:1].upper() + row[1:]),
        verbs=("capital", "initial", "big"),
    ),
    Core(
        "end lines with a capital",
        (
            "Write just the last letter on every line in {source} big, saved as {target}",
            "Lines that end in a capital are wanted: read {source}, make {target}",
            "{target} should be {source} with a capital at every line's end",
        ),
        "awk '{n = length($0); print substr($0, 1, n - 1) toupper(substr($0, n))}'",
        each(lambda row: row[:-1] + row[-1:].upper()),
        verbs=("final", "endcap", "lastbig"),
    ),
    Core(
        "swap the two columns of a table",
        (
            "Swap the two columns in {source}, put down in {target}",
            "The columns in {source} stand in the wrong order: put a right table at {target}",
            "{target} should have the second column from {source} first",
            "Let the columns in {source} change places, for {target}",
        ),
        "awk '{print $2, $1}'",
        each(lambda row: " ".join(reversed(row.split()))),
        verbs=("swap", "flip", "columns"),
        width=2,
    ),
    Core(
        "put the words of lines in the opposite order",
        (
            "Put the words on every line in {source} in the opposite order, stored as {target}",
            "The last word should come first on all lines from {source}; store that under {target}",
            "{target} should read like {source} when each line is read word by word from the right",
        ),
        "awk '{s = $NF; for (i = NF - 1; i > 0; i--) s = s \" \" $i; print s}'",
        each(lambda row: " ".join(reversed(row.split()))),
        verbs=("opposite", "order", "around"),
        width=3,
    ),
    Core(
        "put every word on its own line",
        (
            "Put every word in {source} on a line by itself, saved as {target}",
            "One word per line is wanted: the words are in {source}, the list goes to {target}",
            "{target} should list the words from {source} one below the other",
        ),
        "tr ' ' '\\n'",
        lambda rows, _: [word for row in rows for word in row.split(" ")],
        verbs=("words", "single", "apart"),
        width=2,
    ),
    Core(
        "join lines in pairs",
        (
            "Join two lines at a time from {source}, stored under {target}",
            "Every two neighbours in {source} should share one line; store that under {target}",
            "Make couples out of the lines in {source}, for {target}",
            "{target} should hold pairs of lines from {source}",
        ),
        "paste -d+ - -",
        lambda rows, _: _pairs(rows),
        verbs=("pair", "couple", "pairs"),
    ),
    Core(
        "string lines together with arrows",
        (
            "String the lines from {source} together with arrows, written into {target}",
            "A chain with arrows from line to line is wanted: read {source}, make {target}",
            "{target} should show all steps in {source} on one line, an arrow from one to the next",
        ),
        'awk \'NR > 1 {printf " -> "} {printf "%s", $0} END {print ""}\'',
        lambda rows, _: [" -> ".join(rows)],
        verbs=("chain", "arrows", "path"),
    ),
    Core(
        "space the letters of a text out",
        (
            "Space the letters in {source} out, kept as {target}",
            "Leave a blank between all letters in {source}, for {target}",
            "{target} should be a wide version of {source} with room between the letters",
        ),
        "sed 's/./& /g; s/ $//'",
        each(" ".join),
        verbs=("spread", "space", "wide"),
    ),
    Core(
        "hide the consonants of a text",
        (
            "Only the vowels in {source} may stay readable; the safe copy is {target}",
            "Cover up all consonants in {source}, saved as {target}",
            "{target} should be {source} with its consonants blacked out",
        ),
        "sed 's/[bcdfghjklmnpqrstvwxyz]/#/g'",
        each(lambda row: row.translate(_CONSONANTS)),
        verbs=("cover", "black", "cloak"),
    ),
    Core(
        "carry the first letter of lines to their end",
        (
            "Carry the first letter to the end on every line in {source}, put down in {target}",
            "The first letters in {source} belong at the end; store such lines under {target}",
            "{target} should have the lines from {source} with their first letter moved behind",
        ),
        "sed 's/^\\(.\\)\\(.*\\)$/\\2\\1/'",
        each(lambda row: row[1:] + row[:1]),
        verbs=("carry", "roll", "shift"),
    ),
    Core(
        "show the outer letters of lines",
        (
            "Show just the outer letters on all lines in {source}, with the outcome in {target}",
            "{target} should tell how the lines in {source} begin and end, nothing between",
            "Leave the inner letters out: read {source}, make {target}",
        ),
        "awk '{print substr($0, 1, 1) \"..\" substr($0, length($0))}'",
        each(lambda row: f"{row[:1]}..{row[-1:]}"),
        verbs=("outer", "edges", "ends"),
    ),
    Core(
        "arrange lines from short to long",
        (
            "Arrange {source} from short to long lines, saved as {target}",
            "Short lines first: order {source} so, for {target}",
            "{target} should have the lines from {source} by growing length",
            "Order what is in {source} by how long the lines are, kept under {target}",
        ),
        "awk '{print length($0), $0}' | sort -s -n -k1,1 | cut -d' ' -f2-",
        lambda rows, _: sorted(rows, key=len),
        verbs=("arrange", "grow", "bylen"),
    ),
    Core(
        "tell how many words lines have",
        (
            "Tell for every line in {source} how many words it has, stored under {target}",
            "How many words are on the lines in {source}? Put the numbers before them in {target}",
            "{target} should have the lines from {source} after their number of words",
        ),
        "awk '{print NF \" words: \" $0}'",
        each(lambda row: f"{len(row.split())} words: {row}"),
        verbs=("tally", "wordy", "howmany"),
        width=2,
    ),
    Core(
        "leave the vowels out of a text",
        (
            "Leave the vowels out when you copy {source} to {target}",
            "A text without vowels is wanted: read {source}, make {target}",
            "{target} should have nothing but the consonants from {source}",
        ),
        "tr -d aeiou",
        each(lambda row: row.translate(_NO_VOWELS)),
        verbs=("strip", "without", "drop"),
    ),
    Core(
        "tell the length after lines",
        (
            "Note behind every line in {source} how long it is, written into {target}",
            "The lines from {source} and their length belong side by side in {target}",
            "{target} should have the text from {source} with its lengths behind",
        ),
        "awk '{print $0 \" \" length($0)}'",
        each(lambda row: f"{row} {len(row)}"),
        verbs=("behind", "length", "extent"),
    ),
    Core(
        "draw lines as bars",
        (
            "Draw a bar for every line in {source}, kept as {target}",
            "A chart is wanted: bars as long as the lines in {source}; store it under {target}",
            "{target} should show the lines from {source} as bars",
        ),
        "sed 's/./=/g'",
        each(lambda row: "=" * len(row)),
        verbs=("draw", "chart", "bars"),
    ),
    Core(
        "keep every other line",
        (
            "Skip every second line in {source}, saved as {target}",
            "Every other line from {source} is enough; keep those under {target}",
            "{target} should have the odd lines from {source}: first, third and so on",
        ),
        "awk 'NR % 2'",
        lambda rows, _: rows[::2],
        verbs=("odd", "skip", "thin"),
    ),
    Core(
        "add a total below a list",
        (
            "Copy the list {source} and write its total below, all that in {target}",
            "The list {source} lacks its total: a full one, total and all, belongs in {target}",
            "Total up the list {source}, for {target}",
        ),
        "awk '{print} END {print \"total \" NR}'",
        lambda rows, _: [*rows, f"total {len(rows)}"],
        verbs=("total", "reckon", "addup"),
    ),
    Core(
        "make a table with upright strokes",
        (
            "Make a table with upright strokes out of {source}, with the outcome in {target}",
            "Lines between upright strokes are wanted: read {source}, make {target}",
            "{target} should show {source} as a table with one column and its strokes",
        ),
        "sed 's/.*/| & |/'",
        each(lambda row: f"| {row} |"),
        verbs=("table", "grid", "strokes"),
    ),
    Core(
        "make a list for a web page",
        (
            "Make web list items out of {source}, saved as {target}",
            "The list {source} goes on a web page: get the items ready in {target}",
            "{target} should have the lines from {source} as items for the web",
        ),
        "sed 's/.*/<li>&<\\/li>/'",
        each(lambda row: f"<li>{row}</li>"),
        verbs=("web", "html", "site"),
    ),
    Core(
        "set the commas and the full stop of a sentence",
        (
            "Set commas and a full stop in {source}, stored under {target}",
            "{source} lacks its commas and the full stop: put a proper one at {target}",
            "{target} should be {source} with the right signs at all line ends",
        ),
        "sed '$!s/$/,/; $s/$/./'",
        lambda rows, _: [*(f"{row}," for row in rows[:-1]), *(f"{row}." for row in rows[-1:])],
        verbs=("commas", "signs", "punctuate"),
    ),
    Core(
        "write vowels as digits",
        (
            "Write digits for the vowels in {source}, saved as {target}",
            "Each vowel in {source} becomes a digit; store that under {target}",
            "{target} should look like {source} with digits where vowels were",
        ),
        "tr aeiou 43105",
        each(lambda row: row.translate(_DIGITS)),
        verbs=("digits", "leet", "numeral"),
    ),
    Core(
        "letter the entries of a list",
        (
            "Letter the list {source} with a, b, c and so on, kept as {target}",
            "Lines with a, b, c up front are wanted: read {source}, make {target}",
            "{target} should be {source} as a lettered list",
        ),
        'awk \'{print substr("abcdefghij", NR, 1) ") " $0}\'',
        lambda rows, _: [f"{'abcdefghij'[at : at + 1]}) {row}" for at, row in enumerate(rows)],
        verbs=("letter", "abc", "options"),
    ),
)
