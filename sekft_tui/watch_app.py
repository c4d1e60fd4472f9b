"""The app of ``sekft shell``: one screen, on which one watches a model log in."""

from __future__ import annotations

from collections.abc import Callable

from sekft_engine.data.workspace import Workspace
from sekft_engine.takeover.cast import LiveCast
from sekft_engine.takeover.shell import Watched
from sekft_engine.takeover.takeover import TakeOver
from sekft_tui import theme
from sekft_tui.input.keys import OrderedKeys
from sekft_tui.input.own_keys import use_own_keys
from sekft_tui.process.bridge import Bridge, EngineLike
from sekft_tui.process.settings import load_state
from sekft_tui.process.workers import KeyPriority
from sekft_tui.screens.protocols import DrawsState, HasTypingTarget
from sekft_tui.screens.takeover.watch import WatchScreen
from sekft_tui.widgets.line_edit import TypingTarget

#: How often the app asks whether the engine has something new, per second.
PULLS = 6


class Watcher:
    """Tells a recording and a screen of each change of a session."""

    def __init__(self) -> None:
        self.cast: LiveCast | None = None
        self.draw: Callable[[], None] = lambda: None

    def changed(self, session: TakeOver) -> None:
        """Called on the session's threads."""
        if self.cast is not None:
            self.cast.update(session.view)
        self.draw()


class WatchApp(OrderedKeys):
    """The app of ``sekft shell``.

    Args:
        engine: does the work of the model. The app starts it; whoever made it closes it.
        watched: the session; the app starts it.
        watcher: is told of its changes.
        workspace: where sessions are kept.
    """

    TITLE = "sekft shell"
    ENABLE_COMMAND_PALETTE = False
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (110, "-wide")]

    def __init__(
        self, engine: EngineLike, watched: Watched, watcher: Watcher, workspace: Workspace | None
    ) -> None:
        super().__init__()
        self.key_priority = KeyPriority()
        self.engine = engine
        self.workspace = workspace
        self.farewell = ""
        self._watched, self._watcher = watched, watcher
        self.bridge = Bridge(engine, self.post_message)
        self._drawn = -1
        self._wrong_keys = use_own_keys(self, workspace.root if workspace is not None else None)
        for own in theme.THEMES:
            self.register_theme(own)
        wanted = load_state().theme
        self.theme = wanted if wanted in self.available_themes else "sekft-dark"

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.defaults(self.current_theme.dark if self.theme else True)

    def on_mount(self) -> None:
        self.engine.start()
        self.set_interval(1 / PULLS, self._pull)
        screen = WatchScreen(self, self._begin, self._watched.adapter, self._watched.subject)
        self.push_screen(screen, lambda _: self.exit(0))
        for wrong in self._wrong_keys[:1]:
            self.notify(str(wrong), severity="error", markup=False, timeout=10)

    def _begin(self, changed: Callable[[], None]) -> TakeOver:
        self._watcher.draw = changed
        return self._watched.session.start()

    def _pull(self) -> None:
        """Show what the engine does, if anything changed."""
        if self._drawn == self.bridge.version:
            return
        self._drawn = self.bridge.version
        with self.bridge.shared() as shared:
            for screen in self.screen_stack:
                if isinstance(screen, DrawsState):
                    screen.draw(shared)

    def typing_target(self) -> TypingTarget | None:
        return self.screen.typing_target if isinstance(self.screen, HasTypingTarget) else None

    def note(self, text: str) -> None:
        """Told when the screen is left."""
        self.farewell = text
