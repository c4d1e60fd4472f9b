"""The fields of requests: those that are read, those that have no effect, and those refused.

A field that this server does not have is never dropped in silence. It is refused by name, unless
its value is the neutral one, at which it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from sekft_engine.serve.errors import ApiError, not_supported

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Temperature = Annotated[float, Meta(ge=0, le=100)]
Share = Annotated[float, Meta(gt=0, le=1)]
Top = Annotated[int, Meta(ge=0, le=20)]
Ids = list[NotNegative]
Stops = Annotated[list[Annotated[str, Meta(min_length=1, max_length=1000)]], Meta(max_length=16)]


class StreamOptions(msgspec.Struct, kw_only=True):
    """How a stream is written."""

    include_usage: bool = False


class Common(msgspec.Struct, kw_only=True):
    """The fields that chat and completions have in common."""

    model: str
    max_tokens: NotNegative | None = None
    temperature: Temperature = 1.0
    top_p: Share = 1.0
    seed: int | None = None
    stop: str | Stops = []
    stream: bool = False
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop
        return tuple(filter(None, stops))

    @property
    def include_usage(self) -> bool:
        """Whether the last chunk of a stream counts tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


class ChatRequest(Common, kw_only=True):
    """The body of ``POST /v1/chat/completions``."""

    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)]
    max_completion_tokens: Positive | None = None
    logprobs: bool = False
    top_logprobs: Top = 0


class CompletionRequest(Common, kw_only=True):
    """The body of ``POST /v1/completions``."""

    prompt: str | list[Any]
    echo: bool = False
    logprobs: Top | None = None
    add_special_tokens: bool = True

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt, as text or as ids.

        Raises:
            ApiError: it is neither.
        """
        if isinstance(self.prompt, list) and self.prompt and type(self.prompt[0]) is not int:
            several = self.prompt
        else:
            several = [self.prompt]
        try:
            return [
                each if isinstance(each, str) else msgspec.convert(each, Ids) for each in several
            ]
        except msgspec.ValidationError:
            raise ApiError(
                400,
                "prompt must be text, a list of token ids, or a list of such prompts",
                param="prompt",
                code="invalid_value",
            ) from None


class TokenizeRequest(msgspec.Struct, kw_only=True):
    """The body of ``POST /tokenize``: vLLM's form for text, and its form for messages."""

    model: str = ""
    prompt: str | None = None
    messages: Annotated[list[dict[str, Any]], Meta(min_length=1)] | None = None
    add_special_tokens: bool | None = None
    add_generation_prompt: bool = True
    return_token_strs: bool = False


class DetokenizeRequest(msgspec.Struct, kw_only=True):
    """The body of ``POST /detokenize``."""

    model: str = ""
    tokens: Ids


#: Fields that change nothing of the answer, so that any value passes.
NO_EFFECT = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"}
    | {"prompt_cache_retention", "parallel_tool_calls", "request_id", "priority"}
)
#: Known fields that are not supported, with the values at which they change nothing.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "repeat_penalty": (1,),
    "length_penalty": (1,),
    "logit_bias": ({},),
    "top_k": (0, -1),
    "min_p": (0,),
    "typical_p": (1,),
    "min_tokens": (0,),
    "ignore_eos": (False,),
    "stop_token_ids": ([],),
    "include_stop_str_in_output": (False,),
    "skip_special_tokens": (True, False),  # the id that ends a turn is never part of the text
    "spaces_between_special_tokens": (True, False),
    "use_beam_search": (False,),
    "prompt_logprobs": (0,),
    "suffix": ("",),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "reasoning_effort": ("none",),
    "reasoning": (),
    "verbosity": (),
    "web_search_options": (),
    "guided_json": (),
    "guided_regex": (),
    "guided_choice": (),
    "guided_grammar": (),
    "structured_outputs": (),
    "chat_template": (),
    "chat_template_kwargs": ({},),
    "documents": ([],),
    "mm_processor_kwargs": ({},),
    "add_generation_prompt": (True,),
    "continue_final_message": (False,),
    "add_special_tokens": (False,),
    "echo": (False,),
    "logits_processors": ([],),
    "truncate_prompt_tokens": (),
    "stream_options": (),
    "tool_call_parser": (),
}

Request = TypeVar("Request", bound=msgspec.Struct)


def read(body: bytes, kind: type[Request]) -> Request:
    """The request in ``body``.

    Raises:
        ApiError: it is not JSON, has a field that is not supported, or a value that is not valid.
    """
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ApiError(400, "the body must be a JSON object")
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    fields: dict[str, Any] = {}
    for name, value in raw.items():
        if value is None or name in NO_EFFECT:
            continue
        if name in known:
            fields[name] = value
        elif name not in NEUTRAL:
            raise ApiError(
                400,
                f"Unrecognized request argument supplied: {name[:100]}",
                param=name[:100],
                code="unknown_parameter",
            )
        elif not any(_same(value, neutral) for neutral in NEUTRAL[name]):
            raise not_supported(name, value)
    return _converted(fields, kind)


def _same(value: Any, neutral: Any) -> bool:
    """Whether ``value`` is the neutral one; 1.0 is 1, and true is not."""
    return bool(value == neutral) and isinstance(value, bool) == isinstance(neutral, bool)


def _converted(fields: dict[str, Any], kind: type[Request]) -> Request:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        param = path.rstrip("`").split("[")[0].split(".")[0] or None
        if "missing required field" in what:
            param = what.rpartition("field ")[2].strip("`") or None
        raise ApiError(
            400, f"{param}: {what}" if param else what, param=param, code="invalid_value"
        ) from None
