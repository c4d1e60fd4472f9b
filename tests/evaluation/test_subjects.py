"""Each subject of an eval stands alone, and is told what it was trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sekft_engine.cli.main import run as run_command
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.scenario import Scenario
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import AdapterMeta
from sekft_engine.records.precision import recorded_precision, trained_in_4bit
from tests.models import make_tiny_base


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("tiny") / "base", smollm2)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    """Adapters of the tiny base: ``a`` and ``b`` fit, ``cut`` lacks a tensor, ``small`` was trained
    in 4 bits."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("adapters")
    base = ResidentBase.load(tiny)
    for number, name in enumerate(("a", "b", "cut", "small")):
        base.new_adapter(name, Recipe(rank=2 + number, seed=number))
        meta = AdapterMeta(base_digest=base.digest, load_4bit=name == "small")
        base.save_adapter(name, folder / name, meta)
        base.drop(name)
    weights = folder / "cut" / "adapter_model.safetensors"
    tensors = load_file(weights)
    tensors.pop(min(tensors))
    save_file(tensors, weights)
    return folder


@pytest.fixture
def evaluate(
    tiny: Path,
    adapters: Path,
    tmp_path: Path,
    make_scenario: Callable[..., Scenario],
    capfd: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, dict[str, Any], str]]:
    """Evaluate adapters by name; gives the status, the document and what stood on stderr."""
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    bundle = msgspec.json.encode(make_scenario())
    (bundles / "one.json").write_bytes(bundle)

    def run(*names: str, flags: tuple[str, ...] = ()) -> tuple[int, dict[str, Any], str]:
        words = ["eval", "--base", str(tiny), "--scenarios", str(bundles), "--n", "1", "--json"]
        words += ["--step-cap", "1", "--turn-tokens", "2", "--out", str(tmp_path / "run"), *flags]
        for name in names:
            words += ["--adapter", str(adapters / name)]
        status = run_command(words)
        out, err = capfd.readouterr()
        return status, json.loads(out), err

    return run


def test_an_adapter_that_cannot_act_is_named_and_the_others_are_evaluated(
    evaluate: Callable[..., tuple[int, dict[str, Any], str]],
) -> None:
    status, document, err = evaluate("a", "cut", "b")
    assert status == 1
    assert [subject["name"] for subject in document["subjects"]] == ["base", "a", "b"]
    assert all(subject["n"] == 1 for subject in document["subjects"])
    (warning,) = [each for each in document["warnings"] if each["name"] == "refused"]
    assert warning["subject"] == "cut"
    assert "is missing" in warning["text"]
    assert list(document["about"]["refused"]) == ["cut"]
    assert err.index("cut cannot act") < err.index("base, a, b on 1 world"), "before any world"
    assert err.splitlines()[-1].startswith("sekft: error: cut could not act")
    status, again, _ = evaluate("a", "cut", "b", flags=("--resume",))
    assert status == 1
    assert again["subjects"] == document["subjects"]


def test_an_eval_in_which_no_adapter_can_act_is_refused_as_a_whole(
    evaluate: Callable[..., tuple[int, dict[str, Any], str]], tmp_path: Path
) -> None:
    status, document, _ = evaluate("cut")
    assert status == 2
    assert "is missing" in document["error"]["what"]
    assert not (tmp_path / "run").exists()


def test_the_base_is_held_as_the_adapter_was_trained(
    evaluate: Callable[..., tuple[int, dict[str, Any], str]],
) -> None:
    status, document, _ = evaluate("small")
    assert status == 0
    assert document["about"]["quantised"] is True
    assert document["subjects"][1]["trained_4bit"] is True
    assert not [each for each in document["warnings"] if each["name"] == "other_precision"]


@pytest.mark.parametrize(
    ("name", "flag", "words"),
    [("small", "--no-load-4bit", "acts on it in float32"), ("a", "--load-4bit", "in 4 bits")],
)
def test_another_precision_than_it_was_trained_in_is_told(
    evaluate: Callable[..., tuple[int, dict[str, Any], str]], name: str, flag: str, words: str
) -> None:
    status, document, err = evaluate(name, flags=(flag,))
    assert status == 0
    (warning,) = [each for each in document["warnings"] if each["name"] == "other_precision"]
    assert words in warning["text"]
    assert words in err
    assert document["about"]["quantised"] is (flag == "--load-4bit")


def test_the_run_of_an_older_adapter_tells_its_precision(adapters: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(adapters / "a", run / "adapter")
    meta = json.loads((run / "adapter" / "sekft.json").read_text())
    meta.pop("load_4bit")
    (run / "adapter" / "sekft.json").write_text(json.dumps(meta))
    assert trained_in_4bit(run / "adapter") is None
    facts = {"base": {"path": "x", "digest": "0" * 64, "load_4bit": True}}
    about = {"id": "run", "kind": "train", "status": "done", "created": "", "facts": facts}
    (run / "run.json").write_text(json.dumps(about))
    assert trained_in_4bit(run / "adapter") is True
    assert recorded_precision([str(run)]) is True
    assert recorded_precision([str(run), str(adapters / "a")]) is None
    assert recorded_precision([]) is None


def test_a_random_model_does_not_operate(
    tiny: Path, tmp_path: Path, make_scenario: Callable[..., Scenario]
) -> None:
    (tmp_path / "bundles").mkdir()
    for number in range(6):
        bundle = msgspec.json.encode(make_scenario(f"copy-{number}"))
        (tmp_path / "bundles" / f"{number}.json").write_bytes(bundle)
    words = ["eval", "--base", str(tiny), "--scenarios", str(tmp_path / "bundles"), "--n", "6"]
    words += ["--step-cap", "3", "--turn-tokens", "16"]
    assert run_command([*words, "--out", str(tmp_path / "run"), "-q"]) == 0
    (subject,) = json.loads((tmp_path / "run" / "run.json").read_text())["result"]["subjects"]
    assert subject["n"] == 6
    assert subject["operates"] == 0
