"""The app as panes know it: the tabs, going from one pane to another, and what panes ask for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from textual import on
from textual.widgets import ContentSwitcher

from sekft_tui import messages
from sekft_tui.input.footer import TYPING, FooterState
from sekft_tui.input.keys import OrderedKeys
from sekft_tui.input.places import Place
from sekft_tui.widgets.bars import KeyBar, NoteLine, TabBar

if TYPE_CHECKING:
    from sekft_tui.panes.pane import Pane

SomePane = TypeVar("SomePane", bound="Pane")


class PanesApp(OrderedKeys):
    """Shows one pane at a time, each read and made at its first visit."""

    def __init__(self) -> None:
        super().__init__()
        self.tabs = TabBar()
        self.keys = KeyBar(self.footer_state)
        self.notes = NoteLine()
        self.pane: Place = "trajectories"

    def footer_state(self) -> FooterState:
        """What the keys do now."""
        if self.typing_target() is not None:
            return TYPING
        pane = self.current_pane
        return pane.footer() if pane is not None else FooterState()

    def key_done(self) -> None:
        self.keys.update()

    @abstractmethod
    def make_pane(self, name: Place) -> Pane:
        """A pane that has not been visited yet."""

    @abstractmethod
    def redraw_pane(self) -> None:
        """Draw the visible pane again at once."""

    # --- panes ------------------------------------------------------------------------------

    @property
    def current_pane(self) -> Pane | None:
        return next(iter(self.made_panes(f"#{self.pane}")), None)

    def made_panes(self, selector: str = "#panes > *") -> Iterable[Pane]:
        """The panes that were visited so far."""
        if not self.query(selector):
            return ()
        from sekft_tui.panes.pane import Pane

        return self.query(selector).results(Pane)

    async def action_pane(self, name: Place) -> None:
        """Go to a pane, made at its first visit."""
        switcher = self.query_one("#panes", ContentSwitcher)
        before = self.current_pane
        if not self.query(f"#{name}"):
            await switcher.add_content(self.make_pane(name), id=name)
        if before is not None and name != self.pane:
            before.hidden()
        self.pane = self.tabs.pane = self.keys.pane = name
        switcher.current = name
        self.tabs.update()
        self.keys.update()
        pane = self.current_pane
        if pane is not None:
            focus = pane.first_focus()
            if focus is not None:
                pane.go_to(focus)
            pane.shown()
        self.redraw_pane()

    async def action_in_pane(self, action: str) -> None:
        """Run an action of the visible pane by name: for clicks and the palette."""
        pane = self.current_pane
        if pane is not None:
            await self.run_action(action, default_namespace=pane)

    # --- what panes ask for -----------------------------------------------------------------

    async def _visit(self, kind: type[SomePane]) -> SomePane:
        """Go to the pane of this class."""
        await self.action_pane(kind.place)
        return self.query_one(f"#{kind.place}", kind)

    @on(messages.OpenTrajectory)
    async def _open_trajectory(self, message: messages.OpenTrajectory) -> None:
        from sekft_tui.panes.trajectories import TrajectoriesPane

        pane = await self._visit(TrajectoriesPane)
        pane.seek(message.trajectory)

    @on(messages.OpenEpisode)
    async def _open_episode(self, message: messages.OpenEpisode) -> None:
        from sekft_tui.panes.replay import ReplayPane

        pane = await self._visit(ReplayPane)
        pane.open_cell(message.view, message.subject, message.scenario)
        pane.go_to(pane.view)

    @on(messages.ShowEpisodes)
    async def _show_episodes(self, message: messages.ShowEpisodes) -> None:
        from sekft_tui.panes.replay import ReplayPane

        pane = await self._visit(ReplayPane)
        pane.show_run(message.run)

    @on(messages.ShowRun)
    async def _show_run(self, message: messages.ShowRun) -> None:
        from sekft_tui.model.evaluation import EvalView
        from sekft_tui.model.training import TrainView
        from sekft_tui.panes.eval import EvalPane
        from sekft_tui.panes.train import TrainPane

        match message.view:
            case TrainView() as training:
                train = await self._visit(TrainPane)
                train.open_run(training)
            case EvalView() as evaluation:
                pane = await self._visit(EvalPane)
                pane.open_run(evaluation)

    @on(messages.FollowTraining)
    async def _follow_training(self) -> None:
        from sekft_tui.panes.train import TrainPane

        pane = await self._visit(TrainPane)
        pane.show_running()

    @on(messages.Evaluate)
    async def _evaluate(self, message: messages.Evaluate) -> None:
        from sekft_tui.panes.eval import EvalPane

        pane = await self._visit(EvalPane)
        pane.choose(message.adapter)
