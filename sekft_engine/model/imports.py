"""Import torch and transformers, with the settings that they need first."""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator

from sekft_engine.core.errors import Unavailable
from sekft_engine.model.device import use_usable_threads

#: What every job on a base imports, and what a training imports besides. The optimisers of torch
#: import its compiler, whether anything is compiled or not.
_BASE = ("torch", "transformers")
_TRAINING = ("peft", "torch._dynamo")


def import_torch() -> None:
    """Import torch, with the settings that must be made before its first import."""
    # Idle threads of a parallel loop would spin, and take the core from others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Warnings for developers of these libraries are noise on a user's terminal.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\b")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    _import(_BASE)
    use_usable_threads()


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
