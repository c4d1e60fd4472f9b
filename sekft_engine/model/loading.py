"""Load a base's weights in the type of their device, or as NF4; safetensors only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sekft_engine.core.errors import BadInput, JobFailed
from sekft_engine.model.device import choose_device, device_of, out_of_memory
from sekft_engine.model.family import family_of
from sekft_engine.model.text_layers import read_past

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def load_model(
    path: Path,
    *,
    place: torch.device | None = None,
    load_4bit: bool = False,
    sharded: bool = False,
    full: bool = False,
) -> PreTrainedModel:
    """Load the causal language model in ``path``, frozen and in evaluation mode.

    With ``sharded`` it is loaded into main memory, and 4-bit weights are stored in elements of the
    compute type, since FSDP shards only tensors of one type together. With ``full`` its weights are
    float32 on every device.

    Args:
        place: where it computes; None = a card if there is one.

    Raises:
        BadInput: the device has no 4 bits, or the files are no such model.
    """
    family = family_of(path)
    import torch
    from transformers.utils import logging as transformers_logging

    place = place or choose_device()
    own = device_of(place)
    if load_4bit and not own.has_nf4:
        raise BadInput(
            f"bitsandbytes has no 4 bits for {place.type}",
            where="--load-4bit",
            mend="leave it out, or use --device cpu",
        )
    own.use()
    dtype = torch.float32 if full else own.dtype
    options: dict[str, Any] = {
        "config": family.config,
        "dtype": dtype,
        "use_safetensors": True,
        "local_files_only": True,
        "trust_remote_code": False,
        "device_map": {"": "cpu" if sharded else str(place)},
        "output_loading_info": True,
    }
    if load_4bit:
        storage = dtype if sharded else torch.uint8
        options["quantization_config"] = _nf4(dtype, storage, _unpackable(family.skeleton))
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    model: PreTrainedModel
    try:
        model, info = family.model_class.from_pretrained(str(path), **options)
    except (ValueError, KeyError, RuntimeError, OSError, ImportError, MemoryError) as error:
        if out_of_memory(error):
            raise JobFailed(
                "there is not enough memory to load this base",
                where=str(path),
                mend="end other programs, or take a smaller base",
            ) from error
        if isinstance(error, OSError) and error.errno is not None:  # a disk, not a base
            raise
        line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BadInput(f"cannot load this base: {line}", where=str(path)) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    _refuse_missing(info, path)
    _keep_packed_as_loaded(model)
    model.eval()
    model.requires_grad_(requires_grad=False)
    return model


def _refuse_missing(info: dict[str, Any], path: Path) -> None:
    """Raise :class:`BadInput` where the files lack weights of the model: transformers would have
    made them up."""
    lacking = sorted({*info.get("missing_keys", ()), *map(str, info.get("mismatched_keys", ()))})
    if lacking:
        raise BadInput(
            f"{len(lacking)} of the model's tensors are not in its files, such as {lacking[0]}",
            where=str(path),
            mend="fetch the base again, or take one whose config.json is its own",
        )


def _keep_packed_as_loaded(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from repacking 4-bit weights at the first inference on AVX512-BF16 CPUs.

    No gradient flows through repacked weights: training after an eval would silently fail.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def _unpackable(skeleton: PreTrainedModel) -> list[str] | None:
    """Names of the layers to keep out of 4 bits where the model's code reads weights past their
    layers: those, and the output head as always. None = as bitsandbytes chooses."""
    past = read_past(skeleton)
    kept = past | {skeleton.get_output_embeddings()}
    return [name for name, module in skeleton.named_modules() if module in kept] if past else None


def _nf4(compute: torch.dtype, storage: torch.dtype, kept: list[str] | None) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_quant_storage=storage,
        llm_int8_skip_modules=kept,
    )
