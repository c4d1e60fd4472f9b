"""Any GGUF works as a base: converted once, with its tokenizer and template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sekft_engine.bases import cache_root, resolve
from sekft_engine.bases.resolve import ready_base, resolve_base
from sekft_engine.bases.store import check_base
from sekft_engine.data.trajectory import Turn
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import events, jobs
from sekft_engine.render.template.prompt import encode_prompt
from tests.documents import document

WIDTH, LAYERS, HEADS, INNER = 64, 1, 4, 96


@pytest.fixture(scope="module")
def gguf_file(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama of random weights as GGUF, with the tokenizer and template of SmolLM2."""
    from gguf import GGUFWriter, TokenType

    spec = json.loads((smollm2 / "tokenizer.json").read_text())
    vocab = sorted(spec["model"]["vocab"].items(), key=lambda item: item[1])
    special = {token["id"] for token in spec["added_tokens"]}
    merges = spec["model"]["merges"]
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_vocab_size(len(vocab))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list([token for token, _ in vocab])
    writer.add_token_types(
        [TokenType.CONTROL if id_ in special else TokenType.NORMAL for _, id_ in vocab]
    )
    writer.add_token_merges(
        [merge if isinstance(merge, str) else " ".join(merge) for merge in merges]
    )
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_chat_template((smollm2 / "chat_template.jinja").read_text())
    random = np.random.default_rng(0)

    def tensor(name: str, *shape: int) -> None:
        writer.add_tensor(name, (random.standard_normal(shape) * 0.05).astype(np.float32))

    tensor("token_embd.weight", len(vocab), WIDTH)
    tensor("output_norm.weight", WIDTH)
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        tensor(f"blk.0.{part}.weight", WIDTH, WIDTH)
    for part in ("ffn_gate", "ffn_up"):
        tensor(f"blk.0.{part}.weight", INNER, WIDTH)
    tensor("blk.0.ffn_down.weight", WIDTH, INNER)
    for part in ("attn_norm", "ffn_norm"):
        tensor(f"blk.0.{part}.weight", WIDTH)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def prepared(base: Path) -> dict[str, Any]:
    """What the engine answers that is asked to have ``base`` lie ready."""
    from sekft_engine.engine.engine import Engine

    ended: list[events.Event] = []
    engine = Engine()
    engine.subscribe(lambda event: ended.append(event) if event_ends(event) else None)
    engine.start()
    engine.submit(jobs.Prepare(base=str(base)))
    engine.close(timeout=None, drain=True)
    assert engine.residence.base is None, "it is not loaded"
    (end,) = ended
    assert isinstance(end, events.JobDone)
    return document(end.result)


def event_ends(event: events.Event) -> bool:
    return isinstance(event, events.ENDINGS)


def test_a_gguf_file_is_a_base_and_is_converted_once(
    gguf_file: Path, smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEKFT_CACHE", str(tmp_path))
    said: list[tuple[str, int, int]] = []
    assert ready_base(str(gguf_file)) is None, "to be converted first"
    folder = resolve_base(str(gguf_file), report=lambda *how_far: said.append(how_far))
    assert folder.parent == cache_root()
    assert said[0] == ("converting", 0, 0), "before the file is read, which takes long"
    assert {what for what, _, _ in said} == {"converting", "writing safetensors"}
    assert check_base(folder).ok

    def forbidden(*_: Any, **__: Any) -> None:
        raise AssertionError("it must not convert again")

    monkeypatch.setattr(resolve, "convert_gguf", forbidden)
    assert resolve_base(str(gguf_file)) == folder
    assert prepared(gguf_file) == {"base": str(gguf_file), "path": str(folder)}
    assert ready_base(str(gguf_file)) == folder
    base = ResidentBase.load(folder)
    turns = [Turn(role="user", content="ls  -l\n10 234  x")]
    ids = encode_prompt(base.tokenizer, turns)
    assert ids == encode_prompt(type(base.tokenizer).load(smollm2), turns)
    with torch.no_grad():
        assert torch.isfinite(base.model(input_ids=torch.tensor([ids])).logits).all()
    assert base.model.dtype == torch.float32
    assert not hasattr(base.model.config, "quantization_config")
