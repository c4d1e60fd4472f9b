"""Which model of transformers a base is, known before any of its weights are read.

The base's configuration names its class. The class is made without weights (on torch's ``meta``
device), which takes no memory and little time, and shows which attention it supports, which layers
it has, and that it is a causal language model at all. No list of names decides.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sekft_engine.bases.stored import read_config, refuse_quantised
from sekft_engine.core.errors import BadInput
from sekft_engine.model.imports import import_torch
from sekft_engine.model.text_layers import TextLayers
from sekft_engine.records.adapted import AdaptedShare
from sekft_engine.records.adapters import CONFIG as ADAPTER_CONFIG

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Implementations of attention that take a mask for each row.
_MASKED = ("sdpa", "eager")


class Family(NamedTuple):
    """What a base is.

    Attributes:
        model_class: its class in transformers.
        config: its configuration.
        skeleton: the model without weights.
    """

    model_class: Any
    config: Any
    skeleton: PreTrainedModel


def family_of(path: Path) -> Family:
    """What the base in folder ``path`` is. Reads its configuration and the headers of its weights.

    Raises:
        BadInput: it cannot be trained or evaluated here: its weights are quantised, transformers
            does not know its type, or it is not a causal language model.
    """
    refuse_quantised(path)
    if (path / ADAPTER_CONFIG).is_file():  # transformers would put it on the base
        raise BadInput(
            f"an adapter lies beside the base's weights ({ADAPTER_CONFIG})",
            where=str(path),
            mend="move it to a folder of its own",
        )
    import_torch()
    config = _config_of(path)
    model_class, config = _class_of(config, path)
    return Family(model_class, config, _skeleton(model_class, config, path))


def expected_share(path: Path, targets: str) -> AdaptedShare:
    """Which share of the base in folder ``path`` a new adapter on the layers ``targets`` reaches.

    Raises:
        BadInput: as :func:`family_of`, or a target is not a layer that can be adapted.
    """
    layers = TextLayers(family_of(path).skeleton)
    return layers.share(layers.choose(targets))


def _config_of(path: Path) -> Any:
    import transformers

    kind = str(read_config(path).get("model_type") or "")
    if kind not in transformers.CONFIG_MAPPING:
        raise BadInput(
            f"transformers {transformers.__version__} knows no models of the type "
            f"{kind or '(config.json names no model_type)'}",
            where=str(path),
            mend="take a base of a type that it knows, or a newer transformers; code of a base's "
            "own is never run",
        )
    try:
        config = transformers.AutoConfig.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise _unreadable(error, path) from error
    if getattr(config, "_attn_implementation", None) not in _MASKED:
        config._attn_implementation = None  # noqa: SLF001 - there is no public setter
    return config


def _class_of(config: Any, path: Path) -> tuple[Any, Any]:
    """The class of a base and the configuration for it: the class that ``architectures`` names, as
    servers choose it, else the one that transformers has for causal language models."""
    import transformers
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING,
        MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    )

    kind = type(config)
    name = next(iter(getattr(config, "architectures", None) or ()), "")
    named = getattr(transformers, str(name), None)
    mapped = MODEL_FOR_CAUSAL_LM_MAPPING.get(kind, None)
    mapped = mapped or MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING.get(kind, None)
    if getattr(config, "is_encoder_decoder", False):
        raise _no_causal_model(f"{name or kind.__name__} is an encoder-decoder model", path)
    if named is not None and getattr(named, "config_class", None) is kind:
        if named.can_generate():
            return named, config
        if "For" in named.__name__:
            raise _no_causal_model(f"{name} is no causal language model", path)
    if mapped is None or not mapped.can_generate():
        raise _no_causal_model(
            f"transformers {transformers.__version__} has no causal language model of the type "
            f"{config.model_type}",
            path,
        )
    text = config.get_text_config()
    return mapped, text if mapped.config_class is type(text) else config


def _no_causal_model(what: str, path: Path) -> BadInput:
    return BadInput(
        what,
        where=str(path),
        mend="take a causal language model (…ForCausalLM in its config.json), instruct or chat",
    )


def _skeleton(model_class: Any, config: Any, path: Path) -> PreTrainedModel:
    import torch

    try:
        with torch.device("meta"):
            made: PreTrainedModel = model_class._from_config(copy.deepcopy(config))  # noqa: SLF001
    except Exception as error:
        raise _unreadable(error, path) from error
    return made.eval()


def _unreadable(error: Exception, path: Path) -> BadInput:
    line = " ".join(str(error).split()) or type(error).__name__
    return BadInput(
        f"no model can be made of its config.json: {line[:300]}",
        where=str(path),
        mend="fetch the base again, or take another",
    )
