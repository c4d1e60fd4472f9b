"""Load a base's weights: fp32 on the CPU, bf16 on CUDA, NF4 on both; safetensors only."""

from __future__ import annotations

import functools
import gc
import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sekft_engine.errors import BadInput, Unavailable
from sekft_engine.threads import settle_threads

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load_model(
    path: Path, *, load_4bit: bool = False, sharded: bool = False, full: bool = False
) -> PreTrainedModel:
    """The causal language model in ``path``, frozen and ready to evaluate.

    One that is to be ``sharded`` over processes is loaded into main memory, and keeps 4-bit weights
    in elements of the type it computes in: only tensors of one type are spread together. With
    ``full`` it is in main memory and in float32, whatever the machine computes with.
    """
    import_torch()
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    cuda = torch.cuda.is_available() and not full
    # Without AVX-512-BF16 or AMX, bf16 on a CPU is some sixty times slower than fp32.
    dtype = torch.bfloat16 if cuda else torch.float32
    options: dict[str, Any] = {
        "dtype": dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
        "attn_implementation": "sdpa",
        "device_map": {"": torch.cuda.current_device() if cuda and not sharded else "cpu"},
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
    """On a CPU with AVX512-BF16, bitsandbytes turns 4-bit weights into an order of their own the
    first time they infer, and no gradient goes back through those: training after an eval would go
    wrong without a word. So they stay as they are."""
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def import_torch() -> None:
    """Import torch for the first time with settings that must be there before it is."""
    # Idle threads of a parallel loop would spin, at the cost of whoever needs the core.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # What these libraries say to their developers is noise on a user's terminal.
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
    settle_threads()
    _spare_the_collector()


@functools.cache
def _spare_the_collector() -> None:
    """What these libraries are made of stays for good: the garbage collector, which holds up keys
    while it walks through all there is, need not look at it again."""
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
