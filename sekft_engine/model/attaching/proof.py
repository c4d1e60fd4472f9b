"""Verify that a base is unchanged: its structure, and every bit of its weights.

It does not matter how a change came about: the whole base is recorded before the first adapter, and
compared with that record later:

- each module is the same object at the same place, or wrapped by PEFT's LoRA layers there, and has
  the same parameters and buffers;
- each tensor has the same address, shape, type and version counter;
- each module has the same ``forward``, hooks and configuration;
- a sum over all bits of each tensor is the same.

The first two take a millisecond and are checked whenever an adapter is switched. They miss writes
that bypass torch's version counter (through ``.data``, from numpy, by a kernel); the sums of
:mod:`sekft_engine.model.attaching.sums` miss none.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from sekft_engine.model.attaching.sums import local_part, sums_of

if TYPE_CHECKING:
    from torch import Tensor

#: Hooks that change what a module computes.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
#: transformers installs these when hidden states are first requested; they change nothing.
_OWN_HOOKS = "transformers.utils.output_capturing"
#: Kinds of rotary embeddings whose frequencies change with the length of the input, as in
#: transformers' dynamic_rope_update.
_MOVING = ("dynamic", "longrope")


class _Record(NamedTuple):
    """A tensor, and what is known of it without reading its values."""

    tensor: Tensor
    about: tuple[Any, ...]


class _Module(NamedTuple):
    """A module of the base, and its parts."""

    module: Any
    kind: type[Any]
    children: dict[str, Any]
    tensors: dict[str, Any]
    hooks: tuple[int, ...]
    forwards: tuple[Any, Any]


class BaseProof:
    """A record of a base, for comparison with its later state.

    Args:
        model: a model without any adapter.
        before: the record from before its weights were moved; then there may be adapters on it.
    """

    def __init__(self, model: Any, before: BaseProof | None = None) -> None:
        self._model = model
        self.modules: dict[str, Any] = before.modules if before else dict(model.named_modules())
        self._settle()
        self._structure = {name: _module(module) for name, module in self.modules.items()}
        if before is not None:  # whose parts are the base's own, not those that wrap them now
            self._structure = {
                name: now._replace(children=before._structure[name].children)  # noqa: SLF001
                for name, now in self._structure.items()
            }
        self._tensors = {
            name: _Record(tensor, _location(tensor)) for name, tensor in _tensors(self.modules)
        }
        self._config = _config(model)
        self._sums = self._sum_up()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters, buffers and the scales of packed weights by name, each once."""
        return {name: record.tensor for name, record in self._tensors.items()}

    def look(self, *, adapters: bool) -> str:
        """The first difference found without reading the weights; empty = none.

        Args:
            adapters: whether adapters may be on the base.
        """
        self._settle()
        for name, was in self._structure.items():
            if difference := _changed_parts(name, was, adapters):
                return difference
        for name, record in self._tensors.items():
            if _location(record.tensor) != record.about:
                return f"{name} was written, moved or reshaped"
        return ""

    def _settle(self) -> None:
        """Reshard sharded layers, so that they hold this process's part only."""
        for module in self.modules.values():
            if hasattr(type(module), "reshard"):
                module.reshard()

    def compare(self, *, adapters: bool) -> str:
        """The first difference, in every bit of every weight as well; empty = none."""
        if difference := self.look(adapters=adapters):
            return difference
        for name, was in self._structure.items():
            if difference := _changed_computation(name, was):
                return difference
        if _config(self._model) != self._config:
            return "the configuration of the model changed"
        now = [name for name, _ in _tensors(self.modules)]
        if now != list(self._tensors):
            other = sorted(set(now) ^ set(self._tensors))
            return f"{other[0] if other else 'the order of the weights'} changed"
        sums = self._sum_up()
        for name, before in self._sums.items():
            if sums[name] != before:
                return f"the values of {name} changed"
        return ""

    def relink(self) -> None:
        """Put the base's own modules back in place of their wrappers."""
        for was in self._structure.values():
            parts = was.module._modules  # noqa: SLF001
            if any(parts.get(name) is not child for name, child in was.children.items()):
                parts.clear()
                parts.update(was.children)

    def _sum_up(self) -> dict[str, bytes]:
        names = list(self._tensors)
        sums = sums_of([self._tensors[name].tensor for name in names])
        return dict(zip(names, sums, strict=True))


# --- structure -----------------------------------------------------------------------------------


def _module(module: Any) -> _Module:
    return _Module(
        module=module,
        kind=type(module),
        children=dict(module._modules),  # noqa: SLF001
        tensors={**module._parameters, **module._buffers},  # noqa: SLF001
        hooks=_hooks(module),
        forwards=_forwards(module),
    )


def _changed_parts(name: str, was: _Module, adapters: bool) -> str:
    module = was.module
    where = name or "the model"
    if type(module) is not was.kind:
        return f"{where} became a {type(module).__name__}"
    children = module._modules  # noqa: SLF001
    if children.keys() != was.children.keys():
        return f"{where} has other parts"
    for part, child in was.children.items():
        found = children[part]
        if found is not child and not (adapters and _wraps(found, child)):
            return f"{name}.{part}".lstrip(".") + " was replaced"
    tensors = {**module._parameters, **module._buffers}  # noqa: SLF001
    if tensors.keys() != was.tensors.keys():
        return f"{where} has other weights"
    if not _changes_with_input(module):
        for part, tensor in was.tensors.items():
            if tensors[part] is tensor:
                continue
            if not _is_same(tensors[part], tensor):
                return f"{name}.{part}".lstrip(".") + " was replaced"
            module._parameters[part] = tensor  # noqa: SLF001
    return ""


def _is_same(found: Any, tensor: Any) -> bool:
    """Whether a parameter is another Python object for the same memory.

    PEFT's DoRA creates one for each packed weight on a CPU, and the base's own can be restored.
    """
    if type(found) is not type(tensor) or not hasattr(found, "quant_state"):
        return False
    about, own = _location(found), _location(tensor)
    return (about[0], *about[2:]) == (own[0], *own[2:]) and found.quant_state is tensor.quant_state


def _changed_computation(name: str, was: _Module) -> str:
    """Compare what a module runs when it is called; empty = unchanged.

    Not valid within a training forward pass, when replacements are installed.
    """
    where = name or "the model"
    wrapped = [part for part in was.module._modules.values() if part is not None]  # noqa: SLF001
    others = [part for part in wrapped if part not in was.children.values()]
    if _hooks(was.module) != was.hooks or any(map(_hooks, others)):
        return f"{where} has other hooks"
    if _forwards(was.module) != was.forwards or any("forward" in vars(part) for part in others):
        return f"{where} computes in another way"
    return ""


def _wraps(found: Any, child: Any) -> bool:
    """Whether ``found`` is a LoRA layer around ``child`` that has merged nothing into it."""
    from peft.tuners.lora import LoraLayer

    while isinstance(found, LoraLayer) and type(found).__module__.startswith("peft.tuners.lora."):
        if found.merged_adapters:
            return False
        found = found.base_layer
        if found is child:
            return True
    return False


def _hooks(module: Any) -> tuple[int, ...]:
    """The hooks that run when the module is called, by the identity of their functions."""
    return tuple(
        id(hook)
        for kind in _HOOKS
        for hook in getattr(module, kind, {}).values()
        if getattr(hook, "__module__", "") != _OWN_HOOKS
    )


def _forwards(module: Any) -> tuple[Any, Any]:
    """The forward functions of the module: of its class, and any that replaces it."""
    return (type(module).forward, module.__dict__.get("forward"))


def _changes_with_input(module: Any) -> bool:
    """Whether buffers of the module change with its input; then they are not weights."""
    kind = getattr(module, "rope_type", None)
    kinds = kind.values() if isinstance(kind, dict) else (kind,)
    return any(moving in str(each) for each in kinds for moving in _MOVING)


def _config(model: Any) -> Any:
    config: Any = getattr(model, "config", None)
    facts = dict(config.to_dict()) if hasattr(config, "to_dict") else {}
    facts.pop("pretraining_tp", None)  # PEFT sets it, and nothing reads it
    return facts


# --- tensors -------------------------------------------------------------------------------------


def _tensors(modules: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Each tensor of the base once, including the scales of packed weights."""
    visited: set[int] = set()
    for path, module in modules.items():
        buffers = {} if _changes_with_input(module) else module._buffers  # noqa: SLF001
        for name, tensor in {**module._parameters, **buffers}.items():  # noqa: SLF001
            if tensor is None or id(tensor) in visited:
                continue
            visited.add(id(tensor))
            full = f"{path}.{name}".lstrip(".")
            yield full, tensor
            yield from _scales(full, getattr(tensor, "quant_state", None), visited)


def _scales(name: str, state: Any, visited: set[int]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a bitsandbytes quantisation state."""
    import torch

    for part, value in vars(state).items() if state is not None else ():
        if isinstance(value, torch.Tensor):
            if id(value) not in visited:
                visited.add(id(value))
                yield f"{name}.{part}", value
        elif part == "state2":
            yield from _scales(f"{name}.{part}", value, visited)


def _location(tensor: Tensor) -> tuple[Any, ...]:
    """Address, layout and version counter of a tensor."""
    local = local_part(tensor)
    version = -1 if local.is_inference() else local._version  # noqa: SLF001
    return (
        local.data_ptr(),
        version,
        tuple(local.shape),
        local.stride(),
        local.dtype,
        local.device,
    )
