"""A server that feeds its model what training fed is found equal, whatever protocol it speaks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.cli.main import run
from sekft_engine.data.trajectory import Turn
from sekft_engine.data.workspace import Workspace
from sekft_engine.render import ChatTokenizer
from sekft_engine.render.template.prompt import encode_prompt
from tests.contract.conftest import Base, Check, MakeBase, write
from tests.contract.servers import (
    Feed,
    Messages,
    ModelServer,
    chat_counts,
    llama_cpp,
    models,
    transformers_feed,
    vllm,
)


def sekft_feed(tokenizer: ChatTokenizer) -> Feed:
    """As ``sekft serve`` feeds: the same module, so nothing is forged."""

    def feed(messages: Messages) -> list[int]:
        return encode_prompt(tokenizer, [Turn.from_json(one, "request") for one in messages])

    return feed


def vendor_feed(file: Path) -> Feed:
    """As vLLM feeds with ``--tokenizer-mode mistral``: the vendor's own encoder."""
    from mistral_common.protocol.instruct.messages import (
        AssistantMessage,
        SystemMessage,
        UserMessage,
    )
    from mistral_common.protocol.instruct.request import ChatCompletionRequest
    from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

    vendor = MistralTokenizer.from_file(str(file))
    kinds: dict[str, Any] = {
        "system": SystemMessage,
        "user": UserMessage,
        "assistant": AssistantMessage,
    }

    def feed(messages: Messages) -> list[int]:
        chat = [kinds[one["role"]](content=one["content"]) for one in messages]
        return list(vendor.encode_chat_completion(ChatCompletionRequest(messages=chat)).tokens)

    return feed


def test_a_vllm_server_of_the_same_base_is_equal_token_for_token(check: Check, smol: Base) -> None:
    done = check(vllm(transformers_feed(smol.theirs), smol.theirs))
    found = done.document
    assert done.status == 0
    assert (found["equal"], found["strength"], found["route"]) == (True, "tokens", "POST /tokenize")
    assert found["model"] == "base"
    assert [(one["id"], one["turn"], one["command"]) for one in found["sessions"]] == [
        ("disk-full-0007", 1, 1),
        ("disk-full-0007", 3, 2),
        ("disk-full-0007", 5, 3),
        ("notes-0001", 1, 1),
        ("notes-0001", 3, 2),
    ]
    assert all(one["equal"] and one["ours"] == one["theirs"] for one in found["sessions"])
    assert all(one["difference"] is None and not one["cause"] for one in found["sessions"])
    assert found["chat"]["shown"] == found["chat"]["fed"]


def test_a_server_that_forges_nothing_is_equal_on_the_hard_sessions_too(
    check: Check, smol: Base
) -> None:
    done = check(vllm(sekft_feed(smol.ours), smol.theirs), hostile=True)
    assert done.status == 0, done.document
    assert len(done.document["sessions"]) == 5 + 10
    # The system turn of our own: such a server normalises it as training did.
    assert done.document["raw"] == {"asked": 1, "equal": 1, "refused": 0, "cause": "", "said": ""}


def test_vllm_with_the_mistral_vendors_encoder_is_equal(check: Check, bases: MakeBase) -> None:
    base = bases("v3/own")
    assert base.vendor is not None
    done = check(vllm(vendor_feed(base.vendor), base.theirs), base=base.folder, hostile=True)
    # To an empty turn it gives no token at all, where its own template writes a space.
    (empty,) = (one for one in done.document["sessions"] if not one["equal"])
    assert (empty["id"], empty["cause"]) == ("built-in: empty output", "other_template")
    assert len(done.document["sessions"]) == 5 + 10
    assert check(vllm(vendor_feed(base.vendor), base.theirs), base=base.folder).status == 0


def test_llama_cpp_gives_the_text_and_its_own_tokens(check: Check, smol: Base) -> None:
    tokenizer = smol.theirs
    routes = llama_cpp(rendered(tokenizer), plain_ids(tokenizer))
    done = check(routes)
    assert done.status == 0
    assert done.document["strength"] == "tokens"
    assert done.document["route"] == "POST /apply-template, POST /tokenize"


def test_llama_cpp_takes_the_bos_off_the_text_and_puts_it_on_the_tokens(
    check: Check, bases: MakeBase
) -> None:
    base = bases("v3")
    tokenizer = base.theirs
    text, ids = rendered(tokenizer), plain_ids(tokenizer)
    routes = llama_cpp(lambda chat: text(chat).removeprefix("<s>"), lambda said: ids("<s>" + said))
    assert check(routes, base=base.folder).status == 0
    only_text = check(
        llama_cpp(lambda chat: text(chat).removeprefix("<s>"), None), base=base.folder
    )
    assert only_text.status == 0
    assert only_text.document["strength"] == "text"
    assert "only texts were compared, not BOS" in only_text.document["note"]


def test_the_route_may_stand_below_v1_and_the_address_end_in_it(check: Check, smol: Base) -> None:
    routes = vllm(transformers_feed(smol.theirs), smol.theirs)
    routes["POST /v1/tokenize"] = routes.pop("POST /tokenize")
    with ModelServer(routes) as server:
        done = check(f"{server.url}/v1/")
        assert done.document["endpoint"] == server.url
    assert done.status == 0
    assert done.document["route"] == "POST /v1/tokenize"


def test_a_chat_route_that_shows_the_prompts_ids_is_compared_token_for_token(
    check: Check, smol: Base
) -> None:
    done = check(chat_counts(transformers_feed(smol.theirs), shows_ids=True))
    assert done.status == 0
    assert done.document["strength"] == "tokens"


@pytest.mark.parametrize("strict", [False, True])
def test_counts_that_are_equal_are_called_weaker(check: Check, smol: Base, strict: bool) -> None:
    routes = chat_counts(transformers_feed(smol.theirs), strict=strict)
    done = check(routes)
    assert done.status == 0
    assert done.document["strength"] == "counts"
    assert "not the tokens" in done.document["note"]
    shown = check(routes, as_json=False)
    assert "only numbers of tokens are compared, which is weaker" in " ".join(shown.out.split())


def test_the_model_is_the_one_named_else_the_first(check: Check, smol: Base) -> None:
    routes = vllm(transformers_feed(smol.theirs), smol.theirs) | models("a", "lora-1", "lora-2")
    with ModelServer(routes) as server:
        assert "also has lora-1, lora-2" in check(server.url).document["note"]
        named = check(server.url, "--model", "lora-2").document
        assert (named["model"], named["note"]) == ("lora-2", "")
        asked = [body["model"] for body in server.asked("POST /tokenize")]
        assert set(asked) == {"a", "lora-2"}


def test_the_turns_are_sent_normalised_and_raw_ones_are_only_reported(
    check: Check, bases: MakeBase, tmp_path: Path
) -> None:
    """Mistral's template refuses a system turn; training folds it, so that is what is sent."""
    base = bases("v3")
    told = write(tmp_path / "told.jsonl", {"told": ("You are at a shell.", "$", "exit")})
    with ModelServer(vllm(transformers_feed(base.theirs), base.theirs)) as server:
        done = check(server.url, base=base.folder, sessions=told)
        sent = [body["messages"] for body in server.asked("POST /tokenize")]
    assert done.status == 0
    assert [{"role": "user", "content": "You are at a shell.\n\n$"}] in sent
    raw = done.document["raw"]
    assert (raw["asked"], raw["refused"], raw["cause"]) == (1, 1, "system_refused")
    assert "must alternate" in raw["said"]


def rendered(tokenizer: Any) -> Any:
    return lambda chat: tokenizer.apply_chat_template(
        chat, tokenize=False, add_generation_prompt=True
    )


def plain_ids(tokenizer: Any) -> Any:
    return lambda text: tokenizer.encode(text, add_special_tokens=False)


def test_data_and_base_are_those_of_the_workspace(
    smol: Base, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in `sekft mask`: a base by its name there, its trajectories, or none of both named."""
    place = Workspace(tmp_path / "workspace").create()
    (place.bases / "mine").symlink_to(smol.folder)
    raw = {"id": "a", "keep": True, "turns": [
        {"role": "user", "content": "$"}, {"role": "assistant", "content": "exit"},
    ]}  # fmt: skip
    (place.trajectories / "a.json").write_text(json.dumps(raw))
    here = ("contract", "check", "--workspace", str(place.root), "--data-only", "--json")
    with ModelServer(vllm(transformers_feed(smol.theirs), smol.theirs)) as server:
        for words in ((), ("--base", "mine"), ("--data", str(place.trajectories))):
            status = run([*here, "--endpoint", server.url, *words])
            found = json.loads(capsys.readouterr().out)
            assert (status, found["equal"]) == (0, True)
            assert [one["id"] for one in found["sessions"]] == ["a"]
        status = run([*here, "--endpoint", server.url, "--base", "yours"])
        assert status == 2
        assert "yours: no such base" in capsys.readouterr().err
        both = ("--data", str(place.trajectories), "--hub", "owner/set")
        assert run([*here, "--endpoint", server.url, *both]) == 2
        assert "use --data or --hub" in capsys.readouterr().err
