"""Batched decoding gives each row what it would get alone, and plain ``generate`` gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sekft_engine.core.errors import Interrupted, JobFailed
from sekft_engine.operators import decode
from sekft_engine.operators.decode import BatchedDecoder, SampledTurn, _groups

STOP = 2


@pytest.fixture(scope="module")
def model(tiny_base: Path) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(1)
    return AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32).eval()


def prompts() -> dict[str, list[int]]:
    """Four prompts of very unequal length."""
    return {
        f"row{number}": [(7 * number + 13 * at * at) % 40000 + 3 for at in range(length)]
        for number, length in enumerate((5, 90, 17, 40))
    }


def generated(model: Any, ids: list[int], count: int) -> list[int]:
    """The oracle: transformers' own greedy loop over the whole history."""
    import torch

    out = model.generate(
        torch.tensor([ids]),
        max_new_tokens=count,
        do_sample=False,
        eos_token_id=STOP,
        pad_token_id=0,
    )
    new: list[int] = out[0, len(ids) :].tolist()
    return new


def whole(turn: SampledTurn) -> list[int]:
    return [*turn.ids, *([] if turn.stop is None else [turn.stop])]


def test_each_row_of_a_batch_gets_the_tokens_of_plain_generate_over_several_turns(
    model: Any,
) -> None:
    decoder = BatchedDecoder(model, stop_ids=[STOP])
    history = prompts()
    feeds = dict(history)
    for key in history:
        decoder.add(key)
    for turn in range(4):
        got = decoder.turns(feeds, dict.fromkeys(feeds, 12 + turn))
        for key, sampled in got.items():
            assert whole(sampled) == generated(model, history[key], 12 + turn)
            history[key] = history[key] + whole(sampled)
        feeds = {
            key: [(at * 31 + turn) % 9000 + 5 for at in range(3 + 20 * (number + turn) % 50)]
            for number, key in enumerate(history)
        }
        for key, ids in feeds.items():
            history[key] = history[key] + ids


def test_an_adapter_on_the_base_is_decoded_as_generate_decodes_it(tiny_base: Path) -> None:
    import torch

    from sekft_engine.data.recipe import Recipe
    from sekft_engine.model.resident import ResidentBase

    base = ResidentBase.load(tiny_base)
    base.new_adapter("mine", Recipe(rank=4))
    torch.manual_seed(3)
    for name, weight in base.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    base.activate("mine")
    said = {}
    for active in ("mine", None):
        base.activate(active)
        decoder = BatchedDecoder(base.model, stop_ids=[STOP])
        for key in prompts():
            decoder.add(key)
        got = decoder.turns(prompts(), dict.fromkeys(prompts(), 10))
        said[active] = {key: whole(turn) for key, turn in got.items()}
        for key, ids in prompts().items():
            assert said[active][key] == generated(base.model, ids, 10)
    assert said["mine"] != said[None]


def test_a_row_does_not_notice_who_else_is_in_the_batch_nor_when_they_leave(model: Any) -> None:
    alone = {}
    for key, ids in prompts().items():
        decoder = BatchedDecoder(model, stop_ids=[STOP])
        decoder.add(key)
        first = decoder.turns({key: ids}, {key: 9})[key]
        second = decoder.turns({key: [11, 12, 13]}, {key: 9})[key]
        alone[key] = (whole(first), whole(second))
    decoder = BatchedDecoder(model, stop_ids=[STOP])
    for key in prompts():
        decoder.add(key)
    first_turns = decoder.turns(prompts(), dict.fromkeys(prompts(), 9))
    decoder.drop(["row1"])
    left = [key for key in prompts() if key != "row1"]
    second_turns = decoder.turns({key: [11, 12, 13] for key in left}, dict.fromkeys(left, 9))
    for key in left:
        assert (whole(first_turns[key]), whole(second_turns[key])) == alone[key]
    decoder.add("late")
    late = decoder.turns({"late": prompts()["row1"]}, {"late": 9})["late"]
    assert whole(late) == alone["row1"][0]


def test_a_long_feed_goes_in_pieces_and_changes_nothing(
    model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "PASS_TOKENS", 32)
    decoder = BatchedDecoder(model, stop_ids=[STOP])
    history = prompts()
    for key in history:
        decoder.add(key)
    for key, sampled in decoder.turns(history, dict.fromkeys(history, 8)).items():
        assert whole(sampled) == generated(model, history[key], 8)


def test_rows_that_stop_early_wait_without_changing_the_others(model: Any) -> None:
    ids = prompts()["row1"]
    expected = generated(model, ids, 30)
    # Close a turn at a token that the model really says, so one row stops before the other.
    stop = expected[4]
    decoder = BatchedDecoder(model, stop_ids=[stop])
    for key in ("short", "long", "other"):
        decoder.add(key)
    feeds = {"short": ids, "long": ids[:-1], "other": prompts()["row0"]}
    got = decoder.turns(feeds, dict.fromkeys(feeds, 20))
    assert list(got["short"].ids) == expected[: expected.index(stop)]
    assert got["short"].stop == stop
    after = decoder.turns({key: [21, 22] for key in feeds}, dict.fromkeys(feeds, 6))
    for key, ids in feeds.items():
        fresh = BatchedDecoder(model, stop_ids=[stop])
        fresh.add(key)
        fresh.turns({key: ids}, {key: 20})
        assert fresh.turns({key: [21, 22]}, {key: 6})[key].ids == after[key].ids


def test_rows_join_and_leave_between_any_two_steps(model: Any) -> None:
    decoder = BatchedDecoder(model, stop_ids=[STOP])
    arrivals = iter(prompts().items())
    history: dict[str, list[int]] = {}
    turns_left = dict.fromkeys(prompts(), 3)
    while any(turns_left.values()):
        # One more row after every third step, each in the middle of the others' turns.
        if (new := next(arrivals, None)) is not None:
            key, ids = new
            decoder.add(key)
            decoder.feed(key, ids, 7)
            history[key] = list(ids)
        for _ in range(3):
            for key, turn in decoder.step().items():
                assert whole(turn) == generated(model, history[key], 7)
                turns_left[key] -= 1
                history[key] += [*whole(turn), 31, 32, 33]
                if turns_left[key]:
                    decoder.feed(key, [31, 32, 33], 7)
                else:
                    decoder.drop([key])


@pytest.mark.parametrize("together", [True, False])
def test_what_prompts_begin_with_in_common_is_fed_once_and_changes_nothing(
    model: Any, together: bool
) -> None:
    start = [(11 * at) % 30000 + 3 for at in range(60)]
    feeds = {f"row{number}": [*start, *range(100, 105 + number)] for number in range(4)}
    feeds["row4"] = list(feeds["row0"])  # another draw in the same world
    feeds["row5"] = prompts()["row3"]
    decoder = BatchedDecoder(model, stop_ids=[STOP])
    for key in feeds:
        decoder.add(key)
    if together:
        said = decoder.turns(feeds, dict.fromkeys(feeds, 6))
    else:
        said = {key: decoder.turns({key: ids}, {key: 6})[key] for key, ids in feeds.items()}
    for key, ids in feeds.items():
        assert whole(said[key]) == generated(model, ids, 6)
    everything = sum(map(len, feeds.values())) + 5 * len(feeds)
    assert decoder.fed <= everything - 4 * len(start)


def test_a_row_that_takes_the_place_of_another_sees_nothing_of_it(model: Any) -> None:
    decoder = BatchedDecoder(model, stop_ids=[STOP])
    for key, ids in prompts().items():
        decoder.add(key)
        decoder.turns({key: ids}, {key: 5})
    decoder.drop(["row1", "row2"])
    for key, ids in (("new1", prompts()["row2"]), ("new2", prompts()["row1"])):
        decoder.add(key)
        assert whole(decoder.turns({key: ids}, {key: 9})[key]) == generated(model, ids, 9)


def test_sampling_is_fixed_by_the_rows_own_seed_whatever_the_batch(model: Any) -> None:
    ids = prompts()["row2"]

    def draw(seed: int, company: int) -> tuple[int, ...]:
        decoder = BatchedDecoder(model, stop_ids=[STOP], temperature=1.0)
        for number in range(company):
            decoder.add(f"other{number}", seed=number)
        decoder.add("mine", seed=seed)
        feeds = {f"other{number}": prompts()["row0"] for number in range(company)} | {"mine": ids}
        return decoder.turns(feeds, dict.fromkeys(feeds, 10))["mine"].ids

    assert draw(5, 0) == draw(5, 3)
    assert draw(5, 0) != draw(6, 0)


def test_logprobs_are_those_of_the_chosen_tokens(model: Any) -> None:
    import torch

    ids = prompts()["row2"]
    decoder = BatchedDecoder(model, stop_ids=[STOP])
    decoder.add("row")
    turn = decoder.turns({"row": ids}, {"row": 5})["row"]
    with torch.inference_mode():
        logits = model(torch.tensor([ids + whole(turn)])).logits[0].log_softmax(-1)
    expected = [logits[len(ids) - 1 + at, token].item() for at, token in enumerate(whole(turn))]
    assert turn.logprobs == pytest.approx(expected, abs=1e-4)


def test_it_stops_between_steps_when_asked_to(model: Any) -> None:
    calls = iter([False, False, False, True])
    decoder = BatchedDecoder(model, stop_ids=[STOP], cancelled=lambda: next(calls))
    decoder.add("row")
    with pytest.raises(Interrupted):
        decoder.turns({"row": [5, 6]}, {"row": 100})


def test_a_model_gone_to_nan_is_said_aloud(tiny_base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    broken = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    with torch.no_grad():
        broken.model.norm.weight.fill_(float("nan"))
    decoder = BatchedDecoder(broken, stop_ids=[STOP])
    decoder.add("row")
    with pytest.raises(JobFailed, match="not finite"):
        decoder.turns({"row": [5, 6]}, {"row": 4})


def test_rows_of_similar_length_are_fed_together() -> None:
    assert _groups({"a": 10, "b": 11, "c": 200, "d": 9}) == [["d", "a", "b"], ["c"]]
