"""Failure modes 21 and 22: a render that outlives its template, and an adapter under another."""

from __future__ import annotations

from pathlib import Path

import pytest

from sekft_engine.core.errors import DigestMismatch
from sekft_engine.data.clock import Clock
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.trajectory import Trajectory
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import AdapterMeta, read_meta
from sekft_engine.render import ChatTokenizer, Dropped, Row
from sekft_engine.render.bulk.cache import cached_rows
from sekft_engine.render.rows.audit import audit
from sekft_engine.render.template.prompt import encode_prompt
from tests.render.conftest import Base, MakeBase
from tests.render.families import trl_template
from tests.render.sessions import PLAIN, session
from tests.render.templates import CHATML
from tests.render.test_equals_transformers import row


def test_21_every_part_of_a_render_is_in_its_digest(smol: Base) -> None:
    """Template, named tokens, tokenizer: whatever changes the ids changes the digest."""
    seen = {smol.ours.render_digest}
    for source in (CHATML, CHATML + " ", trl_template("qwen2_5")):
        seen.add(smol.ours.with_template(source).render_digest)
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


def test_21_a_template_that_prints_the_date_prints_one_date(families: MakeBase) -> None:
    """Llama 3.2 prints the day. A run that goes on past midnight must neither mix two days in one
    data set nor refuse what it took a minute before."""
    tokenizer = families("llama3.2").ours.with_clock(Clock("2027-03-31T23:59:59.999999"))
    before = row(PLAIN, tokenizer)
    assert "Today Date: 31 Mar 2027" in before.text
    longer = session(*(turn.content for turn in PLAIN.turns), "$", "exit")
    for one in (PLAIN, longer):
        after = row(one, tokenizer)
        assert "Today Date: 31 Mar 2027" in after.text
        assert audit(after, tokenizer).ok
    assert row(PLAIN, tokenizer).ids.tolist() == before.ids.tolist()
    assert encode_prompt(tokenizer, PLAIN.turns[:1]) == before.ids[: before.spans[0].start].tolist()
    # A base that is loaded the next day has the next day's date.
    fresh = families("llama3.2").ours.with_clock(Clock("2027-04-01T00:00:00"))
    assert "Today Date: 01 Apr 2027" in row(PLAIN, fresh).text


def test_21_a_kept_row_does_not_outlive_its_template_its_content_or_its_day(
    smol: Base, families: MakeBase, tmp_path: Path
) -> None:
    """Whatever stands in the cache: what comes out of it is what would be built now."""

    def kept(tokenizer: ChatTokenizer, *sessions: Trajectory) -> list[Row | Dropped]:
        return list(cached_rows(sessions, tokenizer, folder=tmp_path))

    changed = session(*(turn.content.replace("ls -la", "ls -l") for turn in PLAIN.turns))
    tokenizers = [
        smol.ours,
        smol.ours.with_template(CHATML),
        smol.ours.with_template(CHATML.replace("user", "human")),
        families("eurollm").ours,
    ]
    for _ in range(2):
        for tokenizer in tokenizers:
            for one, found in zip((PLAIN, changed), kept(tokenizer, PLAIN, changed), strict=True):
                fresh = row(one, tokenizer)
                assert isinstance(found, Row)
                assert found.ids.tolist() == fresh.ids.tolist()
                assert found.labels.tolist() == fresh.labels.tolist()
                assert found.render_digest == tokenizer.render_digest
                assert audit(found, tokenizer).ok
    # A template that prints the date: the same digest, another day, another row.
    dated = families("llama3.2").ours
    for day, shown in (("2027-03-31", "31 Mar 2027"), ("2027-04-01", "01 Apr 2027")):
        (found,) = kept(dated.with_clock(Clock(f"{day}T12:00:00")), PLAIN)
        assert isinstance(found, Row)
        assert f"Today Date: {shown}" in found.text
        assert shown in dated.decode(found.ids)
