"""The filter language of lists and commands: words, ``field:value``, ``field>number``, ``-`` = not.

All terms of a filter hold together. A field may be shortened as long as it stays clear
(``arch:grep``), values may be alternatives (``outcome:cap,error``), quotes hold blanks together
(``"no such file"``), and a number may say ``2k`` or ``1.5M``.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Literal

import msgspec

from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import OUTCOMES

Kind = Literal["word", "yes", "number"]
#: What is known of a row: words, yes or no, numbers; None = not known of this row.
Value = str | bool | int | float | None
#: How a row is asked for a field.
Ask = Callable[[str], Value]

_YES = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_NUMBER = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([kmg]?)", re.ASCII)
_HEAD = re.compile(r"([a-z_]+)(>=|<=|[><=:])", re.ASCII)


class FilterField(msgspec.Struct, frozen=True):
    """A field of a row that a filter may name.

    Attributes:
        name: as a filter writes it.
        says: what it means, for a person.
        kind: of its values.
        choices: the only words that it may have; none = any word.
        aliases: other names.
        late: whether it is only known once the row is certified.
        example: of a number, with its sign.
    """

    name: str
    says: str
    kind: Kind = "word"
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    late: bool = False
    example: str = ">9"

    @property
    def usage(self) -> str:
        """How it is written: ``turns>9``, ``keep:yes``, ``outcome:exit``, ``id:…``."""
        if self.kind == "number":
            return f"{self.name}{self.example}"
        return f"{self.name}:" + ("yes" if self.kind == "yes" else (self.choices or ("…",))[0])


class Term(msgspec.Struct, frozen=True):
    """One condition; ``field`` '' = a word to be found in the text. Values are lower case."""

    field: str
    op: str
    values: tuple[str, ...]
    negated: bool = False

    def __str__(self) -> str:
        head = "-" if self.negated else ""
        if not self.field:
            return head + _quoted(self.values[0])
        return f"{head}{self.field}{self.op}" + ",".join(map(_quoted, self.values))


class Filter(msgspec.Struct, frozen=True):
    """Terms that all have to hold; none = everything passes."""

    terms: tuple[Term, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.terms)

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))


class BadFilter(BadInput):
    """A filter that cannot be understood; names the term and what would be right."""


def fields(*known: FilterField) -> Mapping[str, FilterField]:
    """A table of fields by name and alias."""
    return {name: field for field in known for name in (field.name, *field.aliases)}


TRAJECTORY = fields(
    FilterField("id", "its name"),
    FilterField("scenario", "the world it was recorded in"),
    FilterField("archetype", "the kind of task"),
    FilterField("provider", "the program that holds the task"),
    FilterField("channel", "how the task was announced", aliases=("announcement",)),
    FilterField("outcome", "how it ended", choices=OUTCOMES),
    FilterField("keep", "whether it is marked to be kept", "yes"),
    FilterField("clean", "whether it is commands only, no prose", "yes"),
    FilterField("verified", "whether the checker passed", "yes"),
    FilterField("turns", "turns of both sides", "number"),
    FilterField("steps", "commands that were typed", "number", aliases=("commands",)),
    FilterField("length", "characters, not tokens", "number", aliases=("characters",)),
    FilterField("tokens", "tokens of its row", "number", late=True),
    FilterField("trained", "tokens of it that are trained", "number", late=True),
    FilterField("share", "per cent of its tokens that are trained", "number", late=True),
    FilterField("dropped", "whether it is left out of training", "yes", late=True),
    FilterField("reason", "the name of why it is left out", late=True),
)
HINT = 'words -not "a phrase" archetype:… outcome:panic keep:no turns>9 tokens<2k dropped:yes'
EPISODE = fields(
    FilterField("run", "the run it belongs to"),
    FilterField("model", "the base, adapter or control that typed", aliases=("subject",)),
    FilterField("scenario", "the world"),
    FilterField("archetype", "the kind of task"),
    FilterField("outcome", "how it ended", choices=OUTCOMES),
    FilterField("keep", "whether it is marked to be kept", "yes"),
    FilterField("verified", "whether the checker passed", "yes"),
    FilterField("clean", "whether it is commands only, no prose", "yes"),
    FilterField("invalid", "whether something other than the model broke", "yes"),
)
#: What may be written besides fields, with what it means.
SYNTAX = (
    ("words", "stand in the contents or in the name"),
    ('"a phrase"', "stand together; a quoted - or : is itself"),
    ("-word -keep:yes", "a - before anything says not"),
    ("outcome:cap,error", "a comma between alternatives"),
    ("arch:grep", "a name and a word may be cut short"),
    ("length>=2k tokens<1.5M", "numbers take > >= < <= : and k, M, G"),
)
#: Where all fields are listed.
LISTED = "? in the workbench and docs/filters.md list all fields"


def parse(
    text: str, known: Mapping[str, FilterField] = TRAJECTORY, *, typing: bool = False
) -> Filter:
    """The filter that ``text`` says.

    Args:
        typing: it is being typed: a term still without a value (``keep:``) is left out.

    Raises:
        BadFilter: an unknown or unclear field, a field without a value, or with one that it cannot
            have.
    """
    terms = (_term(word, known, typing=typing) for word in _words(text))
    return Filter(tuple(term for term in terms if term is not None))


def matches(wanted: Filter, ask: Ask, text: Callable[[], str]) -> bool:
    """Whether a row passes; its ``text`` (lower case) is only fetched when all else holds."""
    late = []
    for term in wanted.terms:
        if not term.field:
            late.append(term)
        elif holds(term, ask(term.field)) is term.negated:
            return False
    if not late:
        return True
    body = text()
    return all((term.values[0] in body) is not term.negated for term in late)


def holds(term: Term, value: Value) -> bool:
    """Whether ``value`` is what the term says, its ``-`` left aside."""
    if value is None:
        return False
    if isinstance(value, bool):
        return any(_YES[wanted] is value for wanted in term.values)
    if isinstance(value, str):
        value = value.lower()
        return any(wanted in value for wanted in term.values)
    limits = [number(limit) for limit in term.values]
    if term.op == ">":
        return value > limits[0]
    if term.op == ">=":
        return value >= limits[0]
    if term.op == "<":
        return value < limits[0]
    if term.op == "<=":
        return value <= limits[0]
    return value in limits


def number(text: str) -> float:
    """``2k`` as 2000.0; raises ValueError."""
    found = _NUMBER.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return float(found[1]) * _UNITS[found[2]]


# --- reading -------------------------------------------------------------------------------


def _words(text: str) -> list[tuple[str, list[bool]]]:
    """Words with, for each character, whether it stood in quotes. An open quote runs to the end."""
    out: list[tuple[str, list[bool]]] = []
    word: list[str] = []
    flags: list[bool] = []
    quoted = begun = False
    for character in text.lower():
        if character == '"':
            quoted, begun = not quoted, True
        elif character.isspace() and not quoted:
            if word:
                out.append(("".join(word), flags))
            word, flags, begun = [], [], False
        else:
            word.append(character)
            flags.append(quoted)
    if word and (begun or word):
        out.append(("".join(word), flags))
    return out


def _term(
    word: tuple[str, list[bool]], known: Mapping[str, FilterField], *, typing: bool
) -> Term | None:
    text, quoted = word
    negated = text[0] == "-" and not quoted[0]
    if negated:
        text, quoted = text[1:], quoted[1:]
    if not text:
        return None
    head = _HEAD.match(text)
    if head is None or any(quoted[: head.end()]):
        return Term("", "", (text,), negated)
    name, op = head[1], head[2]
    field = _field(name, op, known)
    if field is None:
        return Term("", "", (text,), negated)
    values = _values(text[head.end() :], quoted[head.end() :])
    if not values and typing:
        return None
    if not values:
        raise BadFilter(f"{name}{op} is without a value", mend=f"as {field.usage}")
    return Term(field.name, *_checked(field, op, values), negated)


def _field(name: str, op: str, known: Mapping[str, FilterField]) -> FilterField | None:
    """The field called ``name``; None where this is rather a word with such a character in it."""
    if name in known:
        return known[name]
    found = {field.name: field for key, field in known.items() if key.startswith(name)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        raise BadFilter(f"{name} could be {_listed(sorted(found))}")
    # What only resembles a field may be a word in which a sign happens to stand: foo=bar.
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6 if op == ":" else 0.8)
    if op == ":" or close:
        what = f"no field {name!r}" + (f", but {_listed(close)}" if close else "")
        raise BadFilter(what, mend=f'{LISTED}; "quote" words to find them')
    return None


def _values(text: str, quoted: list[bool]) -> tuple[str, ...]:
    """Alternatives, split at commas outside of quotes."""
    out, start = [], 0
    for at in range(len(text) + 1):
        if at == len(text) or (text[at] == "," and not quoted[at]):
            if text[start:at]:
                out.append(text[start:at])
            start = at + 1
    return tuple(out)


def _checked(field: FilterField, op: str, values: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The term's operator and values in full, or what is wrong with them."""
    if field.kind == "number":
        for value in values:
            if _NUMBER.fullmatch(value) is None:
                raise BadFilter(
                    f"{field.name} is a number, not {value!r}", mend=f"as in {field.usage}"
                )
        if op not in "=:" and len(values) > 1:
            raise BadFilter(f"{field.name}{op} takes one number")
        return ("=" if op == ":" else op), values
    if op not in "=:":
        raise BadFilter(f"{field.name} is no number", mend=f"write {field.name}:…")
    choices = ("yes", "no") if field.kind == "yes" else field.choices
    if choices:
        values = tuple(_chosen(field, value, choices) for value in values)
    return ":", values


def _chosen(field: FilterField, value: str, choices: tuple[str, ...]) -> str:
    if field.kind == "yes" and value in _YES:
        return "yes" if _YES[value] else "no"
    found = [choice for choice in choices if choice.startswith(value)]
    if len(found) != 1:
        raise BadFilter(f"{field.name} is {_listed(choices)}, not {value!r}")
    return found[0]


def _listed(names: list[str] | tuple[str, ...]) -> str:
    return " or ".join((", ".join(names[:-1]), names[-1])) if len(names) > 1 else names[0]


def _quoted(value: str) -> str:
    """A value as it has to be written to be read back."""
    plain = not re.search(r"[\s,:<>=]", value) and not value.startswith("-")
    return value if plain else f'"{value}"'
