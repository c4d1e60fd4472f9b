"""A merged folder that llama.cpp's ``convert_hf_to_gguf.py`` takes, checked with its library."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sekft_engine.core.errors import JobFailed, Unavailable
from sekft_engine.core.text import quiet_json
from sekft_engine.records.exports import Readiness
from sekft_engine.render import ChatTokenizer

#: Names in which a model type is llama.cpp's but for the spelling, or another's layout.
_SAME_LAYOUT = {"mistral": "llama", "smollm3": "smollm3", "gemma3_text": "gemma3"}
#: Tokens that llama.cpp takes for the end of a turn by their text (llama-vocab.cpp).
_LLAMA_CPP_ENDS = frozenset(
    {
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<end_of_turn>"),
        *("<|endoftext|>", "<|end_of_text|>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]"),
        *("< EOT >", "<｜end▁of▁sentence｜>", "<end_of_utterance>", "<turn|>"),
    }
)
#: What the names of the text model's tensors begin with where it is part of a larger one.
_TEXT = re.compile(r"^(?:model\.)?language_model\.(?:model\.)?")


def make_ready(folder: Path) -> Readiness:
    """Say in ``folder`` what older readers look for, and check it.

    Raises:
        JobFailed: something the converter needs is not there.
        Unavailable: the ``gguf`` package is missing.
    """
    _spell_config(folder / "config.json")
    found = check(folder)
    if unstopped := _unstopped(folder, found):
        raise JobFailed(
            f"llama.cpp would not stop at {unstopped}, with which the adapter ends its turns",
            where=folder.name,
            mend="export it with --merged: its generation_config.json says where to stop",
        )
    if found.problems:
        raise JobFailed("; ".join(found.problems), where=folder.name)
    return found


def _unstopped(folder: Path, found: Readiness) -> str:
    """The token that ends a trained turn, where llama.cpp does not take it for an end; else empty.

    It stops at the end of a sequence that the tokenizer names, and at tokens of these names.
    """
    tokenizer = ChatTokenizer.load(folder)
    ends = tokenizer.end_of_turn_ids
    words = {number: tokenizer.guard.literals[number] for number in ends}
    if found.special_tokens.get("eos") in ends or _LLAMA_CPP_ENDS & set(words.values()):
        return ""
    return ", ".join(sorted(words.values()))


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
    text = config.get("text_config") or config
    kind = str(text.get("model_type", ""))
    wanted = _SAME_LAYOUT.get(kind, kind)
    architecture = next(
        (arch for arch, name in gguf.MODEL_ARCH_NAMES.items() if name == wanted), None
    )
    if architecture is None:
        return "", []
    layers = int(text.get("num_hidden_layers", 0))
    table = gguf.get_tensor_name_map(architecture, layers)
    suffixes = (".weight", ".bias")
    known = text is config
    unknown = [
        name
        for name in names
        if (known or _TEXT.search(name))
        and table.get_name(_as_converted(name), try_suffixes=suffixes) is None
    ]
    return wanted, unknown


def _as_converted(name: str) -> str:
    """A tensor's name as the converter looks it up: of the text model alone, and without the number
    of an expert, since it joins the experts of a layer."""
    name = _TEXT.sub("model.", name).replace("model.lm_head", "lm_head")
    return re.sub(r"\.experts\.\d+\.", ".experts.", name)


def _spell_config(path: Path) -> None:
    """Newer transformers write ``dtype`` and ``rope_parameters``; older readers know neither."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for part in (config, config.get("text_config")):
        if isinstance(part, dict):
            _spell_part(part)
    path.write_bytes(quiet_json(json.dumps(config, indent=2).encode()) + b"\n")


def _spell_part(config: dict[str, Any]) -> None:
    if config.get("dtype"):
        config.setdefault("torch_dtype", config["dtype"])
    rope = config.get("rope_parameters")
    if isinstance(rope, dict) and "rope_theta" in rope:
        config.setdefault("rope_theta", rope["rope_theta"])
        if rope.get("rope_type", "default") != "default":
            config.setdefault("rope_scaling", rope)
