"""Train: a recipe, a button, and everything there is to see of a run while it goes on.

``recipe`` is the form, ``plots`` makes panels of a run, ``figures`` the lines below them, ``batch``
the trajectories in training, ``others`` the runs laid over it; ``pane`` joins them to keys.
"""

from sekft_tui.panes.train.pane import TrainPane

__all__ = ["TrainPane"]
