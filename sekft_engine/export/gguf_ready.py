"""A merged folder that llama.cpp's ``convert_hf_to_gguf.py`` takes, checked with its library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec

from sekft_engine.core.errors import JobFailed, Unavailable
from sekft_engine.core.text import quiet_json
from sekft_engine.records.exports import Readiness

#: Names in which a model type is llama.cpp's but for the spelling, or another's layout.
_SAME_LAYOUT = {"mistral": "llama", "smollm3": "smollm3", "gemma3_text": "gemma3"}


def make_ready(folder: Path) -> Readiness:
    """Say in ``folder`` what older readers look for, and check it.

    Raises:
        JobFailed: something the converter needs is not there.
        Unavailable: the ``gguf`` package is missing.
    """
    _spell_config(folder / "config.json")
    found = check(folder)
    if found.problems:
        raise JobFailed("; ".join(found.problems), where=folder.name)
    return found


def check(folder: Path) -> Readiness:
    """What the ``gguf`` package can read of ``folder``."""
    try:
        import gguf
    except ModuleNotFoundError as error:
        raise Unavailable(
            "the Python package gguf is missing", mend="pip install 'sekft-tui[gpu]'"
        ) from error
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    vocabulary = gguf.SpecialVocab(folder, load_merges=True)
    names = tensor_names(folder)
    architecture, unknown = _unmapped(gguf, config, names)
    problems = [f"no GGUF name for tensor {name}" for name in unknown[:3]]
    needed = ("architectures", "torch_dtype")
    problems += [f"config.json has no {name}" for name in needed if not config.get(name)]
    if not vocabulary.chat_template:
        problems.append("no chat template")
    if "eos" not in vocabulary.special_token_ids:
        problems.append("no end-of-sequence token")
    if not vocabulary.merges and not (folder / "tokenizer.model").is_file():
        problems.append("neither merges nor tokenizer.model")
    return Readiness(
        architecture=architecture,
        tensors=len(names),
        merges=len(vocabulary.merges),
        special_tokens=dict(vocabulary.special_token_ids),
        chat_template=bool(vocabulary.chat_template),
        problems=tuple(problems),
    )


def tensor_names(folder: Path) -> list[str]:
    """The names of all tensors in the safetensors files of ``folder``."""
    from safetensors import safe_open

    names: list[str] = []
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(str(path), framework="numpy") as file:
            names += file.keys()
    return sorted(names)


def _unmapped(gguf: Any, config: dict[str, Any], names: list[str]) -> tuple[str, list[str]]:
    """llama.cpp's name for the model, and the tensors for which it has no place."""
    kind = str(config.get("model_type", ""))
    wanted = _SAME_LAYOUT.get(kind, kind)
    architecture = next(
        (arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == wanted), None
    )
    if architecture is None:
        return "", []
    layers = int(config.get("num_hidden_layers", 0))
    table = gguf.get_tensor_name_map(architecture, layers)
    suffixes = (".weight", ".bias")
    unknown = [name for name in names if table.get_name(name, try_suffixes=suffixes) is None]
    return wanted, unknown


def _spell_config(path: Path) -> None:
    """Newer transformers write ``dtype`` and ``rope_parameters``; older readers know neither."""
    config = json.loads(path.read_text(encoding="utf-8"))
    config.setdefault("torch_dtype", config.get("dtype"))
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        config.setdefault("rope_theta", rope["rope_theta"])
        if rope.get("rope_type", "default") != "default":
            config.setdefault("rope_scaling", rope)
    encoded = msgspec.json.format(json.dumps(config), indent=2)
    path.write_bytes(quiet_json(encoded.encode()) + b"\n")
