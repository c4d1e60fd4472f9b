"""What invented programs of training do that change a file.

The result always differs from what was there, has a line, and ends in no empty one.
"""

from __future__ import annotations

from sekft_engine.factory.archetypes.purposes import Core, each

CHANGING = (
    Core(
        "underline the first line of a file",
        (
            "Underline the first line in {source}",
            "{source} needs a line under its first one",
            "Draw a line below the top line in {source}",
        ),
        "awk '{print} NR == 1 {gsub(/./, \"-\"); print}'",
        lambda rows, _: [rows[0], "-" * len(rows[0]), *rows[1:]],
        verbs=("underline", "rule", "below"),
    ),
    Core(
        "note that a file was checked",
        (
            "Note in {source} that it was checked",
            "{source} has been checked: it should say so at the end",
            "Tick {source} off as checked",
            "Write a check mark below {source}",
        ),
        "cat; echo checked",
        lambda rows, _: [*rows, "checked"],
        verbs=("check", "tick", "okay"),
    ),
    Core(
        "mark where a file begins and ends",
        (
            "Mark the beginning and the end in {source}",
            "{source} should say where it begins and where it ends",
            "Write markers at the top and at the bottom of {source}",
        ),
        "echo BEGIN; cat; echo END",
        lambda rows, _: ["BEGIN", *rows, "END"],
        verbs=("bounds", "markers", "limits"),
    ),
    Core(
        "fence a text as code",
        (
            "Fence {source} as code",
            "Put a fence above and below what is in {source}",
            "{source} is code: fence it in",
        ),
        "echo '~~~'; cat; echo '~~~'",
        lambda rows, _: ["~~~", *rows, "~~~"],
        verbs=("fence", "code", "hedge"),
    ),
    Core(
        "write the first line in capitals",
        (
            "Write just the first line in {source} in capitals",
            "The top line in {source} should be in big letters",
            "Let the opening line in {source} stand out in capitals",
        ),
        "awk 'NR == 1 {print toupper($0); next} {print}'",
        lambda rows, _: [rows[0].upper(), *rows[1:]],
        verbs=("opening", "topcaps", "banner"),
    ),
    Core(
        "bring the last line to the top",
        (
            "Bring the last line in {source} to the top",
            "What stands last in {source} should stand first",
            "Lift the bottom line in {source} above all others",
        ),
        "awk '{a[NR] = $0} END {print a[NR]; for (i = 1; i < NR; i++) print a[i]}'",
        lambda rows, _: [rows[-1], *rows[:-1]],
        verbs=("lift", "raise", "promote"),
    ),
    Core(
        "say the last line twice",
        (
            "Say the last line in {source} twice",
            "{source} should end with its last line said once more",
            "Let the bottom line in {source} be heard again",
        ),
        "sed '$p'",
        lambda rows, _: [*rows, *rows[-1:]],
        verbs=("refrain", "encore", "stress"),
    ),
    Core(
        "note the number of lines below a file",
        (
            "Note below {source} how many lines it has",
            "{source} should end with a count of its own lines",
            "Count the lines in {source} and write the number at its end",
        ),
        "awk '{print} END {print NR \" lines\"}'",
        lambda rows, _: [*rows, f"{len(rows)} lines"],
        verbs=("note", "sized", "census"),
    ),
    Core(
        "comment all lines out",
        (
            "Comment everything in {source} out",
            "All lines in {source} should become comments",
            "Disable {source} by making comments out of its lines",
            "Nothing in {source} may count any more: comments only",
        ),
        "sed 's/^/# /'",
        each(lambda row: f"# {row}"),
        verbs=("comment", "disable", "off"),
    ),
    Core(
        "end lines with a semicolon",
        (
            "End all lines in {source} with a semicolon",
            "The lines in {source} lack their semicolons: add them",
            "{source} needs a semicolon after every line",
        ),
        "sed 's/$/;/'",
        each(lambda row: f"{row};"),
        verbs=("semi", "finish", "stmt"),
    ),
    Core(
        "keep lines apart with dots",
        (
            "Keep the lines in {source} apart with dots",
            "Dots should stand on a line between any two lines in {source}",
            "Loosen {source} up with dotted lines",
        ),
        "awk 'NR > 1 {print \"...\"} {print}'",
        lambda rows, _: [line for row in rows for line in ("...", row)][1:],
        verbs=("loosen", "dotted", "gap"),
    ),
    Core(
        "declare a file a draft",
        (
            "Declare {source} a draft",
            "{source} is not final: it should say that it is a draft",
            "Let everyone see that {source} is only a draft",
        ),
        "echo DRAFT; cat",
        lambda rows, _: ["DRAFT", *rows],
        verbs=("draft", "rough", "early"),
    ),
    Core(
        "exchange the first and the last line",
        (
            "Exchange the first and the last line in {source}",
            "Top and bottom line in {source} should change places",
            "In {source} the first line belongs last and the last one first",
        ),
        "awk '{a[NR] = $0} END {t = a[1]; a[1] = a[NR]; a[NR] = t; "
        "for (i = 1; i <= NR; i++) print a[i]}'",
        lambda rows, _: [rows[-1], *rows[1:-1], rows[0]] if len(rows) > 1 else rows,
        verbs=("trade", "swap", "switch"),
    ),
)
CHANGING_WITH = (
    Core(
        "note when a file is due",
        (
            "Note at the end of {source} that it is due in {p} days",
            "There are {p} days left for {source}: it should say when it is due",
            "Give {source} a deadline in {p} days",
        ),
        'cat; echo "due in $P days"',
        lambda rows, p: [*rows, f"due in {p} days"],
        "n",
        ("due", "deadline", "until"),
    ),
    Core(
        "remove the first lines of a file",
        (
            "Remove {p} lines at the top of {source}",
            "{source} should begin after line {p}",
            "Throw the {p} opening lines out of {source}",
        ),
        'sed "1,${P}d"',
        lambda rows, p: rows[int(p) :],
        "n",
        ("behead", "remove", "discard"),
    ),
    Core(
        "note the version of a file",
        (
            "Note at the top that {source} is version {p}",
            "{source} has reached version {p}: write that above it",
            "Let {source} begin with its version, {p}",
        ),
        'echo "version $P"; cat',
        lambda rows, p: [f"version {p}", *rows],
        "n",
        ("version", "release", "edition"),
    ),
    Core(
        "point at a line of a file",
        (
            "Point at line {p} in {source} with an arrow",
            "Line {p} in {source} needs an arrow before it",
            "An arrow in {source} should show where line {p} is",
        ),
        'awk -v n="$P" \'NR == n {print "--> " $0; next} {print}\'',
        lambda rows, p: [f"--> {row}" if at == int(p) else row for at, row in enumerate(rows, 1)],
        "n",
        ("point", "arrow", "here"),
    ),
    Core(
        "strike a line out",
        (
            "Strike line {p} in {source} out",
            "Line {p} in {source} is wrong: it should be struck out but stay readable",
            "Cross out line number {p} in {source}",
        ),
        'awk -v n="$P" \'NR == n {print "~~" $0 "~~"; next} {print}\'',
        lambda rows, p: [f"~~{row}~~" if at == int(p) else row for at, row in enumerate(rows, 1)],
        "n",
        ("strike", "cross", "void"),
    ),
    Core(
        "push lines in with signs",
        (
            "Push the lines in {source} in by {p} plus signs",
            "All lines in {source} should begin with {p} plus signs",
            "Add {p} plus signs in front to every line in {source}",
        ),
        'awk -v n="$P" \'{for (i = 0; i < n; i++) printf "+"; print " " $0}\'',
        lambda rows, p: [f"{'+' * int(p)} {row}" for row in rows],
        "n",
        ("push", "plus", "level"),
    ),
    Core(
        "play a file some more times",
        (
            "Play all of {source} {p} more times, in the file itself",
            "{source} should contain its whole text and then {p} more rounds",
            "Let {source} go round {p} more times",
        ),
        'awk -v n="$P" \'{a[NR] = $0} '
        "END {for (k = 0; k <= n; k++) for (i = 1; i <= NR; i++) print a[i]}'",
        lambda rows, p: rows * (int(p) + 1),
        "n",
        ("play", "loop", "rounds"),
    ),
    Core(
        "note who reviewed a file",
        (
            "Note below {source} that {p} reviewed it",
            "{p} has reviewed {source}: it should say so at the end",
            "Add {p} as the reviewer under {source}",
            "{source} lacks a line on its review by {p}",
        ),
        'cat; echo "reviewed by $P"',
        lambda rows, p: [*rows, f"reviewed by {p}"],
        "w",
        ("review", "reviewer", "seen"),
    ),
    Core(
        "note the topic of a file",
        (
            "Note above {source} that its topic is {p}",
            "{source} is about {p}: let it begin with that topic",
            "Add the topic {p} at the top of {source}",
        ),
        'echo "topic: $P"; cat',
        lambda rows, p: [f"topic: {p}", *rows],
        "w",
        ("topic", "about", "subject"),
    ),
    Core(
        "close a letter with a greeting",
        (
            "Close the letter {source} with greetings from {p}",
            "The letter {source} lacks its closing: it comes from {p}",
            "Let {p} say goodbye below the letter {source}",
        ),
        'cat; echo "yours, $P"',
        lambda rows, p: [*rows, f"yours, {p}"],
        "w",
        ("greet", "regards", "bye"),
    ),
    Core(
        "put a prefix before all lines",
        (
            "Put the prefix {p} before all lines in {source}",
            "All names in {source} should have {p} as a prefix",
            "Prefix {source} with {p}, line by line",
        ),
        'sed "s/^/$P-/"',
        lambda rows, p: [f"{p}-{row}" for row in rows],
        "w",
        ("prefix", "front", "lead"),
    ),
    Core(
        "note who owns a file",
        (
            "Note at the top of {source} that {p} owns it",
            "{source} belongs to {p}: its first line should say that",
            "Let {source} begin with the name of its owner, {p}",
        ),
        'echo "owner: $P"; cat',
        lambda rows, p: [f"owner: {p}", *rows],
        "w",
        ("owner", "own", "belong"),
    ),
    Core(
        "slip a word in after the first line",
        (
            "Slip {p} in after the first line in {source}",
            "The word {p} should be second in {source}, on its own line",
            "Add {p} right under the top line in {source}",
        ),
        "awk -v w=\"$P\" '{print} NR == 1 {print w}'",
        lambda rows, p: [*rows[:1], p, *rows[1:]],
        "w",
        ("slip", "second", "squeeze"),
    ),
    Core(
        "note who gets a copy",
        (
            "Note below {source} that {p} gets a copy",
            "{p} should get a copy too: say so at the end of {source}",
            "Add {p} to those who get copies of {source}",
        ),
        'cat; echo "copy: $P"',
        lambda rows, p: [*rows, f"copy: {p}"],
        "w",
        ("copyto", "cc", "inform"),
    ),
)
