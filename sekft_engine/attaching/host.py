"""Adapters on a model: put on and taken off by PEFT, wholly or not at all, with the base proven."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sekft_engine.attaching.fields import LoraSettings
from sekft_engine.attaching.layers import adapter_tensors, fill, refuse_other_layers
from sekft_engine.attaching.plan import Plan, plan_layers
from sekft_engine.attaching.proof import BaseProof
from sekft_engine.attaching.rollback import Rollback
from sekft_engine.errors import BadInput, BaseChanged, SekftError

if TYPE_CHECKING:
    from torch import Tensor


class AdapterHost:
    """A model that carries adapters, each in a slot of a name that PEFT cannot mistake.

    The model as it is now is what it must stay: that is seen whenever an adapter was put on (before
    it may act) or taken off, and in :meth:`prove`. Every method raises :class:`BaseChanged` once it
    is known to have changed.

    Args:
        model: without any adapter.
        where: what errors call it.
    """

    def __init__(self, model: Any, where: str) -> None:
        self._model = model
        self._where = where
        self.proof = BaseProof(model)
        self.peft: Any = None  #: PEFT's wrapper; None while there is no adapter
        self.changed = ""  #: what is known to have changed; empty = nothing
        self._slots: list[str] = []
        self._numbers = itertools.count()
        self._acted = False

    def plan(self, settings: LoraSettings, where: str) -> Plan:
        """What an adapter with ``settings`` means here; raises as :func:`plan_layers`."""
        self.refuse_changed()
        size = sum(tensor.numel() for tensor in self.proof.tensors.values())
        return plan_layers(settings, self.proof.modules, self._model, largest=size, where=where)

    def put_on(self, plan: Plan, config: Any, weights: Mapping[str, Tensor] | None = None) -> str:
        """Put an adapter on, active, and return its slot.

        Args:
            config: the LoraConfig for PEFT.
            weights: its tensors by their names in a file; None = as PEFT begins.

        Raises:
            BadInput: PEFT could not do it, or did something else than ``plan`` has.
            BaseChanged: the base is not what it was.
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

    def take_off(self, slot: str, then: str | None) -> None:
        """Take an adapter off; ``then`` is the slot that is active afterwards. With the last one no
        wrapper of PEFT is left: the base's own layers are back at their places."""
        with self._all_or_nothing(slot):
            self._slots.remove(slot)
            if self._slots:
                self.peft.set_adapter(self._slots[0])  # PEFT warns of deleting the active one
                self.peft.delete_adapter(slot)
            else:
                self.proof.relink()
                self.peft = None
                self._model.__dict__.pop("peft_config", None)
            self._switch(then)

    def switch(self, slot: str | None) -> None:
        """Make an adapter the active one, frozen; None = the bare base."""
        self.refuse_changed()
        self._note(self.proof.look(adapters=self.peft is not None))
        self._switch(slot)

    def _switch(self, slot: str | None) -> None:
        self._acted = True
        if slot is not None:
            self.peft.base_model.enable_adapter_layers()
            self.peft.set_adapter(slot, inference_mode=True)
        elif self.peft is not None:
            self.peft.base_model.disable_adapter_layers()
        # Switching layers on makes PEFT ask for gradients, whatever was there before.
        for tensor in self._model.parameters():
            tensor.requires_grad_(requires_grad=False)
        self._model.eval()

    # --- the proof ----------------------------------------------------------------------------

    def prove(self) -> None:
        """See that every bit of the base is what it was. Where nothing has acted since that was
        last seen, it costs nothing."""
        self.refuse_changed()
        if self._acted:
            self._compare()

    def take_anew(self) -> None:
        """From here on the model must stay what it is now: its weights were moved on purpose."""
        self.refuse_changed()
        self.proof = BaseProof(self._model, self.proof)

    def refuse_changed(self) -> None:
        """Raise :class:`BaseChanged` where the base is known not to be what it was."""
        if self.changed:
            raise BaseChanged(
                f"the base in memory is not what was loaded: {self.changed}",
                where=self._where,
                mend="load it again; what was made with it since it was last seen whole is void",
            )

    def _note(self, changed: str) -> None:
        self.changed = changed
        self.refuse_changed()

    def _compare(self) -> None:
        self._note(self.proof.compare(adapters=self.peft is not None))
        self._acted = False

    @contextlib.contextmanager
    def _all_or_nothing(self, where: str) -> Iterator[None]:
        """What happens inside happens wholly and leaves the base as it is, or not at all."""
        self.refuse_changed()
        peft, slots = self.peft, list(self._slots)
        state = Rollback(self._model if peft is None else peft)
        try:
            yield
            self._compare()
        except BaseChanged:
            raise
        except BaseException as error:
            state.restore()
            self.peft, self._slots, self._acted = peft, slots, True
            if not isinstance(error, Exception):  # someone wants to leave, and need not wait
                raise
            self._compare()
            if isinstance(error, SekftError | MemoryError | OSError):
                raise
            line = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise BadInput(f"PEFT cannot do this: {line}", where=where) from error
