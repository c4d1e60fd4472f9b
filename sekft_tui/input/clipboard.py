"""What ``y`` and ``Y`` do: copy through the terminal (OSC 52), or write a file.

OSC 52 works over SSH, and from within tmux and screen. No terminal answers, and each drops what it
finds too long. So a text that is too big goes to a file, and the user is told what was sent.
"""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Callable
from pathlib import Path

from sekft_engine.core.errors import BadInput
from sekft_engine.core.files import write_whole

#: Bytes that common terminals accept; some accept less and do not say so.
LIMIT = 74_000
#: GNU screen cuts longer sequences.
_SCREEN = 240


def osc52(text: str, environ: dict[str, str] | None = None) -> str:
    """The escape sequence that asks the terminal to put ``text`` into its clipboard.

    Within tmux or screen it is wrapped, so that they pass it on. At most :data:`LIMIT` bytes are
    sent, cut between characters.
    """
    env = os.environ if environ is None else environ
    cut = text.encode("utf-8", "replace")[:LIMIT].decode("utf-8", "ignore").encode()
    sequence = f"\x1b]52;c;{base64.b64encode(cut).decode('ascii')}\x07"
    if env.get("TMUX"):
        doubled = sequence.replace("\x1b", "\x1b\x1b")
        return f"\x1bPtmux;{doubled}\x1b\\"
    if env.get("STY"):
        parts = (sequence[at : at + _SCREEN] for at in range(0, len(sequence), _SCREEN))
        return "".join(f"\x1bP{part}\x1b\\" for part in parts)
    return sequence


def requests(text: str, environ: dict[str, str] | None = None) -> str:
    """:func:`osc52`, and within tmux the plain request before it: tmux itself obeys that one with
    ``set-clipboard on``, and passes the wrapped one on with ``allow-passthrough on``; each is
    ignored under the other setting."""
    env = os.environ if environ is None else environ
    plain = osc52(text, {}) if env.get("TMUX") else ""
    return plain + osc52(text, dict(env))


def fits(text: str) -> bool:
    """Whether ``text`` can be sent whole."""
    return len(text) <= LIMIT and len(text.encode("utf-8", "replace")) <= LIMIT


def copy(
    text: str, what: str, write: Callable[[str], None], folder: Path, name: str = "sekft-copy"
) -> str:
    """Send ``text`` to the clipboard, or write it to a file if it is too big.

    Args:
        what: what to call it, e.g. ``command 3``.
        write: writes an escape sequence to the terminal.
        folder: where a file would go.

    Returns:
        What was done, for the user to read.

    Raises:
        BadInput: the file cannot be written.
    """
    size = f"{len(text):,} character{'s' if len(text) != 1 else ''}"
    if fits(text):
        write(requests(text))
        hint = ""
        if os.environ.get("TMUX"):
            hint = "; tmux passes it on with: set -g set-clipboard on"
        return f"{what}: {size} sent to the terminal's clipboard{hint}"
    path = (folder / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.txt").absolute()
    try:
        write_whole(path, text.encode("utf-8", "replace"))
    except OSError as error:
        raise BadInput(f"cannot be written: {error.strerror}", where=str(path)) from error
    return f"{what}: {size}, too many for a clipboard, written to {path}"


def save(text: str, name: str) -> str:
    """Write ``text`` to a new file in the present folder.

    Args:
        name: what the file's name begins with.

    Returns:
        Where it was written, for the user to read.

    Raises:
        BadInput: the file cannot be written.
    """
    path = Path(f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.txt").absolute()
    try:
        path.write_text(text + "\n", encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadInput(str(error.strerror), where=str(path)) from error
    return f"written to {path}"
