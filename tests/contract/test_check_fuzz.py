"""Whatever a server answers to the contract check: a report, or one error for a person."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from sekft_engine.cli.show.contract import print_report
from sekft_engine.contract import Client, check_endpoint
from sekft_engine.core.errors import SekftError
from sekft_engine.core.text import acts
from tests.contract.conftest import Base
from tests.contract.servers import Answer, ModelServer, Reply
from tests.contract.test_answers_fuzz import values
from tests.fuzzing import fuzz

EDGES = [0, 1, 2, 49151, 49152, 2**31, 2**32, 2**63, 2**70, -1]
ids = st.lists(st.sampled_from(EDGES) | st.integers(0, 49151), min_size=1, max_size=6)
odd = st.lists(st.sampled_from(EDGES) | st.booleans() | st.none(), max_size=6) | values
wrapped = st.lists(st.fixed_dictionaries({"id": st.integers(-3, 2**40)}), max_size=4)
strings = st.lists(st.text(max_size=4) | st.none(), max_size=6) | values
counts = st.integers(0, 100) | st.sampled_from([True, -1, 2**70]) | values
texts = st.text(max_size=80) | values


def shaped(likely: dict[str, Any], more: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Mostly what a route should answer, now and then anything."""
    right = st.fixed_dictionaries(likely, optional=more)
    return st.sampled_from([right, right, right, values]).flatmap(lambda one: one)


usage = shaped({"prompt_tokens": counts}, {})
BODIES = {
    "GET /v1/models": shaped({"data": st.lists(st.fixed_dictionaries({"id": texts}))}, {}),
    "POST /tokenize": shaped({"tokens": ids | odd | wrapped}, {"token_strs": strings}),
    "POST /v1/tokenize": shaped({"tokens": ids | odd}, {"token_strs": strings}),
    "POST /detokenize": shaped({"prompt": texts}, {}),
    "POST /apply-template": shaped({"prompt": texts}, {}),
    "POST /v1/chat/completions": shaped(
        {"usage": usage}, {"prompt_token_ids": ids | odd, "choices": values, "error": values}
    ),
}
STATUS = st.sampled_from([200] * 12 + [404, 400, 401, 500])


class Answers:
    """A server whose routes answer what they are told to."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}
        self.server = ModelServer({route: self._says(route) for route in BODIES})

    def _says(self, route: str) -> Answer:
        return lambda _: Reply(*self.told[route])


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    made = Answers()
    with made.server:
        yield made


@fuzz(20)
@given(st.data())
def test_any_answers_give_a_report_or_one_line(
    smol: Base, answers: Answers, data: st.DataObject
) -> None:
    answers.told = {route: (data.draw(STATUS), data.draw(body)) for route, body in BODIES.items()}
    with Client(answers.server.url, attempts=1) as client, contextlib.suppress(SekftError):
        report = check_endpoint(client, smol.ours, ())
        json.dumps(report.document())
        shown = io.StringIO()
        print_report(report, Console(file=shown, width=80))
        assert not any(map(acts, shown.getvalue().replace("\n", "")))
