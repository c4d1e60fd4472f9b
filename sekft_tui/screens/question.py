"""A box that asks one question; keys answer it."""

from __future__ import annotations

from sekft_tui.screens.box import BoxScreen
from sekft_tui.text import Parts


class QuestionScreen(BoxScreen[str]):
    """Subclasses bind a key to ``answer('…')`` for each of the answers."""

    SCROLLS = False
    WIDTH = 60

    def ask(self, title: str, question: str, answers: tuple[tuple[str, str], ...]) -> None:
        """Show the question, with a line (key, what it does) for each of the answers."""
        box = self.query_one("#box")
        box.styles.width = self.WIDTH
        box.border_title = title
        lines: list[Parts] = [((question, "strong"),), ()]
        lines += [((f"  {key}  ", "key"), (text, "text")) for key, text in answers]
        self.put(tuple(lines))

    def action_answer(self, answer: str) -> None:
        self.dismiss(answer)
