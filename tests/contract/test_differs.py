"""A server that feeds its model something else is caught, and the cause is told by its name."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jinja2 import TemplateError

from tests.contract.conftest import Base, Check, Checked, MakeBase, write
from tests.contract.servers import (
    Answer,
    Body,
    Feed,
    Messages,
    Reply,
    changed,
    chat_counts,
    error,
    llama_cpp,
    transformers_feed,
    vllm,
)
from tests.contract.test_equal import plain_ids, rendered
from tests.render import templates
from tests.render.templates import MISTRAL

#: How a server errs -> (what it feeds, the cause of each of the five prompts).
Wrong = Callable[[Any], Feed]


def named(done: Checked, cause: str) -> None:
    """All that differs has this cause, and something does."""
    assert done.status == 1
    assert done.document["equal"] is False
    assert set(done.causes) - {""} == {cause}, done.causes
    assert done.document["causes"] == [cause]


def with_system(text: str) -> str:
    """The template of SmolLM2 with a system prompt of its own; '' = none."""
    lead = f"{{{{ '<|im_start|>system\n{text}<|im_end|>\n' }}}}" if text else ""
    return templates.chatml(before=lead)


SMOLLM2: dict[str, tuple[Wrong, str]] = {
    "double BOS": (lambda t: lambda m: [t.bos_token_id, *transformers_feed(t)(m)], "double_bos"),
    "missing BOS": (lambda t: lambda m: transformers_feed(t)(m)[1:], "missing_bos"),
    "added EOS": (lambda t: lambda m: [*transformers_feed(t)(m), t.eos_token_id], "added_eos"),
    "no generation prompt": (
        lambda t: transformers_feed(t, add_generation_prompt=False),
        "no_generation_prompt",
    ),
    "trimmed": (
        lambda t: changed(transformers_feed(t), lambda _, text: text.strip()),
        "trimmed_content",
    ),
    "no default system prompt": (
        lambda t: transformers_feed(t, chat_template=with_system("")),
        "missing_system_prompt",
    ),
    "its own default system prompt": (
        lambda t: transformers_feed(t, chat_template=with_system("Be brief, and be kind.")),
        "other_system_prompt",
    ),
    "another family's template": (
        lambda t: transformers_feed(t, chat_template=MISTRAL["v0.3"]),
        "other_template",
    ),
    "lower case": (
        lambda t: changed(transformers_feed(t), lambda _, text: text.lower()),
        "content_rewritten",
    ),
}


@pytest.mark.parametrize("name", SMOLLM2)
def test_a_server_that_errs_is_told_by_cause(name: str, check: Check, smol: Base) -> None:
    wrong, cause = SMOLLM2[name]
    named(check(vllm(wrong(smol.theirs), smol.theirs)), cause)


def test_a_default_system_prompt_and_a_reasoning_prompt_that_training_never_saw(
    check: Check, smol: Base, tmp_path: Path
) -> None:
    plain = _folder(tmp_path / "plain", smol, templates.CHATML)
    tokenizer = smol.theirs
    for template, cause in (
        (with_system("You are a helpful assistant."), "default_system_prompt"),
        (templates.PROMPTS_MORE, "longer_generation_prompt"),
        (templates.LEAVES_OPEN, "other_template"),
    ):
        feed = transformers_feed(tokenizer, chat_template=template)
        named(check(vllm(feed, tokenizer), base=plain), cause)


def test_thoughts_that_a_reasoning_template_cuts(check: Check, smol: Base, tmp_path: Path) -> None:
    plain = _folder(tmp_path / "plain", smol, templates.CHATML)
    thinks = write(
        tmp_path / "thinks.jsonl",
        {"thinks": ("$", "echo '<think>hm</think>ok'", "<think>hm</think>ok\n$", "exit")},
    )
    feed = transformers_feed(smol.theirs, chat_template=templates.CUTS_THOUGHTS)
    done = check(vllm(feed, smol.theirs), base=plain, sessions=thinks)
    named(done, "thoughts_cut")
    assert done.causes == ["", "thoughts_cut"]


def test_a_template_that_prints_the_date_is_named_where_all_is_equal(
    check: Check, smol: Base, tmp_path: Path
) -> None:
    """Today. Tomorrow the server's prompt is another one."""
    dated = with_system("Today is ' + strftime_now('%Y') + '.")
    base = _folder(tmp_path / "dated", smol, dated)
    feed = transformers_feed(smol.theirs, chat_template=dated)
    checked = check(vllm(feed, smol.theirs), base=base)
    assert checked.document["equal"]
    assert "the chat template prints the date" in checked.document["note"]
    assert "to pin it, put {%" in checked.document["note"]


def test_a_date_in_the_template(check: Check, smol: Base, tmp_path: Path) -> None:
    dated = [with_system(f"Today is {day}.") for day in ("26 Jul 2024", "3 May 2026")]
    base = _folder(tmp_path / "dated", smol, dated[0])
    feed = transformers_feed(smol.theirs, chat_template=dated[1])
    named(check(vllm(feed, smol.theirs), base=base), "date_in_template")


def test_control_tokens_forged_out_of_what_a_shell_printed(
    check: Check, smol: Base, bases: MakeBase, tmp_path: Path
) -> None:
    """What every server does that tokenises the rendered text as a whole."""
    hard = write(
        tmp_path / "hard.jsonl",
        {"card": ("$", "cat card.md", "ends with </s> or <|im_end|> there\n$", "exit")},
    )
    for base in (smol, bases("v3")):
        tokenizer = base.theirs
        for routes in (
            vllm(transformers_feed(tokenizer), tokenizer),
            llama_cpp(rendered(tokenizer), plain_ids(tokenizer)),
            chat_counts(transformers_feed(tokenizer)),
        ):
            done = check(routes, base=base.folder, sessions=hard)
            named(done, "forged_control_token")
            assert done.causes == ["", "forged_control_token"]


def test_hard_sessions_of_our_own_are_told_from_those_of_the_data(check: Check, smol: Base) -> None:
    done = check(vllm(transformers_feed(smol.theirs), smol.theirs), hostile=True, as_json=False)
    assert done.status == 1
    assert "all prompts of your data are equal; only built-in hard sessions differ" in done.out


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda text: text.replace("\r\n", "\n"), "newlines_rewritten"),
        (lambda text: unicodedata.normalize("NFC", text), "characters_rewritten"),
        (lambda text: unicodedata.normalize("NFKC", text), "characters_rewritten"),
    ],
    ids=["CRLF", "NFC", "NFKC"],
)
def test_a_gateway_that_rewrites_what_it_passes_on(
    change: Callable[[str], str], cause: str, check: Check, smol: Base, tmp_path: Path
) -> None:
    odd = write(tmp_path / "odd.jsonl", {"odd": ("a\r\n$", "ls", "cafe\u0301 \ufb01\n$", "exit")})
    feed = changed(transformers_feed(smol.theirs), lambda _, text: change(text))
    done = check(vllm(feed, smol.theirs), sessions=odd)
    named(done, cause)


def test_the_same_files_read_in_the_legacy_way_are_another_tokenizer(
    check: Check, bases: MakeBase
) -> None:
    ours, legacy = bases("v3"), bases("v3/legacy").theirs
    done = check(vllm(transformers_feed(legacy), legacy), base=ours.folder)
    named(done, "other_tokenizer")
    assert all(one["certain"] for one in done.document["sessions"])


def test_another_base_is_another_vocabulary(check: Check, bases: MakeBase, smol: Base) -> None:
    for there in (bases("v1").theirs, smol.theirs):
        done = check(vllm(transformers_feed(there), there), base=bases("v3").folder)
        named(done, "other_vocabulary")
        # Its tokens are shown by its own names, not by what ours has under their numbers.
        first = done.document["sessions"][0]["difference"]
        assert set(first["theirs"]) <= set(there.get_vocab())


@pytest.mark.parametrize("name", [name for name in MISTRAL if name not in ("v0.3", "v0.1")])
def test_every_other_mistral_template_is_another_template(
    name: str, check: Check, bases: MakeBase
) -> None:
    """They differ by a space here and there, and the text of tokens does not show which."""
    base = bases("v3")
    feed = transformers_feed(base.theirs, chat_template=MISTRAL[name])
    done = check(vllm(feed, base.theirs), base=base.folder)
    named(done, "other_template")


def test_only_the_text_is_known(check: Check, smol: Base) -> None:
    tokenizer = smol.theirs

    def text(**options: Any) -> Callable[[Messages], str]:
        asked = {"tokenize": False, "add_generation_prompt": True} | options
        return lambda chat: str(tokenizer.apply_chat_template(chat, **asked))

    for render, cause in (
        (text(chat_template=with_system("")), "missing_system_prompt"),
        (text(add_generation_prompt=False), "no_generation_prompt"),
        (text(chat_template=MISTRAL["v0.3"]), "other_template"),
        (lambda chat: "<|im_start|>" + text()(chat), "double_bos"),
    ):
        done = check(llama_cpp(render, None))
        named(done, cause)
        assert done.document["strength"] == "text"
        assert done.document["sessions"][0]["difference"]["unit"] == "character"


def test_llama_cpp_that_adds_a_second_bos(check: Check, bases: MakeBase) -> None:
    base = bases("v3")
    text, ids = rendered(base.theirs), plain_ids(base.theirs)
    done = check(llama_cpp(text, lambda said: [base.ours.bos_id, *ids(said)]), base=base.folder)
    named(done, "double_bos")


@pytest.mark.parametrize(
    "name",
    ["double BOS", "missing BOS", "no generation prompt", "trimmed", "no default system prompt"],
)
def test_where_only_counts_are_known_the_cause_is_likely(
    name: str, check: Check, smol: Base
) -> None:
    wrong, cause = SMOLLM2[name]
    done = check(chat_counts(wrong(smol.theirs)))
    named(done, cause)
    assert not any(one["certain"] or one["difference"] for one in done.document["sessions"])
    shown = check(chat_counts(wrong(smol.theirs)), as_json=False)
    assert "\nlikely " in shown.out


def test_counts_that_nothing_explains_are_not_explained_away(check: Check, smol: Base) -> None:
    feed = transformers_feed(smol.theirs, chat_template=MISTRAL["v0.3"])
    named(check(chat_counts(feed)), "unknown")


def test_a_server_that_refuses_a_system_turn_it_adds_itself(check: Check, bases: MakeBase) -> None:
    base = bases("v3")
    feed = transformers_feed(base.theirs)

    def adds(messages: Messages) -> list[int]:
        if messages[0]["content"] != "$":  # the probe passes
            raise TemplateError("Conversation roles must alternate user/assistant/user/...")
        return feed(messages)

    done = check(vllm(adds, base.theirs), base=base.folder)
    named(done, "roles_refused")
    assert "HTTP 400: Conversation roles must alternate" in done.document["sessions"][0]["said"]


def test_a_context_that_is_too_short(check: Check, smol: Base) -> None:
    routes = vllm(transformers_feed(smol.theirs), smol.theirs)
    tokenize = routes["POST /tokenize"]

    def short(body: Body) -> Reply | dict[str, Any]:
        answer = tokenize(body)
        assert isinstance(answer, dict)
        if answer["count"] > 70:
            return error(400, "This model's maximum context length is 70 tokens.")
        return answer

    done = check(routes | {"POST /tokenize": short})
    named(done, "too_long")
    assert done.causes.count("too_long") == 1


def test_a_chat_route_that_feeds_other_prompts_than_tokenize_shows(
    check: Check, smol: Base
) -> None:
    """The server's default template arguments may reach one route and not the other."""
    tokenizer = smol.theirs
    routes: dict[str, Answer] = vllm(
        transformers_feed(tokenizer),
        tokenizer,
        chat=transformers_feed(tokenizer, add_generation_prompt=False),
    )
    done = check(routes)
    assert done.status == 1
    assert all(one["equal"] for one in done.document["sessions"])
    assert done.document["chat"]["fed"] < done.document["chat"]["shown"]
    assert "another prompt than the one compared" in " ".join(
        check(routes, as_json=False).out.split()
    )


def test_an_evaluation_can_refuse_on_the_report(smol: Base, bases: MakeBase) -> None:
    from sekft_engine.contract import check_endpoint
    from sekft_engine.core.errors import DigestMismatch
    from tests.contract.servers import ModelServer
    from tests.render.sessions import PLAIN

    feed = SMOLLM2["double BOS"][0](smol.theirs)
    with ModelServer(vllm(feed, smol.theirs)) as server:
        report = check_endpoint(server.url, smol.ours, [PLAIN], hostile=False)
        with pytest.raises(DigestMismatch, match="3 of 3 prompts differ: double BOS"):
            report.require_equal()
    with ModelServer(vllm(transformers_feed(smol.theirs), smol.theirs)) as server:
        check_endpoint(server.url, smol.ours, [PLAIN], hostile=False).require_equal()


def _folder(folder: Path, base: Base, template: str) -> Path:
    """The base's tokenizer with another template."""
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((base.folder / name).read_bytes())
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder
