"""``--device`` from the command to the run's record, on the engine's own thread."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import BadInput
from sekft_engine.engine.engine import Engine
from sekft_engine.episodes.store import read_episode
from sekft_engine.factory import make
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.events import Event
from sekft_engine.records.runs import read_run
from sekft_engine.work.context import Stopped
from tests.accelerator.simulated import allocator
from tests.documents import run_document
from tests.training.conftest import RECIPE

RUN = msgspec.structs.replace(
    RECIPE, max_steps=3, dropout=0.0, heldout_every=0, token_losses=2, epochs=2
)


def job(base: Path, data: Path, out: Path, /, **changes: Any) -> jobs.Train:
    fields: dict[str, Any] = {"recipe": RUN, "base": str(base), "data": str(data)}
    return jobs.Train(out=str(out), **(fields | changes))


def test_a_run_on_the_device_records_it_and_goes_on_on_the_cpu(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    whole = run_document(job(tiny_base, sessions, tmp_path / "whole", device="cpu"))
    facts = read_run(tmp_path / "whole").facts
    assert (facts.base.device, facts.versions["device"]) == ("cpu", "cpu")
    engine, seen = Engine(nice=0).start(), list[Event]()

    def stop(event: Event) -> None:
        seen.append(event)
        if isinstance(event, events.StepDone) and event.step == 1:
            engine.cancel(after_step=True)

    engine.subscribe(stop)
    out = tmp_path / "part"
    try:
        with pytest.raises(Stopped):
            run_document(job(tiny_base, sessions, out, device="sim"), engine=engine)
    finally:
        engine.close()
    (loaded,) = [event for event in seen if isinstance(event, events.BaseLoaded)]
    assert (loaded.device, loaded.dtype, loaded.threads) == ("sim:0", "float32", 0)
    facts = read_run(out).facts
    assert (facts.base.device, facts.versions["device"]) == ("sim:0", "simulated")
    machine = [event for event in seen if isinstance(event, events.MachineSeen)]
    assert all(event.cuda > 0 for event in machine)
    said: list[Event] = []
    again = job(tiny_base, sessions, out, resume=True, device="cpu")
    result = run_document(again, None, said.append)
    assert result["steps"] == 3
    assert result["loss"]["last"] == pytest.approx(whole["loss"]["last"], rel=1e-4)
    warned = [event.text for event in said if isinstance(event, events.Log)]
    assert any("device was simulated, now cpu" in text for text in warned)


def test_a_resident_base_is_kept_where_it_is_and_another_device_is_refused(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    engine = Engine(nice=0, keep_base=True).start()
    try:
        run_document(jobs.Load(base=str(tiny_base), device="sim"), engine=engine)
        held = allocator.held
        with pytest.raises(BadInput) as caught:
            run_document(job(tiny_base, sessions, tmp_path / "a", device="cpu"), engine=engine)
        assert '"device" is cpu, and the base is resident on sim:0' in str(caught.value)
        assert '{"job": "load"' in str(caught.value.mend)
        assert not (tmp_path / "a").exists()
        short = msgspec.structs.replace(RUN, max_steps=1, token_losses=0)
        run_document(job(tiny_base, sessions, tmp_path / "b", recipe=short), engine=engine)
        assert read_run(tmp_path / "b").facts.base.device == "sim:0"
        loaded = run_document(jobs.Load(base=str(tiny_base), device="cpu"), engine=engine)
        assert loaded["device"] == "cpu"
        assert allocator.held < held, "the other base is gone from the card"
    finally:
        engine.close()


def test_an_eval_on_the_device_types_what_it_types_on_the_cpu(
    on_cpu: ResidentBase, tiny_base: Path, tmp_path: Path
) -> None:
    """The base and two adapters in real worlds, several episodes at a time."""
    make(tmp_path / "made", train=0, holdout=3, seed=0)
    adapters = []
    for number in (1, 2):
        name = f"tuned{number}"
        on_cpu.new_adapter(name, RECIPE)
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(number)
            for weight in on_cpu.trainable(name):
                weight.normal_(0, 0.1)
        meta = AdapterMeta(base_digest=on_cpu.digest, render=on_cpu.render)
        on_cpu.save_adapter(name, tmp_path / name, meta)
        adapters.append(str(tmp_path / name))
    typed = {}
    for device in ("cpu", "sim"):
        asked = jobs.Evaluate(
            base=str(tiny_base),
            adapters=tuple(adapters),
            scenarios=str(tmp_path / "made" / "scenarios" / "holdout"),
            n=3,
            step_cap=3,
            turn_tokens=6,
            out=str(tmp_path / device),
            device=device,
        )
        result = run_document(asked)
        assert [(each["n"], each["invalid"]) for each in result["subjects"]] == [(3, 0)] * 3
        typed[device] = {
            path.name: [turn.content for turn in read_episode(path).trajectory.turns]
            for path in (tmp_path / device / "episodes").glob("*.json")
        }
    assert len(typed["cpu"]) == 9
    assert typed["sim"] == typed["cpu"]


@pytest.mark.parametrize("asked", ["gpu", "cuda:7", "cuda"])
@pytest.mark.parametrize("kind", ["train", "find", "eval"])
def test_a_wrong_device_is_one_line_before_anything_is_loaded(
    asked: str, kind: str, tiny_base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    nothing = str(tmp_path / "nothing")
    words = {
        "train": ("train", "--data", nothing, "--out", str(tmp_path / "run")),
        "find": ("train", "--find-lr", "--data", nothing),
        "eval": ("eval", "--scenarios", nothing, "--out", str(tmp_path / "run")),
    }[kind]
    status = run_command((*words, "--base", str(tiny_base), "--device", asked))
    err = capfd.readouterr().err.strip()
    assert status == 2
    assert err.count("\n") == 0
    assert "--device" in err
    assert not (tmp_path / "run").exists()
