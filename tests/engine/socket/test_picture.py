"""What `sekft resident status` says of a running job follows the job."""

from __future__ import annotations

from pathlib import Path

from sekft_engine.engine.socket.history import History
from sekft_engine.engine.socket.picture import Picture
from sekft_engine.records import events
from tests.tui.scripted import verdict


def test_once_an_eval_acts_it_is_not_said_to_be_preparing_any_more(tmp_path: Path) -> None:
    picture = Picture(History(tmp_path, [], journal="", last=0))
    job = "eval-1"
    picture.observe(events.JobStarted(job=job, kind="eval"))
    picture.observe(events.Progress(job=job, label="checking the decoding", done=0, detail="long"))
    assert picture.running is not None
    assert picture.running.doing == "checking the decoding"
    picture.observe(events.EpisodeStarted(job=job, subject="base", scenario="tidy-000"))
    assert (picture.running.doing, picture.running.detail) == ("acting", "0 episodes ended")
    picture.observe(verdict("base", "tidy-000", "good"))
    assert picture.running.detail == "1 episode ended"
