"""What an export wrote: the document of ``sekft export``."""

from __future__ import annotations

import msgspec

from sekft_engine.records.result import Result


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """How far the merged model's logits are from those of base + adapter, over ``tokens`` places.

    ``difference`` is the largest one with both in float32. ``written_difference`` is that of the
    model as it was written, whose weights are rounded to ``dtype``, ``same_choice`` the share of
    places where it puts the same token first; ``adapter_effect`` is the largest difference that
    the adapter makes to the base, for comparison.
    """

    tokens: int
    dtype: str
    difference: float
    written_difference: float
    same_choice: float
    adapter_effect: float


class Readiness(msgspec.Struct, frozen=True, kw_only=True):
    """What the ``gguf`` package makes of a folder. ``architecture`` is llama.cpp's name for the
    model, '' where the package does not know it; then its tensors are not checked."""

    architecture: str
    tensors: int
    merges: int
    special_tokens: dict[str, int]
    chat_template: bool
    problems: tuple[str, ...] = ()


class ExportedFile(msgspec.Struct, frozen=True, kw_only=True):
    bytes: int
    sha256: str


class ExportResult(Result, frozen=True, kw_only=True):
    """An exported folder. ``proof`` is there for merged weights, ``gguf`` for those made ready for
    GGUF, ``evals`` (ids) where there is a model card, ``trained_4bit`` where it is recorded whether
    the adapter was trained on the base in 4 bits, ``device`` where weights were merged."""

    kind: str = ""
    adapter: str = ""
    adapter_sha256: str = ""
    base: str = ""
    run: str | None = None
    target: str = ""
    proof: Proof | msgspec.UnsetType = msgspec.UNSET
    gguf: Readiness | msgspec.UnsetType = msgspec.UNSET
    evals: list[str] | msgspec.UnsetType = msgspec.UNSET
    files: dict[str, ExportedFile] = {}
    trained_4bit: bool | msgspec.UnsetType = msgspec.UNSET
    device: str | msgspec.UnsetType = msgspec.UNSET
