"""A box that asks one question; keys answer it."""

from __future__ import annotations

from sekft_tui.screens.box import BoxScreen, plain_title
from sekft_tui.text import Parts, wrapped


class QuestionScreen(BoxScreen[str], inherit_bindings=False):
    """Subclasses bind a key to ``answer('…')`` for each of the answers. These keys are not in the
    table: a question shows them itself."""

    SCROLLS = False
    WIDTH = 60

    def ask(self, title: str, question: str, answers: tuple[tuple[str, str], ...]) -> None:
        """Show the question, with a line (key, what it does) for each of the answers. What stands
        in further lines of the question explains it."""
        box = self.query_one("#box")
        box.styles.width = self.WIDTH
        box.border_title = plain_title(title)
        width = min(self.WIDTH, int(self.app.size.width * 0.96)) - 4
        first, *more = question.split("\n")
        lines: list[Parts] = [((line, "strong"),) for line in wrapped(first, width)]
        lines += [((row, "text"),) for line in more for row in wrapped(line, width)]
        lines.append(())
        for key, text in answers:
            sign = f"  {key}  "
            for row in wrapped(text, width - len(sign)):
                lines.append(((sign, "key"), (row, "text")))
                sign = " " * len(sign)
        self.put(tuple(lines))

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)
