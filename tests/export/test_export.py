"""What leaves the workshop: the same model, whole or not at all, with its papers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml  # type: ignore[import-untyped]

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import BadInput, SekftError
from sekft_engine.data.recipe import Recipe
from sekft_engine.data.workspace import Workspace
from sekft_engine.export.gguf_ready import check
from sekft_engine.records import jobs
from sekft_engine.records.runs import RunInfo, find_run
from sekft_engine.render import ChatTokenizer
from tests.documents import document, run_document
from tests.training.sessions import write_sessions

HOSTILE = "run|with`ticks`<b>\x1b[31m"


@pytest.fixture(scope="module")
def place(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a run, and an eval of its adapter."""
    place = Workspace(tmp_path_factory.mktemp("export") / "place").create()
    data = write_sessions(place.trajectories, 12)
    recipe = Recipe(
        rank=4, alpha=8, lr=0.03, batch=4, epochs=2, heldout=0.2, heldout_every=0, token_losses=0
    )
    job = jobs.Train(base=str(tiny_base), data=str(data), recipe=recipe)
    result = run_document(job, place)
    _write_eval(place, result["adapter_sha256"])
    return place


def _write_eval(place: Workspace, digest: str) -> None:
    measures = ("operates", "terminates", "verified", "clean_termination")
    subject: dict[str, Any] = {"name": HOSTILE, "n": 16, "invalid": 0}
    subject |= dict.fromkeys(measures, 12)
    subject["intervals"] = {measure: [0.505, 0.898] for measure in measures}
    info = RunInfo(
        id="002-eval", path="", kind="eval", status="done", created="",
        about={"subjects": {HOSTILE: digest}, "seed": 3, "scenarios": "/x/holdout"},
        result={"subjects": [subject]},
    )  # fmt: skip
    folder = place.runs / "002-eval"
    folder.mkdir()
    stored = msgspec.to_builtins(info) | {"schema": 1}
    (folder / "run.json").write_text(json.dumps(stored))


def test_the_merged_model_computes_what_base_and_adapter_do(
    place: Workspace, tiny_base: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "merged"
    line = ["export", "001-train", "--merged", str(target), "--dtype", "float32"]
    assert run_command([*line, "--workspace", str(place.root), "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    proof = result["proof"]
    assert proof["difference"] < 1e-4
    assert proof["written_difference"] < 1e-4
    assert proof["same_choice"] == 1.0
    assert proof["adapter_effect"] > 0.1
    assert {path.name for path in target.iterdir()} == set(result["files"])
    assert ChatTokenizer.load(target).digest == ChatTokenizer.load(tiny_base).digest

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
    assert not any("lora" in name for name, _ in model.named_parameters())
    tokenizer = AutoTokenizer.from_pretrained(target)
    turns = [{"role": "user", "content": "user@box:~$"}]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|im_start|>assistant\n")


def test_a_folder_for_gguf_is_one_that_its_own_library_reads_to_the_last_tensor(
    place: Workspace, tmp_path: Path
) -> None:
    job = jobs.Export(source="001-train", target=str(tmp_path / "g"), kind="gguf", dtype="float16")
    result = run_document(job, place)
    ready = result["gguf"]
    assert (ready["architecture"], ready["chat_template"]) == ("llama", True)
    assert ready["tensors"] == 20  # two layers of nine, embeddings, norm; the head is tied
    assert ready["merges"] > 48_000
    assert result["proof"]["dtype"] == "float16"
    config = json.loads((tmp_path / "g" / "config.json").read_text())
    assert (config["torch_dtype"], config["rope_theta"]) == ("float16", 10000.0)
    words = json.loads((tmp_path / "g" / "tokenizer_config.json").read_text())
    assert words["tokenizer_class"] == "PreTrainedTokenizerFast"
    (tmp_path / "g" / "chat_template.jinja").unlink()
    assert check(tmp_path / "g").problems == ("no chat template",)


def test_a_hub_layout_holds_the_adapter_and_a_card_that_tells_all_and_acts_on_nothing(
    place: Workspace, tmp_path: Path
) -> None:
    target = tmp_path / "hub"
    job = jobs.Export(source="001-train", target=str(target), kind="adapter", card=True)
    result = run_document(job, place)
    assert set(result["files"]) == {
        "README.md", ".gitattributes", "adapter_config.json", "adapter_model.safetensors",
        "sekft.json",
    }  # fmt: skip
    config = json.loads((target / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tiny"  # not where it lay on this machine
    card = (target / "README.md").read_text()
    _, front, body = card.split("---\n", 2)
    facts = yaml.safe_load(front)
    assert (facts["base_model"], facts["library_name"]) == ("tiny", "peft")
    info = find_run(place.runs, "001-train")
    facts = document(info.facts)
    render = facts["render"]
    for told in (
        result["adapter_sha256"], facts["data"]["sha256"], facts["base"]["digest"],
        render["template"], render["tokenizer"], "| rank | 4 |", "| trajectories | 12 |",
        "| of them held out | 2 |", "12 \\[50%, 90%\\]", "seed 3", "| dropped | 0 |",
    ):  # fmt: skip
        assert told in body, told
    assert "of them trained" in body
    assert str(place.root) not in card
    assert "\x1b" not in card
    assert "<b>" not in card
    assert "run\\|with" in card


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--gguf", "out"], ["largest difference to base", "GGUF: llama; 20 tensors",
                             "convert: python convert_hf_to_gguf.py"]),
        (["--hub-layout", "out"], ["model card with 1 evals", "hf upload NAME"]),
        (["--hub-layout", "out", "--whole"], ["largest difference to base", "hf upload NAME"]),
        (["--merged", "out", "-q"], []),
    ],
)  # fmt: skip
def test_the_command_says_what_is_in_the_folder_and_what_to_do_with_it(
    place: Workspace,
    flags: list[str],
    said: list[str],
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["export", "001-train", "--workspace", str(place.root), *flags]) == 0
    out = capfd.readouterr().out
    if not said:
        assert out == ""
    else:
        files = len([path for path in Path("out").rglob("*") if path.is_file()])
        assert out.startswith(f"{tmp_path}/out: {files} files, ")
    for each in said:
        assert each in out


def test_an_adapter_is_found_in_its_own_folder_too(place: Workspace, tmp_path: Path) -> None:
    folder = find_run(place.runs, "001-train").adapter
    job = jobs.Export(source=folder, target=str(tmp_path / "x"), kind="adapter", card=True)
    assert run_document(job)["run"] == "001-train"
    assert "| rank | 4 |" in (tmp_path / "x" / "README.md").read_text()


def test_an_export_that_fails_leaves_nothing(
    place: Workspace, smollm2: Path, tmp_path: Path
) -> None:
    target = tmp_path / "out" / "merged"
    job = jobs.Export(source="001-train", target=str(target), kind="merged", base=str(smollm2))
    with pytest.raises(SekftError, match="trained on another base"):
        run_document(job, place)
    assert not list((tmp_path / "out").iterdir())
    target.mkdir()
    with pytest.raises(BadInput, match="already there"):
        run_document(job, place)


@pytest.mark.parametrize(
    ("flags", "what"),
    [
        ([], "name one folder"),
        (["--merged", "a", "--gguf", "b"], "name one folder"),
        (["--merged", "a", "--whole"], "--whole goes with --hub-layout"),
        (["--hub-layout", "a", "--dtype", "float16"], "an adapter stays as it is"),
        (["--merged", "a", "--base", "nowhere"], "no such base"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(
    place: Workspace,
    flags: list[str],
    what: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["export", "001-train", "--workspace", str(place.root), *flags]) == 2
    assert what in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_sweep_is_told_to_name_a_point(place: Workspace, tmp_path: Path) -> None:
    folder = place.runs / "003-sweep"
    folder.mkdir()
    about: dict[str, Any] = {"kind": "sweep", "status": "done", "created": "", "id": "003-sweep"}
    (folder / "run.json").write_text(json.dumps(about | {"result": {"best": "003-sweep-02"}}))
    job = jobs.Export(source="003-sweep", target=str(tmp_path / "x"))
    with pytest.raises(BadInput, match="name 003-sweep-02"):
        run_document(job, place)
