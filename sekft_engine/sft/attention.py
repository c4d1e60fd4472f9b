"""Attention over a stream of packed rows, in which no row sees another.

It is an attention function as transformers' own are, under the name :data:`PACKED`. The model hands
it the paths of the stream with every call. On CUDA all rows go through one kernel (flash attention
for rows of unequal lengths, as torch has it); elsewhere each row through its own products.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sekft_engine.sft.packing import Paths
from sekft_engine.sft.short_attention import attend_short, fits

if TYPE_CHECKING:
    from torch import Tensor

#: The name by which a model's configuration asks for it.
PACKED = "sekft_packed"
#: What models with a way of their own hand to their attention; there, rows are padded instead.
_UNKNOWN = ("softcap", "s_aux", "position_bias")


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Within, ``model`` takes streams: ``model(ids, position_ids=…, packed_paths=…)``."""
    import torch
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    # Rows differ from pass to pass: nothing to compile, and its kernels are quick as they are.
    uncompiled = torch.compiler.disable(attend)  # type: ignore[no-untyped-call]
    ALL_ATTENTION_FUNCTIONS.register(PACKED, uncompiled)
    config = model.config.get_text_config()
    before = config._attn_implementation  # noqa: SLF001 - there is no public name to set it by
    config._attn_implementation = PACKED  # noqa: SLF001
    try:
        yield
    finally:
        config._attn_implementation = before  # noqa: SLF001


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
    """Attention of each row of a stream to itself.

    Args:
        query: [1, heads, T, D]; ``key`` and ``value`` may have fewer heads.
        options: ``packed_paths``, and what the model says of its layer.

    Returns:
        [1, T, heads, D].

    Raises:
        NotImplementedError: the layer wants more than this knows of.
    """
    paths: Paths | None = options.get("packed_paths")
    wants = [name for name in _UNKNOWN if options.get(name) is not None]
    if paths is None or wants or attention_mask is not None or not _is_causal(module):
        raise NotImplementedError(f"packed rows with {', '.join(wants) or 'this model'}")
    window = options.get("sliding_window")
    longest = max(paths.length(row) for row in range(len(paths.own)))
    if window is not None and longest <= window:
        window = None
    # As the model's projections gave them: what is cut and put together then needs no copy.
    given = [tensor.transpose(1, 2) for tensor in (query, key, value)]
    if not dropout and _has_kernel(query):
        return _in_one(given, paths, scaling, window), None
    return _row_by_row(given, paths, scaling, dropout, window), None


def _is_causal(module: Any) -> bool:
    return bool(getattr(module, "is_causal", True))


def _row_by_row(
    given: Sequence[Tensor],
    paths: Paths,
    scaling: float | None,
    dropout: float,
    window: int | None,
) -> Tensor:
    import torch
    import torch.nn.functional as functional

    out = []
    for own, *row in zip(paths.own, *(_whole(tensor, paths) for tensor in given), strict=True):
        if not own:
            continue
        one, keys, values = (tensor.transpose(1, 2) for tensor in row)
        tokens = one.shape[2]
        if window is None and not dropout and fits(one, tokens):
            asked = one if own == tokens else one[:, :, tokens - own :]
            out.append(attend_short(asked, keys, values, scaling).transpose(1, 2))
            continue
        mask = None if window is None else _band(tokens, window, one)
        seen = functional.scaled_dot_product_attention(
            one,
            keys,
            values,
            attn_mask=mask,
            dropout_p=dropout,
            scale=scaling,
            is_causal=mask is None,
            enable_gqa=one.shape[1] != keys.shape[1],
        ).transpose(1, 2)
        out.append(seen if own == tokens else seen[:, tokens - own :])
    return torch.cat(out, dim=1)


def _whole(tensor: Tensor, paths: Paths) -> list[Tensor]:
    """The rows of a stream [1, T, heads, D], each with what it shares with others."""
    import torch

    own = torch.split(tensor, list(paths.own), dim=1)
    return [
        torch.cat([*(own[owner][:, start:end] for owner, start, end in shared), rest], dim=1)
        if shared
        else rest
        for rest, shared in zip(own, paths.shared, strict=True)
    ]


def _band(tokens: int, window: int, like: Tensor) -> Tensor:
    """Which tokens each may see where no more than ``window`` of them count: [T, T]."""
    import torch

    places = torch.arange(tokens, device=like.device)
    back = places[:, None] - places[None]
    return (back >= 0) & (back < window)


def _has_kernel(query: Tensor) -> bool:
    import torch

    if query.device.type != "cuda" or query.dtype not in (torch.float16, torch.bfloat16):
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn  # noqa: F401
    except ImportError:
        return False
    return True


def _in_one(
    given: Sequence[Tensor], paths: Paths, scaling: float | None, window: int | None
) -> Tensor:
    import torch
    from torch.nn.attention.varlen import varlen_attn

    query, key, _ = given
    lengths = [paths.length(row) for row in range(len(paths.own))]
    ends = torch.tensor([0, *lengths], device=query.device).cumsum(0).to(torch.int32)
    queries, keys, values = (torch.cat(_whole(tensor, paths), dim=1)[0] for tensor in given)
    seen: Any = varlen_attn(
        queries,
        keys,
        values,
        ends,
        ends,
        max(lengths),
        max(lengths),
        scale=scaling,
        window_size=(-1 if window is None else window - 1, 0),
        enable_gqa=query.shape[2] != key.shape[2],
    )
    rows = zip(torch.split(seen, lengths), lengths, paths.own, strict=True)
    return torch.cat([row[length - own :] for row, length, own in rows])[None]
