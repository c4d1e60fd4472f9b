"""What passes were measured to need, kept on disk, so that the next process need not measure again.

The bytes are counted from the tensors that a pass makes, so they depend on nothing but the base,
the adapter, the libraries and our code. All of that is the key.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from contextlib import suppress
from functools import cache
from pathlib import Path

import msgspec

import sekft_engine
from sekft_engine.core.documents import NOT_JSON
from sekft_engine.core.files import write_whole
from sekft_engine.core.paths import cache_folder
from sekft_engine.training.planning.step import StepMemory

#: The folders of our code that a pass goes through.
_CODE = ("model", "training")


def known_memory(key: tuple[object, ...]) -> StepMemory | None:
    """What was measured for ``key`` by this code, in whichever process; None = nothing."""
    with suppress(OSError, *NOT_JSON):
        return msgspec.json.decode(_path(key).read_bytes(), type=StepMemory)
    return None


def remember_memory(key: tuple[object, ...], memory: StepMemory) -> None:
    """Keep it, where the cache can be written."""
    path = _path(key)
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(memory))


def _path(key: tuple[object, ...]) -> Path:
    named = hashlib.sha256(repr((*key, *_versions())).encode()).hexdigest()
    return cache_folder() / "passes" / f"{named[:32]}.json"


@cache
def _versions() -> tuple[object, ...]:
    """Versions of the libraries, and which state our own code is in."""
    libraries = [importlib.metadata.version(name) for name in ("torch", "transformers", "peft")]
    root = Path(sekft_engine.__file__).parent
    files = sorted(path for name in _CODE for path in (root / name).rglob("*.py"))
    states = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return (*libraries, *states)
