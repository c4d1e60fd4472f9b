"""A snapshot of a model's modules, to undo a change that failed halfway."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

#: The attributes that hold the parts of a module.
_HOLDERS = (dict, OrderedDict, list, set)


class _State(NamedTuple):
    module: Any
    attributes: dict[str, Any]
    held: list[tuple[Any, Any]]


class Rollback:
    """All modules of ``root`` with their attributes, parts, hooks and tensors.

    Tensor values are not copied. A tensor whose storage was exchanged gets its own back; one that
    was overwritten in place does not, and is detected by
    :class:`~sekft_engine.model.attaching.proof.BaseProof`.
    """

    def __init__(self, root: Any) -> None:
        self._states = []
        self._tensors = []
        visited: set[int] = set()
        for module in root.modules():
            attributes = dict(module.__dict__)
            held = [
                (holder, holder.copy() if holder else ())
                for holder in attributes.values()
                if type(holder) in _HOLDERS
            ]
            self._states.append(_State(module, attributes, held))
            for tensor in (*module._parameters.values(), *module._buffers.values()):  # noqa: SLF001
                if tensor is not None and id(tensor) not in visited:
                    visited.add(id(tensor))
                    attributes = dict(vars(tensor))  # packed tensors hold their scales there
                    self._tensors.append(
                        (tensor, tensor.detach(), tensor.requires_grad, attributes)
                    )

    def restore(self) -> None:
        """Restore the modules."""
        for module, attributes, held in self._states:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            for holder, content in held:
                if isinstance(holder, list):
                    holder[:] = content
                else:
                    holder.clear()
                    holder.update(content)
        for tensor, alias, trainable, attributes in self._tensors:
            if tensor.data_ptr() != alias.data_ptr() or tensor.shape != alias.shape:
                tensor.data = alias
            vars(tensor).clear()
            vars(tensor).update(attributes)
            tensor.requires_grad_(requires_grad=trainable)
