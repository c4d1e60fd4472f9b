"""Errors of the API, in the shape in which OpenAI's clients read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sekft_engine.core.text import visible

#: The longest message: an error quotes names that a client made up.
LONGEST = 600


class ApiError(Exception):
    """A request that is answered with an error.

    Args:
        status: of HTTP.
        message: what is wrong, and the way out.
        param: the field that is to blame.
        code: the name of the error for programs.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = visible(message[:LONGEST])
        self.param = param
        self.code = code
        self.headers = dict(headers or {})

    @property
    def type(self) -> str:
        """OpenAI's name of the kind of error."""
        if self.status >= 500:
            return "server_error"
        named = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
        return named.get(self.status, "invalid_request_error")

    def body(self) -> dict[str, Any]:
        """The JSON of the answer."""
        error = {"message": self.message, "type": self.type}
        return {"error": error | {"param": self.param, "code": self.code}}


def not_supported(param: str, value: object) -> ApiError:
    """The error for a field of the API that this server does not have."""
    shown = repr(value)
    return ApiError(
        400,
        f"{param} {shown if len(shown) <= 60 else shown[:57] + '...'} is not supported by this "
        "server; leave it out",
        param=param,
        code="unsupported_parameter",
    )


def too_long(prompt: int, room: int, limit: int, param: str) -> ApiError:
    """The error for a prompt that does not fit."""
    asked = f" and up to {room} for the answer" if room else ""
    return ApiError(
        400,
        f"This model's maximum context length is {limit} tokens; the prompt has {prompt} tokens"
        f"{asked}. Shorten the prompt or ask for fewer tokens.",
        param=param,
        code="context_length_exceeded",
    )
