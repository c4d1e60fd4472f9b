"""Reads a typed turn as a shell would, far enough to know which words are commands and arguments.

Here-document bodies, comments and quoted text are not words: they are data, and may be English.
"""

from __future__ import annotations

import re

#: Stands for a quoted or substituted part in a word.
QUOTED = "\x00"

#: An apostrophe that belongs to an English word, such as in ``I'm``, ``don't``, ``user's``.
_CONTRACTION = re.compile(r"(?<=[A-Za-z])['’](?:m|s|t|re|ve|ll|d)(?=[\s.,;:!?)]|$)", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?\s*(['\"\\]?)([A-Za-z_][A-Za-z0-9_]*)\1")
_OPERATOR = re.compile(r"&&|\|\||[;|&()]")
_OPENERS = "'\"`"


def simple_commands(turn: str) -> list[list[str]]:
    """The words of each simple command in ``turn``, in order.

    Quoted text is replaced by :data:`QUOTED`; a quote that nothing closes quotes nothing (prose
    has apostrophes); redirections stay as words.
    """
    out = []
    for line in _without_heredocs(_without_quotes(turn)).split("\n"):
        for part in _OPERATOR.split(_without_comment(line)):
            words = part.split()
            if words:
                out.append(words)
    return out


def _without_quotes(text: str) -> str:
    out: list[str] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\" and at + 1 < len(text):
            out.append(QUOTED if text[at + 1] != "\n" else " ")
            at += 2
            continue
        heredoc = _HEREDOC.match(text, at)
        if heredoc:
            # Its delimiter may be quoted; its body is taken out with quotes and all.
            end = _heredoc_end(text, heredoc.end(), heredoc[2])
            line_end = text.find("\n", heredoc.end())
            line_end = len(text) if line_end < 0 else line_end
            out.append("<<" + heredoc[2] + _without_quotes(text[heredoc.end() : line_end]))
            at = max(end, line_end)
            continue
        contraction = _CONTRACTION.match(text, at)
        if contraction:
            out.append(contraction[0])
            at = contraction.end()
            continue
        if char in _OPENERS:
            close = _closing(text, at)
            if close > 0:
                out.append(QUOTED)
                at = close + 1
                continue
        elif char == "#" and (at == 0 or text[at - 1] in " \t\n;"):
            line_end = text.find("\n", at)
            at = len(text) if line_end < 0 else line_end
            continue
        out.append(char)
        at += 1
    return "".join(out)


def _closing(text: str, start: int) -> int:
    """Where the quote that opens at ``start`` closes, or -1."""
    quote = text[start]
    at = start + 1
    while at < len(text):
        if text[at] == "\\" and quote != "'":
            at += 2
            continue
        if text[at] == quote:
            return at
        at += 1
    return -1


def _heredoc_end(text: str, start: int, delimiter: str) -> int:
    """Where the line after the here-document's closing delimiter starts (or the text ends)."""
    close = re.compile(rf"\n\t*{re.escape(delimiter)}[ \t]*(?=\n|$)").search(text, start)
    return close.end() if close else len(text)


def _without_heredocs(text: str) -> str:
    return re.sub(r"<<[A-Za-z_][A-Za-z0-9_]*", " ", text)


def _without_comment(line: str) -> str:
    return re.sub(r"(^|\s)#.*", "", line)
