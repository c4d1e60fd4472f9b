"""Tokenizers that are known to cut text into other words than their vendor's do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

#: How Mistral's Tekken tokenizers cut text into words, as the vendor's ``tekken.json`` says.
TEKKEN_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: What converters wrote in its place for a while: the pattern of another family, their default.
DEFAULT_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
#: Control tokens that all Mistral vocabularies of bytes have, and no other family.
_TEKKEN_MARKS = frozenset(("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]"))


class WrongPattern(msgspec.Struct, frozen=True, kw_only=True):
    """A tokenizer that cuts text into other words than its vendor's.

    Attributes:
        family: whose tokenizer it is.
        found: the pattern in its file; '' = none.
        right: the vendor's.
    """

    family: str
    found: str
    right: str

    def told(self, where: str) -> tuple[str, str]:
        """What is wrong, and the command that mends it.

        Args:
            where: the folder of the base.
        """
        fault = (
            f"this tokenizer.json of {self.family} has a pattern that cuts words in another way "
            "than the vendor's tokenizer, so servers that read the vendor's file feed other ids"
        )
        return fault, f"sekft base tokenizer {where}"

    def sentence(self, where: str) -> str:
        """Both."""
        return "; to mend it: ".join(self.told(where))


def wrong_pattern(spec: Mapping[str, Any]) -> WrongPattern | None:
    """What is known to be wrong with how a tokenizer cuts text into words; None = nothing.

    Args:
        spec: a parsed ``tokenizer.json``.
    """
    steps = list(_steps(spec.get("pre_tokenizer")))
    if not any(step.get("type") == "ByteLevel" for step in steps):
        return None
    added = {token.get("content") for token in spec.get("added_tokens") or ()}
    if not added >= _TEKKEN_MARKS:
        return None
    patterns = [_pattern(step) for step in steps if step.get("type") == "Split"]
    if not patterns:
        by_default = any(step.get("use_regex", True) for step in steps)
        return _tekken("") if by_default else None
    return _tekken(DEFAULT_PATTERN) if DEFAULT_PATTERN in patterns else None


def _tekken(found: str) -> WrongPattern:
    return WrongPattern(family="Mistral (Tekken)", found=found, right=TEKKEN_PATTERN)


def mended(spec: Mapping[str, Any], fault: WrongPattern) -> dict[str, Any]:
    """``spec`` with the vendor's pattern in the place of the wrong one."""
    split = {
        "type": "Split",
        "pattern": {"Regex": fault.right},
        "behavior": "Isolated",
        "invert": False,
    }
    bytes_only = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": False,
    }
    steps = [
        step
        for step in _steps(spec.get("pre_tokenizer"))
        if step.get("type") != "ByteLevel" and _pattern(step) != fault.found
    ]
    whole = {"type": "Sequence", "pretokenizers": [split, *steps, bytes_only]}
    return dict(spec) | {"pre_tokenizer": whole}


def _steps(step: Any) -> Iterator[Mapping[str, Any]]:
    """A step of the pre-tokenizer, and those within it."""
    if not isinstance(step, Mapping):
        return
    if step.get("type") != "Sequence":
        yield step
        return
    for inner in step.get("pretokenizers") or ():
        yield from _steps(inner)


def _pattern(step: Mapping[str, Any]) -> str:
    pattern = step.get("pattern")
    found = pattern.get("Regex") if isinstance(pattern, Mapping) else None
    return found if isinstance(found, str) else ""
