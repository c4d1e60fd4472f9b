"""Load a base's weights: fp32 on the CPU, bf16 on CUDA, NF4 on both; safetensors only."""

from __future__ import annotations

import functools
import gc
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sekft_engine.core.errors import BadInput, Unavailable
from sekft_engine.model.device import cuda_available, current_device, use_usable_threads

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load_model(
    path: Path, *, load_4bit: bool = False, sharded: bool = False, full: bool = False
) -> PreTrainedModel:
    """Load the causal language model in ``path``, frozen and in evaluation mode.

    With ``sharded`` it is loaded into main memory, and 4-bit weights are stored in elements of the
    compute type, since FSDP shards only tensors of one type together. With ``full`` it is loaded
    into main memory in float32, on any machine.
    """
    import_torch()
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    cuda = cuda_available() and not full
    # Without AVX-512-BF16 or AMX, bf16 on a CPU is some sixty times slower than fp32.
    dtype = torch.bfloat16 if cuda else torch.float32
    options: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
        "attn_implementation": "sdpa",
        "device_map": {"": current_device() if cuda and not sharded else "cpu"},
    }
    if load_4bit:
        options["quantization_config"] = _nf4(dtype, dtype if sharded else torch.uint8)
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(str(path), **options)
    except (ValueError, KeyError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BadInput(f"cannot load this base: {line}", where=str(path)) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    _keep_packed_as_loaded(model)
    model.eval()
    model.requires_grad_(requires_grad=False)
    return model


def _keep_packed_as_loaded(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from repacking 4-bit weights at the first inference on AVX512-BF16 CPUs.

    No gradient flows through repacked weights: training after an eval would silently fail.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


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


def _nf4(compute: torch.dtype, storage: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_quant_storage=storage,
    )
