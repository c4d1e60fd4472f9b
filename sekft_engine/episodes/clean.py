"""The rule that decides whether a command turn is prose: English where a command belongs."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from sekft_engine.data.scenario import Fixture, Scenario
from sekft_engine.episodes.command_turn import excess
from sekft_engine.episodes.shelltext import QUOTED, as_typed, simple_commands

#: The reason of a turn that is over a bound of :mod:`sekft_engine.episodes.command_turn`.
TOO_LONG = "too long"


def is_prose(turn: str, *, status: int | None = None, known: Collection[str] = ()) -> bool:
    """Whether ``turn`` is prose.

    The text is read as the shell reads it: quoted text, here-documents and comments are data and
    are not judged. A turn is prose when one of its lines is

    - a Markdown fence, list item or emphasis;
    - a label or remark of words alone: it starts with a capital and ends like a sentence
      (``Output:``, ``Done.``), or opens like a chat (``Sure, ...``, ``Sorry ...``);
    - a sentence: its first word is no known command, most of what follows are plain words, and
      enough of them are function words of English (*the, is, you, to, ...*), a contraction
      (``I'm``) or sentence punctuation. A capital at the start asks for less evidence, a
      lower-case first word (a typo? a guess?) for more;
    - a sentence that happens to start with a command's name (``find the file and then run it``):
      five or more plain words with no option, path, quote, variable or redirection among them;
    - text that is mostly letters outside ASCII.

    So is a turn over the bounds of :mod:`sekft_engine.episodes.command_turn`: no user of a shell
    types that much at once. Any other is read once, in time linear in its length.

    Never prose are typos and wrong guesses (``gerp foo x``, ``sl -la``, ``help``, ``login admin``),
    free text given to a command that takes it (``echo``, ``printf``, ``panic``, a program in
    ``known``), a repeated prompt or listing, an empty turn.

    Args:
        turn: the command turn.
        status: the exit status of the turn, where known. A one-line turn that ended with 0 was a
            command, unless its first word is one that no program is called by (a function word of
            English, a greeting): a session can make its shell claim a status, or define ``I``.
        known: names of programs that the world has beyond the usual ones, see
            :func:`known_programs`. A path to such a program counts as its name.
    """
    return bool(why_prose(turn, status=status, known=known))


def why_prose(turn: str, *, status: int | None = None, known: Collection[str] = ()) -> str:
    """The reason why :func:`is_prose` calls ``turn`` prose; empty where it does not."""
    if excess(turn):
        return TOO_LONG
    typed = as_typed(turn).strip()
    lines = typed.split("\n")
    if any(_FENCE.match(line) for line in lines):
        return "markdown fence"
    if status == 0 and len(lines) == 1 and not _is_no_program(typed):
        return ""
    names = frozenset(known)
    for words in simple_commands(typed):
        reason = _judge(words, names)
        if reason:
            return reason
    return ""


def known_programs(scenario: Scenario) -> frozenset[str]:
    """The names of the programs that the world of ``scenario`` has beyond the usual ones.

    These are its provider and its executable fixtures. They are commands however they are typed
    (``./tool``, ``~/bin/tool``, ``/home/user/bin/tool``) and whether or not the call succeeds.
    """
    provider = scenario.provider
    paths = [provider.name, provider.path]
    paths += [fixture.path for fixture in scenario.fixtures if _is_program(fixture)]
    return frozenset(PurePosixPath(path).name for path in paths) - {""}


def _is_program(fixture: Fixture) -> bool:
    """Whether somebody may execute it; a path with a final ``/`` is a folder."""
    mode = fixture.mode
    executable = mode.isdecimal() and any(int(digit) & 1 for digit in mode[-3:])
    return executable and not fixture.path.endswith("/")


def _is_no_program(line: str) -> bool:
    """Whether a line begins with a word of English that is the name of no program."""
    first = line.split(maxsplit=1)[0] if line else ""
    bare = _bare(first).lower()
    return first not in COMMANDS and (bare in FUNCTION_WORDS or bare in OPENERS)


def _judge(words: list[str], known: frozenset[str]) -> str:
    """The reason why one simple command is prose; ``words`` are as the shell splits it."""
    if _BULLET.fullmatch(words[0]) and len(words) > 1 and _STARTS_ITEM.match(words[1]):
        return "markdown list"
    if words[0].startswith("**") and len(words[0]) > 2:
        return "markdown emphasis"
    words = words[assignments(words) :]
    line = " ".join(words)
    if _mostly_non_ascii(line):
        return "text in another script"
    first = words[0]
    if {first, _bare(first), first.rpartition("/")[2]} & known:
        return _about_program(words)
    if first.lower() in FREE_TEXT and not (first[0].isupper() and _ends_sentence(words)):
        return ""
    if first in COMMANDS:
        return _sentence_from_command(words)
    if first[0].isupper():
        return _capitalised(words)
    return _lower_case(words)


def assignments(words: list[str]) -> int:
    """How many words before the command name are assignments."""
    count = 0
    while count < len(words) - 1 and _ASSIGNMENT.match(words[count]):
        count += 1
    return count


def _about_program(words: list[str]) -> str:
    """The reason where it is a sentence about a program, such as ``quil is a service``."""
    if len(words) > 3 and words[1].lower() in VERBS and _share(words[1:]) >= 0.75:
        return "sentence about a program"
    return ""


def _sentence_from_command(words: list[str]) -> str:
    if len(words) < 5 or any(_SYNTAX.search(word) for word in words) or _share(words) < 0.8:
        return ""
    small = _function_words(words[1:]) - sum(word in ("a", "A") for word in words[1:])
    punctuated = _punctuation(words) or _contractions(words)
    if words[0] in KEYWORDS:
        return "sentence" if small >= 2 and punctuated else ""
    return "sentence" if small >= 2 else ""


def _capitalised(words: list[str]) -> str:
    share = _share(words)
    if _bare(words[0]).lower() in OPENERS:
        return "chat"
    if share == 1 and _ends_sentence(words):
        return "remark"
    if len(words) > 1 and words[0].endswith(":") and _WORD.match(words[0]):
        return "label"
    evidence = _function_words(words) + _contractions(words) + _punctuation(words)
    if evidence and (
        (len(words) >= 3 and share >= 0.6) or _function_words(words) == len(words) > 1
    ):
        return "sentence"
    return "contraction" if _contractions(words[:1]) else ""


def _lower_case(words: list[str]) -> str:
    if words[0].endswith(":"):
        return ""  # a message of the shell, repeated: `sh: 1: foo: not found`
    bare = _bare(words[0]).lower()
    if bare in OPENERS and len(words) > 1 and _share(words) >= 0.6:
        return "chat"
    if _contractions(words[:1]):
        return "contraction"
    if len(words) >= 3 and bare in FUNCTION_WORDS and _share(words) >= 0.6:
        return "sentence"
    if len(words) >= 4 and _share(words) >= 0.75:
        small, signs = _function_words(words[1:]), _punctuation(words) + _contractions(words)
        if small >= 2 or (small and signs):
            return "sentence"
    return ""


def _bare(word: str) -> str:
    return word.strip("\"'“”‘’`*_().,;:!?…").replace("’", "'")


def _share(words: list[str]) -> float:
    """The share of plain words among those without a quoted part."""
    unquoted = [word for word in words if QUOTED not in word]
    plain = sum(bool(_WORD.match(word)) for word in unquoted)
    return plain / len(unquoted) if unquoted else 0.0


def _function_words(words: list[str]) -> int:
    return sum(_bare(word).lower() in FUNCTION_WORDS for word in words)


def _contractions(words: list[str]) -> int:
    return sum(bool(_CONTRACTED.fullmatch(_bare(word))) for word in words)


def _punctuation(words: list[str]) -> int:
    """Words that end like a clause or sentence, as in ``Hello, friend.``"""
    return sum(bool(_CLAUSE_END.search(word)) for word in words)


def _ends_sentence(words: list[str]) -> bool:
    return bool(_SENTENCE_END.search(words[-1]))


def _mostly_non_ascii(line: str) -> bool:
    letters = [char for char in line if char.isalpha()]
    return len(letters) >= 4 and 2 * sum(not char.isascii() for char in letters) > len(letters)


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FENCE = re.compile(r"\s*(```|~~~)")
_BULLET = re.compile(r"[-*•]|\d+[.)]?")
_STARTS_ITEM = re.compile(r"[A-Z`*\"\x00]")
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_WORD = re.compile(r"[\"'“(*_]*[^\W\d_]+(?:[-'’][^\W\d_]+)*[*_]*[.,;:!?…)\"'”]*$")
_CLAUSE_END = re.compile(r"[A-Za-z)][.,;:!?][)\"'”]*$")
_SENTENCE_END = re.compile(r"[^\W\d_][.!?:…][)\"'”]*$")
_CONTRACTED = re.compile(r"[A-Za-z]+'(?:m|s|t|re|ve|ll|d)", re.IGNORECASE)
#: What command lines have and sentences do not.
_SYNTAX = re.compile(r"^-|[/$*=<>\\{}\[\]~|&\x00]|\w\.\w|^\d+$|\w_\w")

#: Commands whose arguments may be free text.
FREE_TEXT = _names("echo printf panic logger : wall")

KEYWORDS = _names("if then else elif fi for while until do done case esac in select")

#: Programs and shell words with which a line at a POSIX prompt may begin.
COMMANDS = KEYWORDS | _names("""
    . alias ar at awk base64 basename batch bash bc bg bind break builtin bunzip2 busybox bzip2 cal
    cat cd chgrp chmod chown cksum clear cmp col column comm command compress continue cp cpio
    crontab csplit curl cut dash date dc dd declare df diff dir dirname dirs dmesg du ed egrep
    enable env eval ex exec exit expand export expr factor false fc fg fgrep file find fmt fold
    free function fuser getconf getent getopts git grep groups gunzip gzip hash head help hexdump
    history host hostname iconv id info install ip jobs join kill killall last ldd less let link
    ln local locale locate logname logout look ls lsblk lsof mail mailx make man md5sum mesg mkdir
    mkfifo mknod mktemp more mount mv nano nc netstat newgrp nice nl nohup nproc nslookup od
    openssl passwd paste patch pathchk perl pgrep ping pinky pkill popd pr printenv ps pushd pwd
    python python3 read readlink readonly realpath renice reset return rev rm rmdir route rsync
    scp sed select seq service set sh sha1sum sha256sum sha512sum shift shopt shred shuf sleep
    sort source split ss ssh stat strings stty su sudo sum sync systemctl tac tail tar tee telnet
    test time timeout times top touch tput tr trap true truncate tsort tty type typeset ulimit
    umask unalias uname unexpand uniq unlink unset unshare unzip uptime users vi view vim vmstat w
    wait watch wc wget whatis whereis which who whoami write xargs xxd xz yes zcat zip [ [[ { }
    """)

#: Words with which a chat message begins.
OPENERS = _names("""
    sure certainly absolutely sorry hello hi hey thanks thank please okay ok yes no great
    welcome congratulations apologies unfortunately awesome alright understood
    """)

#: Finite verbs: after a name they make a sentence.
VERBS = _names("""
    is are was were will would can could should shall may might must has have had does did isn't
    aren't wasn't won't can't doesn't didn't
    """)

#: Function words of English. Those that are also commands (``for``, ``time``) are looked up as
#: commands first, and count only as later words of a line.
FUNCTION_WORDS = VERBS | _names("""
    a an the this that these those there here it its it's i i'm me my mine we us our you your
    you're he she they them their his her who what which when where why how and or but nor so
    because although while if then than as of to in on at by for from with without into onto about
    after before between through during over under again not no any some each every all both
    also only just very too now let's let be been being am do don't please need want should've
    i've i'll i'd you'll you've we'll we're that's there's here's what's
    """)
