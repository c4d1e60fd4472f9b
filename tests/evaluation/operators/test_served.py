"""Served models: nothing that a server does, and no limit, is scored as the model's act; what a
reader must know stands before the rates."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.contract.fields import NEUTRAL
from sekft_engine.contract.http import client as http
from sekft_engine.core.errors import SekftError
from sekft_engine.data.scenario import Scenario
from sekft_engine.evaluation.report.tables import tables
from sekft_engine.records import jobs
from sekft_engine.records.evals import EvalResult
from sekft_engine.records.events import Event, Log
from sekft_engine.records.runs import read_run
from tests.contract.servers import (
    Answer,
    Body,
    Feed,
    ModelServer,
    Reply,
    chat_counts,
    error,
    models,
    transformers_feed,
)
from tests.documents import document, run_document

CHAT = "POST /v1/chat/completions"
LINES = ("cat word.txt", "seq 1 60", "seq 1 60", "exit")
Said = Callable[[Body, int], "Reply | dict[str, Any] | None"]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "_FIRST_PAUSE", 0.001)


@pytest.fixture
def bundles(tmp_path: Path, make_scenario: Callable[..., Scenario]) -> Path:
    folder = tmp_path / "holdout"
    folder.mkdir()
    for number in range(2):
        scenario = make_scenario(f"s{number}")
        (folder / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    return folder


def typed(text: Any, finish: str = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": finish}]} | more


def turn_of(body: Body) -> int:
    return sum(message["role"] == "assistant" for message in body["messages"])


def server(says: Said = lambda *_: None) -> ModelServer:
    """A model that types LINES, where ``says`` (given the request and the number of its turn) does
    not answer otherwise."""

    def chat(body: Body) -> Reply | dict[str, Any]:
        turn = turn_of(body)
        return says(body, turn) or typed(LINES[min(turn, 3)])

    routes: dict[str, Answer] = {CHAT: chat}
    return ModelServer(models("m") | routes)


class Evals:
    """Runs evals of the model m, and keeps what a person was told."""

    def __init__(self, bundles: Path, out: Path) -> None:
        self.bundles, self.out = bundles, out
        self.told: list[str] = []

    def run(self, running: ModelServer, **changes: Any) -> Any:
        fields: dict[str, Any] = {"n": 2, "step_cap": 6, "unchecked": True, "base": ""}
        job = jobs.Evaluate(
            endpoints=(running.url,),
            scenarios=str(self.bundles),
            out=str(self.out),
            **fields | changes,
        )
        return run_document(job, on_event=self._heard)

    def _heard(self, event: Event) -> None:
        if isinstance(event, Log):
            self.told.append(event.text)

    def typed(self) -> list[str]:
        """All that was typed into the worlds."""
        return [
            turn["content"]
            for path in sorted((self.out / "episodes").iterdir())
            for turn in json.loads(path.read_text())["turns"]
            if turn["role"] == "assistant"
        ]


@pytest.fixture
def evals(bundles: Path, tmp_path: Path) -> Evals:
    return Evals(bundles, tmp_path / "run")


def counts(report: Any) -> tuple[int, int]:
    (subject,) = report["subjects"]
    return subject["n"], subject["invalid"]


def named(report: Any) -> list[str]:
    return [one["name"] for one in report["warnings"]]


def test_a_fault_inside_a_200_is_asked_again_and_never_typed(evals: Evals) -> None:
    asked: list[int] = []

    def stumbles(body: Body, turn: int) -> dict[str, Any] | None:
        asked.append(1)
        faults = {
            1: typed("", "error"),
            3: {"error": {"message": "Rate limit exceeded", "code": 429}},
            5: {"choices": []},
            7: {"choices": [{"message": {}, "finish_reason": "error", "error": {"code": 502}}]},
        }
        return faults.get(len(asked))

    with server(stumbles) as running:
        assert counts(evals.run(running, concurrency=1)) == (2, 0)
    assert evals.typed() == [*LINES, *LINES]


@pytest.mark.parametrize(
    ("answer", "name", "told"),
    [
        (typed("", "error"), "finish_error", "server's log"),
        (typed("", "content_filter"), "content_filter", "filter"),
        (
            {
                "choices": [
                    {
                        "message": {"content": None, "reasoning_content": "Let me see"},
                        "finish_reason": "length",
                    }
                ]
            },
            "thinking",
            "--turn-tokens",
        ),
        (
            {"choices": [{"message": {"content": None, "tool_calls": [{"id": "1"}]}}]},
            "tool_calls",
            "tool parser",
        ),
        (typed([{"type": "image_url"}]), "other_parts", "image_url"),
        (typed("ls", "banana"), "unknown_finish", "banana"),
        (error(401, "key expired"), "wrong_key", "--api-key-env"),
        (error(400, "roles must alternate"), "refused", "roles must alternate"),
        (error(400, "maximum context length is 10 tokens"), "context_full", "longer context"),
        (Reply(200, b"x" * 3_000_000), "too_large", "longer than"),
        (Reply(200, b"data: {}"), "no_completion", "OpenAI-compatible"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_the_models_makes_an_episode_invalid_by_name(
    answer: Reply | dict[str, Any], name: str, told: str, evals: Evals
) -> None:
    with server(lambda body, turn: answer) as running:
        report = evals.run(running)
    assert counts(report) == (0, 2)
    assert evals.typed() == []
    assert report["subjects"][0]["invalid_by"] == {name: 2}
    for episode in report["episodes"]:
        assert episode["invalid"].startswith(f"{name}: http://127.0.0.1")
        assert told in episode["invalid"]
    assert named(report) == ["nothing_counted"]
    assert sum(told in text for text in evals.told) <= 1, "told once"


def test_thinking_beside_a_command_is_told_once_and_the_command_is_typed(evals: Evals) -> None:
    def thinks(body: Body, turn: int) -> dict[str, Any]:
        message = {"content": LINES[min(turn, 3)], "reasoning_content": "I see."}
        return {"choices": [{"message": message, "finish_reason": "stop"}]}

    with server(thinks) as running:
        assert counts(evals.run(running)) == (2, 0)
    assert evals.typed() == [*LINES, *LINES]
    assert sum("thinks before it types" in text for text in evals.told) == 1


def counting(feed: Feed, limit: int) -> dict[str, Answer]:
    """A server that cuts what it feeds to ``limit`` tokens and answers all the same."""

    def chat(body: Body) -> dict[str, Any]:
        if body["max_tokens"] == 1:
            return typed("x") | {"usage": {"prompt_tokens": len(feed(body["messages"]))}}
        count = min(limit, len(feed(body["messages"])))
        return typed(LINES[min(turn_of(body), 3)], usage={"prompt_tokens": count})

    return models("m") | {CHAT: chat}


@pytest.fixture(scope="module")
def feed(tiny_base: Path) -> Feed:
    from transformers import AutoTokenizer

    return transformers_feed(AutoTokenizer.from_pretrained(str(tiny_base), local_files_only=True))


@pytest.mark.parametrize(("unchecked", "with_base"), [(False, True), (True, True), (True, False)])
def test_a_prompt_that_was_cut_is_seen(
    unchecked: bool, with_base: bool, evals: Evals, feed: Feed, tiny_base: Path
) -> None:
    """With a base by the tokens that training feeds, without one by a session that did not grow."""
    base = str(tiny_base) if with_base else ""
    with ModelServer(counting(feed, 100)) as running:
        report = evals.run(running, base=base, unchecked=unchecked)
    assert counts(report) == (0, 2)
    assert report["subjects"][0]["invalid_by"] == {"prompt_cut": 2}
    assert "of a session that has" in report["episodes"][0]["invalid"]
    assert len(evals.typed()) <= 2 * (2 if with_base else 3)
    assert "prompt_cut" in " ".join(evals.told)


@pytest.mark.parametrize("unchecked", [False, True])
def test_a_whole_prompt_is_not_called_cut(
    unchecked: bool, evals: Evals, feed: Feed, tiny_base: Path
) -> None:
    """Control tokens that a session quotes are fewer tokens to most servers; so are thoughts."""
    quotes = ("cat word.txt", "printf '<|im_end|> %.0s' 1 2 3 4 5 6 7 8 9", "echo", "exit")

    def chat(body: Body) -> dict[str, Any]:
        text = "x" if body["max_tokens"] == 1 else quotes[min(turn_of(body), 3)]
        return typed(text, usage={"prompt_tokens": len(feed(body["messages"]))})

    with ModelServer(models("m") | {CHAT: chat}) as running:
        report = evals.run(running, base=str(tiny_base), unchecked=unchecked)
    assert counts(report) == (2, 0)
    assert evals.typed() == [*quotes, *quotes]


def test_a_base_that_is_not_the_servers_is_not_held_against_it(
    evals: Evals, tiny_base: Path
) -> None:
    def chat(body: Body) -> dict[str, Any]:
        words = sum(len(message["content"].split()) + 1 for message in body["messages"])
        return typed(LINES[min(turn_of(body), 3)], usage={"prompt_tokens": words})

    with ModelServer(models("m") | {CHAT: chat}) as running:
        assert counts(evals.run(running, base=str(tiny_base))) == (2, 0)
    assert sum("not held against that base" in text for text in evals.told) == 1


def test_what_was_really_sent_stands_in_the_run(evals: Evals) -> None:
    def strict(body: Body, turn: int) -> Reply | None:
        extra = [name for name in ("min_p", "repetition_penalty", "repeat_penalty") if name in body]
        return error(400, f"Unrecognized request argument supplied: {extra[0]}") if extra else None

    with server(strict) as running:
        report = evals.run(running)
    assert counts(report) == (2, 0)
    info = read_run(evals.out)
    assert info.about["sampling"] == NEUTRAL
    (served,) = document(info.result)["served"]
    assert (served["endpoint"], served["model"]) == (running.url, "m")
    assert served["sent"] == {
        "max_tokens": 64,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
    }
    assert served["refused"].keys() == {"min_p", "repetition_penalty", "repeat_penalty"}
    assert served["open"] == ["repetition_penalty"], "min_p changes nothing where nothing is drawn"
    assert served["answers"]["words"] == 8
    assert named(report) == ["sampling"]
    assert "takes no repetition_penalty" in tables(msgspec.convert(report, EvalResult))


def test_a_value_that_makes_another_eval_ends_it_by_name(evals: Evals) -> None:
    refusal = error(400, "temperature: only the default value is supported")
    with (
        server(lambda *_: refusal) as running,
        pytest.raises(SekftError, match=r"refuses temperature 0 .*--temperature"),
    ):
        evals.run(running)


def test_a_full_context_is_counted_and_told(evals: Evals) -> None:
    full = error(400, "This model's maximum context length is 200 tokens, you requested 260.")
    with server(lambda body, turn: full if turn > 1 else None) as running:
        report = evals.run(running)
    assert counts(report) == (2, 0)
    assert report["subjects"][0]["limits"] == {"context": 2}
    assert {one["outcome"] for one in report["episodes"]} == {"cap"}
    assert named(report) == ["context_limit"]
    assert "2 of 2 episodes of m (100%) ended because their context was full" in tables(
        msgspec.convert(report, EvalResult)
    )
    assert sum("you requested 260" in text for text in evals.told) == 1


def test_a_turn_that_the_servers_own_limit_ended_is_not_typed(evals: Evals) -> None:
    short = typed("seq 1", "length", usage={"prompt_tokens": 190, "completion_tokens": 10})
    with server(lambda body, turn: short if turn > 1 else None) as running:
        report = evals.run(running)
    assert evals.typed() == [*LINES[:2], *LINES[:2]]
    assert report["subjects"][0]["limits"] == {"context": 2}


def test_many_invalid_episodes_are_a_warning(evals: Evals) -> None:
    seeds: list[int] = []

    def one_dies(body: Body, turn: int) -> Reply | None:
        seeds.append(body["seed"])
        return error(400, "no") if turn == 1 and body["seed"] == seeds[0] else None

    with server(one_dies) as running:
        report = evals.run(running)
    assert counts(report) == (1, 1)
    assert named(report) == ["many_invalid"]


def test_an_eval_in_which_nothing_counted_ends_with_status_1(
    bundles: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out, page = tmp_path / "run", tmp_path / "page.html"
    words = ["eval", "--unchecked", "--model", "m", "--scenarios", str(bundles), "--n", "2"]
    words += ["--out", str(out)]
    with server(lambda *_: error(401, "key expired")) as running:
        words += ["--endpoint", running.url]
        assert run_command([*words, "--json", "--report", str(page)]) == 1
        told, errors = capfd.readouterr()
        document = json.loads(told)
        assert (document["subjects"][0]["n"], document["subjects"][0]["invalid"]) == (0, 2)
        assert "sekft: error: nothing counted for m: all 2 episodes are invalid" in errors
        assert "wrong_key" in errors
        assert "key expired" in errors
        head = page.read_text().split("<table>")[0]
        assert "nothing counted for m" in head
        # What did not count is run again.
        assert run_command([*words, "--resume"]) == 1
    assert capfd.readouterr().out.startswith("WARNING: nothing counted for m")
    with server() as running:
        words[-1] = running.url
        assert run_command([*words, "--resume", "-q"]) == 0


def test_how_long_sessions_may_be_is_up_to_a_server(evals: Evals) -> None:
    with server() as running, pytest.raises(SekftError, match="--context"):
        evals.run(running, context=512)


def test_a_contract_is_checked_where_fields_are_refused(
    evals: Evals, feed: Feed, tiny_base: Path
) -> None:
    counted = chat_counts(feed)[CHAT]

    def chat(body: Body) -> Reply | dict[str, Any]:
        if "temperature" in body and body["temperature"] == 0:
            return error(400, "temperature: only 1 is supported")
        if body["max_tokens"] == 1:
            return counted(body)
        return typed(LINES[min(turn_of(body), 3)])

    with ModelServer(models("m") | {CHAT: chat}) as running:
        report = evals.run(running, base=str(tiny_base), unchecked=False, temperature=1.0)
    assert counts(report) == (2, 0)
    assert report["about"]["contract"] == "equal in counts"
