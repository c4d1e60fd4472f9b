"""Attention windows of a model's layers, sliding or in chunks, as its configuration says.

The rules are those of ``transformers.masking_utils``: with a window of ``w`` the token at position
``p`` attends to ``p - w + 1 .. p``; with chunks of ``c`` it attends to its own chunk up to itself.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.core.errors import Unavailable

if TYPE_CHECKING:
    from torch import Tensor

#: The attribute of a configuration that holds the window of a kind of layers.
_HELD_IN = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
_FULL = "full_attention"


class Windows(msgspec.Struct, frozen=True, kw_only=True):
    """The attention window of each kind of layer.

    Attributes:
        reach: kind -> its window in tokens; None = all earlier tokens.
        named: the model takes a mask for each kind, by its name; else one for all layers.
    """

    reach: dict[str, int | None]
    named: bool

    @property
    def shortest(self) -> int | None:
        """The shortest window in tokens: no layer's window matters up to it; None = no windows."""
        return min((window for window in self.reach.values() if window), default=None)

    def causal_mask(self, slots: Tensor, keys: Tensor, kind: str) -> Tensor:
        """The attention mask of layers of ``kind``.

        Args:
            slots: the slot of each query (its position + 1), ``[rows, queries, 1]``.
            keys: the slots of the keys, ``[span]``.
            kind: a key of :attr:`reach`.

        Returns:
            Booleans ``[rows, queries, span]``; true = the query attends to the key.
        """
        window = self.reach[kind]
        if not window:
            return keys <= slots
        if kind == "chunked_attention":
            return (keys <= slots) & ((keys - 1) // window == (slots - 1) // window)
        return (keys <= slots) & (keys > slots - window)


def windows_of(config: Any) -> Windows:
    """The attention windows of a model with this transformers configuration.

    Raises:
        Unavailable: it has layers other than attention, or attention of an unknown kind.
    """
    text = _text(config)
    kinds = getattr(text, "layer_types", None)
    if kinds:
        strange = sorted({str(kind) for kind in kinds} - {_FULL, *_HELD_IN})
        if strange:
            raise Unavailable(
                f"layers of the kind {', '.join(strange)} keep a state of their own",
                where=str(getattr(text, "model_type", "this base")),
            )
        return Windows(reach={kind: _window(text, kind) for kind in sorted(set(kinds))}, named=True)
    for kind in _HELD_IN:
        if window := _window(text, kind):
            return Windows(reach={kind: window}, named=False)
    return Windows(reach={_FULL: None}, named=False)


@contextlib.contextmanager
def shortened(config: Any, length: int, modules: Iterable[Any] = ()) -> Iterator[None]:
    """A context in which all windows of a model are ``length`` tokens: short sessions show their
    effect then.

    Args:
        config: of the model; its masks are made from this.
        modules: of the model, where its attention is told its window by its layers.
    """
    owners = [_text(config), *modules]
    before = [
        (owner, name, window)
        for owner in owners
        for name in _HELD_IN.values()
        if isinstance(window := getattr(owner, name, None), int) and window
    ]
    try:
        for owner, name, _window in before:
            setattr(owner, name, length)
        yield
    finally:
        for owner, name, window in before:
            setattr(owner, name, window)


def _text(config: Any) -> Any:
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def _window(text: Any, kind: str) -> int | None:
    held = _HELD_IN.get(kind)
    window = getattr(text, held, None) if held else None
    return int(window) if window else None
