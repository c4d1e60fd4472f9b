"""The usual troubles with GPUs, and what mends each.

The facts come from torch (:mod:`.torch_probe`) and from NVIDIA's driver
(:func:`sekft_engine.core.gpu.ask_driver`); what follows from them is decided here alone, so that
each trouble can be tested without the machine that has it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sekft_engine.core.gpu import Driver
from sekft_engine.engine.check import Check
from sekft_engine.engine.torch_probe import Device, TorchProbe

GIB = 1024**3
#: A card of which others use more than this share is worth a word.
_FULL = 0.25
_REINSTALL = "make clean; make demo TORCH_CUDA=1"
_OTHER_BUILD = (
    "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu{build}"
)


def gpu_checks(probe: TorchProbe, driver: Driver | None) -> Iterator[Check]:
    """Findings about the machine's GPUs.

    Args:
        probe: what torch says.
        driver: what NVIDIA's driver says; None = there is none.
    """
    if probe.devices:
        yield _usable(probe)
        for number, device in enumerate(probe.devices):
            if not probe.rocm and not runs_on(probe.architectures, device.capability):
                yield _without_code(number, device, probe)
        if driver is not None:
            yield from _full_cards(driver)
        if probe.four_bits:
            yield Check(
                "4 bits",
                False,
                f"bitsandbytes has no CUDA library that fits: {_first_line(probe.four_bits)}",
                "pip install --upgrade bitsandbytes; if none fits this CUDA, name one that it has: "
                "export BNB_CUDA_VERSION=126. Without it, all but --load-4bit works",
            )
    elif driver is None:
        yield Check("cuda", True, "no NVIDIA card; the CPU does the same work in fp32, slower")
    else:
        yield _unusable(probe, driver)


def _usable(probe: TorchProbe) -> Check:
    devices = ", ".join(f"{device.name} ({device.total / GIB:.0f} GiB)" for device in probe.devices)
    slow = "" if probe.bf16 else "; no bfloat16: computes in float32, in twice the memory"
    build = f"ROCm {probe.rocm}" if probe.rocm else f"CUDA {probe.cuda}"
    return Check("cuda", True, f"{build}: {devices}{slow}")


def _unusable(probe: TorchProbe, driver: Driver) -> Check:
    """Why torch sees no GPU though NVIDIA's driver is installed."""
    if driver.error:
        mend = "install the driver again, or restart the machine"
        if "mismatch" in driver.error.lower():
            mend = "restart the machine: the driver was updated while the old one is in use"
        return Check("cuda", False, f"the NVIDIA driver does not answer: {driver.error}", mend)
    if not probe.cuda:
        return Check(
            "cuda", False, "there is an NVIDIA driver, but torch is a CPU build", _REINSTALL
        )
    if is_too_old(driver, probe):
        newest = ".".join(map(str, driver.cuda))
        return Check(
            "cuda",
            False,
            f"the driver {driver.version} is too old for this torch: it runs CUDA up to {newest}, "
            f"and torch is built for {probe.cuda}",
            f"update the driver, or take a torch for it: {_older_build(driver)}",
        )
    if not driver.cards:
        return Check(
            "cuda", False, "there is an NVIDIA driver, but it sees no card", "check that it is "
            "plugged in and powered, and in a container that it was passed on (--gpus all)",
        )  # fmt: skip
    why = f": {_first_line(probe.error)}" if probe.error else ""
    return Check(
        "cuda",
        False,
        f"there is an NVIDIA driver, but torch sees no device{why}",
        "check CUDA_VISIBLE_DEVICES, and in a container that the cards were passed on "
        f"(--gpus all); else: {_REINSTALL}",
    )


def is_too_old(driver: Driver, probe: TorchProbe) -> bool:
    """Whether the driver cannot run what torch was built for. Within a major version of CUDA any
    driver of that version can (CUDA Compatibility, "minor version compatibility")."""
    build = re.match(r"\d+", probe.cuda)
    outdated = build is not None and driver.cuda > (0, 0) and driver.cuda[0] < int(build[0])
    return outdated or "too old" in probe.error


def _older_build(driver: Driver) -> str:
    """The command that installs a torch which this driver runs."""
    known = {11: "118", 12: "126", 13: "130"}
    return _OTHER_BUILD.format(build=known.get(driver.cuda[0], known[min(known)]))


def runs_on(architectures: tuple[str, ...], capability: tuple[int, int]) -> bool:
    """Whether a build for ``architectures`` has code for a card of this compute capability.

    Code for ``sm_80`` runs on 8.0 and later minor versions of 8; ``compute_80`` is compiled by the
    driver for any later card. A suffix (``sm_90a``) ties it to that card. No list says nothing.
    """
    if not architectures or capability == (0, 0):
        return True
    for name in architectures:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name)
        if found is None:
            continue
        kind, version, suffix = found[1], (int(found[2]), int(found[3])), found[4]
        if version == capability:
            return True
        later = version <= capability and not suffix
        if later and (kind == "compute" or version[0] == capability[0]):
            return True
    return False


def _without_code(number: int, device: Device, probe: TorchProbe) -> Check:
    capability = ".".join(map(str, device.capability))
    newest = max(
        (int(name[1]) for name in map(_NUMBER.search, probe.architectures) if name), default=0
    )
    is_newer = device.capability[0] * 10 + device.capability[1] > newest
    mend = (
        f"install a newer build: {_OTHER_BUILD.format(build='130')}"
        if is_newer
        else f"install an older build: {_OTHER_BUILD.format(build='126')}; or use another card"
    )
    return Check(
        f"gpu {number}",
        False,
        f"this torch has no code for {device.name} (compute capability {capability}): it is built "
        f"for {', '.join(probe.architectures)}",
        mend,
    )


_NUMBER = re.compile(r"_(\d+)")


def _full_cards(driver: Driver) -> Iterator[Check]:
    """Cards that other processes use."""
    for number, card in enumerate(driver.cards):
        if not card.total or card.used < _FULL * card.total:
            continue
        owners = sorted(card.processes.items(), key=lambda item: -item[1])
        named = ", ".join(
            f"process {pid}" + (f": {size / GIB:.1f} GiB" if size else "") for pid, size in owners
        )
        freer = min(
            (other for other in range(len(driver.cards)) if other != number),
            key=lambda other: driver.cards[other].used - driver.cards[other].total,
            default=None,
        )
        ways = [f"end it (kill {owners[0][0]})"] if owners else []
        if freer is not None and driver.cards[freer].free > card.free:
            ways.append(f"take the other card: export CUDA_VISIBLE_DEVICES={freer}")
        yield Check(
            f"gpu {number}",
            False,
            f"{card.name}: {card.used / GIB:.1f} of {card.total / GIB:.1f} GiB are in use"
            + (f" ({named})" if named else ""),
            ", or ".join(ways) or "nvidia-smi shows by whom; wait for them, or end them",
        )


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")
