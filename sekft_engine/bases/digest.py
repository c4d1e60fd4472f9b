"""The digest of a base: its weights and its architecture, not the words around them."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from sekft_engine.bases.cache import digest_memo
from sekft_engine.bases.stored import read_config
from sekft_engine.bases.weights import weight_files
from sekft_engine.core.files import file_sha256, write_whole

#: Fields of config.json that change with the library or the place and not with the model.
_VOLATILE = {"_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache"}


def base_digest(folder: Path, memo: Path | None = None) -> str:
    """SHA-256 over the model's configuration and weight files, as 64 hexadecimal digits.

    Files that are no part of the model as it is loaded do not count (see :func:`weight_files`).

    Args:
        folder: the base's.
        memo: where digests of large files are remembered by path, size and time of change; None =
            the user's cache.
    """
    return _digest(folder, weight_files(folder), memo)


def current_digest(recorded: str, folder: Path, digest: str) -> str:
    """``recorded``, or ``digest`` if both are digests of the base in ``folder``.

    Versions before 0.2 counted every ``*.safetensors`` file, also those in a format of the vendor's
    own (``consolidated.safetensors``). Adapters and runs that they recorded stay valid.

    Args:
        recorded: the base's digest in the record of an adapter or a run; may be empty.
        folder: the base's.
        digest: the base's, as :func:`base_digest` computes it.
    """
    files = sorted(folder.glob("*.safetensors"))
    if recorded in ("", digest) or files == weight_files(folder):
        return recorded
    return digest if recorded == _digest(folder, files, None) else recorded


def _digest(folder: Path, files: list[Path], memo: Path | None) -> str:
    memo = memo if memo is not None else digest_memo()
    config = read_config(folder)
    facts = {key: value for key, value in config.items() if key not in _VOLATILE}
    total = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for path in files:
        total.update(f"\n{path.name} {_remembered_sha256(path, memo)}".encode())
    return total.hexdigest()


def _remembered_sha256(path: Path, memo: Path) -> str:
    state = path.stat()
    key = f"{path.resolve()}\n{state.st_size}\n{state.st_mtime_ns}\n{state.st_ino}"
    entry = memo / hashlib.sha256(key.encode()).hexdigest()[:32]
    with contextlib.suppress(OSError):
        known = entry.read_text(encoding="ascii")
        if len(known) == 64:
            return known
    digest = file_sha256(path)
    with contextlib.suppress(OSError):  # a memo that cannot be written only costs time
        memo.mkdir(parents=True, exist_ok=True)
        write_whole(entry, digest.encode())
    return digest
