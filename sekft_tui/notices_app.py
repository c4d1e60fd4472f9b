"""What the app says to its user: notes that pass, errors and their details, lines of the log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from sekft_engine.core.errors import BadInput, SekftError
from sekft_tui.input.actions import key_for
from sekft_tui.widgets.form import Form
from sekft_tui.widgets.prompt_line import PromptLine
from sekft_tui.workspace_app import WorkspaceApp


class NoticesApp(WorkspaceApp):
    """Shows notes and errors wherever the user is, and keeps the last error to be read in full."""

    #: The last error, and its trace.
    last_error = ("", "")

    def note(self, text: str, seconds: float = 4.0) -> None:
        """Show a line above the keys, for so many seconds."""
        self.notes.note(text, seconds)
        self.place_errors()

    def error(self, text: str, trace: str = "", *, logged: bool = False) -> None:
        """Show an error for a few seconds; ``e`` shows it in full. The workbench keeps running.

        Args:
            logged: the log has it already.
        """
        self.last_error = (text, trace)
        if not logged:
            self.log_line("error", text)
        self.notify(
            text,
            title=f"error · {key_for('global.details')} shows details",
            severity="error",
            markup=False,
            timeout=10,
        )

    def place_errors(self) -> None:
        """Let errors stand above the line of notes while there is one, and never on what is typed:
        that is at the bottom, or a field anywhere in a form."""
        errors, target = self.screen.query("ToastRack"), self.typing_target()
        row = target.typing_row if isinstance(target, Form) else 0
        errors.set_class(row > self.size.height // 2, "-at-top")
        errors.set_class(not self.notes.is_empty or isinstance(target, PromptLine), "-above-note")

    def key_done(self) -> None:
        super().key_done()
        if self.screen_stack:
            self.place_errors()

    def worker_failed(self, error: Exception) -> None:
        import traceback

        from sekft_engine.core.crash import write_report

        report = write_report("".join(traceback.format_exception(error)), sys.argv[1:])
        where = f" (the report is {report})" if report is not None else ""
        self.error(f"unexpected {type(error).__name__}: {error}{where}")

    def report(self, do: Callable[[], str]) -> None:
        """Show what ``do`` did, or its error."""
        try:
            self.note(do())
        except SekftError as error:
            self.error(str(error))

    def report_keys(self, wrong: tuple[BadInput, ...]) -> None:
        """Tell what is wrong in files of keys."""
        if wrong:
            first = f"{wrong[0]}; the usual keys are used for what is wrong"
            self.error(first, "\n".join(map(str, wrong)) if len(wrong) > 1 else "")

    def log_line(self, level: str, text: str) -> None:
        """Add a line to the log pane."""
        with self.bridge.shared() as shared:
            shared.add_log(time.time(), level, text)
            shared.version += 1
