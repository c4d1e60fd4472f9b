"""A box that asks one question; keys answer it."""

from __future__ import annotations

from sekft_tui.screens.box import BoxScreen, plain_title
from sekft_tui.text import Parts


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
        first, *more = question.split("\n")
        lines: list[Parts] = [((first, "strong"),), *(((line, "text"),) for line in more), ()]
        lines += [((f"  {key}  ", "key"), (text, "text")) for key, text in answers]
        self.put(tuple(lines))

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)
