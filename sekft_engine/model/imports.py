"""Import torch and transformers, with the settings that they need first."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from sekft_engine.core.errors import Unavailable
from sekft_engine.model.device import use_usable_threads

#: What every job on a base imports, and what a training imports besides. The optimisers of torch
#: import its compiler, whether anything is compiled or not.
_BASE = ("torch", "transformers")
_TRAINING = ("peft", "torch._dynamo")
#: The shared libraries of torch that take long to load, and how torch itself loads them.
_LIBRARIES = (
    ("libtorch_global_deps.so", os.RTLD_NOW | os.RTLD_GLOBAL),
    ("libtorch_cpu.so", os.RTLD_NOW),
)


def import_torch() -> None:
    """Import torch, with the settings that must be made before its first import."""
    # Idle threads of a parallel loop would spin, and take the core from others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Warnings for developers of these libraries are noise on a user's terminal.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\b")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    load_libraries()
    _import(_BASE)
    use_usable_threads()


def load_libraries() -> None:
    """Load torch's shared libraries without holding the interpreter.

    An import holds it while the system loads a library, for half a second in all, in which no key
    is answered; a foreign function does not. What is not found here is loaded by the import.
    """
    if "torch" in sys.modules or sys.platform != "linux":
        return
    with contextlib.suppress(OSError, ValueError, AttributeError, ImportError):
        spec = importlib.util.find_spec("torch")
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        folder = Path(spec.origin).with_name("lib") if spec and spec.origin else Path()
        for name, flags in _LIBRARIES:
            path = folder / name
            if not path.is_file() or not dlopen(os.fsencode(path), flags):
                return


def import_training() -> None:
    """Import what a training needs besides torch; together that takes about as long as torch."""
    import_torch()
    _import(_TRAINING)


def _import(names: tuple[str, ...]) -> None:
    new = any(name not in sys.modules for name in names)
    try:
        with _spared_by_the_collector() if new else contextlib.nullcontext():
            for name in names:  # also one that another thread is importing: this waits for it
                importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"the Python package {error.name} is missing",
            mend="pip install 'sekft-tui[gpu]'",
        ) from error


@contextlib.contextmanager
def _spared_by_the_collector() -> Iterator[None]:
    """Exempt from garbage collection what is made in the block.

    The objects of a library live forever, and each collection over all of them would hold the
    interpreter, so that keys wait.
    """
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
