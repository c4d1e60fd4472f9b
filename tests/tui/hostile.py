"""Hostile text for every place that text can come from, and what it must not do to a terminal."""

from __future__ import annotations

import re
import unicodedata

#: Every control character, in C0 and C1.
CONTROLS = "".join(map(chr, [*range(0x20), 0x7F, *range(0x80, 0xA0)]))
#: Each begins with what it is about, so that a list that cuts it still shows that.
TEXTS = (
    "\x1b[5;66m[u]evil sgr",
    "\x1b[2J\x1b[66;66H[u]evil csi",
    "\x9b2J\x9b5;66m[u]evil c1 csi",
    "\x1b]8;;http://evil.example\x07[u]evil link\x1b]8;;\x07",
    "\x1b]8;;http://evil.example\x1b\\[u]evil link\x1b]8;;\x1b\\",
    "\x9d52;c;ZXZpbA==\x9c[u]evil c1 clipboard",
    "\x1b]52;c;ZXZpbA==\x07[u]evil clipboard",
    "\x1b]0;evil title\x07\x1b]2;evil title\x07[u]evil title",
    "\x1bP+q4576696c\x1b\\\x1b_evil\x1b\\\x1b^evil\x1b\\[u]evil device",
    "\x1b[?1049l\x1b[?1000l\x1bc\x1b[!p\x1b(0[u]evil reset",
    "\x1b[6n\x1b[c\x1b[21t\x05[u]evil question",
    "\u202e\u2066\u2067\u061c[u]evil bidi\u202c\u2069",
    "\u200b\u200d\ufeff\u00ad\u2060\U000e0041[u]evil hidden",
    "\r\b\b\b\v\f[u]evil overwrite",
    "[@click=app.quit][u]evil click[/]",
    "[link=http://evil.example][u]evil link[/link]",
    "[/][/nothing][[u]evil brackets[red on green",
    "$evil [$error][u]evil variable",
)
ALL = "".join(TEXTS) + CONTROLS
#: As a part of a path: no slash, no NUL, and not too long.
NAMES = tuple(
    text.replace("/", "|").replace("\0", "")
    for text in (*TEXTS, "[u]evil" + CONTROLS[1:40], "[u]evil" + CONTROLS[40:])
)
#: A name that is no UTF-8.
BYTES_NAME = b"\xff\xfe[u]evil\x9b2J\xc3"

#: What the workbench itself may say: colours and the cursor, modes, titles, and its questions.
_OWN = re.compile(
    r"\x1b\[(?:[\d;:]*m|\d*;?\d*[HABCDGJKX]|\?[\d;]*[hl$p]+|[?>=<]?[\d;]*[uctn]|[\d ]*q)"
    r"|\x07?\x1b\](?:2|9);(?P<title>[^\x07\x1b]*)\x07"
    r"|\x1b\[\?\d+\$p|\x1b\[22;2t|\x1b\[23;2t|\x1b[78=>]|\x1b\[\?[\d;]*u|\x1b\]22;[a-z-]+\x07"
)

#: What the texts above would have the terminal do, as far as the workbench could say it, too.
_THEIRS = (
    "\x1b[5;66m", "\x1b[66;66H", "\x1b[?1049l\x1b[?1000l", "\x1b]2;evil", "\x1b]8", "\x1b]52",
    "\x1b[6n\x1b[c", "\x1b[21t",
)  # fmt: skip


def faults(sent: bytes) -> list[str]:
    """What in the bytes to a terminal is not the workbench's own, or acts without showing."""
    text = sent.decode("utf-8")  # anything else is a fault by itself
    found = []
    found += [f"a sequence of theirs: {theirs!r}" for theirs in _THEIRS if theirs in text]

    def own(match: re.Match[str]) -> str:
        return match["title"] or ""  # what it says must be clean, too

    rest = _OWN.sub(own, text)
    for at, letter in enumerate(rest):
        if letter in "\r\n\x0e\x0f":
            continue
        if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
            found.append(f"{letter!r} near {rest[max(0, at - 30) : at + 30]!r}")
    return found


def markup_faults(screen: str) -> list[str]:
    """Lines in which brackets have vanished: they were read as markup."""
    return [
        line
        for line in screen.splitlines()
        for found in re.finditer("evil (?:click|link|brackets|variable|sgr)", line)
        if not line[: found.start()].endswith("[u]")
        and line[: found.start()].strip(" │▌") not in ("", "]", "u]")  # a wrapped line
    ]
