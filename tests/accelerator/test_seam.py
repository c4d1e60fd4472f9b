"""One package owns the device; whoever asks for one that is not here is told the way out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

import sekft_engine
import sekft_tui
from sekft_engine.core.errors import BadInput, SekftError, Unavailable
from sekft_engine.model import device
from sekft_engine.model.device import CudaDevice, choose_device, device_of, out_of_memory

#: Calls of a kind of device, and comparisons with its name.
_NAMED = re.compile(
    r"torch\.(?:cuda|mps|xpu|backends\.mps)\b|\.cuda\("
    r'|(?:[=!]=|\bin) *\(?(?:"cpu", *)?"(?:cuda|mps)'
)
#: Run in a process of its own, since a broken driver may hang or kill whoever imports torch.
_EXEMPT = {"engine/doctor.py", "engine/torch_probe.py"}


def test_no_other_module_names_a_kind_of_device() -> None:
    found = []
    for package in (sekft_engine, sekft_tui):
        root = Path(package.__path__[0])
        for path in sorted(root.rglob("*.py")):
            name = str(path.relative_to(root))
            if name.startswith("model/device/") or name in _EXEMPT:
                continue
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if _NAMED.search(line):
                    found.append(f"{name}:{number}: {line.strip()}")
    assert not found, "\n".join(found)


def test_the_search_finds_what_it_looks_for() -> None:
    for line in (
        "torch.cuda.synchronize()",
        'if x.device.type == "cuda":',
        'type != "cuda"',
        'type not in ("cpu", "cuda")',
        "x.cuda()",
        "torch.mps.empty_cache()",
    ):
        assert _NAMED.search(line), line


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch sees two cards of CUDA: only their number is asked for."""
    monkeypatch.setattr(CudaDevice, "count", classmethod(lambda _kind: 2))


def told(asked: str) -> SekftError:
    with pytest.raises(SekftError) as caught:
        choose_device(asked)
    error = caught.value
    assert error.where == "--device"
    assert error.mend
    assert "\n" not in str(error)
    return error


@pytest.mark.parametrize("asked", ["gpu", "cuda:", "cuda:x", "cpu:0", "CUDA", "cuda:-1", "0"])
def test_a_word_that_is_no_device_is_refused(asked: str) -> None:
    error = told(asked)
    assert isinstance(error, BadInput)
    assert f"{asked!r} is no device" in error.what
    assert "cuda:1" in str(error.mend)
    assert device.device_fault(asked)


def test_a_card_that_is_not_here_is_refused_with_the_reason() -> None:
    for asked in ("cuda", "cuda:7"):
        error = told(asked)
        assert "no cuda device is here" in error.what
        assert "--device cpu" in str(error.mend)
        assert not device.device_fault(asked), "it may be there on another machine"


def test_a_number_beyond_the_cards_is_refused_with_those_that_are_seen(
    cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "torch sees cuda:0 to cuda:1" in told("cuda:7").what
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert "CUDA_VISIBLE_DEVICES='3,5'" in told("cuda:2").what


def test_a_card_is_chosen_by_itself_by_its_kind_or_by_its_number(cards: None) -> None:
    assert choose_device("auto") == choose_device("") == choose_device("cuda")
    assert choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")


def test_without_a_card_it_is_the_cpu() -> None:
    assert choose_device("auto") == torch.device("cpu")


def test_each_process_of_a_machine_has_a_card_of_its_own(
    cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 1)
    assert "several processes train together" in told("cuda:1").what
    monkeypatch.setenv("LOCAL_RANK", "2")
    error = told("auto")
    assert isinstance(error, Unavailable)
    assert "process 3 of this machine has no card" in error.what
    monkeypatch.setattr(CudaDevice, "count", classmethod(lambda _kind: 1))  # shown its own alone
    assert choose_device("auto") == torch.device("cuda", 0)


def test_errors_that_say_that_memory_ran_out_are_known() -> None:
    for error in (
        torch.OutOfMemoryError("x"),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("cuBLAS: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    ):
        assert out_of_memory(error)
    assert not out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_a_generator_of_another_card_serves_too() -> None:
    place = torch.device("sim", 0)
    state = device.random_state(place)
    other = {"random.cpu": state["random.cpu"], "random.sim.3": state["random.sim.0"]}
    torch.rand(3, device="sim")
    device.set_random_state(other, place)
    assert torch.equal(device.random_state(place)["random.sim.0"], state["random.sim.0"])


def test_the_cpu_answers_what_a_card_does() -> None:
    cpu = device_of(torch.device("cpu"))
    assert cpu.free_bytes() > 0
    assert cpu.tensor_bytes() == (0, 0)
    assert cpu.monitor() is None
    assert cpu.random_state() is None
    cpu.use()
    cpu.synchronize()
    assert cpu.threads >= 1
