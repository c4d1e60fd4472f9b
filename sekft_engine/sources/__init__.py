"""Sources: read trajectories and bundles, naming file and line when something is wrong."""

from sekft_engine.sources.dropped import Dropped
from sekft_engine.sources.facts import Facts, Problem
from sekft_engine.sources.index import Index, open_index
from sekft_engine.sources.scenarios import load_scenarios
from sekft_engine.sources.trajectories import (
    Loaded,
    data_digest,
    iter_trajectories,
    load_hub,
    load_trajectories,
)
from sekft_engine.sources.write import staged, write_json, write_jsonl, write_trajectory

__all__ = [
    "Dropped",
    "Facts",
    "Index",
    "Loaded",
    "Problem",
    "data_digest",
    "iter_trajectories",
    "load_hub",
    "load_scenarios",
    "load_trajectories",
    "open_index",
    "staged",
    "write_json",
    "write_jsonl",
    "write_trajectory",
]
