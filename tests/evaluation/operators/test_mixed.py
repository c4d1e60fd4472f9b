"""Rows of several adapters share decoding steps, and each gets what it gets alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import JobFailed
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.kernels.mixed_lora import MixedLora
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.decoder import Sampling
from sekft_engine.operators.mixing import acting, prove_mixing
from sekft_engine.operators.single import SingleDecoder
from tests.model.adapters import LINEAR, resident, save_peft

STOP, ADAPTERS = 2, 32


def prompt(seed: int, length: int) -> list[int]:
    return [(7 * seed + 13 * at * at) % 40000 + 3 for at in range(length)]


def strengthen(base: ResidentBase, name: str, seed: int, scale: float = 0.3) -> None:
    """Give a new adapter weights that change what the base says."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    slot = f".{base.slot(name)}."
    with torch.no_grad():
        for key, weight in base.model.named_parameters():
            if slot in key:
                weight.copy_(torch.randn(weight.shape, generator=generator) * scale)


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> ResidentBase:
    """The tiny base with 32 adapters of several ranks and targets."""
    import torch

    torch.set_num_threads(1)
    base = ResidentBase.load(tiny_base)
    for number in range(ADAPTERS):
        targets = "q_proj,v_proj" if number % 5 == 1 else "all-linear"
        recipe = Recipe(rank=2 + number % 3 * 2, alpha=8, seed=number, targets=targets)
        base.new_adapter(f"a{number}", recipe)
        strengthen(base, f"a{number}", number)
    base.activate(None)
    return base


def alone(base: ResidentBase, name: str | None, ids: list[int], count: int) -> tuple[int, ...]:
    """What transformers' own greedy loop gives with PEFT letting ``name`` act."""
    import torch

    base.activate(name)
    out = base.model.generate(
        torch.tensor([ids]),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=STOP,
        pad_token_id=0,
    )
    base.activate(None)
    new = tuple(out[0, len(ids) :].tolist())
    return new[:-1] if new[-1] == STOP else new


def decoder(base: ResidentBase, make: Any = BatchedDecoder, **options: Any) -> Any:
    return make(base.model, stop_ids=[STOP], mixing=MixedLora(base.model), **options)


def test_32_adapters_and_the_base_in_one_batch_give_the_tokens_that_each_gives_alone(
    base: ResidentBase,
) -> None:
    names: list[str | None] = [*base.adapters, None]
    mixed = decoder(base)
    feeds: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        mixed.add(str(name), acting=acting(base, name))
        feeds[str(name)] = prompt(number, 5 + 7 * number % 60)
    said = mixed.turns(feeds, dict.fromkeys(feeds, 8))
    for name in names:
        assert said[str(name)].ids == alone(base, name, feeds[str(name)], 8), name
    assert len({turn.ids for turn in said.values()}) > ADAPTERS // 2


@pytest.mark.parametrize("make", [BatchedDecoder, SingleDecoder])
def test_rows_of_other_adapters_come_and_go_without_a_trace(base: ResidentBase, make: Any) -> None:
    mixed = decoder(base, make)
    history: dict[str, list[int]] = {}
    feeds: Mapping[str, list[int]] = {"a0": prompt(1, 30), "a1": prompt(2, 9), "None": [5, 6, 7]}
    for turn in range(3):
        for key, ids in feeds.items():
            if key not in history:
                mixed.add(key, acting=acting(base, None if key == "None" else key))
            history[key] = history.get(key, []) + ids
        for key, sampled in mixed.turns(feeds, dict.fromkeys(feeds, 5)).items():
            name = None if key == "None" else key
            assert sampled.ids == alone(base, name, history[key], 5)
            history[key] += [*sampled.ids, *([] if sampled.stop is None else [sampled.stop])]
        leaving = next(iter(feeds))
        mixed.drop([leaving])
        del history[leaving]
        feeds = {key: [21, 22] for key in history} | {f"a{turn + 2}": prompt(turn, 20)}


def test_adapters_never_share_keys_and_values(base: ResidentBase) -> None:
    """Rows of one adapter and one beginning feed it once; those of another feed it again."""
    ids = prompt(3, 80)
    fed = []
    for names in (("a0", "a0"), ("a0", "a1"), ("a0", None)):
        mixed = decoder(base)
        for number, name in enumerate(names):
            mixed.add(str(number), acting=acting(base, name))
            turn = mixed.turns({str(number): [*ids, 10 + number]}, {str(number): 4})[str(number)]
            assert turn.ids == alone(base, name, [*ids, 10 + number], 4)
        fed.append(mixed.fed)
    assert fed[0] < 81 + 81
    assert fed[1] >= 2 * 81
    assert fed[2] >= 2 * 81


def test_what_is_active_in_peft_has_no_effect_on_a_mixed_batch(base: ResidentBase) -> None:
    expected = alone(base, None, [5, 6, 7], 4)
    for active in ("a3", None):
        base.activate(active)
        mixed = decoder(base)
        mixed.add("bare", acting=acting(base, None))
        assert mixed.turns({"bare": [5, 6, 7]}, {"bare": 4})["bare"].ids == expected
    base.activate(None)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_other_kinds_of_adapters_share_batches_too(
    family: str, tmp_path: Path, smollm2: Path
) -> None:
    """DoRA, biases and an adapter of the embedding beside plain LoRA and the bare base."""
    import torch

    base = resident(family, smollm2)
    layers = LINEAR[family]
    configs: dict[str, dict[str, Any]] = {
        "plain": {"target_modules": layers},
        "dora": {"target_modules": layers[:2], "use_dora": True},
        "biased": {"target_modules": layers[1:], "lora_bias": True},
        "embedding": {"target_modules": ["wte" if family == "gpt2" else "embed_tokens"]},
    }
    for number, (kind, config) in enumerate(configs.items()):
        fields = {"r": 4, **config}
        save_peft(family, tmp_path / kind, fields, seed=number, save_embedding_layers=False)
        base.attach(kind, tmp_path / kind)
    names: list[str | None] = [*configs, None]
    mixed = decoder(base)
    feeds = {str(n): [(5 * at * at + 3) % 90 for at in range(4 + i)] for i, n in enumerate(names)}
    for name in names:
        mixed.add(str(name), acting=acting(base, name))
    said = mixed.turns(feeds, dict.fromkeys(feeds, 3))
    for name in names:
        ids, turn = feeds[str(name)], said[str(name)]
        base.activate(name)
        with torch.inference_mode():
            logits = base.model(torch.tensor([[*ids, *turn.ids]]), use_cache=False).logits[0]
        own = logits.log_softmax(-1)[len(ids) - 1 :]
        expected = [float(own[at, token]) for at, token in enumerate(turn.ids)]
        assert turn.logprobs[: len(turn.ids)] == pytest.approx(expected, abs=1e-4), name
        assert turn.ids == tuple(own.argmax(-1)[: len(turn.ids)].tolist()), name
        base.activate(None)
        if name is not None:
            prove_mixing(base, name, BatchedDecoder, [STOP])


def test_each_row_draws_with_its_own_temperature_and_seed(base: ResidentBase) -> None:
    ids = prompt(2, 17)

    def draw(company: bool, **sampling: float) -> tuple[int, ...]:
        mixed = decoder(base)
        mixed.add("mine", seed=4, acting=acting(base, "a2"), sampling=Sampling(**sampling))  # type: ignore[arg-type]
        feeds = {"mine": ids}
        if company:
            for number, other in enumerate((0.0, 0.7, 1.3)):
                key = f"other{number}"
                mixed.add(key, acting=acting(base, "a1"), sampling=Sampling(other))
                feeds[key] = prompt(9, 8)
        turns: dict[str, Any] = mixed.turns(feeds, dict.fromkeys(feeds, 8))
        ids_of: tuple[int, ...] = turns["mine"].ids
        return ids_of

    for sampling in ({"temperature": 1.0}, {"temperature": 1.5, "top_p": 0.6}):
        assert draw(False, **sampling) == draw(True, **sampling)
    assert draw(False, temperature=1.0) != draw(False, temperature=0.0)
    # So little of the distribution that the likeliest id alone is left.
    assert draw(True, temperature=1.0, top_p=1e-6) == alone(base, "a2", ids, 8)


def test_the_likeliest_ids_come_with_their_logprobs(base: ResidentBase) -> None:
    mixed = decoder(base)
    mixed.add("row", acting=acting(base, "a1"), sampling=Sampling(top=3))
    mixed.add("other", acting=acting(base, "a2"))
    turns = mixed.turns({"row": [5, 6, 7], "other": [8, 9]}, {"row": 4, "other": 4})
    row = turns["row"]
    assert len(row.top) == len(row.logprobs)
    for (best, *rest), logprob in zip(row.top, row.logprobs, strict=True):
        assert best[1] == pytest.approx(logprob, abs=1e-5)
        assert [value for _, value in rest] == sorted((v for _, v in rest), reverse=True)
    assert turns["other"].top == ()


def test_an_adapter_gone_to_nan_ends_its_own_rows_alone(tiny_base: Path) -> None:
    base = ResidentBase.load(tiny_base)
    for number, name in enumerate(("good", "bad")):
        base.new_adapter(name, Recipe(rank=2))
        strengthen(base, name, number, scale=float("nan") if name == "bad" else 0.3)
    mixed = decoder(base, isolate=True)
    for name in ("good", "bad"):
        mixed.add(name, acting=acting(base, name))
    turns = mixed.turns({"good": [5, 6, 7], "bad": [5, 6, 7]}, {"good": 4, "bad": 4})
    assert "not finite" in turns["bad"].fault
    assert turns["good"].ids == alone(base, "good", [5, 6, 7], 4)
    with pytest.raises(JobFailed, match="not finite"):
        prove_mixing(base, "bad", BatchedDecoder, [STOP])
    prove_mixing(base, "good", BatchedDecoder, [STOP])


def test_adapters_on_a_base_in_4_bits_share_batches_too(tiny_base: Path) -> None:
    base = ResidentBase.load(tiny_base, load_4bit=True)
    for number, name in enumerate(("one", "two")):
        base.new_adapter(name, Recipe(rank=4))
        strengthen(base, name, number)
    for name in ("one", "two"):
        prove_mixing(base, name, BatchedDecoder, [STOP])
    mixed = decoder(base)
    for name in ("one", "two"):
        mixed.add(name, acting=acting(base, name))
    said = mixed.turns({"one": [5, 6, 7], "two": [5, 6, 7]}, {"one": 4, "two": 4})
    assert said["one"].ids != said["two"].ids
