"""``POST /tokenize`` in vLLM's two forms, and ``POST /detokenize``."""

from __future__ import annotations

from sekft_engine.serve.endpoints.completions import encoded_text, refuse_unknown_ids
from sekft_engine.serve.errors import ApiError, not_supported
from sekft_engine.serve.exchange import Exchange
from sekft_engine.serve.fields import DetokenizeRequest, TokenizeRequest, read
from sekft_engine.serve.service import Service


async def tokenize(service: Service, exchange: Exchange) -> None:
    """Show the ids of raw text, or those that the model is fed for messages."""
    request = read(await exchange.body(), TokenizeRequest)
    if request.model:
        service.model(request.model)
    if (request.prompt is None) == (request.messages is None):
        raise ApiError(400, "give either prompt or messages", param="prompt", code="invalid_value")
    if request.messages is not None:
        if not request.add_generation_prompt:
            raise not_supported("add_generation_prompt", False)
        if request.add_special_tokens:
            raise not_supported("add_special_tokens", True)
        ids = await service.prompt(request.messages)
    else:
        special = request.add_special_tokens is not False
        ids = await encoded_text(service, request.prompt or "", special=special)
    held = service.held
    names = [held.tokenizer.token_name(token) for token in ids]
    await exchange.send_json(
        {
            "count": len(ids),
            "max_model_len": held.limit,
            "tokens": ids,
            "token_strs": names if request.return_token_strs else None,
        }
    )


async def detokenize(service: Service, exchange: Exchange) -> None:
    """Show the text of ids."""
    request = read(await exchange.body(), DetokenizeRequest)
    if request.model:
        service.model(request.model)
    refuse_unknown_ids(service, request.tokens, "tokens")
    await exchange.send_json({"prompt": service.held.tokenizer.decode(request.tokens)})
