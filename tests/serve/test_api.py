"""What a client sees: OpenAI's own client, and plain HTTP."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.serve.conftest import Running, until

MESSAGES: Any = [{"role": "user", "content": "Welcome.\nuser@box:~$"}]


@pytest.fixture
def client(server: Running) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)


def test_openais_client_gets_the_same_answer_whole_and_as_a_stream(client: openai.OpenAI) -> None:
    for model in ("tiny", "a0", "a1"):
        asked: Any = {"model": model, "messages": MESSAGES, "temperature": 0, "max_tokens": 12}
        whole = client.chat.completions.create(**asked)
        (choice,) = whole.choices
        text, finish, usage = "", None, None
        stream: Any = {"stream": True, "stream_options": {"include_usage": True}}
        for chunk in client.chat.completions.create(**asked, **stream):
            usage = chunk.usage or usage
            for part in chunk.choices:
                text += part.delta.content or ""
                finish = part.finish_reason or finish
        assert (text, finish) == (choice.message.content, choice.finish_reason)
        assert whole.usage is not None
        assert usage is not None
        assert usage.completion_tokens == whole.usage.completion_tokens
        assert usage.prompt_tokens == whole.usage.prompt_tokens
        assert whole.model == model


def test_models_are_listed_with_what_they_are(client: openai.OpenAI, server: Running) -> None:
    listed = client.models.list().data
    assert [model.id for model in listed] == ["tiny", "a0", "a1"]
    base, adapter = (model.model_dump()["sekft"] for model in listed[:2])
    assert base["digest"] == server.held.base.digest
    assert adapter["digest"] == server.held.base.adapters["a0"]
    assert adapter["base"]["digest"] == base["digest"]
    assert adapter["render"]["template"] == server.held.tokenizer.digest.template
    assert adapter["dialect"]["prompt"] == "user@box:{cwd}$"
    assert base["dialect"] is None
    assert client.models.retrieve("a0") == listed[1]
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("a9/../a0")


def test_an_answer_names_the_content_that_gave_it(server: Running) -> None:
    for model, digest in server.held.base.adapters.items():
        assert server.chat(model=model).json["system_fingerprint"] == digest
    assert server.chat().json["system_fingerprint"] == server.held.base.digest


def test_a_model_that_is_not_there_is_never_answered_by_the_base(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="does not exist; this server has tiny, a0"):
        client.chat.completions.create(model="a7", messages=MESSAGES)
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="", prompt="ls")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("tools", [{"type": "function", "function": {"name": "f"}}]),
        ("response_format", {"type": "json_object"}),
        ("presence_penalty", 0.5),
        ("logit_bias", {"5": 1}),
        ("top_k", 20),
        ("ignore_eos", True),
        ("no_such_field", 1),
    ],
)
def test_a_field_that_is_not_supported_is_refused_by_name(
    server: Running, field: str, value: Any
) -> None:
    answer = server.chat(**{field: value})
    assert answer.status == 400
    assert answer.error["param"] == field
    assert answer.error["type"] == "invalid_request_error"
    assert field in answer.error["message"]


def test_neutral_values_pass(server: Running) -> None:
    neutral: dict[str, Any] = {
        "n": 1, "tools": [], "response_format": {"type": "text"}, "presence_penalty": 0.0,
        "frequency_penalty": 0, "logit_bias": {}, "top_k": -1, "min_p": 0.0, "top_p": 1.0,
        "repetition_penalty": 1.0, "stop": None, "user": "me", "tool_choice": "none",
        "stream_options": None, "logprobs": False, "seed": 3,
    }  # fmt: skip
    assert server.chat(**neutral).json["choices"] == server.chat().json["choices"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": -1}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [1]}]}, None),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        ({"messages": [{"role": "assistant", "content": "ls"}]}, "messages"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"model": None}, "model"),
    ],
)
def test_a_value_that_is_not_valid_is_refused_by_name(
    server: Running, fields: dict[str, Any], param: str | None
) -> None:
    answer = server.chat(**fields)
    assert answer.status == 400
    assert param is None or answer.error["param"] == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"[" * 5000, b'{"a":1e999}'])
def test_a_body_that_is_no_request_is_refused(server: Running, body: bytes) -> None:
    assert server.ask("/v1/chat/completions", body).status == 400


def test_only_json_is_read(server: Running) -> None:
    """A page in a browser may send forms and text anywhere, but not JSON."""
    body = json.dumps({"model": "tiny", "messages": MESSAGES}).encode()
    answer = server.ask("/v1/chat/completions", body, Content_Type="text/plain")
    assert answer.status == 415


def test_both_numbers_of_tokens_are_named_where_a_prompt_is_too_long(server: Running) -> None:
    answer = server.chat("word " * 6000)
    limit = server.held.limit
    assert answer.status == 400
    assert answer.error["code"] == "context_length_exceeded"
    assert f"{limit} tokens" in answer.error["message"]
    count = server.ask("/tokenize", {"messages": [{"role": "user", "content": "word " * 6000}]})
    assert f"has {count.json['count']} tokens" in answer.error["message"]
    assert server.chat(max_tokens=limit).error["code"] == "context_length_exceeded"


def test_a_body_beyond_the_limit_is_413(server: Running) -> None:
    answer = server.ask("/v1/chat/completions", b" " * (4 << 20) + b"{}")
    assert answer.status == 413
    assert "4194304" in answer.error["message"]
    chunks = (b" " * 65536 for _ in range(80))
    connection = server.connect()
    head = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    connection.request("POST", "/tokenize", chunks, head, encode_chunked=True)
    assert connection.getresponse().status == 413


def test_max_tokens_has_two_names_and_an_end_has_a_reason(server: Running) -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        fields: dict[str, Any] = {"max_tokens": None, name: 3}
        answer = server.chat(**fields).json
        assert answer["usage"]["completion_tokens"] == 3
        assert answer["choices"][0]["finish_reason"] == "length"


def test_a_stop_string_ends_the_text_before_it(server: Running) -> None:
    whole = server.chat(model="a0", max_tokens=24).json["choices"][0]["message"]["content"]
    stop = whole[len(whole) // 2 :][:3]
    before = whole[: whole.find(stop)]
    for stops in (stop, [stop, "never"]):
        answer = server.chat(model="a0", max_tokens=24, stop=stops).json
        (choice,) = answer["choices"]
        assert choice["message"]["content"] == before
        assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
        assert answer["usage"]["completion_tokens"] < 24


def test_a_seed_fixes_the_draws(server: Running) -> None:
    def draw(**fields: Any) -> str:
        fields = {"temperature": 1.5, "max_tokens": 8, **fields}
        text: str = server.chat(**fields).json["choices"][0]["message"]["content"]
        return text

    assert draw(seed=7) == draw(seed=7)
    assert draw(seed=7) != draw(seed=8)
    assert draw() != draw()
    assert draw(top_p=1e-6) == draw(temperature=0)


def test_token_ids_and_logprobs_are_those_of_the_model(server: Running) -> None:
    answer = server.chat(return_token_ids=True, logprobs=True, top_logprobs=3, max_tokens=5).json
    (choice,) = answer["choices"]
    ids, entries = choice["token_ids"], choice["logprobs"]["content"]
    assert len(ids) == len(entries) == 5
    scored = server.ask(
        "/v1/completions",
        {
            "model": "tiny", "prompt": answer["prompt_token_ids"] + ids, "max_tokens": 0,
            "echo": True, "logprobs": 2,
        },
    ).json["choices"][0]["logprobs"]  # fmt: skip
    assert scored["token_logprobs"][0] is None
    assert scored["token_logprobs"][-5:] == pytest.approx(
        [entry["logprob"] for entry in entries], abs=1e-4
    )
    for entry in entries:
        assert entry["top_logprobs"][0]["token"] == entry["token"]  # greedy
        assert len(entry["top_logprobs"]) == 3


def test_ids_are_absent_where_they_are_not_asked_for(server: Running) -> None:
    answer = server.chat().json
    assert "prompt_token_ids" not in answer
    assert "token_ids" not in answer["choices"][0]


def test_a_stream_carries_the_same_ids_and_logprobs(server: Running) -> None:
    fields: Any = {"return_token_ids": True, "logprobs": True, "max_tokens": 6}
    whole = server.chat(**fields).json
    events = server.chat(**fields, stream=True).data.decode().split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert chunks[0]["prompt_token_ids"] == whole["prompt_token_ids"]
    parts = [choice for chunk in chunks[1:] for choice in chunk["choices"]]
    (choice,) = whole["choices"]
    assert [token for part in parts for token in part["token_ids"]] == choice["token_ids"]
    logprobs = [entry["logprob"] for part in parts for entry in part["logprobs"]["content"]]
    expected = [entry["logprob"] for entry in choice["logprobs"]["content"]]
    assert logprobs == pytest.approx(expected, abs=1e-4)


def test_completions_take_text_and_ids_and_several_of_them(client: openai.OpenAI) -> None:
    asked: Any = {"model": "a1", "max_tokens": 5, "temperature": 0}
    text = client.completions.create(prompt="ls -la", **asked).choices[0].text
    echoed = client.completions.create(prompt="ls -la", echo=True, **asked).choices[0].text
    assert echoed == "ls -la" + text
    ids = [10, 20, 30]
    several = client.completions.create(prompt=[ids, [40, 50]], **asked).choices
    alone = client.completions.create(prompt=ids, **asked).choices[0]
    assert (several[0].text, [choice.index for choice in several]) == (alone.text, [0, 1])
    parts = client.completions.create(prompt="ls -la", stream=True, **asked)
    assert "".join(part.choices[0].text for part in parts) == text


def test_prompts_are_scored_as_the_model_computes_them(
    client: openai.OpenAI, server: Running
) -> None:
    """Longer than what one step feeds, beside an answer that is made."""
    import torch

    ids = [(7 * at * at + 11) % 40000 + 3 for at in range(600)]
    said = client.completions.create(
        model="tiny", prompt=ids, max_tokens=0, echo=True, logprobs=1, temperature=0
    )
    found = said.choices[0].logprobs
    assert found is not None
    assert found.token_logprobs is not None
    assert found.top_logprobs is not None
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(server.held.base.path).eval()
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = [float(logits[at, token]) for at, token in enumerate(ids[1:])]
    assert found.token_logprobs[1:] == pytest.approx(expected, abs=1e-3)
    best = logits[:-1].amax(-1).tolist()
    assert [max(top.values()) for top in found.top_logprobs[1:]] == pytest.approx(best, abs=1e-3)
    assert said.choices[0].finish_reason == "length"
    assert said.usage is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (600, 0)


@pytest.mark.parametrize(
    "prompt", [[], "", [10**9], [-1], [["a"]], [1, "a"], {"a": 1}, [[]], ["x"] * 65]
)
def test_a_prompt_that_is_none_is_refused(server: Running, prompt: Any) -> None:
    answer = server.ask("/v1/completions", {"model": "tiny", "prompt": prompt})
    assert (answer.status, answer.error["param"]) == (400, "prompt")


def test_tokens_are_shown_in_both_of_vllms_forms(server: Running) -> None:
    tokenizer = server.held.tokenizer
    text = server.ask("/tokenize", {"model": "a0", "prompt": "ls <|im_end|>"}).json
    assert text["tokens"] == tokenizer.encode_text("ls <|im_end|>", add_special_tokens=True)
    assert (text["count"], text["max_model_len"]) == (len(text["tokens"]), server.held.limit)
    chat = server.ask("/tokenize", {"messages": MESSAGES, "return_token_strs": True}).json
    fed = server.chat(MESSAGES[0]["content"], return_token_ids=True).json["prompt_token_ids"]
    assert chat["tokens"] == fed
    assert len(chat["token_strs"]) == chat["count"]
    back = server.ask("/detokenize", {"tokens": fed}).json["prompt"]
    assert back == tokenizer.decode(fed)
    assert server.ask("/tokenize", {"model": "x", "prompt": "ls"}).status == 404
    assert server.ask("/tokenize", {}).status == 400


def test_health_version_and_figures(server: Running) -> None:
    server.chat()
    until(lambda: server.load == (0, 0))
    assert server.ask("/health").json == {"status": "ready", "running": 0, "waiting": 0}
    assert server.ask("/version").json["server"] == "sekft"
    text = server.ask("/metrics").data.decode()
    values = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if not line.startswith("#")
    }
    assert values['sekft:request_success_total{finished_reason="length"}'] >= 1
    assert values["sekft:generation_tokens_total"] >= 4
    assert values["sekft:e2e_request_latency_seconds_count"] >= 1
    named = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert all(name.partition("{")[0].startswith("sekft:") for name in values)
    assert "sekft:num_requests_waiting" in named


def test_paths_and_methods_that_are_not_there_are_refused_in_the_same_shape(
    server: Running,
) -> None:
    assert server.ask("/v1/nothing").status == 404
    assert server.ask("/v1/nothing").error["type"] == "not_found_error"
    for method in ("DELETE", "PUT", "PATCH", "POST"):
        assert server.ask("/v1/models", {}, method).status == 405
    assert server.ask("/v1/chat/completions").status == 405


@pytest.mark.parametrize("temperature", [5e-324, 1e-300, 1e-30])
def test_a_tiny_temperature_is_as_good_as_greedy(server: Running, temperature: float) -> None:
    greedy = server.chat().json["choices"]
    assert server.chat(temperature=temperature, seed=1).json["choices"] == greedy


def test_each_token_of_a_scored_text_has_its_place_in_it(server: Running) -> None:
    """A character may be of several tokens; each of them is at its beginning."""
    body = {"model": "a0", "prompt": "a \N{GRINNING FACE} fox", "temperature": 0, "max_tokens": 4}
    answer = server.ask("/v1/completions", body | {"echo": True, "logprobs": 0})
    (choice,) = answer.json["choices"]
    logprobs = choice["logprobs"]
    pairs = list(zip(logprobs["tokens"], logprobs["text_offset"], strict=True))
    fox = pairs.index((" fox", choice["text"].index(" fox")))
    assert {at for _, at in pairs[1:fox]} <= {1, 2}
    for token, at in pairs[fox:]:
        assert choice["text"].startswith(token, at)


def test_a_completion_that_is_too_long_blames_its_prompt(server: Running) -> None:
    body = {"model": "tiny", "prompt": "a", "max_tokens": 5000}
    assert server.ask("/v1/completions", body).error["param"] == "prompt"
