"""Write an adapter's folder: plain PEFT, plus ``sekft.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.core.files import staged_folder
from sekft_engine.records.adapters import CONFIG, META, WEIGHTS, AdapterMeta, adapter_digest

if TYPE_CHECKING:
    from torch import Tensor


def write_adapter(
    folder: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any], meta: AdapterMeta
) -> str:
    """Replace ``folder`` by the adapter, atomically.

    Args:
        folder: where it is to lie.
        weights: its tensors, by their names in a file.
        config: its configuration as PEFT knows it.
        meta: the content of its ``sekft.json``.

    Returns:
        its digest.
    """
    from safetensors.torch import save

    config = dict(config) | {"inference_mode": True}
    if not isinstance(config["target_modules"], str):
        config["target_modules"] = sorted(config["target_modules"])
    with staged_folder(folder) as stage:
        plain = {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}
        # Not save_file: its errors do not distinguish a full disk from other failures.
        (stage / WEIGHTS).write_bytes(save(plain, metadata={"format": "pt"}))
        encoded = msgspec.json.encode(config, order="deterministic", enc_hook=str)
        (stage / CONFIG).write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
        stored = msgspec.json.format(msgspec.json.encode(meta), indent=1)
        (stage / META).write_bytes(stored + b"\n")
        return adapter_digest(stage)
