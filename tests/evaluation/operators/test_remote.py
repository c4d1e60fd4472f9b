"""The same eval against servers: equal to that on the resident base, refused where a server feeds
its model something else, and no trouble of a server is held against its model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import SekftError
from sekft_engine.data.scenario import Scenario
from sekft_engine.records import jobs
from sekft_engine.records.events import Event, Log
from tests.contract.servers import (
    Answer,
    Body,
    Feed,
    ModelServer,
    Reply,
    error,
    models,
    transformers_feed,
    vllm,
)
from tests.documents import run_document

CAPS: dict[str, Any] = {"step_cap": 3, "turn_tokens": 6}


@pytest.fixture
def bundles(tmp_path: Path, make_scenario: Callable[..., Scenario]) -> Path:
    folder = tmp_path / "holdout"
    folder.mkdir()
    for number in range(3):
        scenario = make_scenario(f"s{number}")
        (folder / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    return folder


@pytest.fixture(scope="module")
def served(tiny_base: Path) -> tuple[Any, Any]:
    """The tiny base as a server holds it: transformers' model and tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(str(tiny_base)).eval()
    return model, AutoTokenizer.from_pretrained(str(tiny_base), local_files_only=True)


def completions(
    served: tuple[Any, Any], feed: Feed | None = None, *, penalty: float = 1.0
) -> dict[str, Answer]:
    """A chat route with a real model behind it.

    Args:
        penalty: the repetition penalty of its ``generation_config.json``, which holds for requests
            that name none.
    """
    import torch

    model, tokenizer = served
    feed = feed or transformers_feed(tokenizer)
    one_at_a_time = threading.Lock()

    def chat(body: Body) -> dict[str, Any]:
        ids = feed(body["messages"])
        with one_at_a_time, torch.inference_mode():
            out = model.generate(
                torch.tensor([ids]),
                max_new_tokens=body["max_tokens"],
                do_sample=False,
                repetition_penalty=body.get("repetition_penalty", penalty),
                pad_token_id=2,
                eos_token_id=2,
            )[0, len(ids) :].tolist()
        text = tokenizer.decode(out, skip_special_tokens=True)
        reason = "stop" if out[-1] == 2 else "length"
        message = {"role": "assistant", "content": text}
        return {
            "choices": [{"index": 0, "message": message, "finish_reason": reason}],
            "usage": {"prompt_tokens": len(ids), "completion_tokens": len(out)},
        }

    return vllm(feed, tokenizer) | {"POST /v1/chat/completions": chat}


def job(bundles: Path, out: Path, base: Path, *urls: str, **changes: Any) -> jobs.Evaluate:
    fields = {"scenarios": str(bundles), "n": 3, "out": str(out), **CAPS} | changes
    return jobs.Evaluate(base=str(base), endpoints=urls, **fields)


def what_was_typed(folder: Path) -> dict[str, list[str]]:
    out = {}
    for path in sorted((folder / "episodes").iterdir()):
        episode = json.loads(path.read_text())
        commands = [turn["content"] for turn in episode["turns"] if turn["role"] == "assistant"]
        out[episode["scenario"]] = commands
    return out


def test_a_server_of_the_same_base_gives_the_same_eval(
    tiny_base: Path, served: tuple[Any, Any], bundles: Path, tmp_path: Path
) -> None:
    run_document(job(bundles, tmp_path / "local", tiny_base))
    said: list[Event] = []
    with ModelServer(completions(served)) as one, ModelServer(completions(served)) as two:
        fleet = job(bundles, tmp_path / "fleet", tiny_base, one.url, two.url)
        report = run_document(fleet, on_event=said.append)
        asked = [len(server.asked("POST /v1/chat/completions")) for server in (one, two)]
    assert what_was_typed(tmp_path / "fleet") == what_was_typed(tmp_path / "local")
    (subject,) = report["subjects"]
    assert (subject["name"], subject["n"], subject["invalid"]) == ("base", 3, 0)
    assert report["about"]["contract"] == "equal in tokens"
    assert all(asked)
    assert any(isinstance(one, Log) and "forges it there" in one.text for one in said)


def test_sampling_defaults_of_a_server_do_not_change_what_its_model_types(
    tiny_base: Path, served: tuple[Any, Any], bundles: Path, tmp_path: Path
) -> None:
    run_document(job(bundles, tmp_path / "local", tiny_base))
    with ModelServer(completions(served, penalty=50.0)) as server:
        run_document(job(bundles, tmp_path / "served", tiny_base, server.url))
    assert what_was_typed(tmp_path / "served") == what_was_typed(tmp_path / "local")


def test_a_server_that_feeds_something_else_is_refused_unless_told_otherwise(
    tiny_base: Path, served: tuple[Any, Any], bundles: Path, tmp_path: Path
) -> None:
    right = transformers_feed(served[1])

    def twice(messages: list[dict[str, str]]) -> list[int]:
        return [1, *right(messages)]

    with ModelServer(completions(served, twice)) as wrong:
        asked = job(bundles, tmp_path / "run", tiny_base, wrong.url)
        with pytest.raises(SekftError, match="does not feed its model what training fed"):
            run_document(asked)
        assert not (tmp_path / "run").exists()
        report = run_document(job(bundles, tmp_path / "run", tiny_base, wrong.url, unchecked=True))
    assert report["about"]["contract"] == "unchecked"
    with ModelServer(completions(served)) as server:
        nameless = job(bundles, tmp_path / "e", tiny_base, server.url)
        with pytest.raises(SekftError, match="it is unknown"):
            run_document(msgspec.structs.replace(nameless, base=""))
        with pytest.raises(SekftError, match="no model 'other'"):
            run_document(job(bundles, tmp_path / "c", tiny_base, server.url, models=("other",)))
        with pytest.raises(SekftError, match="its own adapters"):
            run_document(job(bundles, tmp_path / "d", tiny_base, server.url, adapters=("x",)))


def test_trouble_of_a_server_is_no_failure_of_the_model(
    tiny_base: Path, served: tuple[Any, Any], bundles: Path, tmp_path: Path
) -> None:
    def broken(body: Body) -> Reply:
        return error(401, "no such key")

    routes = models("base") | {"POST /v1/chat/completions": broken}
    options: dict[str, Any] = {"unchecked": True, "models": ("base",)}
    with ModelServer(routes) as down, ModelServer(completions(served)) as up:
        report = run_document(job(bundles, tmp_path / "alone", tiny_base, down.url, **options))
        (subject,) = report["subjects"]
        assert (subject["n"], subject["invalid"]) == (0, 3)
        assert "no such key" in report["episodes"][0]["invalid"]
        fleet = run_document(job(bundles, tmp_path / "two", tiny_base, down.url, up.url, **options))
        assert fleet["subjects"][0]["invalid"] == 0
        # What failed is run again, and only that.
        again = job(bundles, tmp_path / "alone", tiny_base, down.url, resume=True, **options)
        assert run_document(again)["subjects"][0]["invalid"] == 3
    with pytest.raises(SekftError, match="nothing listens there"):
        run_document(job(bundles, tmp_path / "gone", tiny_base, down.url, models=("base",)))


def test_a_session_that_no_longer_fits_is_a_cap_and_prose_is_prose(
    tiny_base: Path, bundles: Path, tmp_path: Path
) -> None:
    def chat(body: Body) -> Reply | dict[str, Any]:
        if len(body["messages"]) > 1:
            return error(400, "This model's maximum context length is 10 tokens.")
        text = "Sure! I can help you with that. What would you like me to do?"
        return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}

    with ModelServer(models("base") | {"POST /v1/chat/completions": chat}) as server:
        asked = job(bundles, tmp_path / "run", tiny_base, server.url, unchecked=True)
        report = run_document(asked)
    assert {one["outcome"] for one in report["episodes"]} == {"cap"}
    assert report["subjects"][0]["endings"] == {"prose": 3}


def test_the_command_evaluates_a_server_and_writes_the_page(
    tiny_base: Path,
    served: tuple[Any, Any],
    bundles: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with ModelServer(completions(served)) as server:
        arguments = ["eval", "--endpoint", server.url, "--model", "base", "--base", str(tiny_base)]
        arguments += ["--scenarios", str(bundles), "--n", "2", "--step-cap", "1"]
        arguments += ["--out", str(tmp_path / "run"), "--report", str(tmp_path / "page.html")]
        assert run_command([*arguments, "--by", "channel"]) == 0
    out, _ = capfd.readouterr()
    assert "clean termination by channel" in out
    assert "how episodes ended" in out
    assert "<svg" in (tmp_path / "page.html").read_text()
