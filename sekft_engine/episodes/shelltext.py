"""Splits a typed turn into simple commands and their words, as a POSIX shell does.

Here-document bodies, comments and quoted text are not words: they are data, and may be English.

The text is read once from left to right, without recursion, so that the time is linear in its
length. The rules are those of POSIX.1-2017, "2. Shell Command Language": quoting (2.2), token
recognition (2.3) and here-documents (2.7.4).
"""

from __future__ import annotations

import re
from collections import deque

#: Stands for a quoted or substituted part of a word.
QUOTED = "\x00"

#: An apostrophe that belongs to an English word, such as in ``I'm``, ``don't``, ``user's``.
_CONTRACTION = re.compile(r"(?<=[A-Za-z])'(?:m|s|t|re|ve|ll|d)(?=[\s.,;:!?)]|$)", re.IGNORECASE)
_PLAIN = re.compile(r"[^\s\\'\"`#<;|&()]+")
_BLANKS = re.compile(r"[^\S\n]+")
#: A piece of a here-document's delimiter, which may be quoted in part or in whole.
_DELIMITER = re.compile(r"""[^\s;|&()<>'"\\`]+|'[^'\n]*'|"[^"\n]*"|\\[^\n]""")
#: Where a double-quoted part or an old command substitution may end.
_CLOSERS = {'"': re.compile(r'[\\"]'), "`": re.compile(r"[\\`]")}


def simple_commands(turn: str) -> list[list[str]]:
    """The words of each simple command in ``turn``, in order.

    Quoted text is replaced by :data:`QUOTED`. A quote that is never closed quotes nothing, since
    prose has apostrophes. Redirections stay as words, here-documents are left out. White space
    around a here-document's delimiter is ignored: ``EOF `` ends it too.
    """
    return _Reader(as_typed(turn)).read()


def as_typed(turn: str) -> str:
    """``turn`` as the shell receives it: with LF line ends, and without NUL."""
    return turn.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._word: list[str] = []
        self._words: list[str] = []
        self._commands: list[list[str]] = []
        #: Delimiters of here-documents whose bodies begin after this line.
        self._delimiters: deque[str] = deque()
        #: Quote characters that occur no more in the rest of the text.
        self._unclosed: set[str] = set()
        #: Open parentheses of an arithmetic expansion, in which ``<<`` shifts.
        self._arithmetic = 0

    def read(self) -> list[list[str]]:
        text = self._text
        while self._at < len(text):
            plain = _PLAIN.match(text, self._at)
            if plain:
                self._word.append(plain[0])
                self._at = plain.end()
            else:
                self._special(text[self._at])
        self._end_command()
        return self._commands

    def _special(self, char: str) -> None:
        """Read ``char``, which may have a meaning for the shell, and what belongs to it."""
        text, at = self._text, self._at
        if char == "\n":
            self._end_command()
            self._arithmetic = 0
            self._at += 1
            self._skip_bodies()
        elif char in ";|&()":
            self._count_parenthesis(char)
            self._end_command()
            self._at += 1
        elif char == "\\" and at + 1 < len(text):
            if text[at + 1] == "\n":
                self._end_word()
            else:
                self._word.append(QUOTED)
            self._at += 2
        elif char == "#" and not self._word:
            line_end = text.find("\n", at)
            self._at = line_end if line_end >= 0 else len(text)
        elif char in "'\"`":
            self._quote(char)
        elif char == "<":
            self._less()
        elif blanks := _BLANKS.match(text, at):
            self._end_word()
            self._at = blanks.end()
        else:
            self._literal(char)

    def _literal(self, chars: str) -> None:
        self._word.append(chars)
        self._at += len(chars)

    def _count_parenthesis(self, char: str) -> None:
        if char == "(" and (self._arithmetic or self._text.startswith("$((", max(self._at - 1, 0))):
            self._arithmetic += 1
        elif char == ")" and self._arithmetic:
            self._arithmetic -= 1

    def _quote(self, quote: str) -> None:
        contraction = _CONTRACTION.match(self._text, self._at) if quote == "'" else None
        if contraction:
            self._literal(contraction[0])
            return
        close = self._closing(quote)
        if close < 0:
            self._literal(quote)
        else:
            self._word.append(QUOTED)
            self._at = close + 1

    def _closing(self, quote: str) -> int:
        """The position where the quote that opens here closes; -1 where it does not.

        The search fails once for each kind of quote: a later one is not closed either.
        """
        text, at = self._text, self._at + 1
        if quote in self._unclosed:
            return -1
        if quote == "'":
            found = text.find("'", at)
            if found >= 0:
                return found
        else:
            while match := _CLOSERS[quote].search(text, at):
                if match[0] == quote:
                    return match.start()
                at = match.end() + 1  # what follows a backslash closes nothing
        self._unclosed.add(quote)
        return -1

    def _less(self) -> None:
        """``<`` redirects; ``<<`` announces a here-document, but in arithmetic or as ``<<<``."""
        text = self._text
        if text.startswith("<<<", self._at):
            self._literal("<<<")
        elif self._arithmetic or not text.startswith("<<", self._at):
            self._literal("<")
        elif not self._announce():
            self._literal("<<")

    def _announce(self) -> bool:
        """Read ``<<`` or ``<<-`` with its delimiter; False where no delimiter follows."""
        text = self._text
        at = self._at + 2
        at += text.startswith("-", at)
        blanks = _BLANKS.match(text, at)
        at = blanks.end() if blanks else at
        pieces: list[str] = []
        if text.startswith("#", at):  # a comment
            return False
        while piece := _DELIMITER.match(text, at):
            pieces.append(_unquoted(piece[0]))
            at = piece.end()
        if not pieces:
            return False
        self._delimiters.append("".join(pieces))
        self._end_word()
        self._at = at
        return True

    def _skip_bodies(self) -> None:
        """Skip the bodies of the announced here-documents, which begin here."""
        text = self._text
        while self._delimiters and self._at < len(text):
            line_end = text.find("\n", self._at)
            line_end = line_end if line_end >= 0 else len(text)
            line = text[self._at : line_end]
            if self._delimiters[0] in (line, line.lstrip("\t").rstrip(" \t")):
                self._delimiters.popleft()
            self._at = line_end + 1

    def _end_word(self) -> None:
        if self._word:
            self._words.append("".join(self._word))
            self._word = []

    def _end_command(self) -> None:
        self._end_word()
        if self._words:
            self._commands.append(self._words)
            self._words = []


def _unquoted(piece: str) -> str:
    if piece[0] == "\\":
        return piece[1:]
    return piece[1:-1] if piece[0] in "'\"" else piece
