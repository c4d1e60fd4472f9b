"""Several processes train one adapter: what one would have trained, and only the first speaks."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from sekft_engine.core.errors import BadInput, BaseChanged, JobFailed
from sekft_engine.data.recipe import Recipe
from sekft_engine.engine.engine import Engine
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import WEIGHTS, adapter_digest
from sekft_engine.records.events import Event
from sekft_engine.records.runs import read_events, read_run
from sekft_engine.training.run.follower import Brief, follow_run
from sekft_engine.training.trainer.data import TrainRow
from sekft_engine.training.trainer.loss import token_losses
from sekft_engine.training.trainer.processes import Processes, follows, joined
from sekft_engine.work.context import Stopped
from tests.documents import document, run_document

#: Three rows a step for two processes, so that shares differ; the last step has fewer.
RECIPE = Recipe(
    rank=4, alpha=8, lr=0.01, dropout=0, batch=3, micro_batch=1, epochs=1, heldout=0.2,
    heldout_every=2, token_losses=0,
)  # fmt: skip
#: Largest difference of a weight: sums in another order, in single precision, over all steps.
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def alone(
    tiny_base: Path, sessions: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What one process makes of the recipe."""
    return run_document(_job(tiny_base, sessions, tmp_path_factory.mktemp("runs") / "alone"))


def test_two_processes_train_what_one_would(
    alone: dict[str, Any], tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "both"
    _in_two(lambda: _train(_job(tiny_base, sessions, out)))
    assert _largest_difference(Path(alone["adapter"]), out / "adapter") < TOLERANCE
    assert _told(out) == pytest.approx(_told(Path(alone["path"])), rel=1e-5)
    logs = [one.text for one in read_events(out / "events.jsonl") if isinstance(one, events.Log)]
    assert any(text.startswith("a step takes up to") for text in logs)
    result = document(read_run(out).result)
    assert result["trained_tokens"] == alone["trained_tokens"]
    assert result["loss"]["heldout"] == pytest.approx(alone["loss"]["heldout"], rel=1e-6)


def test_all_processes_render_with_the_clock_of_the_first(
    tiny_base_copy: Path, sessions: Path, tmp_path: Path
) -> None:
    """Its template prints the time to the microsecond, which no two processes start at."""
    template = tiny_base_copy / "chat_template.jinja"
    line = "{{ '<|im_start|>system\nIt is ' + strftime_now('%H:%M:%S.%f') + '<|im_end|>\n' }}"
    template.write_text(line + template.read_text(encoding="utf-8"), encoding="utf-8")
    out = tmp_path / "dated"
    _in_two(lambda: _train(_job(tiny_base_copy, sessions, out)))
    assert read_run(out).status == "done"


def test_a_base_that_is_spread_over_two_processes_trains_what_a_whole_one_would(
    alone: dict[str, Any], tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "spread"
    _in_two(lambda: _train(_job(tiny_base, sessions, out, shard_base=True)))
    assert _largest_difference(Path(alone["adapter"]), out / "adapter") < TOLERANCE
    assert _told(out) == pytest.approx(_told(Path(alone["path"])), rel=1e-5)


def test_a_base_that_is_spread_is_proven_part_by_part_run_after_run(
    alone: dict[str, Any], tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    outs = [tmp_path / "one", tmp_path / "two"]

    def train() -> None:
        if follows():
            ranks, resident = joined(), None
            assert isinstance(ranks, Processes)
            for _ in outs:
                _, arguments = ranks.receive()
                brief = msgspec.json.decode(arguments[0], type=Brief)
                resident = follow_run(ranks, brief, resident)
        else:
            engine = Engine(nice=0).start()
            for out in outs:
                run_document(_job(tiny_base, sessions, out, shard_base=True), engine=engine)
            resident = engine.residence.base
            engine.close()
        assert resident is not None
        resident.activate(None)
        resident.prove()
        part: Any = next(one for one in resident.model.parameters() if hasattr(one, "to_local"))
        part.to_local().data[0] += 1
        resident.activate(None)
        with pytest.raises(BaseChanged, match="q_proj"):
            resident.prove()

    _in_two(train)
    for out in outs:
        assert _largest_difference(Path(alone["adapter"]), out / "adapter") < TOLERANCE


def test_a_run_of_two_processes_that_is_stopped_goes_on_to_the_same_bits(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    recipe = msgspec.structs.replace(RECIPE, dropout=0.2)
    whole, part = tmp_path / "whole", tmp_path / "part"

    def train() -> None:
        _train(_job(tiny_base, sessions, whole, recipe=recipe))
        with pytest.raises(Stopped):
            _train(_job(tiny_base, sessions, part, recipe=recipe), stop_after=2)
        assert _train(_job(tiny_base, sessions, part, recipe=recipe, resume=True))["resumed"]

    _in_two(train)
    assert adapter_digest(whole / "adapter") == adapter_digest(part / "adapter")


def test_what_goes_wrong_in_the_second_process_is_told_by_the_first(
    tiny_base: Path, sessions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    def train() -> None:
        if os.environ["RANK"] == "1":
            monkeypatch.setattr(
                "sekft_engine.training.trainer.accumulate.token_losses", _no_numbers
            )
            _train(_job(tiny_base, sessions, out))
            return
        with pytest.raises(JobFailed, match="not finite at step 1, trajectory session-"):
            _train(_job(tiny_base, sessions, out))

    _in_two(train)
    assert read_run(out).status == "failed"


def test_every_row_of_a_step_is_one_process_s_and_tokens_are_shared_fairly() -> None:
    rows = [_row(number, length) for number, length in enumerate([90, 10, 50, 40, 40, 30])]
    shares = [list(_process(rank, 2).share(rows)) for rank in range(2)]
    assert sorted(row.id for share in shares for row in share) == [row.id for row in rows]
    assert [sum(map(len, share)) for share in shares] == [130, 130]
    assert [len(_process(rank, 3).share(rows[:1])) for rank in range(3)] == [1, 0, 0]


def test_spreading_a_base_over_one_process_is_refused_before_anything_is_loaded(
    tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="torchrun"):
        run_document(_job(tiny_base, sessions, tmp_path / "run", shard_base=True))
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_under_torchrun_the_command_speaks_once(
    alone: dict[str, Any], tiny_base: Path, sessions: Path, tmp_path: Path
) -> None:
    out = tmp_path / "launched"
    flags = {
        "rank": 4, "alpha": 8, "lr": 0.01, "dropout": 0, "batch": 3, "micro-batch": 1,
        "epochs": 1, "heldout": 0.2, "heldout-every": 2, "token-losses": 0,
    }  # fmt: skip
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone"),
            *("--nproc-per-node", "2", "--no-python", sys.executable, "-c"),
            "from sekft_engine.cli.main import main; main()",
            *("train", "--json", "--base", str(tiny_base), "--data", str(sessions)),
            *("--out", str(out)),
            *(part for name, value in flags.items() for part in (f"--{name}", str(value))),
        ],
        capture_output=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout)["steps"] == alone["steps"]
    assert _largest_difference(Path(alone["adapter"]), out / "adapter") < TOLERANCE


# --- two processes ------------------------------------------------------------------------------


def _in_two(work: Callable[[], Any]) -> None:
    """Run ``work`` in two forks that are told of each other as torchrun would; the second one
    follows where ``work`` trains."""
    port = _free_port()
    children = list(_fork_ranks(work, port))
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0]


def _fork_ranks(work: Callable[[], Any], port: int) -> Iterator[int]:
    for rank in range(2):
        child = os.fork()
        if child:
            yield child
            continue
        code = 70
        try:
            signal.alarm(100)  # a test that waits for ever ends
            torch.set_num_threads(1)  # sets torch's pool up anew before several threads ask for it
            os.environ |= {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2",
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            }  # fmt: skip
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - no child may run on as its parent
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)


def _train(job: jobs.Train, stop_after: int = 0) -> dict[str, Any]:
    """Train as the leader, or follow it for this one run."""
    from sekft_engine.training.run import follower
    from sekft_engine.training.trainer import processes

    if processes.follows():
        ranks = processes.joined()
        assert isinstance(ranks, processes.Processes)
        command, arguments = ranks.receive()
        assert command == "train"
        follower.follow_run(ranks, msgspec.json.decode(arguments[0], type=follower.Brief), None)
        if stop_after:
            raise Stopped("as the leader")
        return {"resumed": True}
    engine = Engine(nice=0).start()

    def stop(event: Event) -> None:
        if isinstance(event, events.StepDone) and event.step == stop_after:
            engine.cancel(after_step=True)

    engine.subscribe(stop)
    try:
        return run_document(job, engine=engine)
    finally:
        engine.close()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


# --- what came of it ----------------------------------------------------------------------------


def _no_numbers(*arguments: Any) -> Any:
    losses, owners = token_losses(*arguments)
    return losses * float("nan"), owners


def _job(base: Path, data: Path, out: Path, **changes: Any) -> jobs.Train:
    fields: dict[str, Any] = {"recipe": RECIPE} | changes
    return jobs.Train(base=str(base), data=str(data), out=str(out), **fields)


def _largest_difference(one: Path, other: Path) -> float:
    from safetensors.numpy import load_file

    a, b = load_file(one / WEIGHTS), load_file(other / WEIGHTS)
    assert a.keys() == b.keys()
    assert any(np.abs(tensor).max() > 1e-3 for tensor in a.values())
    return max(float(np.abs(a[key] - b[key]).max()) for key in a)


def _told(run: Path) -> list[float]:
    """The losses, gradient norms and held-out losses of a run, in order."""
    told: list[float] = []
    for event in read_events(run / "events.jsonl"):
        if isinstance(event, events.StepDone):
            told += [event.loss, event.grad_norm, event.lr]
        elif isinstance(event, events.HeldoutDone):
            told.append(event.loss)
    assert told
    return told


def _process(rank: int, size: int) -> Processes:
    one = object.__new__(Processes)
    one.rank, one.size = rank, size
    return one


def _row(number: int, length: int) -> TrainRow:
    ids = np.zeros(length, dtype=np.int32)
    return TrainRow(id=f"row-{number}", ids=ids, at=np.array([0], dtype=np.int32))
