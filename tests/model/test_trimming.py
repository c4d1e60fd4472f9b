"""Memory that was freed goes back to the system, also where holes are between what is kept."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

_PROGRAM = """
import threading, psutil
from sekft_engine.core.machine import trim_memory

def held():
    return psutil.Process().memory_info().rss >> 20

def fill():
    global kept
    blocks = [b"x" * 100_000 for _ in range(4_000)]  # 400 MB in heaps of this thread
    kept = blocks[::10]

thread = threading.Thread(target=fill)
thread.start()
thread.join()
before = held()
trim_memory()
print(before - held())
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library")
def test_holes_between_kept_blocks_are_given_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) > 200  # MiB


_ARENAS = """
import ctypes, threading
from sekft_engine.core.machine import share_arena

share_arena()
threads = [threading.Thread(target=lambda: [b"x" * 100_000 for _ in range(99)]) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
stdout = ctypes.c_void_p.in_dll(libc, "stdout")
libc.malloc_info(0, stdout)
libc.fflush(stdout)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="another C library")
def test_threads_share_what_others_have_freed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ARENAS], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("<heap nr=") == 1
