"""Copy through the terminal (OSC 52), which works over SSH; wrapped for tmux and screen."""

from __future__ import annotations

import base64
import os

#: Terminals drop longer sequences, some without a word.
LIMIT = 100_000


def osc52(text: str, environ: dict[str, str] | None = None) -> str:
    """The escape sequence that asks the terminal to take ``text`` into its clipboard."""
    env = os.environ if environ is None else environ
    payload = base64.b64encode(text.encode("utf-8", "replace")[:LIMIT]).decode("ascii")
    sequence = f"\x1b]52;c;{payload}\x07"
    if env.get("TMUX"):
        doubled = sequence.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{doubled}\x1b\\"
    return sequence
