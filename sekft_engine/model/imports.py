"""Import torch and transformers, with the settings that they need first."""

from __future__ import annotations

import functools
import gc
import logging
import os
import warnings

from sekft_engine.core.errors import Unavailable
from sekft_engine.model.device import use_usable_threads


def import_torch() -> None:
    """Import torch, with the settings that must be made before its first import."""
    # Idle threads of a parallel loop would spin, and take the core from others.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    # Warnings for developers of these libraries are noise on a user's terminal.
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|peft)\b")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    try:
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ModuleNotFoundError as error:
        raise Unavailable(
            f"the Python package {error.name} is missing",
            mend="pip install 'sekft-tui[gpu]'",
        ) from error
    use_usable_threads()
    _spare_the_collector()


@functools.cache
def _spare_the_collector() -> None:
    """Exempt the objects of these libraries from garbage collection.

    They live forever, and a collection over all of them would delay key presses.
    """
    gc.collect()
    gc.freeze()
