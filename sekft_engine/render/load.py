"""From what a person calls a base to its tokenizer."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.render.tokenizer import ChatTokenizer
from sekft_engine.workspace import Workspace


def load_tokenizer(base: str, workspace: Workspace | None = None) -> ChatTokenizer:
    """The tokenizer of ``base``. A folder needs no weights for it: masks can be looked at on a
    machine that could never hold the model.

    Raises:
        BadInput, Unavailable: as :func:`sekft_engine.bases.resolve_base` and
            :meth:`ChatTokenizer.load`.
    """
    folder = Path(base).expanduser()
    if base and (folder / "tokenizer.json").is_file():
        return ChatTokenizer.load(folder)
    from sekft_engine.bases import resolve_base

    return ChatTokenizer.load(resolve_base(base, workspace))
