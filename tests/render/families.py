"""Public chat templates of other families, each on a real tokenizer with its special tokens.

TRL ships the templates as their vendors publish them; they are read from the installed package.
"""

from __future__ import annotations

from copy import copy
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trl
from tokenizers import AddedToken

from tests.once import made_once
from tests.render.conftest import Base, MakeBase
from tests.render.templates import CHATML, ZEPHYR

TRL_TEMPLATES = Path(trl.__file__).parent / "chat_templates"


def trl_template(name: str) -> str:
    """The template ``name`` (without ``.jinja``) as TRL ships it."""
    return (TRL_TEMPLATES / f"{name}.jinja").read_text(encoding="utf-8")


class Family(msgspec.Struct, frozen=True):
    """A template, the real tokenizer under it, and the special tokens that it needs.

    ``strips``: the tokens swallow white space after them, as Phi 3's do.
    """

    template: str
    tokenizer: str
    special: tuple[str, ...] = ()
    bos: str = ""
    eos: str = ""
    strips: bool = False


_CHATML = ("<|im_start|>", "<|im_end|>")
_THINK = (*_CHATML, "<think>", "</think>")
_LLAMA = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>", "<|eom_id|>")
#: Tekken is the one of these tokenizers that cuts line breaks as those of Llama 3 and Qwen do. It
#: is large, so it is made once; Qwen's templates print neither BOS nor EOS.
_TEKKEN = ("tekken-v3", (*_THINK, *_LLAMA), "<|begin_of_text|>", "<|eot_id|>")
_GEMMA = ("<start_of_turn>", "<end_of_turn>")
_PHI = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")

FAMILIES = {
    "chatml": Family(CHATML, "smollm2", (*_CHATML, *_LLAMA), eos="<|im_end|>"),
    "eurollm": Family(CHATML, "v3", _CHATML, "<s>", "<|im_end|>"),
    "zephyr": Family(ZEPHYR, "v1", (), "<s>", "</s>"),
    "llama3": Family(trl_template("llama3"), *_TEKKEN),
    "llama3.1": Family(trl_template("llama3_1"), *_TEKKEN),
    "llama3.2": Family(trl_template("llama3_2"), *_TEKKEN),
    "qwen2.5": Family(trl_template("qwen2_5"), *_TEKKEN),
    "qwen3": Family(trl_template("qwen3"), *_TEKKEN),
    "qwen3-2507": Family(trl_template("qwen3_instruct_2507"), *_TEKKEN),
    "gemma2": Family(trl_template("gemma"), "v3", _GEMMA, "<bos>", "<eos>"),
    "gemma3": Family(trl_template("gemma3"), "v3", _GEMMA, "<bos>", "<eos>"),
    "phi3": Family(trl_template("phi3"), "v3", _PHI, "<s>", "<|endoftext|>", strips=True),
    "phi3.5": Family(trl_template("phi3_5"), "v3", _PHI, "<s>", "<|endoftext|>"),
}
#: These trim every content.
TRIM = ("llama3", "llama3.1", "llama3.2", "gemma2", "gemma3")
#: These show an ordinary session at every turn as they showed it before.
APPEND = tuple(name for name in FAMILIES if name != "qwen3")


class FamilyBase(Base):
    """A base whose tokenizer several families share, under the template of one of them."""

    def __init__(self, shared: Base, template: str) -> None:
        self.folder = shared.folder
        self.vendor = None
        self.ours = shared.ours.with_template(template)
        self._shared, self._template = shared, template

    @cached_property
    def theirs(self) -> Any:
        theirs = copy(self._shared.theirs)
        theirs.chat_template = self._template
        return theirs


def family_maker(bases: MakeBase, factory: pytest.TempPathFactory) -> MakeBase:
    """Makes the base of a family by its name."""
    keys = list(dict.fromkeys(map(_shares, FAMILIES.values())))

    @cache
    def shared(tokenizer: str, bos: str, eos: str, strips: bool) -> Base:
        key = (tokenizer, bos, eos, strips)
        special = {
            text
            for family in FAMILIES.values()
            if _shares(family) == key
            for text in family.special
        }

        def fill(folder: Path) -> None:
            _save(bases(tokenizer), folder, sorted(special), bos, eos, strips)

        return Base(made_once(factory, f"families/{keys.index(key)}", fill))

    @cache
    def make(name: str) -> Base:
        family = FAMILIES[name]
        return FamilyBase(shared(*_shares(family)), family.template)

    return make


def _shares(family: Family) -> tuple[str, str, str, bool]:
    return family.tokenizer, family.bos, family.eos, family.strips


def _save(base: Base, folder: Path, special: list[str], bos: str, eos: str, strips: bool) -> None:
    """Save the tokenizer of ``base`` with more special tokens to ``folder``."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(str(base.folder), local_files_only=True)
    tokenizer.add_tokens(
        [AddedToken(text, special=True, normalized=False, rstrip=strips) for text in special],
        special_tokens=True,
    )
    named = {"bos_token": bos, "eos_token": eos}
    tokenizer.add_special_tokens({name: text for name, text in named.items() if text})
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(folder)
