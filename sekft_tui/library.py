"""Trajectories for the screen: loaded once, rendered one by one when they are looked at.

Everything here may run on a thread of its own and touches no widget. The tokenizer is imported with
the first rendered row, so that the first paint does without.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sekft_engine.errors import BadInput, SekftError
from sekft_engine.trajectory import Trajectory
from sekft_tui.widgets.token_doc import Token, TokenDoc

if TYPE_CHECKING:
    from sekft_engine.render import ChatTokenizer, Row

#: Rendered rows kept; each is a few hundred tokens.
KEPT = 64
#: Characters that are rendered in a few milliseconds.
SHORT = 20_000


class Rendered(NamedTuple):
    """A trajectory as tokens, or why there are none."""

    doc: TokenDoc | None
    certificate: tuple[tuple[str, bool], ...]
    dropped: str = ""


class Library:
    """The trajectories of one folder or file and their rendered rows."""

    def __init__(self, path: Path, base: str, max_length: int) -> None:
        self.path = path
        self.base = base
        self.max_length = max_length
        self.trajectories: tuple[Trajectory, ...] = ()
        self.skipped: tuple[str, ...] = ()
        self._tokenizer: ChatTokenizer | None = None
        self._lock = threading.Lock()
        self._rows: OrderedDict[str, Rendered] = OrderedDict()

    def load(self) -> None:
        """Read the trajectories, also those that are not kept for training."""
        from sekft_engine.sources import load_trajectories

        try:
            self.trajectories = load_trajectories(self.path, keep_only=False).trajectories
            return
        except BadInput as error:
            if not self.path.is_dir():
                raise
            self.skipped = (str(error),)
        self._load_one_by_one()

    def _load_one_by_one(self) -> None:
        """Training refuses a folder with a broken file; looking at the others needs not."""
        from sekft_engine.sources import load_trajectories

        found: dict[str, Trajectory] = {}
        broken: list[str] = []
        for path in sorted(self.path.rglob("*.json*")):
            try:
                loaded = load_trajectories(path, keep_only=False)
            except SekftError as error:
                broken.append(str(error))
                continue
            twice = [one.id for one in loaded.trajectories if one.id in found]
            broken += [f"{path}: the id {name!r} was seen before" for name in twice]
            found = {one.id: one for one in loaded.trajectories} | found
        self.trajectories, self.skipped = tuple(found.values()), tuple(broken)

    def at_once(self, trajectory: Trajectory) -> Rendered | None:
        """The row where that takes no time worth a thread: it is known, or short."""
        found = self._rows.get(trajectory.id)
        if found is None and (self._tokenizer is not None or not self.base):
            size = sum(len(turn.content) for turn in trajectory.turns)
            if size <= SHORT:
                found = self.render(trajectory)
        return found

    def render(self, trajectory: Trajectory) -> Rendered:
        """Render one row; a problem of the tokenizer or the data becomes its message."""
        with self._lock:
            found = self._rows.get(trajectory.id)
            if found is None:
                try:
                    found = self._render(trajectory)
                except SekftError as error:
                    found = Rendered(plain_doc(trajectory), (), f"not rendered: {error}")
                self._rows[trajectory.id] = found
                while len(self._rows) > KEPT:
                    self._rows.popitem(last=False)
            return found

    def _render(self, trajectory: Trajectory) -> Rendered:
        from sekft_engine.render import Dropped, build_row

        if not self.base:
            return Rendered(
                plain_doc(trajectory),
                (),
                "not rendered: no base in this workspace, so no tokenizer",
            )
        tokenizer = self._load_tokenizer()
        row = build_row(trajectory, tokenizer, max_length=self.max_length)
        if isinstance(row, Dropped):
            why = f"not trained on: {row.reason}: {row.detail}".rstrip(": ")
            return Rendered(plain_doc(trajectory), (), why)
        return Rendered(token_doc(row), tuple(row.certificate.lines.items()))

    def _load_tokenizer(self) -> ChatTokenizer:
        if self._tokenizer is None:
            from sekft_engine.render.load import load_tokenizer

            self._tokenizer = load_tokenizer(self.base)
        return self._tokenizer


def token_doc(row: Row) -> TokenDoc:
    """A row as the token view draws it: what the template wrote is told from what was said."""
    tokens: list[Token] = []
    for text, trained, content, turn in zip(
        row.pieces(),
        row.trained.tolist(),
        row.content.tolist(),
        row.turn_of.tolist(),
        strict=True,
    ):
        # The line end that a template writes after a turn is drawn with that turn.
        closes = bool(tokens) and turn != tokens[-1].turn and not content and text.isspace()
        tokens.append(Token(text, trained, not content, tokens[-1].turn if closes else turn))
    notes = [
        f"exit {turn.exit_status}" if turn.exit_status is not None else "" for turn in row.turns
    ]
    return TokenDoc(tokens, notes)


def plain_doc(trajectory: Trajectory) -> TokenDoc:
    """A trajectory that is not trained on: its turns as they stand, nothing of them trained."""
    return TokenDoc(
        [Token(turn.content + "\n", False, False, n) for n, turn in enumerate(trajectory.turns)],
        [turn.role if turn.role == "system" else "" for turn in trajectory.turns],
    )
