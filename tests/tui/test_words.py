"""How the workbench names and counts things."""

from __future__ import annotations

import pytest

from sekft_engine.records import events
from sekft_engine.records.evals import EvalResult, SubjectFacts
from sekft_engine.records.runs import RunInfo
from sekft_tui.model.job_text import hint, labelled
from sekft_tui.model.reducer import replayed
from sekft_tui.model.runs.summary import summary
from sekft_tui.panes.runs.facts import short_value


def test_the_log_names_jobs_as_people_do() -> None:
    shared = replayed([events.JobStarted(job="h", kind="hand_back", t=1.0)])
    assert [text for _, _, text in shared.log] == ["the model's turn started"]


def test_bytes_are_told_as_a_share_and_things_as_a_count() -> None:
    loading = events.Progress(job="t", label="loading", done=46_435_520, total=92_871_040)
    assert labelled(loading).endswith(" 50.0 %")
    assert labelled(events.Progress(job="t", label="reading", done=3, total=16)) == "reading 3/16"
    job = replayed([events.JobStarted(job="t", kind="train", t=0.0), loading]).jobs["t"]
    assert "loading 50.0 %" in hint(job, (), "", 60)


def test_a_fact_that_holds_or_not_is_told_by_yes_or_no() -> None:
    assert (short_value(True), short_value(False)) == ("yes", "no")


@pytest.mark.parametrize(("n", "said"), [(2, "clean end  base 1/2"), (0, "no episode judged")])
def test_the_result_of_an_eval_says_what_it_counts(n: int, said: str) -> None:
    subject = SubjectFacts(name="base", n=n, clean_termination=min(n, 1))
    info = RunInfo(
        id="1", path="/runs/1", kind="eval", status="done", created="",
        result=EvalResult(subjects=[subject]),
    )  # fmt: skip
    assert summary(info) == said
