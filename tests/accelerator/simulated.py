"""A simulated accelerator: a device of its own for torch, with real numbers, computed on the CPU.

Its tensors are :class:`SimTensor`: wrappers on the device ``sim:0`` that hold a CPU tensor. Each
operation unwraps them, computes on the CPU and wraps the result. Like a card it refuses to mix its
tensors with those of the CPU, has an allocator that runs out, and a random generator of its own;
and it counts where the program would have to wait for it.

It stands on torch's Python backend for PrivateUse1, an interface that is marked experimental, and
so is used in this file only.
"""

from __future__ import annotations

import contextlib
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils._python_dispatch import return_and_correct_aliasing

from sekft_engine.model import device

KIND = "sim"
_ROOT = Path(__file__).parents[2]
_aten = torch.ops.aten

#: Operations whose result must be known to the CPU, so that it waits: their output is a number, or
#: has a shape that depends on values.
_WAITS = {
    _aten._local_scalar_dense.default,
    _aten.nonzero.default,
    _aten.masked_select.default,
    _aten.equal.default,
    _aten._unique2.default,
    _aten.unique_consecutive.default,
    _aten.unique_dim.default,
    _aten.repeat_interleave.Tensor,
}
_COPIES = {_aten._to_copy.default, _aten.copy_.default}
_INDEXED = {_aten.index.Tensor, _aten.index_put.default, _aten.index_put_.default}


class Wait(NamedTuple):
    """A place at which the CPU waited for the device, and the operation that made it."""

    where: str
    operation: str


class Allocator:
    """Counts the bytes that tensors hold.

    Attributes:
        capacity: the most they may hold; None = any number.
    """

    def __init__(self) -> None:
        self.capacity: int | None = None
        self.held = self.peak = 0

    def take(self, tensor: torch.Tensor) -> None:
        """Count ``tensor``'s storage until it is freed."""
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        if self.capacity is not None and self.held + size > self.capacity:
            raise torch.OutOfMemoryError(
                f"{KIND} out of memory: {size} bytes wanted, {self.capacity - self.held} are free"
            )
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(storage, self._give, size).atexit = False

    def _give(self, size: int) -> None:
        self.held -= size


class Record:
    """What happened on the device since it was last cleared."""

    def __init__(self) -> None:
        self.waits: Counter[Wait] = Counter()
        self.dtypes: Counter[tuple[str, str]] = Counter()  # operation, type of its result

    def clear(self) -> None:
        self.waits.clear()
        self.dtypes.clear()

    def wait(self, func: Any) -> None:
        self.waits[Wait(place(), str(func))] += 1


allocator = Allocator()
record = Record()
generator = torch.Generator()


class SimTensor(torch.Tensor):
    """A tensor on the device; ``on_cpu`` holds its values on the CPU."""

    on_cpu: torch.Tensor

    @staticmethod
    def __new__(cls, on_cpu: torch.Tensor, requires_grad: bool = False) -> SimTensor:
        made: SimTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            on_cpu.size(),
            strides=on_cpu.stride(),
            storage_offset=on_cpu.storage_offset(),
            dtype=on_cpu.dtype,
            layout=on_cpu.layout,
            device=torch.device(KIND, 0),
            requires_grad=requires_grad,
        )
        made.on_cpu = on_cpu
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    def __repr__(self) -> str:  # type: ignore[override]
        return f"SimTensor({self.on_cpu!r})"

    @property  # type: ignore[override]
    def data(self) -> SimTensor:
        return self.detach()  # type: ignore[return-value]

    @data.setter
    def data(self, value: SimTensor) -> None:
        """Torch gives the wrapper other sizes and strides; its values are here."""
        torch.Tensor.data.__set__(self, value)  # type: ignore[attr-defined]
        self.on_cpu = value.on_cpu

    def data_ptr(self) -> int:
        return self.on_cpu.data_ptr()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __deepcopy__(self, memo: Any) -> SimTensor:
        copied = SimTensor(self.on_cpu.detach().clone(), requires_grad=self.requires_grad)
        memo[id(self)] = copied
        return copied

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        about = _about(func)
        if about.composite:  # in inference mode these arrive before they are taken apart
            return func.decompose(*args, **kwargs)
        target = kwargs.get("device")
        to_cpu = target is not None and torch.device(target).type != KIND
        if target is not None:
            kwargs["device"] = torch.device("cpu")
        kwargs.pop("pin_memory", None)
        given = list(_leaves((args, kwargs)))
        _refuse_mixed(func, given)
        if _must_wait(func, args, kwargs, to_cpu):
            record.wait(func)
        plain_args, plain_kwargs = _mapped(_unwrap, args), _mapped(_unwrap, kwargs)
        if about.random:
            with _own_random_numbers():
                out = func(*plain_args, **plain_kwargs)
        else:
            out = func(*plain_args, **plain_kwargs)
        if func is _aten.copy_.default and not isinstance(args[0], SimTensor):
            return args[0]
        if to_cpu:
            return out
        wrapped = _mapped(_wrap, out)
        made = [leaf for leaf in _leaves(wrapped) if isinstance(leaf, SimTensor)]
        for leaf in made:
            record.dtypes[str(func), str(leaf.dtype)] += 1
        if about.aliases:
            # A view shares its base's storage, and what is written in place is the same object.
            return return_and_correct_aliasing(  # type: ignore[no-untyped-call]
                func, args, kwargs, wrapped
            )
        for leaf in made:
            allocator.take(leaf)
        return wrapped


class _About(NamedTuple):
    """Whether an operation is made of others, whether its results share memory with what it is
    given, and whether it draws random numbers."""

    composite: bool
    aliases: bool
    random: bool


@cache
def _about(func: Any) -> _About:
    return _About(
        torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"),
        any(argument.alias_info is not None for argument in func._schema.arguments),
        torch.Tag.nondeterministic_seeded in func.tags,
    )


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, tuple | list):
        for part in tree:
            yield from _leaves(part)
    elif isinstance(tree, dict):
        yield from _leaves(tuple(tree.values()))
    else:
        yield tree


def _mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    if isinstance(tree, tuple | list):
        return type(tree)([_mapped(change, part) for part in tree])
    if isinstance(tree, dict):
        return {name: _mapped(change, part) for name, part in tree.items()}
    return change(tree)


def _is_sim(value: Any) -> bool:
    return isinstance(value, SimTensor)


def _unwrap(value: Any) -> Any:
    return value.on_cpu if isinstance(value, SimTensor) else value


def _wrap(value: Any) -> Any:
    plain = isinstance(value, torch.Tensor) and not isinstance(value, SimTensor)
    return SimTensor(value) if plain else value


def _refuse_mixed(func: Any, given: list[Any]) -> None:
    """Raise as a card does where an operation gets tensors of it and of the CPU. Single numbers
    may come from the CPU."""
    if func in _COPIES:
        return
    others = [
        leaf
        for leaf in given
        if isinstance(leaf, torch.Tensor) and not _is_sim(leaf) and leaf.dim()
    ]
    if others:
        raise RuntimeError(
            f"{func}: expected all tensors on {KIND}:0, and one of {tuple(others[0].shape)} is on "
            f"{others[0].device}, at {place()}"
        )


def _must_wait(func: Any, args: Any, kwargs: Any, to_cpu: bool) -> bool:
    if func in _WAITS:
        return True
    if func is _aten._to_copy.default:
        leaves = isinstance(args[0], SimTensor)
        return (to_cpu and leaves) or (not leaves and not kwargs.get("non_blocking"))
    if func is _aten.copy_.default:
        there, here = _is_sim(args[0]), _is_sim(args[1])
        return there != here and not (len(args) > 2 and args[2])
    if func in _INDEXED:  # a mask is turned into indices first
        return any(i is not None and i.dtype == torch.bool for i in args[1])
    return False


@contextlib.contextmanager
def _own_random_numbers() -> Iterator[None]:
    """A context in which torch's default generator is that of the device."""
    before = torch.get_rng_state()
    torch.set_rng_state(generator.get_state())
    try:
        yield
    finally:
        generator.set_state(torch.get_rng_state())
        torch.set_rng_state(before)


def place() -> str:
    """The function of the engine, or else of whatever library, that is at work."""
    frame: FrameType | None = sys._getframe(1)
    first = ""
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        name = frame.f_code.co_qualname
        if path.is_relative_to(_ROOT / "sekft_engine"):
            return f"{path.relative_to(_ROOT / 'sekft_engine')}:{name}" + first
        if not first and path.name != "simulated.py" and "torch/_" not in str(path):
            library = next((part for part in ("transformers", "peft") if part in path.parts), "")
            first = f" via {library} {path.name}:{name}" if library else ""
        frame = frame.f_back
    return "elsewhere" + first


# --- torch's side ---------------------------------------------------------------------------------


class _Module:
    """What torch looks up as ``torch.sim``."""

    _initialized = True

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def is_initialized() -> bool:
        return True

    @staticmethod
    def _is_in_bad_fork() -> bool:
        return False

    @staticmethod
    def current_device() -> int:
        return 0

    @staticmethod
    def device_count() -> int:
        return 1

    @staticmethod
    def set_device(_number: int) -> None:
        return None

    @staticmethod
    def device(_number: object) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    @staticmethod
    def synchronize(_number: object = None) -> None:
        return None

    @staticmethod
    def manual_seed_all(seed: int) -> None:
        generator.manual_seed(seed)

    @staticmethod
    def manual_seed(seed: int) -> None:
        generator.manual_seed(seed)

    @staticmethod
    def get_rng_state(_number: object = None) -> torch.Tensor:
        return generator.get_state()

    @staticmethod
    def set_rng_state(state: torch.Tensor, _number: object = None) -> None:
        generator.set_state(state)

    @staticmethod
    def get_amp_supported_dtype() -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


def _made(on_cpu: torch.Tensor) -> SimTensor:
    tensor = SimTensor(on_cpu)
    allocator.take(tensor)
    return tensor


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_: Any) -> SimTensor:
    return _made(
        torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format)
    )


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> SimTensor:
    return _made(torch.empty_strided(size, stride, dtype=dtype))


def _arange(start: Any, end: Any, step: Any = 1, *, dtype: Any = None, **_: Any) -> SimTensor:
    return _made(torch.arange(start, end, step, dtype=dtype))


def _copy_from(source: Any, target: Any, non_blocking: bool = False) -> Any:
    """What ``torch.tensor(..., device=)`` fills a tensor by."""
    if _is_sim(source) != _is_sim(target) and not non_blocking:
        record.wait("aten._copy_from")
    _unwrap(target).copy_(_unwrap(source))
    return target


_library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]


class SimulatedDevice(device.Device):
    """The seam's answers for the simulated device: those of a card."""

    kind = KIND
    can_compile = False
    has_own_memory = True
    rows = 4
    computed_as = ""
    #: The type that a base computes in here; bfloat16 as on CUDA where a test says so.
    base_dtype = torch.float32

    @property
    def description(self) -> str:
        return "simulated"

    @property
    def dtype(self) -> torch.dtype:
        return self.base_dtype

    @property
    def threads(self) -> int:
        return 0

    def upload(self, values: np.ndarray[Any, Any]) -> torch.Tensor:
        return torch.from_numpy(values).to(self.place, non_blocking=True)

    def free_bytes(self) -> int:
        return 2**40 if allocator.capacity is None else allocator.capacity - allocator.held

    def tensor_bytes(self) -> tuple[int, int]:
        return allocator.held, allocator.peak

    def random_state(self) -> torch.Tensor:
        return generator.get_state()

    def set_random_state(self, state: torch.Tensor) -> None:
        generator.set_state(state)


def set_up() -> None:
    """Make torch and the engine know the device; once in a process."""
    if KIND in device.kinds():
        return
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(KIND, backend_module=_Module())
    for name, function in {
        "empty.memory_format": _empty,
        "empty_strided": _empty_strided,
        "arange.start_step": _arange,
        "_copy_from": _copy_from,
    }.items():
        _library.impl(name, function, "PrivateUse1")  # type: ignore[no-untyped-call]
    device.register(SimulatedDevice)
