"""Merging on a card: the same weights and the same proof as on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sekft_engine.cli.main import run as run_command
from sekft_engine.core.errors import SekftError
from sekft_engine.export.merge import TOLERANCE
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records import jobs
from sekft_engine.records.adapters import AdapterMeta
from tests.accelerator.simulated import SimulatedDevice, allocator, record
from tests.documents import run_document
from tests.training.conftest import RECIPE


@pytest.fixture
def adapter(on_cpu: ResidentBase, tiny_base: Path, tmp_path: Path) -> Path:
    """An adapter that makes a difference, saved with the base it belongs to."""
    on_cpu.new_adapter("tuned", RECIPE)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for weight in on_cpu.trainable("tuned"):
            weight.normal_(0, 0.1)
    meta = AdapterMeta(base=str(tiny_base), base_digest=on_cpu.digest, render=on_cpu.render)
    on_cpu.save_adapter("tuned", tmp_path / "tuned", meta)
    return tmp_path / "tuned"


def test_a_merge_on_the_device_is_proven_there_and_writes_what_the_cpu_writes(
    adapter: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    SimulatedDevice.base_dtype = torch.bfloat16  # as on CUDA; it is merged in float32 all the same
    written = {}
    for device in ("cpu", "sim"):
        target, before = tmp_path / device, allocator.held
        allocator.peak = before
        record.clear()
        words = ("export", str(adapter), "--merged", str(target), "--dtype", "bfloat16")
        status = run_command((*words, "--device", device, "--json"))
        result = json.loads(capfd.readouterr().out)
        assert status == 0, result
        assert result["device"] == {"cpu": "cpu", "sim": "sim:0"}[device]
        proof = result["proof"]
        assert proof["difference"] <= TOLERANCE / 10
        assert proof["difference"] < proof["written_difference"] < proof["adapter_effect"]
        assert (allocator.peak > before) is (device == "sim")
        products = {dtype for name, dtype in record.dtypes if name == "aten.mm.default"}
        assert products == ({"torch.float32"} if device == "sim" else set())
        written[device] = load_file(target / "model.safetensors")
    assert written["cpu"].keys() == written["sim"].keys()
    for name, weight in written["cpu"].items():
        assert torch.equal(written["sim"][name], weight), name


def test_a_merge_for_which_the_device_is_too_small_names_the_way_out(
    adapter: Path, tmp_path: Path
) -> None:
    job = jobs.Export(source=str(adapter), target=str(tmp_path / "merged"), device="sim")
    run_document(jobs.Export(source=str(adapter), target=str(tmp_path / "first"), device="sim"))
    allocator.capacity = allocator.held + (allocator.peak - allocator.held) * 9 // 10
    with pytest.raises(SekftError, match="memory does not suffice to merge") as caught:
        run_document(job)
    assert "leave --device out" in str(caught.value.mend)
    assert not (tmp_path / "merged").exists()


def test_devices_that_are_not_there_or_not_needed_are_refused_in_a_line(
    adapter: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    target = str(tmp_path / "out")
    for words, why in (
        (("--merged", target, "--device", "cuda:7"), "--device"),
        (("--hub-layout", target, "--device", "sim"), "nothing is merged"),
    ):
        assert run_command(("export", str(adapter), *words)) == 2
        err = capfd.readouterr().err.strip()
        assert why in err
        assert err.count("\n") == 0
        assert not Path(target).exists()
