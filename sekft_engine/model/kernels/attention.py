"""Attention over packed rows, in which no row attends to another.

It is an attention function like those of transformers, registered as :data:`PACKED`. The model
passes it the layout of the packed sequence with every call. On CUDA all rows go through one kernel
(FlashAttention for sequences of unequal lengths, Dao et al. 2022, arXiv 2205.14135, as
provided by torch); elsewhere each row goes through torch's scaled_dot_product_attention alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from sekft_engine.model.device import device_of
from sekft_engine.model.kernels.install import Replacement

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Its name in a model's configuration.
PACKED = "sekft_packed"
#: Options that only models with their own kinds of attention pass; their rows are padded instead.
_UNKNOWN_OPTIONS = ("softcap", "s_aux", "position_bias")


class Segment(NamedTuple):
    """Tokens ``start`` to ``end`` of those that row ``row`` does not share with earlier rows."""

    row: int
    start: int
    end: int


class Layout(msgspec.Struct, frozen=True):
    """Where the rows of a packed sequence lie in it.

    Attributes:
        own: the number of tokens each row does not share; they are stored in the order of rows.
        prefixes: for each row, the segments of earlier rows that form its prefix.
    """

    own: tuple[int, ...]
    prefixes: tuple[tuple[Segment, ...], ...]

    @property
    def lengths(self) -> list[int]:
        """The length of each row, including its prefix."""
        return [
            own + sum(segment.end - segment.start for segment in prefix)
            for own, prefix in zip(self.own, self.prefixes, strict=True)
        ]


def packed_attention(model: Any) -> Iterator[Replacement]:
    """Let ``model`` accept packed rows: ``model(ids, position_ids=…, packed_layout=…)``."""
    import torch
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    # Rows differ from pass to pass, so compiling gains nothing, and the kernels are fast already.
    uncompiled = torch.compiler.disable(attend)  # type: ignore[no-untyped-call]
    ALL_ATTENTION_FUNCTIONS.register(PACKED, uncompiled)
    # There is no public setter.
    yield Replacement(model.config.get_text_config(), "_attn_implementation", PACKED)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Tensor, None]:
    """Causal attention within each packed row.

    Args:
        query: [1, heads, T, head_dim].
        key, value: [1, kv_heads, T, head_dim], where kv_heads divides heads.
        options: ``packed_layout``, and the options of the model's layer.

    Returns:
        [1, T, heads, head_dim].

    Raises:
        NotImplementedError: the layer has an option that is not supported here.
    """
    layout: Layout | None = options.get("packed_layout")
    unknown = [name for name in _UNKNOWN_OPTIONS if options.get(name) is not None]
    is_causal = bool(getattr(module, "is_causal", True))
    if layout is None or unknown or attention_mask is not None or not is_causal:
        raise NotImplementedError(f"packed rows with {', '.join(unknown) or 'this model'}")
    window = options.get("sliding_window")
    if window is not None and max(layout.lengths) <= window:
        window = None
    # [1, T, heads, head_dim], as the projections made them: splitting these needs no copy.
    qkv = [tensor.transpose(1, 2) for tensor in (query, key, value)]
    if not dropout and device_of(query.device).has_varlen(query):
        return _attend_varlen(qkv, layout, scaling, window), None
    return _attend_each(qkv, layout, scaling, dropout, window), None


def _attend_each(
    qkv: Sequence[Tensor],
    layout: Layout,
    scaling: float | None,
    dropout: float,
    window: int | None,
) -> Tensor:
    """Attend row by row: query, key, value [1, T, heads, head_dim]; result shaped as query."""
    import torch

    outputs = []
    for own, *row in zip(layout.own, *(_unpacked(tensor, layout) for tensor in qkv), strict=True):
        if not own:
            continue
        query, key, value = (tensor.transpose(1, 2) for tensor in row)
        tokens = query.shape[2]
        mask = None if window is None else _window_mask(tokens, window, query)
        output = torch.nn.functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=mask,
            dropout_p=dropout,
            scale=scaling,
            is_causal=mask is None,
            enable_gqa=query.shape[1] != key.shape[1],
        ).transpose(1, 2)
        outputs.append(output if own == tokens else output[:, tokens - own :])
    return torch.cat(outputs, dim=1)


def _unpacked(tensor: Tensor, layout: Layout) -> list[Tensor]:
    """The rows of a packed tensor [1, T, heads, head_dim], each with its shared prefix."""
    import torch

    own = torch.split(tensor, list(layout.own), dim=1)
    return [
        torch.cat([*(own[other][:, start:end] for other, start, end in prefix), rest], dim=1)
        if prefix
        else rest
        for rest, prefix in zip(own, layout.prefixes, strict=True)
    ]


def _window_mask(tokens: int, window: int, like: Tensor) -> Tensor:
    """The causal mask of a sliding window, bool [tokens, tokens]: True where a token attends."""
    import torch

    places = torch.arange(tokens, device=like.device)
    distance = places[:, None] - places[None]
    return (distance >= 0) & (distance < window)


def _attend_varlen(
    qkv: Sequence[Tensor], layout: Layout, scaling: float | None, window: int | None
) -> Tensor:
    """Attend in one kernel: query, key, value [1, T, heads, head_dim]; result shaped as query."""
    import torch
    from torch.nn.attention.varlen import varlen_attn

    query, key, value = (torch.cat(_unpacked(tensor, layout), dim=1)[0] for tensor in qkv)
    lengths = layout.lengths
    offsets = _offsets(layout, query.device)
    output: Any = varlen_attn(
        query,
        key,
        value,
        offsets,
        offsets,
        max(lengths),
        max(lengths),
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    rows = zip(torch.split(output, lengths), lengths, layout.own, strict=True)
    return torch.cat([row[length - own :] for row, length, own in rows])[None]


@lru_cache(maxsize=4)
def _offsets(layout: Layout, place: torch.device) -> Tensor:
    """Where each row begins, and the end: int32 [rows + 1]. All layers of a pass share it."""
    return device_of(place).upload(np.cumsum([0, *layout.lengths], dtype=np.int32))
