"""Add and remove adapters with PEFT, atomically, and verify the base each time."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sekft_engine.core.errors import BadInput, BaseChanged, SekftError
from sekft_engine.model.attaching.fields import LoraSettings
from sekft_engine.model.attaching.layers import (
    adapter_tensors,
    fill,
    refuse_other_layers,
)
from sekft_engine.model.attaching.plan import Plan, plan_layers
from sekft_engine.model.attaching.proof import BaseProof
from sekft_engine.model.attaching.rollback import Rollback

if TYPE_CHECKING:
    from torch import Tensor


class AdapterHost:
    """A model with adapters, each in a slot whose name is unambiguous for PEFT.

    The base must stay as it is now. This is verified whenever an adapter was added (before it may
    act) or removed, and in :meth:`prove`. Once a change is known, every method raises
    :class:`BaseChanged`.

    Args:
        model: without any adapter.
        where: its name in errors.
    """

    def __init__(self, model: Any, where: str) -> None:
        self._model = model
        self._where = where
        self.proof = BaseProof(model)
        self.peft: Any = None  #: PEFT's wrapper; None without adapters
        self.changed = ""  #: the known change of the base; empty = none
        self._slots: list[str] = []
        self._numbers = itertools.count()
        self._acted = False
        #: Whether no weight wants a gradient and no module is in training mode.
        self._settled = False
        #: PEFT's layers, while that is so.
        self._layers: tuple[Any, ...] = ()

    def plan(self, settings: LoraSettings, where: str) -> Plan:
        """The layers that ``settings`` mean on this model; raises as :func:`plan_layers`."""
        self.refuse_changed()
        size = sum(tensor.numel() for tensor in self.proof.tensors.values())
        return plan_layers(settings, self.proof.modules, self._model, largest=size, where=where)

    def add(self, plan: Plan, config: Any, weights: Mapping[str, Tensor] | None = None) -> str:
        """Add an adapter, activate it, and return its slot.

        Args:
            config: the LoraConfig for PEFT.
            weights: its tensors by their names in a file; None = initialised by PEFT.

        Raises:
            BadInput: PEFT failed, or made other layers than ``plan``.
            BaseChanged: the base has changed.
        """
        from peft import get_peft_model

        slot = f"sekft{next(self._numbers):06d}"
        with self._all_or_nothing(plan.where):
            if self.peft is None:
                self.peft = get_peft_model(self._model, config, adapter_name=slot)
            else:
                self.peft.add_adapter(slot, config)
            refuse_other_layers(self._model, slot, plan)
            if weights is not None:
                fill(adapter_tensors(self._model, slot, plan), weights)
            self._slots.append(slot)
            self._switch(slot)
        return slot

    def remove(self, slot: str, then: str | None) -> None:
        """Remove an adapter; ``then`` is the slot that is active afterwards.

        With the last adapter, PEFT's wrappers are removed and the base's own layers restored.
        """
        with self._all_or_nothing(slot):
            self._slots.remove(slot)
            if self._slots:
                self.peft.set_adapter(self._slots[0])  # PEFT warns when the active one is deleted
                self.peft.delete_adapter(slot)
            else:
                self.proof.relink()
                self.peft = None
                self._model.__dict__.pop("peft_config", None)
            self._switch(then)

    def switch(self, slot: str | None) -> None:
        """Activate an adapter, frozen; None = the bare base."""
        self.refuse_changed()
        self._note(self.proof.look(adapters=self.peft is not None))
        self._switch(slot)

    def _switch(self, slot: str | None) -> None:
        self._acted = True
        if self._settled and not self._model.training:
            self._point(slot)
            return
        if slot is not None:
            self.peft.base_model.enable_adapter_layers()
            self.peft.set_adapter(slot, inference_mode=True)
        elif self.peft is not None:
            self.peft.base_model.disable_adapter_layers()
        # Enabling layers makes PEFT set requires_grad, whatever it was before.
        for tensor in self._model.parameters():
            tensor.requires_grad_(requires_grad=False)
        self._model.eval()
        self._layers = _plain_layers(self._model) if self.peft is not None else ()
        self._settled = bool(self._layers)

    def _point(self, slot: str | None) -> None:
        """What PEFT's switch comes to where all weights are frozen already: it walks over every
        weight of every adapter, so that 32 of them take 32 times as long."""
        for layer in self._layers:
            layer._disable_adapters = slot is None  # noqa: SLF001
        if slot is None:
            return
        for layer in self._layers:
            layer._active_adapter = [slot]  # noqa: SLF001
        self.peft.active_adapter = self.peft.base_model.active_adapter = slot

    def unfreeze(self) -> None:
        """Weights of an adapter are about to be trained: the next switch must freeze them."""
        self._settled = False

    # --- the proof ----------------------------------------------------------------------------

    def prove(self) -> None:
        """Verify every bit of the base. Free of cost if nothing has run since the last time."""
        self.refuse_changed()
        if self._acted:
            self._compare()

    def accept_current(self) -> None:
        """Take the current state as the reference: the weights were moved on purpose."""
        self.refuse_changed()
        self.proof = BaseProof(self._model, self.proof)

    def refuse_changed(self) -> None:
        """Raise :class:`BaseChanged` if the base is known to have changed."""
        if self.changed:
            raise BaseChanged(
                f"the base in memory is not what was loaded: {self.changed}",
                where=self._where,
                mend="load it again; results since it was last verified are void",
            )

    def _note(self, changed: str) -> None:
        self.changed = changed
        self.refuse_changed()

    def _compare(self) -> None:
        self._note(self.proof.compare(adapters=self.peft is not None))
        self._acted = False

    @contextlib.contextmanager
    def _all_or_nothing(self, where: str) -> Iterator[None]:
        """A context that rolls the model back on any error, and verifies the base at its end."""
        self.refuse_changed()
        self._settled = False
        peft, slots = self.peft, list(self._slots)
        state = Rollback(self._model if peft is None else peft)
        try:
            yield
            self._compare()
        except BaseChanged:
            raise
        except BaseException as error:
            state.restore()
            self._settled = False
            self.peft, self._slots, self._acted = peft, slots, True
            if not isinstance(error, Exception):  # an interrupt: leave without waiting
                raise
            self._compare()
            if isinstance(error, SekftError | MemoryError | OSError):
                raise
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadInput(f"PEFT cannot do this: {line}", where=where) from error


def _plain_layers(model: Any) -> tuple[Any, ...]:
    """PEFT's layers where all that decides which adapter acts is known; else nothing."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    found = []
    for module in model.modules():
        if isinstance(module, AuxiliaryTrainingWrapper):
            return ()
        if isinstance(module, BaseTunerLayer):
            known = {"_active_adapter", "_disable_adapters"} <= module.__dict__.keys()
            if not known or module.merged:
                return ()
            found.append(module)
    return tuple(found)
