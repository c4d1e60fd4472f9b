"""A workbench of nothing but the token view, and documents for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from textual.app import App, ComposeResult

from sekft_engine.data.trajectory import Turn
from sekft_engine.maskview.document import Document, LossArrays
from sekft_engine.maskview.paint import Parts
from sekft_tui import theme
from sekft_tui.widgets.lines import Lines
from sekft_tui.widgets.token_view import TokenView

#: A token as (text, trained, control, turn).
Loose = tuple[str, bool, bool, int]

SESSION: tuple[Loose, ...] = (
    ("<|im_start|>", False, True, 0),
    ("user\n", False, False, 0),
    ("Wel", False, False, 0),
    ("come, 日本", False, False, 0),
    ("\x1b[31mred \u202eevil\n", False, False, 0),
    ("<|im_end|>", False, True, 0),
    ("\n", False, False, 0),
    ("<|im_start|>", False, True, 1),
    ("ls", True, False, 1),
    (" -l", True, False, 1),
    (" notes", True, False, 1),
    ("<|im_end|>", True, True, 1),
    ("\n", False, False, 1),
    ("total 0\n", False, False, 2),
    ("a\tb", False, False, 2),
    ("<|im_end|>", False, True, 2),
    ("exit", True, False, 3),
    ("<|im_end|>", True, True, 3),
)
SAID = ("Welcome, 日本\x1b[31mred \u202eevil\n", "ls -l notes", "total 0\na\tb", "exit")


def document(
    tokens: Sequence[Loose] = SESSION, said: Sequence[str] = SAID, *, losses: bool = False
) -> Document:
    """A document of loose tokens; ids count from 1000."""
    count = len(tokens)
    mask = np.array([token[1] for token in tokens], dtype=np.bool_)
    known = None
    if losses:
        trained = np.flatnonzero(mask).tolist()
        before = [3.0 / (1 + n % 4) for n in range(len(trained))]
        after = [5.0 if n == 1 else loss / 10 for n, loss in enumerate(before)]
        known = LossArrays.at(count, trained, before, after)
    control = np.array([token[2] for token in tokens], dtype=np.bool_)
    return Document(
        name="a session",
        text="".join(token[0] for token in tokens),
        ends=np.cumsum([len(token[0]) for token in tokens], dtype=np.int32),
        turn=np.array([token[3] for token in tokens], dtype=np.int32),
        mask=mask,
        content=~control,
        control=control,
        ids=np.arange(1000, 1000 + count, dtype=np.int32),
        turns=[
            Turn(role="assistant" if n % 2 else "user", content=text) for n, text in enumerate(said)
        ],
        losses=known,
        limit=100,
    )


def long_document(count: int) -> Document:
    """``count`` tokens in turns of a hundred, every other turn trained."""
    words = [" word", "s", "\n", " of", " one", "<|end|>", " session", " 12", "/", "x"]
    text = "".join(words) * (count // len(words))
    sizes = np.tile([len(word) for word in words], count // len(words))
    numbers = np.arange(len(sizes), dtype=np.int32)
    turn = numbers // 100
    return Document(
        name="long",
        text=text,
        ends=np.cumsum(sizes, dtype=np.int32),
        turn=turn,
        mask=turn % 2 == 1,
        content=np.ones(len(sizes), dtype=np.bool_),
        control=np.zeros(len(sizes), dtype=np.bool_),
        ids=numbers,
    )


def one_line(say: Callable[[int], Parts], width: int) -> tuple[Parts, ...]:
    return (say(width),)


class TokenApp(App[int]):
    """The view with its lines of statistics, read-out and legend."""

    CSS = "Lines { height: 1; }"

    def __init__(self, doc: Document | None, name: str = "sekft-dark") -> None:
        super().__init__()
        self.doc = doc
        for own in theme.THEMES:
            self.register_theme(own)
        self.theme = name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.defaults(self.current_theme.dark if self.theme else True)

    def compose(self) -> ComposeResult:
        self.view = TokenView(id="view")
        yield self.view
        for say in (self.view.statistics, self.view.readout, self.view.legend):
            yield Lines(partial(one_line, say))

    def on_mount(self) -> None:
        self.view.show(self.doc)
        self.view.focus()

    def on_token_motion_looked(self) -> None:
        for lines in self.query(Lines):
            lines.update()


def main() -> None:
    TokenApp(document(losses=True)).run()
