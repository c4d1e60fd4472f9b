"""``sekft plan``: what fits, what would, and what is refused, without weights, torch or a card."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.bases.shape import DecoderShape, read_shape, shape_of
from sekft_engine.core.errors import BadInput
from sekft_engine.core.gpu import Driver, DriverCard
from sekft_engine.data.recipe import Recipe
from sekft_engine.training.planning.cards import CARDS, GIB, find_card, known_card
from sekft_engine.training.planning.computed import Computing, computed_step
from sekft_engine.training.planning.place import Place, place_here, place_named
from sekft_engine.training.planning.plan import plan_run
from sekft_engine.training.planning.processor import MEASURED
from sekft_engine.training.planning.speed import operations
from sekft_engine.training.planning.step import LongestPasses, Passes, PassSize, longest_that_fits
from tests.training.conftest import Sekft
from tests.training.planning.test_computed import row

MISTRAL: dict[str, Any] = {
    "model_type": "mistral", "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
    "vocab_size": 32768, "max_position_embeddings": 32768, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.fixture
def mistral(tmp_path: Path) -> Path:
    """The configuration of a 7B base, and nothing else."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps(MISTRAL))
    return path


def shape() -> DecoderShape:
    return shape_of(MISTRAL, "config.json")


# --- the command ----------------------------------------------------------------------------------


def test_a_7b_base_is_planned_from_its_configuration_alone(typed: Sekft, mistral: Path) -> None:
    words = ("plan", "--base", str(mistral), "--gpu", "rtx4090", "--json")
    status, out, _ = typed(*words)
    plan = json.loads(out)
    assert status == 0
    assert plan["weights"] == 7_248_023_552  # as Mistral 7B v0.3 is published
    assert plan["base_bytes"] == 2 * plan["weights"]
    plain, recomputed = plan["ways"]
    assert not plain["fits"]
    assert recomputed["fits"]
    assert "recomputation" in plan["advice"]
    assert plain["longest_session"] < recomputed["longest_session"] <= 32768
    speed = recomputed["speed"]
    assert 0 < speed["low"] < speed["high"]
    assert speed["estimate"] is True
    assert "whitepaper" in speed["source"]
    status, out, _ = typed(*words, "--load-4bit")
    assert 3.7 * GIB < json.loads(out)["base_bytes"] < 4 * GIB


def test_the_table_says_what_fits_and_that_the_speed_is_an_estimate(
    typed: Sekft, mistral: Path
) -> None:
    status, out, _ = typed("plan", "--base", str(mistral), "--gpu", "24GB", "--load-4bit")
    assert status == 0
    assert "fits with recomputation" in out
    assert "longest session without recomputation" in out
    assert "an eval of 16 episodes" in out
    assert "speed" not in out, "nothing is published of a card that is only a size"
    _, out, _ = typed("plan", "--base", str(mistral), "--gpu", "h100")
    assert "an estimate:" in out
    assert "NVIDIA H100 data sheet" in out


def test_the_speed_of_a_processor_is_estimated_from_what_is_measured_on_it(
    typed: Sekft, tiny_base: Path
) -> None:
    _, out, _ = typed("plan", "--base", str(tiny_base), "--device", "cpu")
    assert "an estimate:" in out
    assert MEASURED in out


@pytest.mark.parametrize(
    ("flags", "advice"),
    [
        (("--gpu", "18GB"), "--micro-batch 2 fits"),
        (("--gpu", "16GB"), r"--micro-batch 1 --max-length \d+ fits"),
        (("--gpu", "24GB", "--recompute", "never"), "--recompute auto needs less"),
        (("--gpu", "8GB"), "the weights of the base alone take more"),
    ],
)
def test_what_does_not_fit_ends_with_status_1_and_what_would(
    typed: Sekft, mistral: Path, flags: tuple[str, ...], advice: str
) -> None:
    import re

    status, out, _ = typed("plan", "--base", str(mistral), *flags, "--json")
    plan = json.loads(out)
    assert status == 1
    assert not plan["fits"]
    assert re.search(advice, plan["advice"]), plan["advice"]


def test_the_rows_of_real_data_are_counted(typed: Sekft, tiny_base: Path, sessions: Path) -> None:
    words = ("plan", "--base", str(tiny_base), "--gpu", "24GB", "--json")
    most = json.loads(typed(*words)[1])
    real = json.loads(typed(*words, "--data", str(sessions))[1])
    assert (most["rows"], real["rows"]) == ("longest", "data")
    assert 0 < real["tokens"] < most["tokens"]
    assert 0 < real["trained"] < real["tokens"]
    assert real["ways"][0]["total"] < most["ways"][0]["total"]


def test_without_a_card_it_plans_for_this_machine(typed: Sekft, tiny_base: Path) -> None:
    status, out, _ = typed("plan", "--base", str(tiny_base), "--json")
    assert status == 0
    assert json.loads(out)["free"] > 0


def test_the_cards_are_listed_with_their_sources(typed: Sekft) -> None:
    _, out, _ = typed("plan", "--cards", "--json")
    cards = json.loads(out)["cards"]
    assert set(cards) == set(CARDS)
    assert all(card["source"] and card["peak_tflops"] > 0 for card in cards.values())
    assert "rtx4090" in typed("plan", "--cards")[1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hidden_size": None}, ("hidden_size is missing", "vendor")),
        ({"num_hidden_layers": "many"}, ("num_hidden_layers 'many'", "whole number")),
        ({"num_key_value_heads": None}, ("num_key_value_heads is missing",)),
        ({"model_type": "mamba"}, ("model_type", "mamba", "known are llama")),
        ({"num_local_experts": 8}, ("num_local_experts", "dense base")),
        ({"quantization_config": {"quant_method": "awq"}}, ("quantization_config", "awq")),
    ],
)
def test_a_configuration_that_cannot_be_planned_is_refused_in_a_line_that_names_the_field(
    typed: Sekft, tmp_path: Path, change: dict[str, Any], words: tuple[str, ...]
) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**MISTRAL, **change}))
    status, _, err = typed("plan", "--base", str(path), "--gpu", "24GB")
    assert status == 2
    (line,) = err.strip().splitlines()
    assert str(path) in line
    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--gpu", "rtx9999"), ("--gpu rtx9999", "24GB", "rtx4090")),
        (("--gpu", "0GB"), ("--gpu 0GB",)),
        (("--gpu", "24GB", "--targets", "c_attn"), ("recipe.targets", "c_attn", "q_proj")),
        (("--gpu", "24GB", "--data", "somewhere"), ("tokenizer.json", "--data")),
    ],
)
def test_bad_flags_are_refused_in_a_line_with_the_way_out(
    typed: Sekft, mistral: Path, flags: tuple[str, ...], words: tuple[str, ...]
) -> None:
    status, _, err = typed("plan", "--base", str(mistral), *flags)
    assert status == 2
    (line,) = err.strip().splitlines()
    assert all(word in line for word in words), line


def test_it_needs_no_torch(mistral: Path) -> None:
    script = (
        "import sys; from sekft_engine.cli.main import run; "
        f"assert run(['plan', '--base', {str(mistral)!r}, '--gpu', '24GB', '--json']) == 0; "
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


# --- its parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("rtx4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM 80 GB"),
        ("NVIDIA A100-PCIE-40GB", "A100 40 GB"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H100 PCIe", "H100 PCIe"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-32GB", "V100 SXM2 32 GB"),
        ("AMD Instinct MI300X", "Instinct MI300X"),
        ("NVIDIA L40S", "L40S"),
    ],
)
def test_cards_are_known_by_the_names_that_people_and_drivers_use(text: str, name: str) -> None:
    card = known_card(text)
    assert card is not None
    assert card.name == name


def test_a_size_is_a_card_of_which_no_more_is_known() -> None:
    assert find_card("24GB").memory == find_card("24 GiB").memory == 24 * GIB
    assert find_card("24576MiB").memory == 24 * GIB
    assert known_card("GeForce GT 710") is None
    with pytest.raises(BadInput, match="no card of this name"):
        find_card("24")


def test_a_card_without_bfloat16_computes_in_float32() -> None:
    assert place_named("t4").computing.width == 4
    assert place_named("l4").computing.width == 2
    grouped = computed_step(shape(), Recipe(), Computing(width=4))
    assert grouped.per_squared_length > 0, "no fused kernel does this, so weights are kept"
    assert computed_step(shape(), Recipe(), Computing()).per_squared_length == 0


def test_this_machines_card_counts_with_what_is_free_on_it() -> None:
    card = DriverCard(name="NVIDIA GeForce RTX 3090", total=24 * GIB, used=20 * GIB)
    place = place_here(Driver(version="570", cards=(card,)))
    assert 3 * GIB < place.free < 4 * GIB
    assert place.card is not None
    assert place.card.peak_tflops == CARDS["rtx3090"].peak_tflops


def test_another_card_or_the_processor_of_this_machine_is_named_with_device() -> None:
    cards = tuple(
        DriverCard(name=name, total=24 * GIB, used=0)
        for name in ("NVIDIA GeForce RTX 3090", "NVIDIA L4")
    )
    driver = Driver(version="570", cards=cards)
    assert place_here(driver, "cuda:1").name == "NVIDIA L4, as it is now"
    assert place_here(driver, "cuda").name == place_here(driver).name
    assert place_here(driver, "cpu").name == "this machine's processor"
    with pytest.raises(BadInput, match="no card of NVIDIA's driver here is cuda:2"):
        place_here(driver, "cuda:2")
    with pytest.raises(BadInput, match="no card of NVIDIA's driver here is cuda"):
        place_here(Driver(version="570", cards=()), "cuda")


def test_a_base_without_known_positions_and_an_unreadable_one(tmp_path: Path) -> None:
    assert shape_of(MISTRAL | {"max_position_embeddings": None}, "x").longest == 0
    with pytest.raises(BadInput, match=r"no config\.json here"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(BadInput, match="not a JSON object"):
        read_shape(tmp_path)


def test_unknown_data_takes_no_less_than_any_data() -> None:
    recipe = Recipe(max_length=256, micro_batch=4, batch=8, epochs=2.0)
    memory = computed_step(shape(), recipe, Computing(device="cpu", width=4, parts=2))
    rows = [row(256, 255, start=number) for number in range(9)]
    real = memory.bytes_of(Passes(rows, recipe).heaviest(memory))
    assert real == memory.bytes_of(LongestPasses(recipe).heaviest(memory))
    shorter = [row(200, 90, start=number) for number in range(9)]
    assert memory.bytes_of(Passes(shorter, recipe).heaviest(memory)) < real


def test_the_longest_session_is_the_longest_that_fits() -> None:
    memory = computed_step(shape(), Recipe(), Computing())
    free = 10 * GIB
    tokens = longest_that_fits(memory, free, 1 << 20, 1 << 20)
    assert tokens % 16 == 0

    def needed(tokens: int) -> int:
        return memory.bytes_of(PassSize(tokens, tokens**2, tokens))

    assert needed(tokens) <= free < needed(tokens + 16)
    assert longest_that_fits(memory, 0, 1 << 20, 1 << 20) == 0


def test_the_work_of_a_pass_is_counted_in_products() -> None:
    recipe = Recipe(rank=1, targets="q_proj")
    size = PassSize(tokens=100, squared_lengths=0, trained=0)
    frozen = 4 * shape().in_linears * 100
    thin = 6 * 32 * (4096 + 4096) * 100
    assert operations(shape(), recipe, size) == frozen + thin
    again = operations(shape(), recipe, size, recompute=True)
    assert again == frozen * 1.5 + thin * 8 / 6


def test_a_plan_holds_all_parts_of_its_sum() -> None:
    place = Place(name="x", free=24 * GIB, computing=Computing())
    plan = plan_run("x", shape(), Recipe(), place, load_4bit=True)
    for way in plan.ways:
        parts = plan.base_bytes + plan.adapter + plan.optimiser + plan.gradients + way.activations
        assert abs(parts + max(way.logits, way.backward) - way.total) <= 3
    assert msgspec.json.decode(msgspec.json.encode(plan))["fits"] == plan.fits
