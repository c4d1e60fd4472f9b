"""A tokenizer's chat template, rendered as transformers renders it but without transformers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import jinja2

from sekft_engine.data.clock import Clock
from sekft_engine.render.template.normalise import Refused
from sekft_engine.render.template.sandbox.environment import environment, joined
from sekft_engine.render.template.sandbox.limits import (
    LONGEST_SOURCE,
    LimitReached,
    within_limits,
)

#: A template that reached a limit in so many renders is not tried again.
_MOST_STRIKES = 3
#: Most characters of what a template's own error says.
_MOST_WORDS = 300

Result = TypeVar("Result")


class ChatTemplate:
    """A compiled chat template.

    Args:
        source: Jinja source.
        tokens: named special tokens (``bos_token``, ...) that it may print.
        where: what errors name.
        clock: what it prints as now; None = the time at which this object is made.

    Raises:
        Refused: it is no valid template.
    """

    def __init__(
        self, source: str, tokens: Mapping[str, str], where: str, clock: Clock | None = None
    ) -> None:
        self.source = source
        self.where = where
        self.tokens = dict(tokens)
        self.clock = clock or Clock.now()
        #: Each pattern that the template has asked the clock with, and what it was told.
        self.asked: dict[str, str] = {}
        self._strftime_now = self._calendar()
        self._strikes = 0
        self._limit = ""
        self._compiled = self._compile()

    def _compile(self) -> jinja2.Template:
        if len(self.source) > LONGEST_SOURCE:
            raise self._broken(f"it is longer than {LONGEST_SOURCE:,} characters")
        try:
            self.source.encode()
            return within_limits(lambda: environment().from_string(self.source), 0)
        except Exception as error:
            raise self._broken(words_of(error)) from error

    def _broken(self, why: str) -> Refused:
        return Refused(
            "template_error",
            f"broken chat template: {why}",
            where=self.where,
            mend="take the template from the base's own repository",
        )

    def render(
        self, messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool = False
    ) -> str:
        """The text of a session.

        Args:
            messages: dictionaries with ``role`` and ``content``.
            add_generation_prompt: whether to add what asks the model for its turn.

        Raises:
            Refused: the template raises an exception, whose text is in the error, or does not end.
        """

        def work() -> str:
            variables = self.variables(list(map(dict, messages)), add_generation_prompt)
            context = self._compiled.new_context(variables)
            return joined(self._compiled.root_render_func(context))

        try:
            return self.run(work, len(messages))
        except Exception as error:
            raise Refused(
                "template_error",
                f"the chat template refuses the session: {words_of(error)}",
                where=self.where,
            ) from error

    def run(self, work: Callable[[], Result], messages: int) -> Result:
        """The result of ``work``, which runs this template over so many messages.

        Raises:
            LimitReached: it does not end, now or several times before.
            Exception: whatever the template raises.
        """
        if self._strikes >= _MOST_STRIKES:
            raise LimitReached(self._limit)
        try:
            return within_limits(work, messages)
        except LimitReached as error:
            self._strikes += 1
            self._limit = str(error)
            raise

    @property
    def reached_limit(self) -> bool:
        """Whether some render did not end."""
        return self._strikes > 0

    def variables(self, messages: object, add_generation_prompt: bool) -> dict[str, Any]:
        """The variables of a render, besides the environment's own names."""
        variables: dict[str, Any] = {"messages": messages, "tools": None, "documents": None}
        variables["strftime_now"] = self._strftime_now
        return variables | {"add_generation_prompt": add_generation_prompt} | self.tokens

    @property
    def may_read_clock(self) -> bool:
        """Whether the template's source names the clock; whether it reads it, renders show."""
        return "strftime_now" in self.source

    def _calendar(self) -> Callable[[str], str]:
        """``strftime_now``: the local time, as the serving side prints it.

        All renders are of one moment. A session must not be rendered with another date than the
        scaffold it is compared with, nor the last row of a data set with another than the first.
        """

        @cache
        def strftime_now(pattern: str) -> str:
            told = self.clock.strftime(pattern)
            if len(self.asked) < 100:
                self.asked[pattern] = told
            return told

        return strftime_now


def words_of(error: Exception) -> str:
    """What went wrong in a template, in a line."""
    if isinstance(error, RecursionError):
        return "it calls itself too deep"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    said = " ".join(str(error).split())
    said = said if len(said) <= _MOST_WORDS else f"{said[:_MOST_WORDS]}..."
    if isinstance(error, jinja2.TemplateError | LimitReached) and said:
        return said
    return f"{type(error).__name__}: {said}" if said else type(error).__name__
