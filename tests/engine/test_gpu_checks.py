"""The doctor finds the usual troubles with GPUs, and says what mends each."""

from __future__ import annotations

import msgspec
import pytest

from sekft_engine.core.gpu import Driver, DriverCard, ask_driver
from sekft_engine.engine.check import Check
from sekft_engine.engine.gpu_checks import GIB, gpu_checks, runs_on
from sekft_engine.engine.torch_probe import Device, TorchProbe, probe_torch

CARD = Device(name="RTX 4090", total=24 * GIB, free=23 * GIB, capability=(8, 9))
TORCH = TorchProbe(
    version="2.9.0+cu128", threads=8, cuda="12.8", bf16=True,
    architectures=("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"), devices=(CARD,),
)  # fmt: skip
DRIVER = Driver(
    version="570.86", cuda=(12, 8), cards=(DriverCard(name="RTX 4090", total=24 * GIB, used=GIB),)
)
BLIND = msgspec.structs.replace(TORCH, devices=(), architectures=(), bf16=False)


def only(torch: TorchProbe, driver: Driver | None) -> Check:
    """The one finding that is not well."""
    (found,) = [check for check in gpu_checks(torch, driver) if not check.ok]
    assert found.mend
    return found


def test_a_card_without_troubles_has_one_good_finding() -> None:
    (check,) = gpu_checks(TORCH, DRIVER)
    assert check.ok
    assert check.detail == "CUDA 12.8: RTX 4090 (24 GiB)"
    (check,) = gpu_checks(msgspec.structs.replace(TORCH, bf16=False), DRIVER)
    assert "no bfloat16" in check.detail


def test_a_machine_without_a_card_is_well() -> None:
    (check,) = gpu_checks(BLIND, None)
    assert check.ok
    assert "the CPU does the same work" in check.detail


@pytest.mark.parametrize(
    ("newest", "error", "build"),
    [((11, 8), "", "cu118"), ((12, 2), "The NVIDIA driver on your system is too old", "cu126")],
)
def test_a_driver_that_is_too_old_for_the_build_is_named_with_a_build_for_it(
    newest: tuple[int, int], error: str, build: str
) -> None:
    old = msgspec.structs.replace(DRIVER, version="520.61", cuda=newest)
    found = only(msgspec.structs.replace(BLIND, cuda="13.0" if error else "12.8", error=error), old)
    assert "520.61 is too old" in found.detail
    assert "update the driver" in found.mend
    assert found.mend.endswith(f"/whl/{build}")


def test_a_cpu_build_beside_a_driver_is_named() -> None:
    found = only(msgspec.structs.replace(BLIND, cuda=""), DRIVER)
    assert "CPU build" in found.detail
    assert "TORCH_CUDA=1" in found.mend


def test_a_driver_that_does_not_answer_is_named() -> None:
    broken = Driver(error="Driver/library version mismatch")
    found = only(BLIND, broken)
    assert "mismatch" in found.detail
    assert "restart the machine" in found.mend


def test_no_visible_card_is_named_with_the_ways_to_hide_one() -> None:
    assert "sees no card" in only(BLIND, msgspec.structs.replace(DRIVER, cards=())).detail
    found = only(msgspec.structs.replace(BLIND, error="CUDA unknown error\nmore"), DRIVER)
    assert found.detail.endswith("CUDA unknown error")
    assert "CUDA_VISIBLE_DEVICES" in found.mend


@pytest.mark.parametrize(
    ("capability", "mend"), [((12, 1), ""), ((13, 0), "newer build"), ((6, 1), "older build")]
)
def test_a_card_that_the_build_has_no_code_for_is_named(
    capability: tuple[int, int], mend: str
) -> None:
    card = msgspec.structs.replace(CARD, capability=capability)
    torch = msgspec.structs.replace(TORCH, devices=(card,))
    if not mend:
        assert all(check.ok for check in gpu_checks(torch, DRIVER))
        return
    found = only(torch, DRIVER)
    assert ".".join(map(str, capability)) in found.detail
    assert "sm_120" in found.detail
    assert mend in found.mend


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (("sm_80",), (8, 9), True),
        (("sm_90",), (8, 9), False),
        (("sm_80", "compute_90"), (12, 0), True),
        (("sm_90a",), (9, 0), True),
        (("sm_100a", "sm_120a"), (12, 1), False),
        (("gfx942",), (9, 4), False),
        ((), (9, 0), True),
    ],
)
def test_which_cards_a_build_has_code_for(
    architectures: tuple[str, ...], capability: tuple[int, int], runs: bool
) -> None:
    assert runs_on(architectures, capability) is runs


def test_a_card_under_rocm_is_not_judged_by_cudas_architectures() -> None:
    torch = msgspec.structs.replace(TORCH, cuda="", rocm="6.4", architectures=("gfx942",))
    (check,) = gpu_checks(torch, None)
    assert check.ok
    assert check.detail.startswith("ROCm 6.4: ")


def test_a_card_full_of_somebody_elses_process_is_named_with_the_process_and_a_free_card() -> None:
    full = DriverCard(name="A", total=24 * GIB, used=22 * GIB, processes={41: 20 * GIB, 42: GIB})
    free = DriverCard(name="B", total=24 * GIB, used=GIB)
    found = only(TORCH, msgspec.structs.replace(DRIVER, cards=(full, free)))
    assert found.name == "gpu 0"
    assert "22.0 of 24.0 GiB are in use (process 41: 20.0 GiB, process 42: 1.0 GiB)" in found.detail
    assert found.mend == "end it (kill 41), or take the other card: export CUDA_VISIBLE_DEVICES=1"
    hidden = msgspec.structs.replace(full, processes={})  # as in a container
    found = only(TORCH, msgspec.structs.replace(DRIVER, cards=(hidden,)))
    assert "nvidia-smi" in found.mend


def test_bitsandbytes_without_a_cuda_library_is_named() -> None:
    torch = msgspec.structs.replace(TORCH, four_bits="cannot open libbitsandbytes_cuda133.so\n...")
    found = only(torch, DRIVER)
    assert found.name == "4 bits"
    assert found.detail.endswith("libbitsandbytes_cuda133.so")
    assert "BNB_CUDA_VERSION" in found.mend


def test_this_machine_answers_the_real_probes() -> None:
    torch = probe_torch()
    assert torch.version
    assert torch.threads > 0
    assert bool(torch.devices) <= bool(torch.cuda or torch.rocm)
    driver = ask_driver()
    assert driver is None or driver.cards or driver.error
