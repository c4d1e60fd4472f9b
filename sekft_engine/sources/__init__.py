"""Sources: read trajectories and bundles, naming file and line when something is wrong."""

from sekft_engine.data.dropped import Dropped
from sekft_engine.sources.index.facts import Facts, Problem
from sekft_engine.sources.index.index import Index, open_index
from sekft_engine.sources.read.scenarios import ScenarioSurvey, load_scenarios, survey_scenarios
from sekft_engine.sources.read.trajectories import (
    Loaded,
    data_digest,
    iter_trajectories,
    load_hub,
    load_trajectories,
)
from sekft_engine.sources.read.write import (
    staged,
    write_json,
    write_jsonl,
    write_trajectory,
)

__all__ = [
    "Dropped",
    "Facts",
    "Index",
    "Loaded",
    "Problem",
    "ScenarioSurvey",
    "data_digest",
    "iter_trajectories",
    "load_hub",
    "load_scenarios",
    "load_trajectories",
    "open_index",
    "staged",
    "survey_scenarios",
    "write_json",
    "write_jsonl",
    "write_trajectory",
]
