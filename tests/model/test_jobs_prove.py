"""Every job ends with the proof that the base is what was loaded, or has failed."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from sekft_engine.core.errors import BadInput, BaseChanged
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_engine.engine.engine import Engine
from sekft_engine.engine.registry import HANDLERS
from sekft_engine.factory import make
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.events import Event
from sekft_engine.records.result import Result
from sekft_engine.records.runs import read_run
from sekft_engine.work.context import Context
from tests.documents import document, run_document
from tests.model.adapters import CONFIG, LINEAR, edit_config
from tests.training.sessions import write_sessions

RECIPE = Recipe(
    rank=2, alpha=4, lr=0.01, batch=4, max_steps=2, heldout=0, heldout_every=0, token_losses=0
)
Do = Callable[[jobs.Job], Event]


def harmful(harm: str) -> Mapping[type[jobs.Job], Any]:
    """Handlers that do a job and harm the base in passing, as a fault in a library would."""

    def handler(job: Any, context: Context) -> Result:
        module, _, name = str(HANDLERS[type(job)]).partition(":")
        result: Result = getattr(__import__(module, fromlist=[name]), name)(job, context)
        weight: Any = context.resident.model.model.layers[1].mlp.up_proj
        weight = getattr(weight, "base_layer", weight).weight
        with torch.no_grad():
            if harm == "past torch's count":
                weight.numpy()[3, 7] += 1e-6
            elif harm == "in place":
                weight[3, 7] += 1e-6
            else:
                weight.data = weight.data + 1e-6
        return result

    return {jobs.Train: handler, jobs.Evaluate: handler, jobs.Swap: handler}


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a scenario."""
    place = Workspace(tmp_path_factory.mktemp("worlds")).create()
    make(place.root, train=1, holdout=1, seed=0)
    return str(place.holdout_scenarios)


@pytest.fixture
def engine_with(tmp_path: Path) -> Iterator[Callable[..., tuple[Engine, Do]]]:
    """Makes an engine with other handlers, and a way to do a job on it and to wait for its end."""
    engines = []

    def make(handlers: Mapping[type[jobs.Job], Any]) -> tuple[Engine, Do]:
        engine = Engine(Workspace(tmp_path / "place").create(), nice=0, handlers=handlers)
        engines.append(engine)
        heard: queue.SimpleQueue[Event] = queue.SimpleQueue()
        engine.subscribe(heard.put)
        engine.start()

        def do(job: jobs.Job) -> Event:
            name = engine.submit(job)
            while True:
                event = heard.get(timeout=300)
                if event.job == name and isinstance(event, events.ENDINGS):
                    return event

        return engine, do

    yield make
    for engine in engines:
        engine.close()


@pytest.mark.parametrize("harm", ["past torch's count", "in place", "by another storage"])
def test_a_training_in_which_the_base_changed_has_failed_and_the_base_is_let_go(
    harm: str, engine_with: Callable[..., tuple[Engine, Do]], tiny_base: Path, tmp_path: Path
) -> None:
    data = write_sessions(tmp_path / "data", 8)
    engine, do = engine_with(harmful(harm))
    out = tmp_path / "run"
    ended = do(jobs.Train(base=str(tiny_base), data=str(data), out=str(out), recipe=RECIPE))
    assert isinstance(ended, events.JobFailed)
    assert "model.layers.1.mlp.up_proj.weight" in ended.error
    assert "load it again" in ended.error
    assert ended.exit_status == 1
    assert read_run(out).status == "failed"
    assert document(engine.status())["resident"] == {}
    assert isinstance(do(jobs.Load(base=str(tiny_base))), events.JobDone)
    assert isinstance(do(jobs.Swap(name="")), events.JobFailed), "the same harm again"


def test_an_eval_in_which_the_base_changed_has_failed(
    engine_with: Callable[..., tuple[Engine, Do]],
    tiny_base: Path,
    tmp_path: Path,
    worlds: str,
) -> None:
    engine, do = engine_with(harmful("past torch's count"))
    job = jobs.Evaluate(
        base=str(tiny_base), scenarios=worlds, n=1, out=str(tmp_path / "eval"),
        step_cap=1, turn_tokens=2,
    )  # fmt: skip
    ended = do(job)
    assert isinstance(ended, events.JobFailed)
    assert "the values of model.layers.1.mlp.up_proj.weight changed" in ended.error
    assert read_run(tmp_path / "eval").status == "failed"
    assert document(engine.status())["resident"] == {}


def test_a_change_that_a_job_left_in_its_failure_is_told_and_the_base_let_go(
    engine_with: Callable[..., tuple[Engine, Do]], tiny_base: Path
) -> None:
    def fails(job: Any, context: Context) -> dict[str, Any]:
        context.resident.activate(None)
        context.resident.model.lm_head.weight.data.add_(1)
        raise BadInput("something else")

    engine, do = engine_with({jobs.Swap: fails})
    told: list[str] = []
    engine.subscribe(lambda e: told.append(e.text) if isinstance(e, events.Log) else None)
    do(jobs.Load(base=str(tiny_base)))
    ended = do(jobs.Swap(name=""))
    assert isinstance(ended, events.JobFailed)
    assert "something else" in ended.error
    assert document(engine.status())["resident"] == {}
    assert any("model.embed_tokens.weight" in text for text in told)


@pytest.fixture(scope="module")
def plain_peft(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of the tiny base as PEFT saves it, without ``sekft.json``."""
    base = ResidentBase.load(tiny_base)
    base.new_adapter("a", Recipe(rank=2, alpha=4))
    folder = tmp_path_factory.mktemp("peft") / "theirs"
    base.save_adapter("a", folder, AdapterMeta())
    (folder / "sekft.json").unlink()
    return folder


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("other/model-v0.3", "trained on other/model-v0.3, and the base that is loaded is tiny"),
        ("acme/Tiny", "it says that its base is acme/Tiny, but no digest confirms it"),
        (None, "it does not say which base it was trained on"),
    ],
)
def test_an_adapter_that_nothing_ties_to_the_base_is_told_so_in_the_report(
    named: str | None,
    told: str,
    plain_peft: Path,
    tiny_base: Path,
    tmp_path: Path,
    worlds: str,
) -> None:
    edit_config(plain_peft, base_model_name_or_path=named)
    logs: list[str] = []
    document = run_document(
        jobs.Evaluate(
            base=str(tiny_base), adapters=(str(plain_peft),), with_base=True, n=1,
            scenarios=worlds, out=str(tmp_path / "eval"),
            step_cap=1, turn_tokens=2,
        ),
        None,
        lambda event: logs.append(event.text) if isinstance(event, events.Log) else None,
    )  # fmt: skip
    base, theirs = document["subjects"]
    assert (base["base_confirmed"], theirs["base_confirmed"]) == (True, False)
    (warning,) = (one for one in document["warnings"] if one["name"] == "base_not_confirmed")
    assert warning["subject"] == theirs["name"] == "theirs"
    assert told in warning["text"]
    assert any(told in text for text in logs)


def test_a_trained_adapter_is_taken_on_by_the_eval_that_follows_it(
    engine_with: Callable[..., tuple[Engine, Do]],
    tiny_base: Path,
    tmp_path: Path,
    worlds: str,
) -> None:
    data = write_sessions(tmp_path / "data", 8)
    engine, do = engine_with({})
    out = tmp_path / "run"
    job = jobs.Train(base=str(tiny_base), data=str(data), out=str(out), recipe=RECIPE)
    assert isinstance(do(job), events.JobDone)
    assert engine.residence.base is not None
    for name in engine.residence.base.adapters:
        assert isinstance(do(jobs.Drop(name=name)), events.JobDone)
    ended = do(
        jobs.Evaluate(
            base=str(tiny_base), adapters=(str(out),), n=1, step_cap=1, turn_tokens=2,
            scenarios=worlds, out=str(tmp_path / "eval"),
        )
    )  # fmt: skip
    assert isinstance(ended, events.JobDone)
    assert all(one["base_confirmed"] for one in document(ended.result)["subjects"])


def test_the_base_of_an_export_is_its_own_and_what_cannot_be_merged_is_refused(
    tiny_base: Path, tmp_path: Path
) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"lora_bias": True}, "lora_bias has no place in .*q_proj"),
        ({"target_modules": ["embed_tokens", "q_proj"]}, "share their weights"),
    )
    for number, (fields, told) in enumerate(cases):
        folder = tmp_path / f"a{number}"
        plain = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
        whole = {"r": 2, "target_modules": LINEAR["llama"], "task_type": "CAUSAL_LM"} | fields
        get_peft_model(plain, LoraConfig(**whole)).save_pretrained(
            folder, save_embedding_layers=False
        )
        assert (folder / CONFIG).is_file()
        target = tmp_path / f"merged{number}"
        job = jobs.Export(
            source=str(folder), base=str(tiny_base), target=str(target), kind="merged"
        )
        with pytest.raises(BadInput, match=told):
            run_document(job)
        assert not target.exists()


def test_a_base_that_changed_is_not_kept_for_the_next_job(tiny_base: Path) -> None:
    base = ResidentBase.load(tiny_base)
    base.model.lm_head.weight.data.add_(1)
    base.activate(None)
    with pytest.raises(BaseChanged):
        base.prove()
    assert base.changed
