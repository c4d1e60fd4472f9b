"""A live session: the world's output, who typed which command, and the prompt at its end."""

from __future__ import annotations

from collections.abc import Hashable

from rich.cells import cell_len

from sekft_engine.data.trajectory import Turn
from sekft_engine.takeover.view import TakeOverView
from sekft_tui.input.actions import key_for
from sekft_tui.model.recording import verdict_of
from sekft_tui.model.verdict_text import Ending, checker_of, limit_of
from sekft_tui.text import Parts, chop, clip, visible, visible_lines
from sekft_tui.widgets.line_edit import LineEdit
from sekft_tui.widgets.line_view import LineView

_HAND = "hand"


class SessionView(LineView):
    """Draws a :class:`TakeOverView`; the last line is the prompt with the text being typed."""

    def __init__(self, *, id: str) -> None:  # noqa: A002
        super().__init__(id=id)
        self._view = TakeOverView()
        self._edit: LineEdit | None = None
        self._ahead: tuple[str, ...] = ()
        self._left = ""
        self._marked: int | None = None
        self._lines: list[Parts] = []
        self._turn_of: list[int] = []
        self._width = 0
        self._going_to_end = False

    def show(
        self,
        view: TakeOverView,
        edit: LineEdit | None,
        marked: int | None,
        ahead: tuple[str, ...] = (),
        left: str = "",
    ) -> None:
        """Show ``view``; ``edit`` is the text being typed, ``marked`` a turn; None = neither.
        ``ahead`` are commands that were entered while another one runs, ``left`` is a line that was
        left for the keys of the screen."""
        self._ahead, self._left = ahead, left
        before, at_end = self._view, self._at_end()
        grown = (len(view.turns), view.state) != (len(before.turns), before.state)
        grown = grown or view.against is not before.against or view.writing != before.writing
        moved = marked != self._marked
        self._view, self._edit, self._marked = view, edit, marked
        self._draw()
        if edit is not None or (grown and (at_end or view.state != "model")):
            self._going_to_end = True
            self.call_after_refresh(self.to_end)
        elif moved and marked is not None:
            self.call_after_refresh(self._to_marked)

    def typed(self, edit: LineEdit) -> None:
        """Show an edited text: only the last line changes."""
        self._edit = edit
        if not self._lines:
            return
        typed_ahead = self._ahead_lines(self._width)
        self._lines[-1] = typed_ahead[-1] if typed_ahead else self._prompt_line(self._width)
        self.refresh_line(len(self._lines) - 1)

    def to_end(self) -> None:
        """Scroll to the prompt; or to the verdict, with as much of what follows as fits."""
        self._going_to_end = False
        bottom = max(0, len(self._lines) - self.scrollable_content_region.height)
        self.scroll_to(y=min(bottom, len(self._turn_of)), animate=False, immediate=True)

    def _at_end(self) -> bool:
        """Whether the end is in sight, or about to be: who scrolls back while a model types is left
        there."""
        return self._going_to_end or self.scroll_y >= self.max_scroll_y - 1

    def _to_marked(self) -> None:
        lines = [y for y, turn in enumerate(self._turn_of) if turn == self._marked]
        height = self.scrollable_content_region.height
        if lines and not self.scroll_y <= lines[0] < self.scroll_y + height:
            self.scroll_to(y=max(0, lines[0] - height // 2), animate=False, immediate=True)

    def on_resize(self) -> None:
        if self.content_width != self._width:
            self._draw()
            self.call_after_refresh(self.to_end)

    # --- lines ------------------------------------------------------------------------------

    def _draw(self) -> None:
        self._width = width = self.content_width
        view = self._view
        self._lines, self._turn_of = [], []
        prompt = ""
        for number, turn in enumerate(view.turns):
            if turn.is_command:
                lines = _command(prompt, turn, number < view.again, width)
                prompt = ""
            else:
                *body, prompt = turn.content.split("\n")
                lines = _output("\n".join(body), width) if body else []
                if number < view.again and any(found.turn == number for found in view.differences):
                    lines.append(
                        (
                            ("≠ ", "warn"),
                            (
                                f"not as recorded: {key_for('takeover.differences')} shows how",
                                "warn",
                            ),
                        )
                    )
            self._lines += lines
            self._turn_of += [number] * len(lines)
        if view.state == "over" and view.finished is not None:
            trajectory = view.finished.trajectory
            ending = Ending(
                verdict_of(trajectory),
                checker_of(trajectory),
                view.against,
                limit=limit_of(trajectory),
            )
            self._lines += ending.lines(width)
        elif view.state == "model" and view.writing:
            self._lines += self._writing(width)
        elif view.turns or view.state != "opening":
            self._lines.append(self._prompt_line(width))
        else:
            self._lines += [(), (("  making the world …", "quiet"),)]
        self._lines += self._ahead_lines(width)
        self.relines(len(self._lines))

    def _writing(self, width: int) -> list[Parts]:
        """The prompt, and what a model has written at it so far."""
        turns = self._view.turns
        prompt = clip(visible(turns[-1].content.split("\n")[-1]) if turns else "", width - 12) + " "
        rows = [
            piece
            for row in visible_lines(self._view.writing.lstrip())
            for piece in chop(row, max(8, width - cell_len(prompt) - 5))
        ]
        lead = [prompt, *[" " * cell_len(prompt)] * (len(rows) - 1)]
        lines: list[Parts] = [
            (("▌ ", "special"), (before, "note"), (row, "special"))
            for before, row in zip(lead, rows, strict=True)
        ]
        return [*lines[:-1], (*lines[-1], ("▏", "accent"))]

    def _ahead_lines(self, width: int) -> list[Parts]:
        """What is typed while there is no prompt, below what runs."""
        if self._view.state not in ("opening", "running"):
            return []
        lead = (("▌ ", "trained"), ("then ", "quiet"))
        lines: list[Parts] = [
            (*lead, (clip(visible(command), max(8, width - 8)), "trained"))
            for command in (*self._ahead, *([self._left] if self._left.strip() else []))
        ]
        if self._edit is not None:
            lines.append((*lead, *self._edit.parts(max(8, width - 8), "trained")))
        return lines

    def _prompt_line(self, width: int) -> Parts:
        turns, state = self._view.turns, self._view.state
        prompt = "" if not turns or turns[-1].is_command else turns[-1].content.split("\n")[-1]
        prompt = clip(visible(prompt), max(0, width - 12))
        head: Parts = (("▌ ", "trained"), (prompt, "note"), (" ", ""))
        room = max(8, width - cell_len(prompt) - 4)
        if self._edit is not None and state == "ready":
            return (*head, *self._edit.parts(room, "trained"))
        if state in ("running", "model") and self._view.running:
            style = "trained" if state == "running" else "special"
            return (*head, (clip(visible(self._view.running), room - 2), style), (" ▏", "accent"))
        left = clip(visible(self._left), room) if state == "ready" else ""
        return (("  ", ""), (prompt, "note"), (" ", ""), (left, "quiet"))

    def line(self, y: int, width: int) -> Parts:
        del width
        return self._lines[y] if y < len(self._lines) else ()

    def cache_key(self, y: int) -> Hashable:
        marked = y < len(self._turn_of) and self._turn_of[y] == self._marked
        return (self._lines[y] if y < len(self._lines) else (), marked)

    def line_style(self, y: int) -> str:
        marked = self._marked is not None and self._turn_of[y : y + 1] == [self._marked]
        return "cursor" if marked else ""

    def plain(self) -> str:
        """The whole session as a transcript."""
        return "\n".join(turn.content for turn in self._view.turns)


def who(turn: Turn) -> str:
    """Who typed a command, as shown on the screen."""
    by = str(turn.extra.get("by") or "")
    return "you" if by == _HAND else by


def _command(prompt: str, turn: Turn, again: bool, width: int) -> list[Parts]:
    by = who(turn)
    style = "trained" if by == "you" else "special"
    tail = f"{by}, again" if again and by != "you" else by
    tail = clip(visible(tail), max(4, width // 4))
    rows = visible_lines(turn.content)
    failed = f"exit {turn.exit_status}  " if turn.exit_status else ""
    out: list[Parts] = []
    for number, row in enumerate(rows):
        lead = visible(prompt) + " " if number == 0 and prompt else "" if number == 0 else "> "
        room = max(8, width - 2 - cell_len(lead) - cell_len(tail) - max(8, len(failed) + 2))
        for cut, piece in enumerate(chop(row, room)):
            first = number == 0 and cut == 0
            head: Parts = (("✗ ", "bad"),) if turn.exit_status else (("▌ ", style),)
            lead_style = "note" if number == 0 else "quiet"
            shown: Parts = ((lead if not cut else " " * cell_len(lead), lead_style), (piece, style))
            used = 2 + cell_len(lead) + cell_len(piece)
            status = failed if first else ""
            gap = width - used - cell_len(status) - cell_len(tail) - 1
            end: Parts = (
                ((" " * max(1, gap), ""), (status, "bad"), (tail, "quiet")) if first else ()
            )
            out.append((*head, *shown, *end))
    return out


def _output(text: str, width: int) -> list[Parts]:
    return [
        (("  ", ""), (piece, "text"))
        for line in visible_lines(text)
        for piece in chop(line, max(8, width - 3))
    ]
