"""Whatever JSON comes, it is a request or an error that is the client's."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekft_engine.serve.errors import ApiError
from sekft_engine.serve.fields import (
    NEUTRAL,
    NO_EFFECT,
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    TokenizeRequest,
    read,
)
from sekft_engine.serve.prompts import turn_of

KINDS = (ChatRequest, CompletionRequest, TokenizeRequest, DetokenizeRequest)
NAMES = sorted(
    {field.name for kind in KINDS for field in msgspec.structs.fields(kind)}
    | set(NEUTRAL)
    | set(NO_EFFECT)
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=6
)
BODIES = st.dictionaries(st.sampled_from(NAMES) | st.text(), VALUES)


@pytest.mark.parametrize("kind", KINDS)
def test_any_json_is_a_request_or_the_clients_error(kind: type[msgspec.Struct]) -> None:
    @given(BODIES)
    def check(body: dict[str, Any]) -> None:
        refused: ApiError | None = None
        try:
            request = read(msgspec.json.encode(body), kind)
        except ApiError as error:
            refused = error
        if refused is not None:
            assert refused.status == 400
            msgspec.json.encode(refused.body())
            return
        for message in getattr(request, "messages", None) or []:
            with contextlib.suppress(ApiError):
                turn_of(message, 0)
        if isinstance(request, CompletionRequest):
            with contextlib.suppress(ApiError):
                assert all(isinstance(prompt, str | list) for prompt in request.prompts)

    check()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_the_clients_error(body: bytes) -> None:
    with pytest.raises(ApiError) as raised:
        read(body, ChatRequest)
    assert raised.value.status == 400


def test_what_a_client_made_up_is_shown_without_acting() -> None:
    with pytest.raises(ApiError) as raised:
        read(b'{"model": "m", "messages": [{}], "\\u001b[2J": 1}', ChatRequest)
    assert "\x1b" not in raised.value.message
