"""How it is written on a line what is said on the socket, and how it is read from one."""

from __future__ import annotations

from typing import Any

import msgspec

from sekft_engine.core.documents import NOT_JSON, encode
from sekft_engine.core.errors import Unexpected, known_error
from sekft_engine.core.text import quiet_json, visible
from sekft_engine.engine.socket.protocol import (
    INTERNAL,
    INVALID_PARAMS,
    INVALID_REQUEST,
    METHODS,
    NOT_JSON_CODE,
    REFUSED,
    UNKNOWN_METHOD,
    Fault,
    Params,
    Request,
    RequestId,
    RpcError,
)

_requests = msgspec.json.Decoder(Request)
#: The tag that begins each line of a journal.
_EVENT = b'{"event":"'


def parse_request(line: bytes) -> Request:
    """The request on ``line``.

    Raises:
        RpcError: it is none; says why.
    """
    try:
        return _requests.decode(line)
    except msgspec.ValidationError as error:
        raise RpcError(INVALID_REQUEST, f"not a request: {error}") from error
    except NOT_JSON as error:
        raise RpcError(NOT_JSON_CODE, f"not JSON: {error}") from error


def parse_params(method: str, params: bytes | msgspec.Raw) -> Params:
    """The typed parameters of a method.

    Raises:
        RpcError: the method is unknown, or a parameter is unknown, missing or of another type.
    """
    kind = METHODS.get(method)
    if kind is None:
        known = ", ".join(METHODS)
        raise RpcError(UNKNOWN_METHOD, f"no such method: {visible(method[:64])}", mend=known)
    try:
        return msgspec.json.decode(params, type=kind)
    except NOT_JSON as error:
        raise RpcError(INVALID_PARAMS, f"{method}: {error}") from error


def request_id(line: bytes) -> RequestId | None:
    """The id of a line that is no request, where it has one."""
    try:
        found = msgspec.json.decode(line, type=dict[str, msgspec.Raw]).get("id")
        return None if found is None else msgspec.json.decode(found, type=RequestId)
    except NOT_JSON:
        return None


def request_line(number: RequestId, method: str, params: object) -> bytes:
    return _line({"jsonrpc": "2.0", "id": number, "method": method, "params": params})


def result_line(number: RequestId, result: object) -> bytes:
    return _line({"jsonrpc": "2.0", "id": number, "result": result})


def error_line(number: RequestId | None, error: BaseException) -> bytes:
    """The answer to a request that failed with ``error``."""
    known = known_error(error)
    if isinstance(error, RpcError):
        code = error.code
    else:
        code = INTERNAL if isinstance(known, Unexpected) else REFUSED
    fault = Fault(what=known.what, where=known.where or "", mend=known.mend or "")
    return _line(
        {
            "jsonrpc": "2.0",
            "id": number,
            "error": {"code": code, "message": str(known), "data": fault},
        }
    )


def notification_line(method: str, params: object) -> bytes:
    """What the server says without being asked."""
    return _line({"jsonrpc": "2.0", "method": method, "params": params})


def event_line(seq: int, event: bytes) -> bytes:
    """An event as its line in the journal has it, with its number."""
    head = b'{"jsonrpc":"2.0","method":"event","params":{"seq":%d,"event":' % seq
    return head + event + b"}}\n"


def event_kind(line: bytes) -> str:
    """The kind of the event on a journal's line."""
    end = line.find(b'"', len(_EVENT))
    return line[len(_EVENT) : end].decode("ascii", "replace") if line.startswith(_EVENT) else ""


def _line(message: dict[str, Any]) -> bytes:
    return quiet_json(encode(message)) + b"\n"
