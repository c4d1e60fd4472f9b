"""The resident base: loaded once; adapters are made, attached, swapped and dropped on it."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.adapters import (
    CONFIG,
    META,
    WEIGHTS,
    AdapterMeta,
    adapter_digest,
    read_config,
    read_meta,
    refuse_stranger,
)
from sekft_engine.bases import base_digest, resolve_base
from sekft_engine.bases.store import digest_memo
from sekft_engine.errors import BadInput, DigestMismatch
from sekft_engine.files import staged_folder
from sekft_engine.loading import load_model
from sekft_engine.recipe import Recipe
from sekft_engine.render import ChatTokenizer
from sekft_engine.runs import adapter_folder

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["ResidentBase", "resolve_base"]


class ResidentBase:
    """A causal language model in memory, its tokenizer, and the adapters on it.

    ``model`` is the same object for as long as the base is resident: PEFT puts its layers into it
    in place, so calling it uses whichever adapter is active. No method changes a base weight.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: ChatTokenizer,
        *,
        path: Path,
        digest: str,
        quantised: bool = False,
        sharded: bool = False,
        seconds: float = 0.0,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.path = path
        self.digest = digest
        self.quantised = quantised
        self.sharded = sharded
        self.seconds = seconds
        self.active: str | None = None
        self._peft: Any = None
        self._digests: dict[str, str] = {}
        self._metas: dict[str, AdapterMeta | None] = {}
        self._slots: dict[str, str] = {}
        self._count = itertools.count()
        self._linear = _linear_names(model)

    # --- loading ------------------------------------------------------------------------------

    @classmethod
    def load(
        cls, folder: str | Path, *, load_4bit: bool = False, sharded: bool = False
    ) -> ResidentBase:
        """Load the base in ``folder``: fp32 on the CPU, bf16 on CUDA; NF4 with ``load_4bit``. One
        that is ``sharded`` waits in main memory for being spread over processes."""
        began = time.monotonic()
        path = resolve_base(str(folder))
        model = load_model(path, load_4bit=load_4bit, sharded=sharded)
        return cls(
            model,
            ChatTokenizer.load(path),
            path=path,
            digest=base_digest(path, digest_memo()),
            quantised=load_4bit,
            sharded=sharded,
            seconds=time.monotonic() - began,
        )

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def device(self) -> torch.device:
        found: torch.device = next(self.model.parameters()).device
        return found

    @property
    def parameters(self) -> int:
        """Number of base weights, packed ones counted as what they stand for."""
        total = 0
        for name, tensor in self.model.named_parameters():
            if _is_adapter_weight(name):
                continue
            packed = getattr(tensor, "quant_state", None)
            total += packed.shape.numel() if packed is not None else tensor.numel()
        return total

    @property
    def render(self) -> dict[str, str]:
        """Digests of what turns a session into tokens."""
        return render_digests(self.tokenizer)

    def describe(self) -> dict[str, Any]:
        """What status shows."""
        return {
            "base": str(self.path),
            "digest": self.digest,
            "device": str(self.device),
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "quantised": self.quantised,
            "adapters": dict(self._digests),
            "active": self.active,
        }

    def memory(self) -> int:
        """Bytes held by weights, adapters included."""
        return int(self.model.get_memory_footprint())

    # --- adapters -----------------------------------------------------------------------------

    @property
    def adapters(self) -> dict[str, str]:
        """Name to content digest. A digest changes whenever the adapter's weights may have."""
        return dict(self._digests)

    def meta(self, name: str) -> AdapterMeta | None:
        """What the attached adapter's ``sekft.json`` says."""
        self._known(name)
        return self._metas[name]

    @property
    def peft(self) -> Any:
        """The PEFT wrapper, for mixed batches; None while no adapter is on the base."""
        return self._peft

    def slot(self, name: str) -> str:
        """What PEFT calls the adapter. Its own rules for names (no dots, none that is part of
        another or of ``lora_``) are no concern of whoever names an adapter."""
        self._known(name)
        return self._slots[name]

    def new_adapter(self, name: str, recipe: Recipe) -> None:
        """Put a fresh adapter on the base, active; its seed decides its weights."""
        import torch
        from peft import LoraConfig, TaskType

        self._free(name)
        targets = [part.strip() for part in recipe.targets.split(",") if part.strip()]
        if targets == ["all-linear"]:
            targets = self._linear
        unknown = sorted(set(targets) - set(self._linear))
        if unknown or not targets:
            raise BadInput(
                f"this base has no linear layer called {', '.join(unknown) or '(nothing)'}",
                where="recipe.targets",
                mend=f"all-linear, or some of {', '.join(self._linear)}",
            )
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=sorted(targets),
            bias="none",
            task_type=TaskType.CAUSAL_LM,
        )
        torch.manual_seed(recipe.seed)
        self._inject(name, config)
        self.touched(name)
        self._metas[name] = None
        self.activate(name)

    def attach(self, name: str, path: str | Path) -> str:
        """Load the adapter in folder ``path`` (or ``path/adapter``) under ``name``, active.

        Returns its digest. Raises :class:`DigestMismatch` where it belongs to another base or was
        trained with another tokenizer, template or normaliser.
        """
        from peft import LoraConfig
        from peft.utils import set_peft_model_state_dict
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = adapter_folder(path)
        digest = adapter_digest(folder)
        meta = read_meta(folder)
        if meta is not None:
            refuse_stranger(meta, folder, base_digest=self.digest, render=self.render)
        if self._digests.get(name) == digest:
            self.activate(name)
            return digest
        self._free(name)
        raw = read_config(folder)
        config = LoraConfig(**{k: v for k, v in raw.items() if k in _lora_fields()})
        config.inference_mode = True
        misfit = DigestMismatch(
            "its weights do not fit the base that is loaded",
            where=str(folder),
            mend="load its base",
        )
        try:
            weights = load_file(str(folder / WEIGHTS), device=str(self.device))
        except SafetensorError as error:
            raise BadInput(f"broken: {error}", where=str(folder / WEIGHTS)) from error
        before = self.active
        try:
            self._inject(name, config)
            slot = self._slots[name]
            outcome = set_peft_model_state_dict(self._peft, weights, adapter_name=slot)
        except (RuntimeError, ValueError, KeyError) as error:
            self._remove(name, before)
            raise misfit from error
        missing = [key for key in outcome.missing_keys if f".{slot}." in key]
        if outcome.unexpected_keys or missing:
            self._remove(name, before)
            raise misfit
        self._digests[name] = digest
        self._metas[name] = meta
        self.activate(name)
        return digest

    def activate(self, name: str | None) -> None:
        """Make ``name`` the active adapter, frozen; None = the bare base."""
        if name is None:
            if self._peft is not None:
                self._peft.base_model.disable_adapter_layers()
        else:
            self._known(name)
            self._peft.base_model.enable_adapter_layers()
            self._peft.set_adapter(self._slots[name], inference_mode=True)
        self.active = name
        # Switching layers on makes PEFT ask for gradients, whatever was there before.
        for tensor in self.model.parameters():
            tensor.requires_grad_(requires_grad=False)
        self.model.eval()

    def trainable(self, name: str) -> list[torch.nn.Parameter]:
        """Make ``name`` active and its weights (only) trainable; returns them in a fixed order."""
        self.activate(name)
        slot = f".{self._slots[name]}."
        found = [tensor for key, tensor in self.model.named_parameters() if slot in key]
        for tensor in found:
            tensor.requires_grad_(requires_grad=True)
        self.model.train()
        return found

    def touched(self, name: str) -> None:
        """Say that the adapter's weights have changed: no cache of before may match it."""
        self._digests[name] = f"unsaved:{os.getpid()}:{next(self._count)}"

    def drop(self, name: str) -> None:
        """Take an adapter off the base. The active one leaves the bare base behind."""
        self._known(name)
        self._remove(name, None if self.active == name else self.active)

    def save_adapter(self, name: str, folder: Path, meta: AdapterMeta) -> str:
        """Write the adapter as plain PEFT plus ``sekft.json``, replacing ``folder`` at once.

        Returns its digest, which becomes the resident one's too.
        """
        from peft import get_peft_model_state_dict
        from safetensors.torch import save

        self._known(name)
        slot = self._slots[name]
        weights = get_peft_model_state_dict(
            self._peft, adapter_name=slot, save_embedding_layers=False
        )
        config = self._peft.peft_config[slot].to_dict()
        config |= {"inference_mode": True, "base_model_name_or_path": str(self.path)}
        config["target_modules"] = sorted(config["target_modules"])
        with staged_folder(folder) as stage:
            plain = {key: tensor.detach().cpu().contiguous() for key, tensor in weights.items()}
            # Not save_file, whose errors do not tell a full disk from any other.
            (stage / WEIGHTS).write_bytes(save(plain, metadata={"format": "pt"}))
            encoded = msgspec.json.encode(config, order="deterministic", enc_hook=str)
            (stage / CONFIG).write_bytes(msgspec.json.format(encoded, indent=2) + b"\n")
            stored = msgspec.json.format(msgspec.json.encode(meta), indent=1)
            (stage / META).write_bytes(stored + b"\n")
            digest = adapter_digest(stage)
        self._digests[name] = digest
        self._metas[name] = meta
        return digest

    def weights_digest(self) -> str:
        """SHA-256 over every base weight as it lies in memory, adapters left out."""
        total = hashlib.sha256()
        for key, tensor in sorted(self.model.state_dict().items()):
            if _is_adapter_weight(key):
                continue
            total.update(f"{key.replace('.base_layer', '')} {tuple(tensor.shape)}".encode())
            total.update(_raw_bytes(tensor))
        return total.hexdigest()

    def _known(self, name: str) -> None:
        if name not in self._digests:
            there = ", ".join(self._digests) or "none"
            raise BadInput("no such adapter on the base", where=name, mend=f"there: {there}")

    def _free(self, name: str) -> None:
        if not name or name == "__base__":
            raise BadInput("not a name for an adapter", where=repr(name), mend="choose another")
        if name in self._digests:
            raise BadInput(
                "an adapter of this name is on the base",
                where=name,
                mend="drop it, or name another",
            )

    def _inject(self, name: str, config: Any) -> None:
        from peft import get_peft_model

        slot = self._slots[name] = f"sekft{next(self._count):06d}"
        if self._peft is None:
            self._peft = get_peft_model(self.model, config, adapter_name=slot)
        else:
            self._peft.add_adapter(slot, config)

    def _remove(self, name: str, active: str | None) -> None:
        """Deleting the last adapter would leave PEFT pointing at it: then unwrap altogether."""
        self._digests.pop(name, None)
        self._metas.pop(name, None)
        slot = self._slots.pop(name, "")
        if self._peft is not None:
            if not self._digests:
                self._peft.unload()
                self._peft = None
            elif slot in self._peft.peft_config:
                # Another one first: PEFT warns of deleting the active one.
                self._peft.set_adapter(next(iter(self._slots.values())))
                self._peft.delete_adapter(slot)
        self.activate(active if active in self._digests else None)


def render_digests(tokenizer: ChatTokenizer) -> dict[str, str]:
    """Digests of tokenizer, chat template and normaliser, as adapters record them."""
    return {key: str(value) for key, value in msgspec.to_builtins(tokenizer.digest).items()}


def _linear_names(model: PreTrainedModel) -> list[str]:
    """Last names of all linear layers but the output head, sorted."""
    import torch

    head = model.get_output_embeddings()
    return sorted(
        {
            name.rsplit(".", 1)[-1]
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear) and module is not head
        }
    )


def _lora_fields() -> set[str]:
    import dataclasses

    from peft import LoraConfig

    places = {"base_model_name_or_path", "revision", "auto_mapping", "peft_type"}
    return {field.name for field in dataclasses.fields(LoraConfig) if field.init} - places


def _is_adapter_weight(name: str) -> bool:
    return ".lora_" in name


def _raw_bytes(tensor: torch.Tensor) -> bytes:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
