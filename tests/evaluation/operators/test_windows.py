"""Bases whose layers look back only so far, or keep a state of another kind, are decoded as they
compute, at full length; and a limit that ends sessions is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.core.errors import SekftError, Unavailable
from sekft_engine.data.scenario import Scenario
from sekft_engine.evaluation.report.tables import tables
from sekft_engine.operators import parity
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.local import CONTEXT, context_limit
from sekft_engine.operators.parity import choose_decoding
from sekft_engine.operators.single import SingleDecoder
from sekft_engine.operators.windows import Windows, windows_of
from sekft_engine.records import jobs
from sekft_engine.records.evals import EvalResult
from tests.documents import run_document
from tests.evaluation.operators.test_decode import whole
from tests.models import TOKENIZER_FILES

STOP = 2
WINDOW = 16
SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": STOP,
}
SLIDING, FULL = "sliding_attention", "full_attention"
#: Family -> class of its configuration, and what it has beside SIZES.
WINDOWED: dict[str, tuple[str, dict[str, Any]]] = {
    "mistral": ("MistralConfig", {"sliding_window": WINDOW}),
    "phi3": ("Phi3Config", {"sliding_window": WINDOW}),
    "gemma2": ("Gemma2Config", {"sliding_window": WINDOW, "attn_implementation": "eager"}),
    "gemma3": (
        "Gemma3TextConfig",
        {"sliding_window": WINDOW, "layer_types": [SLIDING, SLIDING, FULL, SLIDING]},
    ),
    "qwen2": (
        "Qwen2Config",
        {"sliding_window": WINDOW, "use_sliding_window": True, "max_window_layers": 2},
    ),
    "cohere2": ("Cohere2Config", {"sliding_window": WINDOW}),
    "olmo3": ("Olmo3Config", {"sliding_window": WINDOW}),
    "gpt_oss": (
        "GptOssConfig",
        {
            "sliding_window": WINDOW,
            "attn_implementation": "eager",
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
        },
    ),
    "llama4": (
        "Llama4TextConfig",
        {
            "attention_chunk_size": WINDOW,
            "intermediate_size": 32,
            "intermediate_size_mlp": 64,
            "num_local_experts": 2,
        },
    ),
}
#: Bases that keep a state of another kind, which the batched decoder's cache does not hold.
HYBRID: dict[str, tuple[str, dict[str, Any]]] = {
    "lfm2": ("Lfm2Config", {"layer_types": ["conv", FULL] * 2}),
    "falcon_h1": (
        "FalconH1Config",
        {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8},
    ),
    "mamba": ("MambaConfig", {}),
    "qwen3_next": ("Qwen3NextConfig", {}),
}


def model_of(family: str, seed: int = 0, **changes: Any) -> Any:
    """A model with random weights that are large enough for attention to matter."""
    import torch
    import transformers

    name, more = (WINDOWED | HYBRID)[family]
    config = getattr(transformers, name)(**SIZES | more | changes)
    torch.manual_seed(seed)
    # The name of an attention that the configuration asked for, else the class's own.
    chosen = config._attn_implementation
    attention = {"attn_implementation": chosen} if chosen else {}
    made = transformers.AutoModelForCausalLM.from_config(config, **attention).eval()
    with torch.no_grad():
        for weight in made.parameters():
            if weight.dim() > 1:
                torch.nn.init.normal_(weight, std=0.15)
    return made


def generated(model: Any, ids: list[int], count: int) -> list[int]:
    """The oracle: transformers' own greedy loop with its own caches."""
    import torch

    out = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=STOP,
        pad_token_id=0,
    )
    new: list[int] = out[0, len(ids) :].tolist()
    return new


@pytest.mark.parametrize("family", WINDOWED)
def test_sessions_longer_than_the_window_are_decoded_as_generate_decodes_them(family: str) -> None:
    """Several rows side by side, over several turns, to many times the window."""
    model = model_of(family)
    assert choose_decoding(model, [STOP], context=512).make is BatchedDecoder
    history = {
        f"row{number}": [(7 * number + 13 * at * at) % 290 + 3 for at in range(length)]
        for number, length in enumerate((5, 60, 33))
    }
    decoder = BatchedDecoder(model, stop_ids=[STOP])
    feeds = {key: list(ids) for key, ids in history.items()}
    for key in history:
        decoder.add(key)
    for turn in range(3):
        for key, said in decoder.turns(feeds, dict.fromkeys(feeds, 9)).items():
            assert whole(said) == generated(model, history[key], 9)
            history[key] += whole(said)
        feeds = {key: [(at * 31 + turn) % 290 + 3 for at in range(7)] for key in history}
        for key, ids in feeds.items():
            history[key] += ids
    assert max(map(len, history.values())) > 5 * WINDOW


def test_a_window_is_no_limit_of_an_episode() -> None:
    config = model_of("gemma3").config
    assert context_limit(config).limit == SIZES["max_position_embeddings"]
    assert context_limit(config).by == "the base"
    assert context_limit(config, 100).limit == 100
    assert context_limit(model_of("mistral", max_position_embeddings=32768).config).limit == CONTEXT


@pytest.mark.parametrize("family", WINDOWED)
def test_masks_that_ignore_windows_do_not_pass_the_proof(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proof is a real one: with the full mask it fails, and another way is taken."""

    def all_before(self: Windows, slots: Any, column: Any, kind: str) -> Any:
        return column <= slots

    model = model_of(family)
    monkeypatch.setattr(Windows, "causal_mask", all_before)
    chosen = choose_decoding(model, [STOP], context=512)
    assert chosen.make is SingleDecoder
    assert "differ" in chosen.note
    assert choose_decoding(model, [STOP], context=WINDOW).make is BatchedDecoder


def test_the_proof_leaves_the_model_as_it_was() -> None:
    model = model_of("gemma3")
    model.train()
    model.model.layers[1].eval()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    training = [module.training for module in model.modules()]
    config = model.config.to_dict()
    choose_decoding(model, [STOP], context=512)
    assert model.config.to_dict() == config
    assert [module.training for module in model.modules()] == training
    assert all(bool((before[name] == now).all()) for name, now in model.state_dict().items())


def test_what_layers_see_is_what_transformers_has_them_see() -> None:
    import torch
    from transformers import masking_utils

    slots, column = torch.arange(1, 13)[None, :, None], torch.arange(13)
    for kind, rule in (
        (SLIDING, masking_utils.sliding_window_causal_mask_function(4)),
        ("chunked_attention", masking_utils.chunked_causal_mask_function(4, torch.zeros(1).int())),
        (FULL, masking_utils.causal_mask_function),
    ):
        windows = Windows(reach={kind: None if kind == FULL else 4}, named=False)
        mask = windows.causal_mask(slots, column, kind)[0, :, 1:]
        places = torch.arange(12)
        theirs = [[bool(rule(0, 0, query, key)) for key in places] for query in places]
        assert mask.tolist() == theirs


@pytest.mark.parametrize("family", HYBRID)
def test_a_base_with_another_kind_of_state_is_decoded_as_generate_decodes_it(family: str) -> None:
    """Row by row with the model's own cache, over several turns."""
    model = model_of(family)
    chosen = choose_decoding(model, [STOP], context=512)
    assert "keep a state of their own" in chosen.note
    decoder = chosen.make(model, stop_ids=[STOP])
    history = {"a": [3, 44, 5, 99, 7], "b": [8, 120, 9] * 7}
    feeds = {key: list(ids) for key, ids in history.items()}
    for key in history:
        decoder.add(key)
    for turn in range(3):
        for key, said in decoder.turns(feeds, dict.fromkeys(feeds, 5)).items():
            assert whole(said) == generated(model, history[key], 5)
            history[key] += whole(said)
            assert decoder.length(key) == len(history[key])
        feeds = {key: [(at * 31 + turn) % 290 + 3 for at in range(4)] for key in history}
        for key, ids in feeds.items():
            history[key] += ids
    decoder.drop(["a"])
    assert decoder.length("a") == 0


def test_a_base_without_a_cache_is_decoded_in_whole_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last way there is: a model whose cache does not give what whole passes give."""
    model = model_of("lfm2")
    monkeypatch.setattr(parity, "_WAYS", parity._WAYS[2:])
    decoder = choose_decoding(model, [STOP], context=512).make(model, stop_ids=[STOP])
    decoder.add("a")
    said = decoder.turns({"a": [3, 44, 5, 99, 7]}, {"a": 5})["a"]
    assert whole(said) == generated(model, [3, 44, 5, 99, 7], 5)


def test_a_base_that_no_way_decodes_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "_WAYS", parity._WAYS[:1])
    with pytest.raises(Unavailable, match=r"lfm2: .*cannot be decoded here.*--endpoint"):
        choose_decoding(model_of("lfm2"), [STOP], context=512)


def test_layers_that_nobody_knows_are_not_decoded_in_batches() -> None:
    class Config:
        model_type = "novel"
        layer_types = ("full_attention", "quantum_attention")

    with pytest.raises(Unavailable, match="novel: layers of the kind quantum_attention"):
        windows_of(Config())


# --- evals ----------------------------------------------------------------------------------------


@pytest.fixture
def bundles(tmp_path: Path, make_scenario: Callable[..., Scenario]) -> Path:
    folder = tmp_path / "holdout"
    folder.mkdir()
    for number in range(2):
        scenario = make_scenario(f"s{number}")
        (folder / f"{scenario.id}.json").write_text(json.dumps(scenario.to_json()))
    return folder


def saved(family: str, folder: Path, tokenizer_from: Path, **changes: Any) -> Path:
    model_of(family, vocab_size=49152, **changes).save_pretrained(folder)
    for name in TOKENIZER_FILES:
        shutil.copy(tokenizer_from / name, folder / name)
    return folder


def job(base: Path, bundles: Path, out: Path, **changes: Any) -> jobs.Evaluate:
    fields: dict[str, Any] = {"n": 2, "step_cap": 3, "turn_tokens": 6, "out": str(out)} | changes
    return jobs.Evaluate(base=str(base), scenarios=str(bundles), **fields)


def test_an_eval_of_a_windowed_base_ends_by_no_window(
    bundles: Path, tmp_path: Path, smollm2: Path
) -> None:
    base = saved("gemma3", tmp_path / "gemma", smollm2, max_position_embeddings=2048)
    report = run_document(job(base, bundles, tmp_path / "run"))
    (subject,) = report["subjects"]
    assert (subject["n"], subject["limits"]) == (2, {"commands": 2})
    assert report["context"] == {"limit": 2048, "by": "the base"}
    assert report["warnings"] == []


def test_a_limit_that_ended_sessions_is_told_with_its_size(
    bundles: Path, tmp_path: Path, tiny_base: Path
) -> None:
    asked = job(tiny_base, bundles, tmp_path / "run", step_cap=12, context=100)
    report = run_document(asked)
    assert report["subjects"][0]["limits"] == {"context": 2}
    (warning,) = report["warnings"]
    assert warning["name"] == "context_limit"
    assert "2 of 2 episodes of base (100%)" in warning["text"]
    assert "the limit of --context is 100 tokens" in tables(msgspec.convert(report, EvalResult))
    other = job(tiny_base, bundles, tmp_path / "run", step_cap=12, resume=True)
    with pytest.raises(SekftError, match="its context differs"):
        run_document(other)


def test_what_leaves_no_room_ends_before_a_world_opens(
    bundles: Path, tmp_path: Path, tiny_base: Path
) -> None:
    with pytest.raises(SekftError, match=r"no episode has room .* is 20 ids"):
        run_document(job(tiny_base, bundles, tmp_path / "run", context=20))
