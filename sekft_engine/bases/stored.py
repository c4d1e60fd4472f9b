"""What a base's files say of how its weights are stored; bases stored in few bits are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sekft_engine.bases.weights import stored_tensors
from sekft_engine.core.errors import BadInput

#: Types of weights that are numbers as they stand, as the safetensors format spells them.
_PLAIN = frozenset({"F64", "F32", "F16", "BF16"})
#: Types of weights in eight bits or fewer. Others (I64, BOOL) are those of small tables.
_PACKED_BITS = ("F8", "F6", "F4", "U8", "I8")
#: Methods whose weights transformers can write in 16 bits, by the setting that does it.
_DEQUANTISED = {"fp8": "FineGrainedFP8Config", "mxfp4": "Mxfp4Config"}
_AGAIN = "fetch the base again"
_TITLES = {"fp8": "FP8", "mxfp4": "MXFP4", "awq": "AWQ", "gptq": "GPTQ"}


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a base.

    It may hold ``Infinity``, as the configurations of Mamba's family do, which is no JSON but which
    Python writes and reads. The digests of bases rest on how it reads numbers.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON: {error}", where=str(path), mend=_AGAIN) from error
    if not isinstance(found, dict):
        raise BadInput("not a JSON object", where=str(path), mend=_AGAIN)
    return found


def read_config(folder: Path) -> dict[str, Any]:
    """The content of a base's ``config.json``."""
    return read_object(folder / "config.json")


def refuse_quantised(folder: Path) -> None:
    """Raise :class:`BadInput` where a base's weights are stored in few bits (FP8, MXFP4, AWQ, …).

    An adapter is trained on, and merged into, weights of 16 or 32 bits; ``--load-4bit`` makes its
    own four bits from those.
    """
    config = read_config(folder)
    method = quantisation_of(config)
    if not method:
        packed = sorted(
            {
                tensor.dtype
                for tensor in stored_tensors(folder).values()
                if tensor.dtype not in _PLAIN and tensor.dtype.startswith(_PACKED_BITS)
            }
        )
        if not packed:
            return
        method = " and ".join(packed)
    raise BadInput(
        f"this base is quantised already ({_TITLES.get(method, method)})",
        where=str(folder),
        mend=_way_out(method),
    )


def quantisation_of(config: dict[str, Any]) -> str:
    """The method of a configuration's quantisation; empty = none."""
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        found = part.get("quantization_config") or part.get("compression_config")
        if isinstance(found, dict):
            return str(found.get("quant_method") or found.get("format") or "of an unnamed kind")
    return ""


def _way_out(method: str) -> str:
    take = "take the model it was made from, in bf16 or float32; --load-4bit holds that in 4 bits"
    setting = _DEQUANTISED.get(method)
    if not setting:
        return take
    return (
        f"{take}. Or write it so: AutoModelForCausalLM.from_pretrained(…, quantization_config="
        f"transformers.{setting}(dequantize=True)).save_pretrained(…)"
    )
