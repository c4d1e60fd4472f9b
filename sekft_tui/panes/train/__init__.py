"""Train: the form of a run, and its curves, figures and batches while it runs.

``recipe`` is the form, ``memory`` its line that says whether the run fits, ``plots`` the panels of
the chart, ``figures`` the lines below it, ``batch`` the trajectories of a step; ``pane`` joins them
to keys.
"""

from sekft_tui.panes.train.pane import TrainPane

__all__ = ["TrainPane"]
