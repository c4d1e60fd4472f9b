"""A box that asks one question; keys answer it."""

from __future__ import annotations

from sekft_tui.screens.box import BoxScreen, plain_title
from sekft_tui.text import Parts, wrapped


class QuestionScreen(BoxScreen[str], inherit_bindings=False):
    """Subclasses bind a key to ``answer('…')`` for each of the answers. These keys are not in the
    table: a question shows them itself."""

    SCROLLS = False
    WIDTH = 60

    _title, _question = "", ""
    _choices: tuple[tuple[str, str], ...] = ()

    def ask(self, title: str, question: str, answers: tuple[tuple[str, str], ...]) -> None:
        """Show the question, with a line (key, what it does) for each of the answers. What stands
        in further lines of the question explains it."""
        self._title, self._question, self._choices = title, question, answers
        self._wrap()

    def on_resize(self) -> None:
        if self._choices:
            self._wrap()

    def _wrap(self) -> None:
        """Show the question, wrapped to the present width. Where the terminal is too low for all
        of it, the answers stay."""
        box = self.query_one("#box")
        box.styles.width = self.WIDTH
        box.border_title = plain_title(self._title)
        width = min(self.WIDTH, int(self.app.size.width * 0.96)) - 4
        first, *more = self._question.split("\n")
        lines: list[Parts] = [((line, "strong"),) for line in wrapped(first, width)]
        lines += [((row, "text"),) for line in more for row in wrapped(line, width)]
        answers: list[Parts] = []
        for key, text in self._choices:
            sign = f"  {key}  "
            for row in wrapped(text, width - len(sign)):
                answers.append(((sign, "key"), (row, "text")))
                sign = " " * len(sign)
        room = max(1, int(self.app.size.height * 0.94) - 2 - len(answers))
        if len(lines) < room:
            lines.append(())
        elif len(lines) > room:
            lines = [*lines[: room - 1], (("…", "quiet"),)]
        self.put((*lines, *answers))

    def put(self, lines: tuple[Parts, ...]) -> None:
        super().put(lines)
        self.sheet.styles.height = len(lines)  # there is no line with keys below it

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)
