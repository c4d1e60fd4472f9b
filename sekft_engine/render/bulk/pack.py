"""A row as a few bytes per token, for the cache and for other processes.

Only what tokenising found is packed. The rest of a row (its turns, its text) comes from the
trajectory and the layout that it is unpacked with, which must be those that it was built with.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.data.dropped import Dropped
from sekft_engine.data.trajectory import Trajectory, Turn
from sekft_engine.render.rows.finish import freeze
from sekft_engine.render.rows.row import Certificate, Row, RowSize, Span, by_training
from sekft_engine.render.template.layout import SpanLayout
from sekft_engine.render.template.normalise import Refused
from sekft_engine.render.template.scaffold import fill

#: Part of every cache key: rows packed in another way are not read.
PACK_VERSION = 2

#: Whether a row, tokens, turns, spans, lost characters, widths of an id, of the characters of a
#: token, of the tokens of a turn.
_HEAD = struct.Struct("<?IIIIBBB")
_WIDTHS: dict[int, type[np.unsignedinteger]] = {1: np.uint8, 2: np.uint16, 4: np.uint32}


class NormalisedSession(msgspec.Struct, frozen=True):
    """A session ready to be rendered; a packed row is completed with it.

    Attributes:
        trajectory: as it was read.
        turns: its normalised turns.
        contents: of those turns.
    """

    trajectory: Trajectory
    turns: tuple[Turn, ...]
    contents: list[str]


def pack(built: Row | Dropped) -> bytes | None:
    """A row, or why it was dropped, as bytes.

    Args:
        built: what the build returned.

    Returns:
        The bytes, without what :func:`unpack` takes from the session and its layout; None for a
        row that has no packed form.
    """
    if isinstance(built, Dropped):
        if built.reason == "nothing_trained":
            return None  # of these turns it depends on their flags
        return b"\0" + msgspec.msgpack.encode((built.reason, built.detail))
    if (built.turn_of[1:] < built.turn_of[:-1]).any():
        return None  # a token without characters, between turns
    ids = _narrow(built.ids)
    widths = built.ends.copy()  # np.diff takes ten times as long for a short row
    widths[1:] -= built.ends[:-1]
    characters = _narrow(widths)
    counts = _narrow(np.bincount(built.turn_of, minlength=len(built.turns)))
    bounds = [place for span in built.commands for place in (span.start, span.end)]
    spans = struct.pack(f"<{len(bounds)}I", *bounds)
    sizes = (array.itemsize for array in (ids, characters, counts))
    head = _HEAD.pack(True, len(built), len(counts), len(bounds) // 2, built.lost, *sizes)
    marks = np.packbits(built.content), np.packbits(built.control)
    return b"".join(
        (head, spans, *(array.tobytes() for array in (counts, ids, characters, *marks)))
    )


def _narrow(values: npt.NDArray[np.integer]) -> npt.NDArray[np.unsignedinteger]:
    """``values``, all at least 0, in the narrowest type that holds them."""
    top = int(values.max(initial=0))
    return values.astype(np.uint8 if top < 1 << 8 else np.uint16 if top < 1 << 16 else np.uint32)


def unpack(
    data: bytes, source: NormalisedSession, layout: SpanLayout | None, digest: str
) -> Row | Dropped:
    """The row that was packed.

    Args:
        data: what :func:`pack` returned.
        source: the session.
        layout: for as many turns; None will do for a dropped session.
        digest: the render digest under which the row was built.

    Raises:
        ValueError: ``data`` is no packed row of such a session.
    """
    name = source.trajectory.id
    if data[:1] == b"\0":
        return _unpack_dropped(data, name)
    if layout is None:
        raise ValueError("a row without its layout")
    try:
        return _unpack(data, source, layout, digest)
    except (struct.error, KeyError, Refused) as error:
        raise ValueError(str(error)) from error


def _unpack_dropped(data: bytes, name: str) -> Dropped:
    reason, detail = msgspec.msgpack.decode(data[1:], type=tuple[str, str])
    return Dropped(name, reason, detail)


def unpack_size(data: bytes, source: NormalisedSession, layout: SpanLayout) -> RowSize | Dropped:
    """As :func:`unpack`, only the size of the row.

    Args:
        data: what :func:`pack` returned.
        source: the session.
        layout: for as many turns.

    Raises:
        ValueError: ``data`` is no packed row of such a session.
    """
    trajectory = source.trajectory
    if data[:1] == b"\0":
        return _unpack_dropped(data, trajectory.id)
    try:
        _, tokens, turns, spans, *_ = _HEAD.unpack_from(data)
        bounds = _Reader(data, _HEAD.size).take("<u4", 2 * spans).tolist()
    except struct.error as error:
        raise ValueError(str(error)) from error
    if turns != len(source.turns) or spans != len(layout.turns):
        raise ValueError("another session's row")
    trained = untrained = 0
    for number, turn in enumerate(source.turns[1::2]):
        if turn.train:
            trained += bounds[2 * number + 1] - bounds[2 * number]
        else:
            untrained += 1
    if not trained:
        raise ValueError("nothing of it is trained")
    return RowSize(
        id=trajectory.id,
        archetype=trajectory.archetype,
        tokens=tokens,
        trained_tokens=trained,
        untrained_commands=untrained,
    )


def _unpack(data: bytes, source: NormalisedSession, layout: SpanLayout, digest: str) -> Row:
    _, tokens, turns, spans, lost, *sizes = _HEAD.unpack_from(data)
    reader = _Reader(data, _HEAD.size)
    bounds = reader.take("<u4", 2 * spans).astype(np.int64)
    counts = reader.take(_WIDTHS[sizes[2]], turns)
    ids = reader.take(_WIDTHS[sizes[0]], tokens).astype(np.int32)
    ends = np.cumsum(reader.take(_WIDTHS[sizes[1]], tokens), dtype=np.int32)
    content = _bits(reader.take(np.uint8, -(-tokens // 8)), tokens)
    control = _bits(reader.take(np.uint8, -(-tokens // 8)), tokens)
    if reader.at != len(data) or turns != len(source.turns) or spans != len(layout.turns):
        raise ValueError("another session's row")
    turn_of = np.repeat(np.arange(turns, dtype=np.int32), counts.astype(np.int64))
    if len(turn_of) != tokens:
        raise ValueError("turns without their tokens")
    freeze(ids, ends, turn_of, content, control)
    starts, stops = bounds[0::2], bounds[1::2]
    pairs = zip(starts.tolist(), stops.tolist(), layout.turns.tolist(), strict=True)
    trained, untrained = by_training((Span(*pair) for pair in pairs), source.turns)
    if not trained:
        raise ValueError("nothing of it is trained")
    return Row(
        id=source.trajectory.id,
        archetype=source.trajectory.archetype,
        turns=source.turns,
        text=fill(layout.scaffold.parts, source.contents),
        ids=ids,
        ends=ends,
        turn_of=turn_of,
        content=content,
        control=control,
        spans=trained,
        untrained=untrained,
        certificate=Certificate(
            additive=True,
            decodes=True,
            terminal_whole=True,
            no_forged_control=True,
            single_bos=True,
            template_faithful=True,
            within_limit=True,
            trained_tokens=sum(span.end - span.start for span in trained),
            untrained_commands=len(untrained),
        ),
        lost=lost,
        render_digest=digest,
        clock=layout.clock,
    )


class _Reader:
    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def take(self, kind: npt.DTypeLike, count: int) -> npt.NDArray[np.generic]:
        out = np.frombuffer(self._data, dtype=kind, count=count, offset=self.at)
        self.at += out.nbytes
        return out


def _bits(packed: npt.NDArray[np.generic], count: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(packed.view(np.uint8), count=count).view(np.bool_)


def digest_of(parts: Sequence[bytes]) -> bytes:
    """``parts`` with their lengths, so that other parts give other bytes: for hashing."""
    return b"".join(len(part).to_bytes(8, "little") + part for part in parts)
