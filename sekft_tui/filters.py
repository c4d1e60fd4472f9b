"""The filter language of the lists: words, and ``field:value`` for what a row is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Terms = tuple[tuple[str, str], ...]
HINT = "words  archetype:…  outcome:exit|panic|cap|error  keep:yes|no"


def parse(text: str) -> Terms:
    """``(field, value)`` pairs, all to hold; a bare word has the field ''. Lower case."""
    terms = []
    for word in text.lower().split():
        name, colon, value = word.partition(":")
        terms.append((name, value) if colon else ("", word))
    return tuple(terms)


def matches(
    terms: Terms,
    facts: Mapping[str, str],
    text: Callable[[], str],
) -> bool:
    """Whether a row with ``facts`` (and, for bare words, ``text``) passes every term.

    A field matches on its beginning, so ``keep:y`` and ``arch:grep`` do.
    """
    for name, value in terms:
        if not name:
            if value not in text():
                return False
            continue
        fields = [fact for key, fact in facts.items() if key.startswith(name)]
        if not any(fact.lower().startswith(value) or value in fact.lower() for fact in fields):
            return False
    return True
