"""The proof that a base is what it was: its structure, and every bit of its weights.

Nothing here says how a base may come to harm. It is looked at as a whole before the first adapter,
and held against that at any later time:

- each module is the same object at the same place, or wrapped by PEFT's LoRA layers there, and has
  the same parameters and buffers;
- each tensor lies where it lay, in the same shape and type, and torch counts no change of it;
- each module computes by the same ``forward`` with the same hooks, by the same configuration;
- a sum over all bits of each tensor is the same.

The first two take a millisecond, and are looked at whenever an adapter is switched. They miss what
is written past torch's count (through ``.data``, from numpy, by a kernel); the sums of
:mod:`.sums` miss nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from sekft_engine.attaching.sums import own_part, sums_of

if TYPE_CHECKING:
    from torch import Tensor

#: Hooks that change what a module computes.
_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
#: transformers installs these itself when it is first asked for hidden states; they change nothing.
_OWN_HOOKS = "transformers.utils.output_capturing"
#: Rotary embeddings of these kinds change their frequencies with the length of what they are given:
#: those that transformers' dynamic_rope_update knows.
_MOVING = ("dynamic", "longrope")


class _Record(NamedTuple):
    """A tensor, and what is seen of it without reading it."""

    tensor: Tensor
    about: tuple[Any, ...]


class _Module(NamedTuple):
    """A module of the base, and what it is made of."""

    module: Any
    kind: type[Any]
    children: dict[str, Any]
    tensors: dict[str, Any]
    hooks: tuple[int, ...]
    forwards: tuple[Any, Any]


class BaseProof:
    """What a base was when this was made, to be held against what it is.

    Args:
        model: a model without any adapter.
        before: what it was before its weights were moved; then there may be adapters on it.
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
        self._tensors = {name: _Record(one, _about(one)) for name, one in _tensors(self.modules)}
        self._config = _config(model)
        self._sums = self._sum_up()

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Parameters, buffers and the scales of packed weights by name, each once."""
        return {name: record.tensor for name, record in self._tensors.items()}

    def look(self, *, adapters: bool) -> str:
        """What differs, as far as it is seen without reading the weights; empty where nothing does.

        Args:
            adapters: whether adapters may be on the base.
        """
        self._settle()
        for name, was in self._structure.items():
            if told := _changed_parts(name, was, adapters):
                return told
        for name, record in self._tensors.items():
            if _about(record.tensor) != record.about:
                return f"{name} was written, moved or reshaped"
        return ""

    def _settle(self) -> None:
        """Layers that are spread over several processes keep this one's part alone."""
        for module in self.modules.values():
            if hasattr(type(module), "reshard"):
                module.reshard()

    def compare(self, *, adapters: bool) -> str:
        """What differs, every bit of every weight included; empty where nothing does."""
        if told := self.look(adapters=adapters):
            return told
        for name, was in self._structure.items():
            if told := _changed_ways(name, was):
                return told
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
        """Put the base's own modules where they were, in the place of whatever wraps them."""
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
    if not _moves(module):
        for part, tensor in was.tensors.items():
            if tensors[part] is tensor:
                continue
            if not _is_same(tensors[part], tensor):
                return f"{name}.{part}".lstrip(".") + " was replaced"
            module._parameters[part] = tensor  # noqa: SLF001
    return ""


def _is_same(found: Any, tensor: Any) -> bool:
    """Whether a parameter is another Python object for the same place in memory: PEFT's DoRA makes
    a new one of each packed weight on a CPU, and the base's own can be put back."""
    if type(found) is not type(tensor) or not hasattr(found, "quant_state"):
        return False
    about, own = _about(found), _about(tensor)
    return (about[0], *about[2:]) == (own[0], *own[2:]) and found.quant_state is tensor.quant_state


def _changed_ways(name: str, was: _Module) -> str:
    """What a module does when it is called. Within a forward pass of a training other functions may
    stand there for a while."""
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
    """What else runs when the module is called, by the identity of its functions."""
    return tuple(
        id(hook)
        for kind in _HOOKS
        for hook in getattr(module, kind, {}).values()
        if getattr(hook, "__module__", "") != _OWN_HOOKS
    )


def _forwards(module: Any) -> tuple[Any, Any]:
    """How the module computes: by its class, or by something that was put in the place of that."""
    return (type(module).forward, module.__dict__.get("forward"))


def _moves(module: Any) -> bool:
    """Whether buffers of the module change with what it is given; then they are no weights."""
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
    """Each tensor of the base once, and what packed weights need beside their bits."""
    seen: set[int] = set()
    for path, module in modules.items():
        buffers = {} if _moves(module) else module._buffers  # noqa: SLF001
        for name, tensor in {**module._parameters, **buffers}.items():  # noqa: SLF001
            if tensor is None or id(tensor) in seen:
                continue
            seen.add(id(tensor))
            full = f"{path}.{name}".lstrip(".")
            yield full, tensor
            yield from _scales(full, getattr(tensor, "quant_state", None), seen)


def _scales(name: str, state: Any, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a bitsandbytes quantisation state."""
    import torch

    for part, value in vars(state).items() if state is not None else ():
        if isinstance(value, torch.Tensor):
            if id(value) not in seen:
                seen.add(id(value))
                yield f"{name}.{part}", value
        elif part == "state2":
            yield from _scales(f"{name}.{part}", value, seen)


def _about(tensor: Tensor) -> tuple[Any, ...]:
    """Where a tensor lies, how, and how often torch saw it written."""
    whole = own_part(tensor)
    version = -1 if whole.is_inference() else whole._version  # noqa: SLF001
    return (
        whole.data_ptr(),
        version,
        tuple(whole.shape),
        whole.stride(),
        whole.dtype,
        whole.device,
    )
