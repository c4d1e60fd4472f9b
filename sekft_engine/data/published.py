"""What is published on the Hub. A module of its own, so that help texts can name it at no cost."""

from __future__ import annotations

from sekft_engine.core.errors import BadInput

#: The published trajectories, taken where ``--hub`` names no data set.
DEFAULT_DATASET = "tiararodney/posix-sdc"


def refuse_two_sources(data: str, hub: str) -> None:
    """Raise :class:`BadInput` where both a path and a data set of the Hub are named."""
    if data and hub:
        raise BadInput("both a path and a Hub data set are named", mend="use --data or --hub")
