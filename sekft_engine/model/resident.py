"""The resident base: loaded once; adapters are created, attached, swapped and dropped on it."""

from __future__ import annotations

import itertools
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sekft_engine.bases import base_digest, current_digest, resolve_base
from sekft_engine.data.clock import Clock
from sekft_engine.data.recipe import Recipe
from sekft_engine.model.attaching.fields import (
    LoraSettings,
    lora_settings,
    peft_defaults,
)
from sekft_engine.model.attaching.host import AdapterHost
from sekft_engine.model.attaching.layers import is_adapter_weight
from sekft_engine.model.attaching.named import NamedAdapter, NamedAdapters
from sekft_engine.model.attaching.origin import doubt_of
from sekft_engine.model.attaching.weights import read_weights
from sekft_engine.model.attaching.writing import write_adapter
from sekft_engine.model.device import choose_device, random_kept
from sekft_engine.model.loading import load_model
from sekft_engine.model.text_layers import TextLayers, weight_count
from sekft_engine.records.adapted import AdaptedShare
from sekft_engine.records.adapter_names import name_of_folder
from sekft_engine.records.adapters import (
    CONFIG,
    WEIGHTS,
    AdapterMeta,
    adapter_digest,
    content_digest,
    read_config,
    read_meta,
    refuse_stranger,
)
from sekft_engine.records.results import LoadResult
from sekft_engine.records.runs import adapter_folder
from sekft_engine.render import ChatTokenizer
from sekft_engine.render.template.remarks.vocabulary import refuse_rowless

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class ResidentBase:
    """A causal language model in memory, its tokenizer, and the adapters on it.

    ``model`` is the same object for as long as the base is resident: PEFT puts its layers into it
    in place, so calling it uses the active adapter. No method changes a base weight, and this is
    verified: the base is compared with what was loaded before an adapter may act, after one was
    removed, and in :meth:`prove` (see :mod:`sekft_engine.model.attaching.proof`). Once they differ,
    every method raises :class:`BaseChanged`.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: ChatTokenizer,
        *,
        path: Path,
        digest: str,
        placed: str = "",
        quantised: bool = False,
        sharded: bool = False,
        seconds: float = 0.0,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.path = path
        self.digest = digest
        self.placed = placed or str(self.device)
        self.quantised = quantised
        self.sharded = sharded
        self.seconds = seconds
        self.active: str | None = None
        self._adapters = NamedAdapters()
        self._host = AdapterHost(model, str(path))
        self._count = itertools.count()
        self._layers = TextLayers(model)
        self._is_spread = False

    # --- loading ------------------------------------------------------------------------------

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        place: torch.device | None = None,
        load_4bit: bool = False,
        sharded: bool = False,
    ) -> ResidentBase:
        """Load the base in ``folder``: fp32 on the CPU, bf16 on CUDA; NF4 with ``load_4bit``.

        With ``sharded`` it stays in main memory until it is sharded over processes.

        Args:
            place: where it computes; None = a card if there is one.
        """
        began = time.monotonic()
        place = place or choose_device()
        path = resolve_base(str(folder))
        tokenizer = ChatTokenizer.load(path)  # first: what is wrong with it is soon found
        model = load_model(path, place=place, load_4bit=load_4bit, sharded=sharded)
        embedding = model.get_input_embeddings()
        refuse_rowless(tokenizer, int(getattr(embedding, "num_embeddings", 0)) or sys.maxsize)
        return cls(
            model,
            tokenizer,
            path=path,
            digest=base_digest(path),
            placed=str(place),
            quantised=load_4bit,
            sharded=sharded,
            seconds=time.monotonic() - began,
        )

    def set_clock(self, clock: Clock) -> None:
        """Let the chat template print ``clock`` as now, from the next prompt on."""
        self.tokenizer = self.tokenizer.with_clock(clock)

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def device(self) -> torch.device:
        found: torch.device = next(self.model.parameters()).device
        return found

    @property
    def parameters(self) -> int:
        """Number of base weights; packed weights count unpacked."""
        return sum(
            weight_count(tensor)
            for name, tensor in self.model.named_parameters()
            if not is_adapter_weight(name)
        )

    @property
    def render(self) -> dict[str, str]:
        """Digests of tokenizer, chat template and normaliser."""
        return self.tokenizer.digest.by_name

    def describe(self) -> LoadResult:
        """The facts of the base and its adapters."""
        return LoadResult(
            base=str(self.path),
            digest=self.digest,
            device=str(self.device),
            dtype=str(self.model.dtype).removeprefix("torch."),
            quantised=self.quantised,
            adapters=self.adapters,
            active=self.active,
            runs=self._runs(),
        )

    def _runs(self) -> dict[str, str]:
        """The run of each adapter that has another name here."""
        folders = ((name, adapter.folder) for name, adapter in self._adapters.items())
        found = {name: name_of_folder(folder) for name, folder in folders if folder is not None}
        return {name: run for name, run in found.items() if run != name}

    def memory(self) -> int:
        """Bytes of all weights, including adapters."""
        return int(self.model.get_memory_footprint())

    # --- adapters -----------------------------------------------------------------------------

    @property
    def adapters(self) -> dict[str, str]:
        """Content digest by name; it changes whenever the adapter's weights may have changed."""
        return {name: adapter.digest for name, adapter in self._adapters.items()}

    def meta(self, name: str) -> AdapterMeta | None:
        """The content of the attached adapter's ``sekft.json``; None if it has none."""
        return self._adapters.known(name).meta

    def doubt(self, name: str) -> str:
        """Why it is uncertain that the adapter was trained on this base; empty if it is certain."""
        adapter = self._adapters.known(name)
        named = str(adapter.config.get("base_model_name_or_path") or "")
        return "" if adapter.confirmed else doubt_of(named, self.path)

    @property
    def peft(self) -> Any:
        """The PEFT wrapper, for merging; None while no adapter is on the base."""
        return self._host.peft

    def slot(self, name: str) -> str:
        """PEFT's name of the adapter.

        PEFT restricts names (no dots, none that is part of another or of ``lora_``); users need not
        know.
        """
        return self._adapters.known(name).slot

    def new_adapter(self, name: str, recipe: Recipe, *, folder: Path | None = None) -> None:
        """Add a new adapter to the base, active; the recipe's seed decides its weights. ``folder``
        is where it will be saved: an earlier adapter of that name and folder is replaced."""
        import torch
        from peft import LoraConfig, TaskType

        self.refuse_name(name, own=folder)
        if name in self._adapters:
            self.drop(name)
        layers = self._layers.choose(recipe.targets)
        targets = self._layers.target_modules(layers)
        settings = LoraSettings(
            r=recipe.rank, lora_alpha=recipe.alpha, target_modules=tuple(targets)
        )
        plan = self._host.plan(settings, "recipe")
        config = LoraConfig(
            r=recipe.rank,
            lora_alpha=recipe.alpha,
            lora_dropout=recipe.dropout,
            target_modules=targets,
            bias="none",
            task_type=TaskType.CAUSAL_LM,
        )
        torch.manual_seed(recipe.seed)
        slot = self._host.add(plan, config)
        made = self.peft.peft_config[slot].to_dict()
        self._adapters[name] = NamedAdapter(
            slot=slot,
            digest=self._unsaved(),
            config=made,
            confirmed=True,
            folder=None if folder is None else folder.resolve(),
        )
        self.active = name

    def reach(self, name: str) -> AdaptedShare:
        """Which share of the base's weights the adapter reaches, and which lies in experts that it
        cannot reach."""
        from peft.tuners.lora import LoraLayer

        slot = self._adapters.known(name).slot
        return self._layers.share(
            [
                layer
                for layer, module in self.model.named_modules()
                if isinstance(module, LoraLayer) and slot in module.r
            ]
        )

    def attach(self, name: str, path: str | Path) -> str:
        """Load the adapter in folder ``path`` (or ``path/adapter``) under ``name``, active.

        First it is checked that each field of its configuration is supported, that its file holds
        exactly the tensors needed on this base, and that it belongs to the base. A later failure
        leaves base and adapters as they were.

        Returns:
            the digest of the adapter.

        Raises:
            BadInput: the adapter is broken, would change the base, or computes in a way that is not
                supported.
            DigestMismatch: it belongs to another base, or was trained with another tokenizer,
                template or normaliser.
            BaseChanged: the base is not what it was.
        """
        self._host.refuse_changed()
        folder = adapter_folder(path)
        meta = read_meta(folder)
        if meta is not None:
            recorded = current_digest(meta.base_digest, self.path, self.digest)
            meta = msgspec.structs.replace(meta, base_digest=recorded)
            refuse_stranger(meta, folder, base_digest=self.digest, render=self.render)
        known = self._adapters.get(name)
        if known is not None and known.digest == adapter_digest(folder):
            self.activate(name)
            return known.digest
        self.refuse_name(name)
        raw = read_config(folder)
        settings = lora_settings(raw, str(folder / CONFIG), peft_defaults())
        plan = self._host.plan(settings, str(folder))
        own = self._host.proof.tensors.keys()
        weights, sha256 = read_weights(folder / WEIGHTS, plan, own)
        with random_kept(self.device):  # attaching must not affect them
            slot = self._host.add(plan, plan.config(), weights)
        digest = content_digest(raw, sha256)
        self._adapters[name] = NamedAdapter(
            slot=slot,
            digest=digest,
            config=raw,
            meta=meta,
            confirmed=meta is not None and meta.base_digest == self.digest,
            folder=folder.resolve(),
        )
        self.active = name
        return digest

    def activate(self, name: str | None) -> None:
        """Make ``name`` the active adapter, frozen; None = the bare base.

        Raises:
            BaseChanged: the quick check found a change in the base.
        """
        self._host.switch(None if name is None else self._adapters.known(name).slot)
        self.active = name

    def trainable(self, name: str) -> list[torch.nn.Parameter]:
        """Make ``name`` active and only its weights trainable; returns them in a fixed order."""
        self.activate(name)
        self._host.unfreeze()
        slot = f".{self._adapters[name].slot}."
        found = [tensor for key, tensor in self.model.named_parameters() if slot in key]
        for tensor in found:
            tensor.requires_grad_(requires_grad=True)
        self.model.train()
        return found

    def touched(self, name: str) -> None:
        """Note that the adapter's weights have changed, so that caches no longer match."""
        self._adapters.known(name).digest = self._unsaved()

    def _unsaved(self) -> str:
        return f"unsaved:{os.getpid()}:{next(self._count)}"

    def drop(self, name: str) -> None:
        """Remove an adapter from the base. After the active one, the bare base is active.

        Raises:
            BaseChanged: the base is not what it was.
        """
        adapter = self._adapters.known(name)
        then = None if self.active == name else self.active
        self._host.remove(adapter.slot, None if then is None else self._adapters[then].slot)
        del self._adapters[name]
        self.active = then

    def rename(self, name: str, to: str) -> None:
        """Call the adapter ``name`` ``to`` from now on; its weights and its digest stay.

        Raises:
            BadInput: there is no such adapter, or ``to`` is taken or is not a name.
        """
        self._adapters = self._adapters.renamed(name, to)
        if self.active == name:
            self.active = to

    def refuse_name(self, name: str, *, own: Path | None = None) -> None:
        """Raise :class:`BadInput` if a new adapter, saved in the folder ``own``, must not have this
        name. What the base holds of that folder is the same adapter, and may be replaced."""
        self._adapters.refuse(name, own=own)

    def free_name(self, wanted: str, *, own: Path | None = None) -> str:
        """``wanted``, with a number appended if another adapter than that in ``own`` has it."""
        return self._adapters.free(wanted, own=own)

    def folder(self, name: str) -> Path | None:
        """The folder that the adapter was read from or is saved in; None = it is not on disk."""
        return self._adapters.known(name).folder

    # --- the proof ----------------------------------------------------------------------------

    @property
    def changed(self) -> str:
        """The known change of the base since it was loaded; empty = none."""
        return self._host.changed

    def prove(self) -> None:
        """Verify every bit of the base. Free of cost if nothing has run since the last time.

        Raises:
            BaseChanged: the base has changed since it was loaded, and must not be used any more.
        """
        self._host.prove()

    def spread(self) -> None:
        """Note that the base is sharded now: this process's part of it must not change any more."""
        if not self._is_spread:
            self._is_spread = True
            self._host.accept_current()

    # --- on disk ------------------------------------------------------------------------------

    def save_adapter(self, name: str, folder: Path, meta: AdapterMeta) -> str:
        """Write the adapter as plain PEFT plus ``sekft.json``, replacing ``folder`` atomically.

        Returns:
            its digest, also the digest of the resident adapter from now on.
        """
        from peft import get_peft_model_state_dict

        adapter = self._adapters.known(name)
        weights = get_peft_model_state_dict(
            self.peft, adapter_name=adapter.slot, save_embedding_layers=False
        )
        config = adapter.config | {"base_model_name_or_path": str(self.path)}
        adapter.digest = write_adapter(folder, weights, config, meta)
        adapter.meta, adapter.folder = meta, folder.resolve()
        return adapter.digest
