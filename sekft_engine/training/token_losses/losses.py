"""What a run's adapter did to the loss of each trained token: the records, and the file of them.

Reading needs neither torch nor a model.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from sekft_engine.core.documents import NOT_JSON, encode
from sekft_engine.core.errors import DigestMismatch
from sekft_engine.core.files import sync_folder
from sekft_engine.core.locks import wait_for_lock
from sekft_engine.maskview.document import LossArrays
from sekft_engine.records.adapters import WEIGHTS, adapter_digest
from sekft_engine.records.runs import ADAPTER, TOKEN_LOSSES
from sekft_engine.records.trainings import LossMeans, LossTotals
from sekft_engine.render.rows.row import Row
from sekft_engine.training.trainer.data import TrainRow, train_row

FloatArray = npt.NDArray[np.float32]
Found = TypeVar("Found")

#: Which part of the run's data a trajectory was in; '' = unknown.
Part = Literal["train", "heldout", ""]

#: Decimals of stored losses: finer than floating point reproduces them on another machine.
DECIMALS = 5


class TokenLosses(msgspec.Struct, frozen=True, kw_only=True):
    """The loss of every trained token of one trajectory, in nats (-log p of the token that stands
    there): ``before`` of the bare base, ``after`` of the base with the run's adapter.

    ``positions`` are indexes into the row's ids. ``render`` and ``ids_digest`` identify the
    row, ``adapter`` is the digest of the adapter's content.
    """

    id: str
    render: str
    ids_digest: str
    adapter: str
    part: Part = ""
    positions: list[int]
    before: list[float]
    after: list[float]

    def __post_init__(self) -> None:
        if not len(self.positions) == len(self.before) == len(self.after):
            raise ValueError("each trained token has a position, a loss before and a loss after")

    @property
    def mean_before(self) -> float:
        return sum(self.before) / max(1, len(self.before))

    @property
    def mean_after(self) -> float:
        return sum(self.after) / max(1, len(self.after))

    def of(self, row: TrainRow, render: str) -> bool:
        """Whether these are losses of ``row``, rendered by the tokenizer of digest ``render``."""
        return (self.id, self.render, self.ids_digest) == (row.id, render, ids_digest(row))

    def refuse_other(self, row: Row) -> None:
        """Raise :class:`DigestMismatch` if another row than ``row`` was measured."""
        if self.render != row.render_digest:
            raise DigestMismatch(
                "its losses were measured with another tokenizer, template or normaliser",
                where=self.id,
                mend="name the run's base with --base, or measure again with --measure",
            )
        if not self.of(train_row(row), row.render_digest):
            raise DigestMismatch(
                "its losses were measured on other text than it has now",
                where=self.id,
                mend="name the run's data with --data, or measure again with --measure",
            )

    def arrays(self, row: Row) -> LossArrays:
        """The losses aligned with the tokens of ``row``.

        Returns:
            ``before`` and ``after``, each [T], in nats; NaN at tokens that are not trained.

        Raises:
            DigestMismatch: as :meth:`refuse_other`.
        """
        self.refuse_other(row)
        return LossArrays.at(len(row), self.positions, self.before, self.after)


def ids_digest(row: TrainRow) -> str:
    """A digest of what a row's losses depend on, as 16 hexadecimal digits.

    It covers the ids up to the last trained one, and which of them are trained.
    """
    total = hashlib.sha256(np.ascontiguousarray(row.ids, dtype="<i4").tobytes())
    total.update(np.ascontiguousarray(row.at, dtype="<i4").tobytes())
    return total.hexdigest()[:16]


class Totals:
    """Mean losses over the measured trained tokens, by part of the data."""

    def __init__(self, losses: Iterable[TokenLosses] = ()) -> None:
        self.ids: list[str] = []
        self._sums: dict[str, tuple[int, int, float, float]] = {}
        self.add(losses)

    def add(self, losses: Iterable[TokenLosses]) -> None:
        for row in losses:
            rows, tokens, before, after = self._sums.get(row.part, (0, 0, 0.0, 0.0))
            self._sums[row.part] = (
                rows + 1,
                tokens + len(row.positions),
                before + sum(row.before),
                after + sum(row.after),
            )
            self.ids.append(row.id)

    def means(self) -> LossMeans:
        """Counts and means over everything."""
        every = self._sums.values()
        rows, tokens, before, after = (sum(sums[k] for sums in every) for k in range(4))
        return _means(int(rows), int(tokens), before, after)

    def parts(self) -> dict[str, LossMeans]:
        """Counts and means by part, for known parts."""
        return {part: _means(*sums) for part, sums in sorted(self._sums.items()) if part}

    def total(self) -> LossTotals:
        """Counts and means over everything, and by part."""
        whole = msgspec.structs.asdict(self.means())
        return LossTotals(**whole, parts=self.parts())


def _means(rows: int, tokens: int, before: float, after: float) -> LossMeans:
    return LossMeans(
        trajectories=rows,
        tokens=tokens,
        before=round(before / tokens, DECIMALS) if tokens else None,
        after=round(after / tokens, DECIMALS) if tokens else None,
    )


# --- the file -----------------------------------------------------------------------------------


class _Head(msgspec.Struct):
    """The fields that index a line; the losses are not decoded."""

    id: str
    adapter: str = ""


class LossFile(Mapping[str, TokenLosses]):
    """A run's token losses by trajectory id, each read from disk on access.

    Args:
        path: the run's ``token_losses.jsonl``, which need not exist yet.
        adapter: only losses of the adapter with this digest; '' = all.
    """

    def __init__(self, path: Path, adapter: str = "") -> None:
        self.path = path
        self.adapter = adapter
        self._offsets: dict[str, int] = {}
        self._end = 0
        self.refresh()

    def refresh(self) -> bool:
        """Index the lines appended since the last call; True if there were any.

        A last line without a newline is still being written and is left for later.
        """
        try:
            size = self.path.stat().st_size
            if size == self._end:
                return False
            file = self.path.open("rb")
        except FileNotFoundError:
            return False
        if size < self._end:  # the file was replaced, or a failed write was truncated
            self._offsets.clear()
            self._end = 0
        began = self._end
        with file:
            file.seek(self._end)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                head = _decode(line, _HEAD)
                if head is not None and self.adapter in ("", head.adapter):
                    self._offsets.pop(head.id, None)  # the latest measurement comes last
                    self._offsets[head.id] = self._end
                self._end += len(line)
        return self._end > began

    def __getitem__(self, key: str) -> TokenLosses:
        offset = self._offsets[key]
        with self.path.open("rb") as file:
            file.seek(offset)
            found = _decode(file.readline(), _LINE)
        if found is None or found.id != key:  # the file was edited meanwhile
            raise KeyError(key)
        return found

    def __contains__(self, key: object) -> bool:
        return key in self._offsets

    def __iter__(self) -> Iterator[str]:
        return iter(self._offsets)

    def __len__(self) -> int:
        return len(self._offsets)


_HEAD = msgspec.json.Decoder(_Head)
_LINE = msgspec.json.Decoder(TokenLosses)


def _decode(line: bytes, decoder: msgspec.json.Decoder[Found]) -> Found | None:
    try:
        return decoder.decode(line)
    except NOT_JSON:
        pass
    try:  # an id may hold a lone surrogate
        return msgspec.convert(json.loads(line), decoder.type)
    except (ValueError, RecursionError):
        return None


def read_token_losses(run_folder: str | Path) -> LossFile:
    """The token losses of the current adapter of the run in ``run_folder``.

    Losses of earlier weights (before the run was continued) are left out. Empty if none were
    measured.
    """
    folder = Path(run_folder)
    adapter = folder / ADAPTER
    try:
        facts = (adapter / WEIGHTS).stat()
        digest = _adapter_digest(adapter, facts.st_mtime_ns, facts.st_ino, facts.st_size)
    except FileNotFoundError:
        digest = ""
    return LossFile(folder / TOKEN_LOSSES, digest)


@functools.lru_cache(maxsize=32)
def _adapter_digest(folder: Path, _changed: int, _inode: int, _size: int) -> str:
    """The digest, cached: hashing takes a while, and an adapter is only replaced as a whole."""
    return adapter_digest(folder)


def write_token_losses(run_folder: Path, losses: Iterable[TokenLosses]) -> None:
    """Append to the run's file and sync it to disk. Several processes may do so.

    Raises:
        OSError: writing failed; the file is truncated to its former end.
    """
    lines = b"".join(encode(entry) + b"\n" for entry in losses)
    path = run_folder / TOKEN_LOSSES
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        wait_for_lock(fd)
        size = os.fstat(fd).st_size
        try:
            if size and os.pread(fd, 1, size - 1) != b"\n":
                _write(fd, b"\n")  # a writer was killed within a line
            _write(fd, lines)
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
    if not size:
        sync_folder(run_folder)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]
