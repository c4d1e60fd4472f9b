"""How much of held-out worlds is in the training data: exact and by n-grams.

Directives and the commands of reference solutions are compared. A rate says something only beside
one that is known, so the same is reckoned for a contaminated copy of the held-out worlds, in which
one world in ten is a training world.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

import msgspec

from sekft_engine.data.scenario import Scenario

#: Words in a row that count as the same text: of directives, and of commands.
DIRECTIVE_WORDS, COMMAND_WORDS = 8, 4
#: The control's share of training worlds.
CONTAMINATION = 0.1
_TOKEN = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """What of some texts is in the training data.

    Attributes:
        texts: number of different texts.
        exact: how many of them are texts of the training data.
        ngrams: number of different n-grams.
        shared: how many of them are n-grams of the training data.
        touched: number of texts with at least one such n-gram.
        examples: some of the texts that are there whole.
    """

    texts: int
    exact: int
    ngrams: int
    shared: int
    touched: int
    examples: tuple[str, ...] = ()


class Leakage(msgspec.Struct, frozen=True, kw_only=True):
    """The overlaps of held-out worlds with training worlds, and of the control."""

    worlds: int
    directives: Overlap
    commands: Overlap


class LeakageReport(msgspec.Struct, frozen=True, kw_only=True):
    """The report of :func:`leakage`.

    Attributes:
        training: number of training worlds.
        held_out: what the held-out worlds share with them.
        control: the same for the contaminated copy.
        contaminated: number of training worlds in that copy.
    """

    training: int
    held_out: Leakage
    control: Leakage
    contaminated: int

    @property
    def sound(self) -> bool:
        """Whether no directive is in both, and the control would have shown one."""
        return self.held_out.directives.exact == 0 and self.control.directives.exact > 0


def normalised(text: str) -> str:
    """``text`` in lower case, numbers as ``0``, one blank between words and signs."""
    tokens = _TOKEN.findall(text.lower())
    return " ".join("0" if token.isdecimal() else token for token in tokens)


def leakage(training: Sequence[Scenario], held_out: Sequence[Scenario]) -> LeakageReport:
    """How much of ``held_out`` is in ``training``.

    Commands that every session has (``exit``, ``ls``, ``env``) say nothing, so only those with
    two words or more are compared.
    """
    count = max(1, round(len(held_out) * CONTAMINATION)) if training else 0
    step = max(1, len(training) // max(1, count))
    contaminated = [*held_out[count:], *training[::step][:count]]
    return LeakageReport(
        training=len(training),
        held_out=_compare(training, held_out),
        control=_compare(training, contaminated),
        contaminated=count,
    )


def _compare(training: Sequence[Scenario], worlds: Sequence[Scenario]) -> Leakage:
    return Leakage(
        worlds=len(worlds),
        directives=_overlap(training, worlds, _directives, DIRECTIVE_WORDS),
        commands=_overlap(training, worlds, _commands, COMMAND_WORDS),
    )


def _directives(scenario: Scenario) -> list[str]:
    return [normalised(scenario.directives)]


def _commands(scenario: Scenario) -> list[str]:
    found = [normalised(command) for command in scenario.reference_solution]
    return [command for command in found if " " in command]


def _overlap(
    training: Iterable[Scenario],
    worlds: Iterable[Scenario],
    texts_of: Callable[[Scenario], list[str]],
    size: int,
) -> Overlap:
    known = {text for scenario in training for text in texts_of(scenario)}
    known_grams = {gram for text in known for gram in _ngrams(text, size)}
    texts = {text for scenario in worlds for text in texts_of(scenario)}
    grams = {gram for text in texts for gram in _ngrams(text, size)}
    same = sorted(texts & known)
    return Overlap(
        texts=len(texts),
        exact=len(same),
        ngrams=len(grams),
        shared=len(grams & known_grams),
        touched=sum(any(gram in known_grams for gram in _ngrams(text, size)) for text in texts),
        examples=tuple(same[:5]),
    )


def _ngrams(text: str, size: int) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}
