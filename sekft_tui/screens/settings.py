"""The settings: what a user chooses once, for all workspaces. Each change is checked and kept."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from textual.app import ComposeResult
from textual.containers import Vertical

from sekft_engine.core.errors import SekftError
from sekft_tui.process.preferences import GLYPHS, Preferences, path_of_preferences, problem
from sekft_tui.screens.box import CLOSE, BoxScreen, plain_title
from sekft_tui.text import short_path
from sekft_tui.widgets.form import Field, Form
from sekft_tui.widgets.form_help import FormHelp
from sekft_tui.widgets.line_edit import TypingTarget

_HELP = {
    "mouse": "click and scroll; without it the terminal selects text (from the next start on)",
    "title": "the terminal's title says what the engine does",
    "bell": "ring when a long job ends",
    "notify": "a desktop notification then, too, where the terminal knows it (OSC 9)",
    "bell_after": "seconds that a job takes to be a long one",
    "glyphs": "what curves are drawn with; auto = Braille, or blocks where fonts have none",
}
_LABELS = {
    "title": "title of the terminal",
    "bell": "bell",
    "notify": "desktop notification",
    "mouse": "mouse",
}


class SettingsScreen(BoxScreen[None]):
    """A form over the panes.

    Args:
        preferences: what holds now.
        theme: its name.
        themes: all that can be chosen.
        keep: writes new preferences and applies them; raises a SekftError where it cannot.
        set_theme: shows another theme.
    """

    DEFAULT_CSS = """
    SettingsScreen #settings { background: $surface; }
    SettingsScreen #settings-help { height: 2; margin-top: 1; }
    """
    HINTS = (("motion.choose", "change"), CLOSE)

    def __init__(
        self,
        preferences: Preferences,
        theme: str,
        themes: tuple[str, ...],
        keep: Callable[[Preferences], None],
        set_theme: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._preferences = preferences
        self._theme = theme
        self._themes = themes
        self._keep = keep
        self._set_theme = set_theme

    def compose(self) -> ComposeResult:
        self.help = FormHelp(id="settings-help")
        self.form = Form(
            check=self._check,
            changed=self._changed,
            pressed=lambda _: self._reset(),
            show_help=self.help.show_help,
            id="settings",
        )
        box = Vertical(self.form, self.help, self.make_foot(), id="box")
        box.border_title = "settings"
        box.border_subtitle = plain_title(short_path(str(path_of_preferences())))
        yield box

    def on_mount(self) -> None:
        self._fill()
        self.form.styles.height = min(len(self.form.fields), max(3, self.app.size.height - 9))
        self.set_focus(self.form)

    @property
    def typing_target(self) -> TypingTarget | None:
        return self.form if self.form.typing else None

    def _fill(self) -> None:
        default, now = Preferences(), self._preferences
        names = ("title", "bell", "notify", "mouse")
        self.form.set_fields(
            (
                Field("theme", self._theme, "dark, light, for colour-blind eyes, or the terminal's",
                      choices=self._themes),
                Field("glyphs", now.glyphs, _HELP["glyphs"], choices=GLYPHS, label="chart glyphs",
                      changed=now.glyphs != default.glyphs),
                Field("bell_after", str(now.bell_after), _HELP["bell_after"], "number",
                      label="long job",
                      changed=now.bell_after != default.bell_after),
                *(
                    Field(name, "yes" if getattr(now, name) else "", _HELP[name], "check",
                          label=_LABELS[name])
                    for name in names
                ),
                Field("reset", "", "set all of them back", "button", label="▸ all defaults"),
            )
        )  # fmt: skip

    def _check(self, name: str, value: str) -> str:
        number = int(value) if value.isascii() and value.isdecimal() else None
        return problem(name, number if name == "bell_after" else value)

    def _changed(self, name: str, value: str) -> None:
        if name == "theme":
            self._theme = value
            self._set_theme(value)
        else:
            chosen: object = value
            if name == "bell_after":
                chosen = int(value)
            elif name in _LABELS:
                chosen = bool(value)
            self._put(msgspec.structs.replace(self._preferences, **{name: chosen}))
        self._fill()

    def _reset(self) -> None:
        self._put(Preferences())
        self._fill()

    def _put(self, preferences: Preferences) -> None:
        try:
            self._keep(preferences)
        except SekftError as error:
            self.help.show_help(str(error), True)
        else:
            self._preferences = preferences

    def action_close(self) -> None:
        if not self.form.cancel_edit():
            self.dismiss(None)
