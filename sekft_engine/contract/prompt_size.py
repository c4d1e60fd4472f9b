"""The least number of tokens of a prompt, to be compared with the server's count.

A server whose context is full may silently drop the beginning of a session. Its
``usage.prompt_tokens`` shows that.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sekft_engine.contract.faults import Simulator, after_thoughts, cut_thoughts
from sekft_engine.core.errors import BadInput
from sekft_engine.data.trajectory import Turn
from sekft_engine.render.template.prompt import encode_prompt
from sekft_engine.render.template.tokenizer import ChatTokenizer

#: Servers may or may not count a BOS or the end of a prompt. A cut of fewer tokens is found later:
#: the next prompt is longer, and more of it is missing.
SLACK = 2


class PromptSize:
    """The least size of prompts. Thread-safe.

    Args:
        tokenizer: of the base that the server holds.
        checked: the server's prompts are equal to training's. Then the count is exact, apart from
            quoted control tokens, which most servers parse. Else only the contents of turns are
            counted, whatever the template.
    """

    def __init__(self, tokenizer: ChatTokenizer, *, checked: bool) -> None:
        self._tokenizer, self._checked = tokenizer, checked
        self._simulator = Simulator(tokenizer)
        self._lock = threading.Lock()

    def least(self, turns: Sequence[Turn]) -> int:
        """The fewest tokens that a server may count for the prompt after ``turns``."""
        with self._lock:  # the tokenizer caches facts of its template
            if self._checked:
                try:
                    return max(0, self._exact(turns) - SLACK)
                except BadInput:  # training refuses such a session, a server need not
                    pass
            return sum(self._words(turn) for turn in turns)

    def _exact(self, turns: Sequence[Turn]) -> int:
        ours = len(encode_prompt(self._tokenizer, turns))
        text = self._tokenizer.render_text(turns, add_generation_prompt=True)
        return min(ours, len(self._simulator.naive(text)))

    def _words(self, turn: Turn) -> int:
        """The fewest tokens of a turn's content.

        Templates trim it, and remove thoughts from commands. A token at either end may be merged
        with one of the template's.
        """
        text = turn.content
        if turn.is_command:
            text = min(cut_thoughts(text), after_thoughts(text), key=len)
        return max(0, len(self._simulator.naive(text.strip())) - 2)
