"""Fold an adapter into its base: one model, without PEFT, and the proof that it is the same."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sekft_engine.bases import base_digest
from sekft_engine.core.errors import BadInput, JobFailed
from sekft_engine.export.generation import GENERATION, write_generation
from sekft_engine.export.source import ExportedAdapter
from sekft_engine.model.attaching.fields import lora_settings, peft_defaults
from sekft_engine.model.imports import import_torch
from sekft_engine.model.loading import load_model
from sekft_engine.model.resident import ResidentBase
from sekft_engine.records.adapters import CONFIG, read_config
from sekft_engine.records.exports import Proof
from sekft_engine.render import ChatTokenizer
from sekft_engine.render.template.prompt import encode_prompt

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Largest difference of a logit between base + adapter and the merged weights, both in float32.
TOLERANCE = 1e-2
#: What a tokenizer may consist of.
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "chat_template.json"),
    *("special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json"),
    *("merges.txt", "tekken.json"),
)
#: What a model with vision reads images by.
PROCESSOR = ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json")
LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "USE_POLICY*")
DTYPES = ("bfloat16", "float16", "float32")

#: A short session as the proof's input; every kind of token stands in it.
_PROBE = (
    ("user", "Your directives are kept by `warden`.\nuser@box:~$"),
    ("assistant", "warden --help"),
    ("user", "usage: warden show | done <id>\n\n  3 files, 1024 bytes\nuser@box:~$"),
    ("assistant", "warden show | head -n 5 > out.txt"),
    ("user", "user@box:~$"),
    ("assistant", "exit"),
)


def merge(
    source: ExportedAdapter,
    target: Path,
    *,
    dtype: str = "",
    place: torch.device | None = None,
    report: Callable[[str, int, int], None] = lambda _label, _done, _total: None,
    log: Callable[[str], None] = lambda _text: None,
) -> Proof:
    """Write the base of ``source`` with its adapter folded in to the existing folder ``target``:
    weights, configuration, tokenizer, chat template, licence.

    The base is loaded anew in float32: a resident one is never changed, and what a 4-bit one has
    lost is not lost here.

    Args:
        dtype: of the weights on disk, one of :data:`DTYPES`; empty = the base's own.
        place: where it is merged and compared; None = the CPU.
        log: takes lines about what was changed on the way.

    Raises:
        BadInput: the adapter is none that may be attached, or cannot be folded in.
        DigestMismatch: the adapter belongs to another base.
        JobFailed: the merged model does not compute what base and adapter do.
    """
    import_torch()
    import torch
    from transformers import GenerationConfig

    place = place or torch.device("cpu")
    lora_settings(read_config(source.adapter), str(source.adapter / CONFIG), peft_defaults())
    report("loading the base", 0, 4)
    base = _load(source.base, place)
    written = dtype or str(getattr(base.model.config, "dtype", "") or "").removeprefix("torch.")
    written = _stored_dtype(source.base) if not dtype else written
    if written not in DTYPES:
        raise BadInput(f"weights of type {written}", mend=f"choose of {', '.join(DTYPES)}")
    ids = _probe_ids(base.tokenizer).to(place)
    plain = _logits(base.model, ids)
    base.attach("export", source.adapter)
    _refuse_unmergeable(base, source.adapter)
    wanted = _logits(base.model, ids)
    report("merging", 1, 4)
    model = base.peft.merge_and_unload(safe_merge=True)
    difference = _largest(_logits(model, ids), wanted)
    if not difference <= TOLERANCE:
        raise JobFailed(
            f"the merged model's logits differ by {difference:.3g}", where=str(source.adapter)
        )
    report("writing", 2, 4)
    with _quiet():
        # The base's own settings are copied: transformers refuses to write some that it reads.
        model.generation_config = GenerationConfig.from_model_config(model.config)
        model.to("cpu", getattr(torch, written))
        model.tie_weights()  # not every device keeps shared weights shared on their way
        model.save_pretrained(str(target))
    _copy_words(source.base, target)
    if added := write_generation(source.base, target, base.tokenizer.end_of_turn_ids):
        ends = ", ".join(map(str, added))
        log(f"{GENERATION}: added to eos_token_id what ends a trained turn: {ends}")
    for path in target.iterdir():
        path.chmod(0o644)
    _refuse_other_words(base.tokenizer, target)
    del model, base
    report("comparing what was written", 3, 4)
    again = _logits(load_model(target, place=place, full=True), ids)
    report("comparing what was written", 4, 4)
    return Proof(
        tokens=ids.shape[1],
        dtype=written,
        difference=difference,
        written_difference=_largest(again, wanted),
        same_choice=float((again.argmax(-1) == wanted.argmax(-1)).double().mean()),
        adapter_effect=_largest(plain, wanted),
    )


def copy_licence(base: Path, target: Path) -> None:
    """The base's terms go with what was made of it."""
    for pattern in LICENCES:
        for path in base.glob(pattern):
            if path.is_file():
                shutil.copy(path, target / path.name)


def _load(folder: Path, place: torch.device) -> ResidentBase:
    return ResidentBase(
        load_model(folder, place=place, full=True),
        ChatTokenizer.load(folder),
        path=folder,
        digest=base_digest(folder),
    )


def _refuse_unmergeable(base: ResidentBase, adapter: Path) -> None:
    """What an adapter adds beside a layer need not have a place within it."""
    from peft.tuners.lora import LoraLayer

    for name, layer in base.model.named_modules():
        if isinstance(layer, LoraLayer) and any(layer.lora_bias.values()) and layer.bias is None:
            raise BadInput(
                f"its lora_bias has no place in {name}, which has no bias",
                where=str(adapter),
                mend="use the adapter as it is, or train it without lora_bias",
            )
    ends = (base.model.get_input_embeddings(), base.model.get_output_embeddings())
    if ends[0].weight is ends[1].weight and any(isinstance(end, LoraLayer) for end in ends):
        raise BadInput(
            "it adapts one of two layers that share their weights: embeddings and output head",
            where=str(adapter),
            mend="use the adapter as it is, or train it on other layers",
        )


def _stored_dtype(base: Path) -> str:
    config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def _copy_words(base: Path, target: Path) -> None:
    for name in (*TOKENIZER, *PROCESSOR):
        if (base / name).is_file() and not (target / name).exists():
            shutil.copy(base / name, target / name)
    copy_licence(base, target)
    config = target / "tokenizer_config.json"
    if not config.is_file():
        return
    raw = json.loads(config.read_text(encoding="utf-8"))
    # Only version 5 of transformers knows this class; what it reads is the same with the older one.
    if raw.get("tokenizer_class") == "TokenizersBackend":
        raw["tokenizer_class"] = "PreTrainedTokenizerFast"
        for local in ("is_local", "local_files_only", "backend"):
            raw.pop(local, None)
        config.write_text(json.dumps(raw, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _refuse_other_words(tokenizer: ChatTokenizer, target: Path) -> None:
    if ChatTokenizer.load(target).digest != tokenizer.digest:
        raise JobFailed("the tokenizer that was written renders otherwise", where=str(target))


def _probe_ids(tokenizer: ChatTokenizer) -> Tensor:
    import torch

    from sekft_engine.data.trajectory import Turn

    turns = [Turn(role=role, content=content) for role, content in _PROBE]  # type: ignore[arg-type]
    return torch.tensor([encode_prompt(tokenizer, turns[:-1])])


def _logits(model: Any, ids: Tensor) -> Tensor:
    import torch

    model.eval()
    with torch.no_grad():
        found: Tensor = model(input_ids=ids, use_cache=False).logits[0].float()
    return found


def _largest(first: Tensor, second: Tensor) -> float:
    return float((first - second).abs().max())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bars:
            logging.enable_progress_bar()
