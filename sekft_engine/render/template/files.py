"""Read the tokenizer files of a base's folder, naming what is missing or broken."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from tokenizers import AddedToken, Tokenizer

from sekft_engine.bases.tokenizers import convertible, missing_tokenizer
from sekft_engine.core.documents import decode
from sekft_engine.core.errors import BadInput, Unavailable

#: The special tokens that a template can name.
NAMED = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
_MEND = "a base is a folder with config.json, weights, tokenizer.json and a chat template"


class TokenizerFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder says about its tokenizer."""

    spec: dict[str, Any]
    template: str
    tokens: dict[str, str]
    added: tuple[AddedToken, ...]
    extra: tuple[AddedToken, ...]
    stops: frozenset[int] = frozenset()


def read_tokenizer_files(folder: Path) -> TokenizerFiles:
    """All that :class:`~sekft_engine.render.template.tokenizer.ChatTokenizer` needs of
    ``folder``."""
    if not folder.is_dir():
        raise BadInput("no such base folder", where=str(folder), mend=_MEND)
    if convertible(folder):
        raise missing_tokenizer(folder)
    spec = _read_json(folder / "tokenizer.json", required=True)
    if not isinstance(spec.get("model"), dict):
        raise BadInput("not a tokenizer.json", where=str(folder / "tokenizer.json"), mend=_MEND)
    config = _read_json(folder / "tokenizer_config.json")
    # The older file first: what tokenizer_config.json says wins, as in transformers.
    tokens = named_tokens(_read_json(folder / "special_tokens_map.json")) | named_tokens(config)
    template = _template(folder, config)
    if not template:
        raise BadInput(
            "no chat template",
            where=str(folder),
            mend="use an instruct base, or put its chat_template.jinja into the folder",
        )
    return TokenizerFiles(
        spec=spec,
        template=template,
        tokens={name: tokens[name] for name in NAMED if name in tokens},
        added=_added(config),
        extra=_extra(config),
        stops=_stops(folder),
    )


def _stops(folder: Path) -> frozenset[int]:
    """The ids at which the base's own configuration stops generation; damaged files say nothing
    here, as they are named where they are needed."""
    for name in ("generation_config.json", "config.json"):
        try:
            found = msgspec.json.decode((folder / name).read_bytes()).get("eos_token_id")
        except (OSError, ValueError, RecursionError, AttributeError):
            continue
        ids = found if isinstance(found, list) else [found]
        if stops := {each for each in ids if isinstance(each, int)}:
            return frozenset(stops)
    return frozenset()


def named_tokens(config: Mapping[str, Any]) -> dict[str, str]:
    """The named special tokens of a configuration; each is a string or ``{"content": ...}``."""
    found = {name: _content(config.get(name)) for name in NAMED}
    return {name: text for name, text in found.items() if text}


def _content(token: object) -> str:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else ""


def _added(config: Mapping[str, Any]) -> tuple[AddedToken, ...]:
    """Added tokens as the configuration repeats them, in the order of their ids."""
    table = config.get("added_tokens_decoder")
    if not isinstance(table, dict):
        return ()
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    return tuple(
        AddedToken(_content(token), **{flag: bool(token.get(flag, False)) for flag in flags})
        for _, token in sorted(table.items(), key=lambda item: (len(item[0]), item[0]))
        if isinstance(token, dict) and _content(token)
    )


def _extra(config: Mapping[str, Any]) -> tuple[AddedToken, ...]:
    """Special tokens that the configuration names beside the usual ones."""
    found: list[str] = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        more = config.get(key) or ()
        found += map(_content, more.values() if isinstance(more, dict) else more)
    return tuple(
        AddedToken(text, special=True, normalized=False) for text in dict.fromkeys(found) if text
    )


def _template(folder: Path, config: Mapping[str, Any]) -> str:
    """The chat template: its own file first, then the configuration, then the named ones."""
    own = folder / "chat_template.jinja"
    if own.exists():
        return _read(own)
    inline = config.get("chat_template")
    if isinstance(inline, list):
        named = {
            str(item.get("name")): item.get("template") for item in inline if isinstance(item, dict)
        }
        inline = named.get("default")
    if isinstance(inline, str) and inline:
        return inline
    older = _read_json(folder / "chat_template.json").get("chat_template")
    if isinstance(older, str) and older:
        return older
    default = folder / "additional_chat_templates" / "default.jinja"
    return _read(default) if default.exists() else ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInput("no such file", where=str(path), mend=_MEND) from error
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8: byte {error.start}", where=str(path)) from error
    except OSError as error:
        raise Unavailable(f"cannot read: {error.strerror}", where=str(path)) from error


def _read_json(path: Path, *, required: bool = False) -> dict[str, Any]:
    if not required and not path.exists():
        return {}
    return decode(_read(path), where=str(path), mend=_MEND)


def build(description: bytes, where: str) -> Tokenizer:
    """The tokenizer that a ``tokenizer.json`` describes.

    Raises:
        BadInput: none can be made of it; ``where`` is what the error names.
    """
    try:
        return Tokenizer.from_str(description.decode())
    except Exception as error:  # tokenizers raises bare Exception
        raise BadInput(
            f"broken tokenizer.json: {error}",
            where=where,
            mend="take the file from the base's own repository",
        ) from error


def complete(
    spec: Mapping[str, Any],
    more: tuple[Iterable[AddedToken], Mapping[str, str], Iterable[AddedToken]],
    where: str,
) -> dict[str, Any]:
    """The description of the tokenizer with the tokens that its configuration adds.

    Args:
        spec: a parsed ``tokenizer.json``.
        more: the added tokens, the named ones, and the extra ones of the configuration.
        where: what errors name.

    Raises:
        BadInput: tokens have to be added, and no tokenizer can be made of ``spec``.
    """
    added, named, extra = more
    # A named token is special whatever the file says: content may not write it.
    unmarked = set(named.values())
    known = {
        token["content"]
        for token in spec.get("added_tokens") or []
        if token["special"] or token["content"] not in unmarked
    }
    special = (AddedToken(text, special=True, normalized=False) for text in named.values())
    missing: dict[str, AddedToken] = {}
    for token in (*added, *special, *extra):
        if token.content not in known:
            missing.setdefault(token.content, token)
    if not missing and "added_tokens" in spec:
        return dict(spec)
    tokenizer = build(msgspec.json.encode(spec), where)
    tokenizer.add_tokens(list(missing.values()))
    whole: dict[str, Any] = msgspec.json.decode(tokenizer.to_str())
    return whole
