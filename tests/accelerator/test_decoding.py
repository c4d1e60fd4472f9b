"""Decoding on a card: the same ids as on the CPU, and one wait for each token."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

from sekft_engine.data.recipe import Recipe
from sekft_engine.model.kernels.mixed_lora import MixedLora
from sekft_engine.model.resident import ResidentBase
from sekft_engine.operators.decode import BatchedDecoder
from sekft_engine.operators.decoder import SampledTurn
from sekft_engine.operators.mixing import acting
from sekft_engine.operators.parity import choose_decoding
from sekft_engine.operators.single import SingleDecoder
from tests.accelerator.simulated import SimTensor, record
from tests.accelerator.watch import cpu_tensors

STOP = 2
Turns = list[Mapping[str, SampledTurn]]


def prompt(seed: int, length: int) -> list[int]:
    return [(7 * seed + 13 * at * at) % 40000 + 3 for at in range(length)]


def with_adapters(base: ResidentBase) -> ResidentBase:
    """Two adapters that change what the base says; the same on every device."""
    for number, name in enumerate(("one", "two")):
        base.new_adapter(name, Recipe(rank=4, alpha=64, seed=number))
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            for weight in base.trainable(name):
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    base.activate(None)
    return base


def session(base: ResidentBase, make: Callable[..., Any], **options: Any) -> Turns:
    """Rows of unequal length, two that share a prefix, one that leaves and one that takes its
    place, over three turns; the bare base, then each adapter, with a decoder of their own."""
    found: Turns = []
    for name in (None, "one", "two"):
        base.activate(name)
        decoder = make(base.model, stop_ids=[STOP], **options)
        rows = {f"row{n}": prompt(n, length) for n, length in enumerate((5, 90, 17))}
        rows["like row1"] = [*rows["row1"][:80], 9, 8, 7]
        for number, key in enumerate(rows):
            decoder.add(key, seed=number)
        found.append(decoder.turns(rows, dict.fromkeys(rows, 6)))
        decoder.drop(["row0"])
        decoder.add("new", seed=9)
        feeds = {"row1": prompt(4, 3), "new": prompt(5, 40), "row2": prompt(6, 11)}
        found.append(decoder.turns(feeds, dict.fromkeys(feeds, 5)))
        feeds = {"new": prompt(7, 2)}
        found.append(decoder.turns(feeds, dict.fromkeys(feeds, 3)))
    base.activate(None)
    return found


def assert_same(found: Turns, expected: Turns) -> None:
    for turns, others in zip(found, expected, strict=True):
        assert turns.keys() == others.keys()
        for key, turn in turns.items():
            assert (turn.ids, turn.stop) == (others[key].ids, others[key].stop), key
            assert turn.logprobs == pytest.approx(others[key].logprobs, abs=1e-3)


@pytest.mark.parametrize(
    ("make", "temperature"), [(BatchedDecoder, 0.0), (BatchedDecoder, 0.8), (SingleDecoder, 0.0)]
)
def test_ids_are_those_of_the_cpu(
    on_cpu: ResidentBase, on_device: ResidentBase, make: Callable[..., Any], temperature: float
) -> None:
    found = session(with_adapters(on_device), make, temperature=temperature)
    expected = session(with_adapters(on_cpu), make, temperature=temperature)
    assert_same(found, expected)
    assert len({tuple(sorted((k, v.ids) for k, v in turns.items())) for turns in found[::3]}) == 3


def mixed(base: ResidentBase) -> tuple[BatchedDecoder, dict[str, list[int]]]:
    """A decoder with rows of two adapters and of the bare base, and their prompts."""
    decoder = BatchedDecoder(base.model, stop_ids=[STOP], mixing=MixedLora(base.model))
    names = ("one", None, "two", "one", None)
    for number, name in enumerate(names):
        decoder.add(f"row{number}", acting=acting(base, name))
    return decoder, {f"row{number}": prompt(number, 5 + 9 * number) for number in range(len(names))}


def test_rows_of_several_adapters_get_the_ids_of_the_cpu(
    on_cpu: ResidentBase, on_device: ResidentBase
) -> None:
    turns: Turns = []
    for base in (on_device, on_cpu):
        decoder, feeds = mixed(with_adapters(base))
        turns.append(decoder.turns(feeds, dict.fromkeys(feeds, 6)))
    assert_same(turns[:1], turns[1:])


def test_a_token_of_a_mixed_batch_waits_once_for_the_card(on_device: ResidentBase) -> None:
    decoder, feeds = mixed(with_adapters(on_device))
    for key, ids in feeds.items():
        decoder.feed(key, ids, 8)
    decoder.step()
    record.clear()
    decoder.step()
    assert sum(record.waits.values()) == 1


def test_the_batched_decoder_is_chosen_on_a_card(on_device: ResidentBase) -> None:
    chosen = choose_decoding(on_device.model, [STOP], context=512)
    assert (chosen.make, chosen.why) == (BatchedDecoder, "")


@pytest.mark.parametrize(("temperature", "waits"), [(0.0, 1), (0.8, 2)])
def test_a_token_waits_once_for_the_card_and_once_more_where_it_is_sampled(
    on_device: ResidentBase, temperature: float, waits: int
) -> None:
    """The ids decide what is fed next, so they must be read. Draws are made on the CPU, by a
    generator for each row, so that its company changes none; that reads the shares."""
    decoder = BatchedDecoder(on_device.model, stop_ids=[STOP], temperature=temperature)
    for number in range(3):
        decoder.add(f"row{number}")
        decoder.feed(f"row{number}", prompt(number, 5 + 9 * number), 8)
    decoder.step()
    record.clear()
    decoder.step()
    assert {wait.where for wait in record.waits} <= {
        "operators/decoder.py:Decoder._choose",
        "operators/decoder.py:Decoder._drawn",
    }
    assert sum(record.waits.values()) == waits


def test_keys_values_and_masks_stay_on_the_card(on_device: ResidentBase) -> None:
    decoder = BatchedDecoder(on_device.model, stop_ids=[STOP])
    for number in range(2):
        decoder.add(f"row{number}")
        decoder.feed(f"row{number}", prompt(number, 7 + number), 4)
    with cpu_tensors() as made:
        decoder.step()
        decoder.step()
    assert set(made) <= {  # what is uploaded and what is read
        "operators/decode.py:BatchedDecoder._forward",
        "operators/decoder.py:Decoder._choose",
    }, made
    assert decoder._cache.keys
    for tensor in (*decoder._cache.keys, *decoder._cache.values):
        assert isinstance(tensor, SimTensor)
