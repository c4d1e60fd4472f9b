"""What invented programs of training do that take a number or a word and write another file."""

from __future__ import annotations

from sekft_engine.factory.archetypes.purposes import Core

WRITING_WITH = (
    Core(
        "echo lines some more times",
        (
            "Echo every line in {source} {p} more times, saved as {target}",
            "{target} should have all lines from {source}, followed by {p} echoes of them",
            "Say what is in {source} line by line and again {p} times, for {target}",
        ),
        "awk -v n=\"$P\" '{for (i = 0; i <= n; i++) print}'",
        lambda rows, p: [row for row in rows for _ in range(int(p) + 1)],
        "n",
        ("echo", "again", "repeat"),
    ),
    Core(
        "indent lines",
        (
            "Indent {source} by {p} blanks, put down in {target}",
            "Move all lines in {source} {p} places to the right, for {target}",
            "{target} should have the text from {source} behind {p} blanks",
            "A margin {p} blanks wide is wanted: read {source}, make {target}",
        ),
        'awk -v n="$P" \'{for (i = 0; i < n; i++) printf " "; print}\'',
        lambda rows, p: [" " * int(p) + row for row in rows],
        "n",
        ("indent", "margin", "right"),
    ),
    Core(
        "drop the first letters of lines",
        (
            "Drop {p} letters at the start of all lines in {source}, with the outcome in {target}",
            "{target} should have the lines from {source} without their {p} opening letters",
            "Take {p} letters away on the left: read {source}, make {target}",
        ),
        'cut -c"$((P + 1))"-',
        lambda rows, p: [row[int(p) :] for row in rows],
        "n",
        ("behead", "left", "skim"),
    ),
    Core(
        "mask the first letters of lines",
        (
            "Mask {p} letters at the start of every line in {source}, saved as {target}",
            "Nobody may read the {p} opening letters in {source}; the masked text is {target}",
            "{target} should show {source} with {p} masked letters per line",
        ),
        'awk -v n="$P" \'{m = substr($0, 1, n); gsub(/./, "_", m); print m substr($0, n + 1)}\'',
        lambda rows, p: ["_" * len(row[: int(p)]) + row[int(p) :] for row in rows],
        "n",
        ("mask", "blot", "shade"),
    ),
    Core(
        "leave out the last lines",
        (
            "Copy {source} without its {p} closing lines to {target}",
            "Leave {p} lines out at the end in {source}, stored under {target}",
            "{target} should stop {p} lines before the end of {source}",
        ),
        "awk -v n=\"$P\" '{a[NR] = $0} END {for (i = 1; i <= NR - n; i++) print a[i]}'",
        lambda rows, p: rows[: max(0, len(rows) - int(p))],
        "n",
        ("less", "stop", "curtail"),
    ),
    Core(
        "number lines in steps",
        (
            "Number {source} in steps that grow by {p}, written into {target}",
            "Numbers {p} apart are wanted before the lines in {source}; store that under {target}",
            "{target} should have the lines from {source}, counted by {p}",
        ),
        'awk -v n="$P" \'{print NR * n ". " $0}\'',
        lambda rows, p: [f"{at * int(p)}. {row}" for at, row in enumerate(rows, 1)],
        "n",
        ("steps", "stride", "countby"),
    ),
    Core(
        "end lines with dots",
        (
            "Let every line in {source} trail off in {p} dots, kept as {target}",
            "Add {p} dots behind the lines in {source}, for {target}",
            "{target} should have the lines from {source}, each with {p} dots after it",
        ),
        'awk -v n="$P" \'{printf "%s", $0; for (i = 0; i < n; i++) printf "."; print ""}\'',
        lambda rows, p: [row + "." * int(p) for row in rows],
        "n",
        ("dots", "trail", "pause"),
    ),
    Core(
        "bring the first lines to the end",
        (
            "Bring {p} lines from the top of {source} to its end, saved as {target}",
            "The {p} opening lines in {source} should come last in {target}",
            "{target} should begin after line {p} in {source} and end with what stood above",
        ),
        'awk -v n="$P" \'NR > n {print; next} {a[NR] = $0} '
        "END {for (i = 1; i <= n && i <= NR; i++) print a[i]}'",
        lambda rows, p: [*rows[int(p) :], *rows[: int(p)]],
        "n",
        ("rotate", "cycle", "later"),
    ),
    Core(
        "put a word between lines",
        (
            "Put {p} between all lines in {source}, kept under {target}",
            "The word {p} should stand between the lines from {source}; store that under {target}",
            "{target} should be {source} with a {p} after every line but the last",
        ),
        "awk -v w=\"$P\" 'NR > 1 {print w} {print}'",
        lambda rows, p: [line for row in rows for line in (p, row)][1:],
        "w",
        ("between", "insert", "sprinkle"),
    ),
    Core(
        "give lines a family name",
        (
            "Give all lines in {source} the family name {p}, with the outcome in {target}",
            "The names in {source} all belong to the family {p}: put full names in {target}",
            "{target} should have what is in {source} with the surname {p}",
        ),
        'sed "s/$/-$P/"',
        lambda rows, p: [f"{row}-{p}" for row in rows],
        "w",
        ("family", "surname", "adopt"),
    ),
    Core(
        "connect lines with a word",
        (
            "Connect all lines in {source} with the word {p}, saved as {target}",
            "One long line is wanted, {p} from one to the next: read {source}, make {target}",
            "{target} should hold all of {source} on one line with {p} between",
        ),
        'awk -v w="$P" \'NR > 1 {printf " %s ", w} {printf "%s", $0} END {print ""}\'',
        lambda rows, p: [f" {p} ".join(rows)],
        "w",
        ("connect", "glue", "tie"),
    ),
    Core(
        "sort things into a drawer",
        (
            "All things in {source} go into the drawer {p}: list them so in {target}",
            "Put everything from {source} under the drawer {p}, written down in {target}",
            "{target} should name the drawer {p} before all things from {source}",
        ),
        'sed "s/^/$P./"',
        lambda rows, p: [f"{p}.{row}" for row in rows],
        "w",
        ("drawer", "shelf", "under"),
    ),
    Core(
        "assign tasks to someone",
        (
            "Assign all tasks in {source} to {p}, written into {target}",
            "{p} takes over what is in {source}: make the task list {target}",
            "{target} should have the tasks from {source}, each one for {p} to do",
            "Let {p} do everything in {source}; store the plan under {target}",
        ),
        'sed "s/^/@$P /"',
        lambda rows, p: [f"@{p} {row}" for row in rows],
        "w",
        ("assign", "task", "delegate"),
    ),
    Core(
        "answer questions with a word",
        (
            "Answer every question in {source} with {p}, kept as {target}",
            "To all that {source} asks the answer is {p}; keep both in {target}",
            "{target} should have the questions from {source} and {p} as their answer",
        ),
        'sed "s/$/? $P/"',
        lambda rows, p: [f"{row}? {p}" for row in rows],
        "w",
        ("answer", "respond", "faq"),
    ),
    Core(
        "count things up in a unit",
        (
            "Count up everything in {source} with {p} as the unit, saved as {target}",
            "Numbers and the unit {p} belong before all things from {source}, as {target}",
            "{target} should have what is in {source}, counted with the unit {p}",
        ),
        'awk -v w="$P" \'{print NR " " w " of " $0}\'',
        lambda rows, p: [f"{at} {p} of {row}" for at, row in enumerate(rows, 1)],
        "w",
        ("units", "unit", "amount"),
    ),
    Core(
        "frame lines with a word on both sides",
        (
            "Frame every line in {source} with {p} left and right, saved as {target}",
            "The word {p} belongs on both sides of all lines from {source}; make {target} that way",
            "{target} should have {p} before and behind what is in {source}",
        ),
        'sed "s/.*/$P & $P/"',
        lambda rows, p: [f"{p} {row} {p}" for row in rows],
        "w",
        ("frame", "border", "sides"),
    ),
)
