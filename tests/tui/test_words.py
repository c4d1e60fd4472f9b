"""How the workbench names and counts things."""

from __future__ import annotations

import pytest

from sekft_engine.records import events
from sekft_engine.records.evals import EvalResult, SubjectFacts
from sekft_engine.records.runs import RunInfo
from sekft_tui.input.footer import hints
from sekft_tui.model.job_text import hint, labelled
from sekft_tui.model.reducer import Shared, reduce, replayed
from sekft_tui.model.runs.summary import summary
from sekft_tui.panes.runs.facts import short_value
from sekft_tui.screens.choose import Choice, choice_line, title_room
from sekft_tui.screens.engine.queue import QueueScreen


def test_the_log_names_jobs_as_people_do() -> None:
    shared = replayed([events.JobStarted(job="h", kind="hand_back", t=1.0)])
    assert [text for _, _, text in shared.log] == ["the model's turn started"]


def test_bytes_are_told_as_a_share_and_things_as_a_count() -> None:
    loading = events.Progress(job="t", label="loading", done=46_435_520, total=92_871_040)
    assert labelled(loading).endswith(" 50.0 %")
    assert labelled(events.Progress(job="t", label="reading", done=3, total=16)) == "reading 3/16"
    job = replayed([events.JobStarted(job="t", kind="train", t=0.0), loading]).jobs["t"]
    assert "loading 50.0 %" in hint(job, (), "")


def test_a_fact_that_holds_or_not_is_told_by_yes_or_no() -> None:
    assert (short_value(True), short_value(False)) == ("yes", "no")


@pytest.mark.parametrize(
    ("n", "said"), [(2, "base 1/2  clean termination"), (0, "no episode judged")]
)
def test_the_result_of_an_eval_says_what_it_counts(n: int, said: str) -> None:
    subject = SubjectFacts(name="base", n=n, clean_termination=min(n, 1))
    info = RunInfo(
        id="1", path="/runs/1", kind="eval", status="done", created="",
        result=EvalResult(subjects=[subject]),
    )  # fmt: skip
    assert summary(info) == said


def test_the_line_of_keys_of_a_box_keeps_what_closes_it() -> None:
    whole = "".join(text for text, _ in hints(QueueScreen.HINTS))
    assert whole.endswith("close")
    for width in (len(whole) - 1, 50, 20):
        cut = "".join(text for text, _ in hints(QueueScreen.HINTS, width))
        assert cut.endswith("close")
        assert len(cut) <= width


def test_choices_say_what_they_are_in_one_column() -> None:
    choices = (Choice("", "base", "bare"), Choice("/a", "001-train", "done"))
    lines = [
        "".join(text for text, _ in choice_line(choice, 60, title_room(choices)))
        for choice in choices
    ]
    assert lines[0].index("bare") == lines[1].index("done")
    longest = "".join(text for text, _ in choice_line(choices[1], 12, title_room(choices)))
    assert "001-train" in longest


def test_a_job_that_an_engine_in_the_background_takes_over_is_not_warned_about() -> None:
    shared = Shared(handing_over=True)
    for detail in ("it had not begun", "stopped after step 2; saved at step 2"):
        reduce(shared, events.JobCancelled(job="train-1", kind="train", detail=detail))
    assert shared.alarms == 0
    said = [text for _, _, text in shared.log]
    assert said == [
        "training: handed to an engine in the background",
        "training: step 2 is saved; handed to an engine in the background",
    ]
