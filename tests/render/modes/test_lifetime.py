"""Failure modes 21 and 22: a render that outlives its template, and an adapter under another."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekft_engine.adapters import AdapterMeta, read_meta
from sekft_engine.base import ResidentBase
from sekft_engine.errors import DigestMismatch
from sekft_engine.recipe import Recipe
from tests.render.conftest import Base
from tests.render.families import trl_template
from tests.render.sessions import PLAIN
from tests.render.templates import CHATML
from tests.render.test_equals_transformers import row


def test_21_every_part_of_a_render_is_in_its_digest(smol: Base) -> None:
    """Template, named tokens, tokenizer: whatever changes the ids changes the digest."""
    seen = {smol.ours.render_digest}
    for template in (CHATML, CHATML + " ", trl_template("qwen2_5")):
        seen.add(smol.ours.with_template(template).render_digest)
    tokens = smol.ours.tokens | {"bos_token": "<|endoftext|>"}
    other = type(smol.ours)(smol.ours.spec, smol.ours.template.source, tokens)
    seen.add(other.render_digest)
    assert len(seen) == 5
    assert row(PLAIN, smol.ours).render_digest == smol.ours.render_digest


def test_22_an_adapter_is_refused_where_the_base_has_another_template(
    tiny_base_copy: Path, tmp_path: Path
) -> None:
    base = ResidentBase.load(tiny_base_copy)
    base.new_adapter("mine", Recipe(rank=2))
    base.save_adapter(
        "mine", tmp_path / "mine", AdapterMeta(base_digest=base.digest, render=base.render)
    )
    meta = read_meta(tmp_path / "mine")
    assert meta is not None
    assert meta.render == base.render
    # Somebody "repairs" the template of the same base: the weights are the same, the prompts not.
    (tiny_base_copy / "chat_template.jinja").write_text(CHATML, encoding="utf-8")
    changed = ResidentBase.load(tiny_base_copy)
    assert changed.digest == base.digest
    with pytest.raises(DigestMismatch, match="template"):
        changed.attach("mine", tmp_path / "mine")
    assert changed.adapters == {}
