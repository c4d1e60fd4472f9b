"""Several adapters at once: each request gets what its own model gives alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.decode import BatchedDecoder
from tests.serve.conftest import serving


def test_32_adapters_asked_at_once_give_each_the_tokens_that_it_gives_alone(
    tiny_base: Path, adapters: list[str]
) -> None:
    with serving(tiny_base, adapters) as running:
        names = ["tiny", *running.held.base.adapters]
        contents = {name: f"file{number}\nuser@box:~$" for number, name in enumerate(names)}

        def ask(name: str) -> tuple[list[int], list[int]]:
            fields = {"model": name, "max_tokens": 10, "return_token_ids": True}
            answer = running.chat(contents[name], **fields).json
            return answer["prompt_token_ids"], answer["choices"][0]["token_ids"]

        with ThreadPoolExecutor(len(names)) as pool:
            said = dict(zip(names, pool.map(ask, names), strict=True))
            again = dict(zip(names, pool.map(ask, names), strict=True))
        stops = sorted(running.held.tokenizer.end_of_turn_ids)
    assert again == said
    base = ResidentBase.load(tiny_base)
    for name, spec in zip(names, ["", *adapters], strict=True):
        if spec:
            base.attach(name, spec.partition("=")[2])
        alone = BatchedDecoder(base.model, stop_ids=stops)
        alone.add("row")
        turn = alone.turns({"row": said[name][0]}, {"row": 10})["row"]
        assert said[name][1] == [*turn.ids, *([] if turn.stop is None else [turn.stop])], name
        if spec:
            base.drop(name)
    assert len({tuple(ids) for _, ids in said.values()}) > len(names) // 2


def test_a_session_sent_again_is_fed_once_and_never_across_adapters(
    tiny_base: Path, adapters: list[str]
) -> None:
    """The same content under two names is one; another content never helps."""
    path = adapters[0].partition("=")[2]
    with serving(tiny_base, [adapters[0], f"same={path}", adapters[1]]) as running:
        content = "word " * 60

        def cached(model: str) -> int:
            usage = running.chat(content, model=model).json["usage"]
            count: int = usage["prompt_tokens_details"]["cached_tokens"]
            return count

        assert cached("a0") == 0
        assert cached("a0") > 60
        assert cached("same") > 60
        assert cached("a1") == 0
        assert cached("tiny") == 0
        assert cached("a1") > 60
