"""What torch and bitsandbytes say of this machine, asked in a process of their own."""

from __future__ import annotations

import subprocess
import sys

import msgspec

#: Run in a process of its own: a broken CUDA driver may hang or kill whoever imports torch.
_SCRIPT = """
import json, torch
build = torch.version.cuda or torch.version.hip or ""
cuda, error = torch.cuda.is_available(), ""
if build and not cuda:
    try:
        torch.cuda.init()
    except Exception as caught:
        error = str(caught)
devices = []
for number in range(torch.cuda.device_count() if cuda else 0):
    properties = torch.cuda.get_device_properties(number)
    try:
        free = torch.cuda.mem_get_info(number)[0]
    except Exception as caught:
        free, error = 0, str(caught)
    devices.append({
        "name": properties.name,
        "total": properties.total_memory,
        "free": free,
        "capability": [properties.major, properties.minor],
    })
four_bits = ""
if cuda:
    try:
        from bitsandbytes.cextension import lib
        if not getattr(lib, "compiled_with_cuda", False):
            four_bits = str(getattr(lib, "error_msg", "") or "its library is for CPUs alone")
    except Exception as caught:
        four_bits = f"{type(caught).__name__}: {caught}"
print(json.dumps({
    "version": torch.__version__,
    "threads": torch.get_num_threads(),
    "cuda": torch.version.cuda or "",
    "rocm": torch.version.hip or "",
    "architectures": torch.cuda.get_arch_list() if cuda else [],
    "devices": devices,
    "bf16": cuda and torch.cuda.is_bf16_supported(including_emulation=False),
    "error": error,
    "four_bits": four_bits,
}))
"""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A GPU as torch sees it: bytes of its memory, and its compute capability."""

    name: str
    total: int
    free: int = 0
    capability: tuple[int, int] = (0, 0)


class TorchProbe(msgspec.Struct, frozen=True, kw_only=True):
    """What torch says of itself and of the machine.

    Attributes:
        version, threads: of torch.
        cuda, rocm: what it was built for; empty = not for that.
        architectures: GPUs that it has code for: ``sm_90``, ``compute_90``, ``gfx942``.
        devices: the GPUs that it can use.
        bf16: whether they compute in bfloat16 themselves.
        error: why it cannot use GPUs, though it is built for some.
        four_bits: why bitsandbytes cannot compute on them; empty = it can, or there are none.
    """

    version: str
    threads: int
    cuda: str = ""
    rocm: str = ""
    architectures: tuple[str, ...] = ()
    devices: tuple[Device, ...] = ()
    bf16: bool = False
    error: str = ""
    four_bits: str = ""


def probe_torch() -> TorchProbe:
    """Ask torch; takes some seconds.

    Raises:
        OSError, subprocess.SubprocessError, ValueError: it does not start, or answers nonsense.
    """
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    lines = done.stdout.splitlines() or [""]
    return msgspec.json.decode(lines[-1], type=TorchProbe)
