"""Every field of adapter_config.json: its accepted values, and what is refused.

An adapter may only add to what the base computes. So a field is accepted if it describes how a
plain LoRA, rsLoRA or DoRA layer computes, or only how the adapter was made. What needs another base
(PiSSA and the like), replaces parts of the base, or computes differently is refused. Unknown fields
are refused, too: a newer PEFT may compute something else with them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from sekft_engine.core.errors import BadInput

#: Longest pattern, and most entries of a list or mapping: far more than any adapter needs.
LONGEST, MOST = 2000, 10_000
#: Highest rank; :mod:`sekft_engine.model.attaching.plan` has a lower bound for each layer.
HIGHEST_RANK = 1 << 20
#: Largest absolute alpha: far more than any adapter has, and far from overflow.
LARGEST = 1e6

Fields = Mapping[str, Any]


class LoraSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of adapter_config.json that decide which layers are adapted and how they compute.

    The names and their meaning are those of PEFT's ``LoraConfig``; a string in ``target_modules``
    or ``exclude_modules`` is a regular expression, a tuple holds names or ends of names.
    """

    r: int
    lora_alpha: float
    target_modules: str | tuple[str, ...]
    lora_dropout: float = 0.0
    exclude_modules: str | tuple[str, ...] = ()
    layers_to_transform: tuple[int, ...] = ()
    layers_pattern: tuple[str, ...] = ()
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, float] = {}
    use_rslora: bool = False
    use_dora: bool = False
    lora_bias: bool = False
    fan_in_fan_out: bool = False
    bias: str = "none"
    ensure_weight_tying: bool = False
    base: str = ""


class _Refused(Exception):
    """Why a value is refused, and the way out."""

    def __init__(self, why: str, mend: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.mend = mend


_CHANGES_THE_BASE = (
    "train it with init_lora_weights true, or have PEFT convert it: save_pretrained(..., "
    "path_initial_model_for_weight_conversion=...)"
)
_MERGE = "merge it into its base with PEFT, and use the merged model as the base"
_PLAIN = "only plain LoRA, rsLoRA and DoRA layers are supported"


# --- what a value may be -------------------------------------------------------------------------


def _anything(value: Any) -> Any:
    return value


def _flag(value: Any) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise _Refused("must be true or false")
    return value


def _unset(why: str, mend: str = _MERGE) -> Callable[[Any], None]:
    """A field that must not be in use."""

    def take(value: Any) -> None:
        if not is_unset(value):
            raise _Refused(why, mend)

    return take


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Refused("must be a number")
    if not -LARGEST <= value <= LARGEST:  # NaN is refused, too
        raise _Refused(f"must be a finite number, of at most {LARGEST:.0f} either way")
    return value


def _rank(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _Refused("must be a whole number")
    if not 0 < value <= HIGHEST_RANK:
        raise _Refused(f"must lie between 1 and {HIGHEST_RANK}")
    return value


def _share(value: Any) -> float:
    number = _number(0.0 if value is None else value)
    if not 0 <= number <= 1:
        raise _Refused("must lie between 0 and 1")
    return number


def _name(value: Any) -> str:
    if not isinstance(value, str):
        raise _Refused("must be a string")
    if len(value) > LONGEST or "\0" in value:
        raise _Refused(f"must have at most {LONGEST} characters, and no NUL")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _Refused("must be a list of names")
    if len(value) > MOST:
        raise _Refused(f"must have at most {MOST} entries")
    return tuple(_name(each) for each in value)


def _names_or_pattern(value: Any) -> str | tuple[str, ...]:
    if isinstance(value, str):
        return _name(value) if value else ()
    return _names(value)


def _targets(value: Any) -> str | tuple[str, ...]:
    found = _names_or_pattern(value)
    if not found:
        raise _Refused("names no layer", "name the adapted layers, as PEFT does when it saves")
    return found


def _layers(value: Any) -> tuple[int, ...]:
    numbers = [value] if isinstance(value, int) else [] if value is None else value
    if not isinstance(numbers, list) or len(numbers) > MOST:
        raise _Refused("must be a list of layer numbers")
    if any(isinstance(each, bool) or not isinstance(each, int) for each in numbers):
        raise _Refused("must be a list of layer numbers")
    return tuple(numbers)


def _layer_lists(value: Any) -> tuple[str, ...]:
    found = _names([value] if isinstance(value, str) and value else None if value == "" else value)
    if not all(each.replace("_", "").replace(".", "").isalnum() for each in found):
        raise _Refused("must be plain names of lists of layers", "write them without patterns")
    return found


def _pattern_map(number: Callable[[Any], Any]) -> Callable[[Any], dict[str, Any]]:
    def take(value: Any) -> dict[str, Any]:
        if value is not None and not isinstance(value, dict):
            raise _Refused("must map names of layers to numbers")
        if value and len(value) > MOST:
            raise _Refused(f"must have at most {MOST} entries")
        return {_name(key): number(each) for key, each in (value or {}).items()}

    return take


def _start(value: Any) -> None:
    """``init_lora_weights``: how the weights were initialised.

    The trained weights are in the file, so it matters only if initialising changed the base.
    """
    if value is None or isinstance(value, bool) or value in ("gaussian", "eva", "orthogonal"):
        return
    name = value.lower() if isinstance(value, str) else ""
    if name.startswith(("pissa", "corda")) or name in ("olora", "lora_ga", "loftq"):
        raise _Refused(
            "belongs to a base whose weights were changed when its training began",
            _CHANGES_THE_BASE,
        )
    if name != "mica":  # trains only A, and computes like any LoRA
        raise _Refused("is a way to begin that is not known here", _PLAIN)


def _bias(value: Any) -> str:
    """Trained biases of the base; harmless only if the base has none."""
    if value not in (None, "none", "all", "lora_only"):
        raise _Refused("must be none, all or lora_only")
    return value or "none"


def _task(value: Any) -> None:
    if value not in (None, "CAUSAL_LM"):
        raise _Refused("is not the task of a base that operates a shell", "train with CAUSAL_LM")


#: The check of each field of PEFT's LoraConfig.
TABLE: Mapping[str, Callable[[Any], Any]] = {
    # Which layers, and what they compute.
    "r": _rank,
    "lora_alpha": _number,
    "lora_dropout": _share,
    "target_modules": _targets,
    "exclude_modules": _names_or_pattern,
    "layers_to_transform": _layers,
    "layers_pattern": _layer_lists,
    "rank_pattern": _pattern_map(_rank),
    "alpha_pattern": _pattern_map(_number),
    "use_rslora": _flag,
    "use_dora": _flag,
    "lora_bias": _flag,
    "fan_in_fan_out": _flag,
    "bias": _bias,
    "ensure_weight_tying": _flag,
    "init_lora_weights": _start,
    "task_type": _task,
    # Where and how it was made.
    "peft_type": _anything,  # read_config has checked that it is LORA
    "peft_version": _anything,
    "base_model_name_or_path": _anything,
    "revision": _anything,
    "auto_mapping": _anything,
    "inference_mode": _anything,
    # Only used where something else is set, which is refused.
    "megatron_core": _anything,
    "qalora_group_size": _anything,
    # Only used when training begins.
    "eva_config": _anything,
    "corda_config": _anything,
    "loftq_config": _anything,
    "lora_ga_config": _anything,
    # What would change the base, or computes differently.
    "modules_to_save": _unset("replaces whole layers of the base"),
    "trainable_token_indices": _unset("replaces embeddings of the base"),
    "layer_replication": _unset("builds other layers from those of the base"),
    "kasa_config": _unset("changes the weights of the base (KaSA)", _CHANGES_THE_BASE),
    "target_parameters": _unset(
        "adapts bare parameters, such as fused experts, which is not supported", _PLAIN
    ),
    "alora_invocation_tokens": _unset("computes as activated LoRA, which is not supported", _PLAIN),
    "arrow_config": _unset("routes between adapters (Arrow), which is not supported", _PLAIN),
    "use_bdlora": _unset("computes as BD-LoRA, which is not supported", _PLAIN),
    "use_qalora": _unset("computes as QA-LoRA, which is not supported", _PLAIN),
    "velora_config": _unset("computes as VeLoRA, which is not supported", _PLAIN),
    "monteclora_config": _unset("draws its weights at random (MonteCLoRA)", _PLAIN),
    "megatron_config": _unset("is for Megatron's layers, which are not supported", _PLAIN),
    "runtime_config": _unset("belongs to a running program and not to a file", "remove it"),
}  # fmt: skip


# --- reading -------------------------------------------------------------------------------------


def is_unset(value: Any) -> bool:
    """Whether a value means "not in use": false, null, an empty string or list.

    Zero is a number, and PEFT reads an empty object as options at their defaults: both in use.
    """
    return value is None or value is False or (isinstance(value, str | list) and not value)


def lora_settings(
    raw: Fields, where: str, defaults: Fields | None = None, *, complete: bool = True
) -> LoraSettings:
    """Check every field of an adapter_config.json and return the settings.

    Args:
        raw: the file's content.
        where: the file, for errors.
        defaults: the default values of the installed PEFT. A field that is not in :data:`TABLE` is
            harmless at its default.
        complete: False = fields that are not in :data:`TABLE` are checked later, when PEFT is
            imported.

    Raises:
        BadInput: a field is refused; the error names it, its value, and the way out.
    """
    taken: dict[str, Any] = {}
    for field, value in raw.items():
        try:
            if field in TABLE:
                taken[field] = TABLE[field](value)
            elif complete:
                _refuse_unknown(value, (defaults or {}).get(field))
        except _Refused as refusal:
            raise BadInput(
                f"{field} {_short(value)} {refusal.why}", where=where, mend=refusal.mend or None
            ) from None
    for field, usual in (("r", 8), ("lora_alpha", 8)):
        taken.setdefault(field, usual)
    if "target_modules" not in taken:
        raise BadInput("target_modules is missing", where=where, mend="name the adapted layers")
    named = raw.get("base_model_name_or_path")
    known = {name: taken[name] for name in LoraSettings.__struct_fields__ if name in taken}
    settings = LoraSettings(**known, base=named if isinstance(named, str) else "")
    _refuse_pairs(settings, raw.get("init_lora_weights"), where)
    return settings


def _refuse_unknown(value: Any, default: Any) -> None:
    if is_unset(value) or (type(value) is type(default) and value == default):
        return
    raise _Refused(
        "is a field that is not known here, and may change what the adapter computes",
        "remove it from the file if it does nothing; else train the adapter without it",
    )


def _refuse_pairs(settings: LoraSettings, start: Any, where: str) -> None:
    """Refuse combinations of fields for which PEFT has no layer."""
    pattern = isinstance(settings.target_modules, str)
    pairs = (
        (settings.lora_bias and settings.use_dora, "lora_bias and use_dora"),
        (settings.lora_bias and isinstance(start, str), "lora_bias and init_lora_weights"),
        (settings.use_dora and start == "mica", "use_dora and init_lora_weights mica"),
        (pattern and settings.layers_to_transform, "layers_to_transform and a pattern"),
        (pattern and settings.layers_pattern, "layers_pattern and a pattern"),
        (
            settings.layers_pattern and not settings.layers_to_transform,
            "layers_pattern and no layers_to_transform",
        ),
    )
    for together, what in pairs:
        if together:
            raise BadInput(f"{what} cannot be combined", where=where, mend="leave one out")


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


def peft_defaults() -> dict[str, Any]:
    """The defaults of the installed PEFT's LoraConfig, as in JSON."""
    import dataclasses

    from peft import LoraConfig

    found = {}
    for field in dataclasses.fields(LoraConfig):
        if field.default is not dataclasses.MISSING:
            found[field.name] = field.default
        elif field.default_factory is not dataclasses.MISSING:
            made = field.default_factory()
            plain = dataclasses.is_dataclass(made) and not isinstance(made, type)
            found[field.name] = dataclasses.asdict(made) if plain else made
    return found
