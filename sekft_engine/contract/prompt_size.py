"""How many tokens a prompt has at least: held against what a server says it fed.

A server whose context is full may cut the beginning of a session without a word and answer all the
same. Its ``usage.prompt_tokens`` shows it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sekft_engine.contract.faults import Simulator, after_thoughts, cut_thoughts
from sekft_engine.errors import BadInput
from sekft_engine.render.tokenizer import ChatTokenizer
from sekft_engine.trajectory import Turn

#: Servers that feed the same tokens count a BOS or the end of a prompt in or out. Less than that is
#: never cut for long: the next turn is longer, and more of it is missing.
SLACK = 2


class PromptSize:
    """The least size of prompts. For any thread.

    Args:
        tokenizer: of the base that the server holds.
        checked: the server was seen to feed what training feeds. Then it is known to the token,
            but for control tokens that a turn quotes, which most servers make real ones of. Else
            only what the turns say is counted, whatever template wraps them.
    """

    def __init__(self, tokenizer: ChatTokenizer, *, checked: bool) -> None:
        self._tokenizer, self._checked = tokenizer, checked
        self._simulator = Simulator(tokenizer)
        self._lock = threading.Lock()

    def least(self, turns: Sequence[Turn]) -> int:
        """Fewest tokens that a server may count for the prompt after ``turns``."""
        with self._lock:  # a tokenizer keeps what it learnt of its template
            if self._checked:
                try:
                    return max(0, self._exact(turns) - SLACK)
                except BadInput:  # training refuses such a session; a server may not
                    pass
            return sum(self._words(turn) for turn in turns)

    def _exact(self, turns: Sequence[Turn]) -> int:
        ours = len(self._tokenizer.encode_prompt(turns))
        text = self._tokenizer.render_text(turns, add_generation_prompt=True)
        return min(ours, len(self._simulator.naive(text)))

    def _words(self, turn: Turn) -> int:
        """Tokens of what a turn says; templates trim it, and cut thoughts out of commands. At its
        edges a token may be one with the template's."""
        text = turn.content
        if turn.is_command:
            text = min(cut_thoughts(text), after_thoughts(text), key=len)
        return max(0, len(self._simulator.naive(text.strip())) - 2)
