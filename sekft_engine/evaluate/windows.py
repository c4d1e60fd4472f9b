"""How far back the layers of a model look: sliding windows and chunks, as its configuration says.

The rules are those of ``transformers.masking_utils``: with a window of ``w`` the token at position
``p`` sees ``p - w + 1 .. p``; with chunks of ``c`` it sees its own chunk up to itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.errors import Unavailable

if TYPE_CHECKING:
    from torch import Tensor

#: The attribute of a configuration that holds how far layers of a kind look.
_HELD_IN = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
_FULL = "full_attention"


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """What each kind of layer sees.

    Attributes:
        reach: kind -> how far its layers look, in tokens; None = to the beginning.
        named: the model takes a mask for each kind, by its name; else one for all layers.
    """

    reach: dict[str, int | None]
    named: bool

    @property
    def shortest(self) -> int | None:
        """Sessions up to this length are seen whole by every layer; None = any session is."""
        return min((far for far in self.reach.values() if far), default=None)

    def seen(self, slots: Tensor, column: Tensor, kind: str) -> Tensor:
        """What layers of ``kind`` see, without what comes later.

        Args:
            slots: ``[rows, queries, 1]``, where each query lies (its position + 1).
            column: ``[span]``, the slots that it may look at.

        Returns:
            ``[rows, queries, span]``, true = it may be seen.
        """
        far = self.reach[kind]
        if not far:
            return column <= slots
        if kind == "chunked_attention":
            return (column <= slots) & ((column - 1) // far == (slots - 1) // far)
        return (column <= slots) & (column > slots - far)


def windows_of(config: Any) -> Windows:
    """How far the layers of a model with this configuration look.

    Raises:
        Unavailable: it has layers that are no attention, or attention of an unknown kind.
    """
    text = _text(config)
    kinds = getattr(text, "layer_types", None)
    if kinds:
        strange = sorted({str(kind) for kind in kinds} - {_FULL, *_HELD_IN})
        if strange:
            raise Unavailable(
                f"layers of the kind {', '.join(strange)} keep a state of their own, which "
                "batched episodes cannot hold yet",
                where=str(getattr(text, "model_type", "this base")),
                mend="serve the base, and evaluate it with --endpoint",
            )
        return Windows(reach={kind: _far(text, kind) for kind in sorted(set(kinds))}, named=True)
    for kind in _HELD_IN:
        if far := _far(text, kind):
            return Windows(reach={kind: far}, named=False)
    return Windows(reach={_FULL: None}, named=False)


@contextlib.contextmanager
def shortened(config: Any, length: int) -> Iterator[None]:
    """All windows of a model are ``length`` while this is entered: what they do then shows in
    sessions of a few tokens."""
    text = _text(config)
    before = {name: getattr(text, name, None) for name in _HELD_IN.values()}
    try:
        for name, far in before.items():
            if far:
                setattr(text, name, length)
        yield
    finally:
        for name, far in before.items():
            if far:
                setattr(text, name, far)


def _text(config: Any) -> Any:
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _far(text: Any, kind: str) -> int | None:
    held = _HELD_IN.get(kind)
    far = getattr(text, held, None) if held else None
    return int(far) if far else None
