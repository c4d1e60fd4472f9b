"""The learning-rate finder sweeps the real data, suggests a rate, and leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.cli.show.rate_plot import HEIGHT, rate_plot
from sekft_engine.core.errors import BadInput, JobFailed
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.events import Event
from sekft_engine.records.trainings import RatePoint
from sekft_engine.sweep.rate_search import HIGHEST, LOWEST, suggested
from tests.documents import document, run_document
from tests.models import weights_digest
from tests.training.conftest import RECIPE


def curve(*losses: float) -> list[RatePoint]:
    return [
        RatePoint(
            step=at, lr=10.0 ** (at - 10), loss=loss, bare=1, share=loss, smooth=loss, grad_norm=1
        )
        for at, loss in enumerate(losses, 1)
    ]


def test_the_rate_is_a_tenth_of_that_at_the_lowest_loss() -> None:
    assert suggested(curve(9, 9, 9, 8, 7, 6, 5, 4, 3, 20)) == 1e-2
    with pytest.raises(JobFailed, match="no learning rate makes the loss fall"):
        suggested(curve(1, 9, 9, 9, 9, 9, 9, 9, 9, 9))
    with pytest.raises(JobFailed, match="more steps"):
        suggested(curve(3, 2))


def test_a_sweep_goes_up_by_one_factor_and_leaves_no_adapter_and_no_changed_base(
    tiny_base: Path, sessions: Path
) -> None:
    engine = Engine(nice=0).start()
    seen: list[Event] = []
    recipe = msgspec.structs.replace(RECIPE, max_steps=13)
    job = jobs.FindRate(base=str(tiny_base), data=str(sessions), recipe=recipe)
    try:
        run_document(jobs.Load(base=str(tiny_base)), engine=engine)
        assert engine.residence.base is not None
        before = weights_digest(engine.residence.base)
        result = run_document(job, None, seen.append, engine=engine)
        assert weights_digest(engine.residence.base) == before
        assert document(engine.status())["resident"]["adapters"] == {}
    finally:
        engine.close()
    rates = [point["lr"] for point in result["curve"]]
    assert rates[0] == LOWEST
    assert rates[1] / rates[0] == pytest.approx((HIGHEST / LOWEST) ** (1 / 12))
    assert rates == sorted(rates)
    told = [event for event in seen if isinstance(event, events.RateTried)]
    assert [(one.lr, one.smooth) for one in told] == [
        (point["lr"], point["smooth"]) for point in result["curve"]
    ], "each step was told while the search went on"
    assert LOWEST < result["suggested"] < HIGHEST


def test_the_command_prints_the_rate_as_a_flag_and_draws_the_sweep(
    tiny_base: Path, sessions: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    line = ["train", "--find-lr", "--base", str(tiny_base), "--data", str(sessions)]
    line += ["--batch", "2", "--max-steps", "13"]
    assert run_command([*line, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert len(found["curve"]) == found["steps"]
    drawn = rate_plot(msgspec.convert(found["curve"], list[RatePoint]), found["suggested"])
    assert len(drawn.splitlines()) == HEIGHT + 2
    assert "•" in drawn
    assert run_command(line) == 0
    told = capfd.readouterr()
    assert told.out == f"--lr {found['suggested']:g}\n"
    assert drawn in told.err
    assert list(tmp_path.iterdir()) == []


def test_layers_that_the_base_has_not_are_refused_before_it_is_loaded(
    tiny_base: Path, sessions: Path
) -> None:
    seen: list[Event] = []
    recipe = msgspec.structs.replace(RECIPE, targets="nope")
    job = jobs.FindRate(base=str(tiny_base), data=str(sessions), recipe=recipe)
    with pytest.raises(BadInput, match=r"no linear layer called nope.*all-linear"):
        run_document(job, None, seen.append)
    assert not [event for event in seen if isinstance(event, events.BaseLoaded)]
